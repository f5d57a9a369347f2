"""
Sessions with upstreams come back to where they were made, and nowhere else.
"""

from __future__ import annotations

import gc

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls import native
from sniproxy.tls.contexts import ClientContext, ServerContext
from sniproxy.tls.native import TLSConnection
from sniproxy.tls.policies import ClientPolicy, ServerPolicy
from sniproxy.tls.sessions import SessionCache, release, resumable, session_id
from sniproxy.tls.shares import AGREED
from sniproxy.tls.verify import judge_server
from tests.support import pki
from tests.tls.pump import NOW, Disk, move, read, settle, shake

CA = pki.authority("CA")
NAME = "s.example.com"


def no_report(error: Exception) -> None:
    """
    No hook, no failure.
    """
    raise AssertionError from error


class SessionCase(SynchronousTestCase):
    """
    An upstream and a verifying client with a clock.
    """

    def setUp(self) -> None:
        self.disk = Disk()
        self.now = NOW
        self.upstream = self.server("TLSv1.3", pki.leaf(CA, NAME))
        self.client = self.context()

    def server(self, protocol: str, identity: pki.Identity) -> ServerContext:
        """
        An upstream.
        """
        return self.disk.server(ServerPolicy((self.disk.add("s", identity),), protocols=(protocol,)))

    def context(self, **words: object) -> ClientContext:
        """
        A verifying context.
        """
        policy = ClientPolicy(verify=True, trusted_certificate=self.disk.trust("ca", CA), **words)  # type: ignore[arg-type]
        return self.disk.client(policy, lambda: self.now)

    def visit(
        self, cache: SessionCache, key: object = "peer", context: ClientContext | None = None, name: str = NAME
    ) -> tuple[TLSConnection, bool]:
        """
        One connection from offer to keep.

        @return: the client's side and whether it resumed.
        """
        client = context or self.client
        one, other = client.connection(), self.upstream.connection()
        cache.offer(one, key)
        shake(one, other)
        judge_server(one, client, name, no_report)
        settle(one, other)
        cache.keep(one, key)
        release(one)
        return one, native.session_reused(one)


class CacheTests(SessionCase):
    """
    L{SessionCache}.
    """

    def test_second_resumes(self) -> None:
        """
        Of several peers each has a full handshake first and only resumed ones later, under TLS 1.2 and 1.3.
        """
        for protocol in ("TLSv1.2", "TLSv1.3"):
            self.upstream = self.server(protocol, pki.leaf(CA, NAME))
            cache = SessionCache(self.client)
            answers = [self.visit(cache, key)[1] for _ in range(3) for key in ("a", "b", "c")]
            self.assertEqual(answers, [False] * 3 + [True] * 6)

    def test_verified_again(self) -> None:
        """
        A resumed session's certificate must still carry the name that is asked for.
        """
        cache = SessionCache(self.client)
        self.visit(cache)
        one, other = self.client.connection(), self.upstream.connection()
        self.assertTrue(cache.offer(one, "peer"))
        shake(one, other)
        self.assertTrue(native.session_reused(one))
        self.assertTrue(judge_server(one, self.client, NAME, no_report).ok)
        self.assertFalse(judge_server(one, self.client, "other.example.com", no_report).ok)

    def test_refused_not_kept(self) -> None:
        """
        The session of an upstream that was refused, or not judged, is not kept.
        """
        cache = SessionCache(self.client)
        self.visit(cache, name="other.example.com")
        self.assertEqual(len(cache), 0)
        one, other = self.client.connection(), self.upstream.connection()
        shake(one, other)
        settle(one, other)
        cache.keep(one, "peer")
        self.assertEqual(len(cache), 0)

    def test_not_before_tickets(self) -> None:
        """
        Right after a TLS 1.3 handshake there is nothing to keep, and what was kept stays.
        """
        cache = SessionCache(self.client)
        one, other = self.client.connection(), self.upstream.connection()
        try:
            one.do_handshake()
        except SSL.WantReadError:
            move(one, other)
        self.assertRaises(SSL.WantReadError, other.do_handshake)
        move(other, one)
        one.do_handshake()
        judge_server(one, self.client, NAME, no_report)
        cache.keep(one, "peer")
        self.assertEqual(len(cache), 0)
        move(one, other)
        other.do_handshake()
        move(other, one)
        read(one)
        cache.keep(one, "peer")
        self.assertEqual(len(cache), 1)

    def test_end_of_certificate(self) -> None:
        """
        A session ends with the first certificate of its chain that ends, however often it was resumed and renewed.
        """
        end = pki.BEGIN.replace(year=2030)
        self.upstream = self.server("TLSv1.3", pki.leaf(CA, NAME, validity=(pki.BEGIN, end)))
        cache = SessionCache(self.client)
        self.visit(cache)
        one, resumed = self.visit(cache)
        self.assertTrue(resumed)
        self.assertEqual(one.good_until, end.timestamp())
        self.now = end.timestamp() - 1
        self.assertTrue(cache.offer(self.client.connection(), "peer"))
        self.now = end.timestamp()
        self.assertFalse(cache.offer(self.client.connection(), "peer"))
        self.assertEqual(len(cache), 0)
        cache.keep(one, "peer")
        self.assertEqual(len(cache), 0)

    def test_bounded(self) -> None:
        """
        The least recently used session goes first.
        """
        cache = SessionCache(self.client, limit=2)
        self.visit(cache, "a")
        self.visit(cache, "b")
        self.assertTrue(cache.offer(self.client.connection(), "a"))
        self.visit(cache, "c")
        self.assertEqual(len(cache), 2)
        self.assertFalse(cache.offer(self.client.connection(), "b"))
        self.assertTrue(cache.offer(self.client.connection(), "a"))

    def test_forget(self) -> None:
        """
        A session that was forgotten is not offered.
        """
        cache = SessionCache(self.client)
        one, _ = self.visit(cache)
        cache.forget(one, "peer")
        cache.forget(one, "peer")
        self.assertFalse(cache.offer(self.client.connection(), "peer"))

    def test_shares(self) -> None:
        """
        What an upstream chose is remembered when it is accepted, and no more when its handshake failed.
        """
        cache = SessionCache(self.client)
        sent = []
        for _ in range(AGREED + 1):
            one, other = self.client.connection(), self.upstream.connection()
            cache.offer(one, "peer")
            shake(one, other)
            judge_server(one, self.client, NAME, no_report)
            cache.accept(one, "peer")
            sent.append(one.share)
        cache.forget(one, "peer")
        again = self.client.connection()
        cache.offer(again, "peer")
        self.assertEqual([*sent, again.share], [*[""] * AGREED, native.chosen_group(one), ""])
        self.assertNotEqual(one.share, "")

    def test_accepted(self) -> None:
        """
        What an upstream of TLS 1.2 gave in its handshake is kept as soon as it is accepted.
        """
        self.upstream = self.server("TLSv1.2", pki.leaf(CA, NAME))
        cache = SessionCache(self.client)
        one, other = self.client.connection(), self.upstream.connection()
        shake(one, other)
        judge_server(one, self.client, NAME, no_report)
        cache.accept(one, "peer")
        self.assertEqual(len(cache), 1)

    def test_other_context(self) -> None:
        """
        A session cannot be offered under another context.
        """
        cache = SessionCache(self.client)
        self.visit(cache)
        self.assertRaises(ValueError, cache.offer, self.context(depth=2).connection(), "peer")

    def test_not_wanted(self) -> None:
        """
        Where sessions are not to be reused none is kept.
        """
        context = self.context(session_reuse=False)
        cache = SessionCache(context)
        self.visit(cache, context=context)
        self.assertEqual(len(cache), 0)

    def test_unverified(self) -> None:
        """
        A context that verifies nothing keeps sessions too.
        """
        context = self.disk.client(ClientPolicy())
        cache = SessionCache(context)
        self.assertEqual([self.visit(cache, context=context)[1] for _ in range(2)], [False, True])

    def test_no_session(self) -> None:
        """
        A connection whose session is gone is passed over.
        """
        cache = SessionCache(self.client)
        one, other = self.client.connection(), self.upstream.connection()
        shake(one, other)
        settle(one, other)
        judge_server(one, self.client, NAME, no_report)
        self.patch(one, "get_session", lambda: None)
        cache.keep(one, "peer")
        self.assertEqual(len(cache), 0)


class ReleaseTests(SessionCase):
    """
    L{release}.
    """

    def test_dropped(self) -> None:
        """
        A session outlives its connection when that was released, and dies with it when it was just dropped.
        """
        for released in (True, False):
            cache = SessionCache(self.client)
            one, other = self.client.connection(), self.upstream.connection()
            shake(one, other)
            judge_server(one, self.client, NAME, no_report)
            settle(one, other)
            cache.keep(one, "peer")
            if released:
                release(one)
            del one, other
            gc.collect()
            self.assertEqual(self.visit(cache)[1], released)


class DerTests(SessionCase):
    """
    What is read from OpenSSL's own encoding of a session.
    """

    def test_identifier(self) -> None:
        """
        Both sides of a TLS 1.2 session without tickets have one identifier, which makes it resumable.
        """
        policy = ServerPolicy(
            (self.disk.add("s", pki.leaf(CA, NAME)),),
            protocols=("TLSv1.2",),
            session_tickets=False,
            session_cache=("builtin",),
        )
        one, other = self.client.connection(), self.disk.server(policy).connection()
        shake(one, other)
        ours, theirs = native.session_der(one), native.session_der(other)
        self.assertEqual(len(session_id(ours)), 32)
        self.assertEqual(session_id(ours), session_id(theirs))
        self.assertTrue(resumable(ours))

    def test_none(self) -> None:
        """
        Without a session there is no identifier and nothing to resume; nor is there in what is no session.
        """
        for der in (b"", b"\x04\x00", b"\x30\x00"):
            self.assertEqual(session_id(der), b"")
            self.assertFalse(resumable(der))
