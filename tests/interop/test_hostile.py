"""
What can a hostile far end do to the running proxy? Broken headers, name servers that lie, floods of datagrams and of
new keys, and very many good clients at once: each must be bounded and told, and nobody else may lose anything.

Strategy: everything goes to one process over real sockets. After each attack a good client is served, the access log
has a line for every session, the descriptors are what they were, and the error log knows neither alerts nor tracebacks.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import socket
import ssl
import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tests.support import backends, clients, pki
from tests.support.lies import NAMES, lie
from tests.support.ports import free_port, free_ports
from tests.support.programs import PATIENCE, eventually, read_text
from tests.support.proxies import Proxy, ProxyTestCase, fill
from tests.support.stage import answering

BAD: Final = re.compile(r"\[(?:alert|emerg)\]|Traceback|internal error|Unhandled")
V1: Final = b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n"
V2: Final = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x1c\xc0\0\2\1\xc0\0\2\2\x04\x57\x08\xae"
    b"\x01\0\x02h2\x20\0\x08\x01\0\0\0\0\x22\0\x00"
)


class Hostile(ProxyTestCase):
    """
    A proxy that is attacked.
    """

    def begin(self, text: str, **values: object) -> Proxy:
        """
        Start it, with a log that has a line for each session.
        """
        head = "log_format line '$protocol $status $bytes_received $bytes_sent'; access_log @log@ line;"
        self.log = self.path("access.log")
        self.edge = self.proxy(fill(f"stream {{ {head} {text} }}", log=self.log, **values))
        self.before = Counter(self.edge.descriptors())
        return self.edge

    def resident(self) -> int:
        """
        Its memory, in KiB.
        """
        found = re.search(r"VmRSS:\s+(\d+)", read_text(f"/proc/{self.edge.processes()[0]}/status"))
        assert found is not None
        return int(found[1])

    def survived(self, sessions: int) -> None:
        """
        All sessions are over and in the log, nothing is left open, and the error log is clean.
        """
        eventually(lambda: read_text(self.log).count("\n") == sessions, f"{sessions} lines of the access log")

        def left() -> bool:
            more = Counter(self.edge.descriptors()) - self.before
            return set(more) <= {"pipe", self.log} and more["pipe"] <= 16  # some are kept, up to a few

        eventually(left, "descriptors as before")
        said = read_text(self.edge.log_path) + self.edge.program.output()
        self.assertEqual([line for line in said.splitlines() if BAD.search(line)], [])
        self.assertFalse(self.edge.program.ended())


class Headers(Hostile):
    """
    Headers of the PROXY protocol.
    """

    def setUp(self) -> None:
        """
        Start the proxy.
        """
        super().setUp()
        self.port = free_port()
        self.begin(
            "set_real_ip_from 127.0.0.1; proxy_protocol_timeout 1s; proxy_timeout 1s;"
            " server { listen 127.0.0.1:@port@ proxy_protocol; proxy_pass 127.0.0.1:@back@; }",
            port=self.port,
            back=backends.backend(self).port,
        )
        self.sessions = 0

    def say(self, *pieces: bytes, reset: bool = False) -> bytes:
        """
        One client.

        @return: what it got.
        """
        self.sessions += 1
        with clients.plain(self.port) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for piece in pieces:
                    client.sendall(piece)
                if reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, backends.LINGER_ZERO)
                    return b""
                client.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has been sent away already
            return clients.read_all(client)

    def good(self) -> None:
        """
        One who does nothing wrong.
        """
        self.sessions += 1
        with clients.plain(self.port) as client:
            client.sendall(V2 + b"hello")
            self.assertEqual(clients.read_exactly(client, 5), b"hello")

    def test_every_cut(self) -> None:
        """
        A header that ends anywhere reaches nobody; one that comes in two pieces, however cut, is read.
        """
        for header in (V1, V2):
            for cut in range(len(header)):
                self.assertEqual(self.say(header[:cut]), b"", cut)
                self.say(header[:cut], reset=True)
                self.sessions += 1
                with clients.plain(self.port) as client:
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    client.sendall(header[:cut])
                    client.sendall(header[cut:] + b"whole")
                    self.assertEqual(clients.read_exactly(client, 5), b"whole", cut)
            self.good()
        self.survived(self.sessions)

    def test_every_change(self) -> None:
        """
        With any one byte changed the header is read as what it says then, or the client is sent away: never does one
        byte of it reach the upstream as data, but for those behind a header that says to be shorter.
        """
        for header in (V1, V2):
            for at in range(len(header)):
                for value in {0, 0x20, 0x7F, 0xFF, header[at] ^ 1, header[at] ^ 0x80} - {header[at]}:
                    spoiled = header[:at] + bytes([value]) + header[at + 1 :]
                    heard = self.say(spoiled + b"data")
                    if header is V1 or at not in (14, 15):
                        self.assertIn(heard, (b"", b"data"), spoiled)
                    else:
                        self.assertIn(heard, spoiled + b"data", spoiled)
            self.good()
        self.survived(self.sessions)


class NameServers(Hostile):
    """
    Name servers that lie.
    """

    def setUp(self) -> None:
        """
        Start the proxy.
        """
        super().setUp()
        self.port = free_port()
        self.begin(
            "resolver 127.0.0.1:@dns@ ipv6=off valid=1s; resolver_timeout 1s; proxy_timeout 3s; server {"
            " listen 127.0.0.1:@port@; ssl_preread on; proxy_pass $ssl_preread_server_name:@back@; }",
            port=self.port,
            dns=answering(self, lie),
            back=backends.backend(self).port,
        )

    def reached(self, name: str) -> bool:
        """
        Whether a client that asks for a name gets through, or is sent away, as it must.
        """
        with clients.plain(self.port) as client:
            flight = clients.hello(name)
            client.sendall(flight)
            return (
                clients.read_exactly(client, len(flight)) == flight
                if NAMES[name.partition(".")[0]]
                else not (clients.read_all(client))
            )

    def test_lies(self) -> None:
        """
        What is wrong in an answer is not believed; clients get through where a right one came, however many wrong ones
        did, and the others are sent away when the time is up or at once.
        """
        for number in (1, 1, 2):
            with ThreadPoolExecutor(len(NAMES)) as pool:
                found = list(pool.map(self.reached, [f"{name}.x{number}.test" for name in NAMES]))
            self.assertEqual([name for name, as_it_must in zip(NAMES, found, strict=True) if not as_it_must], [])
        self.survived(3 * len(NAMES))
        statuses = Counter(line.split()[1] for line in read_text(self.log).splitlines())
        self.assertEqual(statuses["200"], 3 * sum(NAMES.values()))

    def test_at_once(self) -> None:
        """
        While many ask for names that never come, others are served.
        """
        crowd = []
        for number in range(100):
            client = clients.plain(self.port)
            self.addCleanup(client.close)
            client.sendall(clients.hello(f"mute.y{number}.test"))
            crowd.append(client)
        self.assertTrue(self.reached("good.y.test"))
        for client in crowd:
            self.assertEqual(clients.read_all(client), b"")
            client.close()
        self.survived(101)


class Datagrams(Hostile):
    """
    Floods of datagrams.
    """

    def test_oversize(self) -> None:
        """
        Whoever sends the largest datagrams without pause, faster than their rate allows, fills no more than their share
        of memory; a polite client loses nothing meanwhile.
        """
        ports = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
        self.begin(
            "proxy_timeout 1s; server { listen 127.0.0.1:@rated@ udp; proxy_upload_rate 500k;"
            " proxy_pass 127.0.0.1:@back@; } server { listen 127.0.0.1:@free@ udp; proxy_pass 127.0.0.1:@back@; }",
            rated=ports[0],
            free=ports[1],
            back=answering(self, lambda data: [data]),
        )

        def made(port: int) -> socket.socket:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.addCleanup(sock.close)
            sock.settimeout(PATIENCE)
            sock.connect(("127.0.0.1", port))
            return sock

        polite, crowd = made(ports[1]), [made(ports[0]) for _ in range(20)]
        polite.send(b"first")
        self.assertEqual(polite.recv(70000), b"first")
        before = self.resident()
        for number in range(50):
            for sock in crowd:
                sock.send(bytes(65507))
            polite.send(b"%d" % number)
            self.assertEqual(polite.recv(70000), b"%d" % number)
        for size in (0, 65507):
            polite.send(bytes(size))
            self.assertEqual(len(polite.recv(70000)), size)
        self.assertLess(self.resident() - before, 20 * 512)
        polite.close()
        eventually(lambda: read_text(self.log).count("UDP 200") >= 1, "an end")
        eventually(lambda: not Counter(self.edge.descriptors()) - self.before - Counter([self.log]), "all ends")
        said = read_text(self.edge.log_path) + self.edge.program.output()
        self.assertEqual([line for line in said.splitlines() if BAD.search(line)], [])


class Keys:
    """
    What a client of TLS 1.3 sends after its handshake, made by hand: the one direction, and new keys at will (RFC 8446,
    sections 5.2, 7.2 and 7.3).
    """

    def __init__(self, secret: bytes) -> None:
        self._take(secret)

    def _take(self, secret: bytes) -> None:
        self._secret = secret
        self._number = 0
        self._key = AESGCM(self._expand(b"key", 32))
        self._iv = int.from_bytes(self._expand(b"iv", 12), "big")

    def _expand(self, label: bytes, size: int) -> bytes:
        label = b"tls13 " + label
        info = struct.pack("!HB", size, len(label)) + label + b"\0"
        return HKDFExpand(hashes.SHA384(), size, info).derive(self._secret)

    def record(self, data: bytes, kind: int) -> bytes:
        """
        One record.
        """
        head = b"\x17\x03\x03" + struct.pack("!H", len(data) + 17)
        nonce = (self._iv ^ self._number).to_bytes(12, "big")
        self._number += 1
        return head + self._key.encrypt(nonce, data + bytes([kind]), head)

    def update(self, asked: bool) -> bytes:
        """
        New keys for our direction.

        @param asked: whether the far end shall take new ones, too.
        """
        made = self.record(b"\x18\0\0\1" + bytes([asked]), 22)
        self._take(self._expand(b"traffic upd", 48))
        return made


class NewKeys(Hostile):
    """
    Clients that take new keys without end.
    """

    def setUp(self) -> None:
        """
        Start the proxy.
        """
        super().setUp()
        files = pki.leaf(pki.authority(), "a.example.com").write(self.folder, "server")
        self.port = free_port()
        self.back = backends.backend(self)
        self.begin(
            "ssl_protocols TLSv1.3; proxy_timeout 3s; server { listen 127.0.0.1:@port@ ssl; ssl_certificate @cert@;"
            " ssl_certificate_key @key@; proxy_pass 127.0.0.1:@back@; }",
            port=self.port,
            cert=files.certificate,
            key=files.key,
            back=self.back.port,
        )
        self.sessions = 0

    def shaken(self) -> tuple[socket.socket, Keys]:
        """
        A client after its handshake, and what it sends with.
        """
        self.sessions += 1
        settings = clients.context("TLSv1.3")
        settings.keylog_filename = self.path(f"keys-{random.SystemRandom().random()}")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        far = settings.wrap_bio(incoming, outgoing, server_hostname="a.example.com")
        client = clients.plain(self.port)
        self.addCleanup(client.close)
        while True:
            try:
                far.do_handshake()
            except ssl.SSLWantReadError:
                client.sendall(outgoing.read())
                incoming.write(client.recv(65536))
            else:
                client.sendall(outgoing.read())
                break
        self.assertEqual(far.cipher(), ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256))
        found = re.search(r"CLIENT_TRAFFIC_SECRET_0 \w+ (\w+)", read_text(settings.keylog_filename))
        assert found is not None
        return client, Keys(bytes.fromhex(found[1]))

    def good(self) -> None:
        """
        One who does nothing wrong.
        """
        self.sessions += 1
        with clients.tls(self.port, "a.example.com") as client:
            client.sendall(b"hello")
            self.assertEqual(clients.read_exactly(client, 5), b"hello")

    def test_some(self) -> None:
        """
        New keys in between are what TLS allows: all bytes arrive.
        """
        client, keys = self.shaken()
        for number in range(10):
            client.sendall(keys.update(asked=bool(number % 2)) + keys.record(b"data", 23))
        eventually(lambda: self.back.visits and bytes(self.back.visits[0].received) == b"data" * 10, "all bytes")
        client.close()
        self.survived(1)
        self.assertEqual(read_text(self.log)[:11], "TCP 200 40 ")

    def test_flood(self) -> None:
        """
        Whoever asks for new keys again and again, and reads nothing, costs neither memory nor the others.
        """
        self.good()
        before = self.resident()
        for asked in (False, True):
            client, keys = self.shaken()
            flood = b"".join(keys.update(asked) for _ in range(5000))
            client.settimeout(1)
            sent = 0
            for _ in range(4):
                try:
                    while sent < len(flood):
                        sent += client.send(flood[sent : sent + 20000])
                except TimeoutError:
                    pass  # it takes no more: as good
                except OSError:
                    break  # it has had enough: as good
                self.good()
            self.assertLess(self.resident() - before, 8192)
            client.close()
        self.survived(self.sessions)


class Many(Hostile):
    """
    Very many at once.
    """

    CLIENTS: Final = 200
    SIZE: Final = 150_000

    def test_bulk(self) -> None:
        """
        Of 200 transfers at once through TLS, in both directions, each byte arrives, and each line of the log says so.
        """
        files = pki.leaf(pki.authority(), "a.example.com").write(self.folder, "server")
        (port,) = free_ports(1)
        self.begin(
            "server { listen 127.0.0.1:@port@ ssl; ssl_certificate @cert@; ssl_certificate_key @key@;"
            " proxy_pass 127.0.0.1:@back@; }",
            port=port,
            cert=files.certificate,
            key=files.key,
            back=backends.backend(self).port,
        )
        settings = clients.context()
        failed: list[str] = []

        async def one(number: int) -> None:
            data = random.Random(number).randbytes(self.SIZE)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=settings)
            try:
                writer.write(data)
                heard = await reader.readexactly(self.SIZE)
                if hashlib.sha256(heard).digest() != hashlib.sha256(data).digest():
                    failed.append(f"{number}: other bytes")
            except (OSError, EOFError) as error:
                failed.append(f"{number}: {error!r}")
            finally:
                writer.close()

        async def everybody() -> None:
            await asyncio.wait_for(asyncio.gather(*map(one, range(self.CLIENTS))), 4 * PATIENCE)

        asyncio.run(everybody())
        self.assertEqual(failed, [])
        self.survived(self.CLIENTS)
        lines = Counter(read_text(self.log).splitlines())
        self.assertEqual(lines, {f"TCP 200 {self.SIZE} {self.SIZE}": self.CLIENTS})
