"""
What endpoint strings find of this project: instances, and nothing else. It is a file of its own, because the proxy need
not import the endpoints.
"""

from typing import Final

from sniproxy.endpoints.strings import ClientParser, ServerParser

mtls_server: Final = ServerParser()
mtls_client: Final = ClientParser()
