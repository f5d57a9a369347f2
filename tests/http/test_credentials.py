"""
Who a client says it is.
"""

from __future__ import annotations

from base64 import b64encode

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.credentials import credentials


class CredentialsTests(SynchronousTestCase):
    """
    The field as nginx reads it.
    """

    def test_found(self) -> None:
        """
        Name and password are what is before and behind the first colon; the end of the base64 may be missing.
        """
        for data, wanted in (
            (b"me:secret", (b"me", b"secret")),
            (b"me:", (b"me", b"")),
            (b"a:b:c", (b"a", b"b:c")),
            (b"\xff: \0x", (b"\xff", b" \0x")),
        ):
            text = b64encode(data).decode()
            for value in (f"Basic {text}", f"bAsIc   {text}", f"Basic {text.rstrip('=')}", f"Basic {text}=more"):
                self.assertEqual(credentials(value), wanted, value)

    def test_none(self) -> None:
        """
        Nobody is named.
        """
        for value in (
            None,
            "",
            "Basic",
            "Basic ",
            "Basic =",
            "Basic bWU",
            "Basic OnNlY3JldA==",
            "Basic bWU6 ",
            "Basic b",
        ):
            self.assertIsNone(credentials(value), value)
        self.assertIsNone(credentials("Bearer bWU6c2VjcmV0"))
        self.assertIsNone(credentials("Basic bWU6-_"))
