"""
What happens to a session whose client or upstream does not do what it should? It ends as nginx ends it, and the
error log says what and who in nginx's words.

Strategy: each test compares the whole story of one connection, every line of the error log at level info that bears
its number.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable

from tests.support import backends, clients, pki
from tests.support.backends import LINGER_ZERO
from tests.support.clients import hello, plain, read_all, records
from tests.support.ports import free_port
from tests.support.programs import PATIENCE, eventually, read_text
from tests.support.proxies import NGINX, Proxy, ProxyTestCase


def about(server: int, upstream: int | str | None = None, counts: str = "0/0 0/0") -> str:
    """
    How lines of the error log end.

    @param server: the port of the listener.
    @param upstream: the port of the peer, or its address.
    @param counts: bytes from/to the client, and from/to the upstream; empty where the line does not tell them.
    """
    text = f", client: 127.0.0.1, server: 127.0.0.1:{server}"
    if upstream is not None:
        text += f', upstream: "127.0.0.1:{upstream}"' if isinstance(upstream, int) else f', upstream: "{upstream}"'
    if counts:
        client, peer = counts.split()
        text += f", bytes from/to client:{client}, bytes from/to upstream:{peer}"
    return text


class BadNetworkTestCase(ProxyTestCase):
    """
    Talking to a proxy badly.
    """

    edge: Proxy

    def meet(self, port: int, *pieces: bytes, end: str = "read") -> tuple[int, bytes, float]:
        """
        Connect, send, and read to the end.

        @param end: C{read}: wait; C{finish}: send a FIN first; C{reset}: go away with a reset.
        @return: our port, what came, and the seconds it took.
        """
        begin = time.monotonic()
        with plain(port) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            own = int(connection.getsockname()[1])
            with contextlib.suppress(OSError):  # the proxy may have ended already
                for piece in pieces:
                    connection.sendall(piece)
            if end == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
                # The proxy has to have read what was sent: a reset throws away what has not been.
                eventually(lambda: self.edge.story(own), "the connection in the log")
                connection.close()
                return own, b"", 0.0
            if end == "finish":
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
            return own, read_all(connection), time.monotonic() - begin

    def assert_nothing_stays(self, everything: Callable[[], None]) -> None:
        """
        Doing it twice leaves no more open than doing it once, and no connection at all.
        """
        before = self.edge.connections()
        everything()
        eventually(lambda: self.edge.connections() <= before, f"no more than {before} sockets")
        once = self.edge.descriptors()
        everything()
        eventually(lambda: self.edge.connections() <= before, f"no more than {before} sockets")
        self.assertEqual(self.edge.descriptors(), once)

    def ended(self) -> list[str]:
        """
        @return: the lines of the access log.
        """
        return read_text(self.path("access.log")).split("\n")[:-1]

    def assert_ended(self, wanted: str) -> None:
        """
        The last line of the access log is C{wanted}.
        """
        eventually(lambda: self.ended()[-1:] == [wanted], f"{wanted} in {self.ended()}", PATIENCE / 3)


HANDSHAKE = "while SSL handshaking"
REFUSED = "[error] connect() failed (111: Connection refused) while connecting to upstream"


class Preread(BadNetworkTestCase):
    """
    A listener that reads the name and passes the bytes on.
    """

    def setUp(self) -> None:
        """
        Start the proxy with some targets behind it.
        """
        super().setUp()
        self.port, self.small = free_port(), free_port()
        self.good = backends.backend(self)
        self.resetting = backends.backend(self, backends.reset)
        self.closed = backends.closed_port(self)
        self.slow = backends.deaf_port(self)
        self.edge = self.proxy(
            """stream {
                map $ssl_preread_server_name $target {
                    good.example.com        127.0.0.1:@good@;
                    resetting.example.com   127.0.0.1:@resetting@;
                    unreachable.example.com 224.0.0.1:9;
                    slow.example.com        127.0.0.1:@slow@;
                    default                 127.0.0.1:@closed@;
                }
                log_format end "$status $bytes_received/$bytes_sent '$ssl_preread_server_name'";
                access_log @folder@/access.log end;
                ssl_preread on;
                preread_timeout 1s;
                proxy_connect_timeout 1s;
                server { listen 127.0.0.1:@port@; proxy_pass $target; }
                server { listen 127.0.0.1:@small@; preread_buffer_size 256; proxy_pass $target; }
            }
            """,
            folder=self.folder,
            port=self.port,
            small=self.small,
            good=self.good.port,
            resetting=self.resetting.port,
            closed=self.closed,
            slow=self.slow,
        )

    def assert_default(self, *pieces: bytes, name: str) -> None:
        """
        What is sent leads to the map's default, where the connection is refused, and ends at once.
        """
        own, answer, took = self.meet(self.port, *pieces)
        self.assertEqual(answer, b"")
        self.assertLess(took, 0.9)
        self.edge.tells(own, REFUSED + about(self.port, self.closed))
        self.assert_ended(f"502 0/0 '{name}'")

    def test_not_tls(self) -> None:
        """
        A client that speaks HTTP goes to the default at once.
        """
        self.assert_default(b"GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n", name="-")

    def test_garbage_in_record(self) -> None:
        """
        A record that is no ClientHello goes to the default at once.
        """
        self.assert_default(b"\x16\x03\x01\x00\x10" + b"\xff" * 40, name="-")

    def test_zeros(self) -> None:
        """
        Zeros go to the default at once.
        """
        self.assert_default(bytes(40), name="-")

    def test_unknown_name(self) -> None:
        """
        So does a name that is not in the map.
        """
        self.assert_default(hello("other.example.com"), name="other.example.com")

    def test_no_name(self) -> None:
        """
        So does a ClientHello without a name.
        """
        self.assert_default(hello(None), name="")

    def test_half_a_hello(self) -> None:
        """
        Half a ClientHello and then silence ends at preread_timeout with status 200, and nobody is connected to.
        """
        own, answer, took = self.meet(self.port, hello("good.example.com")[:100])
        self.assertEqual(answer, b"")
        self.assertGreater(took, 0.9)
        self.edge.tells(own)
        self.assert_ended("200 0/0 ''")
        self.assertEqual(self.good.accepted, 0)

    def test_silence(self) -> None:
        """
        So does silence from the beginning.
        """
        own, answer, took = self.meet(self.port)
        self.assertEqual(answer, b"")
        self.assertGreater(took, 0.9)
        self.edge.tells(own)
        self.assert_ended("200 0/0 '-'")

    def test_drops_do_not_prolong(self) -> None:
        """
        preread_timeout is for the whole phase: a client that sends a byte now and then is not kept longer.
        """
        begin = time.monotonic()
        with plain(self.port) as connection:
            connection.settimeout(0.2)
            ended = False
            for byte in hello("good.example.com"):
                try:
                    connection.sendall(bytes((byte,)))
                    ended = not connection.recv(1)
                except TimeoutError:
                    pass
                except OSError:
                    ended = True
                if ended or time.monotonic() - begin > 15:
                    break
        self.assertTrue(ended)
        self.assertGreater(time.monotonic() - begin, 0.9)
        self.assertLess(time.monotonic() - begin, 10)
        self.assert_ended("200 0/0 ''")

    def test_half_a_hello_and_end(self) -> None:
        """
        Half a ClientHello and a FIN ends at once, with status 200.
        """
        own, answer, took = self.meet(self.port, hello("good.example.com")[:100], end="finish")
        self.assertEqual(answer, b"")
        self.assertLess(took, 0.9)
        self.edge.tells(own)
        self.assert_ended("200 0/0 ''")

    def test_end_at_once(self) -> None:
        """
        A client that connects and ends is forgotten at once.
        """
        own, answer, took = self.meet(self.port, end="finish")
        self.assertEqual(answer, b"")
        self.assertLess(took, 0.9)
        self.edge.tells(own)
        self.assert_ended("200 0/0 '-'")

    def test_half_a_hello_and_reset(self) -> None:
        """
        Half a ClientHello and a reset ends at once, with status 200, and the log says what happened.
        """
        begin = time.monotonic()
        own, _, _ = self.meet(self.port, hello("good.example.com")[:100], end="reset")
        self.edge.tells(
            own,
            "[info] recv() failed (104: Connection reset by peer) while prereading client data"
            + about(self.port, counts=""),
        )
        self.assertLess(time.monotonic() - begin, 0.9)
        self.assert_ended("200 0/0 ''")

    def test_too_large(self) -> None:
        """
        A ClientHello larger than preread_buffer_size ends with status 400.
        """
        own, answer, took = self.meet(self.small, hello("good.example.com"))
        self.assertEqual(answer, b"")
        self.assertLess(took, 0.9)
        self.edge.tells(own, "[error] preread buffer full while prereading client data" + about(self.small, counts=""))
        self.assert_ended("400 0/0 ''")
        self.assertEqual(self.good.accepted, 0)

    def assert_arrives(self, flight: bytes, *pieces: bytes) -> None:
        """
        What is sent in pieces reaches the machine of its name whole.
        """
        with plain(self.port) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            own = int(connection.getsockname()[1])
            for piece in pieces:
                connection.sendall(piece)
            self.assertEqual(clients.read_exactly(connection, len(flight)), flight)
        size = len(flight)
        told = self.edge.story
        eventually(lambda: len(told(own)) > 2, "the end in the log")
        self.assertEqual(told(own)[1], f"[info] proxy connected to 127.0.0.1:{self.good.port}")
        # What was read before the peer was known does not count as received, so the first number depends on the cuts.
        self.assertRegex(told(own)[2], rf"^\[info\] client disconnected, bytes from/to client:\d+/{size}, ")
        self.assertRegex(told(own)[2], rf", bytes from/to upstream:{size}/{size}$")
        self.assertEqual(bytes(self.good.visit(0).received), flight)

    def test_pieces(self) -> None:
        """
        A ClientHello in pieces of seven bytes is routed by its name.
        """
        flight = hello("good.example.com")
        self.assert_arrives(flight, *(flight[at : at + 7] for at in range(0, len(flight), 7)))

    def test_records_of_one_byte(self) -> None:
        """
        A ClientHello in TLS records of one byte is routed by its name.
        """
        flight = records(hello("good.example.com"), 1)
        self.assert_arrives(flight, flight)

    def test_records_in_pieces(self) -> None:
        """
        So it is when these come in pieces of seven bytes.
        """
        flight = records(hello("good.example.com"), 1)
        self.assert_arrives(flight, *(flight[at : at + 7] for at in range(0, len(flight), 7)))

    def test_upstream_resetting(self) -> None:
        """
        When the upstream resets the connection, the client's ends, and the log says who did it.
        """
        own, answer, took = self.meet(self.port, hello("resetting.example.com"))
        self.assertEqual(answer, b"")
        self.assertLess(took, 0.9)
        size = len(hello("resetting.example.com"))
        # nginx looks at the hello without taking it since 1.25.5, and counts it when it is taken; Debian's does not
        taken = 0 if self.kind == NGINX else size
        self.edge.tells(
            own,
            f"[info] proxy connected to 127.0.0.1:{self.resetting.port}",
            "[error] recv() failed (104: Connection reset by peer) while proxying and reading from upstream"
            + about(self.port, self.resetting.port, f"{taken}/0 0/{size}"),
            f"[info] upstream disconnected, bytes from/to client:{taken}/0, bytes from/to upstream:0/{size}",
        )
        self.assert_ended(f"200 {taken}/0 'resetting.example.com'")

    def test_upstream_unreachable(self) -> None:
        """
        An address that cannot be reached ends the session at once with 502.
        """
        own, answer, took = self.meet(self.port, hello("unreachable.example.com"))
        self.assertEqual(answer, b"")
        self.assertLess(took, 0.9)
        self.edge.tells(
            own,
            "[error] connect() to 224.0.0.1:9 failed (101: Network is unreachable) while connecting to upstream"
            + about(self.port, "224.0.0.1:9"),
        )
        self.assert_ended("502 0/0 'unreachable.example.com'")

    def test_upstream_slow(self) -> None:
        """
        A peer that neither accepts nor refuses is given up after proxy_connect_timeout, with 502.
        """
        own, answer, took = self.meet(self.port, hello("slow.example.com"))
        self.assertEqual(answer, b"")
        self.assertGreater(took, 0.9)
        self.edge.tells(
            own,
            "[error] upstream timed out (110: Connection timed out) while connecting to upstream"
            + about(self.port, self.slow),
        )
        self.assert_ended("502 0/0 'slow.example.com'")

    def test_client_leaves_while_connecting(self) -> None:
        """
        A client that resets while its peer is being connected to does not stay.
        """
        own, _, _ = self.meet(self.port, hello("slow.example.com"), end="reset")
        eventually(lambda: len(self.ended()) == 1, "the end of the session")
        self.assertTrue(self.edge.story(own))

    def test_nothing_stays_open(self) -> None:
        """
        After all of this no descriptor is left: the second time leaves as many as the first.
        """
        good, slow = hello("good.example.com"), hello("slow.example.com")

        def everything() -> None:
            for piece in (
                b"GET / HTTP/1.1\r\n\r\n",
                bytes(40),
                good[:100],
                b"",
                hello("other.example.com"),
                hello(None),
            ):
                self.meet(self.port, piece)
                self.meet(self.port, piece, end="finish")
                self.meet(self.port, piece, end="reset")
            self.meet(self.small, good)
            for name in ("resetting", "unreachable"):
                self.meet(self.port, hello(f"{name}.example.com"))
            self.meet(self.port, slow)
            self.meet(self.port, slow, end="reset")
            self.meet(self.port, good, end="finish")
            self.meet(self.port, good, end="reset")

        self.assert_nothing_stays(everything)


class PrereadNginx(Preread):
    """
    The same on nginx.
    """

    kind = NGINX


class Terminated(BadNetworkTestCase):
    """
    A listener that ends TLS.
    """

    def setUp(self) -> None:
        """
        Start the proxy, with preread settings that must not matter.
        """
        super().setUp()
        self.port, self.narrow, self.strict = free_port(), free_port(), free_port()
        authority, other = pki.authority("CA"), pki.authority("Other")
        server = pki.leaf(authority, "a.example.com").write(self.folder, "server")
        self.other = pki.write(self.folder, "other.pem", other.pem)
        self.stranger = pki.leaf(other, "stranger.example.com").write(self.folder, "stranger")
        self.expired = pki.leaf(authority, "late.example.com", validity=pki.EXPIRED).write(self.folder, "late")
        self.good = backends.backend(self, backends.greet(b"reached"))
        self.edge = self.proxy(
            """stream {
                log_format end "$status $bytes_received/$bytes_sent";
                access_log @folder@/access.log end;
                ssl_certificate @certificate@;
                ssl_certificate_key @key@;
                ssl_protocols TLSv1.2 TLSv1.3;
                ssl_handshake_timeout 2s;
                preread_timeout 100ms;
                preread_buffer_size 64;
                server { listen 127.0.0.1:@port@ ssl; proxy_pass 127.0.0.1:@good@; }
                server {
                    listen 127.0.0.1:@narrow@ ssl;
                    ssl_protocols TLSv1.2;
                    ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256;
                    proxy_pass 127.0.0.1:@good@;
                }
                server {
                    listen 127.0.0.1:@strict@ ssl;
                    ssl_verify_client on;
                    ssl_client_certificate @authority@;
                    proxy_pass 127.0.0.1:@good@;
                }
            }
            """,
            folder=self.folder,
            certificate=server.certificate,
            key=server.key,
            port=self.port,
            narrow=self.narrow,
            strict=self.strict,
            good=self.good.port,
            authority=pki.write(self.folder, "authority.pem", authority.pem),
        )

    def failed(self, code: str, reason: str, port: int) -> str:
        """
        @return: the line of a handshake that OpenSSL has given up.
        """
        text = f"[info] SSL_do_handshake() failed (SSL: error:{code}:SSL routines::{reason}) {HANDSHAKE}"
        return text + about(port, counts="")

    def closed(self, how: str = "") -> str:
        """
        @return: the line of a client that has gone away.
        """
        return f"[info] peer closed connection in SSL handshake {how}{HANDSHAKE}" + about(self.port, counts="")

    def assert_end(self, *pieces: bytes, end: str = "read", at_once: bool = True) -> int:
        """
        The handshake fails: nobody is connected to and the status is 500.

        @return: our port.
        """
        own, answer, took = self.meet(self.port, *pieces, end=end)
        self.assertNotIn(b"reached", answer)
        (self.assertLess if at_once else self.assertGreater)(took, 1.9)
        self.assert_ended("500 0/0")
        self.assertEqual(self.good.accepted, 0)
        return own

    def shake(self, port: int, settings: ssl.SSLContext) -> tuple[int, bytes | OSError]:
        """
        A handshake and the first words after it.
        """
        raw = plain(port)
        own = int(raw.getsockname()[1])
        try:
            with settings.wrap_socket(raw, server_hostname="a.example.com") as connection:
                return own, connection.recv(100)
        except OSError as error:
            raw.close()
            return own, error

    def test_http(self) -> None:
        """
        HTTP on the TLS port ends at once, and the log says what it was.
        """
        own = self.assert_end(b"GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
        self.edge.tells(own, self.failed("0A00009C", "http request", self.port))

    def test_zeros(self) -> None:
        """
        Zeros end at once.
        """
        own = self.assert_end(bytes(40))
        self.edge.tells(own, self.failed("0A00010B", "wrong version number", self.port))

    def test_garbage_in_record(self) -> None:
        """
        A record that is no ClientHello ends at once.
        """
        own = self.assert_end(b"\x16\x03\x01\x00\x10" + b"\xff" * 40)
        self.edge.tells(own, self.failed("0A0000F4", "unexpected message", self.port))

    def test_half_a_hello(self) -> None:
        """
        Half a ClientHello and then silence ends at ssl_handshake_timeout; preread_timeout is not for this listener.
        """
        self.assert_end(hello("a.example.com")[:100], at_once=False)

    def test_silence(self) -> None:
        """
        So does silence from the beginning.
        """
        self.assert_end(at_once=False)

    def test_stops_after_hello(self) -> None:
        """
        So does a client that stops after a whole ClientHello, which came in pieces and was larger than
        preread_buffer_size.
        """
        flight = hello("a.example.com")
        self.assert_end(*(flight[at : at + 7] for at in range(0, len(flight), 7)), at_once=False)

    def test_half_a_hello_and_end(self) -> None:
        """
        Half a ClientHello and a FIN ends at once.
        """
        own = self.assert_end(hello("a.example.com")[:100], end="finish")
        self.edge.tells(
            own, "[info] peer closed connection in SSL handshake " + HANDSHAKE + about(self.port, counts="")
        )

    def test_whole_hello_and_end(self) -> None:
        """
        So does a whole one and a FIN.
        """
        own = self.assert_end(hello("a.example.com"), end="finish")
        self.edge.tells(
            own, "[info] peer closed connection in SSL handshake " + HANDSHAKE + about(self.port, counts="")
        )

    def test_end_at_once(self) -> None:
        """
        So does a FIN alone.
        """
        own = self.assert_end(end="finish")
        self.edge.tells(
            own, "[info] peer closed connection in SSL handshake " + HANDSHAKE + about(self.port, counts="")
        )

    def test_half_a_hello_and_reset(self) -> None:
        """
        Half a ClientHello and a reset ends at once.
        """
        own = self.assert_end(hello("a.example.com")[:100], end="reset")
        self.edge.tells(own, self.closed("(104: Connection reset by peer) "))

    def test_client_does_not_trust(self) -> None:
        """
        A client that does not believe our certificate says so, and the log repeats it, on TLS 1.2 and 1.3.
        """
        for version in clients.VERSIONS:
            own, answer = self.shake(self.port, clients.context(version, trust=self.other))
            self.assertIsInstance(answer, ssl.SSLCertVerificationError)
            said = "tlsv1 alert unknown ca:SSL alert number 48"
            self.edge.tells(own, self.failed("0A000418", said, self.port))
            self.assert_ended("500 0/0")

    def test_no_common_version(self) -> None:
        """
        A client whose versions the server does not speak is refused.
        """
        own, answer = self.shake(self.narrow, clients.context("TLSv1.3"))
        self.assertIsInstance(answer, ssl.SSLError)
        self.edge.tells(own, self.failed("0A000102", "unsupported protocol", self.narrow))

    def test_no_common_cipher(self) -> None:
        """
        A client whose ciphers the server does not speak is refused.
        """
        settings = clients.context("TLSv1.2")
        settings.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")
        own, answer = self.shake(self.narrow, settings)
        self.assertIsInstance(answer, ssl.SSLError)
        self.edge.tells(own, self.failed("0A0000C1", "no shared cipher", self.narrow))

    def test_client_certificate(self) -> None:
        """
        A client without a certificate, with a stranger's or an expired one is refused, and the log says which it was.
        """
        wrong = "[info] client SSL certificate verify error: "
        for version in clients.VERSIONS:
            for identity, said in (
                (None, "[info] client sent no required SSL certificate"),
                (self.stranger, f"{wrong}(21:unable to verify the first certificate)"),
                (self.expired, f"{wrong}(10:certificate has expired)"),
            ):
                own, answer = self.shake(self.strict, clients.context(version, identity=identity))
                self.assertNotEqual(answer, b"reached")
                self.edge.tells(own, f"{said} {HANDSHAKE}" + about(self.strict, counts=""))
                self.assert_ended("500 0/0")
        self.assertEqual(self.good.accepted, 0)

    def test_records_of_one_byte(self) -> None:
        """
        A ClientHello in TLS records of one byte is understood.
        """
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = clients.context("TLSv1.2").wrap_bio(incoming, outgoing, server_hostname="a.example.com")
        with plain(self.port) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            first = True
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    flight = outgoing.read()
                    connection.sendall(records(flight, 1) if first else flight)
                    first = False
                    block = connection.recv(65536)
                    self.assertNotEqual(block, b"")
                    incoming.write(block)
        self.assertEqual(client.version(), "TLSv1.2")

    def test_nothing_stays_open(self) -> None:
        """
        After all of this no descriptor is left: the second time leaves as many as the first.
        """
        whole = hello("a.example.com")

        def everything() -> None:
            for piece in (b"GET / HTTP/1.1\r\n\r\n", bytes(40), whole[:100], b"", whole):
                self.meet(self.port, piece, end="finish")
                self.meet(self.port, piece, end="reset")
            self.meet(self.port, whole[:100])
            self.meet(self.port, b"GET / HTTP/1.1\r\n\r\n")
            for version in clients.VERSIONS:
                self.shake(self.port, clients.context(version, trust=self.other))
                self.shake(self.port, clients.context(version))
                self.shake(self.narrow, clients.context(version))
                for identity in (None, self.stranger, self.expired):
                    self.shake(self.strict, clients.context(version, identity=identity))

        self.assert_nothing_stays(everything)


class TerminatedNginx(Terminated):
    """
    The same on nginx.
    """

    kind = NGINX


NAME = "up.example.com"


class TowardsTls(BadNetworkTestCase):
    """
    A listener that wraps what comes in TLS towards a peer it verifies.
    """

    def setUp(self) -> None:
        """
        Make the authorities.
        """
        super().setUp()
        self.authority, self.other = pki.authority("CA"), pki.authority("Other")
        self.trust = pki.write(self.folder, "ca.pem", self.authority.pem)
        self.demanded = pki.write(self.folder, "other.pem", self.other.pem)
        self.peers: list[backends.Backend] = []

    def served(self, identity: pki.Identity, demand: str | None = None, version: str | None = None) -> int:
        """
        @return: the port of a TLS server.
        """
        files = identity.write(self.folder, f"server-{len(self.peers)}")
        context = clients.server_context(files, trust=demand, version=version)
        self.peers.append(backends.backend(self, backends.greet(b"reached"), context))
        return self.peers[-1].port

    def towards(self, *peers: int) -> list[int]:
        """
        Start the proxy.

        @return: the ports that lead to C{peers}.
        """
        ports = [free_port() for _ in peers]
        servers = "".join(
            f"server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{peer}; }}\n"
            for port, peer in zip(ports, peers, strict=True)
        )
        self.edge = self.proxy(
            """stream {
                log_format end "$status $bytes_received/$bytes_sent '$upstream_addr'";
                access_log @folder@/access.log end;
                proxy_ssl on;
                proxy_ssl_protocols TLSv1.2 TLSv1.3;
                proxy_ssl_verify on;
                proxy_ssl_trusted_certificate @trust@;
                proxy_ssl_name @believed@;
                proxy_connect_timeout 1s;
                @servers@
            }
            """,
            folder=self.folder,
            trust=self.trust,
            believed=NAME,
            servers=servers,
        )
        return ports

    def check(self, peer: int, said: str) -> None:
        """
        The session ends with 502 before a byte of the client has gone anywhere, and one line says why.
        """
        (port,) = self.towards(peer)
        own, answer, took = self.meet(port, b"secret")
        self.assertEqual(answer, b"")
        self.assertLess(took, 0.9)
        # nginx may have read the client's bytes by then, or not.
        self.edge.tells(own, f"[error] {said}" + about(port, peer), but=("client:6/0", "client:0/0"))
        self.assert_ended(f"502 0/0 '127.0.0.1:{peer}'")
        for server in self.peers:
            self.assertEqual(bytes(server.visit(0).received), b"")

    def check_certificate(self, identity: pki.Identity, said: str) -> None:
        """
        A server with this certificate is not believed.
        """
        self.check(self.served(identity), f"upstream SSL certificate {said} while SSL handshaking to upstream")

    def test_wrong_name(self) -> None:
        """
        A certificate for another name is refused.
        """
        self.check_certificate(pki.leaf(self.authority, "wrong.example.com"), f'does not match "{NAME}"')

    def test_expired(self) -> None:
        """
        An expired one is.
        """
        late = pki.leaf(self.authority, NAME, validity=pki.EXPIRED)
        self.check_certificate(late, "verify error: (10:certificate has expired)")

    def test_early(self) -> None:
        """
        One that is not valid yet is.
        """
        early = pki.leaf(self.authority, NAME, validity=pki.FUTURE)
        self.check_certificate(early, "verify error: (9:certificate is not yet valid)")

    def test_untrusted(self) -> None:
        """
        One of another authority is.
        """
        self.check_certificate(pki.leaf(self.other, NAME), "verify error: (21:unable to verify the first certificate)")

    def test_self_signed(self) -> None:
        """
        A self-signed one is.
        """
        self.check_certificate(pki.self_signed(NAME), "verify error: (18:self-signed certificate)")

    def test_too_deep(self) -> None:
        """
        One with more intermediates than proxy_ssl_verify_depth is.
        """
        deep = pki.leaf(pki.chain(self.authority, 3), NAME)
        self.check_certificate(deep, "verify error: (20:unable to get local issuer certificate)")

    def test_not_for_servers(self) -> None:
        """
        One that is only for clients is.
        """
        odd = pki.leaf(self.authority, NAME, usage="client")
        self.check_certificate(odd, "verify error: (26:unsuitable certificate purpose)")

    def test_not_tls(self) -> None:
        """
        A peer that does not speak TLS is given up.
        """
        peer = backends.backend(self, backends.greet(b"220 mail.example.com\r\n")).port
        said = "SSL_do_handshake() failed (SSL: error:0A00010B:SSL routines::wrong version number)"
        self.check(peer, f"{said} while SSL handshaking to upstream")

    def test_hangs_up(self) -> None:
        """
        A peer that ends in the handshake is given up.
        """
        peer = backends.backend(self, backends.hang_up).port
        self.check(peer, "peer closed connection in SSL handshake while SSL handshaking to upstream")

    def test_refused(self) -> None:
        """
        A peer that refuses the connection is given up.
        """
        (port,) = self.towards(peer := backends.closed_port(self))
        own, answer, _ = self.meet(port)
        self.assertEqual(answer, b"")
        self.edge.tells(own, REFUSED + about(port, peer))
        self.assert_ended(f"502 0/0 '127.0.0.1:{peer}'")

    def test_silent(self) -> None:
        """
        A peer that never answers the handshake is given up after proxy_connect_timeout.
        """
        peer = backends.backend(self, backends.swallow)
        (port,) = self.towards(peer.port)
        _, answer, took = self.meet(port)
        self.assertEqual(answer, b"")
        self.assertGreater(took, 0.9)
        self.assert_ended(f"502 0/0 '127.0.0.1:{peer.port}'")

    def test_certificate_demanded(self) -> None:
        """
        A peer that demands a certificate which we do not have refuses: on TLS 1.2 in the handshake, on TLS 1.3 at
        the first read.
        """
        older = self.served(pki.leaf(self.authority, NAME), self.demanded, "TLSv1.2")
        newer = self.served(pki.leaf(self.authority, NAME), self.demanded, "TLSv1.3")
        first, second = self.towards(older, newer)
        own, answer, _ = self.meet(first)
        self.assertEqual(answer, b"")
        self.edge.tells(
            own,
            "[error] SSL_do_handshake() failed (SSL: error:0A000410:SSL routines::sslv3 alert handshake failure:"
            "SSL alert number 40) while SSL handshaking to upstream" + about(first, older),
        )
        self.assert_ended(f"502 0/0 '127.0.0.1:{older}'")
        own, answer, _ = self.meet(second)
        self.assertEqual(answer, b"")
        self.edge.tells(
            own,
            f"[info] proxy connected to 127.0.0.1:{newer}",
            "[crit] SSL_read() failed (SSL: error:0A00045C:SSL routines::tlsv13 alert certificate required:"
            "SSL alert number 116) while proxying and reading from upstream" + about(second, newer),
            "[info] upstream disconnected, bytes from/to client:0/0, bytes from/to upstream:0/0",
        )
        self.assert_ended(f"200 0/0 '127.0.0.1:{newer}'")

    def test_nothing_stays_open(self) -> None:
        """
        After all of this no descriptor is left: the second time leaves as many as the first.
        """
        good = pki.leaf(self.authority, NAME)
        ports = self.towards(
            self.served(good),
            self.served(pki.leaf(self.other, NAME)),
            self.served(pki.leaf(self.authority, "wrong.example.com")),
            self.served(good, self.demanded, "TLSv1.2"),
            self.served(good, self.demanded, "TLSv1.3"),
            backends.backend(self, backends.greet(b"220 mail.example.com\r\n")).port,
            backends.backend(self, backends.hang_up).port,
            backends.backend(self, backends.reset).port,
            backends.backend(self, backends.swallow).port,
            backends.closed_port(self),
        )

        def everything() -> None:
            for port in ports:
                self.meet(port, b"x", end="finish")
                self.meet(port, b"x", end="reset")
                if port != ports[0]:
                    self.meet(port)

        self.assert_nothing_stays(everything)


class TowardsTlsNginx(TowardsTls):
    """
    The same on nginx.
    """

    kind = NGINX
