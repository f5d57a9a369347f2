"""
The file of the C{pid} directive: which process does one send signals to?
"""

from __future__ import annotations

import os

from sniproxy.config.build import Build
from sniproxy.errors import ConfigError, ConfigErrors
from sniproxy.levels import EMERG
from sniproxy.logs.error_log import error_log_of
from sniproxy.service.core import PID


def write_pid(build: Build) -> None:
    """
    Write this process's number; where that fails it is logged.
    """
    path = build.root[PID]
    if path:
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
        except OSError as error:
            error_log_of(build, build.root).write(EMERG, str(_unwritable(build, error)))


def remove_pid(build: Build) -> None:
    """
    Take the file away, if it is still there.
    """
    path = build.root[PID]
    if path:
        try:
            os.unlink(path)
        except OSError:
            pass  # somebody else took it away


def move_pid(old: Build, new: Build) -> None:
    """
    After a reload: write the file anew where the configuration names another.
    """
    if old.root[PID] != new.root[PID]:
        remove_pid(old)
        write_pid(new)


def check_pid(build: Build) -> None:
    """
    Find out early whether the pid file can be written; there must be none before the sockets are open.

    @raise ConfigErrors: it cannot.
    """
    path = build.root[PID]
    if path:
        try:
            folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
            os.close(folder)
            if os.path.exists(path):
                os.close(os.open(path, os.O_WRONLY))
        except OSError as error:
            raise ConfigErrors((_unwritable(build, error),)) from None


def _unwritable(build: Build, error: OSError) -> ConfigError:
    node = build.root.where(PID)
    assert node is not None
    message = f'open() "{build.root[PID]}" failed ({error.errno}: {error.strerror})'
    return ConfigError(message, node.file, node.line)
