"""
One C{server} block of C{http}, ready to run: a server like any other, whose content speaks HTTP.
"""

from __future__ import annotations

from sniproxy.common.server import Server
from sniproxy.config.directives import Scope
from sniproxy.http.http2_settings import Http2Settings
from sniproxy.http.limits import Limits
from sniproxy.http.place import Locations, Place
from sniproxy.logs.error_log import ErrorLog


class HttpServer(Server):
    """
    @ivar place: what holds outside of any location.
    @ivar named: its C{location @name}s.
    @ivar verify: C{ssl_verify_client}.
    @ivar http2: whether its clients may speak HTTP/2.
    @ivar http2_settings: how.
    """

    def __init__(self, scope: Scope, error_log: ErrorLog, tcp_nodelay: bool, limits: Limits) -> None:
        super().__init__(scope, error_log, tcp_nodelay)
        self.lenient = True
        self.greets = False
        self.place = Place(scope, self, error_log, limits)
        self.named: dict[str, Place] = {}
        self.verify = "off"
        self.http2 = False
        self.http2_settings = Http2Settings()

    def dissolve(self) -> None:
        """
        @see: L{Server.dissolve}
        """
        super().dissolve()
        for place in (self.place, *self.named.values()):
            place.dissolve()
        self.place.inside = Locations()
        self.named = {}
