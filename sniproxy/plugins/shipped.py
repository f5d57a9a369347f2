"""
The modules that ship: found as any other module is.
"""

from twisted.plugin import IPlugin
from zope.interface import alsoProvides

from sniproxy.common.access import access
from sniproxy.common.geo import geo
from sniproxy.common.hash import hash_
from sniproxy.common.ip_hash import ip_hash
from sniproxy.common.keepalive import keepalive
from sniproxy.common.least_conn import least_conn
from sniproxy.common.least_time import least_time
from sniproxy.common.limit_conn import limit_conn
from sniproxy.common.log import log
from sniproxy.common.map import map_
from sniproxy.common.proxy_protocol import proxy_protocol
from sniproxy.common.random_ import random
from sniproxy.common.realip import realip
from sniproxy.common.resolver import resolver_module
from sniproxy.common.split_clients import split_clients
from sniproxy.common.ssl import ssl
from sniproxy.common.upstream import upstream
from sniproxy.common.upstream_zone import upstream_zone
from sniproxy.config.internals import INTERNALS as internals
from sniproxy.http.auth_basic import auth_basic
from sniproxy.http.charset import charset
from sniproxy.http.core import http_core
from sniproxy.http.error_page import error_page
from sniproxy.http.gzip import gzip
from sniproxy.http.headers_filter import headers
from sniproxy.http.http2_settings import http_v2
from sniproxy.http.proxy import http_proxy
from sniproxy.http.rewrite import rewrite
from sniproxy.http.static import static
from sniproxy.http.try_files import try_files
from sniproxy.http.tuning import tuning
from sniproxy.http.upstream_variables import upstream_variables
from sniproxy.logs.error_log import errlog
from sniproxy.service.core import service_core
from sniproxy.stream.core import core
from sniproxy.stream.pass_ import pass_
from sniproxy.stream.proxy import proxy
from sniproxy.stream.return_ import return_
from sniproxy.stream.set_ import set_
from sniproxy.stream.ssl_preread import ssl_preread

alsoProvides(internals, IPlugin)  # the room it lives in knows no Twisted

__all__ = [
    "access",
    "auth_basic",
    "charset",
    "core",
    "errlog",
    "error_page",
    "geo",
    "gzip",
    "hash_",
    "headers",
    "http_core",
    "http_proxy",
    "http_v2",
    "internals",
    "ip_hash",
    "keepalive",
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
    "rewrite",
    "service_core",
    "set_",
    "split_clients",
    "ssl",
    "ssl_preread",
    "static",
    "try_files",
    "tuning",
    "upstream",
    "upstream_variables",
    "upstream_zone",
]
