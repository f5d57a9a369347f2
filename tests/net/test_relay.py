"""
Tests of sniproxy/net/relay.py: the relay that fits any two legs, over every kind of leg.
"""

from __future__ import annotations

from typing import Any

from tests.net.conformance import RelayTestCase, World


class PlainTests(RelayTestCase):
    """
    Two plain sockets, without splice.
    """

    resets = False

    def connect(self, world: World) -> Any:
        return world.plain_unix(), world.plain_unix()


class TcpTests(RelayTestCase):
    """
    Two TCP sockets.
    """

    def connect(self, world: World) -> Any:
        return world.plain_tcp(), world.plain_tcp()


class TlsClientTests(RelayTestCase):
    """
    TLS with the client.
    """

    def connect(self, world: World) -> Any:
        return world.tls_over(world.plain_tcp), world.plain_tcp()


class TlsUpstreamTests(RelayTestCase):
    """
    TLS with the upstream.
    """

    def connect(self, world: World) -> Any:
        return world.plain_tcp(), world.tls_over(world.plain_tcp)


class TlsBothTests(RelayTestCase):
    """
    TLS on both sides.
    """

    resets = False

    def connect(self, world: World) -> Any:
        return world.tls_over(world.plain_unix), world.tls_over(world.plain_unix)


class PortableTests(RelayTestCase):
    """
    Two Twisted transports.
    """

    def connect(self, world: World) -> Any:
        return world.memory(), world.memory()


class PortableTlsTests(RelayTestCase):
    """
    TLS over a Twisted transport, and a socket.
    """

    resets = False

    def connect(self, world: World) -> Any:
        return world.tls_over(world.memory), world.plain_unix()


del RelayTestCase
