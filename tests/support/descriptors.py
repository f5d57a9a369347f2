"""
What is written to a descriptor of the process, in the hands of a test.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase


def divert(test: SynchronousTestCase, descriptor: int, other: int) -> None:
    """
    Until the end of the test C{os.write} writes to another descriptor than it is told to.
    """
    write = os.write
    test.patch(os, "write", lambda to, data: write(other if to == descriptor else to, data))
