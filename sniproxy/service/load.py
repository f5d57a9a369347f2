"""
From a file's name to a configuration: the one place that reads the disk and asks the system for names of hosts.
"""

from __future__ import annotations

import glob
import os
import socket
import time
from importlib import import_module

from twisted.plugin import getPlugins

from sniproxy import plugins
from sniproxy.config.build import Build, configure
from sniproxy.config.grammar import Rest, no_rest
from sniproxy.errors import ConfigError, ConfigErrors
from sniproxy.http import core as http_core
from sniproxy.interfaces import IModule
from sniproxy.service.snapshot import World
from sniproxy.stream import core as stream_core


def modules() -> tuple[IModule, ...]:
    """
    All modules there are, ours and others', each once, by their names.
    """
    # Twisted only logs a plugin that cannot be imported; without ours nothing would work, and nobody would see why
    import_module("sniproxy.plugins.shipped")
    found: dict[str, IModule] = {}
    for module in getPlugins(IModule, plugins):
        found.setdefault(module.name, module)
    return tuple(found[name] for name in sorted(found))


def read(path: str) -> bytes:
    """
    A file, whole.

    @raise OSError: as C{open} does.
    """
    with open(path, "rb") as file:
        return file.read()


def lookup(host: str) -> tuple[str, ...]:
    """
    The addresses of a host by the system's own means, each once, in the system's order.

    @raise OSError: there are none.
    """
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(str(error)) from None
    return tuple(dict.fromkeys(str(answer[4][0]).partition("%")[0] for answer in answers))


def world() -> World:
    """
    The disk and the name service as they are now.
    """
    return World(read, glob.glob, lookup)


def load(
    file: str,
    prefix: str | None = None,
    globals_text: str = "",
    asked: World | None = None,
    rest: Rest = no_rest,
) -> Build:
    """
    Read a configuration from disk.

    @param file: the main configuration file.
    @param prefix: what logs are relative to; the file's folder where None.
    @param globals_text: directives before those of the file.
    @param asked: the world to learn from; the real one where None.
    @param rest: called often, so that something else may be done in between.
    @raise ConfigErrors: all that is wrong with it.
    """
    if asked is None:
        asked = world()
    path = os.path.abspath(file)
    try:
        source = asked.read(path)
    except OSError as error:
        raise ConfigErrors((ConfigError(f'open() "{path}" failed ({error.errno}: {error.strerror})'),)) from None
    build = configure(
        source,
        modules(),
        file=path,
        prefix=os.path.abspath(prefix) if prefix is not None else None,
        read=asked.read,
        glob=asked.glob,
        lookup=asked.lookup,
        globals_text=globals_text,
        time=time.time,
        assemble=(stream_core.assemble, http_core.assemble),
        rest=rest,
    )
    build.live = read  # what names of clients lead to was not there to be written down
    return build
