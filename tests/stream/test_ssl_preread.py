"""
Tests for L{sniproxy.stream.ssl_preread}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.interfaces import IModule
from sniproxy.stream.ssl_preread import ssl_preread
from tests.support import hellos, pki
from tests.support.messages import Correspondent
from tests.support.sessions import FarEnd, World, client_connection, lone_session

MAPPED = """
map $ssl_preread_server_name $target {
    ssh1.example 192.0.2.2:1;
    ssh2.example 192.0.2.2:2;
    default 192.0.2.2:9;
}
server { listen 192.0.2.1:443; ssl_preread on; preread_timeout 5s; preread_buffer_size 2k; proxy_pass $target; }
"""

NAMED = """
server { listen 192.0.2.1:443; ssl_preread on; server_name a.example; proxy_pass 192.0.2.2:1; }
server { listen 192.0.2.1:443; server_name b.example; proxy_pass 192.0.2.2:2; }
"""

MALFORMED = hellos.appended(hellos.hello("ssh1.example"), 0, hellos.name_list(b"ssh2.example"))
"""Two names: no TLS server reads it, so neither of them counts."""

NAME = "$ssl_preread_server_name"
PROTOCOL = "$ssl_preread_protocol"
ALPN = "$ssl_preread_alpn_protocols"


class PrereadCase(SynchronousTestCase):
    """
    What tests of this module share.
    """

    def port(self, world: World) -> int:
        """
        Where the session goes.
        """
        return world.attempt().address.port


class RoutingTests(PrereadCase):
    """
    Where clients go.
    """

    def test_interfaces(self) -> None:
        """
        The module is a plugin and a module.
        """
        self.assertTrue(verifyObject(IModule, ssl_preread))
        self.assertTrue(IPlugin.providedBy(ssl_preread))

    def test_by_map(self) -> None:
        """
        The name in the ClientHello chooses the upstream, in any case; unknown and missing names take the default.
        """
        for name, port in (("ssh1.example", 1), ("SSH2.Example", 2), ("other.example", 9), (None, 9)):
            world = World(MAPPED)
            world.client(hellos.hello(name))
            self.assertEqual(self.port(world), port, name)

    def test_every_byte_arrives(self) -> None:
        """
        What was looked at reaches the upstream, all of it and once.
        """
        stream = hellos.hello("ssh1.example")
        for cut in (0, 1, 5, 9, len(stream) // 2, len(stream)):
            world = World(MAPPED)
            client = world.client(stream[:cut])
            client.arrive(stream[cut:] + b"early data")
            upstream = world.attempt().succeed()
            self.assertEqual(upstream.taken(), stream + b"early data", cut)

    def test_small_pieces(self) -> None:
        """
        A hello of one-byte records in one-byte pieces finds its way.
        """
        stream = hellos.in_records(hellos.hello("ssh2.example"), 1)
        world = World(MAPPED.replace("2k", "16k"))
        client = world.client()
        for at in range(len(stream)):
            client.arrive(stream[at : at + 1])
        self.assertEqual(self.port(world), 2)
        self.assertEqual(world.attempt().succeed().taken(), stream)

    def test_not_tls(self) -> None:
        """
        Who speaks something else goes where no name goes, with all it said.
        """
        world = World(MAPPED)
        world.client(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.assertEqual(self.port(world), 9)
        self.assertEqual(world.attempt().succeed().taken(), b"SSH-2.0-OpenSSH_9.2\r\n")

    def test_malformed(self) -> None:
        """
        A hello that breaks the rules has no name, whatever name is in it, and goes where no name goes.
        """
        world = World(MAPPED)
        world.client(MALFORMED)
        self.assertEqual(self.port(world), 9)
        session = world.session()
        self.assertIsNone(session.hello)
        self.assertEqual([world.value(text, session) for text in (NAME, PROTOCOL, ALPN)], ["", "", ""])

    def test_server_by_name(self) -> None:
        """
        The name chooses the server block too, whose content then takes the session.
        """
        for stream, port in (
            (hellos.hello("b.example"), 2),
            (hellos.hello("a.example"), 1),
            (hellos.hello(None), 1),
            (b"no TLS", 1),
        ):
            world = World(NAMED)
            world.client(stream)
            self.assertEqual(self.port(world), port)

    def test_malformed_chooses_no_server(self) -> None:
        """
        No other server block is reached by a hello that breaks the rules.
        """
        world = World(NAMED)
        world.client(hellos.appended(hellos.hello("b.example"), 0, hellos.name_list(b"b.example")))
        self.assertEqual(self.port(world), 1)

    def test_off(self) -> None:
        """
        Without the directive nobody waits for the client to speak.
        """
        world = World("server { listen 192.0.2.1:1; proxy_pass 192.0.2.2:2; }")
        world.client()
        self.assertEqual(world.attempt().address, Address("inet", "192.0.2.2", 2))

    def test_datagrams(self) -> None:
        """
        Datagrams are not looked at.
        """
        world = World('server { listen 192.0.2.1:1 udp; ssl_preread on; return "-$ssl_preread_server_name-"; }')
        self.assertEqual(Correspondent(world, hellos.hello("a.example")).taken(), [b"--"])

    def test_unix_clients(self) -> None:
        """
        On a unix socket, which keeps few small writes, the hello is taken piece by piece and still arrives whole.
        """
        stream = hellos.hello("ssh2.example")
        world = World(MAPPED.replace("192.0.2.1:443", "unix:/run/edge.sock"))
        client = world.client(peer=Address("unix", ""))
        client.small = True
        for at in range(len(stream)):
            client.arrive(stream[at : at + 1])
        self.assertEqual(client.left, b"")
        self.assertEqual(self.port(world), 2)
        self.assertEqual(world.attempt().succeed().taken(), stream)


class EndTests(PrereadCase):
    """
    Clients that never say who they want.
    """

    def assertEnded(self, world: World, status: int) -> None:
        """
        The one session is over, and no upstream has heard of it.
        """
        self.assertEqual(world.statuses(), [status])
        self.assertEqual(world.network.attempts, [])
        self.assertEqual(world.runtime.sessions, set())

    def test_half_a_hello(self) -> None:
        """
        A client that ends or resets in the middle is closed at once, with status 200.
        """
        for leave in ("end", "lose"):
            world = World(MAPPED)
            client = world.client(hellos.hello("ssh1.example")[:50])
            getattr(client, leave)()
            self.assertTrue(client.closed)
            self.assertEnded(world, 200)
            self.assertEqual(world.value(NAME), "")

    def test_nothing_said(self) -> None:
        """
        So is one that never said anything; there the variables are not found, and else they are empty.
        """
        world = World(MAPPED)
        world.client().end()
        self.assertEnded(world, 200)
        for variable in ssl_preread.variables:
            self.assertIsNone(variable.get(world.ended[0]))
        world = World(MAPPED)
        world.client(b"\x16").end()
        for variable in ssl_preread.variables:
            self.assertEqual(variable.get(world.ended[0]), "")

    def test_silence(self) -> None:
        """
        One that goes on waiting is closed after preread_timeout, counted from its connection, with status 200.
        """
        world = World(MAPPED)
        client = world.client()
        world.pass_time(4)
        client.arrive(hellos.hello("ssh1.example")[:100])
        world.pass_time(0.9)
        self.assertFalse(client.closed)
        world.pass_time(0.2)
        self.assertTrue(client.closed)
        self.assertEnded(world, 200)

    def test_too_large(self) -> None:
        """
        A hello larger than the buffer ends with 400, and the log says why.
        """
        world = World(MAPPED)
        client = world.client(hellos.replaced(hellos.hello("ssh1.example"), 21, bytes(4000))[:1999])
        self.assertTrue(client.closed)
        self.assertEnded(world, 400)
        self.assertIn(
            "[error] *1 preread buffer full while prereading client data, client: 192.0.2.77", world.lines[-1]
        )

    def test_large_but_not_too_large(self) -> None:
        """
        A hello of the size of the buffer is read.
        """
        stream = hellos.replaced(hellos.hello("ssh1.example"), 21, bytes(1000))
        world = World(MAPPED.replace("2k", str(len(stream))))
        world.client(stream)
        self.assertEqual(self.port(world), 1)


class VariablesTests(PrereadCase):
    """
    What is told of a hello.
    """

    def told(self, stream: bytes, *texts: str) -> list[str]:
        """
        The values of variables after this client has spoken.
        """
        world = World(MAPPED.replace("2k", "64k"))
        world.client(stream)
        return [world.value(text, world.session()) for text in texts]

    def test_recorded(self) -> None:
        """
        Of real clients the name, the protocols and the version are told as they sent them.
        """
        for recorded in hellos.RECORDED.values():
            name, protocols = self.told(recorded.stream, NAME, ALPN)
            self.assertEqual(name.lower(), recorded.server_name or "")
            self.assertIn(name.encode(), recorded.stream)
            self.assertEqual(protocols, b",".join(recorded.alpn).decode())

    def test_versions(self) -> None:
        """
        The version is the highest that is offered and known, else the one of the old field.
        """
        stream = hellos.hello("a.example")

        def offered(*versions: int) -> bytes:
            return hellos.replaced(stream, 43, hellos.sized(1, b"".join(one.to_bytes(2, "big") for one in versions)))

        for bent, text in (
            (stream, "TLSv1.3"),
            (offered(0x0303, 0x0304), "TLSv1.3"),
            (offered(0x0302, 0x7A7A), "TLSv1.1"),
            (offered(0x7A7A), ""),
            (hellos.replaced(stream, 43, None), "TLSv1.2"),
        ):
            self.assertEqual(self.told(bent, PROTOCOL), [text])

    def test_old_hellos(self) -> None:
        """
        Of a hello in SSL 2's form the version it asks for is told, and no name.
        """
        for version, text in (
            (b"\x00\x02", "SSLv2"),
            (b"\x03\x00", "SSLv3"),
            (b"\x03\x01", "TLSv1"),
            (b"\x03\x7f", ""),
        ):
            self.assertEqual(self.told(b"\x80\x2e\x01" + version + bytes(41), PROTOCOL, NAME), [text, ""])

    def test_not_read(self) -> None:
        """
        Where nothing was read there are no variables.
        """
        world = World("server { listen 192.0.2.1:1; proxy_pass 192.0.2.2:2; }")
        world.client()
        for variable in ssl_preread.variables:
            self.assertIsNone(variable.get(world.session()))


class InsideTlsTests(PrereadCase):
    """
    A TLS client of ours that speaks TLS inside.
    """

    def test_no_way_to_another_server(self) -> None:
        """
        A second name inside TLS is told by the variables and chooses no other server, whose policy was not applied.
        """
        identity = pki.leaf(pki.authority(), "open.example")
        files = {"/etc/a.pem": identity.full_pem, "/etc/a.key": identity.key_pem}
        world = World(
            """
            ssl_certificate a.pem; ssl_certificate_key a.key;
            server { listen 192.0.2.1:443 ssl; ssl_preread on; server_name open.example; proxy_pass 192.0.2.2:1; }
            server { listen 192.0.2.1:443 ssl; server_name closed.example; proxy_pass 192.0.2.2:2;
                     ssl_verify_client on; ssl_client_certificate a.pem; }
            """,
            files,
        )
        far = FarEnd(world.client(), client_connection("open.example")).shake()
        far.say(hellos.hello("closed.example", ("h2",)))
        self.assertEqual(self.port(world), 1)
        session = world.session()
        self.assertEqual(
            [world.value(text, session) for text in (NAME, ALPN, PROTOCOL, "$ssl_server_name")],
            ["closed.example", "h2", "TLSv1.3", "open.example"],
        )

    def test_reset(self) -> None:
        """
        A client whose connection is reset has ended: nothing is told.
        """
        identity = pki.leaf(pki.authority(), "open.example")
        files = {"/etc/a.pem": identity.full_pem, "/etc/a.key": identity.key_pem}
        world = World(
            "ssl_certificate a.pem; ssl_certificate_key a.key;"
            "server { listen 192.0.2.1:443 ssl; ssl_preread on; proxy_pass 192.0.2.2:1; }",
            files,
        )
        far = FarEnd(world.client(), client_connection("open.example")).shake()
        far.leg.lose()
        self.assertEqual(world.statuses(), [200])
        self.assertEqual([line for line in world.lines if "failed" in line], [])

    def test_nothing_inside(self) -> None:
        """
        The hello of TLS with us is not what this module read.
        """
        session = lone_session(hello=hellos.parsed("a.example"), tls=object())
        for variable in ssl_preread.variables:
            self.assertIsNone(variable.get(session))
