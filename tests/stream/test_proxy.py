"""
Tests for L{sniproxy.stream.proxy}.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.common.listen import listenings
from sniproxy.common.server import no_content
from sniproxy.common.upstream import groups
from sniproxy.config.build import Build
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IContentHandler, IModule
from sniproxy.net.connect import ConnectOptions
from sniproxy.net.datagram_relay import DatagramOptions
from sniproxy.net.relay import Options
from sniproxy.stream.proxy import LITERALS, ProxyPolicy, proxy
from tests.support import pki
from tests.support.sessions import World, configured

NAMES = {"two.example": ("192.0.2.1", "2001:db8::1")}


def build(settings: str, around: str = "") -> Build:
    """
    A configuration with one server in line 3.
    """
    return configured(f"stream {{\n{around}\nserver {{ listen 1; {settings} }}\n}}", FILES, NAMES)


FILES = {"/etc/ca.pem": pki.authority().pem}


class ProxyTests(SynchronousTestCase):
    """
    What the directives come to.
    """

    def policy(self, settings: str, around: str = "") -> ProxyPolicy:
        """
        Of one server.
        """
        self.made = build(settings, around)
        (listening,) = listenings(self.made)
        policy: Any = listening.default.content
        self.assertIsInstance(policy, ProxyPolicy)
        found: ProxyPolicy = policy
        return found

    def complaints(self, settings: str, around: str = "") -> list[str]:
        """
        What is wrong.
        """
        return [str(error) for error in self.assertRaises(ConfigErrors, build, settings, around).errors]

    def test_interfaces(self) -> None:
        """
        The module is a plugin and a module, and what it makes takes content.
        """
        self.assertTrue(verifyObject(IModule, proxy))
        self.assertTrue(IPlugin.providedBy(proxy))
        self.assertTrue(callable(self.policy("proxy_pass two.example:1;")))
        self.assertEqual(list(IContentHandler), ["__call__"])

    def test_defaults(self) -> None:
        """
        The defaults are nginx's.
        """
        policy = self.policy("proxy_pass 192.0.2.2:1;")
        self.assertEqual(policy.connect_timeout, 60.0)
        self.assertEqual(policy.relay, Options(16384, False, 600.0))
        self.assertEqual(policy.connect, ConnectOptions())
        self.assertEqual(policy.connect_datagrams, ConnectOptions(datagrams=True))
        self.assertEqual(policy.datagrams, DatagramOptions(0, None, 600.0))
        self.assertEqual((policy.next_upstream, policy.next_tries, policy.next_timeout), (True, 0, 0.0))
        self.assertEqual((policy.resolver, policy.tls, policy.groups), (None, None, {}))

    def test_all_reach_the_policy(self) -> None:
        """
        What is said in the block, or around it, is what is done.
        """
        policy = self.policy(
            "proxy_pass 192.0.2.2:1; proxy_connect_timeout 5s; proxy_timeout 1m; proxy_half_close on;"
            "proxy_buffer_size 4k; proxy_next_upstream off; proxy_next_upstream_tries 3;"
            "proxy_next_upstream_timeout 7s; proxy_requests 2; proxy_responses 0;",
            "proxy_socket_keepalive on; proxy_socket_rcvbuf 8k; proxy_socket_sndbuf 9k; tcp_nodelay off;"
            "resolver 192.0.2.53; resolver_timeout 3s;",
        )
        self.assertEqual(policy.connect_timeout, 5.0)
        self.assertEqual(policy.relay, Options(4096, True, 60.0))
        self.assertEqual(policy.connect, ConnectOptions(None, False, True, 8192, 9216))
        self.assertEqual(policy.connect_datagrams, replace(policy.connect, datagrams=True))
        self.assertEqual(policy.datagrams, DatagramOptions(2, 0, 60.0))
        self.assertEqual((policy.next_upstream, policy.next_tries, policy.next_timeout), (False, 3, 7.0))
        assert policy.resolver is not None
        self.assertEqual(policy.resolver.timeout, 3.0)

    def test_old_names_of_the_buffer(self) -> None:
        """
        The obsolete names of C{proxy_buffer_size} mean the same, and the nearest of all three holds.
        """
        for own, around, size in (
            ("proxy_downstream_buffer 4k;", "proxy_buffer_size 5k;", 4096),
            ("proxy_upstream_buffer 4k;", "proxy_downstream_buffer 5k;", 4096),
            ("proxy_buffer_size 4k;", "proxy_upstream_buffer 5k;", 4096),
            ("", "proxy_upstream_buffer 4k;", 4096),
            ("", "", 16384),
        ):
            policy = self.policy(f"proxy_pass 192.0.2.2:1; {own}", around)
            self.assertEqual(policy.relay.buffer_size, size)

    def test_old_names_are_old(self) -> None:
        """
        An obsolete name is a warning, and two names of one thing in one block are one too many.
        """
        self.policy("proxy_pass 192.0.2.2:1; proxy_upstream_buffer 4k;")
        self.assertEqual(
            [str(each) for each in self.made.warnings],
            [
                'the "proxy_upstream_buffer" directive is deprecated, use the "proxy_buffer_size" directive instead'
                " in /etc/edge.conf:3"
            ],
        )
        self.assertEqual(
            self.complaints("proxy_pass 192.0.2.2:1; proxy_upstream_buffer 4k; proxy_buffer_size 4k;"),
            ['"proxy_buffer_size" directive is duplicate in /etc/edge.conf:3'],
        )

    def test_no_buffer(self) -> None:
        """
        A buffer for nothing is one for a byte, since reading nothing is how an end looks.
        """
        self.assertEqual(self.policy("proxy_pass 192.0.2.2:1; proxy_buffer_size 0;").relay.buffer_size, 1)

    def test_addresses(self) -> None:
        """
        A host is all of its addresses; a numeric one is itself; a unix socket its path.
        """
        for text, addresses, host in (
            ("two.example:22", [Address("inet", "192.0.2.1", 22), Address("inet6", "2001:db8::1", 22)], "two.example"),
            ("192.0.2.9:1", [Address("inet", "192.0.2.9", 1)], "192.0.2.9"),
            ("[2001:db8::9]:1", [Address("inet6", "2001:db8::9", 1)], "2001:db8::9"),
            ("unix:/run/a.sock", [Address("unix", "/run/a.sock")], "/run/a.sock"),
        ):
            policy = self.policy(f"proxy_pass {text};")
            assert policy.upstream is not None
            self.assertEqual([peer.address for peer in policy.upstream.group.peers], addresses)
            self.assertEqual(policy.host, host)

    def test_groups(self) -> None:
        """
        The name of an upstream, in any case, is that upstream, and the name in proxy_pass is that of certificates.
        """
        policy = self.policy("proxy_pass Back;", "upstream back { server 192.0.2.9:1; }")
        self.assertIs(policy.upstream, groups(self.made)["back"])
        self.assertEqual(policy.host, "Back")

    def test_groups_with_ports(self) -> None:
        """
        A group whose name looks like a host and its port is reached by nobody: the text means the host there.
        """
        group = 'upstream "two.example:1" { server 192.0.2.9:1; } upstream 192.0.2.7:1 { server 192.0.2.9:1; }'
        for text, hosts in (("two.example:1", ["192.0.2.1", "2001:db8::1"]), ("192.0.2.7:1", ["192.0.2.7"])):
            policy = self.policy(f"proxy_pass {text};", group)
            assert policy.upstream is not None
            self.assertEqual([peer.address.host for peer in policy.upstream.group.peers], hosts)
            self.assertEqual([name for name, group in policy.groups.items() if group is not policy.upstream], [])

    def test_hosts_of_others(self) -> None:
        """
        A variable may name a host and port that another proxy_pass has written down: the same upstream.
        """
        made = build(
            "proxy_pass $remote_addr:1;",
            "server { listen 2; proxy_pass two.example:7; }\nupstream b { server [::1]:1; }",
        )
        other, mine = (listening.default.content for listening in listenings(made))
        assert isinstance(mine, ProxyPolicy)
        assert isinstance(other, ProxyPolicy)
        self.assertEqual(list(mine.groups), ["b", "two.example:7"])
        self.assertIs(mine.groups["two.example:7"], other.upstream)

    def test_variables(self) -> None:
        """
        With variables each session says where to.
        """
        policy = self.policy("proxy_pass $remote_addr:1;", "upstream back { server 192.0.2.9:1; }")
        self.assertIsNone(policy.upstream)
        self.assertEqual((policy.target.text, list(policy.groups)), ("$remote_addr:1", ["back"]))

    def test_literals(self) -> None:
        """
        An address that a variable names is made an upstream once, and no more of them are kept than the limit.
        """
        policy = self.policy("proxy_pass $remote_addr:1;")
        address = Address("inet", "192.0.2.1", 1)
        made = policy.literal("192.0.2.1:1", address, "192.0.2.1")
        self.assertEqual([peer.address for peer in made.group.peers], [address])
        self.assertEqual(policy.literals["192.0.2.1:1"], (made, "192.0.2.1"))
        for port in range(2, LITERALS + 1):
            policy.literal(f"192.0.2.1:{port}", Address("inet", "192.0.2.1", port), "192.0.2.1")
        self.assertEqual(len(policy.literals), LITERALS)
        policy.literal("192.0.2.2:1", Address("inet", "192.0.2.2", 1), "192.0.2.2")
        self.assertEqual(list(policy.literals), ["192.0.2.2:1"])

    def test_none(self) -> None:
        """
        Without proxy_pass the module takes nothing.
        """
        (listening,) = listenings(build("proxy_timeout 1s;"))
        self.assertIs(listening.default.content, no_content)

    def test_faults(self) -> None:
        """
        Wrong targets are refused in nginx's words.
        """
        for target, complaint in (
            ("192.0.2.1", 'no port in upstream "192.0.2.1"'),
            ("nowhere.example:1", 'host not found in upstream "nowhere.example"'),
            ("192.0.2.1:0", 'invalid port in upstream "192.0.2.1:0"'),
            ("back:1", 'upstream "back" may not have port 1'),
        ):
            self.assertEqual(
                self.complaints(f"proxy_pass {target};", "upstream back { server 192.0.2.9:1; }"),
                [f"{complaint} in /etc/edge.conf:3"],
            )
        self.assertEqual(
            self.complaints("proxy_pass 192.0.2.1:1; proxy_pass 192.0.2.1:1;"),
            ['"proxy_pass" directive is duplicate in /etc/edge.conf:3'],
        )

    def test_tls(self) -> None:
        """
        With proxy_ssl there is what TLS needs; what is wrong with it is an error, and what cannot be had a warning.
        """
        policy = self.policy("proxy_pass 192.0.2.2:1; proxy_ssl on; proxy_ssl_protocols SSLv3 TLSv1.3;")
        assert policy.tls is not None
        (warning,) = self.made.warnings
        self.assertIn("SSLv3", str(warning))
        self.assertEqual(
            self.complaints("proxy_pass 192.0.2.2:1; proxy_ssl_verify on;", "proxy_ssl on;"),
            ["no proxy_ssl_trusted_certificate for proxy_ssl_verify in /etc/edge.conf:2"],
        )

    def test_tls_of_others(self) -> None:
        """
        What is wrong with the proxy_ssl of servers that pass nothing on is told, once where they inherit it.
        """
        self.assertEqual(
            self.complaints("return x;", "proxy_ssl on; proxy_ssl_verify on; server { listen 2; return y; }"),
            ["no proxy_ssl_trusted_certificate for proxy_ssl_verify in /etc/edge.conf:2"],
        )
        (complaint,) = self.complaints(
            "proxy_ssl on; proxy_ssl_certificate a.pem; proxy_ssl_certificate_key b; return x;"
        )
        self.assertIn('cannot load certificate "/etc/a.pem"', complaint)
        self.assertEqual(build("return x;", "proxy_ssl_verify on;").errors, [])

    def test_each_session(self) -> None:
        """
        Each session gets its own way to the upstream.
        """
        world = World("server { listen 192.0.2.1:1; proxy_pass 192.0.2.2:2; }")
        world.client()
        world.client()
        self.assertEqual([each.address.port for each in world.network.attempts], [2, 2])
