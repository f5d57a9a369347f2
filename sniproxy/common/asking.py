"""
How a responder is asked for the status of a certificate (RFC 6960 appendix A).

Strategy: one L{Asking} is one question over one connection: look the host up, connect, send a GET of HTTP/1.0 as nginx
does, read to the end. It has one deadline for all of that and a cap on what it reads. Whatever goes wrong is one error
line and no answer.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sniproxy.addresses import Address, numeric
from sniproxy.common.resolver import ResolveFailure, ResolverSettings
from sniproxy.config.places import place
from sniproxy.errors import ConfigError
from sniproxy.net.connect import ConnectOptions
from sniproxy.net.legs import nothing
from sniproxy.net.timers import NEVER
from sniproxy.tls.ocsp import OcspError

if TYPE_CHECKING:
    from sniproxy.common.runtime import Runtime

PATIENCE: Final = 60.0
"""Seconds for one answer."""

LONGEST: Final = 65536
"""Bytes of one answer."""

_PREFIX: Final = "http://"
_TYPE: Final = b"application/ocsp-response"

Complain = Callable[[str], None]
Done = Callable[[bytes | None], None]


@dataclass(frozen=True, slots=True)
class Responder:
    """
    Where to ask.

    @ivar host: a name, or an address as it is written in a URL.
    @ivar uri: of the request, with a slash at its end.
    @ivar addresses: what is known of the host without a resolver.
    """

    host: str
    port: int
    uri: str
    addresses: tuple[Address, ...] = ()


def responder_of(url: str, lookup: Callable[[str], tuple[str, ...]] | None = None) -> Responder:
    """
    @param lookup: from a name to its addresses; where None only numbers are known.
    @raise ConfigError: nginx's words, to be completed by whoever knows the directive.
    """
    if url[: len(_PREFIX)].lower() != _PREFIX or len(url) == len(_PREFIX):
        raise ConfigError(f'invalid URL prefix in OCSP responder "{url}"')
    authority, slash, path = url[len(_PREFIX) :].partition("/")
    try:
        found = place(authority)
        if found.family == "unix":
            raise ConfigError("invalid host")
        if found.family is not None:
            addresses = found.addresses(lambda host: (), 80)
        else:
            addresses = found.addresses(lookup, 80) if lookup is not None else ()
    except ConfigError as error:
        raise ConfigError(f'{error.message} in OCSP responder "{authority}{slash}{path}"') from None
    host = f"[{found.host}]" if found.family == "inet6" else found.host
    return Responder(host, found.port or 80, f"/{path}" if path.endswith("/") or not path else f"/{path}/", addresses)


def answer_in(data: bytes) -> bytes:
    """
    @param data: all that a responder has sent.
    @return: the body.
    @raise OcspError: it is no answer.
    """
    head, end, body = _split(data)
    lines = head.split(b"\n")
    version, _, status = lines[0].rstrip(b"\r").partition(b" ")
    if not end or not version.startswith(b"HTTP/") or not status[:3].isdigit():
        raise OcspError("OCSP responder sent invalid response")
    for line in lines[1:]:
        name, colon, value = line.rstrip(b"\r").partition(b":")
        if not colon:
            raise OcspError("OCSP responder sent invalid response")
        if name.lower() == b"content-type" and value.strip().lower() != _TYPE:
            text = value.strip().decode("latin-1")
            raise OcspError(f'OCSP responder sent invalid "Content-Type" header: "{text}"')
    if status[:3] != b"200":
        raise OcspError(f"OCSP responder answered {status[:3].decode('ascii')}")
    return body


def _split(data: bytes) -> tuple[bytes, bytes, bytes]:
    """
    Head, the empty line behind it, and body.
    """
    for end in (b"\r\n\r\n", b"\n\n"):
        head, found, body = data.partition(end)
        if found:
            return head, found, body
    return data, b"", b""


class Asking:
    """
    One question. Owns its connection and what it waits for; C{cancel} ends all of it, and nobody is told.

    @ivar due: see L{sniproxy.net.timers.Holder}.
    @ivar bucket: likewise.
    """

    __slots__ = (
        "_complain", "_done", "_leg", "_pending", "_received", "_request", "_responder", "_runtime", "bucket", "due",
    )  # fmt: skip

    def __init__(self, runtime: Runtime, responder: Responder, question: bytes, done: Done, complain: Complain) -> None:
        """
        @param question: of L{ocsp.question}.
        @param done: called once, later or at once, with the answer; None where there is none.
        @param complain: told why.
        """
        self.due = NEVER
        self.bucket = 0
        self._runtime = runtime
        self._responder = responder
        self._done = done
        self._complain = complain
        self._pending: Any = None
        self._leg: Any = None
        self._received = b""
        text = quote(b64encode(question).decode("ascii"), safe="")
        self._request = f"GET {responder.uri}{text} HTTP/1.0\r\nHost: {responder.host}\r\n\r\n".encode(
            "ascii", "replace"
        )

    def begin(self, settings: ResolverSettings | None) -> None:
        """
        @param settings: of the resolver, if there is one.
        """
        self._runtime.deadlines.set(self, PATIENCE)
        responder = self._responder
        resolver = None if numeric(responder.host, 0) else self._runtime.resolver(settings)
        if resolver is not None:
            question = resolver.resolve(responder.host, self._resolved)
            if self._leg is None and self._pending is None and self.due != NEVER:
                self._pending = question
            return
        if not responder.addresses:
            self._fail(f"no resolver defined to resolve {responder.host}")
            return
        self._connect(responder.addresses[0])

    def cancel(self) -> None:
        """
        Nobody wants to know any more.
        """
        self._runtime.deadlines.clear(self)
        self.due = NEVER
        self._done = _nobody
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.handler = nothing
            leg.close()

    def expired(self) -> None:
        """
        The deadline has passed.
        """
        self._fail("OCSP responder timed out (110: Connection timed out)")

    def crashed(self) -> None:
        """
        There was a fault of ours in the handler.
        """
        self._leg = None
        self._finish(None)

    def _fail(self, message: str) -> None:
        self._complain(f"{message} while requesting certificate status, responder: {self._responder.host}")
        self._finish(None)

    def _finish(self, answer: bytes | None) -> None:
        done = self._done
        self.cancel()
        done(answer)

    def _resolved(self, answer: Any) -> None:
        self._pending = None
        if isinstance(answer, ResolveFailure):
            self._fail(f"{self._responder.host} could not be resolved ({answer.code}: {answer.text})")
            return
        address = numeric(answer[0], self._responder.port)
        assert address is not None
        self._connect(address)

    def _connect(self, address: Address) -> None:
        self._pending = self._runtime.network.connect(address, ConnectOptions(), self._connected)

    def _connected(self, outcome: Any, bits: int) -> None:
        self._pending = None
        if isinstance(outcome, OSError):
            self._fail(f"connect() failed ({outcome.errno}: {outcome.strerror})")
            return
        self._leg = outcome
        outcome.owner = self
        outcome.handler = self._event
        self._event(0)

    def _event(self, bits: int) -> None:
        leg = self._leg
        try:
            while self._request:
                sent = leg.send(self._request)
                if not sent:
                    break
                self._request = self._request[sent:]
            while True:
                data = leg.receive(16384)
                if data is None:
                    return
                if not data:
                    break
                self._received += data
                if len(self._received) > LONGEST:
                    self._fail("OCSP responder sent too long a response")
                    return
        except OSError as error:
            self._fail(f"recv() failed ({error.errno}: {error.strerror})")
            return
        try:
            body = answer_in(self._received)
        except OcspError as error:
            self._fail("OCSP responder prematurely closed connection" if not self._received else str(error))
            return
        self._finish(body)


def _nobody(answer: bytes | None) -> None:
    pass
