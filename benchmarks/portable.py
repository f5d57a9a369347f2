"""
What does the portable relay cost? C{twistd} as it would be where the kernel has no splice(2): there the same sessions
run on Twisted's own transports.

    python benchmarks/portable.py --nodaemon sniproxy --config FILE
"""

from __future__ import annotations

import os
import sys

from twisted.scripts.twistd import run

if __name__ == "__main__":
    # Python put this folder first, whose names are nobody's business but ours. The proxy is the one that is installed.
    del sys.path[0]
    del os.splice
    run()
