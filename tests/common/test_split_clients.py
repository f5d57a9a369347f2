"""
C{split_clients}, by the answers of a real nginx (see also tests/interop/test_tables.py).
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.common.session import Session
from sniproxy.common.split_clients import murmur2, split_clients
from sniproxy.config.grammar import Node
from sniproxy.config.template import Variable
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from tests.support.places import Declared, FakeRequest, Places
from tests.support.sessions import FILE, configured, lone_session

NODE = Node("test", (), (), None, FILE, 1)


def subject(host: str) -> Session:
    """
    What a variable is asked by.
    """
    return lone_session(Address("inet", host, 7))


class HashTests(SynchronousTestCase):
    """
    The hash.
    """

    def test_known(self) -> None:
        """
        Texts of all lengths hash as they do in nginx.
        """
        self.assertEqual(
            [murmur2(b"abcdefghi"[:size]) for size in range(10)],
            [
                0x00000000, 0x92685F5E, 0x1AA14063, 0x13577C9B, 0x26873021, 0x5F09A8DE, 0x4BC8E979, 0xF9A1CEF3,
                0x042287E6, 0xF0319AA7,
            ],
        )  # fmt: skip


class SplitTests(SynchronousTestCase):
    """
    Who gets which part.
    """

    def found(self, body: str, count: int = 2000) -> dict[str, int]:
        """
        How many of some clients get which value.
        """
        build = configured("stream { split_clients $remote_addr$remote_port $v { " + body + " } }")
        template = build.template("$v", NODE)
        values = [template(subject(f"10.0.{place >> 8}.{place & 255}")) for place in range(count)]
        return {value: values.count(value) for value in sorted(set(values))}

    def test_shares(self) -> None:
        """
        Each part gets about what it should, and the rest what is left.
        """
        for name, number, wanted in zip(
            "abc", self.found("10% a; 0.5% b; * c;").values(), (200, 10, 1790), strict=True
        ):
            self.assertTrue(abs(number - wanted) < 50, (name, number))

    def test_bounds(self) -> None:
        """
        A part ends where the sum of its share and those before falls among all hashes, and the end is not in it.
        """
        build = configured("stream { split_clients $remote_addr $v { 25% a; 25% b; * c; } }")
        template = build.template("$v", NODE)
        for place in range(500):
            session = subject(f"10.0.{place >> 8}.{place & 255}")
            hashed = murmur2(session.peer.host.encode())
            wanted = "a" if hashed < 1073741823 else "b" if hashed < 2147483646 else "c"
            self.assertEqual(template(session), wanted)

    def test_no_rest(self) -> None:
        """
        Who is left without a part gets the empty text.
        """
        self.assertEqual(list(self.found("50% a;")), ["", "a"])
        self.assertEqual(list(self.found("")), [""])

    def test_rest_before(self) -> None:
        """
        Whoever is left is taken by the first star.
        """
        self.assertEqual(list(self.found("* a; * b;")), ["a"])

    def test_spellings(self) -> None:
        """
        Two decimals, or fewer, or no digits before the point.
        """
        for text in ("50%", "50.00%", "50.%", "050.0%"):
            self.assertEqual(self.found(text + " a;"), self.found("50% a;"))
        self.assertEqual(self.found(".5% a;"), self.found("0.50% a;"))

    def test_plain_values(self) -> None:
        """
        Values are text; a dollar sign is one.
        """
        self.assertEqual(list(self.found("* $pid;")), ["$pid"])

    def faults(self, text: str) -> list[str]:
        """
        What is wrong with the inside of C{stream}.
        """
        problem: ConfigErrors = self.assertRaises(ConfigErrors, configured, "stream {\n" + text + "\n}")
        return [str(error) for error in problem.errors]

    def test_wrong_shares(self) -> None:
        """
        What is no share is an error of its line.
        """
        for text in (
            "0%",
            "0.00%",
            "50",
            "50.123%",
            "%",
            ".%",
            "1.2.3%",
            "-5%",
            "5 %",
            "a%",
            "''",
            "\u0665%",
            "9" * 30 + "%",
        ):
            self.assertEqual(
                self.faults('split_clients $remote_addr $v {\n"' + text + '" a;\n}'),
                [f'invalid percent value "{text}" in /etc/edge.conf:3'],
            )
        for text in ("50%;", "50% a b;", "*;"):
            self.assertEqual(
                self.faults("split_clients $remote_addr $v {\n" + text + "\n}"),
                ["invalid number of the split_clients parameters in /etc/edge.conf:3"],
            )

    def test_too_much(self) -> None:
        """
        All shares together are a hundred per cent at most; a star is all that was left.
        """
        for text in ("100% a; 0.01% b;", "* a; 1% b;", "60% a; 60% b;"):
            self.assertEqual(
                self.faults("split_clients $remote_addr $v {" + text + "}"),
                ["percent total is greater than 100% in /etc/edge.conf:2"],
            )
        self.assertEqual(
            self.faults("split_clients $remote_addr $v {\n60% a;\n60% b;\n}"),
            ["percent total is greater than 100% in /etc/edge.conf:5"],
        )
        self.assertEqual(list(self.found("60% a; 40% b;")), ["a", "b"])

    def test_wrong_names(self) -> None:
        """
        The name needs its dollar sign and must not be a module's.
        """
        for text, words in (
            ("split_clients $remote_addr v { * a; }", 'invalid variable name "v"'),
            ("split_clients $remote_addr $pid { * a; }", 'the duplicate "pid" variable'),
            ("split_clients $nope $v { * a; }", 'unknown "nope" variable'),
            ("split_clients $v { * a; }", 'invalid number of arguments in "split_clients" directive'),
        ):
            self.assertEqual(self.faults(text), [words + " in /etc/edge.conf:2"])

    def test_interfaces(self) -> None:
        """
        It is a module, found as a plugin, and does nothing to servers.
        """
        self.assertTrue(verifyObject(IModule, split_clients))
        self.assertTrue(verifyObject(IPlugin, split_clients))
        self.assertIsNone(split_clients.attach(None, None))  # type: ignore[arg-type,func-returns-value]


class HttpTests(SynchronousTestCase):
    """
    Shares of requests.
    """

    def test_request(self) -> None:
        """
        What tells requests apart is theirs.
        """
        told = Variable("told", lambda request: request.notes["told"], kind="http")
        text = 'split_clients "$told" $half { 50% a; * b; } server { }'
        world = Places(text, [split_clients, Declared(variables=[told])])
        found = set()
        for number in range(20):
            request = FakeRequest()
            request.notes["told"] = str(number)
            found.add(world.value("$half", request))
        self.assertEqual(found, {"a", "b"})
