"""
What do C{ssl_conf_command} and C{proxy_ssl_conf_command} mean? The commands of OpenSSL's SSL_CONF_cmd(3), said by hand:
pyOpenSSL does not bind it.

Strategy: a command is a change of the policy, made before a context is built from it, so that everything the policy is
good for (the digest, the checks) knows of it. What OpenSSL itself has to say of a value is found out on a context that
is thrown away. Words are nginx's and OpenSSL's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, TypeVar

from OpenSSL import SSL

from sniproxy.errors import ConfigError
from sniproxy.tls import native, pem
from sniproxy.tls.credentials import private_key
from sniproxy.tls.files import wire
from sniproxy.tls.policies import PROTOCOLS, ClientPolicy, ServerPolicy

P = TypeVar("P", bound="ServerPolicy | ClientPolicy")

_UNBOUND: Final = "pyOpenSSL has nothing for it"
_OWN: Final = "who is let in is decided by ssl_verify_client and proxy_ssl_verify alone"

COMMANDS: Final = {
    name.lower(): name
    for name in (
        "Certificate CipherString Ciphersuites Curves DHParameters ECDHParameters Groups MaxProtocol MinProtocol"
        " Options PrivateKey Protocol SignatureAlgorithms"
    ).split()
}
"""By their names in lower case: how they are written."""

FILES: Final = frozenset(("certificate", "dhparameters", "privatekey"))
"""Those whose values are files."""

REFUSED: Final = {
    "chaincafile": _UNBOUND,
    "chaincapath": _UNBOUND,
    "clientcafile": _OWN,
    "clientcapath": _OWN,
    "clientsignaturealgorithms": _UNBOUND,
    "numtickets": _UNBOUND,
    "recordpadding": _UNBOUND,
    "requestcafile": _OWN,
    "requestcapath": _OWN,
    "serverinfofile": _UNBOUND,
    "verifycafile": _OWN,
    "verifycapath": _OWN,
    "verifymode": _OWN,
}
"""The rest, and why."""

_RENEGOTIATION: Final = "nobody may renegotiate"
_FIXED: Final = "pyOpenSSL cannot take an option away"

_SET: Final = {
    "allownodhekex": 1 << 10,
    "bugs": SSL.OP_ALL,
    "dhsingle": 0,
    "ecdhsingle": 0,
    "ignoreunexpectedeof": 1 << 7,
    "middleboxcompat": 1 << 20,
    "noresumptiononrenegotiation": 1 << 16,
    "norenegotiation": 1 << 30,
    "prefernodhekex": 1 << 35,
    "prioritizechacha": 1 << 21,
    "serverpreference": 1 << 22,
    "unsafelegacyserverconnect": 1 << 2,
}
"""Options by their names: the bits of ssl.h."""

_INVERTED: Final = {
    "antireplay": 1 << 24,
    "canames": 1 << 9,
    "compression": 1 << 17,
    "emptyfragments": 1 << 11,
    "encryptthenmac": 1 << 19,
    "extendedmastersecret": 1 << 0,
    "rxcertificatecompression": 1 << 33,
    "sessionticket": 1 << 14,
    "txcertificatecompression": 1 << 32,
}
"""The same of those that forbid what the name says."""

_WITHOUT_EFFECT: Final = frozenset(("ktls", "ktlstxzerocopysendfile"))

_NEVER: Final = {
    "+clientrenegotiation": _RENEGOTIATION,
    "+unsafelegacyrenegotiation": _RENEGOTIATION,
    "-norenegotiation": _RENEGOTIATION,
    "-middleboxcompat": _FIXED,
    "+strictcertcheck": _UNBOUND,
}
"""What an option must not be set to, and why."""

_HARMLESS: Final = frozenset(("-clientrenegotiation", "-unsafelegacyrenegotiation", "-strictcertcheck"))
"""What is as it is anyway."""

_WORDS: Final = {word.lower(): word for word in PROTOCOLS}
_BOUNDS: Final = (*PROTOCOLS[1:], "None", "DTLSv1", "DTLSv1.2")
_BAD_VALUE: Final = "error:0A000180:SSL routines::bad value:cmd={}, value={}"


def check_name(name: str, value: str, directive: str) -> None:
    """
    @param value: for the message.
    @raise ConfigError: OpenSSL has no such command, or it is not carried.
    """
    known = name.lower()
    if known in REFUSED:
        raise ConfigError(f'the "{name}" command of "{directive}" is not supported by sniproxy: {REFUSED[known]}')
    if known not in COMMANDS:
        text = f"error:0A000182:SSL routines::unknown cmd name:cmd={name}"
        raise ConfigError(f'SSL_CONF_cmd("{name}", "{value}") failed (SSL: {text})')


class _Performing:
    """
    The commands of one policy.
    """

    def __init__(self, directive: str, protocols: tuple[str, ...], read: pem.Read) -> None:
        self._directive = directive
        self._read = read
        self._name = self._value = ""
        self._least = self._most = "None"
        self._protocols = set(protocols)
        self.certificates: list[str] = []
        self.keys: list[str] = []
        self.options = 0
        self.without = 0
        self.changes: dict[str, Any] = {}
        self.warnings: list[str] = []

    def perform(self, name: str, value: str) -> None:
        """
        @raise ConfigError: the value is none.
        """
        self._name, self._value = name, value
        steps: dict[str, Callable[[], None]] = {
            "certificate": self._certificate,
            "cipherstring": self._ciphers,
            "ciphersuites": self._suites,
            "curves": self._groups,
            "dhparameters": self._parameters,
            "ecdhparameters": self._groups,
            "groups": self._groups,
            "maxprotocol": self._bound,
            "minprotocol": self._bound,
            "options": self._list_of_options,
            "privatekey": self._key,
            "protocol": self._list_of_protocols,
            "signaturealgorithms": self._signatures,
        }
        steps[name.lower()]()

    @property
    def protocols(self) -> tuple[str, ...]:
        """
        What is left of them, in order.
        """
        low = 0 if self._least.startswith(("N", "D")) else PROTOCOLS.index(self._least)
        high = len(PROTOCOLS) if self._most.startswith(("N", "D")) else PROTOCOLS.index(self._most)
        return tuple(word for at, word in enumerate(PROTOCOLS) if word in self._protocols and low <= at <= high)

    def _bad(self, *before: str) -> ConfigError:
        text = " ".join((*before, _BAD_VALUE.format(self._name, self._value)))
        return ConfigError(f'SSL_CONF_cmd("{self._name}", "{self._value}") failed (SSL: {text})')

    def _flags(self) -> Iterable[tuple[bool, str]]:
        """
        A list as CONF_parse_list(3) reads it: whether each is switched on, and its name in lower case.
        """
        for word in self._value.split(","):
            flag = word.strip(" \t\r\n")
            if not flag:
                raise self._bad()
            yield not flag.startswith("-"), flag.removeprefix("-" if flag.startswith("-") else "+").lower()

    def _list_of_options(self) -> None:
        for on, name in self._flags():
            sign = "+" if on else "-"
            if sign + name in _NEVER:
                raise ConfigError(
                    f'the option "{sign if not on else ""}{name}" of "{self._directive}" is not supported by sniproxy:'
                    f" {_NEVER[sign + name]}"
                )
            if name in _WITHOUT_EFFECT:
                if on:
                    self.warnings.append(f'the option "{name}" of "{self._directive}" has no effect')
            elif sign + name in _HARMLESS:
                continue
            elif name in _SET:
                self._switch(on, _SET[name])
            elif name in _INVERTED:
                self._switch(not on, _INVERTED[name])
            else:
                raise self._bad()

    def _switch(self, on: bool, bits: int) -> None:
        if on:
            self.options |= bits
            self.without &= ~bits
        else:
            self.options &= ~bits
            self.without |= bits

    def _list_of_protocols(self) -> None:
        for on, name in self._flags():
            if name != "all" and name not in _WORDS and name not in ("dtlsv1", "dtlsv1.2"):
                raise self._bad()
            words = set(PROTOCOLS) if name == "all" else {_WORDS[name]} if name in _WORDS else set()
            self._protocols = self._protocols | words if on else self._protocols - words

    def _bound(self) -> None:
        if self._value not in _BOUNDS:
            raise self._bad()
        if self._name.lower() == "minprotocol":
            self._least = self._value
        else:
            self._most = self._value

    def _ciphers(self) -> None:
        try:
            SSL.Context(SSL.TLS_METHOD).set_cipher_list(wire(self._value))
        except SSL.Error:
            raise self._bad("error:0A0000B9:SSL routines::no cipher match") from None
        self.changes["ciphers"] = self._value

    def _suites(self) -> None:
        try:
            SSL.Context(SSL.TLS_METHOD).set_tls13_ciphersuites(wire(self._value))
        except SSL.Error:
            raise self._bad("error:0A0000B9:SSL routines::no cipher match") from None
        if self._value:
            self.changes["tls13_ciphers"] = self._value
        else:
            self._protocols.discard("TLSv1.3")

    def _groups(self) -> None:
        if self._name.lower() == "ecdhparameters" and self._value.lower() in ("automatic", "+automatic"):
            return
        if not self._value:
            raise self._bad()
        if not native.set_groups(SSL.Context(SSL.TLS_METHOD), self._value):
            raise self._bad(f"error:0A080106:SSL routines::passed invalid argument:group '{self._value}' cannot be set")
        self.changes["curves"] = self._value

    def _signatures(self) -> None:
        if not native.set_signature_algorithms(SSL.Context(SSL.TLS_METHOD), self._value):
            raise self._bad()
        self.changes["signature_algorithms"] = self._value

    def _content(self, *behind: str) -> bytes:
        try:
            return self._read(self._value)
        except OSError as error:
            raise self._bad(pem.read_failure(self._value, error, pem.SYSTEM), *behind) from None

    def _parameters(self) -> None:
        if not native.set_dh_parameters(SSL.Context(SSL.TLS_METHOD), self._content()):
            raise self._bad(pem.UNSUPPORTED)
        self.changes["dhparam"] = self._value

    def _certificate(self) -> None:
        try:
            if not pem.certificates(self._content("error:0A080002:SSL routines::system lib")):
                raise pem.PemError(f"{pem.NO_START}:Expecting: TRUSTED CERTIFICATE")
        except pem.PemError as error:
            raise self._bad(str(error), "error:0A080009:SSL routines::PEM lib") from None
        self.certificates.append(self._value)

    def _key(self) -> None:
        try:
            private_key(self._content("error:0A080002:SSL routines::system lib"), ())
        except pem.PemError as error:
            raise self._bad(str(error), "error:0A080009:SSL routines::PEM lib") from None
        self.keys.append(self._value)


def perform(
    policy: P, commands: Iterable[tuple[str, str]], directive: str, read: pem.Read
) -> tuple[P, tuple[str, ...]]:
    """
    @param commands: names that L{check_name} has let through, and values, in file order.
    @param directive: whose they are, for messages.
    @return: the policy that is meant, and warnings.
    @raise ConfigError: in nginx's words, without a place.
    """
    doing = _Performing(directive, policy.protocols, read)
    for name, value in commands:
        doing.perform(name, value)
    if len(doing.certificates) != len(doing.keys):
        raise ConfigError(f'"{directive}" needs a "PrivateKey" for each "Certificate"')
    if doing.certificates:
        doing.changes["certificates"] = (*policy.certificates, *zip(doing.certificates, doing.keys, strict=True))
    changes = doing.changes
    if isinstance(policy, ServerPolicy):
        changes["session_tickets"] = _decided(doing, 1 << 14, True, policy.session_tickets)
        changes["prefer_server_ciphers"] = _decided(doing, 1 << 22, False, policy.prefer_server_ciphers)
    else:
        changes.pop("dhparam", None)  # it is the server's
    changes.update(protocols=doing.protocols, options=doing.options, without=doing.without)
    return replace(policy, **changes), tuple(doing.warnings)


def _decided(doing: _Performing, bit: int, inverted: bool, before: bool) -> bool:
    """
    What has become of an option that has a directive of its own.

    @param inverted: whether the bit means no.
    @param before: what the directive says.
    """
    if doing.options & bit:
        return not inverted
    return inverted if doing.without & bit else before
