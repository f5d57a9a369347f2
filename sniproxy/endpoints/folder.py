"""
A folder of certificates: who is served with which? Each C{.pem} file in it holds a certificate with its chain, and
the key in the same file or beside it as C{.key}; its names are those in the certificate.

Strategy: the folder is read when the table of names is made and when it is made again, never because of a client.
Where several certificates carry a name, one that is good today wins over one that is not, then the one that was
issued last; of each type of key there may be one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from cryptography import x509
from twisted.python.runtime import seconds

from sniproxy.endpoints.names import Read
from sniproxy.errors import ConfigError
from sniproxy.tls import pem
from sniproxy.tls.policies import ServerPolicy

_CERTIFICATE: Final = ".pem"
_KEY: Final = ".key"


@dataclass(frozen=True, slots=True)
class _Found:
    """
    @ivar pair: paths of certificate and key.
    @ivar kind: of the key; servers have one certificate for each.
    @ivar rank: the larger, the better.
    """

    pair: tuple[str, str]
    kind: str
    rank: tuple[bool, float, str]


class CertificateFolder:
    """
    What makes the policies of a L{sniproxy.endpoints.names.ServerNames} from a folder. Owns nothing.
    """

    def __init__(
        self,
        path: str,
        policy: ServerPolicy,
        *,
        clock: Callable[[], float] = seconds,
        listing: Callable[[str], list[str]] = os.listdir,
    ) -> None:
        """
        @param policy: of every name; its certificates are replaced.
        @param clock: wall clock, seconds since the epoch.
        @param listing: names of the files in a folder.
        """
        self._path: Final = os.path.abspath(path)
        self._policy = policy
        self._clock = clock
        self._listing = listing

    def __call__(self, read: Read) -> dict[tuple[str, ...], ServerPolicy]:
        """
        @param read: reads a file whole.
        @return: policies by names.
        @raise ConfigError: a file cannot be read, or there is none that can be used.
        """
        best: dict[str, dict[str, _Found]] = {}
        for name, found in self._found(read):
            kinds = best.setdefault(name, {})
            known = kinds.get(found.kind)
            if known is None or known.rank < found.rank:
                kinds[found.kind] = found
        if not best:
            raise ConfigError(f'no certificate with a key and a name in "{self._path}"')
        served: dict[tuple[tuple[str, str], ...], list[str]] = {}
        for name, kinds in best.items():
            pairs = tuple(kinds[kind].pair for kind in sorted(kinds))
            served.setdefault(pairs, []).append(name)
        return {tuple(names): replace(self._policy, certificates=pairs) for pairs, names in served.items()}

    def _found(self, read: Read) -> Iterator[tuple[str, _Found]]:
        now = self._clock()
        try:
            files = sorted(self._listing(self._path))
        except OSError as error:
            raise ConfigError(f'open() "{self._path}" failed ({error.errno}: {error.strerror})') from None
        for file in files:
            stem, end = os.path.splitext(file)
            if end != _CERTIFICATE:
                continue
            path = os.path.join(self._path, file)
            beside = os.path.join(self._path, stem + _KEY)
            try:
                data = read(path)
                certificates = pem.certificates(data)
                keyed = any(True for _ in pem.blocks(data, lambda label: label.endswith("PRIVATE KEY")))
            except OSError as error:
                raise ConfigError(f'open() "{path}" failed ({error.errno}: {error.strerror})') from None
            except pem.PemError as error:
                raise ConfigError(f'cannot load certificate "{path}": (SSL: {error})') from None
            key = path if keyed else beside if stem + _KEY in files else None
            if certificates and key is not None:
                found = _judged(certificates[0], (path, key), now)
                for name in _names(certificates[0]):
                    yield name, found


def _judged(certificate: x509.Certificate, pair: tuple[str, str], now: float) -> _Found:
    begin = certificate.not_valid_before_utc.timestamp()
    good = begin <= now < certificate.not_valid_after_utc.timestamp()
    return _Found(pair, certificate.public_key_algorithm_oid.dotted_string, (good, begin, pair[0]))


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(dict.fromkeys(name.lower() for name in alternatives.get_values_for_type(x509.DNSName)))
