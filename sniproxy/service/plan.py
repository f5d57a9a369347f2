"""
What is a worker given by its master? Everything that makes it serve exactly what the master has checked, and the
numbers of the descriptors it is born with.
"""

from __future__ import annotations

import marshal
import os
import sys
from dataclasses import astuple, dataclass
from typing import Any, Final

from sniproxy.addresses import Address, DatagramAddress

HEAR: Final = 3
"""The descriptor on which a worker hears its master."""

SAY: Final = 4
"""The one on which it tells him."""

PLAN: Final = 5
"""The one from which it reads its plan."""

SOCKETS: Final = 6
"""The first of its listening sockets, in the order of C{Plan.addresses}; behind them come the tables it counts in."""

_BOOT: Final = (
    "import gc, sys; gc.disable(); sys.path[:] = sys.argv.pop().split({separator!r});"
    " from sniproxy.service.worker import main; main()"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The same for all workers of one configuration.

    @ivar file: the main configuration file.
    @ivar prefix: what logs are relative to, or None.
    @ivar globals_text: directives before those of the file.
    @ivar snapshot: what the configuration was made from, see L{sniproxy.service.snapshot}.
    @ivar addresses: what the listening sockets are for.
    @ivar reactor: the module whose C{install} makes the reactor.
    @ivar tables: how many tables there are to count in.
    @ivar patient: whether others accept meanwhile, so that a worker may wait for what it has to ask for first.
    """

    file: str
    prefix: str | None
    globals_text: str
    snapshot: bytes
    addresses: tuple[Address, ...]
    reactor: str
    tables: int = 0
    patient: bool = False

    def dumps(self) -> bytes:
        """
        For L{loads} in a process of the same Python.
        """
        addresses = [(isinstance(each, DatagramAddress), astuple(each)) for each in self.addresses]
        words = (self.file, self.prefix, self.globals_text, self.snapshot)
        return marshal.dumps((*words, addresses, self.reactor, self.tables, self.patient))


def loads(data: bytes) -> Plan:
    """
    The plan again.
    """
    file, prefix, globals_text, snapshot, addresses, reactor, tables, patient = marshal.loads(data)
    found = tuple((DatagramAddress if udp else Address)(*parts) for udp, parts in addresses)
    return Plan(file, prefix, globals_text, snapshot, found, reactor, tables, patient)


def python_path() -> list[str]:
    """
    Where this process looks for modules, whatever folder it may be in later.
    """
    return [os.path.abspath(each) for each in sys.path]


def command(path: list[str], worker: int, seat: int) -> list[str]:
    """
    The command line of a worker. Nothing of ours is imported before it looks where
    its master looks; and the collector waits until all is there.

    @param path: of L{python_path}.
    @param worker: from 0.
    @param seat: its column in tables.
    """
    boot = _BOOT.format(separator=os.pathsep)
    return [sys.executable, "-c", boot, "sniproxy: worker process", str(worker), str(seat), os.pathsep.join(path)]


def reactor_module(reactor: Any) -> str:
    """
    The module of which a process of its own can install such a reactor; empty where there is none.
    """
    name = type(reactor).__module__
    return name if hasattr(sys.modules.get(name), "install") else ""
