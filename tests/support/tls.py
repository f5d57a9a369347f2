"""
OpenSSL connections to try legs with: a server's and a client's, over sockets or over memory.
"""

from __future__ import annotations

import functools
from typing import Any

from OpenSSL import SSL

from tests.support import pki

ALPN = b"sniproxy-test"


@functools.cache
def server_context(version: int | None = None) -> SSL.Context:
    """
    A context with a certificate nobody trusts.
    """
    identity = pki.self_signed("leg.example.com")
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate(identity.certificate)
    context.use_privatekey(identity.key)
    context.set_options(SSL.OP_IGNORE_UNEXPECTED_EOF)
    context.set_alpn_select_callback(_select)
    if version is not None:
        context.set_max_proto_version(version)
    return context


def _select(connection: Any, offered: list[bytes]) -> Any:
    return ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS


@functools.cache
def client_context() -> SSL.Context:
    """
    A context that trusts everybody.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_options(SSL.OP_IGNORE_UNEXPECTED_EOF)
    return context


def server(version: int | None = None) -> SSL.Connection:
    """
    In memory, as all of them.
    """
    connection = SSL.Connection(server_context(version), None)
    connection.set_accept_state()
    return connection


def client(alpn: bool = False) -> SSL.Connection:
    """
    One that trusts everybody.
    """
    connection = SSL.Connection(client_context(), None)
    connection.set_connect_state()
    if alpn:
        connection.set_alpn_protos([ALPN])
    return connection
