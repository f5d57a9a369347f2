"""
nginx and sniproxy with one configuration, each before upstreams that do what a table says; what becomes of one request
given to both can be compared: the answer, what is logged, and who has heard of it.

    twins.serve("location /x { proxy_pass http://one; }", {"x": (ok(b"hello"),), "y": (CLOSE,)})
    twins.compare({"hello": request("/x"), "nothing": request("/y")})
"""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from tests.support import backends
from tests.support.backends import LINGER_ZERO, Visit
from tests.support.clients import read_all
from tests.support.ports import free_ports
from tests.support.programs import PATIENCE, eventually, need, read_text
from tests.support.proxies import NGINX, SNIPROXY, Kind, Proxy, ProxyTestCase, fill, read_lines

Act = bytes | str
"""
What an upstream does: bytes are sent; C{close}, C{reset}, C{hang} (be silent until the other side ends), C{body} (read
the body of the request), C{drain} (say that this is all, and read on to the end), C{flood} (send what was sent last,
until the other side ends), C{swallow} (read as much as comes in a moment).
"""

CLOSE: Final = "close"
RESET: Final = "reset"
HANG: Final = "hang"
BODY: Final = "body"
DRAIN: Final = "drain"
FLOOD: Final = "flood"
SWALLOW: Final = "swallow"

OK: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def ok(body: bytes, *lines: bytes, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    """
    An answer with a length.
    """
    declared = len(body) if length is None else length
    return b"\r\n".join((b"HTTP/1.1 " + status, b"Content-Length: %d" % declared, *lines, b"", body))


USUAL: Final[dict[str, tuple[Act, ...]]] = {
    "good": (ok(b"good"),),
    "silence": (HANG,),
    "swallow": (SWALLOW, ok(b"swallowed")),
}
"""What upstreams do that no table says more of."""


class Scripted:
    """
    An upstream that does what the path of a request says.

    @ivar heard: the heads, and the bodies as far as they were read, in order.
    """

    def __init__(self, test: ProxyTestCase, answers: dict[str, tuple[Act, ...]] = USUAL) -> None:
        self._answers = answers
        self.heard: list[bytes] = []
        self.server = backends.backend(test, self._talk)
        self.port = self.server.port

    def _talk(self, connection: socket.socket, visit: Visit) -> None:
        data = bytearray()
        while True:
            while b"\r\n\r\n" not in data:
                block = connection.recv(65536)
                if not block:
                    return
                visit.received += block
                data += block
            head, _, rest = bytes(data).partition(b"\r\n\r\n")
            data = bytearray(rest)
            if b" HTTP/" not in head:
                continue  # of a body that was not read
            self.heard.append(head)
            name = head.split(b" ", 2)[1].split(b"/")[1].split(b"?")[0].decode()
            last = b""
            found = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            for act in self._answers[name]:
                if isinstance(act, bytes):
                    connection.sendall(act)
                    last = act
                elif act == CLOSE:
                    return
                elif act == RESET:
                    # Behind what was sent, else that may be lost
                    threading.Event().wait(0.05)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
                    return
                elif act in (HANG, DRAIN):
                    if act == DRAIN:
                        connection.shutdown(socket.SHUT_WR)
                    while block := connection.recv(65536):
                        visit.received += block
                    return
                elif act == BODY:
                    while len(data) < int(found[1] if found else 0):
                        block = connection.recv(65536)
                        if not block:
                            return
                        visit.received += block
                        data += block
                elif act == SWALLOW:
                    while not re.search(rb"\r\n\r\nabc$|\r\n0\r\n\r\n$", visit.received):
                        block = connection.recv(65536)
                        if not block:
                            return
                        visit.received += block
                elif act == FLOOD:
                    for _ in range(1 << 12):
                        connection.sendall(last * 64)
                else:
                    raise ValueError(act)
            if found:
                del data[: int(found[1])]


LEVELS: Final = ("emerg", "alert", "crit", "error", "warn")
_SAME: Final = (
    (re.compile(rb"nginx/\d+\.\d+\.\d+"), b"nginx/VERSION"),
    (re.compile(rb"(?m)^Date: \w{3}, .*$"), b"Date: NOW"),
)


def exchange(port: int, data: bytes, patience: float = PATIENCE) -> bytes:
    """
    Send bytes and read to the end.
    """
    with socket.create_connection(("127.0.0.1", port), patience) as connection:
        try:
            connection.sendall(data)
        except ConnectionError:
            pass  # the answer is there already
        try:
            return read_all(connection)
        except TimeoutError:
            return b"no end"


def request(path: str, *lines: str, method: str = "GET", body: bytes = b"", version: str = "1.1") -> bytes:
    """
    A request after which the connection is over.
    """
    head = [f"{method} {path} HTTP/{version}", "Host: www.example.com", "Connection: close", *lines, "", ""]
    return "\r\n".join(head).encode() + body


def tidy(data: bytes) -> str:
    """
    An answer, with fields in order and without what is different each time.
    """
    for pattern, word in _SAME:
        data = pattern.sub(word, data)
    first, end, body = data.decode("latin-1").partition("\r\n\r\n")
    status, *told = first.split("\r\n")
    return "\r\n".join([status, *sorted(told)]) + end + (body if len(body) < 2000 else f"{len(body)} bytes")


def plain(line: str) -> str:
    """
    A line of an error log, without ports, and with one name for reading, whichever call it is done with.
    """
    line = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", line)
    # where it shows that there is too much depends on what came in one read
    line = re.sub(r"(too large chunked body): \d+\+\d+ bytes( while reading client request body)?", r"\1", line)
    line = re.sub(r'(upstream sent invalid header): ".*?\.\.\."', r"\1", line)
    return line.replace("readv() failed", "recv() failed")


CONFIGURATION: Final = """
http {
    client_body_temp_path @folder@/@kind@-body; proxy_temp_path @folder@/@kind@-proxy;
    fastcgi_temp_path @folder@/f; uwsgi_temp_path @folder@/u; scgi_temp_path @folder@/s;
    log_format seen '@format@';
    access_log @folder@/@kind@-access.log seen;
    upstream one { server 127.0.0.1:@back@ max_fails=0; @keepalive@ }
    upstream two { server 127.0.0.1:@back@ max_fails=0; server 127.0.0.1:@other@ max_fails=0; keepalive 4; }
    server {
        listen 127.0.0.1:@port@;
        server_name www.example.com;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_read_timeout 500ms;
        proxy_send_timeout 500ms;
        proxy_next_upstream_tries 2;
        @inside@
        location / { proxy_pass http://one; }
    }
}
"""


class Told(NamedTuple):
    """
    What comes of one request: the answer, what was logged, and how many requests each upstream has heard.
    """

    answer: str
    logs: list[str]
    through: list[int]


class Twins(ProxyTestCase):
    """
    Both proxies before an upstream each.
    """

    maxDiff = None

    def serve(
        self,
        inside: str = "",
        answers: dict[str, tuple[Act, ...]] = USUAL,
        format: str = "$request|$status|$upstream_status",  # noqa: A002
        kinds: tuple[Kind, ...] = (NGINX, SNIPROXY),
    ) -> None:
        """
        Start all.
        """
        need("nginx")
        self.ports: dict[Kind, int] = dict(zip(kinds, free_ports(len(kinds)), strict=True))
        self.backs: dict[Kind, tuple[Scripted, Scripted]] = {}
        self.proxies: dict[Kind, Proxy] = {}
        for kind, port in self.ports.items():
            back, other = self.backs[kind] = Scripted(self, answers), Scripted(self, answers)
            text = CONFIGURATION.replace("@inside@", inside).replace("@format@", format)
            if kind == SNIPROXY:
                text = re.sub(r"(?m)^    fastcgi_temp_path.*$", "", text).replace(
                    "proxy_temp_path @folder@/@kind@-proxy;", ""
                )
            # nginx 1.22 keeps no connections where it is not told to, newer ones do
            text = text.replace("@keepalive@", "keepalive 0;" if kind == SNIPROXY else "")
            filled = fill(text, folder=self.folder, kind=kind, port=port, back=back.port, other=other.port)
            self.proxies[kind] = self.proxy(filled, kind, kind=kind)
        self.told = dict.fromkeys(self.ports, 0)
        self.before = Counter(self.proxies[SNIPROXY].descriptors())

    def one(self, kind: Kind, data: bytes) -> Told:
        """
        Ask one of both.
        """
        port, path = self.ports[kind], self.path(f"{kind}-access.log")
        counts = [len(back.heard) for back in self.backs[kind]]
        lines = read_text(path).count("\n")
        answer = tidy(exchange(port, data)).replace(f":{port}", ":PORT")
        eventually(lambda: read_text(path).count("\n") > lines, "a line in the access log")
        logged = read_text(path).splitlines()[lines:]
        told = [line for line in read_lines(self.proxies[kind].log_path) if line.level in LEVELS]
        fresh, self.told[kind] = told[self.told[kind] :], len(told)
        through = [len(back.heard) - count for back, count in zip(self.backs[kind], counts, strict=True)]
        return Told(answer, [*logged, *(plain(str(line)) for line in fresh)], through)

    def both(self, data: bytes) -> dict[Kind, Told]:
        """
        Ask both.
        """
        with ThreadPoolExecutor(2) as pool:
            return dict(zip(self.ports, pool.map(self.one, self.ports, [data] * 2), strict=True))

    def compare(self, cases: dict[str, bytes]) -> None:
        """
        Both do the same.
        """
        wrong = []
        for name, data in cases.items():
            found = self.both(data)
            parts = ("answer", "logs", "requests")
            wrong += [
                f"{name}: {part}\n    nginx: {theirs}\n    we:    {ours}"
                for part, theirs, ours in zip(parts, found[NGINX], found[SNIPROXY], strict=True)
                if theirs != ours
            ]
        self.assertEqual(wrong, [], "\n".join(wrong))

    def nothing_left(self, kept: int = 0) -> None:
        """
        All descriptors but logs, listeners and so many connections to upstreams have been closed again, and somebody
        who behaves is served.
        """
        edge = self.proxies[SNIPROXY]

        def more() -> Counter[str]:
            return Counter(edge.descriptors()) - self.before - Counter({"pipe": 16, "socket": kept})

        try:
            eventually(lambda: not more(), "descriptors as before")
        except AssertionError:
            self.fail(f"left: {more()}")
        self.assertTrue(exchange(self.ports[SNIPROXY], request("/good")).endswith(b"good"))
        self.clean()

    def clean(self) -> None:
        """
        Nobody has crashed, and nothing is left.
        """
        said = read_text(self.proxies[SNIPROXY].log_path) + self.proxies[SNIPROXY].program.output()
        self.assertEqual(re.findall(r"(?m)^.*(?:\[alert\]|\[emerg\]|Traceback|internal error|Unhandled).*$", said), [])
