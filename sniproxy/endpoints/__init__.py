"""
The Twisted face: server and client endpoints with verified TLS both ways, an SNI splitter, and endpoint strings.

What programs use is named here; where it lives may change.
"""

from sniproxy.endpoints.client import ClientTLS, TLSClientEndpoint
from sniproxy.endpoints.facts import TLSFacts
from sniproxy.endpoints.failures import CertificateRefused, HandshakeFailed
from sniproxy.endpoints.folder import CertificateFolder
from sniproxy.endpoints.names import ServerNames
from sniproxy.endpoints.server import TLSServerEndpoint
from sniproxy.endpoints.splitter import SNISplitter
from sniproxy.endpoints.terminate import Terminate
from sniproxy.errors import ConfigError
from sniproxy.tls.policies import ClientPolicy, ServerPolicy

__all__ = (
    "CertificateFolder",
    "CertificateRefused",
    "ClientPolicy",
    "ClientTLS",
    "ConfigError",
    "HandshakeFailed",
    "SNISplitter",
    "ServerNames",
    "ServerPolicy",
    "TLSClientEndpoint",
    "TLSFacts",
    "TLSServerEndpoint",
    "Terminate",
)
