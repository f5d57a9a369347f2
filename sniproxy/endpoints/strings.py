"""
Endpoint strings: our endpoints in any program that takes C{serverFromString} and C{clientFromString}, C{twist} and
C{twistd} among them.

  -
  C{mtls:8443:interface=127.0.0.1:certificate=web.pem:certificate_key=web.key:client_certificate=ca.pem:verify_client=on}
  - C{mtls:db.example.com:5433:certificate=me.pem:certificate_key=me.key:trusted_certificate=ca.pem}

Strategy: keys are nginx's directives without C{ssl_}; each is one line of a table, which says how its value is read
and where it goes. Anything not in the table is refused with the list of what is. Relative paths are against the
working directory at the start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import (
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.config.values import number_of, time_of
from sniproxy.endpoints.client import CONNECT_TIMEOUT, Remote, TLSClientEndpoint
from sniproxy.endpoints.folder import CertificateFolder
from sniproxy.endpoints.listening import BACKLOG, Where, local_address
from sniproxy.endpoints.names import Policies, read_file
from sniproxy.endpoints.server import HANDSHAKE_TIMEOUT, WATCH, TLSServerEndpoint
from sniproxy.errors import ConfigError
from sniproxy.tls.credentials import read_passwords
from sniproxy.tls.policies import PROTOCOLS, ClientPolicy, ServerPolicy

PREFIX: Final = "mtls"

Reader = Callable[[str], Any]


def _text(value: str) -> str:
    if not value:
        raise ValueError("is empty")
    return value


def _flag(value: str) -> bool:
    if value not in ("on", "off"):
        raise ValueError(f'is "{value}" and must be "on" or "off"')
    return value == "on"


def _number(value: str) -> int:
    number = number_of(value)
    if number is None:
        raise ValueError(f'is "{value}" and must be a number')
    return number


def _port(value: str) -> int:
    number = _number(value)
    if number > 65535:
        raise ValueError(f'is "{value}" and must be a port')
    return number


def _time(value: str) -> float:
    time = time_of(value)
    if time is None:
        raise ValueError(f'is "{value}" and must be a time, as 30s')
    return time


def _watch(value: str) -> float | None:
    return None if value == "off" else _time(value) or None


def _words(value: str) -> tuple[str, ...]:
    words = tuple(value.replace(",", " ").split())
    if not words:
        raise ValueError("is empty")
    return words


def _alpn(value: str) -> tuple[str, ...]:
    words = _words(value)
    for word in words:
        if len(word.encode()) > 255:
            raise ValueError(f'has "{word}", which is too long')
    return words


def _protocols(value: str) -> tuple[str, ...]:
    words = _words(value)
    for word in words:
        if word not in PROTOCOLS:
            raise ValueError(f'has "{word}" and must be of {", ".join(PROTOCOLS)}')
    return words


def _verify_client(value: str) -> str:
    modes = ("off", "on", "optional", "optional_no_ca")
    if value not in modes:
        raise ValueError(f'is "{value}" and must be one of {", ".join(modes)}')
    return value


def _passwords(value: str) -> tuple[bytes, ...]:
    return read_passwords(value, read_file)


_BOTH: Final[dict[str, tuple[str, Reader]]] = {
    "password_file": ("passwords", _passwords),
    "protocols": ("protocols", _protocols),
    "ciphers": ("ciphers", _text),
    "ciphersuites": ("tls13_ciphers", _text),
    "trusted_certificate": ("trusted_certificate", _text),
    "crl": ("crl", _text),
    "verify_depth": ("depth", _number),
    "alpn": ("alpn", _alpn),
}
"""What goes into both kinds of policy: by key, the field and how it is read."""

_SERVER_POLICY: Final[dict[str, tuple[str, Reader]]] = {
    **_BOTH,
    "verify_client": ("verify", _verify_client),
    "client_certificate": ("client_certificate", _text),
    "prefer_server_ciphers": ("prefer_server_ciphers", _flag),
    "ecdh_curve": ("curves", _text),
    "dhparam": ("dhparam", _text),
    "session_cache": ("session_cache", _words),
    "session_tickets": ("session_tickets", _flag),
    "session_timeout": ("session_timeout", _time),
}
_SERVER: Final[dict[str, Reader]] = {
    "port": _port,
    "interface": str,
    "backlog": _number,
    "over": _text,
    "certificate": _text,
    "certificate_key": _text,
    "certificates": _text,
    "server_name": _words,
    "default": _text,
    "handshake_timeout": _time,
    "watch": _watch,
}
"""What goes into the endpoint itself."""

_CLIENT_POLICY: Final[dict[str, tuple[str, Reader]]] = {**_BOTH, "session_reuse": ("session_reuse", _flag)}
_CLIENT: Final[dict[str, Reader]] = {
    "host": _text,
    "port": _port,
    "over": _text,
    "certificate": _text,
    "certificate_key": _text,
    "verify": _flag,
    "name": _text,
    "server_name": _flag,
    "timeout": _time,
}

_ALSO: Final = {"key": "certificate_key", "depth": "verify_depth", "trusted": "trusted_certificate"}
"""Short words for keys."""
_SERVER_ALSO: Final = {**_ALSO, "verify": "verify_client", "client_ca": "client_certificate"}


def _named(
    given: Mapping[str, str], also: Mapping[str, str], places: tuple[str, ...], args: tuple[str, ...]
) -> dict[str, str]:
    """
    @param places: what arguments without a key are.
    @return: values by their proper keys.
    """
    if len(args) > len(places):
        raise ValueError(f'{PREFIX}: does not know what "{args[len(places)]}" is; write key=value')
    values = dict(zip(places, args, strict=False))
    for key, value in given.items():
        proper = also.get(key, key)
        if proper in values:
            raise ValueError(f'{PREFIX}: "{proper}" is given twice')
        values[proper] = value
    return values


def _read(
    values: Mapping[str, str], policy: Mapping[str, tuple[str, Reader]], own: Mapping[str, Reader]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """
    @return: fields of a policy, and what is the endpoint's own.
    """
    fields: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for key, text in values.items():
        try:
            if key in own:
                options[key] = own[key](text)
            elif key in policy:
                field, reader = policy[key]
                fields[field] = reader(text)
            else:
                known = ", ".join(sorted((*own, *policy)))
                raise ValueError(f'unknown key "{key}"; known are {known}')
        except ConfigError as error:
            raise ValueError(f"{PREFIX}: {error}") from error
        except ValueError as error:
            what = "" if key not in own and key not in policy else f'"{key}" '
            raise ValueError(f"{PREFIX}: {what}{error}") from None
    return fields, options


def _pair(options: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    certificate, key = options.pop("certificate", None), options.pop("certificate_key", None)
    if certificate is None:
        if key is not None:
            raise ValueError(f'{PREFIX}: "certificate_key" needs "certificate"')
        return ()
    return ((certificate, key or certificate),)


@implementer(IPlugin, IStreamServerEndpointStringParser)
class ServerParser:
    """
    C{mtls:} for servers.
    """

    prefix = PREFIX

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> TLSServerEndpoint:
        """
        @raise ValueError: a key is unknown, or a value or a file cannot be used.
        """
        fields, options = _read(_named(kwargs, _SERVER_ALSO, ("port",), args), _SERVER_POLICY, _SERVER)
        where = _where(reactor, options)
        pair = _pair(options)
        names, folder, default = (options.pop(key, None) for key in ("server_name", "certificates", "default"))
        policy = ServerPolicy(pair, **fields)
        policies: Policies = policy
        if folder is not None:
            if pair or names:
                raise ValueError(f'{PREFIX}: "certificates" stands for "certificate" and "server_name"')
            policies = CertificateFolder(folder, policy)
        elif not pair:
            raise ValueError(f'{PREFIX}: "certificate" or "certificates" is needed')
        elif names is not None:
            policies = {names: policy}
        if default is not None and policies is policy:
            raise ValueError(f'{PREFIX}: "default" needs "certificates" or "server_name"')
        try:
            return TLSServerEndpoint(
                reactor,
                where,
                policies,
                default=default,
                handshake_timeout=options.get("handshake_timeout", HANDSHAKE_TIMEOUT),
                watch=options.get("watch", WATCH),
                backlog=options.get("backlog", BACKLOG),
            )
        except (ConfigError, ValueError) as error:
            raise ValueError(f"{PREFIX}: {error}") from error


def _where(reactor: Any, options: dict[str, Any]) -> Where:
    over, port, interface = (options.pop(key, None) for key in ("over", "port", "interface"))
    if over is not None:
        if port is not None or interface is not None:
            raise ValueError(f'{PREFIX}: "over" stands for "port" and "interface"')
        where: Where = serverFromString(reactor, over)  # type: ignore[no-untyped-call]
        return where
    if port is None:
        raise ValueError(f'{PREFIX}: "port" or "over" is needed')
    try:
        local_address(interface or "", port)
    except ValueError as error:
        raise ValueError(f"{PREFIX}: {error}") from None
    return (interface or "", port)


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class ClientParser:
    """
    C{mtls:} for clients.
    """

    prefix = PREFIX

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> TLSClientEndpoint:
        """
        @raise ValueError: a key is unknown, or a value or a file cannot be used.
        """
        fields, options = _read(_named(kwargs, _ALSO, ("host", "port"), args), _CLIENT_POLICY, _CLIENT)
        remote = _remote(reactor, options)
        policy = ClientPolicy(certificates=_pair(options), **fields)
        verify = options.get("verify", True)
        if verify and not policy.trusted_certificate:
            raise ValueError(f'{PREFIX}: "trusted_certificate" is needed, or "verify=off"')
        try:
            return TLSClientEndpoint(
                reactor,
                remote,
                policy,
                name=options.get("name", ""),
                server_name=options.get("server_name", True),
                verify=verify,
                timeout=options.get("timeout", CONNECT_TIMEOUT),
            )
        except (ConfigError, ValueError) as error:
            raise ValueError(f"{PREFIX}: {error}") from error


def _remote(reactor: Any, options: dict[str, Any]) -> Remote:
    over, host, port = (options.pop(key, None) for key in ("over", "host", "port"))
    if over is not None:
        if host is not None or port is not None:
            raise ValueError(f'{PREFIX}: "over" stands for "host" and "port"')
        remote: Remote = clientFromString(reactor, over)  # type: ignore[no-untyped-call]
        return remote
    if host is None or port is None:
        raise ValueError(f'{PREFIX}: "host" and "port" are needed, or "over"')
    return (host, port)
