"""
ngx_core_module: the directives of the main context that are about the process and its workers.
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
from sniproxy.config.directives import MANY, Directive, Scope
from sniproxy.config.grammar import Node
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.service.affinity import Affinity, affinity


def cores() -> int:
    """
    How many cores this process may run on.
    """
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _workers(node: Node, build: Build, scope: Scope) -> int:
    word = node.args[0]
    if word == "auto":
        return cores()
    number = values.number_of(word)
    if not number:
        raise ConfigError(f'"{node.name}" directive invalid value')
    return number


def _affinity(node: Node, build: Build, scope: Scope) -> Affinity:
    return affinity(node.args)


def _priority(node: Node, build: Build, scope: Scope) -> int:
    """
    As ngx_set_priority, which takes a sign of either kind.
    """
    word = node.args[0]
    value = values.number_of(word[1:] if word[0:1] in ("-", "+") else word)
    if value is None:
        raise ConfigError(f'"{node.name}" directive invalid number')
    return -value if word.startswith("-") else value


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
MASTER: Final[Directive[bool | None]] = Directive("master_process", ("main",), (1, 1), values.flag, None)
WORKERS: Final = Directive("worker_processes", ("main",), (1, 1), _workers, 1)
USER: Final[Directive[Account | None]] = Directive("user", ("main",), (1, 2), _user, None)
SHUTDOWN_TIMEOUT: Final = Directive("worker_shutdown_timeout", ("main",), (1, 1), values.time, 0.0)
AFFINITY: Final[Directive[Affinity | None]] = Directive("worker_cpu_affinity", ("main",), (1, MANY), _affinity, None)
PRIORITY: Final = Directive("worker_priority", ("main",), (1, 1), _priority, 0)
NOFILE: Final[Directive[int | None]] = Directive("worker_rlimit_nofile", ("main",), (1, 1), values.number, None)
CORE: Final[Directive[int | None]] = Directive("worker_rlimit_core", ("main",), (1, 1), values.offset, None)


def has_master(root: Scope) -> bool:
    """
    Whether workers are processes of their own: there are several of them, or C{master_process on} says so.
    """
    told = root[MASTER]
    return root[WORKERS] > 1 if told is None else told


@implementer(IPlugin, IModule)
class ServiceCore:
    """
    The module.
    """

    name = "core"
    directives: tuple[Directive[Any], ...] = (
        PID, DAEMON, MASTER, WORKERS, USER, SHUTDOWN_TIMEOUT, AFFINITY, PRIORITY, NOFILE, CORE,
    )  # fmt: skip
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        Warn of masks that do not fit the workers.
        """
        workers = build.root[WORKERS]
        masks = build.root[AFFINITY]
        if masks is not None and not masks.fits(workers):
            build.warn(
                'the number of "worker_processes" is not equal to the number of "worker_cpu_affinity" masks,'
                " using last mask for remaining worker processes"
            )

    def attach(self, server: Any, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """


service_core = ServiceCore()
