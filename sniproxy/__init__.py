"""
sniproxy: a TLS-aware proxy that reads nginx's configuration grammar, on Twisted.
"""

from typing import Final

__version__: Final = "0.1.0"
