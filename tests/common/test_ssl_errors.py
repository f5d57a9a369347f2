"""
Tests for L{sniproxy.common.ssl_errors}.
"""

from __future__ import annotations

import errno

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.ssl_errors import HANDSHAKE, broken, level_of, moving
from sniproxy.errors import TlsFailure
from sniproxy.levels import CRIT, ERROR, INFO
from tests.support.sessions import failure

LIBRARY = "SSL routines"


class WordsTests(SynchronousTestCase):
    """
    What is said.
    """

    def test_tls(self) -> None:
        """
        Where TLS broke OpenSSL's whole queue is told, and which call of its own failed.
        """
        error = TlsFailure(((LIBRARY, "", "http request"), ("", "", "odd")))
        self.assertRegex(
            broken(error, HANDSHAKE),
            r"^SSL_do_handshake\(\) failed \(SSL: error:[0-9A-F]{8}:.*http request error:.*odd\)$",
        )
        for call, told in (("recv()", "SSL_read()"), ("send()", "SSL_write()")):
            self.assertTrue(broken(error, call).startswith(f"{told} failed (SSL: error:"))

    def test_rejected(self) -> None:
        """
        A handshake that ssl_reject_handshake has ended is told in nginx's words, as what any stranger can cause.
        """
        error = TlsFailure((("SSL routines", "", "callback failed"),))
        self.assertEqual(broken(error, HANDSHAKE), "handshake rejected")
        self.assertEqual(level_of(error, "client"), INFO)

    def test_sockets(self) -> None:
        """
        Where the socket broke the system's words are told; in a handshake it is the peer that closed.
        """
        for error, call, words in (
            (failure(errno.EPIPE), "send()", "send() failed (32: Broken pipe)"),
            (
                failure(errno.ECONNRESET),
                HANDSHAKE,
                "peer closed connection in SSL handshake (104: Connection reset by peer)",
            ),
            (OSError(0, ""), HANDSHAKE, "peer closed connection in SSL handshake"),
            (failure(errno.ETIMEDOUT), HANDSHAKE, "client timed out (110: Connection timed out)"),
        ):
            self.assertEqual(broken(error, call), words)

    def test_moving(self) -> None:
        """
        A connection with TLS that is reset while it is read has just ended; one that is written to, and TLS that
        breaks, are told.
        """
        reset = failure(errno.ECONNRESET)
        broke = TlsFailure(((LIBRARY, "", "bad record type"),))
        for error, call, tls, words in (
            (reset, "recv()", False, "recv() failed (104: Connection reset by peer)"),
            (reset, "recv()", True, ""),
            (reset, "send()", True, "SSL_write() failed (104: Connection reset by peer)"),
            (broke, "recv()", True, broken(broke, "recv()")),
        ):
            self.assertEqual(moving(error, call, tls), words)


class LevelTests(SynchronousTestCase):
    """
    How loud it is said.
    """

    def test_what_strangers_can_cause(self) -> None:
        """
        Broken connections and what any stranger can send are info for clients and errors for upstreams.
        """
        for error in (
            failure(errno.ECONNRESET),
            TlsFailure(()),
            TlsFailure(((LIBRARY, "", "http request"),)),
            TlsFailure(((LIBRARY, "", "unsupported protocol"),)),
            TlsFailure(((LIBRARY, "", "bad extension"),)),
            TlsFailure(((LIBRARY, "", "bad key share"),)),
            TlsFailure(((LIBRARY, "", "no renegotiation"),)),
        ):
            self.assertEqual((level_of(error, "client"), level_of(error, "upstream")), (INFO, ERROR))

    def test_what_they_cannot(self) -> None:
        """
        All else is critical, on either side.
        """
        for reason in ("no certificate set", "something new"):
            error = TlsFailure(((LIBRARY, "", reason),))
            self.assertEqual((level_of(error, "client"), level_of(error, "upstream")), (CRIT, CRIT))
