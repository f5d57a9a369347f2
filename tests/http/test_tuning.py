"""
What tunes nginx.
"""

from __future__ import annotations

from typing import Any

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.config.known import refusal
from sniproxy.errors import ConfigErrors
from sniproxy.http.tuning import DIRECTIVES, tuning
from sniproxy.interfaces import IModule
from tests.support.places import Places


class TuningTests(SynchronousTestCase):
    """
    Directives that are accepted.
    """

    def test_accepted(self) -> None:
        """
        They are taken where nginx takes them, as nginx takes them.
        """
        Places(
            "sendfile on; tcp_nopush on; aio threads=x; connection_pool_size 512; log_subrequest on; server {"
            " open_file_cache max=1000 inactive=20s; request_pool_size 4k; aio on; directio 4m; output_buffers 2 32k;"
            " location / { open_file_cache off; directio off; aio off; directio_alignment 1k; random_index off;"
            " client_body_in_single_buffer on; } location /a { if ($a) { sendfile off; ssi off; } aio threads; } }",
            [tuning],
        )

    def test_refused(self) -> None:
        """
        What nginx refuses is refused in its words.
        """
        for text, message in {
            "open_file_cache inactive=1s;": '"open_file_cache" must have the "max" parameter',
            "open_file_cache max=0;": 'invalid "open_file_cache" parameter "max=0"',
            "open_file_cache max=x;": 'invalid "open_file_cache" parameter "max=x"',
            "open_file_cache max=1 inactive=x;": 'invalid "open_file_cache" parameter "inactive=x"',
            "open_file_cache on;": 'invalid "open_file_cache" parameter "on"',
            "aio thread;": '"aio" directive invalid value',
            "connection_pool_size 96;": "the pool size must be no less than 112",
            "request_pool_size 257;": "the pool size must be a multiple of 16",
            "directio x;": '"directio" directive invalid value',
            "server { if ($a) { sendfile on; } }": '"if" directive is not allowed here',
        }.items():
            error = self.assertRaises(ConfigErrors, Places, text, [tuning])
            self.assertIn(message, str(error), text)

    def test_off(self) -> None:
        """
        What is not carried can be switched off, and is refused by name else, in the words for it.
        """
        names = [each.name for each in DIRECTIVES if each.ignored == "it can only be off"]
        self.assertIn("gzip_static", names)
        for name in names:
            Places(f"server {{ location / {{ {name} off; }} }}", [tuning])
            error = self.assertRaises(ConfigErrors, Places, f"server {{ location / {{ {name} on; }} }}", [tuning])
            self.assertIn(refusal(name, "http"), str(error))

    def test_module(self) -> None:
        """
        The module is one, all of it without effect.
        """
        verifyObject(IModule, tuning)
        verifyObject(IPlugin, tuning)
        build: Any = None
        tuning.prepare(build)
        tuning.attach(build, build)
        self.assertTrue(all(each.ignored for each in DIRECTIVES))
