"""
Tests for L{sniproxy.stream.pass_}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from sniproxy.stream.pass_ import MOST, listening_for, pass_
from tests.support import hellos, pki
from tests.support.messages import Correspondent
from tests.support.sessions import FarEnd, World, client_connection, configured

ROOT = pki.authority("Pass CA")
SERVER = pki.leaf(ROOT, "a.example")
FILES = {"/etc/a.pem": SERVER.full_pem, "/etc/a.key": SERVER.key_pem, "/etc/ca.pem": ROOT.pem}
TLS = "ssl_certificate a.pem; ssl_certificate_key a.key;"


def server(listen: str, content: str) -> str:
    """
    A server block.
    """
    return f"server {{ listen {listen}; {content} }}\n"


class PassTests(SynchronousTestCase):
    """
    Clients that are passed on.
    """

    def test_interfaces(self) -> None:
        """
        The module is a plugin and a module.
        """
        self.assertTrue(verifyObject(IModule, pass_))
        self.assertTrue(IPlugin.providedBy(pass_))

    def test_same_bytes_no_connection(self) -> None:
        """
        The client's bytes get to the content of the other address, and nothing is connected in between.
        """
        world = World(server("192.0.2.1:1", "pass 192.0.2.1:2;") + server("192.0.2.1:2", "proxy_pass 192.0.2.2:22;"))
        leg = world.client(b"hello")
        (attempt,) = world.network.attempts
        self.assertEqual(attempt.address.port, 22)
        upstream = attempt.succeed()
        upstream.arrive(b"hi")
        self.assertEqual((upstream.taken(), leg.taken()), (b"hello", b"hi"))

    def test_one_session(self) -> None:
        """
        It is one session with one number and one line in the log, of the other address; the error log tells of both.
        """
        world = World(
            server("192.0.2.1:1", "set $seen first; pass $target;")
            + server("192.0.2.1:2", 'return "$connection $server_port $session_time [$seen]";')
            + "map $server_port $target { default 192.0.2.1:2; }"
        )
        leg = world.client()
        self.assertEqual(leg.taken(), b"1 2 0.000 []")
        self.assertEqual(world.statuses(), [200])
        self.assertEqual(
            [line for line in world.lines if "connected to" in line],
            [f"[info] *1 client 192.0.2.77:40000 connected to 192.0.2.1:{port}" for port in (1, 2)],
        )
        self.assertEqual(world.ended[0].listening.address.port, 2)
        self.assertEqual(world.runtime.sessions, set())

    def test_proxy_header(self) -> None:
        """
        What a proxy before us has said of the client, and that it is believed, goes with the connection; where another
        header is wanted, that one counts.
        """
        text = 'return "$remote_addr $proxy_protocol_addr";'
        world = World(
            server("192.0.2.1:1 proxy_protocol", "set_real_ip_from 192.0.2.77; pass 192.0.2.1:$proxy_protocol_port;")
            + server("192.0.2.1:2", text)
            + server("192.0.2.1:3 proxy_protocol", text)
        )
        line = b"PROXY TCP4 198.51.100.%d 5.6.7.8 %d 1\r\n"
        self.assertEqual(world.client(line % (7, 2)).taken(), b"198.51.100.7 198.51.100.7")
        self.assertEqual(world.client(line % (7, 3) + line % (8, 9)).taken(), b"198.51.100.7 198.51.100.8")

    def test_where_it_connected_to(self) -> None:
        """
        A wildcard that has the port takes it, and the address it was passed to counts as its own.
        """
        world = World(server("192.0.2.1:1", "pass 192.0.2.9:2;") + server("2", 'return "$server_addr:$server_port";'))
        self.assertEqual(world.client().taken(), b"192.0.2.9:2")
        world = World(
            server("192.0.2.1:1", "pass 192.0.2.9:2;")
            + server("2", "return wild;")
            + server("192.0.2.9:2", 'return "own $server_addr";')
        )
        self.assertEqual(world.client().taken(), b"own 192.0.2.9")

    def test_families(self) -> None:
        """
        Addresses are told apart by family; unix sockets are addresses, too.
        """
        text = server("2", "return four;") + server("[::]:2", "return six;") + server("unix:/a.sock", "return path;")
        for target, answer in (
            ("192.0.2.1:2", b"four"),
            ("0.0.0.0:2", b"four"),
            ("[::1]:2", b"six"),
            ("unix:/a.sock", b"path"),
        ):
            world = World(server("192.0.2.1:1", f"pass {target};") + text)
            self.assertEqual(world.client().taken(), answer)

    def test_phases_run_again(self) -> None:
        """
        What was read ahead stays to be read ahead, and each server's own phases apply.
        """
        world = World(
            server("192.0.2.1:1", "ssl_preread on; pass 192.0.2.1:2;")
            + server("192.0.2.1:2", 'ssl_preread on; server_name b.example; return "b $ssl_preread_server_name";')
            + server("192.0.2.1:2", 'server_name a.example; return "a $ssl_preread_server_name";')
            + server("192.0.2.1:3", "deny all; return x;")
            + server("192.0.2.1:4", "pass 192.0.2.1:3;")
        )
        self.assertEqual(world.client(hellos.hello("a.example")).taken(), b"a a.example")
        world.client(at=3)
        self.assertEqual(world.statuses(), [200, 403])

    def test_not_read_ahead(self) -> None:
        """
        What the first server has found out by reading ahead the second one does not know.
        """
        world = World(
            server("192.0.2.1:1", "ssl_preread on; pass 192.0.2.1:2;")
            + server("192.0.2.1:2", 'return "[$ssl_preread_server_name]";')
        )
        self.assertEqual(world.client(hellos.hello("a.example")).taken(), b"[]")

    def test_counted(self) -> None:
        """
        A client that was counted before it was passed on is counted until it ends, and no longer.
        """
        world = World(
            "limit_conn_zone $protocol zone=z:32k;"
            + server("192.0.2.1:1", "limit_conn z 1; pass 192.0.2.1:2;")
            + server("192.0.2.1:2", "proxy_pass 192.0.2.2:22;")
        )
        first = world.client()
        world.client()
        self.assertEqual(world.statuses(), [503])
        world.attempt().succeed()
        first.end()
        self.assertEqual(world.statuses(), [503, 200])
        world.client()
        self.assertEqual((world.statuses(), len(world.network.attempts)), ([503, 200], 2))

    def test_limits(self) -> None:
        """
        What became of limits before it was passed on is not known afterwards.
        """
        world = World(
            "limit_conn_zone $protocol zone=z:32k;"
            + server("192.0.2.1:1", "limit_conn z 1; pass 192.0.2.1:2;")
            + server("192.0.2.1:2", 'return "[$limit_conn_status]";')
        )
        self.assertEqual(world.client().taken(), b"[]")

    def test_cycle(self) -> None:
        """
        A client goes round ten times, and then no more.
        """
        world = World(server("192.0.2.1:1", "pass 192.0.2.1:2;") + server("192.0.2.1:2", "pass 192.0.2.1:1;"))
        leg = world.client()
        self.assertTrue(leg.closed)
        self.assertEqual(world.statuses(), [500])
        self.assertIn("[error] *1 stream pass cycle while passing connection to port, client: ", world.lines[-1])
        self.assertEqual(len([line for line in world.lines if "connected to" in line]), 1 + MOST)

    def test_nobody_there(self) -> None:
        """
        Where no address fits, the session ends as nginx's does.
        """
        world = World(server("192.0.2.1:1", "pass 192.0.2.1:9;"))
        world.client()
        self.assertEqual(world.statuses(), [200])
        self.assertIn('[error] *1 port not found for "192.0.2.1:9" while passing connection to port', world.lines[-1])

    def test_bad_values(self) -> None:
        """
        What a variable holds may be no address: that is an error of the session.
        """
        for value, message in (
            ("a.example:80", 'no addresses in pass "a.example:80"'),
            ("192.0.2.1", 'no port in pass "192.0.2.1"'),
            ("192.0.2.1:99999", 'invalid port in pass "192.0.2.1:99999"'),
            ('""', 'no host in pass ""'),
        ):
            world = World(server("192.0.2.1:1", "pass $target;") + f"map $pid $target {{ default {value}; }}")
            world.client()
            self.assertEqual(world.statuses(), [500])
            self.assertIn(f"[error] *1 {message} while passing connection to port, client: ", world.lines[-1])

    def test_wrong_directives(self) -> None:
        """
        The same in the file is an error of the line.
        """
        for value, message in (
            ("a.example:80", '"pass" directive has no addresses'),
            ("80", '"pass" directive has no addresses'),
            ("192.0.2.1", '"pass" directive has no port'),
            ("192.0.2.1:x", 'invalid port in "192.0.2.1:x" of the "pass" directive'),
            ("192.0.2.1:1; pass 192.0.2.1:2", '"pass" directive is duplicate'),
            ("$nothing", 'unknown "nothing" variable'),
        ):
            text = f"stream {{ {server('1', f'pass {value};')} }}"
            (error,) = self.assertRaises(ConfigErrors, configured, text).errors
            self.assertEqual(error.message, message)

    def test_udp(self) -> None:
        """
        Sockets for datagrams take no clients from here.
        """
        world = World(server("192.0.2.1:1", "pass 192.0.2.1:1;"))

        (datagrams,) = World(server("192.0.2.1:1 udp", "pass 192.0.2.1:1;")).listening
        address = Address("inet", "192.0.2.1", 1)
        self.assertIsNone(listening_for(address, (datagrams,)))
        self.assertIs(listening_for(address, (datagrams, *world.listening)), world.listening[0])

    def test_from_udp(self) -> None:
        """
        Nor are their own clients passed.
        """
        world = World(server("192.0.2.1:1 udp", "pass 192.0.2.1:1;") + server("192.0.2.1:1", "return x;"))
        Correspondent(world)
        self.assertEqual(world.statuses(), [500])
        self.assertIn("cannot pass udp connection while passing connection to port, udp client: ", world.lines[-1])


class TlsTests(SynchronousTestCase):
    """
    Clients that speak TLS to us.
    """

    def far(self, world: World, identity: pki.Identity | None = None) -> FarEnd:
        """
        One whose handshake is done.
        """
        return FarEnd(world.client(), client_connection("A.example", identity=identity)).shake()

    def test_handshake_behind(self) -> None:
        """
        A hello that was only looked at is answered at the address it was passed to.
        """
        world = World(
            server("192.0.2.1:1", "ssl_preread on; pass 192.0.2.1:2;")
            + server("192.0.2.1:2 ssl", TLS + 'return "$ssl_server_name";'),
            FILES,
        )
        self.assertEqual(self.far(world).heard, b"A.example")

    def test_handshake_before(self) -> None:
        """
        TLS that ends at the first address is known at the second, whether that speaks TLS as well or not.
        """
        for listen in ("192.0.2.1:2", "192.0.2.1:2 ssl"):
            world = World(
                server("192.0.2.1:1 ssl", TLS + "pass 192.0.2.1:2;")
                + server(listen, TLS + 'return "$ssl_server_name $ssl_protocol";'),
                FILES,
            )
            self.assertEqual(self.far(world).heard, b"A.example TLSv1.3")

    def test_judged_by_another(self) -> None:
        """
        A server that wants certificates admits nobody with whom another server has shaken hands.
        """
        strict = "ssl_verify_client on; ssl_client_certificate ca.pem;"
        for first, heard in (("", b""), (strict, b"")):
            world = World(
                server("192.0.2.1:1 ssl", TLS + first + "pass 192.0.2.1:2;")
                + server("192.0.2.1:2 ssl", TLS + strict + "return in;"),
                FILES,
            )
            self.assertEqual(self.far(world, pki.leaf(ROOT, "client")).heard, heard)
            self.assertEqual(world.statuses(), [500])
            self.assertIn("another server has shaken hands with the client", world.lines[-1])

    def test_its_own(self) -> None:
        """
        One that has judged the client itself, at another of its addresses, admits it.
        """
        strict = "ssl_verify_client on; ssl_client_certificate ca.pem; pass $target;"
        world = World(
            server("192.0.2.1:1 ssl; listen 192.0.2.1:2 ssl", TLS + strict)
            + server("192.0.2.1:3", 'return "$ssl_client_verify";')
            + "map $server_port $target { 1 192.0.2.1:2; 2 192.0.2.1:3; }",
            FILES,
        )
        self.assertEqual(self.far(world, pki.leaf(ROOT, "client")).heard, b"SUCCESS")

    def test_read_ahead_inside(self) -> None:
        """
        What was taken out of TLS cannot be passed on, as with nginx.
        """
        world = World(
            server("192.0.2.1:1 ssl", TLS + "ssl_preread on; pass 192.0.2.1:2;") + server("192.0.2.1:2", "return x;"),
            FILES,
        )
        far = self.far(world)
        far.say(hellos.hello("b.example"))
        self.assertEqual(world.statuses(), [500])
        self.assertIn("[error] *1 cannot pass connection with preread data while passing", world.lines[-1])
