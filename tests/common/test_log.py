"""
C{access_log} and C{log_format}.
"""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from twisted.internet.task import Clock
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.common.core_variables import CORE_VARIABLES
from sniproxy.common.log import log
from sniproxy.common.map import map_
from sniproxy.common.phases import Phase
from sniproxy.common.server import Server
from sniproxy.config.build import Build, configure
from sniproxy.config.directives import Directive, Inherit, Repeat
from sniproxy.config.template import Variable
from sniproxy.config.values import block
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IHttpModule, IModule
from sniproxy.logs.error_log import ErrorLog
from sniproxy.logs.sinks import Files, files_of
from tests.support.places import Declared, FakeRequest, Places
from tests.support.sessions import lone_session


class Surroundings:
    """
    The blocks around the directives, and some variables.
    """

    name = "surroundings"
    directives = (
        Directive("stream", ("main",), (0, 0), block, None, Inherit.NEVER, opens="stream"),
        Directive("server", ("stream",), (0, 0), block, (), Inherit.NEVER, Repeat.LISTED, opens="stream.server"),
    )
    variables: ClassVar = (
        Variable("key", lambda session: session.notes.get("key")),
        Variable("state", lambda session: session.notes.get("state"), volatile=True),
        Variable("arg_", lambda name: lambda session: session.notes.get(name), prefix=True, volatile=True),
        Variable("arg_long_", lambda name: lambda session: "long", prefix=True),
        Variable("arg_exact", lambda session: session.notes.get("exact")),
        Variable("key", lambda request: "of http", kind="http"),
    )

    def prepare(self, build: object) -> None:
        """
        Nothing.
        """

    def attach(self, server: object, build: object) -> None:
        """
        Nothing.
        """


def configured(text: str, prefix: str = "/logs") -> Build:
    """
    The configuration of the inside of C{stream}, with all servers in C{build.shared["servers"]}.
    """

    def assemble(build: Build) -> None:
        servers = build.shared["servers"] = []
        for stream in build.root.inside("stream"):
            for scope in stream.inside("stream.server"):
                server = Server(scope, ErrorLog([], build.time), True)
                log.attach(server, build)
                servers.append(server)

    return configure(
        "stream {\n" + text + "\n}",
        [Surroundings(), log, map_],
        file="/etc/edge.conf",
        prefix=prefix,
        assemble=[assemble],
    )


class LogTestCase(SynchronousTestCase):
    """
    What the tests of logs share: a folder, and files that are opened in it.
    """

    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.clock = Clock()

    def started(self, text: str) -> tuple[Server, Files]:
        """
        The only or last server of a configuration whose logs are open.
        """
        build = configured(text, self.folder)
        files = files_of(build)
        self.addCleanup(files.close)
        files.open(self.clock)
        return build.shared["servers"][-1], files

    def end(self, server: Server, **facts: str) -> list[str]:
        """
        Let a session end.

        @return: what its error log says, but for client and server.
        """
        lines: list[str] = []
        session = lone_session(lines=lines, action="")
        session.notes.update(facts)
        for handler in server.phases[Phase.LOG]:
            self.assertIsNone(handler(session))
        around = ", client: 192.0.2.77, server: 192.0.2.1:443"
        self.assertEqual([line.endswith(around) for line in lines], [True] * len(lines))
        return [line.removesuffix(around) for line in lines]

    def raw(self, name: str) -> bytes:
        """
        What is in a file of the folder.
        """
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()


class WriteTests(LogTestCase):
    """
    What is written, and where.
    """

    def test_line(self) -> None:
        """
        Each session that ends writes one line; the name of the format is found in any case.
        """
        server, _ = self.started("log_format Short '$key' ' $state'; access_log a.log shorT; server { }")
        self.end(server, key="k\n", state="s")
        self.end(server)
        self.assertEqual(self.raw("a.log"), b"k\\x0A s\n- -\n")

    def test_no_log(self) -> None:
        """
        Without C{access_log} nothing is done at the end.
        """
        server, _ = self.started("server { }")
        self.assertEqual(server.phases[Phase.LOG], [])

    def test_found_and_empty(self) -> None:
        """
        What is not found is a dash; what is empty is nothing, also where a map made it.
        """
        server, _ = self.started(
            "log_format f '[$key][$state][$arg_x][$arg_long_x][$arg_exact][$made][$anew]';"
            "map $key $made { a ''; } map $key $anew { volatile; a ''; } access_log a f; server { }"
        )
        self.end(server)
        self.end(server, key="", state="", arg_x="", exact="")
        self.end(server, key="k", state="s", arg_x="x", exact="e")
        self.assertEqual(self.raw("a"), b"[-][-][-][long][-][][]\n[][][][long][][][]\n[k][s][x][long][e][][]\n")

    def test_several(self) -> None:
        """
        Several logs at one level all get a line, each in its format, and one file may get two.
        """
        server, _ = self.started(
            "log_format a a; log_format b escape=json '$key';server { access_log x a; access_log y b; access_log x b; }"
        )
        self.end(server, key='"')
        self.assertEqual((self.raw("x"), self.raw("y")), (b'a\n\\"\n', b'\\"\n'))

    def test_inheritance(self) -> None:
        """
        A server's own logs replace those around it, and its files are opened whether or not they are used.
        """
        server, _ = self.started("log_format a a; access_log outer a; server { access_log inner a; }")
        self.end(server)
        self.assertEqual((self.raw("outer"), self.raw("inner")), (b"", b"a\n"))
        server, _ = self.started("log_format a a; access_log outer a; server { }")
        self.end(server)
        self.assertEqual(self.raw("outer"), b"a\n")

    def test_off(self) -> None:
        """
        C{off} ends what is inherited, and all logs of its own level.
        """
        for text in ("access_log a a; server { access_log off; }", "server { access_log a a; access_log off; }"):
            server, _ = self.started("log_format a a;" + text)
            self.assertEqual(server.phases[Phase.LOG], [])

    def test_condition(self) -> None:
        """
        With a condition there is no line where it is empty or zero.
        """
        server, _ = self.started("log_format a '$key'; access_log a a if=$key; server { }")
        for key in ("", "0", "00", "no"):
            self.end(server, key=key)
        self.end(server)
        self.assertEqual(self.raw("a"), b"00\nno\n")

    def test_absolute(self) -> None:
        """
        An absolute path is not below the prefix.
        """
        path = os.path.join(self.folder, "elsewhere")
        build = configured(f"log_format a a; access_log {path} a; server {{ }}", "/nowhere")
        self.addCleanup(files_of(build).close)
        files_of(build).open(self.clock)
        self.end(build.shared["servers"][0])
        self.assertEqual(self.raw("elsewhere"), b"a\n")


class BufferTests(LogTestCase):
    """
    Lines that are kept back.
    """

    def test_buffer(self) -> None:
        """
        Lines wait until the buffer is full.
        """
        server, files = self.started("log_format a '$key'; access_log a a buffer=4; server { }")
        self.end(server, key="1")
        self.end(server, key="2")
        self.assertEqual(self.raw("a"), b"")
        self.end(server, key="3")
        self.assertEqual(self.raw("a"), b"1\n2\n")
        files.close()
        self.assertEqual(self.raw("a"), b"1\n2\n3\n")

    def test_flush(self) -> None:
        """
        Lines wait no longer than C{flush} says.
        """
        server, _ = self.started("log_format a a; access_log a a flush=1m buffer=1k; server { }")
        self.end(server)
        self.clock.advance(59)
        self.assertEqual(self.raw("a"), b"")
        self.clock.advance(1)
        self.assertEqual(self.raw("a"), b"a\n")

    def test_gzip(self) -> None:
        """
        Compressed lines are a gzip file, buffered though no size was given.
        """
        for words in ("gzip", "gzip=9", "buffer=32k gzip=1", "gzip buffer=32k flush=10s"):
            server, files = self.started(f"log_format a a; access_log '{words}' a {words}; server {{ }}")
            self.end(server)
            self.assertEqual(self.raw(words), b"")
            files.close()
            self.assertEqual(zlib.decompress(self.raw(words), wbits=31), b"a\n")

    def test_one_buffer_for_a_file(self) -> None:
        """
        A buffer belongs to the file: who logs there without naming one has it too.
        """
        server, files = self.started(
            "log_format a a; log_format b b;"
            "server { access_log x a; access_log x b buffer=1k; access_log x a buffer=1k; }"
        )
        self.end(server)
        self.assertEqual(self.raw("x"), b"")
        files.close()
        self.assertEqual(self.raw("x"), b"a\nb\na\n")


class NamedTests(LogTestCase):
    """
    Paths with variables.
    """

    def test_by_variable(self) -> None:
        """
        The file is named for the session, below the prefix.
        """
        server, _ = self.started("log_format a '$state'; access_log $key.log a; server { }")
        self.end(server, key="one", state="1")
        self.end(server, key="two", state="2")
        self.end(server, key="one", state="3")
        self.assertEqual((self.raw("one.log"), self.raw("two.log")), (b"1\n3\n", b"2\n"))

    def test_absolute(self) -> None:
        """
        A path that begins at the root has no prefix; one that only becomes so by its variable has.
        """
        server, _ = self.started(f"log_format a a; access_log {self.folder}/$key a; server {{ access_log $key a; }}")
        self.end(server, key="/x")
        self.assertEqual(self.raw("x"), b"a\n")
        server, _ = self.started(f"log_format a a; access_log {self.folder}/$key a; server {{ }}")
        self.end(server, key="y")
        self.assertEqual(self.raw("y"), b"a\n")

    def test_no_way_out(self) -> None:
        """
        A variable cannot lead to the folder above; the configuration itself may.
        """
        server, _ = self.started("log_format a a; access_log sub/$key a; server { }")
        self.assertEqual(
            self.end(server, key="../x"),
            [f'[error] *1 access_log "{self.folder}/sub/../x" is ignored: a variable leads out of its folder'],
        )
        self.assertEqual(os.listdir(self.folder), [])
        os.mkdir(os.path.join(self.folder, "sub"))
        server, _ = self.started("log_format a a; access_log sub/../$key a; server { }")
        self.end(server, key="x")
        self.assertEqual(self.raw("x"), b"a\n")

    def test_trouble(self) -> None:
        """
        A file that cannot be opened or written is a line in the error log.
        """
        server, _ = self.started("log_format a a; access_log $key a; server { }")
        self.assertEqual(
            self.end(server, key="no/such"),
            [f'[crit] *1 open() "{self.folder}/no/such" failed (2: No such file or directory)'],
        )
        self.assertEqual(
            self.end(server, key="a\0b"),
            [f'[crit] *1 access_log "{self.folder}/a\\x00b" is ignored: no file can have this name'],
        )
        server, _ = self.started("log_format a a; access_log /dev/$key a; server { }")
        self.assertEqual(
            self.end(server, key="full"),
            ['[crit] *1 write() to "/dev/full" failed (28: No space left on device)'],
        )

    def test_kept_open(self) -> None:
        """
        With C{open_log_file_cache} the file stays, until logs are reopened.
        """
        server, files = self.started(
            "log_format a a; open_log_file_cache max=9 inactive=20s min_uses=1 valid=1m; access_log $key a; server { }"
        )
        self.end(server, key="x")
        os.rename(os.path.join(self.folder, "x"), os.path.join(self.folder, "old"))
        self.end(server, key="x")
        self.assertEqual(self.raw("old"), b"a\na\n")
        files.reopen()
        self.end(server, key="x")
        self.assertEqual(self.raw("x"), b"a\n")

    def test_cache_is_shared(self) -> None:
        """
        Two logs under one C{open_log_file_cache} share its files; C{off} further in ends it.
        """
        build = configured(
            "log_format a a; open_log_file_cache max=9; access_log $key a; access_log x$key a; "
            "server { } server { open_log_file_cache off; }",
            self.folder,
        )
        self.addCleanup(files_of(build).close)
        kept, unkept = build.shared["servers"]
        self.end(kept, key="y")
        self.end(unkept, key="y")
        for name in ("y", "xy"):
            os.rename(os.path.join(self.folder, name), os.path.join(self.folder, name + ".old"))
        self.end(kept, key="y")
        self.end(unkept, key="y")
        self.assertEqual((self.raw("y.old"), self.raw("y")), (b"a\na\na\n", b"a\n"))
        self.assertEqual((self.raw("xy.old"), self.raw("xy")), (b"a\na\na\n", b"a\n"))


class SyslogTests(LogTestCase):
    """
    Lines that go to a syslog server.
    """

    def test_sent(self) -> None:
        """
        A line is a datagram, without its end.
        """
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        port = receiver.getsockname()[1]
        server, _ = self.started(
            f"log_format a '$key'; access_log syslog:server=127.0.0.1:{port},tag=edge,nohostname a;"
            f"access_log syslog:server=127.0.0.1:{port},tag=edge,nohostname a if=$state; server {{ }}"
        )
        self.end(server, key="k")
        self.assertRegex(receiver.recv(1024), rb"\A<190>[A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} edge: k\Z")


class FaultTests(LogTestCase):
    """
    What is wrong is said in nginx's words.
    """

    def faults(self, text: str) -> list[str]:
        """
        What is wrong with the inside of C{stream}, on line 2.
        """
        problem: ConfigErrors = self.assertRaises(ConfigErrors, configured, text)
        for error in problem.errors:
            self.assertEqual((error.file, error.line), ("/etc/edge.conf", 2))
        return [error.message for error in problem.errors]

    def test_access_log(self) -> None:
        """
        Each wrong parameter of C{access_log} has its message.
        """
        for words, message in {
            "off a": 'invalid parameter "a"',
            "x": "log format is not specified",
            "syslog:server=127.0.0.1": "log format is not specified",
            "x b": 'unknown log format "b"',
            "x a foo": 'invalid parameter "foo"',
            "x a gzipped": 'invalid parameter "gzipped"',
            "x a buffer": 'invalid parameter "buffer"',
            "x a buffer=": 'invalid buffer size ""',
            "x a buffer=0": 'invalid buffer size "0"',
            "x a buffer=1x": 'invalid buffer size "1x"',
            "x a flush=0": 'invalid flush time "0"',
            "x a buffer=1k flush=x": 'invalid flush time "x"',
            "x a flush=1s": 'no buffer is defined for access_log "x"',
            "x a gzip=": 'invalid compression level ""',
            "x a gzip=0": 'invalid compression level "0"',
            "x a gzip=10": 'invalid compression level "10"',
            "$key a buffer=1k": "buffered logs cannot have variables in name",
            "syslog:server=127.0.0.1 a gzip": "logs to syslog cannot be buffered",
            "syslog:tag=x a": "no syslog server specified",
            "$nope a": 'unknown "nope" variable',
            "x a if=$nope": 'unknown "nope" variable',
        }.items():
            self.assertEqual(self.faults(f"log_format a a; access_log {words}; server {{ }}"), [message], words)

    def test_conflicting_buffers(self) -> None:
        """
        One file has one buffer.
        """
        for first, second in (("buffer=1k", "buffer=2k"), ("gzip", "gzip=2"), ("gzip", "buffer=64k")):
            self.assertEqual(
                self.faults(f"log_format a a; access_log x a {first}; server {{ access_log /logs/x a {second}; }}"),
                ['access_log "/logs/x" already defined with conflicting parameters'],
            )

    def test_conflict_with_another_log(self) -> None:
        """
        A file that something else declared without a buffer cannot have one.
        """
        build = configured("log_format a a; access_log x a buffer=1k;")
        files = files_of(build)
        build.shared[Files] = Files()
        files_of(build).declare("/logs/x")
        log.prepare(build)
        self.assertEqual(
            [str(error) for error in build.errors],
            ['access_log "/logs/x" already defined with conflicting parameters in /etc/edge.conf:2'],
        )
        files.close()

    def test_log_format(self) -> None:
        """
        Formats have different names, are there before they are used, and have variables that exist.
        """
        for text, messages in {
            "log_format a a; log_format a b;": ['duplicate "log_format" name "a"'],
            "log_format a escape=x b; access_log x a;": ['unknown log format escaping "x"'],
            "log_format a $; access_log x a;": ['invalid parameter "$"'],
            "log_format a $nope; access_log x a;": ['unknown "nope" variable'],
            "access_log x a; log_format a a;": ['unknown log format "a"'],
            "log_format a;": ['invalid number of arguments in "log_format" directive'],
        }.items():
            self.assertEqual(self.faults(text), messages, text)

    def test_names_that_differ_in_case(self) -> None:
        """
        Two formats may differ in case alone; the first is the one that is found.
        """
        server, _ = self.started("log_format a first; log_format A second; access_log x A; server { }")
        self.end(server)
        self.assertEqual(self.raw("x"), b"first\n")

    def test_open_log_file_cache(self) -> None:
        """
        Each wrong parameter of C{open_log_file_cache} is named.
        """
        for word in ("foo", "max", "max=x", "inactive=x", "min_uses=", "valid=1ms", "off=1"):
            self.assertEqual(
                self.faults(f"open_log_file_cache {word};"), [f'invalid "open_log_file_cache" parameter "{word}"']
            )
        self.assertEqual(
            self.faults("open_log_file_cache valid=1m;"), ['"open_log_file_cache" must have "max" parameter']
        )


class ModuleTests(SynchronousTestCase):
    """
    The module as the rest of the program sees it.
    """

    def test_interfaces(self) -> None:
        """
        It is a module, found as a plugin.
        """
        self.assertTrue(verifyObject(IModule, log))
        self.assertTrue(verifyObject(IPlugin, log))

    def test_nothing_is_opened_early(self) -> None:
        """
        A configuration that is only looked at touches no file.
        """
        folder = self.mktemp()
        os.mkdir(folder)
        build: Any = configured(
            "log_format a a; access_log x a; access_log $key a; server { }", os.path.abspath(folder)
        )
        self.assertEqual(len(build.shared["servers"]), 1)
        self.assertEqual(os.listdir(folder), [])


class HttpTests(LogTestCase):
    """
    Logs of requests.
    """

    def places(self, text: str) -> Places:
        """
        A configuration of http, with its files open.
        """
        world = Places(text, [log, requests(), core_of_stream()], prefix=self.folder)
        files = files_of(world.build)
        files.open(Clock())
        self.addCleanup(files.close)
        return world

    def logged(self, world: Places, file: str = "a.log") -> str:
        """
        What the file has after one request to the innermost place.
        """
        world.run("log", FakeRequest([("User-Agent", 'a "b"')]))
        files_of(world.build).flush()
        return self.raw(file).decode()

    def test_combined(self) -> None:
        """
        Without the name of a format a line is in the combined format; that can be named, too, and not be made anew.
        """
        for name in ("", "combined", "COMBINED"):
            line = self.logged(self.places(f"access_log a.log {name}; server {{ }}"))
            self.assertRegex(
                line.splitlines()[-1],
                r'^192\.0\.2\.77 - joe \[[^]]+\] "GET / HTTP/1\.1" 200 5 "-" "a \\x22b\\x22"$',
            )
        problem: ConfigErrors = self.assertRaises(ConfigErrors, Places, "log_format combined x;", [log])
        self.assertEqual(problem.errors[0].message, 'duplicate "log_format" name "combined"')

    def test_apart(self) -> None:
        """
        A format of stream is none of http, whatever its name.
        """
        text = "stream {{ log_format f stream; server {{ {} }} }} http {{ {} server {{ }} }}"
        world = self.places(text.format("access_log s.log f;", "log_format f http-$status; access_log a.log f;"))
        self.assertEqual(self.logged(world), "http-200\n")
        problem: ConfigErrors = self.assertRaises(ConfigErrors, Places, text.format("", "access_log a.log f;"), [log])
        self.assertEqual(problem.errors[0].message, 'unknown log format "f"')
        problem = self.assertRaises(ConfigErrors, Places, text.format("access_log a.log combined;", ""), [log])
        self.assertEqual(problem.errors[0].message, 'unknown log format "combined"')

    def test_places(self) -> None:
        """
        A location logs where it says, or where the block around it says, or not at all; with a name that differs from
        request to request as well.
        """
        world = self.places(
            "log_format f $status; access_log a.log f; server { location /a { access_log off; }"
            " location /b { access_log b-$status.log f if=$status; } location /c { } }"
        )
        request = FakeRequest()
        self.assertEqual([len(place.phases.get("log", ())) for place in world.places], [1, 0, 1, 1])
        for at in (1, 2):
            world.run("log", request, at)
        self.assertEqual(self.logged(world, "a.log"), "200\n")
        self.assertEqual(self.logged(world, "b-200.log"), "200\n")

    def test_nowhere(self) -> None:
        """
        Without the directive nothing is logged.
        """
        self.assertEqual(self.places("server { }").places[0].phases, {})
        self.assertTrue(verifyObject(IHttpModule, log))


def requests() -> Declared:
    """
    Variables of requests.
    """
    found = {"remote_user": "joe", "request": "GET / HTTP/1.1", "status": "200", "body_bytes_sent": "5"}
    return Declared(
        variables=[
            *(Variable(name, partial(_constant, value), kind="http") for name, value in found.items()),
            Variable("http_", _header, prefix=True, kind="http"),
        ]
    )


def core_of_stream() -> Declared:
    """
    Variables of both.
    """
    return Declared(variables=CORE_VARIABLES)


def _constant(value: str, request: object) -> str:
    return value


def _header(name: str) -> Callable[[Any], str | None]:
    return lambda request: request.headers.get(name.removeprefix("http_").replace("_", "-"))
