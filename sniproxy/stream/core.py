"""
ngx_stream_core_module: C{stream}, C{server}, C{listen}, C{server_name} and the preread limits; and how server blocks
become addresses to listen on.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.addresses import Address, DatagramAddress
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.hostnames import Verdict, lower
from sniproxy.config.places import listen_addresses
from sniproxy.config.regex import NESTED, Regex
from sniproxy.config.template import Variable
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.logs.error_log import error_log_of
from sniproxy.stream.core_variables import CORE_VARIABLES, own_hostname
from sniproxy.stream.listening import Listen, Listening, ListenOptions
from sniproxy.stream.server import Server, no_content

_REFUSED: Final = {"multipath": "Twisted and Python give no way to ask for MPTCP here"}


def _listen(node: Node, build: Build, scope: Scope) -> tuple[Listen, ...]:
    given: dict[str, Any] = {}
    ssl = default = header = udp = False
    for word in node.args[1:]:
        name, equals, value = word.partition("=")
        if word == "ssl":
            ssl = True
            continue
        if word == "udp":
            udp = True
            continue
        if word == "proxy_protocol":
            header = True
            continue
        if word == "default_server":
            default = True
            continue
        if word in _REFUSED:
            raise ConfigError(
                f'the "{word}" parameter of the "listen" directive is not supported by sniproxy: {_REFUSED[word]}'
            )
        if word.startswith("accept_filter="):
            build.warn(f'accept filters "{word}" are not supported on this platform, ignored', node)
            continue
        _option(word, name, equals, value, given)
    options = ListenOptions(**given, given=bool(given))
    addresses = listen_addresses(node.args[0], build.lookup)
    if udp:
        _check_datagrams(given, ssl, header)
        addresses = tuple(DatagramAddress(each.family, each.host, each.port) for each in addresses)
    return tuple(Listen(address, ssl, default, options, node, header) for address in addresses)


def _check_datagrams(given: dict[str, Any], ssl: bool, header: bool) -> None:
    """
    What only connections have, in nginx's order.
    """
    parameters = (
        ("backlog", "backlog" in given),
        ("deferred", "deferred" in given),
        ("ssl", ssl),
        ("so_keepalive", "keepalive" in given),
        ("proxy_protocol", header),
        ("fastopen", "fastopen" in given),
    )
    for name, present in parameters:
        if present:
            raise ConfigError(f'"listen" directive "{name}" parameter is incompatible with "udp"')


def _option(word: str, name: str, equals: str, value: str, given: dict[str, Any]) -> None:
    """
    One parameter that concerns the socket.
    """
    if word in ("deferred", "bind", "reuseport"):
        given[word] = True
    elif name == "ipv6only" and value.startswith("o"):
        if value not in ("on", "off"):
            raise ConfigError(f'invalid ipv6only flags "{value}"')
        given["ipv6only"] = value == "on"
    elif name in ("backlog", "fastopen") and equals:
        number = values.number_of(value)
        if number is None or (number == 0 and name == "backlog"):
            raise ConfigError(f'invalid {name} "{word}"')
        given[name] = number
    elif name in ("rcvbuf", "sndbuf") and equals:
        size = values.size_of(value)
        if size is None:
            raise ConfigError(f'invalid {name} "{word}"')
        given["receive_buffer" if name == "rcvbuf" else "send_buffer"] = size
    elif name == "so_keepalive" and equals:
        given["keepalive"] = _keepalive(value)
    else:
        raise ConfigError(f'the invalid "{word}" parameter')


def _keepalive(value: str) -> tuple[int | None, ...] | bool:
    """
    C{on}, C{off}, or C{[idle]:[interval]:[count]}, of which the end may be left out. What is 0 is the system's.
    """
    if value in ("on", "off"):
        return value == "on"
    parts = [*value.split(":", 2), "", ""]
    numbers = [values.time_of(part, seconds=True) if part else 0 for part in parts[:2]]
    numbers.append(values.number_of(parts[2]) if parts[2] else 0)
    if None in numbers or not any(numbers):
        raise ConfigError(f'invalid so_keepalive value: "{value}"')
    return tuple(int(number) if number else None for number in numbers)


def _names(node: Node, build: Build, scope: Scope) -> tuple[Any, ...]:
    """
    Names in lower case, and L{Regex}es.
    """
    found: list[Any] = []
    for word in node.args:
        if (word[:1] == "*" and (len(word) < 3 or word[1] != ".")) or word == ".":
            raise ConfigError(f'server name "{word}" is invalid')
        if "/" in word:
            build.warn(f'server name "{word}" has suspicious symbols', node)
        if word.startswith("~"):
            if len(word) == 1:
                raise ConfigError('empty regex in server name "~"')
            caseless = any(letter.isupper() for letter in word)
            regex = Regex(word[1:], caseless=caseless)
            if regex.nested:
                build.warn(NESTED.format(regex.text), node)
            for name in regex.names:
                build.define(Variable(name, lambda session, name=name: session.values.get(name)), node)
            found.append(regex)
        elif word == "$hostname":
            found.append(own_hostname())
        else:
            found.append(lower(word))
    return tuple(found)


STREAM: Final = Directive[Any]("stream", ("main",), (0, 0), values.block, None, opens="stream")
SERVER: Final = Directive[tuple[Scope, ...]](
    "server", ("stream",), (0, 0), values.block, (), Inherit.NEVER, Repeat.LISTED, opens="stream.server"
)
LISTEN: Final = Directive[tuple[tuple[Listen, ...], ...]](
    "listen", ("stream.server",), (1, MANY), _listen, (), Inherit.NEVER, Repeat.LISTED
)
SERVER_NAME: Final = Directive[tuple[tuple[Any, ...], ...]](
    "server_name", ("stream.server",), (1, MANY), _names, (), Inherit.NEVER, Repeat.LISTED
)
PREREAD_BUFFER_SIZE: Final = Directive("preread_buffer_size", ("stream", "stream.server"), (1, 1), values.size, 16384)
PREREAD_TIMEOUT: Final = Directive("preread_timeout", ("stream", "stream.server"), (1, 1), values.time, 30.0)
TCP_NODELAY: Final = Directive("tcp_nodelay", ("stream", "stream.server"), (1, 1), values.flag, True)


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

LISTENINGS: Final = "stream listenings"
"""The key in C{build.shared} of what L{assemble} makes."""


def listenings(build: Build) -> tuple[Listening, ...]:
    """
    The addresses of a configuration, in file order.
    """
    found: tuple[Listening, ...] = build.shared.get(LISTENINGS, ())
    return found


def assemble(build: Build) -> None:
    """
    Make the servers, find out which address belongs to whom, and then let every module attach what it does in them.
    """
    found: dict[Address, Listening] = {}
    servers: list[Server] = []
    for stream in build.root.inside("stream"):
        for scope in stream.inside("stream.server"):
            build.rest()
            server = Server(scope, error_log_of(build, scope), scope[TCP_NODELAY])
            servers.append(server)
            if LISTEN not in scope.nodes:
                build.error('no "listen" is defined for server', scope.node)
            for listens in scope[LISTEN]:
                for listen in listens:
                    _join(build, found, listen, server)
            _name(build, server)
    for server in servers:
        build.rest()
        for module in build.modules:
            try:
                module.attach(server, build)
            except ConfigError as error:
                build.error(error, server.scope.node)
        if server.content is no_content:
            build.warn("no handler for server: its clients are sent away", server.scope.node)
    for listening in found.values():
        listening.by_name = len(listening.servers) > 1
    build.shared[LISTENINGS] = tuple(found.values())


def _join(build: Build, found: dict[Address, Listening], listen: Listen, server: Server) -> None:
    """
    Add a server to an address, by the rules of ngx_stream_add_listening.
    """
    text = listen.address.text
    known = found.get(listen.address)
    if known is not None and server in known.servers:
        build.error(f"a duplicate listen {text}", listen.node)
        return
    if known is None:
        known = found[listen.address] = Listening(listen.address, listen.options, listen.ssl, server, listen.node)
    elif listen.options.given:
        if known.options.given:
            build.error(f"duplicate listen options for {text}", listen.node)
        known.options = listen.options
    if known.servers and (known.ssl, known.proxy_protocol) != (listen.ssl, listen.proxy_protocol):
        build.warn(f"protocol options redefined for {text}", listen.node)
    known.ssl = known.ssl or listen.ssl
    known.proxy_protocol = known.proxy_protocol or listen.proxy_protocol
    known.servers.append(server)
    server.listenings.append(known)
    if listen.default_server:
        if known.default_node is not None:
            build.error(f"a duplicate default server for {text}", listen.node)
        known.default_node = listen.node
        known.default = server


def _name(build: Build, server: Server) -> None:
    """
    Tell the addresses of a server its names.
    """
    scope = server.scope
    # as many directives as values, unless one of them is wrong and nothing of this will be used
    for node, names in zip(scope.nodes.get(SERVER_NAME, ()), scope[SERVER_NAME], strict=False):
        server.names += tuple(name for name in names if isinstance(name, str))
        for listening in server.listenings:
            for name in names:
                if isinstance(name, Regex):
                    listening.add_pattern(name, server)
                elif name:
                    _name_on(build, listening, name, server, node)


def _name_on(build: Build, listening: Listening, name: str, server: Server, node: Node) -> None:
    verdict = listening.add_name(name, server)
    if verdict is Verdict.INVALID:
        build.error(f'invalid server name or wildcard "{name}" on {listening.text}', node)
    elif verdict is Verdict.CONFLICT:
        build.warn(f'conflicting server name "{name}" on {listening.text}, ignored', node)
