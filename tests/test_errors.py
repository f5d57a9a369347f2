"""
How errors name who is guilty, and where.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.errors import (
    BindError,
    ConfigError,
    ConfigErrors,
    PeerError,
    SniproxyError,
    TransparencyError,
    UpstreamError,
)


class ErrorsTests(SynchronousTestCase):
    """
    The errors of a configuration, and the kinds of the rest.
    """

    def test_without_a_place(self) -> None:
        """
        An error that does not know its place yet is its message.
        """
        self.assertEqual(str(ConfigError("bad thing")), "bad thing")

    def test_with_a_place(self) -> None:
        """
        An error with a place ends as nginx's do.
        """
        self.assertEqual(str(ConfigError("bad thing").at("/etc/edge.conf", 11)), "bad thing in /etc/edge.conf:11")

    def test_command_line(self) -> None:
        """
        What has no lines is named without one.
        """
        self.assertEqual(str(ConfigError("odd", "command line", 0)), "odd in command line")

    def test_first_place_stays(self) -> None:
        """
        Who found the error first knows best where it is.
        """
        placed = ConfigError("bad thing").at("inner.conf", 3)
        self.assertIs(placed.at("outer.conf", 1), placed)

    def test_all_of_a_file(self) -> None:
        """
        Several errors are printed one a line, in their order, each with its level.
        """
        errors = ConfigErrors((ConfigError("one", "a", 1), ConfigError("two", "b", 2)))
        self.assertEqual(str(errors), "[emerg] one in a:1\n[emerg] two in b:2")
        self.assertEqual([error.message for error in errors.errors], ["one", "two"])

    def test_kinds(self) -> None:
        """
        Blame is part of the type: no kind of ours is another, and all are ours.
        """
        kinds = (ConfigError, ConfigErrors, PeerError, UpstreamError)
        for kind in kinds:
            self.assertTrue(issubclass(kind, SniproxyError))
            self.assertFalse(any(issubclass(kind, other) for other in kinds if other is not kind))

    def test_own_addresses(self) -> None:
        """
        What the system says of addresses of ours is still an error of the system, which knows what was asked of it.
        """
        for kind, call in ((BindError, ""), (TransparencyError, "setsockopt(IP_TRANSPARENT)")):
            error = kind(99, "Cannot assign requested address")
            self.assertIsInstance(error, OSError)
            self.assertEqual((error.errno, error.call), (99, call))
