"""
Does a module of somebody else work? The example's own folder is put on the path, as an installation would, and twistd
is run with a configuration that uses it.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys

from tests.support.ports import free_port
from tests.support.programs import PATIENCE, ROOT, python_environment, read_text, run, write_text
from tests.support.proxies import SNIPROXY, ProxyTestCase, command

PLUGIN = os.path.join(ROOT, "examples", "plugin")


class PluginTests(ProxyTestCase):
    """
    examples/plugin, copied so that nothing is written beside it.
    """

    def setUp(self) -> None:
        """
        Put the copy on the path of the programs that the test starts.
        """
        super().setUp()
        home = self.path("installed")
        shutil.copytree(
            PLUGIN, home, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache", "build", "*.egg-info")
        )
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (home, before)))

        def restore() -> None:
            del os.environ["PYTHONPATH"]
            if before is not None:
                os.environ["PYTHONPATH"] = before

        self.addCleanup(restore)

    def ask(self, port: int) -> str:
        """
        All that a client hears.
        """
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            return b"".join(iter(lambda: client.recv(4096), b"")).decode()

    def test_printed_configuration(self) -> None:
        """
        The configuration beside the module runs as it stands, but for its port, and each client is told the count.
        """
        port = free_port()
        shutil.copy(os.path.join(PLUGIN, "closed.txt"), self.folder)
        text = read_text(os.path.join(PLUGIN, "notice.conf"))
        self.assertEqual(text.count("listen 2222;"), 1)
        proxy = self.proxy(text.replace("listen 2222;", f"listen 127.0.0.1:{port};"))
        for count in (1, 2):
            self.assertEqual(self.ask(port), f"Closed today, 127.0.0.1. You have asked {count} times.\n")
        proxy.reload()
        self.assertEqual(self.ask(port), "Closed today, 127.0.0.1. You have asked 1 times.\n")

    def test_its_own_tests(self) -> None:
        """
        The tests that the module brings pass.
        """
        done = run(
            *(sys.executable, "-m", "twisted.trial", os.path.join(PLUGIN, "test_notice.py")),
            folder=self.folder,
            env=python_environment(),
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_without_it(self) -> None:
        """
        Where the module is not on the path its directive is unknown, and nothing else of it is left.
        """
        os.environ["PYTHONPATH"] = ROOT
        path = write_text(self.path("edge.conf"), "stream { server { listen 127.0.0.1:1; notice closed.txt; } }")
        done = run(*command(SNIPROXY, path, "--test"), folder=self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f'[emerg] unknown directive "notice" in {path}:1\n', done.stderr)
