"""
Tests for L{sniproxy.config.build}.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config import values
from sniproxy.config.build import Build, configure
from sniproxy.config.directives import Directive
from sniproxy.config.grammar import AT_ONCE, Node
from sniproxy.config.template import Template, Variable
from sniproxy.errors import ConfigError, ConfigErrors
from tests.config.mini import (
    ANYWHERE,
    DOCUMENTS,
    ERROR_LOG,
    LISTEN,
    MAP,
    MINI,
    MODULES,
    PASS,
    PEER,
    PROXY_TIMEOUT,
    SERVER,
    STREAM,
    TCP_NODELAY,
    UPSTREAM,
    Disk,
    Module,
    build,
    faults,
)


class Values(SynchronousTestCase):
    """
    What a right configuration becomes.
    """

    def test_wants(self) -> None:
        """
        While a configuration is made it can be asked which variables its texts have, of which kind.
        """
        found: list[bool] = []
        node = Node("x", (), (), None, "f", 1)

        def look(made: Build) -> None:
            made.template("a ${Protocol}", node)
            made.template("$1 $other", node, "http")
            asked = (("protocol",), ("other",), ("other", "protocol"), ("1",))
            found.extend(made.wants(*names) for names in asked)
            made.kind = "http"
            found.append(made.wants("other"))
            made.errors.clear()

        variables = (Variable("protocol", str), Variable("other", str, kind="http"))
        configure("", [Module("m", (), variables)], file="f", assemble=[look])
        self.assertEqual(found, [True, False, True, False, True])

    def test_scopes(self) -> None:
        """
        Each directive's value is found in its block, by its declaration.
        """
        made = build(
            """
            stream {
                tcp_nodelay off;
                upstream group { server a:1; server b:2 weight=5; }
                server { listen 1 ssl; listen 2; proxy_pass group; }
                server { listen 3; tcp_nodelay on; proxy_timeout 5s; }
            }
            """
        )
        stream = made.root[STREAM]
        assert stream is not None
        first, second = stream[SERVER]
        self.assertEqual(first[LISTEN], (("1", "ssl"), ("2",)))
        self.assertEqual((first[TCP_NODELAY], second[TCP_NODELAY]), (False, True))
        self.assertEqual((first[PROXY_TIMEOUT], second[PROXY_TIMEOUT]), (600.0, 5.0))
        (group,) = stream[UPSTREAM]
        assert group.node is not None
        self.assertEqual((group.node.args, group[PEER]), (("group",), (("a:1",), ("b:2", "weight=5"))))
        self.assertEqual(stream.children, [group, first, second])
        passed = first[PASS]
        assert passed is not None
        self.assertEqual(passed.constant, "group")
        self.assertEqual((made.errors, made.warnings), ([], []))

    def test_empty(self) -> None:
        """
        A file without directives is a configuration, as is one of nothing but an empty stream.
        """
        for source in ("", "# nothing\n", b"stream {}"):
            self.assertEqual(build(source).errors, [])

    def test_free_block(self) -> None:
        """
        The lines of a block of data are its own, whatever they are named.
        """
        made = build(
            "stream { map $remote_addr $a { listen 1; default 2; include lines; } }", read=lambda path: b"'a b' c;"
        )
        stream = made.root[STREAM]
        assert stream is not None
        self.assertEqual([line.name for line in stream[MAP][0]], ["listen", "default", "a b"])

    def test_lines(self) -> None:
        """
        The lines of a block of data come one by one, and when all is made only their values are left.
        """
        made = build("stream { map $remote_addr $a { b 1; default 2; } }", read=lambda path: b"")
        stream = made.root[STREAM]
        assert stream is not None
        node = stream.where(MAP)
        assert node is not None
        self.assertEqual([line.name for line in made.lines(node)], ["b", "default"])
        made.forget_lines()
        self.assertEqual((node.block, list(made.lines(node)), len(stream[MAP][0])), ((), [], 2))

    def test_rests(self) -> None:
        """
        Whoever waits gets a turn at every directive, every so many lines of data, every module and every template.
        """
        rests: list[int] = []

        def count(source: str) -> int:
            rests.clear()
            build(source, rest=lambda: rests.append(1)).forget_lines()
            return len(rests)

        least = count("")
        self.assertGreaterEqual(least, len(MODULES))
        servers = "server { proxy_pass $remote_addr; }"
        self.assertGreaterEqual(count(f"stream {{ {servers * 100} }}"), least + 300)
        lines = count(f"stream {{ map $remote_addr $a {{ {'b 1;' * 100 * AT_ONCE} }} }}")
        self.assertGreaterEqual(lines, least + 200)

    def test_dissolve(self) -> None:
        """
        What is taken apart holds nothing any more, however deep it was.
        """
        made = build("stream { server { proxy_pass $remote_addr; } }")
        stream = made.root[STREAM]
        assert stream is not None
        (server,) = stream[SERVER]
        made.shared["a"] = 1
        made.dissolve()
        for scope in (made.root, stream, server):
            self.assertEqual((scope.parent, scope.children, scope.values, scope.nodes), (None, [], {}, {}))
        self.assertEqual((made.shared, made.nodes, made.knows("remote_addr")), ({}, (), False))

    def test_anywhere(self) -> None:
        """
        A directive may be allowed everywhere.
        """
        made = build("anywhere a; stream { server { anywhere b; } server {} }")
        stream = made.root[STREAM]
        assert stream is not None
        self.assertEqual([server[ANYWHERE] for server in stream[SERVER]], ["b", "a"])

    def test_globals(self) -> None:
        """
        Directives of the command line come before the file's.
        """
        made = build("error_log b;", globals_text="error_log a; error_log ä\udcff;")
        self.assertEqual(made.root[ERROR_LOG], (("a",), ("ä\udcff",), ("b",)))
        self.assertEqual([node.file for node in made.nodes], ["command line", "command line", "/etc/edge.conf"])

    def test_paths(self) -> None:
        """
        The prefix is the folder of the file, unless it is given.
        """
        self.assertEqual(build("").prefixed("a"), "/etc/a")
        made = build("", prefix="/var")
        self.assertEqual((made.prefixed("a"), made.path("a"), made.path("/a")), ("/var/a", "/etc/a", "/a"))

    def test_outside(self) -> None:
        """
        What reads and looks up is handed to the modules as it is, and without it there is nothing to be found.
        """
        read, lookup = Mock(), Mock()
        made = build("", read=read, lookup=lookup)
        self.assertIs(made.read, read)
        self.assertIs(made.lookup, lookup)
        self.assertRaises(OSError, build("").read, "/a")
        self.assertRaises(OSError, build("").lookup, "a")
        self.assertEqual(faults("include a;"), ['open() "/etc/a" failed (2: No such file or directory) in F:1'])
        self.assertEqual(faults("include *;"), [])


class Faults(SynchronousTestCase):
    """
    What is wrong, all of it, each in nginx's words.
    """

    def test_each(self) -> None:
        """
        Each kind of fault has its words and its place.
        """
        for source, fault in (
            ("bogus;", 'unknown directive "bogus"'),
            ("...", 'unexpected end of file, expecting ";" or "}"'),
            ("stream { ... }", 'unexpected "}"'),
            ("listen 80;", '"listen" directive is not allowed here'),
            ("stream { listen 80; }", '"listen" directive is not allowed here'),
            ("stream;", 'directive "stream" has no opening "{"'),
            ("stream { map a b; }", 'directive "map" has no opening "{"'),
            ("error_log a {}", 'directive "error_log" is not terminated by ";"'),
            ("stream a {}", 'invalid number of arguments in "stream" directive'),
            ("error_log;", 'invalid number of arguments in "error_log" directive'),
            ("error_log a b c;", 'invalid number of arguments in "error_log" directive'),
            ("stream {} stream {}", '"stream" directive is duplicate'),
            ("stream { tcp_nodelay on; tcp_nodelay on; }", '"tcp_nodelay" directive is duplicate'),
            ("stream { tcp_nodelay x; }", 'invalid value "x" in "tcp_nodelay" directive, it must be "on" or "off"'),
            ("stream { map $remote_addr $a { a{} } }", 'unexpected "{"'),
            ("include;", 'invalid number of arguments in "include" directive'),
            ("include a {}", 'directive "include" is not terminated by ";"'),
            ("keyval a b;", '"keyval" directive is not allowed here'),
            (
                "stream { keyval a b; }",
                '"keyval" directive is not supported by sniproxy: nginx sells it, and sniproxy does not have it yet',
            ),
            ("stream { server { location / {} } }", '"location" directive is not allowed here'),
            ("http { a; b { c; } }", '"http" directive is not supported by sniproxy: HTTP is not carried yet'),
        ):
            self.assertIn(f"{fault} in F:1", faults(source), source)

    def test_one_each(self) -> None:
        """
        A fault is said once, and what stands in a block that cannot be judged is not.
        """
        self.assertEqual(len(faults("http { a; b { c; } }")), 1)
        self.assertEqual(len(faults("bogus { a; }")), 1)
        self.assertEqual(faults('stream { tcp_nodelay "on"}'), ['unexpected "}" in F:1'])

    def test_all(self) -> None:
        """
        All faults of all files come, in the order of files and lines, those of words among those of meaning.
        """
        disk = Disk({"/etc/a": b"bogus;\n;\n"})
        self.assertEqual(
            faults(
                "stream a {\nserver {\ninclude a;\ntcp_nodelay 1;\n}\nserver {\n;\nlisten;\n}\n}\n}\nunknown;",
                read=disk.read,
            ),
            [
                'invalid number of arguments in "stream" directive in F:1',
                'invalid value "1" in "tcp_nodelay" directive, it must be "on" or "off" in F:4',
                'unexpected ";" in F:7',
                'invalid number of arguments in "listen" directive in F:8',
                'unexpected "}" in F:11',
                'unknown directive "unknown" in F:12',
                'unknown directive "bogus" in /etc/a:1',
                'unexpected ";" in /etc/a:2',
            ],
        )

    def test_globals(self) -> None:
        """
        Faults of the command line come first and have no line; what it sets is not set again.
        """
        self.assertEqual(
            faults("bogus;\nstream {} pcre_jit on;", globals_text="stream {} pcre_jit off; b"),
            [
                'unexpected end of parameter, expecting ";" in command line',
                "block directives are not supported in -g option in command line",
                'unknown directive "bogus" in F:1',
                '"pcre_jit" directive is duplicate in F:2',
            ],
        )

    def test_no_control_characters(self) -> None:
        """
        An error is one line, whatever the words in it hold.
        """
        self.assertEqual(faults('"a\nb\x1b[1m";'), ['unknown directive "a\\x0Ab\\x1B[1m" in F:2'])

    def test_raised(self) -> None:
        """
        The error that is raised prints one line for each fault.
        """
        error = self.assertRaises(ConfigErrors, configure, "a;\nb;", (), file="f")
        self.assertEqual(str(error), '[emerg] unknown directive "a" in f:1\n[emerg] unknown directive "b" in f:2')

    def test_failed_conversion_still_counts(self) -> None:
        """
        A directive with a wrong value stands for the question whether it is there twice.
        """
        self.assertEqual(len(faults("stream { tcp_nodelay x;\ntcp_nodelay on; }")), 2)


class Modules(SynchronousTestCase):
    """
    What modules do while a configuration is made.
    """

    def test_prepare(self) -> None:
        """
        Modules are prepared in order, after everything has been read, and may share and complain.
        """
        order: list[str] = []

        def first(made: Build) -> None:
            order.append("first")
            made.shared["key"] = made.root[ERROR_LOG]

        def second(made: Build) -> None:
            order.append("second")
            made.error(f"shared {made.shared['key']}", made.nodes[0])
            made.error(ConfigError("elsewhere", "/a", 5), made.nodes[0])
            made.error("nowhere")
            made.warn("beware", made.nodes[0])

        modules = (Module("a", prepare=first), Module("b", prepare=second), *MODULES)
        self.assertEqual(faults("error_log a;", modules), ["shared (('a',),) in F:1", "nowhere", "elsewhere in /a:5"])
        self.assertEqual(order, ["first", "second"])

    def test_assemble(self) -> None:
        """
        What needs all modules is made after the last of them is prepared, and may still make templates.
        """
        made: list[Template] = []

        def assemble(build: Build) -> None:
            self.assertEqual((build.shared, build.time()), ({"prepared": True}, 5.0))
            made.append(build.template("$remote_addr", build.nodes[0]))

        last = Module("z", prepare=lambda build: build.shared.update(prepared=True))
        build("error_log a;", (*MODULES, last), assemble=(assemble,), time=lambda: 5.0)
        self.assertEqual(made[0](Subject()), "192.0.2.1")
        self.assertEqual(build("").time(), 0.0)

    def test_prepare_after_faults(self) -> None:
        """
        Modules are prepared although directives are wrong, but not where the grammar is.
        """
        prepared: list[Build] = []
        modules = (Module("a", prepare=prepared.append), *MODULES)
        faults("bogus;", modules)
        self.assertEqual(len(prepared), 1)
        faults("}", modules)
        self.assertEqual(len(prepared), 1)

    def test_warnings(self) -> None:
        """
        Warnings are kept, with their places, and stop nothing.
        """
        made = build("error_log a;", (Module("a", prepare=lambda made: made.warn("beware", made.nodes[0])), *MODULES))
        self.assertEqual([str(warning) for warning in made.warnings], ["beware in /etc/edge.conf:1"])

    def test_clashes(self) -> None:
        """
        Two modules with one directive, or one variable, are a fault.
        """
        other = Module(
            "b", (Directive("listen", ("stream.server",), (1, 1), values.text, ""),), (Variable("Remote_Addr", str),)
        )
        self.assertEqual(
            faults("", (*MODULES, other)),
            ['two modules declare the "listen" directive for one context', 'the duplicate "Remote_Addr" variable'],
        )

    def test_ignored_is_taken_over(self) -> None:
        """
        A module gives a meaning to a directive that is otherwise accepted without one.
        """
        meant: Directive[int] = Directive("worker_rlimit_nofile", ("main",), (1, 1), values.number, 0)
        self.assertEqual(build("worker_rlimit_nofile 5;", (*MODULES, Module("a", (meant,)))).root[meant], 5)

    def test_refused_is_taken_over(self) -> None:
        """
        A module that declares what was refused takes it up, where it declares it.
        """
        meant: Directive[str] = Directive("keyval", ("stream",), (1, 1), values.text, "")
        modules = (*MODULES, Module("a", (meant,)))
        self.assertEqual(faults("stream { keyval a; }", modules), [])
        self.assertEqual(
            faults("stream { server { keyval a; } }\nkeyval a;", modules),
            ['"keyval" directive is not allowed here in F:1', '"keyval" directive is not allowed here in F:2'],
        )


class Subject:
    """
    What variables are asked about.
    """

    def __init__(self) -> None:
        self.values: dict[str, str | None] = {}
        self.captures = None


NODE = Node("d", (), (False,), None, "f", 7)


class Variables(SynchronousTestCase):
    """
    How variables are found.
    """

    def made(self, *variables: Variable) -> Build:
        """
        A build that knows some variables.
        """
        return Build((Module("a", (), variables),), file="f")

    def errors(self, made: Build) -> list[str]:
        """
        What it complains about.
        """
        return [str(error) for error in made.errors]

    def test_late(self) -> None:
        """
        A template may name what is made later, in any case; after the end it is bound at once.
        """
        made = self.made()
        early = made.template("<$A>", NODE)
        made.define(Variable("a", lambda subject: "1"), NODE)
        self.assertRaises(RuntimeError, early, Subject())
        made.finish()
        self.assertEqual((early(Subject()), made.template("$a", NODE)(Subject())), ("<1>", "1"))
        self.assertEqual(made.template("b", NODE).constant, "b")
        made.template("$b", NODE)
        self.assertEqual(self.errors(made), ['unknown "b" variable in f:7'])

    def test_from_configuration(self) -> None:
        """
        A map before or behind what uses it is found, and one that nobody makes is not.
        """
        source = "stream { server { proxy_pass $a; } map $remote_addr $a {} server {\nproxy_pass $b; } }"
        self.assertEqual(faults(source), ['unknown "b" variable in F:2'])

    def test_faults_of_templates(self) -> None:
        """
        A name that is none is a fault of the directive.
        """
        self.assertEqual(faults("stream { server { proxy_pass $; } }"), ["invalid variable name in F:1"])

    def test_kinds(self) -> None:
        """
        Variables of one kind are not seen by templates of another.
        """
        made = self.made(Variable("a", lambda subject: "stream"), Variable("a", lambda subject: "http", kind="http"))
        templates = [made.template("$a", NODE), made.template("$a", NODE, "http"), made.template("$a", NODE, "mail")]
        made.finish()
        self.assertEqual([template(Subject()) for template in templates[:2]], ["stream", "http"])
        self.assertEqual(self.errors(made), ['unknown "a" variable in f:7'])
        self.assertEqual((made.knows("A"), made.knows("a", "http"), made.knows("b")), (True, True, False))

    def test_any_kind(self) -> None:
        """
        A variable of any kind is there for all; nobody can make it anew, and one of a kind goes before it.
        """
        made = self.made(
            Variable("a", lambda subject: "any", kind="any"),
            Variable("p_", lambda name: lambda subject: name, prefix=True, kind="any"),
            Variable("b", lambda subject: "any", kind="any"),
            Variable("b", lambda subject: "http", kind="http"),
        )
        templates = [made.template("$a $b $p_x", NODE), made.template("$a $b $p_x", NODE, "http")]
        made.kind = "http"
        made.define(Variable("a", lambda subject: ""), NODE)
        made.define(Variable("c", lambda subject: "made"), NODE)
        templates.append(made.template("$c", NODE))
        made.finish()
        self.assertEqual([template(Subject()) for template in templates], ["any any p_x", "any http p_x", "made"])
        self.assertEqual(self.errors(made), ['the duplicate "a" variable in f:7'])
        self.assertFalse(made.knows("c", "stream"))

    def test_prefixes(self) -> None:
        """
        A prefix answers for all names that begin with it; a whole name and a longer prefix go before it.
        """

        def arg(name: str) -> Any:
            return lambda subject: f"arg {name}"

        made = self.made(
            Variable("arg_", arg, prefix=True),
            Variable("arg_x_", lambda name: lambda subject: f"long {name}", prefix=True),
            Variable("arg_y", lambda subject: "whole"),
        )
        template = made.template("$Arg_a $arg_x_a $arg_y", NODE)
        made.finish()
        self.assertEqual(template(Subject()), "arg arg_a long arg_x_a whole")

    def test_define(self) -> None:
        """
        What a module provides cannot be made anew; of two makers the last wins, unless it is a weak one; a name must
        be one.
        """
        made = self.made(Variable("a", lambda subject: "module"))
        template = made.template("$a$b$c", NODE)
        made.define(Variable("A", lambda subject: "map"), NODE)
        made.define(Variable("b", lambda subject: "first"), NODE)
        made.define(Variable("B", lambda subject: "last"), NODE)
        made.define(Variable("b", lambda subject: "weak"), NODE, weak=True)
        made.define(Variable("C", lambda subject: "c"), NODE, weak=True)
        made.define(Variable("", str), NODE)
        made.finish()
        self.assertEqual(self.errors(made), ['the duplicate "a" variable in f:7', 'invalid variable name "$" in f:7'])
        self.assertEqual(template(Subject()), "modulelastc")

    def asked_twice(self, variable: Variable, defined: bool) -> str:
        """
        What a template gives that names a variable twice.
        """
        made = self.made(*(() if defined else (variable,)))
        if defined:
            made.define(variable, NODE)
        template: Template = made.template("$a$a", NODE)
        made.finish()
        return template(Subject())

    def test_volatile(self) -> None:
        """
        A volatile variable is asked each time, whoever makes it; another is asked once.
        """
        for volatile, expected in ((True, "12"), (False, "11")):
            for defined in (True, False):
                numbers = iter("12")
                variable = Variable("a", lambda subject, numbers=numbers: next(numbers), volatile=volatile)
                self.assertEqual(self.asked_twice(variable, defined), expected)


class Anything(SynchronousTestCase):
    """
    Whatever a file holds, the answer is a configuration or faults.
    """

    def check(self, source: bytes) -> None:
        """
        Faults have one line each and stand in order.
        """
        try:
            configure(source, MODULES, file="f", read=lambda path: source)
        except ConfigErrors as errors:
            self.assertNotEqual(errors.errors, ())
            self.assertEqual(len(str(errors).splitlines()), len(errors.errors), source)
            lines = [error.line or 0 for error in errors.errors]
            self.assertEqual(lines, sorted(lines))

    @settings(derandomize=True, deadline=None, database=None, max_examples=300)
    @given(
        st.lists(
            st.sampled_from(
                (
                    "stream server map { } ; $a $remote_addr listen 80 tcp_nodelay on 'on' \" ' \\ include f"
                    " proxy_pass $ events http keyval location ${ # \n \n \xff"
                ).split(" ")
            ),
            max_size=30,
        )
    )
    def test_any_words(self, words: list[str]) -> None:
        """
        Any row of words gives an answer.
        """
        self.check(" ".join(words).encode("latin-1"))

    def test_spoiled_documents(self) -> None:
        """
        So does each document, cut anywhere, and with any of its bytes changed.
        """
        for name in ("machines_19", "machines_23"):
            text = DOCUMENTS[name]
            for place in range(len(text)):
                self.check(text[:place])
                for byte in b"{};\"'\\$\n\xff":
                    if place % 9 == byte % 9:
                        self.check(text[:place] + bytes((byte,)) + text[place + 1 :])


class Mini(SynchronousTestCase):
    """
    The small nginx of these tests.
    """

    def test_names(self) -> None:
        """
        It declares each name once in a context.
        """
        self.assertEqual(Build((MINI,), file="f").errors, [])
