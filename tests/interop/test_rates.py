"""
How long does it take to move so many bytes, with a rate? As long as with nginx, within what machines that are busy add.
"""

from __future__ import annotations

import re
import socket
import time

from tests.support import clients, pki
from tests.support.backends import Backend, digest, say, swallow
from tests.support.ports import free_port
from tests.support.programs import PATIENCE, eventually
from tests.support.proxies import NGINX, ProxyTestCase

SIZE = 200_000
RATE = 100_000

CONFIGURATION = """stream {
    server { listen 127.0.0.1:@port@ @ssl@; proxy_pass 127.0.0.1:@back@; proxy_half_close on; @settings@ }
}
"""


class RatesTestCase(ProxyTestCase):
    """
    Clients with a watch.
    """

    def edge(self, back: Backend, settings: str, ssl: str = "") -> int:
        """
        @return: the port of a proxy with these settings, which has had a client: nginx's clock stands still before.
        """
        self.addCleanup(back.close)
        port = free_port()
        edge = self.proxy(CONFIGURATION, f"edge{port}", port=port, back=back.port, settings=settings, ssl=ssl)
        clients.plain(port).close()
        edge.logged(re.compile(r"^\[info\] client .* connected to"))
        return port

    def download(self, client: socket.socket) -> tuple[int, float]:
        """
        Read to the end.

        @return: how much there was, and how many seconds it took.
        """
        begun = time.monotonic()
        client.settimeout(PATIENCE)
        count = 0
        while block := client.recv(65536):
            count += len(block)
        return count, time.monotonic() - begun


class Rates(RatesTestCase):
    """
    Two seconds' worth of bytes, the first of which are given at once.
    """

    def test_download(self) -> None:
        """
        Bytes to the client come at the rate, to the last one.
        """
        port = self.edge(Backend(say(b"y" * SIZE)), f"proxy_download_rate {RATE};")
        with clients.plain(port) as client:
            count, seconds = self.download(client)
        self.assertEqual(count, SIZE)
        self.assertTrue(1.5 < seconds < 4, seconds)

    def test_upload(self) -> None:
        """
        Bytes from the client go at the rate, while those to it go as they come; all of them arrive.
        """
        port = self.edge(Backend(digest), f"proxy_upload_rate {RATE}; proxy_download_rate 0;")
        with clients.plain(port) as client:
            client.sendall(b"x" * SIZE)
            client.shutdown(socket.SHUT_WR)
            count, seconds = self.download(client)
        self.assertEqual(count, len(f"{SIZE} ") + 64)
        self.assertTrue(1.5 < seconds < 4, seconds)

    def test_small_rate(self) -> None:
        """
        With a rate below the buffer's size there is as much each second, the first one included.
        """
        port = self.edge(Backend(say(b"y" * 3000)), "proxy_download_rate 1000;")
        with clients.plain(port) as client:
            count, seconds = self.download(client)
        self.assertEqual(count, 3000)
        self.assertTrue(1.5 < seconds < 5, seconds)

    def test_tls(self) -> None:
        """
        Over TLS it is the bytes inside that count.
        """
        files = pki.leaf(pki.authority("Rates"), "rates.example.com").write(self.folder, "rates")
        settings = f"ssl_certificate {files.certificate}; ssl_certificate_key {files.key};"
        port = self.edge(Backend(say(b"y" * SIZE)), settings + f"proxy_download_rate {RATE};", "ssl")
        with clients.tls(port) as client:
            count, seconds = self.download(client)
        self.assertEqual(count, SIZE)
        self.assertTrue(1.5 < seconds < 4, seconds)

    def test_by_variable(self) -> None:
        """
        A variable may say that there is no rate, or another one.
        """
        port = self.edge(Backend(say(b"y" * SIZE)), "proxy_download_rate $remote_port; proxy_upload_rate $remote_port;")
        with clients.plain(port) as client:
            rate = client.getsockname()[1]
            count, seconds = self.download(client)
        self.assertEqual(count, SIZE)
        self.assertTrue(SIZE / rate - 1.5 < seconds < SIZE / rate + 3, (seconds, rate))


class RatesNginx(Rates):
    """
    nginx takes as long.
    """

    kind = NGINX


class Pieces(RatesTestCase):
    """
    What nginx does not always keep to: now and then it lets all in that came with the handshake.
    """

    def test_pieces_of_records(self) -> None:
        """
        What OpenSSL has decrypted and the rate has not let in yet comes later, and nothing of it is lost.
        """
        files = pki.leaf(pki.authority("Rates"), "rates.example.com").write(self.folder, "rates")
        back = Backend(swallow)
        settings = f"ssl_certificate {files.certificate}; ssl_certificate_key {files.key};"
        port = self.edge(back, settings + "proxy_upload_rate 1000;", "ssl")
        text = bytes(range(250)) * 12
        begun = time.monotonic()
        with clients.tls(port) as client:
            client.sendall(text)
            eventually(lambda: len(back.visits) == 1 and len(back.visits[0].received) == len(text), "all has arrived")
            seconds = time.monotonic() - begun
        self.assertEqual(bytes(back.visits[0].received), text)
        self.assertTrue(1.5 < seconds < 5, seconds)
