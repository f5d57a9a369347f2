"""
One C{server} block of C{stream}, ready to run: its handlers by phase, and what takes its sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sniproxy.common.listening import Listening
from sniproxy.common.phases import INTERNAL_SERVER_ERROR, Phase
from sniproxy.common.session import Session
from sniproxy.config.directives import Scope
from sniproxy.config.grammar import Node
from sniproxy.logs.error_log import ErrorLog

Handler = Callable[[Session], Any]
Content = Callable[[Session], None]


class Server:
    """
    Built by the modules' C{attach}; not changed afterwards.

    @ivar scope: its block of the configuration.
    @ivar listenings: the addresses it is on, in file order; whether they speak TLS is known when modules attach.
    @ivar greets: whether the error log tells of each client that comes.
    @ivar names: C{server_name}, in lower case, without the dots that stand for more names; expressions begin with C{~}.
    @ivar phases: the handlers of each phase, in the order the modules gave them.
    @ivar content: what takes a session at the end.
    @ivar error_log: where its sessions complain.
    @ivar tls: the context its TLS clients meet (L{sniproxy.tls.contexts.ServerContext}); None where it has no
        certificate.
    @ivar lent: the same for the clients of servers on its addresses that have no certificate, where this one is the
        default.
    @ivar tls_of: what finds the context of a session whose certificate is named by variables, C{tls} being what fails
        where there is none; None where it is C{tls}.
    @ivar lent_of: the same for C{lent}.
    @ivar ocsp: what asks about the certificates of its TLS clients (L{sniproxy.common.ocsp.ClientStatus}), or None.
    @ivar tcp_nodelay: for both legs.
    @ivar lenient: content takes clients too whose certificate was refused (C{session.tls.judgement} says so), and those
        who do not speak TLS where it is expected (C{session.plain_on_tls}): it has words of its own for them.
    @ivar alpn: the protocols its TLS clients may choose from; None for what C{ssl_alpn} says.
    @ivar opening_timeout: seconds for a PROXY header, and for the TLS handshake; None for what the directives of
        C{stream} say.
    """

    def __init__(self, scope: Scope, error_log: ErrorLog, tcp_nodelay: bool) -> None:
        self.scope = scope
        self.listenings: list[Listening] = []
        self.names: tuple[str, ...] = ()
        self.error_log = error_log
        self.tcp_nodelay = tcp_nodelay
        self.phases: tuple[list[Handler], ...] = tuple([] for _ in Phase)
        self.content: Content = no_content
        self.lenient = False
        self.alpn: tuple[str, ...] | None = None
        self.opening_timeout: float | None = None
        self.tls: Any = None
        self.lent: Any = None
        self.ocsp: Any = None
        self.tls_of: Callable[[Session], Any] | None = None
        self.lent_of: Callable[[Session], Any] | None = None
        self.greets = True
        self._content_place = -1

    def handle(self, phase: Phase, handler: Handler) -> None:
        """
        Add a handler, behind those the phase has.
        """
        self.phases[phase].append(handler)

    def take_content(self, content: Content, node: Node) -> None:
        """
        Say what takes the sessions of this server. Of several directives that say so the last one in the block
        counts, as in nginx.

        @param node: the directive that says so, in the server's own block.
        """
        assert self.scope.node is not None and self.scope.node.block is not None
        place = next(place for place, each in enumerate(self.scope.node.block) if each is node)
        if place >= self._content_place:
            self._content_place = place
            self.content = content

    def dissolve(self) -> None:
        """
        Let go of all, when the last session is over: what it holds goes round in circles.
        """
        self.listenings.clear()
        self.phases = tuple([] for _ in Phase)
        self.content = no_content
        self.tls = self.lent = self.ocsp = self.tls_of = self.lent_of = None


def no_content(session: Session) -> None:
    """
    What happens where nothing was configured to take the sessions (the configuration has a warning).
    """
    session.finish(INTERNAL_SERVER_ERROR)
