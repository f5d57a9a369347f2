"""
A small nginx for the tests of the grammar: modules that declare directives and do nothing with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from sniproxy.config import values
from sniproxy.config.build import Build, configure
from sniproxy.config.directives import MANY, Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.internals import INTERNALS
from sniproxy.config.template import Template, Variable
from sniproxy.errors import ConfigError, ConfigErrors

FILE: Final = "/etc/edge.conf"

DOCUMENTS: Final = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "documents").iterdir())}
"""The configuration blocks that articles for operators print, with the faults they are printed with."""

BOTH: Final = ("stream", "stream.server")


def _map(node: Node, build: Build, scope: Scope) -> tuple[Node, ...]:
    """
    A map, as far as the grammar goes.
    """
    build.template(node.args[0], node)
    assert node.block is not None
    for line in node.block:
        if len(line.args) != 1:
            build.error(ConfigError("invalid number of the map parameters"), line)
    build.define(Variable(node.args[1].removeprefix("$"), lambda subject: "mapped"), node)
    return node.block


def _listed(name: str, contexts: tuple[str, ...], most: int = MANY) -> Directive[tuple[tuple[str, ...], ...]]:
    return Directive(name, contexts, (1, most), values.words, (), repeat=Repeat.LISTED)


STREAM: Final[Directive[Scope | None]] = Directive("stream", ("main",), (0, 0), values.block, None, opens="stream")
SERVER: Final[Directive[tuple[Scope, ...]]] = Directive(
    "server", ("stream",), (0, 0), values.block, (), repeat=Repeat.LISTED, opens="stream.server"
)
UPSTREAM: Final[Directive[tuple[Scope, ...]]] = Directive(
    "upstream", ("stream",), (1, 1), values.block, (), repeat=Repeat.LISTED, opens="stream.upstream"
)
PEER: Final = _listed("server", ("stream.upstream",))
LISTEN: Final = _listed("listen", ("stream.server",))
MAP: Final[Directive[tuple[tuple[Node, ...], ...]]] = Directive(
    "map", ("stream",), (2, 2), _map, (), repeat=Repeat.LISTED, free=True
)
TCP_NODELAY: Final = Directive("tcp_nodelay", BOTH, (1, 1), values.flag, True)
PROXY_TIMEOUT: Final = Directive("proxy_timeout", BOTH, (1, 1), values.time, 600.0)
ERROR_LOG: Final = _listed("error_log", ("main", *BOTH), 2)
PASS: Final[Directive[Template | None]] = Directive(
    "proxy_pass", ("stream.server",), (1, 1), values.template(), None, inherit=Inherit.NEVER
)
ANYWHERE: Final[Directive[str]] = Directive("anywhere", ("*",), (1, 1), values.text, "")

OTHERS: Final = tuple(
    Directive(name, BOTH, (1, MANY), values.words, ())
    for name in (
        "proxy_ssl proxy_ssl_certificate proxy_ssl_certificate_key proxy_ssl_ciphers proxy_ssl_name proxy_ssl_protocols"
        " proxy_ssl_server_name proxy_ssl_session_reuse proxy_ssl_trusted_certificate proxy_ssl_verify"
        " proxy_ssl_verify_depth resolver resolver_timeout ssl_certificate ssl_certificate_key ssl_client_certificate"
        " ssl_preread ssl_protocols ssl_verify_client ssl_verify_depth"
    ).split()
)


class Module:
    """
    A module of nothing but declarations.
    """

    def __init__(
        self,
        name: str,
        directives: Sequence[Directive[Any]] = (),
        variables: Sequence[Variable] = (),
        prepare: Callable[[Build], None] = lambda build: None,
    ) -> None:
        self.name = name
        self.directives = tuple(directives)
        self.variables = tuple(variables)
        self.prepare = prepare


MINI: Final = Module(
    "mini",
    (STREAM, SERVER, UPSTREAM, PEER, LISTEN, MAP, TCP_NODELAY, PROXY_TIMEOUT, ERROR_LOG, PASS, ANYWHERE, *OTHERS),
    (
        Variable("remote_addr", lambda subject: "192.0.2.1"),
        Variable("ssl_preread_server_name", lambda subject: "a.example"),
        Variable("ssl_server_name", lambda subject: "a.example"),
    ),
)
MODULES: Final = (MINI, INTERNALS)


class Disk:
    """
    Files that exist only in a dictionary.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, path: str) -> bytes:
        """
        @raise OSError: as the system does.
        """
        if path.endswith("/"):
            raise IsADirectoryError(21, "Is a directory")
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory")
        return self.files[path]

    def glob(self, pattern: str) -> list[str]:
        """
        Patterns with one star at the end are enough here; in the wrong order, as a disk may have them.
        """
        return sorted((path for path in self.files if path.startswith(pattern.removesuffix("*"))), reverse=True)


def build(source: str | bytes, modules: Sequence[Any] = MODULES, **more: Any) -> Build:
    """
    A configuration that must be right.
    """
    return configure(source, modules, file=FILE, **more)


def faults(source: str | bytes, modules: Sequence[Any] = MODULES, **more: Any) -> list[str]:
    """
    What is wrong, a line each, with the file's name shortened.
    """
    try:
        configure(source, modules, file=FILE, **more)
    except ConfigErrors as errors:
        return [str(error).replace(FILE, "F") for error in errors.errors]
    return []
