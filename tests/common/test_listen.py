"""
Tests for L{sniproxy.common.listen}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.common.core_variables import own_hostname
from sniproxy.common.listen import listenings
from sniproxy.common.listening import Listening, ListenOptions
from sniproxy.config.build import Build
from sniproxy.config.regex import NESTED
from sniproxy.errors import ConfigErrors
from tests.support.pki import authority, leaf
from tests.support.sessions import configured

PASS = "proxy_pass 192.0.2.2:2;"
TLS = "ssl_certificate a.pem; ssl_certificate_key a.key;"
IDENTITY = leaf(authority(), "a.example")
FILES = {"/etc/a.pem": IDENTITY.full_pem, "/etc/a.key": IDENTITY.key_pem}
NAMES = {"two.example": ("192.0.2.1", "2001:db8::1")}


def build(*servers: str, more: tuple[Any, ...] = ()) -> Build:
    """
    A configuration of servers, each in a line of its own from 2 on.
    """
    lines = [f"server {{ {server} {PASS} }}" for server in servers]
    return configured("\n".join(["stream {", *lines, "}"]), FILES, NAMES, more)


def warnings(made: Build) -> list[str]:
    """
    What the operator is told.
    """
    return [str(warning) for warning in made.warnings]


class Subject:
    """
    Whom an expression leaves its captures with.
    """

    def __init__(self) -> None:
        self.values: dict[str, str | None] = {}
        self.captures: tuple[str, ...] | None = None


class ListenCase(SynchronousTestCase):
    """
    What tests of this module share.
    """

    def complaints(self, *servers: str, more: tuple[Any, ...] = ()) -> list[str]:
        """
        What is wrong.
        """
        return [str(error) for error in self.assertRaises(ConfigErrors, build, *servers, more=more).errors]

    def only(self, server: str) -> Listening:
        """
        The one address of one server.
        """
        (listening,) = listenings(build(server))
        return listening

    def chosen(self, listening: Listening, name: str | None) -> int:
        """
        The number of the server a name chooses, from 0 on.
        """
        session: Any = type("Session", (), {"values": {}, "captures": None})()
        return listening.servers.index(listening.choose(name, session))


class ListenTests(ListenCase):
    """
    The parameters of C{listen}.
    """

    def test_addresses(self) -> None:
        """
        One directive may mean several addresses: ranges of ports, and names with several addresses.
        """
        for text, addresses in (
            ("443", ["0.0.0.0:443"]),
            ("*:443", ["0.0.0.0:443"]),
            ("[::]:443", ["[::]:443"]),
            ("192.0.2.1:8000-8002", ["192.0.2.1:8000", "192.0.2.1:8001", "192.0.2.1:8002"]),
            ("two.example:1", ["192.0.2.1:1", "[2001:db8::1]:1"]),
            ("unix:/run/a.sock", ["unix:/run/a.sock"]),
        ):
            found = listenings(build(f"listen {text};"))
            self.assertEqual([listening.text for listening in found], addresses)

    def test_plain(self) -> None:
        """
        Without parameters the socket is as the system makes it, and nothing is TLS.
        """
        listening = self.only("listen 443;")
        self.assertEqual(listening.options, ListenOptions())
        self.assertFalse(listening.ssl)
        self.assertEqual(listening.address, Address("inet", "0.0.0.0", 443))

    def test_options(self) -> None:
        """
        Each parameter reaches the options of the socket.
        """
        for word, name, value in (
            ("backlog=7", "backlog", 7),
            ("fastopen=0", "fastopen", 0),
            ("fastopen=9", "fastopen", 9),
            ("rcvbuf=8k", "receive_buffer", 8192),
            ("sndbuf=1m", "send_buffer", 1048576),
            ("deferred", "deferred", True),
            ("bind", "bind", True),
            ("reuseport", "reuseport", True),
            ("so_keepalive=on", "keepalive", True),
            ("so_keepalive=off", "keepalive", False),
            ("so_keepalive=30m::10", "keepalive", (1800, None, 10)),
            ("so_keepalive=:5s:", "keepalive", (None, 5, None)),
            ("so_keepalive=10", "keepalive", (10, None, None)),
            ("so_keepalive=10:0", "keepalive", (10, None, None)),
            ("rcvbuf=0", "receive_buffer", 0),
        ):
            options = self.only(f"listen 443 {word};").options
            self.assertEqual((getattr(options, name), options.given), (value, True), word)
        self.assertFalse(self.only("listen [::1]:443 ipv6only=off;").options.ipv6only)
        self.assertTrue(self.only("listen [::1]:443 ipv6only=on;").options.ipv6only)

    def test_wrong_options(self) -> None:
        """
        A parameter that is none, or has a wrong value, is refused in nginx's words.
        """
        for word, complaint in (
            ("bogus", 'the invalid "bogus" parameter'),
            ("backlog", 'the invalid "backlog" parameter'),
            ("backlog=0", 'invalid backlog "backlog=0"'),
            ("backlog=x", 'invalid backlog "backlog=x"'),
            ("fastopen=-1", 'invalid fastopen "fastopen=-1"'),
            ("rcvbuf=1g", 'invalid rcvbuf "rcvbuf=1g"'),
            ("sndbuf=", 'invalid sndbuf "sndbuf="'),
            ("setfib=1", 'the invalid "setfib=1" parameter'),
            ("default", 'the invalid "default" parameter'),
            ("ipv6only=of", 'invalid ipv6only flags "of"'),
            ("ipv6only=x", 'the invalid "ipv6only=x" parameter'),
            ("so_keepalive=x", 'invalid so_keepalive value: "x"'),
            ("so_keepalive=::", 'invalid so_keepalive value: "::"'),
            ("so_keepalive=0:0:0", 'invalid so_keepalive value: "0:0:0"'),
            ("so_keepalive=1:2:3:4", 'invalid so_keepalive value: "1:2:3:4"'),
            ("so_keepalive=x:2:3", 'invalid so_keepalive value: "x:2:3"'),
            ("so_keepalive=1:2:x", 'invalid so_keepalive value: "1:2:x"'),
        ):
            self.assertEqual(self.complaints(f"listen 443 {word};"), [f"{complaint} in /etc/edge.conf:2"])

    def test_not_carried(self) -> None:
        """
        What nginx has and we do not is refused by its name, with the reason.
        """
        (complaint,) = self.complaints("listen 443 multipath;")
        self.assertTrue(
            complaint.startswith('the "multipath" parameter of the "listen" directive is not supported by sniproxy: ')
        )
        (warning,) = [each for each in build("listen 443 accept_filter=x;").warnings if "accept" in each.message]
        self.assertEqual(
            str(warning),
            'accept filters "accept_filter=x" are not supported on this platform, ignored in /etc/edge.conf:2',
        )

    def test_datagrams(self) -> None:
        """
        What only connections have cannot be asked of a socket for datagrams, wherever C{udp} stands.
        """
        for word in ("backlog=5", "deferred", "ssl", "so_keepalive=on", "proxy_protocol", "fastopen=5"):
            name = word.partition("=")[0]
            for words in (f"{word} udp", f"udp {word}"):
                self.assertEqual(
                    self.complaints(f"listen 443 {words};"),
                    [f'"listen" directive "{name}" parameter is incompatible with "udp" in /etc/edge.conf:2'],
                )

    def test_both_ways(self) -> None:
        """
        A port may be listened on for connections and for datagrams, with options for each; twice the same is an error.
        """
        built = build("listen 443 rcvbuf=4k; listen 443 udp reuseport rcvbuf=8k;")
        self.assertEqual(
            [(each.text, each.udp, each.options.receive_buffer) for each in listenings(built)],
            [("0.0.0.0:443", False, 4096), ("0.0.0.0:443", True, 8192)],
        )
        self.assertEqual(
            self.complaints("listen 443; listen 443 udp; listen 443 udp;"),
            ["a duplicate listen 0.0.0.0:443 in /etc/edge.conf:2"],
        )

    def test_keepalive_on_a_unix_socket(self) -> None:
        """
        A unix socket takes the parameter, as nginx's do, though nothing comes of it.
        """
        self.assertTrue(self.only("listen unix:/run/a.sock so_keepalive=on;").options.keepalive)

    def test_wrong_addresses(self) -> None:
        """
        An address that is none is refused, once, in nginx's words.
        """
        for text, complaint in (
            ("192.0.2.1", 'no port in "192.0.2.1" of the "listen" directive'),
            ("nowhere.example:1", 'host not found in "nowhere.example:1" of the "listen" directive'),
            ("443-442", 'invalid port range in "443-442" of the "listen" directive'),
        ):
            self.assertEqual(self.complaints(f"listen {text};"), [f"{complaint} in /etc/edge.conf:2"])


class SharedAddressTests(ListenCase):
    """
    Several servers on one address.
    """

    def test_first_is_default(self) -> None:
        """
        The first server in the file is the default, and a name may choose another.
        """
        listening = listenings(build("listen 443; server_name a.example;", "listen *:443; server_name b.example;"))[0]
        self.assertTrue(listening.by_name)
        self.assertEqual([self.chosen(listening, name) for name in (None, "a.example", "b.example", "c")], [0, 0, 1, 0])

    def test_alone(self) -> None:
        """
        Where there is one server no name chooses anything.
        """
        self.assertFalse(self.only("listen 443; server_name a.example b.example;").by_name)

    def test_default_server(self) -> None:
        """
        default_server says which server is; two on one address are refused.
        """
        (listening,) = listenings(build("listen 443;", "listen 443 default_server;"))
        self.assertEqual(self.chosen(listening, None), 1)
        self.assertEqual(
            self.complaints("listen 443 default_server;", "listen 443 default_server;"),
            ["a duplicate default server for 0.0.0.0:443 in /etc/edge.conf:3"],
        )

    def test_per_address(self) -> None:
        """
        Each address has its own default and its own servers.
        """
        one, two = listenings(build("listen 1; listen 2;", "listen 2 default_server;"))
        self.assertEqual((self.chosen(one, None), len(one.servers)), (0, 1))
        self.assertEqual((self.chosen(two, None), len(two.servers)), (1, 2))
        self.assertEqual((one.by_name, two.by_name), (False, True))
        self.assertEqual(one.default.listenings, [one, two])

    def test_duplicate_listen(self) -> None:
        """
        One server may have an address once.
        """
        self.assertEqual(
            self.complaints("listen 443; listen 0.0.0.0:443;"),
            ["a duplicate listen 0.0.0.0:443 in /etc/edge.conf:2"],
        )

    def test_options_once(self) -> None:
        """
        Options of a socket may be given by any one of its servers, and by no two.
        """
        (listening,) = listenings(build("listen 443;", "listen 443 backlog=5;", "listen 443;"))
        self.assertEqual(listening.options.backlog, 5)
        self.assertEqual(
            self.complaints("listen 443 backlog=5;", "listen 443 bind;"),
            ["duplicate listen options for 0.0.0.0:443 in /etc/edge.conf:3"],
        )

    def test_ssl_is_the_address(self) -> None:
        """
        If one server says ssl all servers of that address speak TLS, whichever comes first.
        """
        for words in (("ssl", ""), ("", "ssl")):
            (listening,) = listenings(build(*(f"listen 443 {word}; {TLS}" for word in words)))
            self.assertTrue(listening.ssl)
            self.assertNotIn(None, [server.tls for server in listening.servers])

    def test_redefined_protocols(self) -> None:
        """
        To say ssl or proxy_protocol once for an address is enough; there is a warning where it is said in a place where
        nobody looks for it, or where servers differ twice.
        """
        for words, lines in (
            (("ssl", ""), ()),
            (("", "ssl"), ()),
            (("ssl", "ssl", "ssl"), ()),
            (("ssl", "", ""), ()),
            (("ssl", "", "ssl"), (4,)),
            (("ssl", "proxy_protocol"), (3,)),
            (("ssl", "ssl proxy_protocol"), ()),
            (("ssl", "", "proxy_protocol"), (4,)),
            (("", "ssl", "proxy_protocol"), (4,)),
            (("", "ssl", "ssl"), (4,)),
            (("bind", "ssl"), (3,)),
            (("", "ssl bind"), ()),
            (("ssl", "bind"), (3,)),
            (("ssl", "", "ssl bind"), (4,)),
        ):
            made = build(*(f"listen 443 {word}; {TLS} server_name {number};" for number, word in enumerate(words)))
            expected = [f"protocol options redefined for 0.0.0.0:443 in /etc/edge.conf:{line}" for line in lines]
            self.assertEqual(warnings(made), expected, words)


class ServerNameTests(ListenCase):
    """
    C{server_name}.
    """

    def test_precedence(self) -> None:
        """
        The exact name wins over masks, those over expressions, and all over the default; case means nothing.
        """
        (listening,) = listenings(
            build(
                "listen 443;",
                r'listen 443; server_name "~^[a-z]+\.a\.example$";',
                "listen 443; server_name *.A.example;",
                "listen 443; server_name www.A.example;",
                "listen 443; server_name www.a.*;",
                "listen 443; server_name .b.example;",
            )
        )
        for name, number in (
            ("www.a.example", 3),
            ("x.a.example", 2),
            ("www.a.test", 4),
            ("b.example", 5),
            ("x.b.example", 5),
            ("a.example", 0),
            (None, 0),
        ):
            self.assertEqual(self.chosen(listening, name), number, name)

    def test_expressions(self) -> None:
        """
        Expressions are tried in file order; capitals make one blind to case, and its named groups are variables.
        """
        made = build(
            "listen 443;",
            r'listen 443; server_name "~^(?<first>www)\.";',
            r'listen 443; server_name "~^WWW2?\.(?<second>.+)$";',
        )
        (listening,) = listenings(made)
        self.assertEqual(self.chosen(listening, "www.a.example"), 1)
        self.assertEqual(self.chosen(listening, "www2.a.example"), 2)
        self.assertTrue(made.knows("first") and made.knows("second"))
        session: Any = type("Session", (), {"values": {}, "captures": None})()
        listening.choose("www2.a.example", session)
        node = listening.node
        self.assertEqual(made.template("$second", node).render(session), "a.example")
        self.assertEqual(made.template("$first", node).render(session), "")

    def test_the_first_of_many(self) -> None:
        """
        A server has all names of all its directives, as they are shown; $server_name will be the first.
        """
        server = self.only('listen 443; server_name A.example "~x" .b.example; server_name *.c.example;').default
        self.assertEqual(server.names, ("a.example", "~x", "b.example", "*.c.example"))

    def test_own_name(self) -> None:
        """
        $hostname is the name of this machine.
        """
        (listening,) = listenings(build("listen 443;", "listen 443; server_name $hostname;"))
        self.assertEqual(self.chosen(listening, own_hostname()), 1)

    def test_no_name(self) -> None:
        """
        A server without a name has an empty one, which two servers of an address cannot have: each but the first is a
        warning, with the line of its name, or its own.
        """
        conflict = 'conflicting server name "" on 0.0.0.0:443, ignored in /etc/edge.conf'
        for one, two in (("", ""), ('server_name "";', 'server_name "";'), ("", 'server_name a "";')):
            made = build(f"listen 443; {one}", f"listen 443; {two}")
            self.assertEqual(warnings(made), [f"{conflict}:3"])
        self.assertEqual(warnings(build("listen 443;", "listen 443; server_name a;", "listen 444;")), [])

    def test_empty_name(self) -> None:
        """
        Who says an empty name gets the server that has it, who says none the default, and no expression is tried on it.
        """
        (listening,) = listenings(
            build("listen 443; server_name a;", "listen 443; server_name ~^;", 'listen 443; server_name b "";')
        )
        self.assertEqual([self.chosen(listening, name) for name in (None, "", "c")], [0, 2, 1])

    def test_alone_names_are_not_looked_at(self) -> None:
        """
        What is wrong with the names of a server that is alone is not told, unless an expression of it captures.
        """
        self.assertEqual(warnings(build("listen 443; server_name a a b.*.c ~d;")), [])
        self.assertEqual(
            warnings(build("listen 443; server_name a a ~(d);")),
            ['conflicting server name "a" on 0.0.0.0:443, ignored in /etc/edge.conf:2'],
        )

    def test_alone_but_captures(self) -> None:
        """
        Where an expression of the only server captures, names mean something.
        """
        made = build("listen 443; server_name ~^(?<first>[a-z]+)[.]example$;")
        (listening,) = listenings(made)
        self.assertTrue(listening.by_name)
        session = Subject()
        listening.choose("www.example", session)
        self.assertEqual((session.values, session.captures), ({"first": "www"}, ("www",)))

    def test_nested_repeats(self) -> None:
        """
        An expression that a client's name could keep busy is a warning.
        """
        made = build("listen 1; server_name ~^(a+)+$;")
        self.assertEqual(warnings(made), [f"{NESTED.format('^(a+)+$')} in /etc/edge.conf:2"])

    def test_conflict(self) -> None:
        """
        A name that another server of the address has is ignored, with a warning for each address and its line.
        """
        made = build(
            "listen 1; listen 2; server_name a.example;", "listen 1; listen 2; listen 3; server_name A.example;"
        )
        self.assertEqual(
            warnings(made),
            [f'conflicting server name "a.example" on 0.0.0.0:{port}, ignored in /etc/edge.conf:3' for port in (1, 2)],
        )
        self.assertEqual([self.chosen(listening, "a.example") for listening in listenings(made)], [0, 0, 0])

    def test_wrong_names(self) -> None:
        """
        What is no name, no mask and no expression is refused in nginx's words.
        """
        for name, complaint in (
            ("*", 'server name "*" is invalid'),
            ("*a.example", 'server name "*a.example" is invalid'),
            (".", 'server name "." is invalid'),
            ("a.*.example", 'invalid server name or wildcard "a.*.example" on 0.0.0.0:443'),
            ("~", 'empty regex in server name "~"'),
        ):
            self.assertEqual(
                self.complaints(f"listen 443; server_name {name};", "listen 443; server_name c;"),
                [f"{complaint} in /etc/edge.conf:2"],
            )
        (complaint,) = self.complaints('listen 443; server_name "~(";')
        self.assertIn("in /etc/edge.conf:2", complaint)

    def test_suspicious(self) -> None:
        """
        A slash in a name is a warning.
        """
        self.assertEqual(
            warnings(build("listen 443; server_name a/b;")),
            ['server name "a/b" has suspicious symbols in /etc/edge.conf:2'],
        )
