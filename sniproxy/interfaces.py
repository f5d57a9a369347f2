"""
Every interface of the house, in one file: what a plugin may provide and what the rooms ask of each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from sniproxy.addresses import Address


class IModule(Interface):
    """
    One nginx module, ours or yours: everything about it in one object, found with
    C{twisted.plugin.getPlugins(IModule, sniproxy.plugins)} once, at start-up.
    """

    name = Attribute("nginx's name of it, C{ngx_stream_map_module} being C{'stream_map'}; unique.")
    directives = Attribute("A sequence of L{sniproxy.config.directives.Directive}.")
    variables = Attribute("A sequence of L{sniproxy.config.template.Variable}; see its C{kind}.")

    def prepare(build: Any) -> None:
        """
        The whole file has been read: check what spans blocks, make what servers share.

        @param build: L{sniproxy.config.build.Build}; add errors with C{build.error}.
        """

    def attach(server: Any, build: Any) -> None:
        """
        Give one stream server what this module does in it.

        @param server: L{sniproxy.common.server.Server}: read C{server.scope}, call C{server.handle(phase, handler)}
            and C{server.take_content(handler, node)}.
        """


class IHttpModule(Interface):
    """
    What a module (L{IModule}) has besides if it does something in http.
    """

    def attach_place(place: Any, build: Any) -> None:
        """
        Give one block of http what this module does in it. Called for each C{server}, and for each C{location}, C{if}
        and C{limit_except} inside, outer ones first, when the whole file has been read.

        @param place: L{sniproxy.http.place.Place}: read C{place.scope}, call C{place.handle("access", handler)} (the
            phases are C{post_read}, C{server_rewrite}, C{rewrite}, C{preaccess}, C{access}, C{content} and C{log}),
            C{place.filter(change)} and C{place.take_content(handler, node)}. Handlers get
            L{sniproxy.http.request.Request}.
        """


class IPhaseHandler(Interface):
    """
    A callable that looks at a session in one of its phases.
    """

    def __call__(session: Any) -> Any:
        """
        @return: C{None} to go on with the next handler; L{sniproxy.common.phases.WAIT} after arranging that
            C{session.resume()} (go on) or C{session.finish(status)} will be called; L{sniproxy.common.phases.DONE} to
            end this phase; or a status (200, 400, 403, 500, 502, 503) to end the session.
        """


class IContentHandler(Interface):
    """
    What finally takes a session: proxy_pass, return, pass, a plugin.
    """

    def __call__(session: Any) -> None:
        """
        Own the session until C{session.finish(status)}, which the handler calls exactly once, now or later.
        """


class ILeg(Interface):
    """
    One side of a session: a non-blocking stream of bytes, plain or TLS, over a socket or over a Twisted transport.

    Readiness is told by edges: C{handler} is called when something may have changed, and whoever owns the leg then
    tries until it would block.
    """

    handler: Callable[[int], None] = Attribute("Called on each edge with the set of epoll's event bits; replaceable.")
    owner: Any = Attribute("An object with C{crashed()}, called when the handler raised; or None.")
    plain: bool = Attribute("Whether readiness to read says all: False where reading may wait for writing (TLS).")
    over: bool = Attribute("Whether it is known that no byte will come any more, only the end.")
    held: bytes = Attribute("What was put back or taken early; it is received first.")
    connection: Any = Attribute("The OpenSSL connection of a leg that speaks TLS; None where bytes are plain.")
    peer: Address = Attribute("L{sniproxy.addresses.Address} of the far end.")
    local: Address = Attribute("L{sniproxy.addresses.Address} of our end.")

    def watch() -> bool:
        """
        Begin to tell C{handler} of edges.

        @return: whether this is the beginning, so that what is ready already will be told as an edge; else try first,
            then wait.
        """

    def receive(limit: int) -> bytes | None:
        """
        @return: up to C{limit} bytes; C{None} when there is nothing now; C{b""} at the end of the stream.
        @raise OSError: the connection is broken.
        """

    def peek(limit: int) -> bytes | None:
        """
        As C{receive}, but the bytes stay to be received.
        """

    def send(data: bytes | memoryview) -> int:
        """
        @return: how many bytes of C{data} were taken, 0 when none can be now. After 0 the same bytes come again.
        @raise OSError: the connection is broken.
        """

    def send_last(data: bytes | memoryview) -> int:
        """
        As C{send}, when C{finish} or C{close} follow at once: the leg may keep the bytes, to send them with the end.
        """

    def finish() -> None:
        """
        Say that nothing more will be sent (FIN, close_notify); receiving goes on.
        """

    def close() -> None:
        """
        End both directions in good order: what C{send} took is still delivered. The leg must not be used afterwards.
        """

    def abort() -> None:
        """
        End at once, with a reset where the transport has one.
        """

    def linger(flush: Callable[[], bool]) -> None:
        """
        Close as soon as C{flush} answers that all has been sent, or raises OSError, or some seconds have passed; it is
        called when it may go on. For legs over legs that have last words.
        """

    def again() -> None:
        """
        Call the handler once more, soon: the owner stopped before it would block, to let others have their turn.
        """

    def later(step: Callable[[], None]) -> None:
        """
        Call C{step} when everybody who is ready by now was told so; at once where nobody knows. If it raises, that is
        as if the handler had.
        """

    def hold(data: bytes) -> None:
        """
        Put bytes back: they are received next, behind what is held already.
        """

    def fill(limit: int) -> bool:
        """
        Take what has arrived and hold it, until C{limit} bytes are held: for those who must see more than the kernel
        keeps.

        @return: whether more may come; False at the end of the stream.
        @raise OSError: the connection is broken.
        """

    def cramped(seen: int) -> bool:
        """
        Whether the kernel may not keep much more than the C{seen} bytes that were peeked at, so that waiting for more
        would be waiting for ever.
        """

    def take_held() -> bytes:
        """
        @return: the bytes that were put back, which are not held any more.
        """

    def descriptor() -> int | None:
        """
        @return: the descriptor whose bytes are this leg's bytes, for the kernel to move once what is held has been
            taken; None where there is none.
        """

    def socket() -> Any:
        """
        @return: the socket at the bottom of this leg, for its options; None where there is none.
        """


class IRelay(Interface):
    """
    Moves bytes between two legs until both directions have ended.
    """

    def can_carry(client: ILeg, upstream: ILeg) -> bool:
        """
        Whether this relay fits two legs, by what they answer to C{descriptor()}.
        """

    def make(client: Any, upstream: Any, options: Any, done: Any, holder: Any, now: Any) -> Any:
        """
        @param options: L{sniproxy.net.relay.Options}.
        @param done: called once, with L{sniproxy.net.relay.Result}; the legs are still open then.
        @param holder: whose deadline (L{sniproxy.net.timers.Holder}) every move puts off.
        @param now: the clock of that deadline.
        @return: an object with C{begin()}, which takes both legs, C{stop()}, which gives them back without a report,
            and the flows C{up} and C{down} with what they C{received} and C{sent}.
        """


class IBalancer(Interface):
    """
    Chooses peers of one upstream.
    """

    def begin(subject: Any) -> Any:
        """
        @param subject: the session, for balancers that choose by a key.
        @return: L{IChoice} for one session.
        """


class IChoice(Interface):
    """
    One session's way through the peers of an upstream.
    """

    name = Attribute("The upstream's, for messages where there is no peer.")
    tries = Attribute("How many peers are left to try, the one in use included; may be lowered.")

    def next() -> Any:
        """
        @return: L{sniproxy.balancing.peers.Peer}, or None when no peer is live.
        """

    def connected() -> None:
        """
        The peer last given by C{next} answered: a new chance after failures was used well.
        """

    def release(failed: bool) -> None:
        """
        The peer last given by C{next} is not used any more.

        @param failed: whether it counts against C{max_fails}.
        """


class IResolver(Interface):
    """
    Turns names into addresses while the program runs.
    """

    def resolve(name: str, answer: Callable[[Any], None]) -> Any:
        """
        @param answer: called once with a list of numeric hosts (never empty), or with
            L{sniproxy.common.resolver.ResolveFailure}; perhaps before this returns.
        @return: an object with C{cancel()}, after which C{answer} is not called.
        """


class ICredentialsSource(Interface):
    """
    Where certificates and keys come from.
    """

    def load(certificate: Any, key: Any, passwords: Any) -> Any:
        """
        @return: L{sniproxy.tls.credentials.Credentials}.
        @raise sniproxy.errors.ConfigError: with nginx's words.
        """


class ISessionLog(Interface):
    """
    Where a line about an ended session goes.
    """

    def write(line: bytes) -> None:
        """
        @param line: bytes with their newline.
        """

    def reopen() -> None:
        """
        The file may have been renamed: open it anew.
        """

    def close() -> None:
        """
        Flush and close.
        """
