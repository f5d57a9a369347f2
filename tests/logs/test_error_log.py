"""
Who hears what, and how it looks.
"""

from __future__ import annotations

import os
import socket
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.config import values
from sniproxy.config.build import Build, configure
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from sniproxy.levels import ALERT, CRIT, DEBUG, EMERG, ERROR, INFO, NAMES, NOTICE, WARN
from sniproxy.logs import error_log
from sniproxy.logs.error_log import LONGEST, ErrorLog, Hear, errlog, error_log_of, hear_for_twisted
from sniproxy.logs.memory import MemoryLog
from sniproxy.logs.sinks import files_of
from tests.support.descriptors import divert

NOON = datetime(2023, 3, 17, 12, 5, 9).timestamp()

STREAM: Directive[Any] = Directive("stream", ("main",), (0, 0), values.block, None, Inherit.NEVER, opens="stream")
SERVER: Directive[Any] = Directive(
    "server", ("stream",), (0, 0), values.block, (), Inherit.NEVER, Repeat.LISTED, opens="stream.server"
)


class Blocks:
    """
    The blocks that C{error_log} may stand in.
    """

    name = "blocks"
    directives = (STREAM, SERVER)
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        Nothing.
        """


class LineTests(SynchronousTestCase):
    """
    The shape of a line, and who hears it.
    """

    def setUp(self) -> None:
        self.now = NOON
        self.heard: list[tuple[int, bytes]] = []

    def log(self, *levels: int) -> ErrorLog:
        return ErrorLog(
            [(level, lambda level, line: self.heard.append((level, line))) for level in levels], lambda: self.now
        )

    def test_shape(self) -> None:
        """
        A line has local time, level, process, connection and message, as nginx writes them.
        """
        self.log(ERROR).write(ERROR, "no resolver defined", 7)
        process = b"%d#%d" % (os.getpid(), os.getpid())
        self.assertEqual(
            self.heard, [(ERROR, b"2023/03/17 12:05:09 [error] " + process + b": *7 no resolver defined\n")]
        )

    def test_without_connection(self) -> None:
        """
        What concerns no connection has no number.
        """
        self.log(ERROR).write(CRIT, "hello")
        self.assertTrue(self.heard[0][1].endswith(b"#%d: hello\n" % os.getpid()))

    def test_time_goes_on(self) -> None:
        """
        The time is written anew each second.
        """
        log = self.log(DEBUG)
        for step in (0.0, 0.4, 0.7, 60.0):
            self.now = NOON + step
            log.write(INFO, "x")
        self.assertEqual([line[11:19] for _, line in self.heard], [b"12:05:09", b"12:05:09", b"12:05:09", b"12:06:09"])

    def test_levels(self) -> None:
        """
        Each level has its name, and is heard by targets of its level and of more talkative ones only.
        """
        for level in (EMERG, ALERT, CRIT, ERROR, WARN, NOTICE, INFO, DEBUG):
            log = self.log(level)
            self.assertEqual(log.level, level)
            for spoken in (EMERG, ALERT, CRIT, ERROR, WARN, NOTICE, INFO, DEBUG):
                self.heard.clear()
                log.write(spoken, "x")
                self.assertEqual([at for at, _ in self.heard], [spoken] if spoken <= level else [])
                for _, line in self.heard:
                    self.assertIn(f" [{NAMES[spoken]}] ".encode(), line)

    def test_several_targets(self) -> None:
        """
        Every target that wants a level hears it, and the log's level is that of the most talkative.
        """
        log = self.log(ERROR, INFO, WARN)
        self.assertEqual(log.level, INFO)
        log.write(WARN, "x")
        self.assertEqual(len(self.heard), 2)

    def test_order_of_targets(self) -> None:
        """
        The most talkative target hears first, and of equals the first.
        """
        heard: list[str] = []

        def target(level: int, who: str) -> tuple[int, Hear]:
            return level, lambda spoken, line: heard.append(who)

        ErrorLog([target(ERROR, "a"), target(INFO, "b"), target(ERROR, "c"), target(WARN, "d")], lambda: 0.0).write(
            ERROR, "x"
        )
        self.assertEqual(heard, ["b", "d", "a", "c"])

    def test_nobody(self) -> None:
        """
        A log without targets wants nothing.
        """
        log = self.log()
        log.write(EMERG, "x")
        self.assertEqual((log.level, self.heard), (0, []))

    def test_nothing_to_do(self) -> None:
        """
        What nobody hears costs no look at the clock.
        """
        log = ErrorLog([(ERROR, lambda level, line: None)], cast(Any, None))
        log.write(WARN, "x")

    def test_control_characters(self) -> None:
        """
        A stranger's newline begins no line of its own.
        """
        self.log(ERROR).write(ERROR, "name a\n2023/03/17 [emerg]\x00\x7f\x1b[1m\té")
        self.assertTrue(self.heard[0][1].endswith("name a\\x0A2023/03/17 [emerg]\\x00\\x7F\\x1B[1m\\x09é\n".encode()))

    def test_bytes_of_strangers(self) -> None:
        """
        Bytes that are no UTF-8 are written as they came; what stands for no byte is spelled out.
        """
        self.log(ERROR).write(ERROR, b"a\xff".decode("utf-8", "surrogateescape"))
        self.log(ERROR).write(ERROR, "a\ud800")
        self.assertTrue(self.heard[0][1].endswith(b": a\xff\n"))
        self.assertTrue(self.heard[1][1].endswith(b": a\\ud800\n"))

    def test_longest(self) -> None:
        """
        A line has an end.
        """
        self.log(ERROR).write(ERROR, "x" * 10_000)
        self.assertEqual(len(self.heard[0][1]), LONGEST)
        self.assertTrue(self.heard[0][1].endswith(b"x\n"))


class TwistedTests(SynchronousTestCase):
    """
    Where no error_log is configured.
    """

    def test_levels_and_text(self) -> None:
        """
        Twisted's log gets the line without its time, at the level that is nearest.
        """
        events: list[Any] = []
        self.patch(error_log._log, "observer", events.append)
        log = ErrorLog([(DEBUG, hear_for_twisted)], lambda: NOON)
        for level in (EMERG, ALERT, CRIT, ERROR, WARN, NOTICE, INFO, DEBUG):
            log.write(level, "odd {thing} \udcff", 3)
        self.assertEqual(
            [event["log_level"].name for event in events],
            ["critical", "critical", "critical", "error", "warn", "info", "info", "debug"],
        )
        process = os.getpid()
        self.assertEqual(events[3]["text"], f"[error] {process}#{process}: *3 odd {{thing}} \\udcff")


class ConfiguredTests(SynchronousTestCase):
    """
    error_log as it is written.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def configure(self, text: str) -> Build:
        build = configure(text, [Blocks(), errlog], file="/etc/edge.conf", prefix=str(self.folder), time=lambda: NOON)
        self.addCleanup(files_of(build).close)
        return build

    def server(self, build: Build) -> Scope:
        return build.root.children[0].children[0]

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def test_module(self) -> None:
        """
        The directive comes with a module.
        """
        self.assertTrue(verifyObject(IModule, errlog))
        self.assertIsNone(errlog.attach(None, Build([], file="a")))  # type: ignore[func-returns-value]

    def test_default(self) -> None:
        """
        With no directive errors and worse go to Twisted's log, and no file is made.
        """
        build = self.configure("")
        events: list[Any] = []
        self.patch(error_log._log, "observer", events.append)
        log = error_log_of(build, build.root)
        self.assertEqual(log.level, ERROR)
        log.write(WARN, "quiet")
        log.write(ERROR, "loud")
        self.assertEqual([event["text"].rpartition(": ")[2] for event in events], ["loud"])
        files_of(build).open(Clock())
        self.assertEqual(os.listdir(self.folder), [])

    def test_file(self) -> None:
        """
        A file is relative to the prefix, hears error and worse, and is made when the configuration is taken.
        """
        build = self.configure("error_log e.log;")
        log = error_log_of(build, build.root)
        self.assertEqual((log.level, os.listdir(self.folder)), (ERROR, []))
        files_of(build).open(Clock())
        log.write(ERROR, "loud")
        log.write(WARN, "quiet")
        self.assertRegex(self.read("e.log"), r"^2023/03/17 12:05:09 \[error\] \d+#\d+: loud\n$")

    def test_opened_for_the_main_block(self) -> None:
        """
        The main block's file is there even if nothing is ever logged.
        """
        files_of(self.configure("error_log e.log info;")).open(Clock())
        self.assertEqual(self.read("e.log"), "")

    def test_several(self) -> None:
        """
        Several at one level all apply, each with its level.
        """
        build = self.configure("error_log a.log warn; error_log b.log; error_log c.log warn;")
        files_of(build).open(Clock())
        log = error_log_of(build, build.root)
        log.write(WARN, "w")
        log.write(ERROR, "e")
        self.assertEqual([len(self.read(name).splitlines()) for name in ("a.log", "b.log", "c.log")], [2, 1, 2])

    def test_lower_level_replaces(self) -> None:
        """
        A block with targets of its own has only these; one without has its parent's, and shares the object.
        """
        build = self.configure(
            "error_log a.log; stream { server { error_log b.log info; } server { } error_log c.log; server { } }"
        )
        first, second, third = build.root.children[0].children
        self.assertEqual(error_log_of(build, first).level, INFO)
        self.assertIs(error_log_of(build, second), error_log_of(build, third))
        files_of(build).open(Clock())
        error_log_of(build, first).write(ERROR, "one")
        error_log_of(build, second).write(ERROR, "two")
        self.assertEqual(self.read("a.log"), "")
        self.assertIn("one", self.read("b.log"))
        self.assertIn("two", self.read("c.log"))
        self.assertNotIn("one", self.read("c.log"))

    def test_one_file_of_two_blocks(self) -> None:
        """
        Two blocks may name one file.
        """
        build = self.configure("error_log a.log; stream { error_log a.log info; server { } }")
        files_of(build).open(Clock())
        error_log_of(build, build.root).write(ERROR, "one")
        error_log_of(build, self.server(build)).write(INFO, "two")
        self.assertEqual(len(self.read("a.log").splitlines()), 2)

    def test_stderr(self) -> None:
        """
        stderr is descriptor 2.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        divert(self, 2, writing)
        for text in ("error_log stderr notice;", 'error_log "" notice;'):
            build = self.configure(text)
            error_log_of(build, build.root).write(NOTICE, "hello")
            self.assertTrue(os.read(reading, 1000).endswith(b": hello\n"))

    def test_memory(self) -> None:
        """
        A buffer in memory is one for all blocks that have it from the same line, and is given back with the files.
        """
        build = self.configure("error_log memory:4k info; stream { server { } server { error_log memory:8k; } }")
        one, other = build.root.children[0].children
        self.assertIs(error_log_of(build, one), error_log_of(build, build.root))
        self.assertIsNot(error_log_of(build, other), error_log_of(build, build.root))
        written: list[bytes] = []
        self.patch(MemoryLog, "write", lambda self, line: written.append(line))
        closed: list[MemoryLog] = []
        self.patch(MemoryLog, "close", lambda self: closed.append(self))
        error_log_of(build, one).write(INFO, "hello")
        error_log_of(build, other).write(INFO, "too quiet")
        self.assertEqual([line[-8:] for line in written], [b": hello\n"])
        files_of(build).close()
        self.assertEqual(len(closed), 2)

    def test_syslog(self) -> None:
        """
        A syslog server gets the whole line at the severity of its level.
        """
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(server.close)
        server.settimeout(10)
        server.bind(("127.0.0.1", 0))
        build = self.configure(f"error_log syslog:server=127.0.0.1:{server.getsockname()[1]},nohostname,tag=t info;")
        error_log_of(build, build.root).write(WARN, "hello")
        self.assertRegex(server.recv(1000), rb"^<188>Mar 17 12:05:09 t: 2023/03/17 12:05:09 \[warn\] \d+#\d+: hello$")

    def test_levels(self) -> None:
        """
        Every level has its word; the words for parts of nginx's debug log mean debug, and may be several.
        """
        for words, level in (
            *((NAMES[level], level) for level in range(EMERG, DEBUG + 1)),
            ("debug_stream", DEBUG),
            ("debug_core debug_stream", DEBUG),
        ):
            build = self.configure(f"error_log a.log {words};")
            self.assertEqual(error_log_of(build, build.root).level, level)

    def test_refused(self) -> None:
        """
        What is wrong is said in nginx's words.
        """
        for text, message in (
            ("a.log loud", 'invalid log level "loud"'),
            ("a.log stderr", 'invalid log level "stderr"'),
            ("a.log info warn", 'duplicate log level "warn"'),
            ("a.log info debug_core", 'invalid log level "debug_core"'),
            ("memory:32g debug", 'invalid buffer size "32g"'),
            ("syslog:tag=x", "no syslog server specified"),
        ):
            errors = self.assertRaises(ConfigErrors, self.configure, f"error_log {text};")
            self.assertEqual(str(errors), f"[emerg] {message} in /etc/edge.conf:1")

    def test_cannot_be_opened(self) -> None:
        """
        A file that cannot be opened is told at its directive.
        """
        build = self.configure("\n\nerror_log no/such/folder.log;")
        errors = self.assertRaises(ConfigErrors, files_of(build).open, Clock())
        self.assertEqual(
            str(errors),
            f'[emerg] open() "{self.folder}/no/such/folder.log" failed (2: No such file or directory)'
            " in /etc/edge.conf:3",
        )
