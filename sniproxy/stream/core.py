"""
ngx_stream_core_module: C{stream}, C{server}, C{listen}, C{server_name} and the preread limits; and how server blocks
become addresses to listen on.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.core_variables import CORE_VARIABLES
from sniproxy.common.listen import LISTEN, SERVER_NAME, TCP_NODELAY, join, judge_names
from sniproxy.common.server import Server, no_content
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.logs.error_log import error_log_of

STREAM: Final = Directive[Any]("stream", ("main",), (0, 0), values.block, None, opens="stream")
SERVER: Final = Directive[tuple[Scope, ...]](
    "server", ("stream",), (0, 0), values.block, (), Inherit.NEVER, Repeat.LISTED, opens="stream.server"
)
PREREAD_BUFFER_SIZE: Final = Directive("preread_buffer_size", ("stream", "stream.server"), (1, 1), values.size, 16384)
PREREAD_TIMEOUT: Final = Directive("preread_timeout", ("stream", "stream.server"), (1, 1), values.time, 30.0)


@implementer(IPlugin, IModule)
class Core:
    """
    The module; see L{assemble} for what it makes.
    """

    name = "stream_core"
    directives = (STREAM, SERVER, LISTEN, SERVER_NAME, PREREAD_BUFFER_SIZE, PREREAD_TIMEOUT, TCP_NODELAY)
    variables = tuple(CORE_VARIABLES)

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """


core = Core()


def assemble(build: Build) -> None:
    """
    Make the servers, find out which address belongs to whom, and then let every module attach what it does in them.
    """
    build.kind = "stream"
    servers: list[Server] = []
    for stream in build.root.inside("stream"):
        for scope in stream.inside("stream.server"):
            build.rest()
            server = Server(scope, error_log_of(build, scope), scope[TCP_NODELAY])
            servers.append(server)
            if LISTEN not in scope.nodes:
                build.error('no "listen" is defined for server', scope.node)
            join(build, server, (listen for listens in scope[LISTEN] for listen in listens))
    for server in servers:
        build.rest()
        for module in build.modules:
            try:
                module.attach(server, build)
            except ConfigError as error:
                build.error(error, server.scope.node)
        if server.content is no_content:
            build.warn("no handler for server: its clients are sent away", server.scope.node)
    judge_names(build)
