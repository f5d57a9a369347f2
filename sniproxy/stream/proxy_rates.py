"""
How many bytes a second may a session move? C{proxy_upload_rate} and C{proxy_download_rate}.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sniproxy.common.session import Session
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template
from sniproxy.config.values import size_of
from sniproxy.errors import ConfigError

_PLACES: Final = ("stream", "stream.server")


@dataclass(frozen=True, slots=True)
class Rate:
    """
    One of the two.

    @ivar template: bytes a second, perhaps with variables; nothing or 0 for any number.
    @ivar constant: the number, where there are no variables.
    """

    template: Template
    constant: int | None

    def of(self, session: Session) -> int:
        """
        For one session. What is no size is an error in the log, and means any number.
        """
        if self.constant is not None:
            return self.constant
        text = self.template.render(session)
        rate = size_of(text) if text else 0
        if rate is None:
            session.error(f'invalid size "{text}"')
            return 0
        return rate


@dataclass(frozen=True, slots=True)
class Rates:
    """
    What one server says.
    """

    upload: Rate | None
    download: Rate | None

    def of(self, session: Session) -> tuple[int, int]:
        """
        @return: bytes a second from the client, and to it; 0 for any number.
        """
        upload = 0 if self.upload is None else self.upload.of(session)
        return upload, 0 if self.download is None else self.download.of(session)


def rates_of(scope: Scope) -> Rates | None:
    """
    The rates of one server; None where there are none, whatever its variables say.
    """
    upload, download = (rate if rate and rate.constant != 0 else None for rate in (scope[UPLOAD], scope[DOWNLOAD]))
    return Rates(upload, download) if upload or download else None


def _rate(node: Node, build: Build, scope: Scope) -> Rate:
    template = build.template(node.args[0], node)
    constant = None
    if template.constant is not None:
        constant = size_of(template.constant)
        if constant is None:
            raise ConfigError(f'"{node.name}" directive invalid value')
    return Rate(template, constant)


UPLOAD: Final[Directive[Rate | None]] = Directive("proxy_upload_rate", _PLACES, (1, 1), _rate, None)
DOWNLOAD: Final[Directive[Rate | None]] = Directive("proxy_download_rate", _PLACES, (1, 1), _rate, None)

DIRECTIVES: Final[tuple[Directive[Any], ...]] = (UPLOAD, DOWNLOAD)
