"""
Where does C{proxy_pass} send a request, and what does it ask for there?
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sniproxy.config.places import Place as Written
from sniproxy.config.places import upstream_place
from sniproxy.errors import ConfigError
from sniproxy.http.uri import escape

if TYPE_CHECKING:
    from sniproxy.http.request import Request

SCHEMES: Final = {"http://": 80, "https://": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """
    What C{proxy_pass} says, taken apart.

    @ivar scheme: C{http://} or C{https://}.
    @ivar written: host and port.
    @ivar address: the same as it was written.
    @ivar host: C{$proxy_host}, and what the Host field says: with the port, where that is not the usual one.
    @ivar port: C{$proxy_port}.
    @ivar name: what a certificate is for.
    @ivar uri: what stands behind that; empty for nothing.
    """

    scheme: str
    written: Written
    address: str
    host: str
    port: str
    name: str
    uri: str

    @property
    def secure(self) -> bool:
        """
        Whether TLS is spoken.
        """
        return self.scheme == "https://"


def target_of(text: str) -> Target:
    """
    @raise ConfigError: in nginx's words.
    """
    scheme = next((scheme for scheme in SCHEMES if text[: len(scheme)].lower() == scheme), None)
    if scheme is None:
        raise ConfigError("invalid URL prefix")
    rest = text[len(scheme) :]
    if rest[:5].lower() == "unix:":
        path, _, uri = rest[5:].partition(":")
        address = f"unix:{path}"
        written = upstream_place(address)
        return Target(scheme, written, address, "localhost", "", "localhost", uri)
    cut = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    address, uri = rest[:cut], rest[cut:]
    if uri.startswith("?"):
        uri = "/" + uri
    if not address and uri:
        raise ConfigError(f'no host in upstream "{uri}"')
    written = upstream_place(address, need_port=False)
    usual = SCHEMES[scheme]
    port = written.port or usual
    name = address if written.port is None else address.rpartition(":")[0]
    host = name if port == usual else address
    return Target(scheme, written, address, host, str(port), name, uri)


def asked(request: Request, uri: str, prefix: int, whole: bool) -> str:
    """
    What is asked for at the upstream (ngx_http_proxy_create_request).

    @param uri: what C{proxy_pass} has behind the host; empty for nothing.
    @param prefix: characters of the location's name, in whose place it stands.
    @param whole: whether it is all there is, for it was made of variables.
    """
    if uri and whole:
        return uri
    path = request.uri
    if not uri and request.asked[0] == path and request.asked[1] == request.args:
        return request.target
    if uri:
        if request.located == path:
            path = path[prefix:]
        else:
            uri = ""  # changed by a rewrite in this place: what is asked for now is meant as it is
    if request.internal or request.asked[0] != request.uri or "%" in request.target.partition("?")[0]:
        path = escape(path)
    return f"{uri}{path}?{request.args}" if request.args else uri + path
