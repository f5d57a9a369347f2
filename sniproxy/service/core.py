"""
ngx_core_module: the directives of the main context that are about the process.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Account:
    """
    Whom the process becomes.

    @ivar name: the user's.
    @ivar user: its number.
    @ivar group: the number of its group.
    """

    name: str
    user: int
    group: int


def _user(node: Node, build: Build, scope: Scope) -> Account | None:
    """
    As ngx_set_user: without a group the one that is called as the user is.
    """
    if os.geteuid() != 0:
        build.warn(
            'the "user" directive makes sense only if the master process runs with super-user privileges, ignored', node
        )
        return None
    name, group = node.args[0], node.args[-1]
    try:
        user = pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ConfigError(f'getpwnam("{name}") failed') from None
    try:
        return Account(name, user, grp.getgrnam(group).gr_gid)
    except KeyError:
        raise ConfigError(f'getgrnam("{group}") failed') from None


PID: Final[Directive[str]] = Directive("pid", ("main",), (1, 1), values.prefixed_path, "")
DAEMON: Final = Directive("daemon", ("main",), (1, 1), values.flag, True, ignored="twistd -n stays in the foreground")
MASTER: Final = Directive("master_process", ("main",), (1, 1), values.flag, True, ignored="there is one process")
WORKERS: Final = Directive("worker_processes", ("main",), (1, 1), _workers, 1)
USER: Final[Directive[Account | None]] = Directive("user", ("main",), (1, 2), _user, None)
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
