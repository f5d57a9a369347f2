"""
Which programs are here to be tried with? What a test needs and does not find skips it on a developer's machine, where
trial lists it with its name, and fails it where C{CI} is set, where every program has to be there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Final

from twisted.trial.unittest import SkipTest

PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where servers are and a user's PATH often does not lead."""


def need(program: str, environment: Mapping[str, str] = os.environ) -> str:
    """
    The path of a program that a test cannot do without.

    @param program: its name, or its path.
    @raise SkipTest: it is not here, and need not be.
    @raise RuntimeError: it is not here, and C{CI} says that it has to be.
    """
    found = shutil.which(program, path=f"{environment.get('PATH', os.defpath)}:{PATH}")
    if found is not None:
        return found
    if environment.get("CI"):
        raise RuntimeError(f"{program} is not installed, and CI is set: add its package to .ci/run")
    raise SkipTest(f"{program} is not installed")
