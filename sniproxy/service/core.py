"""
ngx_core_module: the directives of the main context that are about the process.
"""

from __future__ import annotations

import grp
import pwd
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Scope
from sniproxy.config.grammar import Node
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule


def _workers(node: Node, build: Build, scope: Scope) -> int:
    word = node.args[0]
    if word == "auto":
        build.warn('"worker_processes auto" is one process: more are not carried yet', node)
        return 1
    number = values.number_of(word)
    if not number:
        raise ConfigError(f'invalid value "{word}"')
    if number > 1:
        build.warn(f'"worker_processes {number}" is one process: more are not carried yet', node)
    return 1


def _user(node: Node, build: Build, scope: Scope) -> tuple[str, ...]:
    try:
        pwd.getpwnam(node.args[0])
    except KeyError:
        raise ConfigError(f'getpwnam("{node.args[0]}") failed') from None
    try:
        if len(node.args) > 1:
            grp.getgrnam(node.args[1])
    except KeyError:
        raise ConfigError(f'getgrnam("{node.args[1]}") failed') from None
    return node.args


PID: Final[Directive[str]] = Directive("pid", ("main",), (1, 1), values.prefixed_path, "")
DAEMON: Final = Directive("daemon", ("main",), (1, 1), values.flag, True, ignored="twistd -n stays in the foreground")
MASTER: Final = Directive("master_process", ("main",), (1, 1), values.flag, True, ignored="there is one process")
WORKERS: Final = Directive("worker_processes", ("main",), (1, 1), _workers, 1)
USER: Final[Directive[tuple[str, ...]]] = Directive("user", ("main",), (1, 2), _user, ())
SHUTDOWN_TIMEOUT: Final = Directive("worker_shutdown_timeout", ("main",), (1, 1), values.time, 0.0)


@implementer(IPlugin, IModule)
class ServiceCore:
    """
    The module.
    """

    name = "core"
    directives: tuple[Directive[Any], ...] = (PID, DAEMON, MASTER, WORKERS, USER, SHUTDOWN_TIMEOUT)
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """


service_core = ServiceCore()
