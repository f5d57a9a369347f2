"""
Tests for L{sniproxy.service.serving}.
"""

from __future__ import annotations

import os

from sniproxy.addresses import Address
from sniproxy.config.build import Build
from sniproxy.logs.sinks import files_of
from sniproxy.service.load import load
from sniproxy.service.serving import LOOK, Serving
from sniproxy.service.sockets import close_socket, open_sockets
from tests.support.services import ServiceCase
from tests.support.sessions import FakeLeg


class ServingTests(ServiceCase):
    """
    One configuration after another.
    """

    def setUp(self) -> None:
        super().setUp()
        self.ended: list[bool] = []
        self.gone: list[Build] = []

    def serving(self, *sockets: str, more: str = "") -> Serving:
        """
        At work.
        """
        self.serve = Serving(self.reactor, self.build(*sockets, more=more), self.over)
        self.sockets = open_sockets(self.serve.runtime.build, {})
        self.addCleanup(self.close)
        self.serve.open(self.sockets)
        return self.serve

    def over(self, build: Build) -> None:
        """
        A configuration has lost its last session.
        """
        self.ended.append(self.serve.over)
        self.gone.append(build)

    def close(self) -> None:
        """
        The sockets are ours.
        """
        for address, sock in self.sockets.items():
            close_socket(address, sock)

    def build(self, *sockets: str, more: str = "") -> Build:
        """
        A configuration whose logs are open.
        """
        self.configure(*sockets, more=more)
        build = load(self.path("edge.conf"))
        files_of(build).open(self.reactor)
        return build

    def test_replace(self) -> None:
        """
        The new one takes what comes; the old one ends with its last session, which is told.
        """
        serving = self.serving("a")
        old = serving.runtime
        client = self.client("a")
        serving.replace(self.build("a"), self.sockets)
        self.assertIsNot(serving.runtime, old)
        self.client("a")
        self.assertEqual((len(serving.runtime.sessions), self.ended), (1, []))
        client.owner.finish(200)
        self.assertEqual((self.ended, serving.over), ([False], False))
        serving.stop()

    def test_quit(self) -> None:
        """
        When the last session of all is over, it is; nothing is accepted meanwhile.
        """
        serving = self.serving("a")
        first = self.client("a")
        serving.replace(self.build("a"), self.sockets)
        second = self.client("a")
        serving.quit()
        self.assertEqual((self.listeners(), serving.quitting), ({}, True))
        first.owner.finish(200)
        self.assertFalse(serving.over)
        second.owner.finish(200)
        self.assertEqual((serving.over, self.ended), (True, [False, True]))
        serving.stop()

    def test_quit_with_the_last(self) -> None:
        """
        Who has connected before is served to the end, though nobody was told of him yet.
        """
        serving = self.serving("a")
        client = FakeLeg(self.engine.network, Address("unix", ""), Address("unix", self.path("a")))
        self.listeners()["a"].waiting.append(client)
        serving.quit()
        self.assertEqual((len(serving.runtime.sessions), serving.over), (1, False))
        client.owner.finish(200)
        self.assertTrue(serving.over)
        serving.stop()

    def test_delivered(self) -> None:
        """
        It is over when no socket lingers any more, or at worker_shutdown_timeout; an older configuration does not wait
        for that.
        """
        for more, late in (("", 3600), ("worker_shutdown_timeout 5s;", 5)):
            self.setUp()
            serving = self.serving("a", more=more)
            first = self.client("a")
            self.engine.network.lingering = True
            serving.replace(self.build("a", more=more), self.sockets)
            first.owner.finish(200)
            self.assertEqual(self.ended, [False])
            last = self.client("a")
            serving.quit()
            last.owner.finish(200)
            self.reactor.advance(LOOK)
            self.reactor.advance(LOOK)
            self.assertEqual(self.ended, [False])
            self.reactor.pump([LOOK] * int(late / LOOK))
            self.assertEqual((self.ended, serving.over), ([False, True], True) if more else ([False], False))
            self.engine.network.lingering = False
            self.reactor.advance(LOOK)
            self.assertEqual((self.ended, serving.over), ([False, True], True))
            serving.stop()
            self.assertEqual([call for call in self.reactor.getDelayedCalls() if "stop" in str(call)], [])

    def test_stop_undelivered(self) -> None:
        """
        Who stops does not wait for that.
        """
        serving = self.serving("a")
        self.engine.network.lingering = True
        serving.quit()
        self.assertFalse(serving.over)
        serving.stop()
        self.assertTrue(serving.over)
        self.assertEqual([call for call in self.reactor.getDelayedCalls() if "stop" in str(call)], [])

    def test_ours(self) -> None:
        """
        The engine is told whether the process is ours: it is not, unless somebody says so.
        """
        self.serving("a").stop()
        Serving(self.reactor, self.build("a"), self.over, ours=True).stop()
        self.assertEqual(self.ours, [False, True])

    def test_limit(self) -> None:
        """
        worker_shutdown_timeout bounds how long that takes, counted once; no timer is left when it was not needed.
        """
        serving = self.serving("a", more="worker_shutdown_timeout 5s;")
        self.client("a")
        serving.replace(self.build("a", more="worker_shutdown_timeout 1h;"), self.sockets)
        self.reactor.advance(3)
        client = self.client("a")
        serving.quit()
        self.reactor.advance(2)
        self.assertEqual(self.ended, [False])
        client.owner.finish(200)
        waiting = [call for call in self.reactor.getDelayedCalls() if "abort" in str(call)]
        self.assertEqual((self.ended, waiting), ([False, True], []))
        serving.stop()

    def test_stop(self) -> None:
        """
        The end at once: all sessions are logged, nobody is told, the engine stops; after quitting too.
        """
        for quitting in (False, True):
            self.setUp()
            serving = self.serving("a", more="worker_shutdown_timeout 5s;")
            self.client("a")
            serving.replace(self.build("a", more="worker_shutdown_timeout 5s;"), self.sockets)
            self.client("a")
            if quitting:
                serving.quit()
            serving.stop()
            self.assertEqual(len(self.lines("access.log")), 2)
            self.assertEqual((self.ended, self.engine.network.stopped), ([], True))
            self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_reopen(self) -> None:
        """
        Logs of all configurations are opened anew.
        """
        serving = self.serving("a")
        client = self.client("a")
        serving.replace(self.build("a"), self.sockets)
        new = self.client("a")
        os.rename(self.path("access.log"), self.path("access.log.1"))
        serving.reopen()
        client.owner.finish(200)
        new.owner.finish(200)
        self.assertEqual(len(self.lines("access.log")), 2)
        serving.stop()
