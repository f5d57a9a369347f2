"""
Tests for L{sniproxy.tap}.
"""

from __future__ import annotations

import errno
import gc
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.application.service import IService, IServiceMaker, Service
from twisted.plugin import IPlugin, getPlugins
from twisted.trial.unittest import SynchronousTestCase

from sniproxy import tap
from sniproxy.errors import ConfigError, ConfigErrors
from sniproxy.service.about import long
from sniproxy.service.demo import main as demo
from sniproxy.tap import Options, makeService


class TapCase(SynchronousTestCase):
    """
    A configuration, and what is said on the standard streams.
    """

    def setUp(self) -> None:
        self.addCleanup(gc.enable)  # who begins a process of his own keeps the collector from looking
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        self.err = io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def file(self, text: str | bytes) -> str:
        """
        Write the configuration.
        """
        path = self.folder / "edge.conf"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def run_options(self, *words: str) -> int | None:
        """
        @return: the exit status; None where the program goes on.
        """
        self.options = Options()
        try:
            self.options.parseOptions(list(words))
        except SystemExit as end:
            code = end.code
            assert isinstance(code, int)
            return code
        return None

    def printed(self) -> bytes:
        """
        What went to standard output.
        """
        self.out.flush()
        buffer = self.out.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue()


class CommandLineTests(TapCase):
    """
    What may be said, and what is wrong with it.
    """

    def test_goes_on(self) -> None:
        """
        With a configuration the program goes on, which nobody has read yet.
        """
        self.assertIsNone(self.run_options("--config", "nowhere.conf", "-p", "/run", "-g", "pid a;"))
        self.assertEqual(
            (self.options["config"], self.options["prefix"], self.options["globals"]),
            ("nowhere.conf", "/run", "pid a;"),
        )
        self.assertEqual((self.printed(), self.err.getvalue()), (b"", ""))

    def test_wrong_words(self) -> None:
        """
        What is wrong is one complaint on standard error, and the exit status is 1.
        """
        for words, complaint in (
            ((), "--config FILE is needed"),
            (("--bogus",), "option --bogus not recognized"),
            (("--config",), "option --config requires argument"),
            (("--demo", "--config", "x"), "--demo has configurations of its own: it does not go with --config"),
            (("--demo", "--test"), "--demo has configurations of its own: it does not go with --test"),
        ):
            self.setUp()
            self.assertEqual(self.run_options(*words), 1)
            self.assertEqual(self.err.getvalue(), f"sniproxy: {complaint}\nTry --help for usage information.\n")
            self.assertEqual(self.printed(), b"")


class VersionTests(TapCase):
    """
    C{--version}.
    """

    def test_version(self) -> None:
        """
        Which build this is goes to standard output, whatever else is said, and the exit status is 0.
        """
        self.assertEqual(self.run_options("--version", "--bogus"), 1)
        for word in ("--version", "-v", "-V"):
            self.setUp()
            self.assertEqual(self.run_options("--demo", word), 0)
            self.assertEqual(self.printed().decode(), long() + "\n")


class TestTests(TapCase):
    """
    C{--test} and C{--dump}.
    """

    def test_good(self) -> None:
        """
        A good configuration is told on standard error as nginx tells it, with its warnings, and the exit status is 0.
        """
        path = self.file("worker_cpu_affinity 01 10; stream { server { listen 127.0.0.1:1; proxy_pass 127.0.0.1:2; } }")
        self.assertEqual(self.run_options("-t", "-c", path), 0)
        warning, *rest = self.err.getvalue().splitlines()
        self.assertTrue(warning.startswith('[warn] the number of "worker_processes" is not equal'))
        self.assertEqual(
            rest,
            [
                f"sniproxy: the configuration file {path} syntax is ok",
                f"sniproxy: configuration file {path} test is successful",
            ],
        )
        self.assertEqual(self.printed(), b"")

    def test_bad(self) -> None:
        """
        All that is wrong is told, a line each, and the exit status is 1.
        """
        path = self.file("bogus;\nstream { server { listen x; } }")
        for word in ("--test", "--dump"):
            self.setUp()
            path = self.file("bogus;\nstream { server { listen x; } }")
            self.assertEqual(self.run_options(word, "--config", path), 1)
            self.assertEqual(
                self.err.getvalue().splitlines(),
                [
                    f'[emerg] unknown directive "bogus" in {path}:1',
                    f'[emerg] host not found in "x" of the "listen" directive in {path}:2',
                    f"sniproxy: configuration file {path} test failed",
                ],
            )
            self.assertEqual(self.printed(), b"")

    def test_logs_and_pid_file(self) -> None:
        """
        Logs and the pid file must be where they can be written, as at a start.
        """
        path = self.file("error_log /nowhere/a;")
        self.assertEqual(self.run_options("-t", "-c", path), 1)
        self.assertIn('[emerg] open() "/nowhere/a" failed (2: No such file or directory)', self.err.getvalue())
        path = self.file("pid /nowhere/b;")
        self.assertEqual(self.run_options("-t", "-c", path), 1)
        self.assertIn('"/nowhere/b" failed (2: No such file or directory)', self.err.getvalue())

    def test_dump(self) -> None:
        """
        What is in force goes to standard output, byte for byte as it was written, though it be no UTF-8.
        """
        path = self.file(b"stream { map $remote_addr $a { default \xff; } server { listen 127.0.0.1:1; } }")
        self.assertEqual(self.run_options("--dump", "--config", path), 0)
        printed = self.printed()
        self.assertIn(b"listen 127.0.0.1:1;", printed)
        self.assertIn(b"\xff", printed)
        self.assertIn("syntax is ok", self.err.getvalue())

    def test_globals_and_prefix(self) -> None:
        """
        What is said beside the file counts.
        """
        path = self.file("pid a.pid;")
        self.assertEqual(self.run_options("-t", "-c", path, "-g", "bogus;"), 1)
        self.assertIn('unknown directive "bogus" in command line', self.err.getvalue())

    def test_nowhere_to_print(self) -> None:
        """
        A standard output that is full is told, and one that was never there is not missed.
        """
        path = self.file("")

        class Full(io.BytesIO):
            def write(self, data: Any) -> int:
                raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(sys, "stdout", SimpleNamespace(buffer=Full()))
        self.assertEqual(self.run_options("--dump", "--config", path), 1)
        self.assertIn("write() to standard output failed (28: No space left on device)", self.err.getvalue())
        self.patch(sys, "stdout", None)
        self.assertEqual(self.run_options("--dump", "--config", path), 0)


class ServiceTests(TapCase):
    """
    What twistd runs.
    """

    def test_found(self) -> None:
        """
        twistd finds the maker by its name.
        """
        (maker,) = [each for each in getPlugins(IServiceMaker) if each.tapname == "sniproxy"]
        self.assertTrue(IPlugin.providedBy(maker))
        self.assertIs(maker.options, Options)

    def test_service(self) -> None:
        """
        The service gets all that was said.
        """
        made: list[Any] = []

        def make(*what: Any) -> Service:
            made.append(what)
            return Service()

        self.patch(tap, "make_service", make)
        self.run_options("-c", "a.conf", "-p", "/run", "-g", "pid a;")
        self.assertTrue(IService.providedBy(makeService(self.options)))
        self.assertEqual(made, [("a.conf", "/run", "pid a;")])

    def test_wrong_configuration(self) -> None:
        """
        What is wrong is a line each on standard error, without a traceback, and the exit status is 1.
        """
        path = self.file("bogus;")
        self.run_options("-c", path)
        end = self.assertRaises(SystemExit, makeService, self.options)
        self.assertEqual(end.code, 1)
        self.assertEqual(self.err.getvalue(), f'[emerg] unknown directive "bogus" in {path}:1\n')


class DemoTests(TapCase):
    """
    C{--demo}.
    """

    def make(
        self, *words: str, fault: Exception | None = None, logfile: str | None = None, nodaemon: bool = True
    ) -> Any:
        """
        What it is made with.
        """
        options = Options()
        parent: Any = {"nodaemon": nodaemon, "logfile": logfile}
        options.parent = parent
        options.parseOptions(["--demo", *words])
        made: list[Any] = []

        def service(**settings: Any) -> Service:
            if fault is not None:
                raise fault
            made.append(settings)
            return Service()

        self.patch(demo, "DemoService", service)
        self.patch(demo, "uses_proxy", lambda environment: False)
        makeService(options)
        return made

    def test_made(self) -> None:
        """
        The demonstration keeps its log to itself, unless a log file was named.
        """
        self.assertEqual(self.make(), [{"proxied": False, "own_log": True}])
        self.assertEqual(self.make(logfile="a.log"), [{"proxied": False, "own_log": False}])

    def test_foreground(self) -> None:
        """
        It stays in the foreground.
        """
        end = self.assertRaises(SystemExit, self.make, nodaemon=False)
        self.assertEqual(end.code, 1)
        self.assertIn("--demo stays in the foreground", self.err.getvalue())

    def test_faults(self) -> None:
        """
        What keeps it from starting is said in a line, and the exit status is 1.
        """
        for fault, line in (
            (OSError("no port"), "sniproxy: the demonstration cannot be started: no port\n"),
            (ConfigErrors((ConfigError("wrong"),)), "[emerg] wrong\n"),
        ):
            self.setUp()
            end = self.assertRaises(SystemExit, self.make, fault=fault)
            self.assertEqual((end.code, self.err.getvalue()), (1, line))
