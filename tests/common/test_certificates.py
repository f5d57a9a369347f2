"""
Tests for L{sniproxy.common.certificates}: clients meet them in L{tests.common.test_ssl_settings}.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common import certificates
from sniproxy.config.build import Build
from sniproxy.config.directives import Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template
from sniproxy.errors import ConfigError
from sniproxy.tls.named import Keep

SCOPE = cast(Scope, None)


class CertificatesTests(SynchronousTestCase):
    """
    Converters.
    """

    def setUp(self) -> None:
        self.build = Build((), file="/etc/edge.conf")

    def node(self, name: str, *words: str) -> Node:
        """
        A directive.
        """
        return Node(name, words, (False,) * len(words), None, "/etc/edge.conf", 1)

    def test_names(self) -> None:
        """
        Files are relative to the configuration, what is written down stays as it is, and variables make a template.
        """
        for convert in (certificates.certificate, certificates.key):
            self.assertEqual(convert(self.node("x", "a.pem"), self.build, SCOPE), "/etc/a.pem")
            self.assertEqual(convert(self.node("x", "/a.pem"), self.build, SCOPE), "/a.pem")
            self.assertEqual(convert(self.node("x", "data:a.pem"), self.build, SCOPE), "data:a.pem")
            made = convert(self.node("x", "$a.pem"), self.build, SCOPE)
            assert isinstance(made, Template)
            self.assertEqual(made.text, "$a.pem")

    def test_engines(self) -> None:
        """
        Keys that are in no file are refused by name, with the reason; certificates may have such names.
        """
        for word, reason in (
            (
                "engine:a:b",
                '"engine:" of "ssl_certificate_key" is not supported by sniproxy: OpenSSL has no engines',
            ),
            (
                "store:a",
                '"store:" of "ssl_certificate_key" is not supported by sniproxy: pyOpenSSL cannot load keys',
            ),
        ):
            error = self.assertRaises(
                ConfigError, certificates.key, self.node("ssl_certificate_key", word), self.build, SCOPE
            )
            self.assertTrue(error.message.startswith(reason), error.message)
            self.assertEqual(certificates.certificate(self.node("x", word), self.build, SCOPE), f"/etc/{word}")

    def test_cache(self) -> None:
        """
        The cache has its defaults, off means none, and what is wrong is told in nginx's words.
        """
        for words, expected in (
            (("max=10",), Keep(10, 10.0, 60.0)),
            (("max=1", "inactive=20s", "valid=1m"), Keep(1, 20.0, 60.0)),
            (("inactive=0", "max=2", "valid=0"), Keep(2, 0.0, 0.0)),
            (("off",), None),
            (("max=3", "off"), None),
        ):
            self.assertEqual(certificates.cache(self.node("c", *words), self.build, SCOPE), expected)
        for words, message in (
            (("max=0",), 'invalid parameter "max=0"'),
            (("max=x",), 'invalid parameter "max=x"'),
            (("max",), 'invalid parameter "max"'),
            (("inactive=x", "max=1"), 'invalid parameter "inactive=x"'),
            (("valid",), 'invalid parameter "valid"'),
            (("on",), 'invalid parameter "on"'),
            (("valid=1s",), '"ssl_certificate_cache" must have the "max" parameter'),
        ):
            node = self.node("ssl_certificate_cache", *words)
            error = self.assertRaises(ConfigError, certificates.cache, node, self.build, SCOPE)
            self.assertEqual(error.message, message)

    def test_filled_in(self) -> None:
        """
        Names are filled in for a session; where that is allowed, a certificate with an empty name is none.
        """
        made = self.build.template("$name", self.node("x"))
        session: Any = "somebody"
        for text, optional, expected in (
            ("a.pem", False, (("/etc/a.pem", "/b.key"),)),
            ("data:x", True, (("data:x", "/b.key"),)),
            ("", False, (("/etc/", "/b.key"),)),
            ("", True, ()),
        ):
            self.patch(made, "render", {session: text}.__getitem__)
            pairs: Any = ((made, "/b.key"),)
            self.assertTrue(certificates.by_variable(pairs))
            self.assertEqual(certificates.names(pairs, self.build, optional)(session), expected)
        self.assertFalse(certificates.by_variable((("/a", "/b"),)))
