"""
Which build is this, and on what does it run?
"""

from __future__ import annotations

import platform
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import version
from types import ModuleType
from typing import Final

from OpenSSL.SSL import OpenSSL_version

from sniproxy import __version__
from sniproxy.common import session
from sniproxy.net import poller

_HOT: Final = (poller, session)
"""Of those that are compiled where that is possible, one of each room that has most of them: all are, or none is."""

_PACKAGES: Final = ("Twisted", "pyOpenSSL", "cryptography")


def is_compiled(*modules: ModuleType) -> bool:
    """
    @param modules: those of ours that a build compiles, unless told otherwise.
    @return: whether all of them are compiled.
    """
    suffixes = tuple(EXTENSION_SUFFIXES)
    return all((getattr(module, "__file__", None) or "").endswith(suffixes) for module in modules or _HOT)


def short() -> str:
    """
    @return: name and version, in nginx's manner, and whether it is compiled.
    """
    return f"sniproxy/{__version__} ({'compiled' if is_compiled() else 'pure Python'})"


def long() -> str:
    """
    @return: L{short}, and a line about what it stands on.
    """
    packages = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    openssl = OpenSSL_version(0).decode("ascii", "replace")
    return f"{short()}\n{platform.python_implementation()} {platform.python_version()}, {packages}, {openssl}"
