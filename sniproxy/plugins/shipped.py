"""
The modules that ship: found as any other module is.
"""

from twisted.plugin import IPlugin
from zope.interface import alsoProvides

from sniproxy.config.internals import INTERNALS as internals
from sniproxy.logs.error_log import errlog
from sniproxy.service.core import service_core
from sniproxy.stream.access import access
from sniproxy.stream.core import core
from sniproxy.stream.geo import geo
from sniproxy.stream.hash import hash_
from sniproxy.stream.least_conn import least_conn
from sniproxy.stream.least_time import least_time
from sniproxy.stream.limit_conn import limit_conn
from sniproxy.stream.log import log
from sniproxy.stream.map import map_
from sniproxy.stream.pass_ import pass_
from sniproxy.stream.proxy import proxy
from sniproxy.stream.proxy_protocol import proxy_protocol
from sniproxy.stream.random_ import random
from sniproxy.stream.realip import realip
from sniproxy.stream.resolver import resolver_module
from sniproxy.stream.return_ import return_
from sniproxy.stream.set_ import set_
from sniproxy.stream.split_clients import split_clients
from sniproxy.stream.ssl import ssl
from sniproxy.stream.ssl_preread import ssl_preread
from sniproxy.stream.upstream import upstream
from sniproxy.stream.upstream_zone import upstream_zone

alsoProvides(internals, IPlugin)  # the room it lives in knows no Twisted

__all__ = [
    "access",
    "core",
    "errlog",
    "geo",
    "hash_",
    "internals",
    "least_conn",
    "least_time",
    "limit_conn",
    "log",
    "map_",
    "pass_",
    "proxy",
    "proxy_protocol",
    "random",
    "realip",
    "resolver_module",
    "return_",
    "service_core",
    "set_",
    "split_clients",
    "ssl",
    "ssl_preread",
    "upstream",
    "upstream_zone",
]
