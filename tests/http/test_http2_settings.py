"""
Tests for L{sniproxy.http.http2_settings}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.common.listen import listenings
from sniproxy.errors import ConfigErrors
from sniproxy.http.http2_settings import CHUNK, Http2Settings, http_v2
from sniproxy.interfaces import IHttpModule, IModule
from tests.support.sessions import configured


class SettingsTests(SynchronousTestCase):
    """
    The directives.
    """

    def server(self, inside: str, around: str = "") -> Any:
        """
        The server of a configuration.
        """
        text = f"http {{ {around} server {{ listen 192.0.2.1:80; {inside} }} }}"
        self.build = configured(text)
        (listening,) = listenings(self.build)
        return listening.default

    def wrong(self, inside: str) -> str:
        """
        What is wrong with a configuration.
        """
        errors = self.assertRaises(ConfigErrors, self.server, inside)
        return str(errors)

    def test_provides(self) -> None:
        """
        The module provides what modules have to.
        """
        verifyObject(IModule, http_v2)
        verifyObject(IHttpModule, http_v2)

    def test_defaults(self) -> None:
        """
        Where nothing is said it is as in nginx, and HTTP/2 is off.
        """
        server = self.server("location / { }")
        self.assertEqual((server.http2_settings, server.http2), (Http2Settings(128, 65536), False))
        self.assertEqual(server.scope[CHUNK], 8192)
        self.assertEqual(server.alpn, ("http/1.1", "http/1.0", "http/0.9"))

    def test_values(self) -> None:
        """
        What is said holds for a server, and is inherited.
        """
        server = self.server(
            "http2 on; http2_max_concurrent_streams 5; http2_chunk_size 4k;", "http2_body_preread_size 1k;"
        )
        self.assertEqual(server.http2_settings, Http2Settings(5, 1024))
        self.assertEqual((server.scope[CHUNK], server.http2, server.alpn[0]), (4096, True, "h2"))
        self.assertEqual(self.server("http2_chunk_size 100m;").scope[CHUNK], (1 << 24) - 1)

    def test_without_effect(self) -> None:
        """
        What nginx needs for its memory is taken, and needs nothing here.
        """
        self.server("http2_pool_size 4k; http2_streams_index_size 32;", "http2_recv_buffer_size 128k;")

    def test_obsolete(self) -> None:
        """
        What nginx has given up is taken with its warning.
        """
        for name, instead in (
            ("http2_recv_timeout", "client_header_timeout"),
            ("http2_idle_timeout", "keepalive_timeout"),
            ("http2_max_requests", "keepalive_requests"),
            ("http2_max_field_size", "large_client_header_buffers"),
            ("http2_max_header_size", "large_client_header_buffers"),
        ):
            self.server(f"{name} 1;")
            warning = str(self.build.warnings[-1])
            self.assertIn(f'the "{name}" directive is obsolete, use the "{instead}" directive instead', warning)
        for name in ("http2_max_concurrent_pushes", "http2_push", "http2_push_preload"):
            self.server(f"{name} 1;")
            self.assertIn(f'the "{name}" directive is obsolete, ignored', str(self.build.warnings[-1]))

    def test_wrong(self) -> None:
        """
        What cannot be meant is refused.
        """
        self.assertIn('invalid value "0"', self.wrong("http2_max_concurrent_streams 0;"))
        self.assertIn('invalid value "0"', self.wrong("http2_chunk_size 0;"))
        self.assertIn("maximum body preread buffer size is 2147483647", self.wrong("http2_body_preread_size 3000m;"))
