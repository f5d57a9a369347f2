"""
C{map}, by the answers of a real nginx.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.common.core_variables import CORE_VARIABLES
from sniproxy.common.map import MAP, map_
from sniproxy.config.build import Build, configure
from sniproxy.config.directives import Directive, Inherit
from sniproxy.config.grammar import Node
from sniproxy.config.template import Variable
from sniproxy.config.values import block
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from tests.support.places import Declared, FakeRequest, Places


class Subject:
    """
    What a map is asked by: a session as far as maps see it.
    """

    def __init__(self, key: str | None) -> None:
        self.key = key
        self.asked = 0
        self.values: dict[str, str | None] = {}
        self.captures: tuple[str, ...] | None = None


def _key(subject: Subject) -> str | None:
    subject.asked += 1
    return subject.key


class Surroundings:
    """
    The block around maps, and what they look up.
    """

    name = "surroundings"
    directives = (Directive("stream", ("main",), (0, 0), block, None, Inherit.NEVER, opens="stream"),)
    variables = (Variable("key", _key, volatile=True), Variable("pid", lambda subject: "77"))

    def prepare(self, build: object) -> None:
        """
        Nothing.
        """

    def attach(self, server: object, build: object) -> None:
        """
        Nothing.
        """


def configured(text: str) -> Build:
    """
    The configuration of the inside of C{stream}.
    """
    return configure("stream {\n" + text + "\n}", [Surroundings(), map_], file="/etc/edge.conf")


def shown(build: Build, text: str, key: str | None) -> str:
    """
    What a text with variables is to a client whose key is this.
    """
    return build.template(text, build.nodes[0])(Subject(key))


class MapTestCase(SynchronousTestCase):
    """
    What the tests of maps share.
    """

    def check(self, body: str, expected: dict[str, str], text: str = "$out") -> None:
        """
        Look several keys up in one map.
        """
        build = configured("map $key $out {\n" + body + "\n}")
        self.assertEqual({key: shown(build, text, key) for key in expected}, expected)

    def faults(self, text: str) -> list[str]:
        """
        What is wrong with the inside of C{stream}.
        """
        problem: ConfigErrors = self.assertRaises(ConfigErrors, configured, text)
        return [str(error) for error in problem.errors]


class LookUpTests(MapTestCase):
    """
    Which value is found.
    """

    def test_text(self) -> None:
        """
        Text is compared whole and without case, and what is not there gets the default.
        """
        self.check("default D; a 1; B.c 2;", {"a": "1", "A": "1", "b.C": "2", "a.": "D", "c": "D", "": "D"})

    def test_no_default(self) -> None:
        """
        Without a default the value is empty.
        """
        self.check("a 1;", {"a": "1", "": "", "b": ""})

    def test_empty_key(self) -> None:
        """
        The empty text may be an entry; regular expressions are not tried on it.
        """
        self.check('"" E; a 1;', {"": "E", "a": "1"})
        self.check("~^$ R; ~.* S;", {"": "", "a": "S"})

    def test_not_found_is_empty(self) -> None:
        """
        A variable that is not found is looked up as the empty text.
        """
        self.assertEqual(shown(configured('map $key $out { "" E; default D; }'), "$out", None), "E")

    def test_hostnames(self) -> None:
        """
        The whole name wins over a leading mask, that over a trailing one, and that over regular expressions.
        """
        self.check(
            "hostnames; default D; *.example.com star; .example.org dot; www.example.* tail; *.com com;"
            "exact.example.com E; ~^re(.*)$ R$1; ~^www W;",
            {
                "x.example.com": "star",
                "X.EXAMPLE.COM": "star",
                "example.com": "com",
                "example.org": "dot",
                "y.example.org": "dot",
                "www.example.net": "tail",
                "www.example.com": "star",
                "www.example": "W",
                "exact.example.com": "E",
                "re.example.com": "star",
                "rest": "Rst",
                "com": "D",
            },
        )

    def test_dot_at_the_end(self) -> None:
        """
        With hostnames one dot at the end does not count, for regular expressions neither.
        """
        self.check("hostnames; x.com 1; default D;", {"x.com": "1", "x.com.": "1", "x.com..": "D"})
        self.check(r"hostnames; ~^a\.$ dot; ~^a$ none;", {"a": "none", "a.": "none", "a..": "dot"})

    def test_hostnames_from_there_on(self) -> None:
        """
        Only what follows C{hostnames} may be a mask.
        """
        self.check(
            "*.pre.com P; default D; hostnames; *.post.com Q;",
            {"x.pre.com": "D", "*.pre.com": "P", "x.post.com": "Q", "x.post.com.": "Q"},
        )

    def test_regexes_in_order(self) -> None:
        """
        The first expression that fits wins, and sees the text in its own case.
        """
        self.check("~x 1; ~*X 2; ~xx 3; ~^A up; a low;", {"x": "1", "X": "2", "xx": "1", "A": "low", "Ab": "up"})

    def test_backslash(self) -> None:
        """
        A leading backslash takes the meaning from what follows.
        """
        self.check(
            r'default D; \default esc; "\~x" tilde; \hostnames H; "\\\\b" two; \include I; volatile V;',
            {
                "default": "esc",
                "~x": "tilde",
                "hostnames": "H",
                "\\b": "two",
                "b": "D",
                "include": "I",
                "volatile": "V",
            },
        )

    def test_words_of_the_block_in_capitals(self) -> None:
        """
        Only in lower case are the block's own words special.
        """
        self.check("Default x; HOSTNAMES y;", {"default": "x", "hostnames": "y"})

    def test_bytes(self) -> None:
        """
        What is no text is compared as bytes, however its characters came together.
        """
        self.check('é 1; \udcff 2; "~^.{3}$" three;', {"É": "", "\udcff": "2", "é": "1"})
        build = configured("map $key$key2 $out { é yes; default no; } map $key $key2 { default \udca9; }")
        self.assertEqual(shown(build, "$out", "\udcc3"), "yes")

    def test_many(self) -> None:
        """
        Ten thousand entries are read and found.
        """
        lines = "".join(f"host{number}.example.com backend{number};\n" for number in range(10_000))
        build = configured("map $key $out {\n" + lines + "}")
        for number in (0, 5_000, 9_999):
            self.assertEqual(shown(build, "$out", f"HOST{number}.example.com"), f"backend{number}")


class ValueTests(MapTestCase):
    """
    What a value may be.
    """

    def test_variables(self) -> None:
        """
        A value may have variables, other maps among them, and so may the text that is looked up.
        """
        build = configured(
            'map "$key-$pid" $out { a-77 $pid; b-77 "<$other>"; default $key; }\nmap $key $other { b 1; }'
        )
        self.assertEqual([shown(build, "$out", key) for key in "abc"], ["77", "<1>", "c"])

    def test_captures(self) -> None:
        """
        A value and what uses it later see the groups of the expression that fitted; one without groups clears them.
        """
        self.check(
            "~^(a)b x; ~^cd$ [$1]; ~*^EF(g)?$ g=$1; default d$1;",
            {"ab": "[x|a]", "cd": "[[]|]", "ef": "[g=|]", "EFG": "[g=G|G]", "zz": "[d|]"},
            text="[$out|$1]",
        )

    def test_named_captures(self) -> None:
        """
        Named groups are variables: of the expression that fitted, in any case, empty where nothing fitted.
        """
        self.check(
            r"~^(?<first>[a-z]+)\.(?<sec>[a-z]+)?x $first-$sec-$1-$2-$3; default none-$first;",
            {"ab.cdx": "[ab-cd-ab-cd-|cd]", "ab.x": "[ab--ab--|]", "zz": "[none-|]"},
            text="[$out|$sec]",
        )
        self.check(
            "~^a(?<Name>.) 1; ~^b(?<Name>.) 2;",
            {"ax": "[1|x|x]", "by": "[2|y|y]", "c": "[||]"},
            text="[$out|$name|$NAME]",
        )

    def test_named_capture_before_the_match(self) -> None:
        """
        A named group that was asked for too early is there once its expression has fitted.
        """
        self.check("~^a(?<tail>.) 1;", {"ax": "[|1|x]"}, text="[$tail|$out|$tail]")

    def test_asked_once(self) -> None:
        """
        The result is kept for a session, unless the map is volatile.
        """
        for flag, asked in (("", 1), ("volatile;", 3)):
            build = configured("map $key $out { " + flag + " a 1; }")
            subject = Subject("a")
            self.assertEqual(build.template("$out$out$out", build.nodes[0])(subject), "111")
            self.assertEqual(subject.asked, asked)

    def test_last_of_two(self) -> None:
        """
        Of two maps for one variable the last counts.
        """
        build = configured("map $key $out { default 1; } map $key $out { default 2; }")
        self.assertEqual(shown(build, "$out", "a"), "2")
        self.assertEqual(len(next(build.root.inside("stream"))[MAP]), 2)


class FaultTests(MapTestCase):
    """
    What is wrong is said in nginx's words, and all of it.
    """

    def test_entries(self) -> None:
        """
        Each wrong entry is an error of its own line.
        """
        self.assertEqual(
            self.faults(
                "map $key $out {\n"  # line 2
                "a 1;\n"
                "A 2;\n"
                "default 1;\n"
                "default 2;\n"
                "b;\n"
                "b c d;\n"
                r"\a 3;"
                "\n~( 1;\n"
                "c $;\n"
                "hostnames;\n"
                "a..b 1;\n"
                "*.A.* 1;\n"
                ".X.com 1;\n"
                "X.com 1;\n"
                "~(?<pid>x) 1;\n"
                "}"
            ),
            [
                'conflicting parameter "a" in /etc/edge.conf:4',
                "duplicate default map parameter in /etc/edge.conf:6",
                "invalid number of the map parameters in /etc/edge.conf:7",
                "invalid number of the map parameters in /etc/edge.conf:8",
                'conflicting parameter "a" in /etc/edge.conf:9',
                'pcre2_compile() failed: missing closing parenthesis in "(" in /etc/edge.conf:10',
                "invalid variable name in /etc/edge.conf:11",
                'invalid hostname or wildcard "a..b" in /etc/edge.conf:13',
                'invalid hostname or wildcard "*.A.*" in /etc/edge.conf:14',
                'conflicting parameter "x.com" in /etc/edge.conf:16',
                'the duplicate "pid" variable in /etc/edge.conf:17',
            ],
        )

    def test_names_of_variables(self) -> None:
        """
        The name needs its dollar sign, must be one, and must not be taken by a module.
        """
        for name, words in (
            ("out", 'invalid variable name "out"'),
            ("$", 'invalid variable name "$"'),
            ("$pid", 'the duplicate "pid" variable'),
        ):
            self.assertEqual(self.faults("map $key " + name + " { a b; }"), [words + " in /etc/edge.conf:2"])

    def test_unknown_variables(self) -> None:
        """
        A variable that nobody provides is an error, in the text that is looked up and in values.
        """
        self.assertEqual(self.faults("map $nope $out { a b; }"), ['unknown "nope" variable in /etc/edge.conf:2'])
        self.assertEqual(self.faults("map $key $out {\na $nope;\n}"), ['unknown "nope" variable in /etc/edge.conf:3'])

    def test_shape(self) -> None:
        """
        A map has two arguments and a block of plain lines.
        """
        self.assertEqual(
            self.faults("map $key { a b; }"), ['invalid number of arguments in "map" directive in /etc/edge.conf:2']
        )
        self.assertEqual(self.faults("map $key $out;"), ['directive "map" has no opening "{" in /etc/edge.conf:2'])
        self.assertEqual(self.faults("map $key $out { a { b c; } }"), ['unexpected "{" in /etc/edge.conf:2'])


class ModuleTests(SynchronousTestCase):
    """
    The module as the rest of the program sees it.
    """

    def test_interfaces(self) -> None:
        """
        It is a module, found as a plugin, and does nothing to servers.
        """
        self.assertTrue(verifyObject(IModule, map_))
        self.assertTrue(verifyObject(IPlugin, map_))
        self.assertIsNone(map_.attach(None, None))  # type: ignore[arg-type,func-returns-value]


class HttpTests(SynchronousTestCase):
    """
    Tables of requests.
    """

    def test_apart(self) -> None:
        """
        Variables of one name in stream and in http are two, and each asks its own subjects.
        """
        world = Places(
            "stream { map $remote_addr $who { default stream; } }"
            ' http { map $remote_addr $who { default "nobody $connection"; 192.0.2.77 http; } server { } }',
            [map_, Declared(variables=CORE_VARIABLES)],
        )
        self.assertEqual(world.value("$who", FakeRequest()), "http")
        other = FakeRequest(peer=Address("inet", "192.0.2.1", 1))
        self.assertEqual(world.value("$who", other), "nobody 1")
        node = Node("test", (), (), None, "edge.conf", 1)
        self.assertEqual(world.build.template("$who", node, "stream").render(other.session), "stream")
