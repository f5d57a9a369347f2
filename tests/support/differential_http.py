"""
Do two programs do the same with HTTP? One C{http} block and one script of requests, byte for byte as they are sent,
given to nginx and to sniproxy; answers, and the lines of both logs, are compared.

Strategy: a script is data, a list of L{Ask}: pieces of bytes, each with how many answers are waited for before the
next one is sent. What stands behind the proxies is one L{Origin} for both: it answers with the very bytes it was sent,
unless the path names an answer of the script. What differs from run to run (versions, dates, ports) is replaced by a
word, the same in both, before anything is compared.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from difflib import unified_diff
from typing import Final

from tests.support import pki
from tests.support.clients import context
from tests.support.pki import Files
from tests.support.ports import free_port
from tests.support.programs import eventually, need, read_text, write_text
from tests.support.proxies import NEWER_WORDS, NGINX, SNIPROXY, Kind, Proxy, ProxyTestCase, fill
from tests.support.stage import identities

PATIENCE: Final = 2.0
"""Seconds after which an answer is one that did not come: both programs answer in milliseconds."""

LEVELS: Final = ("emerg", "alert", "crit", "error", "warn", "info")
MOMENT: Final = 784111777
"""When all files were changed."""

FORMAT: Final = '$server_port $status $body_bytes_sent "$request" "$upstream_addr" $upstream_status'

FILES: Final = {
    "n.txt": b"0123456789",
    "404.html": b"<404>",
    "dir/x.txt": b"x",
    "idx/index.html": b"index",
}

_ALL: Final = (
    (re.compile(r"nginx/\d+\.\d+\.\d+"), "nginx/VERSION"),
    (re.compile(r"(?m)^(Date|Expires): .* 20\d\d .*$"), r"\1: NOW"),
    (re.compile(r"a{90,}[^\"]*"), "aaa"),
)
_ERRORS: Final = (
    (re.compile(r".*closed keepalive connection"), ""),  # whether it is told of one that ends as we do is chance
    *NEWER_WORDS,
    (re.compile(r"\(SSL: error:\w+:[^)]*\)"), "(SSL)"),
    (
        re.compile(r"too large chunked body: \d+\+\d+ bytes( while reading client request body)?"),
        "too large chunked body",
    ),
    (re.compile(r"(?<=client sent invalid chunked body) while reading client request body"), ""),
    (re.compile(r"too (large request|long header line)(: \".*?\")?(?= while)(.*?), host: .*"), r"too much\3"),
    (re.compile(r"too (large request|long header line)(: \".*?\")?(?= while)"), "too much"),
    (re.compile(r".*client timed out .* while reading client request body.*"), ""),
)
_OF_PROCESSES: Final = re.compile(r"signal|worker|process|exit|using|start|built|OS:|getrlimit|reconfigur|gracefully")
_LENGTH: Final = re.compile(rb"(?im)^content-length:[ \t]*(\d+)")
_CHUNKED: Final = re.compile(rb"(?im)^transfer-encoding:[ \t]*chunked")
_CLOSE: Final = re.compile(rb"(?im)^connection:[ \t]*close")
_DEFAULT: Final = re.compile(rb"(?m)^Connection: close\r\n")
"""What nginx 1.22 says to upstreams where nothing else is said, and later ones do not."""

_INTERIM: Final = re.compile(rb"HTTP/1\.1 1(?!01)")


def _name_of(field: bytes) -> bytes:
    return field.partition(b":")[0].lower()


@dataclass(frozen=True)
class Ask:
    """
    One connection of a client.

    @ivar pieces: what is sent, and how many answers are read then; nothing and none for the end of what is sent.
    @ivar port: to which of the ports.
    @ivar name: the server asked for by TLS; None for plain bytes.
    @ivar shows: the certificate the client has, by the name of its files.
    @ivar source: its address.
    """

    pieces: tuple[tuple[bytes, int], ...]
    port: int = 0
    name: str | None = None
    shows: str = ""
    source: str = "127.0.0.1"

    def __str__(self) -> str:
        return f"p{self.port} {self.name or ''} {[piece[:300] for piece, _ in self.pieces]}"


def raw(data: bytes, answers: int = 1, port: int = 0, source: str = "127.0.0.1") -> Ask:
    """
    These bytes, and so many answers.
    """
    return Ask(((data, answers),), port, source=source)


def get(line: str, *fields: str, body: bytes = b"", port: int = 0, version: str = "1.1", host: str = "h") -> Ask:
    """
    One request on a connection of its own.

    @param line: without its version.
    """
    named = [f"Host: {host}"] if host else []
    head = "\r\n".join([f"{line} HTTP/{version}", *named, *fields, "", ""])
    return raw(head.encode("latin-1") + body, 1, port)


class Origin:
    """
    A server behind both proxies. It answers a request with its bytes, and after them with which request of its
    connection it was; where the path has C{/say/NAME} in it, with the answer of that name, and the end of the
    connection unless the name begins with C{keep}.

    @ivar port: on 127.0.0.1.
    """

    def __init__(self, test: ProxyTestCase, said: Mapping[str, bytes]) -> None:
        self._said = said
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()
        test.addCleanup(self.close)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        data, count = b"", 0
        with suppress(OSError), connection:
            while True:
                while (size := _request_size(data)) is None:
                    block = connection.recv(65536)
                    if not block:
                        return
                    data += block
                request, data = data[:size], data[size:]
                count += 1
                line = request.partition(b"\r\n")[0]
                name = re.search(rb"/say/(\w+)", line)
                if name is not None:
                    word = name[1].decode()
                    last = not word.startswith("keep") or line.endswith(b"/1.0")
                    connection.sendall(_ending(self._said[word]) if last else self._said[word])
                    if last:
                        return
                    continue
                text = _DEFAULT.sub(b"", request, 1) + b"#%d" % count
                last = bool(_CLOSE.search(request)) or line.endswith(b"/1.0")
                head = b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n"
                head %= b"Connection: close\r\n" if last else b"", len(text)
                connection.sendall(head + (b"" if line.startswith(b"HEAD ") else text))
                if last:
                    return
        self._open.discard(connection)

    def close(self) -> None:
        """
        End it, and its connections.
        """
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.close()


def _ending(said: bytes) -> bytes:
    """
    An answer that tells of the end of its connection: who does not know may run into it, or not.
    """
    head, end, body = said.partition(b"\r\n\r\n")
    if not end or not head.startswith(b"HTTP/1.1 ") or b"\r\nConnection:" in head:
        return said
    return head + b"\r\nConnection: close" + end + body


def _request_size(data: bytes) -> int | None:
    """
    How many bytes the first request has; None where it is not whole.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[: end + 2]
    if _CHUNKED.search(head):
        last = data.find(b"\r\n0\r\n\r\n", end + 2)
        return None if last < 0 else last + 7
    length = _LENGTH.search(head)
    size = end + 4 + (int(length[1]) if length else 0)
    return size if len(data) >= size else None


class Heard:
    """
    What comes on one connection, answer by answer.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = b""
        self.ended = ""
        self.closing = False

    def _more(self) -> bool:
        if self.ended:
            return False
        try:
            block = self._connection.recv(65536)
        except TimeoutError:
            self.ended = "<nothing more comes>"
            return False
        except OSError as error:
            self.ended = f"<{type(error).__name__}>"
            return False
        if not block:
            self.ended = "<end>"
        self._data += block
        return bool(block)

    def _take(self, size: int) -> bytes:
        while len(self._data) < size and self._more():
            pass
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def _until(self, mark: bytes) -> bytes:
        while (at := self._data.find(mark)) < 0 and self._more():
            pass
        return self._take(len(self._data) if at < 0 else at + len(mark))

    def rest(self) -> bytes:
        """
        All to the end.
        """
        while self._more():
            pass
        return self._take(len(self._data))

    def answer(self, headless: bool) -> bytes:
        """
        The next answer, with the ones of 1xx before it. Chunks are put together.

        @param headless: whether it was asked for by C{HEAD}.
        """
        head = self._until(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1."):
            return head + self.rest()
        first, *fields = head[:-4].split(b"\r\n")
        head = b"\r\n".join([first, *sorted(fields, key=_name_of)]) + b"\r\n\r\n"
        if _INTERIM.match(head):
            return head + self.answer(headless)
        self.closing = self.closing or bool(_CLOSE.search(head))
        if headless or head[9:12] in (b"204", b"304"):
            return head
        if _CHUNKED.search(head):
            body = b""
            while size := int(self._until(b"\r\n").partition(b";")[0].strip() or b"0", 16):
                body += self._take(size)
                self._take(2)
            end = self.ended.encode() if self.ended else b"<trailers>" + self._trailers()
            return head + b"<chunked>" + body + end
        length = _LENGTH.search(head)
        if length is None:
            return head + b"<no length>" + self.rest()
        return head + self._take(int(length[1]))

    def _trailers(self) -> bytes:
        told = b""
        while (line := self._until(b"\r\n")) not in (b"\r\n", b""):
            told += line
        return told


def heard(ask: Ask, port: int, values: Mapping[str, object]) -> str:
    """
    What a client is told.
    """
    told: list[bytes] = []
    with socket.create_connection(("127.0.0.1", port), PATIENCE, (ask.source, 0)) as plain:
        connection: socket.socket = plain
        if ask.name is not None:
            shows = Files(str(values[ask.shows]), str(values[f"{ask.shows}_key"])) if ask.shows else None
            try:
                connection = _context(shows).wrap_socket(plain, server_hostname=ask.name or None)
            except OSError as error:
                return f"<no handshake: {getattr(error, 'reason', error)}>"
        with connection:
            told = _talk(connection, ask)
    return b"\n".join(told).decode("latin-1")


def _context(shows: Files | None) -> ssl.SSLContext:
    return context("TLSv1.3", identity=shows)


def _talk(connection: socket.socket, ask: Ask) -> list[bytes]:
    told: list[bytes] = []
    reader = Heard(connection)
    for piece, answers in ask.pieces:
        if reader.closing or reader.ended:
            break
        try:
            if piece:
                connection.sendall(piece)
            elif not answers:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            told.append(b"<cannot send>")
        for _ in range(answers):
            if reader.ended:
                break
            told.append(reader.answer(piece.startswith(b"HEAD ")))
    if reader.closing or not ask.pieces[-1][1]:
        told.append(reader.rest() + reader.ended.encode())
    return told


@dataclass
class Side:
    """
    One of the two, running.

    @ivar ports: of its servers.
    """

    proxy: Proxy
    folder: str
    values: Mapping[str, object]
    ports: list[int]

    def plain(self, text: str) -> str:
        """
        Without what is only its own.
        """
        words = {str(value): f"@{name}@" for name, value in self.values.items() if value}
        found = re.compile(
            "|".join(rf"(?<!\d){re.escape(each)}(?!\d)" for each in sorted(words, key=len, reverse=True))
        )
        text = found.sub(lambda one: words[one[0]], text)
        for pattern, word in _ALL:
            text = pattern.sub(word, text)
        return text

    def logged(self, count: int) -> list[str]:
        """
        The access log, when it has so many lines.
        """
        path = f"{self.folder}/access.log"
        with suppress(AssertionError):
            eventually(lambda: len(read_text(path).splitlines()) >= count, "", PATIENCE)
        return [self.plain(line) for line in read_text(path).splitlines()]

    def errors(self, but: Sequence[tuple[str, str]]) -> list[str]:
        """
        The lines of the error log, sorted.
        """
        lines = [str(line) for line in self.proxy.lines() if line.level in LEVELS]
        found = []
        for line in lines:
            if _OF_PROCESSES.search(line.partition(", client")[0]):
                continue
            line = self.plain(line)
            for pattern, word in (*_ERRORS, *((re.compile(each), word) for each, word in but)):
                line = pattern.sub(word, line)
            found.append(line)
        return sorted(filter(None, found))


class HttpDifferential(ProxyTestCase):
    """
    A test that compares the two.

    @cvar said: what the origin says where the path has C{/say/NAME}.
    """

    maxDiff = None
    said: Mapping[str, bytes] = {}

    def setUp(self) -> None:
        """
        Nothing can be compared without the other.
        """
        super().setUp()
        need("nginx")

    def furnish(self) -> dict[str, object]:
        """
        What is the same for both: files, certificates, two origins.
        """
        root = self.path("root")
        for name, data in FILES.items():
            path = write_text(os.path.join(root, name), data.decode())
            os.utime(path, (MOMENT, MOMENT))
        values: dict[str, object] = {"root": root, "closed": free_port()}
        for name in ("b0", "b1"):
            values[name] = Origin(self, self.said).port
        for name, identity in identities().items():
            values[name], values[f"{name}_key"] = identity.write(self.path("pki"), name)
        values["ca_list"] = pki.write(self.path("pki"), "ca.crl", pki.crl(identities()["ca"], identities()["gone"]))
        return values

    def enter(self, kind: Kind, text: str, values: Mapping[str, object], log: str) -> Side:
        """
        Start one of the two.
        """
        folder = self.path(kind)
        write_text(f"{folder}/made", "")
        count = 1 + max(int(each) for each in re.findall(r"@p(\d+)@", text))
        own: dict[str, object] = {"folder": folder, **{f"p{number}": free_port() for number in range(count)}}
        temporary = ("client_body", "proxy", *(("fastcgi", "uwsgi", "scgi") if kind == NGINX else ()))
        head = "".join(f"{each}_temp_path {folder}/{each}; " for each in temporary)
        head += f"log_format seen {log}; access_log {folder}/access.log seen; proxy_buffering on;"
        whole = fill(f"http {{ {head}\n{text}\n}}\n", **values, **own)
        proxy = self.proxy(whole.replace("@", "@at@"), kind, kind=kind, at="@")
        return Side(proxy, folder, {**values, **own}, [int(str(own[f"p{number}"])) for number in range(count)])

    def compare(
        self,
        text: str,
        asks: Sequence[Ask | str],
        *,
        log: str = f"'{FORMAT}'",
        but: Sequence[tuple[str, str]] = (),
        errors_but: Sequence[tuple[str, str]] = (),
    ) -> list[str]:
        """
        Run the script on both, and want the same answers and lines.

        @param text: the inside of C{http}; C{@p0@} … are ports, C{@b0@} and C{@b1@} origins, C{@closed@} is a port at
            which nobody is, C{@root@} the folder of L{FILES}, C{@folder@} that of the logs; certificates have the
            names of L{identities}.
        @param asks: a string is the line of a request to the first port.
        @param but: what is made the same in answers and in lines of the access log; for differences that are named.
        @param errors_but: the same for lines of the error log; one that becomes empty is none.
        @return: what was heard of sniproxy.
        """
        values = self.furnish()
        script = [get(each) if isinstance(each, str) else each for each in asks]
        with ThreadPoolExecutor(2) as both:
            sides = list(both.map(lambda kind: self.enter(kind, text, values, log), (NGINX, SNIPROXY)))
            told = list(both.map(lambda side: [heard(ask, side.ports[ask.port], values) for ask in script], sides))
            for side in sides:
                side.proxy.quit()
                side.proxy.program.wait()
            patterns = [(re.compile(pattern), word) for pattern, word in but]

            def same(side: Side, lines: Sequence[str]) -> list[str]:
                made = []
                for line in map(side.plain, lines):
                    for pattern, word in patterns:
                        line = pattern.sub(word, line)
                    made.append(line)
                return made

            theirs, ours = (same(side, lines) for side, lines in zip(sides, told, strict=True))
            wrong = [
                f"{ask}\n{differing(their, our)}"
                for ask, their, our in zip(script, theirs, ours, strict=True)
                if their != our
            ]
            logs = [same(side, side.logged(0)) for side in sides]
            wrong += apart("access log", *logs)
            wrong += apart("error log", *(side.errors(errors_but) for side in sides))
        if wrong:
            self.papers.clear()  # all is said
            self.fail(f"{len(wrong)} differences\n" + "\n\n".join(wrong))
        return ours


def differing(theirs: str, ours: str) -> str:
    """
    The lines of two answers that are not the same: those of nginx with a minus, ours with a plus.
    """
    first, other = theirs.partition("\n")[0], ours.partition("\n")[0]
    if first != other:
        return f"-{theirs if '<' not in theirs else first}\n+{other}"
    lines = list(unified_diff(theirs.splitlines(), ours.splitlines(), n=0, lineterm=""))[2:]
    return "\n".join(line[:300] for line in lines if not line.startswith("@@"))


def apart(what: str, theirs: Sequence[str], ours: Sequence[str]) -> list[str]:
    """
    What one of two lists has and the other has not, in words.
    """
    left, right = list(theirs), list(ours)
    for line in theirs:
        if line in right:
            left.remove(line)
            right.remove(line)
    if not left and not right:
        return []
    return ["\n    ".join([f"{what}, nginx alone:", *left]), "\n    ".join([f"{what}, we alone:", *right])]
