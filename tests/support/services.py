"""
A service of a process in memory: its files are real, its clients and its network are not.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.service import serving, turns
from sniproxy.service.main import ProxyService
from tests.support.processes import Reactor
from tests.support.sessions import FakeLeg, engine_in_memory


class ServiceCase(SynchronousTestCase):
    """
    A service whose sockets are unix sockets in a folder, and whose network is in memory.
    """

    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="sniproxy")
        self.addCleanup(shutil.rmtree, self.folder)
        self.reactor = Reactor()
        self.engine = engine_in_memory(self.reactor)
        self.ours: list[bool] = []
        self.patch(serving, "Engine", self._engine)
        self.collector: list[str] = []
        # what is read is read at once: nothing takes long by this clock, and every answer is waited for
        self.patch(turns, "PATIENCE", 60.0)
        for name in ("collect", "freeze", "unfreeze", "disable", "enable", "set_threshold"):
            self.patch(gc, name, lambda *what, name=name: self.collector.append(name))

    def _engine(self, reactor: Any, time: Any, ours: bool) -> Any:
        self.ours.append(ours)
        return self.engine

    def path(self, name: str) -> str:
        """
        Of a file in the folder.
        """
        return os.path.join(self.folder, name)

    def configure(self, *sockets: str, more: str = "", level: str = "info") -> None:
        """
        Write a configuration with a server for each of these sockets, and a log.
        """
        servers = "".join(
            f"server {{ listen unix:{self.path(name)}; proxy_pass 192.0.2.1:1; access_log access.log short; }}\n"
            for name in sockets
        )
        with open(self.path("edge.conf"), "w") as file:
            file.write(
                f"error_log edge.log {level};\n{more}\n"
                f"stream {{ log_format short '$connection $status $pid'; {servers} }}\n"
            )

    def service(self, **settings: Any) -> ProxyService:
        """
        Made, and stopped in the end.
        """
        service = ProxyService(self.path("edge.conf"), reactor=self.reactor, **settings)
        self.addCleanup(service.stopService)
        return service

    def started(self, *sockets: str, more: str = "", **settings: Any) -> ProxyService:
        """
        A service at work.
        """
        self.configure(*sockets, more=more)
        service = self.service(**settings)
        service.startService()
        self.reactor.begin()
        return service

    def lines(self, name: str = "edge.log") -> list[str]:
        """
        What a log says, without times.
        """
        with open(self.path(name)) as file:
            return [line.split("] ", 1)[-1].split(": ", 1)[-1].rstrip("\n") for line in file]

    def said(self, text: str) -> bool:
        """
        Whether the error log has this in a line.
        """
        return any(text in line for line in self.lines())

    def listeners(self) -> dict[str, Any]:
        """
        Those that accept, by the names of their sockets.
        """
        return {
            os.path.basename(listener.sock.getsockname()): listener
            for listener in self.engine.network.listeners
            if listener.started
        }

    def client(self, name: str) -> FakeLeg:
        """
        A client comes in.
        """
        leg = FakeLeg(self.engine.network, Address("unix", ""), Address("unix", self.path(name)))
        self.listeners()[name].accepted(leg)
        self.engine.network.turn()
        return leg

    def names(self) -> list[str]:
        """
        The unix sockets that have names.
        """
        return sorted(name for name in os.listdir(self.folder) if "." not in name)
