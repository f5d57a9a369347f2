"""
What is made of the answers of OCSP responders: C{ssl_ocsp}, which lets nobody in before there is one, and
C{ssl_stapling}, which goes without one until there is one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from sniproxy.common.asking import Asking, Responder, responder_of
from sniproxy.common.resolver import ResolverSettings
from sniproxy.errors import ConfigError
from sniproxy.levels import ERROR
from sniproxy.tls import ocsp
from sniproxy.tls.ocsp import OcspError, Status

if TYPE_CHECKING:
    from sniproxy.common.runtime import Runtime
    from sniproxy.common.session import Session

MOST: Final = 4096
"""Answers that are remembered."""

REFRESH: Final = 300.0
"""Seconds between two questions about our own certificate, at least."""

OFTEN: Final = 3600.0
"""And at most, while clients ask for it."""

FAILED: Final = "certificate status request failed"
"""What is wrong with a client whose status nobody would tell."""

_WORDS: Final = {"revoked": "certificate revoked", "unknown": "certificate status unknown"}


class Memory:
    """
    What responders have said: L{MOST} answers at most, each until its responder knows more.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[bytes, int], Status] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    @staticmethod
    def _key(certificate: x509.Certificate, issuer: x509.Certificate) -> tuple[bytes, int]:
        return issuer.fingerprint(SHA256()), certificate.serial_number

    def get(self, certificate: x509.Certificate, issuer: x509.Certificate, now: float) -> Status | None:
        """
        @return: what is known, and still counts.
        """
        known = self._known.get(self._key(certificate, issuer))
        return known if known is not None and known.until > now else None

    def put(self, certificate: x509.Certificate, issuer: x509.Certificate, status: Status) -> None:
        """
        Remember it, unless it is only good for this moment.
        """
        if status.until == ocsp.FOREVER:
            return
        key = self._key(certificate, issuer)
        self._known[key] = status
        self._known.move_to_end(key)
        if len(self._known) > MOST:
            self._known.popitem(last=False)


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """
    What C{ssl_ocsp} says in one server.

    @ivar leaf: only the client's own certificate is asked about.
    @ivar responder: who is asked; None for whom each certificate names.
    @ivar resolver: by whom names are looked up.
    @ivar memory: C{ssl_ocsp_cache}, or None.
    """

    leaf: bool
    responder: Responder | None
    resolver: ResolverSettings | None
    memory: Memory | None

    def check(self, session: Session, chain: list[x509.Certificate], done: Callable[[str], None]) -> None:
        """
        Ask about a chain, from the client's certificate on.

        @param chain: with its root.
        @param done: called once, perhaps at once, with what is wrong; empty where all is good.
        """
        pairs = list(pairwise(chain))
        _Checking(self, session, pairs[:1] if self.leaf else pairs, done).go_on()


class _Checking:
    """
    One client's chain, link by link. The session cancels the question when it ends.
    """

    def __init__(
        self,
        policy: ClientStatus,
        session: Session,
        pairs: list[tuple[x509.Certificate, x509.Certificate]],
        done: Callable[[str], None],
    ) -> None:
        self._policy = policy
        self._session = session
        self._pairs = pairs
        self._done = done

    def go_on(self) -> None:
        """
        Ask about the next one that is not known.
        """
        session, policy = self._session, self._policy
        while self._pairs:
            certificate, issuer = self._pairs[0]
            known = None if policy.memory is None else policy.memory.get(certificate, issuer, session.clock.time())
            if known is None:
                self._ask(certificate, issuer)
                return
            if known.word != "good":
                self._done(_WORDS[known.word])
                return
            del self._pairs[0]
        self._done("")

    def _ask(self, certificate: x509.Certificate, issuer: x509.Certificate) -> None:
        session, policy = self._session, self._policy
        responder = policy.responder
        if responder is None:
            url = ocsp.responder(certificate)
            try:
                if not url:
                    raise ConfigError("no OCSP responder URL in the certificate")
                responder = responder_of(url)
            except ConfigError as error:
                session.error(error.message)
                self._done(FAILED)
                return
        asking = Asking(session.runtime, responder, ocsp.question(certificate, issuer), self._answered, session.error)
        session.pending = asking
        asking.begin(policy.resolver)

    def _answered(self, answer: bytes | None) -> None:
        self._session.pending = None
        self._session.run(self._judge, answer)

    def _judge(self, answer: bytes | None) -> None:
        session = self._session
        certificate, issuer = self._pairs[0]
        if answer is None:
            self._done(FAILED)
            return
        try:
            status = ocsp.status(answer, certificate, issuer, session.clock.time())
        except OcspError as error:
            session.error(f"{error} while requesting certificate status")
            self._done(FAILED)
            return
        if self._policy.memory is not None:
            self._policy.memory.put(certificate, issuer, status)
        if status.word != "good":
            self._done(_WORDS[status.word])
            return
        del self._pairs[0]
        self.go_on()


class Stapler:
    """
    What C{ssl_stapling} shows to clients that ask: the newest good answer about our own certificate, asked for in the
    background when a client wants it, as nginx does. Owns the question under way.
    """

    def __init__(
        self,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        responder: Responder,
        resolver: ResolverSettings | None,
        verify: bool,
    ) -> None:
        self._certificate = certificate
        self._issuer = issuer
        self._responder = responder
        self._resolver = resolver
        self._verify = verify
        self._runtime: Runtime | None = None
        self._asking: Asking | None = None
        self._staple = b""
        self._until = 0.0
        self._refresh = 0.0

    def attend(self, runtime: Runtime) -> Callable[[], None]:
        """
        A configuration begins to work; what is given back ends it.
        """
        self._runtime = runtime
        return self._stop

    def _stop(self) -> None:
        self._runtime = None
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()

    def __call__(self) -> bytes:
        """
        @return: what a client is shown now; empty for nothing.
        """
        runtime = self._runtime
        if runtime is None:
            return b""
        now = runtime.time()
        staple = self._staple if self._until >= now else b""
        if self._asking is None and self._refresh < now:
            self._asking = Asking(
                runtime,
                self._responder,
                ocsp.question(self._certificate, self._issuer),
                self._answered,
                lambda message: runtime.error_log.write(ERROR, message),
            )
            runtime.engine.reactor.callLater(0, self._begin)  # not from within OpenSSL
        return staple

    def _begin(self) -> None:
        if self._asking is not None:
            self._asking.begin(self._resolver)

    def _answered(self, answer: bytes | None) -> None:
        self._asking = None
        runtime = self._runtime
        assert runtime is not None
        now = runtime.time()
        self._refresh = now + REFRESH
        if answer is None:
            return
        try:
            status = ocsp.status(answer, self._certificate, self._issuer, now, self._verify)
            if status.word != "good":
                raise OcspError(f'certificate status "{status.word}" in the OCSP response')
        except OcspError as error:
            where = f"while requesting certificate status, responder: {self._responder.host}"
            runtime.error_log.write(ERROR, f"{error} {where}")
            return
        self._staple, self._until = answer, status.until
        self._refresh = max(min(status.until - REFRESH, now + OFTEN), now + REFRESH)


class Staples:
    """
    What one server shows of all its certificates: the content of C{ssl_stapling_file}, or what each responder says.
    """

    def __init__(self, content: bytes = b"") -> None:
        """
        @param content: of the file; empty where there is none.
        """
        self._content = content
        self._staplers: dict[bytes, Stapler] = {}

    def add(self, stapler: Stapler, certificate: x509.Certificate) -> None:
        """
        Say who knows about one of them.
        """
        self._staplers[certificate.fingerprint(SHA256())] = stapler

    def __call__(self, certificate: x509.Certificate) -> bytes:
        """
        @param certificate: that a client is shown.
        @return: what goes with it; empty for nothing.
        """
        if self._content:
            return self._content
        stapler = self._staplers.get(certificate.fingerprint(SHA256()))
        return b"" if stapler is None else stapler()
