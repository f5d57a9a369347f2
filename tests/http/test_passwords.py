"""
What stands for a password.
"""

from __future__ import annotations

import ctypes.util

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.passwords import apr1, matches, system_crypt

LONG = b"a much longer password than sixteen bytes, and than thirty-two"


class PasswordsTests(SynchronousTestCase):
    """
    The ways to write them down; what openssl and Apache's htpasswd have made.
    """

    def test_ours(self) -> None:
        """
        Each way knows the password, and no other.
        """
        for known in (
            b"$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/",
            b"{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=",
            b"{SSHA}kL3+/tIbZ86DOhMac+F4u8lG275zYWx0",
            b"{PLAIN}myPassword",
        ):
            self.assertTrue(matches(b"myPassword", known), known)
            self.assertTrue(matches(b"myPassword\0x", known), known)
            for wrong in (b"", b"mypassword", b"myPassword ", known):
                self.assertFalse(matches(wrong, known), known)

    def test_apr1(self) -> None:
        """
        Passwords may be empty, and longer than a digest; salts are short.
        """
        self.assertEqual(apr1(b"", b"ab"), b"$apr1$ab$S8K6Sgp3W8c9Jb6LxgywZ.")
        self.assertEqual(apr1(LONG, b"abcdefgh"), b"$apr1$abcdefgh$NSm9ADSB54DxP.dQ5NFjr/")
        self.assertFalse(matches(LONG, b"$apr1$abcdefghi$NSm9ADSB54DxP.dQ5NFjr/"))

    def test_broken(self) -> None:
        """
        What is no password of its kind is nobody's.
        """
        for known in (b"$apr1$", b"{SSHA}", b"{SSHA}%%%", b"{SSHA}abcde", b"{SHA}", b"{PLAIN}"):
            self.assertFalse(matches(b"myPassword", known), known)
        self.assertTrue(matches(b"", b"{PLAIN}"))

    def test_system(self) -> None:
        """
        All others are for the system to know.
        """
        if ctypes.util.find_library("crypt") is None:
            self.assertIsNone(system_crypt()(b"a", b"b"))
            return
        known = b"$6$abcdefgh$vd/23X3cwvfSktK8g8ZrCYdcWYlKD1KOv4Gc9wAngWRrkUauykD1U1wxHuTWE0sLAQyZJhLvoMoXOvwt3tk020"
        self.assertTrue(matches(b"myPassword", known))
        self.assertFalse(matches(b"mypassword", known))

    def test_nobody_knows(self) -> None:
        """
        Where the system cannot say, nobody comes in by mistake.
        """
        self.assertRaises(OSError, matches, b"x", b"*0", lambda: lambda password, known: None)
        self.patch(ctypes.util, "find_library", lambda name: None)
        system_crypt.cache_clear()
        self.addCleanup(system_crypt.cache_clear)
        self.assertRaises(OSError, matches, b"x", b"x")
