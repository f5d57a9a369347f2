"""
Tests for L{sniproxy.service.plan}.
"""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address, DatagramAddress
from sniproxy.service.plan import Plan, command, loads, python_path, reactor_module


class PlanTests(SynchronousTestCase):
    """
    What a worker is given.
    """

    def test_again(self) -> None:
        """
        A plan comes out as it went in, whatever bytes are in it.
        """
        addresses = (
            Address("inet", "127.0.0.1", 80),
            DatagramAddress("inet", "127.0.0.1", 80),
            Address("unix", "/run/\udcff.sock"),
        )
        for prefix in (None, "/var"):
            plan = Plan("/etc/\udcff.conf", prefix, "pid a;", b"\x00\xff", addresses, "some.reactor", 3, prefix is None)
            self.assertEqual(loads(plan.dumps()), plan)

    def test_reactor(self) -> None:
        """
        A reactor is known by the module that installs such ones; one that nobody installs has none.
        """
        self.assertEqual(reactor_module(EPollReactor.__new__(EPollReactor)), "twisted.internet.epollreactor")
        self.assertEqual(reactor_module(Clock()), "")


class CommandTests(SynchronousTestCase):
    """
    How a worker is started.
    """

    def test_path(self) -> None:
        """
        It looks for modules where its master does, wherever it runs: not in the folder it is started in.
        """
        self.patch(sys, "path", ["", "lib", "/opt"])
        self.assertEqual(python_path(), [os.getcwd(), os.path.abspath("lib"), "/opt"])

    def test_what_it_imports(self) -> None:
        """
        It runs C{main} of the worker that it finds there, and nothing of the folder it is started in; its numbers
        come last.
        """
        home, here = (os.path.abspath(self.mktemp()) for _ in range(2))
        os.makedirs(f"{home}/sniproxy/service")
        for name in ("__init__", "service/__init__"):
            open(f"{home}/sniproxy/{name}.py", "w").close()
        with open(f"{home}/sniproxy/service/worker.py", "w") as file:
            file.write("import sys\ndef main():\n    print(sys.argv, sys.path)\n")
        os.mkdir(here)
        with open(f"{here}/sniproxy.py", "w") as file:
            file.write("print('a stranger')\n")
        answer = subprocess.run(command([home], 3, 7), cwd=here, capture_output=True, text=True, check=False)
        self.assertEqual(answer.stdout, f"{['-c', 'sniproxy: worker process', '3', '7']} {[home]}\n", answer.stderr)


class ReactorOfNoModuleTests(SynchronousTestCase):
    """
    A reactor made by hand.
    """

    def test_unknown(self) -> None:
        """
        A class whose module is not there has none.
        """
        kind = type("Odd", (SimpleNamespace,), {"__module__": "no.such.module"})
        self.assertEqual(reactor_module(kind()), "")
