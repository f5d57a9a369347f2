"""
One port, two names, two policies: the shop is for everybody, the office wants a certificate. Whoever asks for
neither is refused.
"""

from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from sniproxy.endpoints import ServerPolicy, TLSServerEndpoint


def serve(reactor: Any, folder: str, factory: IProtocolFactory, port: int = 8443) -> Any:
    """
    Listen on loopback.
    """
    shop = ServerPolicy(certificates=((f"{folder}/shop.pem", f"{folder}/shop.key"),))
    office = ServerPolicy(
        certificates=((f"{folder}/office.pem", f"{folder}/office.key"),),
        verify="on",
        depth=2,
        client_certificate=f"{folder}/ca.pem",
    )
    endpoint = TLSServerEndpoint(
        reactor,
        ("127.0.0.1", port),
        {("shop.example.com", "www.example.com"): shop, "*.office.example.com": office},
    )
    return endpoint.listen(factory)
