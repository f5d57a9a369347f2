"""
C{listen} and C{server_name}, of ngx_stream_core_module and ngx_http_core_module: which addresses a server is on, and
by which names it is chosen there.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from sniproxy.addresses import Address, DatagramAddress
from sniproxy.common.core_variables import own_hostname
from sniproxy.common.listening import Listen, Listening, ListenOptions
from sniproxy.common.server import Server
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.hostnames import Verdict, lower
from sniproxy.config.places import listen_addresses
from sniproxy.config.regex import NESTED, Regex
from sniproxy.config.template import Variable
from sniproxy.errors import ConfigError

HTTP_PORT: Final = 80

_REFUSED: Final = {
    "multipath": "Twisted and Python give no way to ask for MPTCP here",
    "quic": "there is no QUIC here",
}


def kind_of(scope: Scope) -> str:
    """
    C{"stream"} or C{"http"}: in which of the two a block stands, and so whose subjects its variables are asked for.
    """
    return scope.context.split(".")[0]


def _listen(node: Node, build: Build, scope: Scope) -> tuple[Listen, ...]:
    http = kind_of(scope) == "http"
    given: dict[str, Any] = {}
    ssl = default = header = udp = http2 = False
    for word in node.args[1:]:
        name, equals, value = word.partition("=")
        if word == "ssl":
            ssl = True
            continue
        if word == "udp" and not http:
            udp = True
            continue
        if word == "proxy_protocol":
            header = True
            continue
        if word == "default_server" or (word == "default" and http):
            default = True
            continue
        if word == "http2" and http:
            build.warn('the "listen ... http2" directive is deprecated, use the "http2" directive instead', node)
            http2 = True
            continue
        if word in _REFUSED:
            raise ConfigError(
                f'the "{word}" parameter of the "listen" directive is not supported by sniproxy: {_REFUSED[word]}'
            )
        if word.startswith("accept_filter="):
            build.warn(f'accept filters "{word}" are not supported on this platform, ignored', node)
            continue
        _option(word, name, equals, value, given, http)
    options = ListenOptions(**given, given=bool(given))
    addresses = listen_addresses(node.args[0], build.lookup, HTTP_PORT if http else None)
    if udp:
        _check_datagrams(given, ssl, header)
        addresses = tuple(DatagramAddress(each.family, each.host, each.port) for each in addresses)
    return tuple(Listen(address, ssl, default, options, node, header, http2) for address in addresses)


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


def _option(word: str, name: str, equals: str, value: str, given: dict[str, Any], http: bool) -> None:
    """
    One parameter that concerns the socket.

    @param http: whose words are used where it is none.
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
        raise ConfigError(f'invalid parameter "{word}"' if http else f'the invalid "{word}" parameter')


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


def _captured(name: str, subject: Any) -> str | None:
    """
    What an expression of C{server_name} has found.
    """
    value: str | None = subject.values.get(name)
    return value


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
                get = partial(_captured, name)
                build.define(Variable(name, get), node)
            found.append(regex)
        elif word == "$hostname":
            found.append(own_hostname())
        else:
            found.append(lower(word))
    return tuple(found)


_SERVERS: Final = ("stream.server", "http.server")

LISTEN: Final = Directive[tuple[tuple[Listen, ...], ...]](
    "listen", _SERVERS, (1, MANY), _listen, (), Inherit.NEVER, Repeat.LISTED
)
SERVER_NAME: Final = Directive[tuple[tuple[Any, ...], ...]](
    "server_name", _SERVERS, (1, MANY), _names, (), Inherit.NEVER, Repeat.LISTED
)
TCP_NODELAY: Final = Directive(
    "tcp_nodelay", ("stream", "stream.server", "http", "http.server", "http.server.location"), (1, 1), values.flag, True
)

LISTENINGS: Final = "listenings"
"""The key in C{build.shared} of all addresses, by L{Address}."""


def listenings(build: Build) -> tuple[Listening, ...]:
    """
    The addresses of a configuration, in file order.
    """
    return tuple(_found(build).values())


def _found(build: Build) -> dict[Address, Listening]:
    found: dict[Address, Listening] = build.shared.setdefault(LISTENINGS, {})
    return found


def join(build: Build, server: Server, listens: Iterable[Listen]) -> None:
    """
    Put a server on its addresses, under its names.
    """
    found = _found(build)
    for listen in listens:
        _join(build, found, listen, server)
    _name(build, server)


def _join(build: Build, found: dict[Address, Listening], listen: Listen, server: Server) -> None:
    """
    Add a server to an address, by the rules of ngx_stream_add_listening.
    """
    text = listen.address.text
    known = found.get(listen.address)
    if known is not None and kind_of(known.servers[0].scope) != kind_of(server.scope):
        build.error(f"bind() to {text} failed (98: Address already in use)", listen.node)
        return
    if known is not None and server in known.servers:
        build.error(f"a duplicate listen {text}", listen.node)
        return
    before = listen.options if known is None else known.options
    if known is None:
        known = found[listen.address] = Listening(listen.address, listen.options, listen.ssl, server, listen.node)
    elif listen.options.given:
        if known.options.given:
            build.error(f"duplicate listen options for {text}", listen.node)
        known.options = listen.options
    if known.servers and _redefined(known, listen, before.given):
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


def _redefined(known: Listening, listen: Listen, given: bool) -> bool:
    """
    Whether one more C{listen} takes from an address, or adds to it, what others may not expect (as
    ngx_stream_add_addresses finds it): to add ssl with the options of the socket, in one place, is no surprise.

    @param given: whether options of the socket were written down before.
    """
    before = {name for name in ("ssl", "proxy_protocol") if getattr(known, name)}
    now = {name for name in ("ssl", "proxy_protocol") if getattr(listen, name)}
    other = known.agreed is not None and now != known.agreed
    if now - before:
        found = (given and not listen.options.given) or known.changed or bool(before - now)
        known.agreed, known.changed = frozenset(before), True
    elif before - now:
        found = listen.options.given or other
        known.agreed, known.changed = frozenset(now), True
    else:
        found = (listen.options.given and known.changed) or other
        known.agreed = frozenset(now)
    return found


_FAULTS: Final = "faults of server names"
"""The key in C{build.shared}: by address, what is wrong with its names, and where."""


def _name(build: Build, server: Server) -> None:
    """
    Tell the addresses of a server its names; without C{server_name} it has one that is empty.
    """
    scope = server.scope
    # as many directives as values, unless one of them is wrong and nothing of this will be used
    named = list(zip(scope.nodes.get(SERVER_NAME, ()), scope[SERVER_NAME], strict=False))
    assert scope.node is not None
    for node, names in named or [(scope.node, ("",))]:
        server.names += tuple(_shown(name) for name in names if named)
        for listening in server.listenings:
            for name in names:
                if isinstance(name, Regex):
                    listening.add_pattern(name, server)
                else:
                    verdict = listening.add_name(name, server)
                    if verdict is not Verdict.TAKEN:
                        faults = build.shared.setdefault(_FAULTS, {}).setdefault(listening.address, [])
                        faults.append((verdict, name, node))


def _shown(name: str | Regex) -> str:
    """
    A name as C{$server_name} and the error log have it.
    """
    return f"~{name.text}" if isinstance(name, Regex) else name.removeprefix(".")


def judge_names(build: Build) -> None:
    """
    When all servers have joined: find out on which addresses names mean something, and say what is wrong with them
    there. Where a server is alone its names are not looked at, as in nginx.
    """
    faults: dict[Address, list[tuple[Verdict, str, Node]]] = build.shared.pop(_FAULTS, {})
    for listening in listenings(build):
        captures = any(
            isinstance(name, Regex) and name.captures
            for names in listening.default.scope[SERVER_NAME]
            for name in names
        )
        listening.by_name = len(listening.servers) > 1 or captures
        if not listening.by_name:
            continue
        for verdict, name, node in faults.get(listening.address, ()):
            if verdict is Verdict.INVALID:
                build.error(f'invalid server name or wildcard "{name}" on {listening.text}', node)
            else:
                build.warn(f'conflicting server name "{name}" on {listening.text}, ignored', node)
