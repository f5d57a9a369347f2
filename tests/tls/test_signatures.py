"""
Tests for L{sniproxy.tls.signatures}: real handshakes are in L{tests.tls.test_contexts}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls.signatures import CERTIFICATE_VERIFY, SERVER_KEY_EXCHANGE, scheme

SIGNATURE = b"\x04\x03" + b"\x00\x05" + b"12345"


def message(kind: int, body: bytes) -> bytes:
    """
    A handshake message.
    """
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def numbers(size: int) -> bytes:
    """
    Three numbers of ephemeral Diffie-Hellman, as they are sent.
    """
    return 3 * (size.to_bytes(2, "big") + bytes(size))


class SchemeTests(SynchronousTestCase):
    """
    L{scheme}.
    """

    def test_messages(self) -> None:
        """
        It is found in all messages that sign; sizes of numbers that look like a curve do not mislead.
        """
        point = b"\x03\x00\x1d\x20" + bytes(32)
        for body in (
            message(CERTIFICATE_VERIFY, SIGNATURE),
            message(SERVER_KEY_EXCHANGE, point + SIGNATURE),
            message(SERVER_KEY_EXCHANGE, numbers(256) + SIGNATURE),
            message(SERVER_KEY_EXCHANGE, numbers(0x300) + SIGNATURE),
        ):
            self.assertEqual(scheme(body), 0x0403)

    def test_old(self) -> None:
        """
        Before TLS 1.2 there are signatures without a scheme.
        """
        bare = b"\x00\x05" + b"12345"
        self.assertEqual(scheme(message(CERTIFICATE_VERIFY, bare)), 0)
        self.assertEqual(scheme(message(SERVER_KEY_EXCHANGE, b"\x03\x00\x17\x41" + bytes(65) + bare)), 0)

    def test_others(self) -> None:
        """
        Other messages have none, and no cut of one raises.
        """
        self.assertEqual(scheme(message(11, SIGNATURE)), 0)
        for whole in (
            message(CERTIFICATE_VERIFY, SIGNATURE),
            message(SERVER_KEY_EXCHANGE, b"\x03\x00\x1d\x20" + bytes(32) + SIGNATURE),
            message(SERVER_KEY_EXCHANGE, numbers(256) + SIGNATURE),
        ):
            for size in range(len(whole)):
                self.assertEqual(scheme(whole[:size]), 0)
