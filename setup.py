"""
What setup.cfg cannot say: which modules are compiled, where that is possible. See compiling/.

    python setup.py build_ext --inplace

puts the libraries beside the sources, for a try; C{make clean} removes them.
"""

from __future__ import annotations

import os
import sys

from setuptools import setup

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from compiling.backend import arguments

if __name__ == "__main__":
    setup(**arguments(sys.argv[1:]))
