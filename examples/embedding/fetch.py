"""
Fetch pages from a server that wants our certificate, and whose certificate we verify. Connections after the first
resume its session.
"""

from typing import Any

from twisted.web.client import Agent, readBody
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from sniproxy.endpoints import CertificateRefused, ClientPolicy, ClientTLS, TLSClientEndpoint


@implementer(IAgentEndpointFactory)
class MutualTLS:
    """
    How an Agent connects: by TLS with a certificate of our own.
    """

    def __init__(self, reactor: Any, folder: str) -> None:
        self._reactor = reactor
        self._tls = ClientTLS(
            ClientPolicy(
                certificates=((f"{folder}/me.pem", f"{folder}/me.key"),),
                trusted_certificate=f"{folder}/ca.pem",
            )
        )

    def endpointForURI(self, uri: Any) -> TLSClientEndpoint:
        """
        The certificate there must be for the host in the address.
        """
        return TLSClientEndpoint(self._reactor, (uri.host.decode(), uri.port), self._tls)


async def fetch(agent: Agent, uri: bytes) -> bytes:
    """
    The page, or why there is none.
    """
    try:
        response = await agent.request(b"GET", uri)
    except CertificateRefused as refused:
        return f"That is not {uri.decode()}: {refused}".encode()
    return await readBody(response)


def agent_for(reactor: Any, folder: str) -> Agent:
    """
    One agent, and with it one store of sessions, for the whole program.
    """
    return Agent.usingEndpointFactory(reactor, MutualTLS(reactor, folder))
