"""
C{geo}, by the answers of a real nginx.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.common.geo import geo
from sniproxy.config.build import Build
from sniproxy.config.grammar import Node
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from tests.support.places import FakeRequest, Places
from tests.support.sessions import FILE, configured, lone_session

NODE = Node("test", (), (), None, FILE, 1)
UNIX = Address("unix", "/run/x")


class Subject:
    """
    What a variable is asked by: a session as far as this module sees it.
    """

    def __init__(self, peer: Address) -> None:
        self.peer = peer
        self.values: dict[str, str | None] = {}
        self.captures: tuple[str, ...] | None = None


class GeoTestCase(SynchronousTestCase):
    """
    What the tests share.
    """

    def shown(self, build: Build, peer: Address | str, text: str = "$v") -> str:
        """
        What a variable is for one client.
        """
        if isinstance(peer, str):
            peer = Address("inet6" if ":" in peer else "inet", peer, 7)
        return build.template(text, NODE)(Subject(peer))

    def check(self, body: str, expected: dict[Address | str, str]) -> Build:
        """
        Look several clients up in one block.
        """
        build = configured("stream { geo $v {\n" + body + "\n} }")
        self.assertEqual({peer: self.shown(build, peer) for peer in expected}, expected)
        return build

    def warnings(self, build: Build) -> list[str]:
        """
        What the operator is told.
        """
        return [str(each) for each in build.warnings]

    def faults(self, text: str) -> list[str]:
        """
        What is wrong with the inside of C{stream}.
        """
        problem: ConfigErrors = self.assertRaises(ConfigErrors, configured, "stream {\n" + text + "\n}")
        return [str(error) for error in problem.errors]


class NetworksTests(GeoTestCase):
    """
    A block of networks.
    """

    def test_longest(self) -> None:
        """
        The longest network around the client counts, wherever it stands.
        """
        self.check(
            "10.1.0.0/16 b; default d; 10.0.0.0/8 a; 10.1.2.3 c; 2001:db8::/32 x; 2001:db8::1 y;",
            {
                "10.1.2.3": "c",
                "10.1.2.4": "b",
                "10.2.0.0": "a",
                "11.0.0.0": "d",
                "::ffff:10.1.2.3": "c",
                "2001:db8::1": "y",
                "2001:db8::2": "x",
                "2001:db9::": "d",
                UNIX: "d",
            },
        )

    def test_no_default(self) -> None:
        """
        Without a default, and in an empty block, the value is empty.
        """
        self.check("10.0.0.0/8 a;", {"10.0.0.1": "a", "11.0.0.1": "", "::1": "", UNIX: ""})
        self.check("", {"10.0.0.1": "", "::1": "", UNIX: ""})

    def test_default_is_a_network(self) -> None:
        """
        The default of a family may be said as a network, too; a unix socket is looked up as 255.255.255.255.
        """
        build = self.check("default d; 0.0.0.0/0 four; ::/0 six;", {"1.2.3.4": "four", "::1": "six", UNIX: "four"})
        self.assertEqual(
            self.warnings(build),
            [
                'duplicate network "0.0.0.0/0", value: "four", old value: "d" in /etc/edge.conf:2',
                'duplicate network "::/0", value: "six", old value: "d" in /etc/edge.conf:2',
            ],
        )
        self.check("default d; 255.255.255.255 nobody;", {"1.2.3.4": "d", UNIX: "nobody"})

    def test_delete(self) -> None:
        """
        What was said can be taken back.
        """
        build = self.check(
            "default d; 10.0.0.0/8 a; 10.1.0.0/16 b;\ndelete 10.1.0.0/16;\ndelete 10.2.0.0/16;", {"10.1.0.1": "a"}
        )
        self.assertEqual(self.warnings(build), ['no network "10.2.0.0/16" to delete in /etc/edge.conf:4'])

    def test_warnings(self) -> None:
        """
        What is said twice counts as it was said last, and is a warning; so are bits behind the prefix.
        """
        build = self.check("default a; default b;\n1.2.3.4/24 c;\n1.2.3.0/24 d;", {"1.2.3.9": "d", "::1": "b"})
        self.assertEqual(
            self.warnings(build),
            [
                'duplicate network "default", value: "b", old value: "a" in /etc/edge.conf:2',
                'duplicate network "default", value: "b", old value: "a" in /etc/edge.conf:2',
                "low address bits of 1.2.3.4/24 are meaningless in /etc/edge.conf:3",
                'duplicate network "1.2.3.0/24", value: "d", old value: "c" in /etc/edge.conf:4',
            ],
        )

    def test_include(self) -> None:
        """
        Lines may stand in a file of their own.
        """
        build = configured("stream { geo $v { default d; include /g.conf; } }", {"/g.conf": b"10.0.0.0/8 a;"})
        self.assertEqual([self.shown(build, peer) for peer in ("10.0.0.1", "11.0.0.1")], ["a", "d"])

    def test_plain_values(self) -> None:
        """
        Values are text; a dollar sign is one.
        """
        self.check('default "$pid x";', {"10.0.0.1": "$pid x"})

    def test_wrong(self) -> None:
        """
        Each wrong line is an error.
        """
        self.assertEqual(
            self.faults(
                "geo $v {\n"  # line 2
                "1.2.3.4;\n"
                "default;\n"
                "delete;\n"
                "a b c;\n"
                "proxy 1.2.3.4;\n"
                "ranges;\n"
                "1.2.3.4-1.2.3.5 a;\n"
                "255.255.255.255/32 b;\n"
                "delete x;\n"
                "ranges x;\n"
                "}"
            ),
            [
                "invalid number of the geo parameters in /etc/edge.conf:3",
                "invalid number of the geo parameters in /etc/edge.conf:4",
                "invalid number of the geo parameters in /etc/edge.conf:5",
                "invalid number of the geo parameters in /etc/edge.conf:6",
                'invalid network "proxy" in /etc/edge.conf:7',
                'the "ranges" directive must be the first directive inside "geo" block in /etc/edge.conf:8',
                'invalid network "1.2.3.4-1.2.3.5" in /etc/edge.conf:9',
                'invalid network "255.255.255.255/32" in /etc/edge.conf:10',
                'invalid network "x" in /etc/edge.conf:11',
                'invalid network "ranges" in /etc/edge.conf:12',
            ],
        )


class RangesTests(GeoTestCase):
    """
    A block of ranges.
    """

    def test_ranges(self) -> None:
        """
        Ends belong to a range; what is in none, or no IPv4, has the default.
        """
        self.check(
            "ranges; default d; 10.0.0.3-10.0.0.5 a; 10.0.255.255-10.2.0.0 b; 10.0.0.7-10.0.0.7 c;",
            {
                "10.0.0.2": "d",
                "10.0.0.3": "a",
                "10.0.0.5": "a",
                "10.0.0.6": "d",
                "10.0.0.7": "c",
                "10.0.255.254": "d",
                "10.0.255.255": "b",
                "10.1.7.7": "b",
                "10.2.0.0": "b",
                "10.2.0.1": "d",
                "::ffff:10.0.0.4": "a",
                "::10.0.0.4": "d",
                UNIX: "d",
            },
        )

    def test_no_default(self) -> None:
        """
        Without a default the value is empty.
        """
        self.check(
            "ranges; ranges; 10.0.0.0-10.0.0.9 a;", {"10.0.0.1": "a", "10.0.0.10": "", "11.0.0.1": "", "::1": ""}
        )

    def test_inside(self) -> None:
        """
        A range may lie in an earlier one: in its middle, at its beginning, at its end.
        """
        build = self.check(
            "ranges; 10.0.0.0-10.0.0.99 a; 10.0.0.10-10.0.0.19 b; 10.0.0.0-10.0.0.4 c; 10.0.0.90-10.0.0.99 e;"
            " 10.0.0.15-10.0.0.15 f;",
            {
                "10.0.0.0": "c",
                "10.0.0.5": "a",
                "10.0.0.10": "b",
                "10.0.0.15": "f",
                "10.0.0.16": "b",
                "10.0.0.20": "a",
                "10.0.0.89": "a",
                "10.0.0.90": "e",
                "10.0.0.99": "e",
                "10.0.0.100": "",
            },
        )
        self.assertEqual(self.warnings(build), [])

    def test_twice(self) -> None:
        """
        The same range again counts as it was said last, also where only a part of it is the same.
        """
        build = self.check(
            "ranges; default b; default c;\n10.0.0.0-10.0.255.255 a; 10.0.0.0-10.1.255.255 b;",
            {"10.0.0.1": "b", "10.1.0.1": "b", "10.2.0.1": "c"},
        )
        self.assertEqual(
            self.warnings(build),
            [
                'duplicate default geo range value: "c", old value: "b" in /etc/edge.conf:2',
                'duplicate range "10.0.0.0-10.1.255.255", value: "b", old value: "a" in /etc/edge.conf:3',
            ],
        )

    def test_delete(self) -> None:
        """
        A range can be taken back, exactly as it was said.
        """
        build = self.check(
            "ranges; 10.0.0.0-10.1.0.9 a; 10.3.0.0-10.3.0.9 b; delete 10.0.0.0-10.1.0.9;\ndelete 10.3.0.0-10.3.0.8;\n"
            "delete 10.3.0.1-10.3.0.9;\ndelete 10.4.0.1-10.4.0.9;",
            {"10.0.0.5": "", "10.1.0.5": "", "10.3.0.5": "b"},
        )
        self.assertEqual(
            self.warnings(build),
            [
                'no address range "10.3.0.0-10.3.0.8" to delete in /etc/edge.conf:3',
                'no address range "10.3.0.1-10.3.0.9" to delete in /etc/edge.conf:4',
                'no address range "10.4.0.1-10.4.0.9" to delete in /etc/edge.conf:5',
            ],
        )

    def test_wrong(self) -> None:
        """
        What is no range, or cuts through another, is an error.
        """
        self.assertEqual(
            self.faults(
                "geo $v {\n"  # line 2
                "ranges;\n"
                "1.0.0.0-1.0.0.9 a;\n"
                "1.0.0.5-1.0.1.0 b;\n"
                "0.255.255.255-1.0.0.8 b;\n"
                "1.0.0.0/24 b;\n"
                "2.0.0.1-2.0.0.0 b;\n"
                "2.0.0.1- b;\n"
                "-2.0.0.1 b;\n"
                "2.0.0.1-255.255.255.255 b;\n"
                "delete 2.0.0.1;\n"
                "}"
            ),
            [
                'range "1.0.0.5-1.0.1.0" overlaps "1.0.0.0-1.0.0.9" in /etc/edge.conf:5',
                'invalid range "1.0.0.0/24" in /etc/edge.conf:7',
                'invalid range "2.0.0.1-2.0.0.0" in /etc/edge.conf:8',
                'invalid range "2.0.0.1-" in /etc/edge.conf:9',
                'invalid range "-2.0.0.1" in /etc/edge.conf:10',
                'invalid range "2.0.0.1-255.255.255.255" in /etc/edge.conf:11',
                'invalid range "2.0.0.1" in /etc/edge.conf:12',
            ],
        )
        self.assertEqual(
            self.faults("geo $v { ranges; 1.0.0.2-1.0.0.9 a; 1.0.0.1-1.0.0.9 b; }"),
            ['range "1.0.0.1-1.0.0.9" overlaps "1.0.0.2-1.0.0.9" in /etc/edge.conf:2'],
        )

    def test_many(self) -> None:
        """
        A hundred thousand ranges, and as many networks, are read and looked up.
        """
        lines = "".join(
            f"10.{n >> 13}.{n >> 5 & 255}.{(n & 31) << 3}-10.{n >> 13}.{n >> 5 & 255}.{((n & 31) << 3) + 6} {n};\n"
            for n in range(100_000)
        )
        self.check("ranges;\n" + lines, {"10.0.0.6": "0", "10.0.0.7": "", "10.12.52.248": "99999"})
        lines = "".join(f"10.{n >> 13}.{n >> 5 & 255}.{(n & 31) << 3}/30 {n};\n" for n in range(100_000))
        self.check("default d;" + lines, {"10.0.0.3": "0", "10.0.0.4": "d", "10.12.52.248": "99999"})


class VariableTests(GeoTestCase):
    """
    What is looked up, and how it is called.
    """

    def test_any_variable(self) -> None:
        """
        The address may come from any variable; what is no address is looked up as 255.255.255.255.
        """
        text = (
            "stream { map $msec $a { volatile; default %s; }"
            " geo $A $v { default d; 10.0.0.0/8 a; 255.255.255.255 nobody; ::1 b; } }"
        )
        for address, value in (
            ("10.0.0.1", "a"),
            ("11.0.0.1", "d"),
            ("::ffff:10.0.0.1", "a"),
            ("::1", "b"),
            ("[::1]", "nobody"),
            ("10.0.0.1:80", "nobody"),
            ('""', "nobody"),
            ("255.255.255.255", "nobody"),
        ):
            build = configured(text % address)
            found = build.template("$v", NODE)
            self.assertEqual(found(lone_session(UNIX)), value, address)

    def test_volatile(self) -> None:
        """
        The value is kept for a session, unless the block says otherwise.
        """
        for flag, expected in (("", "aa"), ("volatile;", "ab")):
            build = configured("stream { geo $v { " + flag + " 10.0.0.1 a; 10.0.0.2 b; } }")
            subject = Subject(Address("inet", "10.0.0.1", 1))
            first = build.template("$v", NODE)(subject)
            subject.peer = Address("inet", "10.0.0.2", 1)
            self.assertEqual(first + build.template("$v", NODE)(subject), expected)

    def test_last_of_two(self) -> None:
        """
        Of two blocks for one variable the last counts.
        """
        build = configured("stream { geo $v { default a; } geo $v { default b; } }")
        self.assertEqual(self.shown(build, "10.0.0.1"), "b")

    def test_wrong(self) -> None:
        """
        Names need their dollar sign, and the one that is made must not be a module's.
        """
        for text, words in (
            ("geo v { }", 'invalid variable name "v"'),
            ("geo $remote_addr v { }", 'invalid variable name "v"'),
            ("geo a $v { }", 'invalid variable name "a"'),
            ("geo $nope $v { }", 'unknown "nope" variable'),
            ("geo $a-b $v { }", 'unknown "a-b" variable'),
            ('geo "${remote_addr}" $v { }', 'unknown "{remote_addr}" variable'),
            ("geo $remote_addr { }", 'the duplicate "remote_addr" variable'),
            ("geo $ { }", 'invalid variable name "$"'),
            ("geo { }", 'invalid number of arguments in "geo" directive'),
            ("geo $v;", 'directive "geo" has no opening "{"'),
            ("server { geo $v { } listen 1; }", '"geo" directive is not allowed here'),
        ):
            self.assertEqual(self.faults(text)[:1], [words + " in /etc/edge.conf:2"], text)

    def test_interfaces(self) -> None:
        """
        It is a module, found as a plugin, and does nothing to servers.
        """
        self.assertTrue(verifyObject(IModule, geo))
        self.assertTrue(verifyObject(IPlugin, geo))
        self.assertIsNone(geo.attach(None, None))  # type: ignore[arg-type,func-returns-value]


class HttpTests(SynchronousTestCase):
    """
    Addresses of requests.
    """

    def test_request(self) -> None:
        """
        The address is the request's.
        """
        world = Places("geo $where { default far; 192.0.2.0/24 near; } server { }", [geo])
        request = FakeRequest()
        self.assertEqual(world.value("$where", request), "near")
        request = FakeRequest()
        request.peer = Address("inet", "198.51.100.7", 1)
        self.assertEqual(world.value("$where", request), "far")
