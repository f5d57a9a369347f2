"""
Tests for L{sniproxy.service.memory}.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

from twisted.logger import Logger, formatEvent

from sniproxy.common.listen import listenings
from sniproxy.config.build import Build
from sniproxy.service import memory as under_test
from sniproxy.service import turns
from sniproxy.service.load import load
from sniproxy.service.memory import Memory, dissolve, hold_collector, settle_collector
from tests.support import pki
from tests.support.services import ServiceCase


class DissolveTests(ServiceCase):
    """
    What is left of a configuration.
    """

    def test_all_is_free(self) -> None:
        """
        Without the collector nothing is left of one that is taken apart, contexts with their keys least of all; and it
        is done piece by piece.
        """
        files = pki.leaf(pki.authority("A"), "a.example").write(self.folder, "a")
        with open(self.path("edge.conf"), "w") as file:
            file.write(
                "stream { map $ssl_server_name $to { a 192.0.2.1:1; default 192.0.2.2:1; }"
                f" server {{ listen unix:{self.path('a')} ssl; proxy_pass $to; proxy_ssl on;"
                f" ssl_certificate {files.certificate}; ssl_certificate_key {files.key}; }} }}"
            )
        gc.collect()
        rests: list[int] = []
        build = load(self.path("edge.conf"))
        (listening,) = listenings(build)
        held = [weakref.ref(each) for each in (build, listening.default, listening.default.tls._context)]
        dissolve(build, lambda: rests.append(1))
        del build, listening
        self.assertEqual([each() for each in held], [None, None, None])
        self.assertGreater(len(rests), 3)


class MemoryTests(ServiceCase):
    """
    The collector, and what it is spared.
    """

    def memory(self, ours: bool = True) -> Memory:
        """
        Of a process.
        """
        self.configure("a")
        self.collector.clear()
        return Memory(self.reactor, ours)

    def build(self) -> Build:
        """
        A configuration without sessions.
        """
        return load(self.path("edge.conf"))

    def turn(self) -> list[str]:
        """
        @return: what the collector has been told after the reactor's next turn.
        """
        self.reactor.advance(0)
        told = self.collector[:]
        self.collector.clear()
        return told

    def test_settle(self) -> None:
        """
        The collector is told what stays, after it has looked once; until then it may be kept from looking.
        """
        self.collector.clear()
        settle_collector()
        self.assertEqual(self.collector, ["collect", "freeze", "set_threshold", "enable"])
        self.collector.clear()
        hold_collector()
        self.assertEqual(self.collector, ["disable"])

    def test_hold(self) -> None:
        """
        It does not look while much is made, and afterwards not at what has been made.
        """
        memory = self.memory()
        memory.hold()
        self.assertEqual(self.turn(), ["disable"])
        memory.release(made=True)
        self.assertEqual(self.turn(), ["freeze", "enable"])
        memory.release(made=False)
        self.assertEqual(self.turn(), ["enable"])

    def test_guests(self) -> None:
        """
        That of somebody else's process is told nothing; configurations are taken apart all the same.
        """
        memory = self.memory(ours=False)
        build = self.build()
        memory.hold()
        memory.release(made=True)
        memory.leave(build)
        self.assertNotEqual(build.shared, {})
        self.assertEqual(self.turn(), [])
        self.assertEqual(build.shared, {})

    def test_leave(self) -> None:
        """
        What could be taken apart needs no collector.
        """
        memory = self.memory()
        memory.leave(self.build())
        self.assertEqual(self.turn(), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_kept(self) -> None:
        """
        Where somebody keeps a configuration everything is looked at, for it may be a circle that does.
        """
        memory = self.memory()
        build = self.build()
        memory.leave(build)
        self.assertEqual(self.turn(), ["unfreeze", "collect", "freeze"])
        self.assertEqual(build.shared, {})

    def test_many(self) -> None:
        """
        So it is when many have gone: modules of others may keep circles of their own.
        """
        memory = self.memory()
        self.patch(under_test, "MANY", 3)
        found = []
        for _ in range(6):
            memory.leave(self.build())
            found.append(self.turn())
        everything = ["unfreeze", "collect", "freeze"]
        self.assertEqual(found, [[], [], everything, [], [], everything])

    def test_fault(self) -> None:
        """
        What cannot be taken apart is told in the log, and left to the collector.
        """
        memory = self.memory()
        build = self.build()

        def broken() -> None:
            raise ZeroDivisionError

        self.patch(build, "dissolve", broken)
        events: Any = []
        self.patch(under_test, "_log", Logger(observer=events.append))
        memory.leave(build)
        self.assertEqual(self.turn(), ["unfreeze", "collect", "freeze"])
        self.assertIn("could not be taken apart: ZeroDivisionError()", formatEvent(events[-1]))

    def test_stop(self) -> None:
        """
        When the process ends nothing is taken apart any more, begun or not.
        """
        self.patch(turns, "TURN", 0.0)
        memory = self.memory()
        memory.leave(self.build())
        memory.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        memory.leave(self.build())
        self.reactor.getDelayedCalls()[0].cancel()
        memory._leave(self.build())
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        memory.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        memory.stop()
