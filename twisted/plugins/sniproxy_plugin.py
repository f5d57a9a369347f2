"""
What twistd and endpoint strings find of this project: instances, and nothing else.
"""

from typing import Final

from twisted.application.service import ServiceMaker

from sniproxy.endpoints.strings import ClientParser, ServerParser

service: Final = ServiceMaker(
    "sniproxy",
    "sniproxy.tap",
    "A TLS-aware proxy that reads nginx's configuration",
    "sniproxy",
)

mtls_server: Final = ServerParser()
mtls_client: Final = ClientParser()
