"""
Who keeps sockets, deadlines and relays going inside somebody else's program? One engine for each reactor, for as long
as it is used.

Strategy: everything that lives on an engine holds a L{Lease}: a port, an attempt, a connection. With the last lease the
engine leaves the reactor as it found it: no reader, no delayed call. A program's own tests run on a real reactor, and
trial finds what was left behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sniproxy.interfaces import ILeg
from sniproxy.net.network import Network, network_for
from sniproxy.net.portable_network import PortableNetwork
from sniproxy.net.timers import Deadlines

LINGERING: Final = 0.1
"""
Seconds between two looks whether the last connection has said its last.
"""


class Lease:
    """
    One user's claim on an engine. Whoever has it ends it, or hands it on.
    """

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine: Engine | None = engine

    def end(self) -> None:
        """
        The engine is not needed any more; the second time does nothing.
        """
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.ended()


class Engine:
    """
    What the endpoints of one reactor share. Owns the network, which ends with the last lease, or with what still has
    last words then; sockets that only stay to see their bytes delivered end with it.

    @ivar reactor: Twisted's.
    @ivar network: the best there is for the reactor.
    @ivar deadlines: every wait of the endpoints.
    """

    def __init__(self, reactor: Any, stopped: Callable[[], object], network: Any = None) -> None:
        """
        @param stopped: called when the network was stopped.
        @param network: another one, for tests.
        """
        self.reactor = reactor
        self.network: Network | PortableNetwork = network_for(reactor) if network is None else network
        self.deadlines: Final[Deadlines] = self.network.deadlines
        self._stopped = stopped
        self._leases = 0
        self._lingering = False

    def lease(self) -> Lease:
        """
        @return: what keeps the engine going until it is ended.
        """
        self._leases += 1
        return Lease(self)

    def ended(self) -> None:
        """
        A lease has ended.
        """
        self._leases -= 1
        self._perhaps_stop()

    def _perhaps_stop(self) -> None:
        if self._leases or self._lingering:
            return
        poller = getattr(self.network, "poller", None)
        if poller is not None and not poller.idle:
            self._lingering = True
            self.reactor.callLater(LINGERING, self._look_again)
            return
        self.network.stop()
        self._stopped()

    def _look_again(self) -> None:
        self._lingering = False
        self._perhaps_stop()

    def start_tls(self, leg: Any, connection: Any) -> Any:
        """
        @see: L{Network.start_tls}
        """
        return self.network.start_tls(leg, connection)

    def relay(self, client: ILeg, upstream: ILeg) -> Any:
        """
        @see: L{Network.relay}
        """
        return self.network.relay(client, upstream)


_engines: Final[dict[Any, Engine]] = {}
"""
Engines in use, by their reactors.
"""


def lease(reactor: Any) -> tuple[Engine, Lease]:
    """
    @return: the engine of a reactor, and a claim on it.
    """
    engine = _engines.get(reactor)
    if engine is None:
        engine = _engines[reactor] = Engine(reactor, lambda: _engines.pop(reactor, None))
    return engine, engine.lease()
