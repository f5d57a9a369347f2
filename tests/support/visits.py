"""
What does one client do, step by step, and what does it hear? Over TCP, with or without TLS, or with datagrams; data in,
text out, so that what two proxies have said can be compared.

Strategy: a visit is a tuple of acts. Whatever ends it early (a reset, an alert, silence) is a word in what was heard,
not an error of the test. Contexts and sessions of TLS are kept in a L{Purse} that lives as long as one proxy does.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from errno import ECONNRESET, ENOTCONN, EPIPE
from typing import Final

from tests.support.backends import LINGER_ZERO
from tests.support.clients import VERSIONS, common_name, read_exactly
from tests.support.programs import PATIENCE

SILENCE: Final = 0.15
"""Seconds in which nothing may come for it to be silence."""

Act = tuple[str, bytes]
"""
What a client does: C{send} bytes, C{hear} (read as many bytes as these, or one datagram, and keep them), C{until} (read
until these bytes come), C{half} (end our direction), C{end} (read to the end and keep it), C{drop} (end with a reset:
the last act), C{wait} (so many seconds, written as bytes), C{quiet} (nothing comes), C{bye} (end TLS in order, whether
or not that is answered: the last act).
"""


def send(data: bytes) -> Act:
    """
    Send bytes; one datagram.
    """
    return "send", data


def hear(data: bytes = b"") -> Act:
    """
    Read as many bytes as C{data} has; one datagram, whatever its size.
    """
    return "hear", data


def until(data: bytes) -> Act:
    """
    Read until these bytes come.
    """
    return "until", data


def wait(seconds: float) -> Act:
    """
    Do nothing for so long.
    """
    return "wait", str(seconds).encode()


HALF: Final[Act] = ("half", b"")
END: Final[Act] = ("end", b"")
DROP: Final[Act] = ("drop", b"")
QUIET: Final[Act] = ("quiet", b"")
BYE: Final[Act] = ("bye", b"")


@dataclass(frozen=True)
class Tls:
    """
    How a client speaks TLS.

    @ivar name: the server it asks for.
    @ivar version: the one version it speaks.
    @ivar ciphers: of TLS 1.2, by OpenSSL's names.
    @ivar shows: the certificate it has, by the name of its files.
    @ivar session: what it calls the session that it takes with it, if there is one, and leaves.
    """

    name: str | None = "a.example.com"
    version: str | None = None
    alpn: tuple[str, ...] = ()
    ciphers: str = ""
    shows: str = ""
    session: str = ""


@dataclass(frozen=True)
class Visit:
    """
    One client: from where to which of the ports, and what it does.

    @ivar source: its address.
    @ivar to: the address it goes to; C{unix:} for the socket that C{@socket@} names.
    @ivar times: how often the same is done again, one after another.
    @ivar tls: how it begins, before all acts; None for plain bytes.
    @ivar udp: whether it speaks in datagrams, to one of the ports for those.
    """

    acts: tuple[Act, ...] = (END,)
    port: int = 0
    source: str = "127.0.0.1"
    times: int = 1
    tls: Tls | None = None
    udp: bool = False
    to: str = "127.0.0.1"

    def __str__(self) -> str:
        """
        What is not as ever, for failures.
        """
        acts = " ".join(f"{act}{data[:60]!r}" if data else act for act, data in self.acts)
        tls = "" if self.tls is None else "/".join(str(each) for each in vars(self.tls).values() if each)
        return f"{'u' if self.udp else 'p'}{self.port} from {self.source} {tls} {acts}"


@dataclass
class Purse:
    """
    What clients keep from one visit to the next.

    @ivar files: the paths of certificates and keys: C{x} and C{x_key}.
    """

    files: Mapping[str, object]
    sessions: dict[str, ssl.SSLSession | None] = field(default_factory=dict)
    contexts: dict[tuple[object, ...], ssl.SSLContext] = field(default_factory=dict)

    def context(self, tls: Tls) -> ssl.SSLContext:
        """
        One for all who speak in the same way, since sessions are bound to it.
        """
        key = (tls.version, tls.alpn, tls.ciphers, tls.shows)
        if key not in self.contexts:
            made = self.contexts[key] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
            if tls.ciphers:
                made.set_ciphers(tls.ciphers)
            if tls.version:
                made.minimum_version = made.maximum_version = VERSIONS[tls.version]
            if tls.alpn:
                made.set_alpn_protocols(list(tls.alpn))
            if tls.shows:
                made.load_cert_chain(str(self.files[tls.shows]), str(self.files[f"{tls.shows}_key"]))
        return self.contexts[key]


def visited(visit: Visit, port: int, purse: Purse) -> str:
    """
    Do what a client does.

    @return: what it heard, with C{|} between its readings, and a word where the connection broke.
    """
    heard: list[str] = []
    if visit.udp:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((visit.source, 0))
            client.connect((visit.to, port))
            own = client.getsockname()[1]
            client.settimeout(PATIENCE)
            for act, data in visit.acts:
                _datagram(client, act, data, heard)
    else:
        try:
            raw = _connected(visit, port, purse)
        except (ConnectionRefusedError, FileNotFoundError):
            return "nobody"
        own = 0 if raw.family == socket.AF_UNIX else raw.getsockname()[1]
        with closing(raw):
            _stream(raw, visit, purse, heard)
    return re.sub(rf"\b{own}\b", "@client@", "|".join(heard)) if own else "|".join(heard)


def _connected(visit: Visit, port: int, purse: Purse) -> socket.socket:
    """
    @raise OSError: nobody is there.
    """
    if visit.to == "unix:":
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(PATIENCE)
            sock.connect(str(purse.files["socket"]))
        except OSError:
            sock.close()
            raise
        return sock
    source = "::1" if ":" in visit.to else visit.source
    return socket.create_connection((visit.to, port), PATIENCE, source_address=(source, 0))


def _stream(raw: socket.socket, visit: Visit, purse: Purse, heard: list[str]) -> None:
    """
    All acts of a client of connections.
    """
    client = raw
    try:
        if visit.tls is not None:
            kept = purse.sessions.get(visit.tls.session)
            context = purse.context(visit.tls)
            client = secure = context.wrap_socket(raw.dup(), server_hostname=visit.tls.name, session=kept)
            cipher = (secure.cipher() or ("",))[0]
            words = (secure.version(), cipher, secure.selected_alpn_protocol(), secure.session_reused)
            heard.append(f"{words} {common_name(secure)}")
        for act, data in visit.acts:
            if visit.tls is not None and visit.tls.session:
                assert isinstance(client, ssl.SSLSocket)
                purse.sessions[visit.tls.session] = client.session  # there is none after the last act
            _act(client, act, data, heard)
    except TimeoutError:
        heard.append("nothing")
    except ssl.SSLError as error:
        heard.append(f"SSL: {error.reason or type(error).__name__}")
    except OSError as error:
        if error.errno not in (ECONNRESET, EPIPE, ENOTCONN):  # the last is how shutdown() learns of it
            raise
        if heard[-1:] == [""]:
            heard.pop()  # which act it came to is a matter of the moment
        heard.append("reset")
    finally:
        if client is not raw:
            client.close()


def _act(client: socket.socket, act: str, data: bytes, heard: list[str]) -> None:
    """
    Do one thing.

    @raise OSError: the connection broke.
    """
    if act == "send":
        client.sendall(data)
    elif act == "hear":
        heard.append(read_exactly(client, len(data)).decode("latin-1"))
    elif act == "until":
        heard.append("")
        while not heard[-1].endswith(data.decode("latin-1")) and (block := client.recv(65536)):
            heard[-1] += block.decode("latin-1")
    elif act == "half":
        client.shutdown(socket.SHUT_WR)
    elif act == "bye":
        assert isinstance(client, ssl.SSLSocket)
        with suppress(OSError):
            client.unwrap()
    elif act == "drop":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    elif act == "end":
        heard.append("")
        while block := client.recv(65536):
            heard[-1] += block.decode("latin-1")
    else:
        _pass_time(client, act, data, heard)


def _datagram(client: socket.socket, act: str, data: bytes, heard: list[str]) -> None:
    """
    Do one thing.
    """
    if act == "send":
        try:
            client.send(data)
        except ConnectionRefusedError:
            heard.append("nobody")
    elif act == "hear":
        try:
            heard.append(client.recv(70000).decode("latin-1"))
        except TimeoutError:
            heard.append("nothing")
    else:
        _pass_time(client, act, data, heard)


def _pass_time(client: socket.socket, act: str, data: bytes, heard: list[str]) -> None:
    """
    Wait, or see that nothing comes.
    """
    if act == "wait":
        threading.Event().wait(float(data))
    elif act == "quiet":
        client.settimeout(SILENCE)
        try:
            heard.append("not quiet: " + client.recv(70000).decode("latin-1"))
        except TimeoutError:
            heard.append("quiet")
        client.settimeout(PATIENCE)
    else:
        raise ValueError(f"no such act: {act}")
