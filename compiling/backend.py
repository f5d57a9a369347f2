"""
How does C{pip install .} make a compiled package where it can, and the same package in pure Python where it cannot?

Strategy: this is setuptools' own build backend (PEP 517), but for wheels. Whether mypyc is asked for at all is known
before anything is built, so that who cannot use it need not have it; and a build that fails is done once more without.
Each wheel is built in a folder of its own: a library left over from an earlier build would otherwise get into it, and
be imported instead of the file that has changed since.

Editable installs are pure for the same reason: a library beside a file that is being edited would hide every edit.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any, Final

from setuptools import Extension, build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

from compiling.modules import COMPILED

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

COMPILER: Final = ("mypy>=2.4.1,<2.5", "mypy-zope>=1.0.17,<1.1")
"""mypyc comes with mypy; the plugin tells it what provides the interfaces. Other versions have not been tried."""

MYPYC: Final = "mypyc"

PURE: Final = "SNIPROXY_PURE"
"""Set in the environment to anything but 0, it forbids compiling."""

PACKAGE: Final = "sniproxy"
LIBRARY: Final = f"{PACKAGE}__mypyc"
"""What mypyc calls the library of a group; each module's own is but a door to it."""

COLD: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cold.h")

FLAGS: Final = ("-fvisibility=hidden", "-include", COLD)
"""
For the one library: what others cannot see is called without a detour through the linker's table, or not called but
put in place. Caches are what is short, not arithmetic, so it is the smaller code (2, not 3) that is faster.
"""

SETTINGS: Final = """\
[mypy]
plugins = mypy_zope:plugin
local_partial_types = True
ignore_missing_imports = True
follow_imports = silent
cache_dir = {folder}/mypy

# What is installed beside the compiler must not make a difference: elsewhere it is not there. Then classes of ours are
# said to provide interfaces of nobody, which is no matter here: `make types` has seen them all.
disable_error_code = misc

[mypy-twisted.*,OpenSSL.*,cryptography.*,service_identity.*,idna.*,httptools.*,h2.*]
follow_imports = skip
"""


@dataclass(frozen=True, slots=True)
class Build:
    """
    A wheel that is being made.

    @ivar folder: where all that leads to it is.
    @ivar compiled: whether it is to be.
    """

    folder: str
    compiled: bool


_build: Build | None = None
"""How setup.py, which setuptools runs in this process, learns of it."""


def hindrance(environment: Mapping[str, str]) -> str | None:
    """
    @return: why there is no point in trying to compile; None where there is.
    """
    if environment.get(PURE, "0") not in ("", "0"):
        return f"{PURE} is set"
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} is not CPython"
    if sys.platform != "linux":
        return f"not tried on {sys.platform}"
    compiler = shlex.split(environment.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if not os.path.exists(header):
        return f"there is no {header}"
    return None


def say(text: str) -> None:
    """
    Tell it to who runs pip with C{-v}.
    """
    sys.stderr.write(f"sniproxy: {text}\n")
    sys.stderr.flush()


def extensions(folder: str) -> list[Extension]:
    """
    Translate to C; setuptools does the rest.

    @param folder: for what nobody needs afterwards.
    @raise SystemExit: something is not as mypyc wants it, which it has told.
    """
    from mypyc.build import mypycify

    settings = os.path.join(folder, "mypy.ini")
    with open(settings, "w", encoding="ascii") as written:
        written.write(SETTINGS.format(folder=folder))
    files = [name.replace(".", "/") + ".py" for name in COMPILED]
    found: list[Extension] = mypycify(
        [f"--config-file={settings}", *files],
        opt_level="2",
        debug_level="0",
        group_name=PACKAGE,
        target_dir=os.path.join(folder, "c"),
    )
    for each in found:
        if each.name == LIBRARY:
            each.extra_compile_args += FLAGS
    return found


def arguments(words: Sequence[str]) -> dict[str, Any]:
    """
    What setup.py tells setuptools besides setup.cfg.

    @param words: the command line.
    """
    if _build is not None:
        settled: dict[str, Any] = {"options": {"build": {"build_base": os.path.join(_build.folder, "build")}}}
        if _build.compiled:
            settled["ext_modules"] = extensions(_build.folder)
        return settled
    if "build_ext" in words:
        folder = tempfile.mkdtemp(prefix="sniproxy-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return {
            "ext_modules": extensions(folder),
            "options": {"build": {"build_base": os.path.join(folder, "build")}},
        }
    return {}


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """
    What pip fetches before it builds: the compiler, where it can be of use.
    """
    needed: list[str] = build_meta.get_requires_for_build_wheel(config_settings)
    return needed if hindrance(os.environ) else [*needed, *COMPILER]


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """
    @return: the name of the wheel, whose tags say whether it is compiled.
    """
    reason = hindrance(os.environ)
    if reason is None and importlib.util.find_spec(MYPYC) is None:
        reason = "there is no mypy"
    if reason is None:
        try:
            return _wheel(wheel_directory, config_settings, metadata_directory, compiled=True)
        except (Exception, SystemExit) as error:
            reason = shorten(f"compiling failed ({type(error).__name__}: {error}", 200, placeholder=" ...") + ")"
    say(f"made without compiling, in pure Python: {reason}")
    return _wheel(wheel_directory, config_settings, metadata_directory, compiled=False)


def _wheel(wheel_directory: str, config_settings: Any, metadata_directory: str | None, compiled: bool) -> str:
    global _build
    with tempfile.TemporaryDirectory(prefix="sniproxy-") as folder:
        _build = Build(folder, compiled)
        try:
            name: str = build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
        finally:
            _build = None
    return name
