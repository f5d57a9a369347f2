"""
Does the client's address come through? PROXY headers by hand, of nginx and of HAProxy, to both proxies, and from them.

Strategy: what a client hears is what a server with C{return} knows of it, or what a back end was sent.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Final

from sniproxy.addresses import Address, numeric
from sniproxy.wire.proxy_protocol import write_header
from tests.support import backends, clients, pki
from tests.support.clients import hello, plain, read_all, read_exactly
from tests.support.ports import free_port, free_ports
from tests.support.programs import PATIENCE, eventually, need, read_text, write_text
from tests.support.proxies import NGINX, ProxyTestCase

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
KNOWN: Final = (
    "$remote_addr $remote_port $realip_remote_addr $proxy_protocol_addr $proxy_protocol_port"
    " $proxy_protocol_server_addr $proxy_protocol_server_port"
)


def binary(body: bytes, command: int = 0x21, kind: int = 0x11) -> bytes:
    """
    A header of version 2.
    """
    return SIGNATURE + bytes((command, kind)) + struct.pack("!H", len(body)) + body


INET: Final = bytes((1, 2, 3, 4, 5, 6, 7, 8)) + struct.pack("!HH", 1111, 2222)
INET6: Final = bytes.fromhex("20010db8000000000000000000000001") + bytes(15) + b"\1" + struct.pack("!HH", 1, 0)
MAPPED: Final = bytes(10) + b"\xff\xff\1\2\3\4" + bytes(14) + b"\x05\x02" + struct.pack("!HH", 1, 2)

HEADERS: Final = (
    # what is sent, and what is known then; "-" where the status is 400
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\nxyz", "1.2.3.4 1111 127.0.0.1 1.2.3.4 1111 5.6.7.8 2222"),
    (b"PROXY TCP6 2001:DB8::1 ::1 1 2\r\n", "2001:db8::1 1 127.0.0.1 2001:DB8::1 1 ::1 2"),
    (b"PROXY TCP4 ::1 1.2.3.4 01 2\r\n", "::1 1 127.0.0.1 ::1 1 1.2.3.4 2"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 0 0\r\n", "1.2.3.4  127.0.0.1 1.2.3.4  1.2.3.4 "),
    (b"PROXY TCP4 999.1 1.2.3.4 1 2\r\n", "127.0.0.1 PORT 127.0.0.1 999.1 1 1.2.3.4 2"),
    (b"PROXY TCP4  1.2.3.4 1 2\r\n", "127.0.0.1 PORT 127.0.0.1  1 1.2.3.4 2"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1 PORT 127.0.0.1    "),
    (b"PROXY UNKNOWN a b c \r\n", "127.0.0.1 PORT 127.0.0.1    "),
    (b"PROXY UNKNOWNx" + b"y" * 91 + b"\r\n", "127.0.0.1 PORT 127.0.0.1    "),
    (binary(INET), "1.2.3.4 1111 127.0.0.1 1.2.3.4 1111 5.6.7.8 2222"),
    (binary(INET6, kind=0x21), "2001:db8::1 1 127.0.0.1 2001:db8::1 1 ::1 "),
    (binary(MAPPED, kind=0x21), "::ffff:1.2.3.4 1 127.0.0.1 ::ffff:1.2.3.4 1 ::0.0.5.2 2"),
    (binary(b"", 0x20, 0), "127.0.0.1 PORT 127.0.0.1    "),
    (binary(INET, 0x20), "127.0.0.1 PORT 127.0.0.1    "),
    (binary(INET, 0x22), "127.0.0.1 PORT 127.0.0.1    "),
    (binary(INET, kind=0x12), "127.0.0.1 PORT 127.0.0.1    "),
    (binary(INET, kind=0x41), "127.0.0.1 PORT 127.0.0.1    "),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", "-"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4  2\r\n", "-"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "-"),
    (b"PROXY TCP4 1.2.3.4\t1.2.3.4 1 2\r\n", "-"),
    (b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", "-"),
    (b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "-"),
    (b"PROXY UNKNOWNxx" + b"y" * 91 + b"\r\n", "-"),
    (b"GET / HTTP/1.0\r\n\r\n", "-"),
    (binary(INET, 0x31), "-"),
    (binary(INET[:5]), "-"),
)


class Headers(ProxyTestCase):
    """
    Headers that come in.
    """

    def setUp(self) -> None:
        """
        Start the proxy.
        """
        super().setUp()
        self.known, self.passed = free_ports(2)
        self.echo = backends.backend(self)
        self.edge = self.proxy(
            """stream {
                log_format short '$status $remote_addr $bytes_received';
                access_log @folder@/access.log short;
                set_real_ip_from 127.0.0.0/8;
                proxy_protocol_timeout 1s;
                server { listen 127.0.0.1:@known@ proxy_protocol; return "@said@"; }
                server {
                    listen 127.0.0.1:@passed@ proxy_protocol; ssl_preread on; deny 1.2.3.9;
                    proxy_pass 127.0.0.1:@echo@;
                }
            }""",
            folder=self.folder,
            known=self.known,
            passed=self.passed,
            echo=self.echo.port,
            said=KNOWN,
        )

    def test_table(self) -> None:
        """
        Each header is understood, or refused, as nginx does.
        """
        for data, wanted in HEADERS:
            with plain(self.known) as connection:
                port = connection.getsockname()[1]
                connection.sendall(data)
                try:
                    heard = read_all(connection).decode() or "-"
                except ConnectionResetError:
                    heard = "-"
            self.assertEqual(heard, wanted.replace("PORT", str(port)), data)
        lines = read_text(self.path("access.log")).splitlines()
        self.assertEqual([line[:3] == "400" for line in lines], [wanted == "-" for _, wanted in HEADERS])

    def test_exactly(self) -> None:
        """
        What comes behind the header reaches the back end, and is all that counts; rules see who is believed.
        """
        flight = hello("a.example.com")
        with plain(self.passed) as connection:
            connection.sendall(b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n" + flight)
            self.assertEqual(read_exactly(connection, len(flight)), flight)
        with plain(self.passed) as connection:
            connection.sendall(b"PROXY TCP4 1.2.3.9 5.6.7.8 1111 2222\r\n")
            self.assertEqual(read_all(connection), b"")
        eventually(lambda: read_text(self.path("access.log")).count("\n") == 2, "two lines")
        # as nginx since 1.25.5; Debian's does not count what it has looked at
        count = 0 if self.kind == NGINX else len(flight)
        self.assertEqual(read_text(self.path("access.log")), f"200 1.2.3.4 {count}\n403 1.2.3.9 0\n")
        self.edge.logged(
            "[error] access forbidden by rule while initializing session, client: 1.2.3.9, server:"
            f" 127.0.0.1:{self.passed}"
        )

    def test_told(self) -> None:
        """
        The log says what was wrong, and who was too slow.
        """
        with plain(self.known) as slow:
            for data, words in (
                (b"PROXY x", 'broken header: "PROXY x"'),
                (binary(INET, 0x31), "unknown PROXY protocol version: 3"),
                (binary(INET + bytes(5000)), "header is too large"),
            ):
                with plain(self.known) as connection:
                    connection.sendall(data)
                    self.edge.logged(
                        f"[error] {words} while reading PROXY protocol, client: 127.0.0.1, server:"
                        f" 127.0.0.1:{self.known}"
                    )
            self.assertEqual(read_all(slow), b"")
        self.edge.logged(
            "[info] client timed out (110: Connection timed out) while reading PROXY protocol, client: 127.0.0.1,"
            f" server: 127.0.0.1:{self.known}"
        )

    def test_haproxy(self) -> None:
        """
        HAProxy's headers of both versions are understood.
        """
        first, second = free_ports(2)
        haproxy(self, first, self.known, "send-proxy")
        haproxy(self, second, self.known, "send-proxy-v2")
        for port in (first, second):
            with plain(port) as connection:
                own = connection.getsockname()[1]
                self.assertEqual(
                    read_all(connection).decode(),
                    f"127.0.0.1 {own} 127.0.0.1 127.0.0.1 {own} 127.0.0.1 {port}",
                )


def haproxy(test: ProxyTestCase, port: int, upstream: int, options: str, bind: str = "") -> None:
    """
    Start HAProxy in front of something.

    @param options: of its server.
    @param bind: of its own address.
    """
    path = write_text(
        test.path(f"haproxy-{port}.cfg"),
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n"
        f"listen edge\n bind 127.0.0.1:{port} {bind}\n server up 127.0.0.1:{upstream} {options}\n",
    )
    program = test.start(f"haproxy-{port}", need("haproxy"), "-f", path)

    def open_() -> bool:
        with socket.create_connection(("127.0.0.1", port), PATIENCE):
            return True

    program.ready(open_, "HAProxy listens")


class HeadersNginx(Headers):
    """
    The same on nginx.
    """

    kind = NGINX


class Tlvs(ProxyTestCase):
    """
    What HAProxy tells of TLS with its client, in TLVs; newer than Debian's nginx.
    """

    def test_haproxy(self) -> None:
        """
        Name, protocol, version, cipher and algorithms come through, with a checksum, and so does the client's name.
        """
        authority = pki.authority("Clients")
        server = pki.leaf(pki.authority("Servers"), "a.example.com").write(self.folder, "server")
        shown = pki.leaf(authority, "client.example.com").write(self.folder, "client")
        trusted = pki.write(self.folder, "clients.pem", authority.pem)
        both = write_text(self.path("both.pem"), read_text(server.certificate) + read_text(server.key))
        port, front = free_port(), free_port()
        names = "alpn authority ssl_version ssl_cn ssl_cipher ssl_sig_alg ssl_key_alg ssl_verify unique_id netns"
        self.proxy(
            'stream { server { listen 127.0.0.1:@port@ proxy_protocol; return "@said@"; } }',
            port=port,
            said=" ".join(f"$proxy_protocol_tlv_{name}" for name in names.split()),
        )
        haproxy(
            self,
            front,
            port,
            "send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c",
            f"ssl crt {both} ca-file {trusted} verify required alpn h2,http/1.1",
        )
        settings = clients.context("TLSv1.3", identity=shown, alpn=["http/1.1"])
        with clients.tls(front, "a.example.com", settings) as connection:
            cipher = connection.cipher()
            assert cipher is not None
            heard = b""
            while block := connection.recv(1000):
                heard += block
        words = heard.decode().split(" ")
        self.assertEqual(words[:5], ["http/1.1", "a.example.com", "TLSv1.3", "client.example.com", cipher[0]], heard)
        self.assertEqual(words[7:], ["0", "", ""])
        self.assertTrue(words[5] and words[6], heard)


class Sending(ProxyTestCase):
    """
    Headers that go out.
    """

    version = "on"

    def setUp(self) -> None:
        """
        Start a back end, and the proxy before it, and before itself over TLS.
        """
        super().setUp()
        self.echo = backends.backend(self)
        self.plain, self.sealed, self.inner = free_ports(3)
        self.sock = self.socket_path("edge.sock")
        server = pki.leaf(pki.authority("Servers"), "a.example.com").write(self.folder, "server")
        self.edge = self.proxy(
            """stream {
                log_format short '$bytes_received $bytes_sent $upstream_bytes_sent $upstream_bytes_received';
                access_log @folder@/access.log short;
                proxy_protocol @version@;
                server {
                    listen 127.0.0.1:@plain@; listen [::1]:@plain@; listen unix:@sock@; proxy_pass 127.0.0.1:@echo@;
                }
                server { listen 127.0.0.1:@sealed@; proxy_pass 127.0.0.1:@inner@; proxy_ssl on; }
                server {
                    listen 127.0.0.1:@inner@ ssl proxy_protocol; access_log off;
                    ssl_certificate @certificate@; ssl_certificate_key @key@;
                    return "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port";
                }
            }""",
            folder=self.folder,
            plain=self.plain,
            sealed=self.sealed,
            inner=self.inner,
            sock=self.sock,
            echo=self.echo.port,
            version=self.version,
            certificate=server.certificate,
            key=server.key,
        )

    def logged(self) -> str:
        """
        The line about the only session.
        """
        path = self.path("access.log")
        eventually(lambda: read_text(path), "a line")
        return read_text(path).rstrip("\n")

    def heard(self, connection: socket.socket, header: bytes) -> None:
        """
        An echo sends the header back, before and with what the client says.
        """
        self.assertEqual(read_exactly(connection, len(header)), header)
        connection.sendall(b"abc")
        self.assertEqual(read_exactly(connection, 3), b"abc")

    def test_sealed(self) -> None:
        """
        Over TLS the header comes before it, and counts.
        """
        with plain(self.sealed) as connection:
            port = connection.getsockname()[1]
            text = read_all(connection)
        self.assertEqual(text.decode(), f"127.0.0.1 {port} {self.sealed}")
        count = len(self.header(("127.0.0.1", port), ("127.0.0.1", self.sealed)))
        self.assertEqual(self.logged(), f"0 {len(text)} {count} {len(text)}")

    def header(self, client: tuple[str, int], server: tuple[str, int]) -> bytes:
        """
        What is sent for a connection.
        """
        return f"PROXY TCP{6 if ':' in client[0] else 4} {client[0]} {server[0]} {client[1]} {server[1]}\r\n".encode()

    def test_plain(self) -> None:
        """
        Both families are told; the header counts as sent to the upstream, and not as received from the client.
        """
        for host in ("127.0.0.1", "::1"):
            with plain(self.plain, host) as connection:
                header = self.header(connection.getsockname()[:2], (host, self.plain))
                self.heard(connection, header)
        size = len(header)
        eventually(lambda: read_text(self.path("access.log")).count("\n") == 2, "two lines")
        self.assertEqual(self.logged().split("\n")[1], f"3 {size + 3} {size + 3} {size + 3}")

    def test_unix(self) -> None:
        """
        Of a client on a unix socket nothing is told.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(self.sock)
            self.heard(connection, b"PROXY UNKNOWN\r\n")


class SendingNginx(Sending):
    """
    The same on nginx.
    """

    kind = NGINX


class SendingVersion2(Sending):
    """
    Version 2, which Debian's nginx does not know.
    """

    version = "v2"

    def header(self, client: tuple[str, int], server: tuple[str, int]) -> bytes:
        """
        What is sent for a connection.
        """
        source, destination = numeric(*client), numeric(*server)
        assert source is not None and destination is not None
        return write_header(source, destination)

    def test_unix(self) -> None:
        """
        Of a client on a unix socket nothing is told.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(self.sock)
            self.heard(connection, write_header(Address("unix", ""), Address("unix", "")))

    def test_haproxy(self) -> None:
        """
        HAProxy, which looks at checksums, takes it, and tells what is in it.
        """
        front, middle = free_ports(2)
        haproxy(self, middle, self.echo.port, "send-proxy", "accept-proxy")
        self.proxy(
            "stream { server { listen 127.0.0.1:@front@; proxy_pass 127.0.0.1:@middle@; proxy_protocol v2; } }",
            "front",
            front=front,
            middle=middle,
        )
        with plain(front) as connection:
            client = connection.getsockname()
            self.heard(connection, f"PROXY TCP4 127.0.0.1 127.0.0.1 {client[1]} {front}\r\n".encode())

    def test_tls_with_the_client(self) -> None:
        """
        What is known of TLS with the client is told as HAProxy tells it.
        """
        authority = pki.authority("Clients")
        server = pki.leaf(pki.authority("Servers"), "a.example.com", kind="rsa").write(self.folder, "rsa")
        shown = pki.leaf(authority, "client.example.com").write(self.folder, "client")
        trusted = pki.write(self.folder, "clients.pem", authority.pem)
        both = write_text(self.path("both.pem"), read_text(server.certificate) + read_text(server.key))
        ours, theirs, inner = free_ports(3)
        names = "alpn authority ssl_version ssl_cn ssl_cipher ssl_sig_alg ssl_key_alg ssl_verify"
        self.proxy(
            """stream {
                server { listen 127.0.0.1:@inner@ proxy_protocol; return "@said@"; }
                server {
                    listen 127.0.0.1:@ours@ ssl; proxy_pass 127.0.0.1:@inner@; proxy_protocol v2; ssl_alpn http/1.1;
                    ssl_certificate @certificate@; ssl_certificate_key @key@;
                    ssl_verify_client on; ssl_client_certificate @trusted@;
                }
            }""",
            "inner",
            inner=inner,
            ours=ours,
            certificate=server.certificate,
            key=server.key,
            trusted=trusted,
            said=" ".join(f"$proxy_protocol_tlv_{name}" for name in names.split()),
        )
        haproxy(
            self,
            theirs,
            inner,
            "send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c",
            f"ssl crt {both} ca-file {trusted} verify required alpn http/1.1",
        )
        heard = []
        for port in (ours, theirs):
            settings = clients.context("TLSv1.3", identity=shown, alpn=["http/1.1"])
            with clients.tls(port, "a.example.com", settings) as connection:
                heard.append(read_all(connection))
        self.assertEqual(*heard)
        self.assertTrue(heard[0].startswith(b"http/1.1 a.example.com TLSv1.3 client.example.com "), heard[0])


class Pieces(ProxyTestCase):
    """
    Headers that the network has cut, on sockets of the kernel; nginx wants them whole.
    """

    def setUp(self) -> None:
        """
        Start the proxy, with a listener for each thing that may follow a header.
        """
        super().setUp()
        self.echo = backends.backend(self)
        self.known, self.passed, self.sealed = free_ports(3)
        self.sock = self.socket_path("edge.sock")
        server = pki.leaf(pki.authority("Servers"), "a.example.com").write(self.folder, "server")
        self.proxy(
            """stream {
                preread_buffer_size 64k;
                server { listen 127.0.0.1:@known@ proxy_protocol; return $proxy_protocol_addr; }
                server {
                    listen 127.0.0.1:@passed@ proxy_protocol; listen unix:@sock@ proxy_protocol; ssl_preread on;
                    proxy_pass 127.0.0.1:@echo@;
                }
                server {
                    listen 127.0.0.1:@sealed@ ssl proxy_protocol; proxy_pass 127.0.0.1:@echo@;
                    ssl_certificate @certificate@; ssl_certificate_key @key@;
                }
            }""",
            known=self.known,
            passed=self.passed,
            sealed=self.sealed,
            sock=self.sock,
            echo=self.echo.port,
            certificate=server.certificate,
            key=server.key,
        )
        self.headers = (
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n",
            binary(INET),
            binary(INET + b"\xe0\x0f\xe1" + bytes(4065)),  # as long as may be
        )

    def dribble(self, connection: socket.socket, data: bytes, size: int) -> None:
        """
        Send in pieces, each on its own.
        """
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), size):
            connection.sendall(data[at : at + size])

    def test_known(self) -> None:
        """
        Wherever it was cut, it is understood.
        """
        for header in self.headers:
            for size in (1, 7, 50, 4095):
                with plain(self.known) as connection:
                    self.dribble(connection, header, size)
                    self.assertEqual(read_all(connection), b"1.2.3.4")
        self.assertEqual(len(self.headers[-1]), 4096)
        with plain(self.known) as connection:
            connection.sendall(binary(INET + b"\xe0\x0f\xe2" + bytes(4066)))
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(read_all(connection), b"")

    def test_what_follows(self) -> None:
        """
        All that follows arrives, on TCP and unix sockets, looked at or not.
        """
        for first in (hello("a.example.com"), b"SSH-2.0-x\r\n"):
            body = first + bytes(range(256)) * 500
            for header in self.headers:
                for size in (1, 4000, 1 << 20):
                    for address in (("127.0.0.1", self.passed), self.sock):
                        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
                        with socket.socket(family) as connection:
                            connection.settimeout(PATIENCE)
                            connection.connect(address)
                            self.dribble(connection, header + first, size)
                            connection.sendall(body[len(first) :])
                            self.assertEqual(read_exactly(connection, len(body)), body)

    def test_tls(self) -> None:
        """
        TLS begins behind the header.
        """
        for header in self.headers:
            for size in (1, 4000):
                with plain(self.sealed) as connection:
                    self.dribble(connection, header, size)
                    with clients.context().wrap_socket(connection, server_hostname="a.example.com") as tls:
                        tls.sendall(b"hello")
                        self.assertEqual(read_exactly(tls, 5), b"hello")
