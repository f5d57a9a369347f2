"""
What twistd finds of this project: an instance, and nothing else.
"""

from typing import Final

from twisted.application.service import ServiceMaker

service: Final = ServiceMaker(
    "sniproxy",
    "sniproxy.tap",
    "A TLS-aware proxy that reads nginx's configuration",
    "sniproxy",
)
