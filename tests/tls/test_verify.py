"""
Who is let in, row by row, and again with the ticket that the first visit gave.
"""

from __future__ import annotations

from cryptography import x509
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls import native
from sniproxy.tls.policies import ClientPolicy, ServerPolicy, VerifyMode
from sniproxy.tls.sessions import release
from sniproxy.tls.verify import NOT_ASKED, Judgement, judge_client, judge_server, matches
from tests.support import pki
from tests.tls.pump import NOW, Disk, pair, shake

B_CA = pki.authority("*.example.com")
T_CA = pki.authority("other authority")
SAME_NAME = pki.authority("*.example.com")
UNKNOWN = pki.authority("unknown authority")

CLIENTS = {
    "none": None,
    "B": pki.leaf(B_CA, "b.example.com"),
    "T": pki.leaf(T_CA, "t.example.com"),
    "U": pki.leaf(UNKNOWN, "u.example.com"),
    "A": pki.leaf(SAME_NAME, "a.example.com"),
    "N": pki.leaf(SAME_NAME, "n.example.com", pointer=False),
    "self": pki.self_signed("self.example.com"),
    "exp": pki.leaf(B_CA, "exp.example.com", validity=pki.EXPIRED),
}
EVERYONE = set(CLIENTS)

ROWS: tuple[tuple[VerifyMode, bool, bool, set[str]], ...] = (
    ("off", False, False, EVERYONE),
    ("off", True, True, EVERYONE),
    ("on", True, False, {"B"}),
    ("on", True, True, {"B", "T"}),
    ("optional", True, False, {"none", "B"}),
    ("optional", True, True, {"none", "B", "T"}),
    ("optional_no_ca", False, False, EVERYONE - {"exp"}),
    ("optional_no_ca", False, True, EVERYONE - {"exp"}),
    ("optional_no_ca", True, False, EVERYONE - {"N", "exp"}),
    ("optional_no_ca", True, True, EVERYONE - {"N", "exp"}),
)
"""
Mode, whether ssl_client_certificate and ssl_trusted_certificate are set, and who is let in: observed on nginx 1.22.
"""


def no_report(error: Exception) -> None:
    """
    For tests in which no hook fails.
    """
    raise AssertionError from error


def brief(judgement: Judgement) -> tuple[bool, int, str, str]:
    """
    What must be the same on a full and on a resumed handshake.
    """
    return judgement.ok, judgement.code, judgement.text, judgement.message


class ClientTableTests(SynchronousTestCase):
    """
    The modes of ssl_verify_client.
    """

    def visits(self, policy: ServerPolicy, disk: Disk, client: pki.Identity | None) -> tuple[Judgement, Judgement]:
        """
        @return: what became of a first visit, and of a second one with the session of the first.
        """
        server = disk.server(policy)
        visitor = disk.client(ClientPolicy(certificates=(disk.add("visitor", client),) if client else ()))
        one, other = pair(visitor, server)
        first = judge_client(other, server, no_report)
        session = one.get_session()
        release(one)
        release(other)
        one, other = pair(visitor, server, session)
        self.assertTrue(native.session_reused(other), "the second visit must resume, else this test shows nothing")
        return first, judge_client(other, server, no_report)

    def table(self, **session: object) -> None:
        """
        Every client, in every row, under TLS 1.2 and 1.3, twice.
        """
        disk = Disk()
        pair_of_files = disk.add("server", pki.leaf(B_CA, "server.example.com"))
        first_trust, second_trust = disk.trust("cc", B_CA), disk.trust("tc", T_CA)
        for protocol in ("TLSv1.2", "TLSv1.3"):
            for mode, cc, tc, let_in in ROWS:
                policy = ServerPolicy(
                    (pair_of_files,),
                    protocols=(protocol,),
                    verify=mode,
                    client_certificate=first_trust if cc else "",
                    trusted_certificate=second_trust if tc else "",
                    **session,  # type: ignore[arg-type]
                )
                for name, client in CLIENTS.items():
                    first, second = self.visits(policy, disk, client)
                    case = f"{protocol} {mode} cc={cc} tc={tc} {name}"
                    self.assertEqual(first.ok, name in let_in, f"{case}: {first}")
                    self.assertEqual(brief(second), brief(first), case)
                    self.assertEqual(second.links, ())

    def test_tickets(self) -> None:
        """
        Whoever nginx lets in is let in, the others are not, and a ticket changes nothing.
        """
        self.table()

    def test_cache(self) -> None:
        """
        A session in the server's memory changes nothing either.
        """
        self.table(session_tickets=False, session_cache=("shared:TLS:1m",))

    def test_what_another_demands(self) -> None:
        """
        Where the client's server is not the one whose context it met, the former's demand decides about what the
        latter asked for.
        """
        disk = Disk()
        files = disk.add("server", pki.leaf(B_CA, "server.example.com"))
        for asks in (False, True):
            policy = ServerPolicy((files,), verify="on" if asks else "off", client_certificate=disk.trust("cc", B_CA))
            server = disk.server(policy)
            for mode, let_in in (
                ("off", {"none", "B", "exp"}),
                ("on", {"B"} if asks else set()),
                ("optional", {"none", "B"} if asks else {"none", "B", "exp"}),
            ):
                for name in ("none", "B", "exp"):
                    client = CLIENTS[name]
                    shown = (disk.add("visitor", client),) if client else ()
                    _, other = pair(disk.client(ClientPolicy(certificates=shown)), server)
                    judgement = judge_client(other, server, no_report, mode)  # type: ignore[arg-type]
                    self.assertEqual(judgement.ok, name in let_in, (asks, mode, name))
                    self.assertEqual(judgement.certificate is not None, asks and name != "none")

    def test_texts(self) -> None:
        """
        The variable and the log say what nginx says.
        """
        disk = Disk()
        files = disk.add("server", pki.leaf(B_CA, "server.example.com"))
        policy = ServerPolicy((files,), verify="on", client_certificate=disk.trust("cc", B_CA))
        expected = {
            "none": ("NONE", "client sent no required SSL certificate"),
            "B": ("SUCCESS", ""),
            "U": (
                "FAILED:unable to verify the first certificate",
                "client SSL certificate verify error: (21:unable to verify the first certificate)",
            ),
            "N": (
                "FAILED:certificate signature failure",
                "client SSL certificate verify error: (7:certificate signature failure)",
            ),
            "self": (
                "FAILED:self-signed certificate",
                "client SSL certificate verify error: (18:self-signed certificate)",
            ),
            "exp": (
                "FAILED:certificate has expired",
                "client SSL certificate verify error: (10:certificate has expired)",
            ),
        }
        for name, texts in expected.items():
            judgement, _ = self.visits(policy, disk, CLIENTS[name])
            self.assertEqual((judgement.text, judgement.message), texts)

    def test_trusted_only_succeeds(self) -> None:
        """
        Under optional_no_ca a certificate of a trusted authority is a SUCCESS, one without is let in as FAILED.
        """
        disk = Disk()
        files = disk.add("server", pki.leaf(B_CA, "server.example.com"))
        policy = ServerPolicy((files,), verify="optional_no_ca", trusted_certificate=disk.trust("tc", T_CA))
        self.assertEqual(self.visits(policy, disk, CLIENTS["T"])[0].text, "SUCCESS")
        judgement, _ = self.visits(policy, disk, CLIENTS["U"])
        self.assertEqual(judgement.text, "FAILED:unable to verify the first certificate")
        self.assertEqual((judgement.ok, judgement.message), (True, ""))

    def test_off_never_asks(self) -> None:
        """
        Without verification there is nothing to judge, and no link was noted.
        """
        disk = Disk()
        server = disk.server(ServerPolicy((disk.add("server", pki.leaf(B_CA, "server.example.com")),)))
        visitor = disk.client(ClientPolicy(certificates=(disk.add("visitor", pki.leaf(B_CA)),)))
        _, other = pair(visitor, server)
        self.assertIs(judge_client(other, server, no_report), NOT_ASKED)
        self.assertEqual(other.links, [])
        self.assertIsNone(other.get_peer_certificate())


class DepthTests(SynchronousTestCase):
    """
    How long chains may be, on both sides.
    """

    def judged(self, depth: int, intermediates: int, side: str) -> Judgement:
        """
        @param side: who shows the chain.
        """
        disk = Disk()
        shown = disk.add("shown", pki.leaf(pki.chain(B_CA, intermediates), "shown.example.com"))
        plain, trust = disk.add("plain", pki.leaf(B_CA, "plain.example.com")), disk.trust("ca", B_CA)
        if side == "client":
            server = disk.server(ServerPolicy((plain,), verify="on", client_certificate=trust, depth=depth))
            _, other = pair(disk.client(ClientPolicy(certificates=(shown,))), server)
            return judge_client(other, server, no_report)
        client = disk.client(ClientPolicy(verify=True, trusted_certificate=trust, depth=depth))
        one, _ = pair(client, disk.server(ServerPolicy((shown,))))
        return judge_server(one, client, "shown.example.com", no_report)

    def test_table(self) -> None:
        """
        Leaf and root are not counted; a chain that is too deep ends as error 20.
        """
        for side in ("client", "server"):
            for depth, intermediates in (
                (0, 0),
                (0, 1),
                (0, 2),
                (1, 0),
                (1, 1),
                (1, 2),
                (2, 2),
                (2, 3),
                (6, 6),
                (6, 7),
            ):
                judgement = self.judged(depth, intermediates, side)
                case = f"{side} depth {depth}, {intermediates} intermediates: {judgement}"
                self.assertEqual(judgement.ok, intermediates <= depth, case)
                self.assertEqual(judgement.code, 0 if judgement.ok else 20, case)

    def test_too_deep_is_forgiven(self) -> None:
        """
        Since it is error 20, optional_no_ca lets a chain in that is too deep.
        """
        disk = Disk()
        plain = disk.add("plain", pki.leaf(B_CA, "plain.example.com"))
        shown = disk.add("shown", pki.leaf(pki.chain(B_CA, 3), "shown.example.com"))
        trust = disk.trust("ca", B_CA)
        server = disk.server(ServerPolicy((plain,), verify="optional_no_ca", client_certificate=trust, depth=1))
        _, other = pair(disk.client(ClientPolicy(certificates=(shown,))), server)
        judgement = judge_client(other, server, no_report)
        self.assertEqual((judgement.ok, judgement.code), (True, 20))

    def test_itself_trusted(self) -> None:
        """
        A self-signed certificate that is the trusted file passes at depth 0.
        """
        disk = Disk()
        own = pki.self_signed("own.example.com")
        plain = disk.add("plain", pki.leaf(B_CA, "plain.example.com"))
        policy = ServerPolicy((plain,), verify="on", client_certificate=disk.trust("own", own), depth=0)
        server = disk.server(policy)
        _, other = pair(disk.client(ClientPolicy(certificates=(disk.add("shown", own),))), server)
        self.assertTrue(judge_client(other, server, no_report).ok)

    def test_intermediate_alone(self) -> None:
        """
        A trust file that holds only an intermediate trusts nobody: error 2.
        """
        disk = Disk()
        middle = pki.chain(B_CA, 1)
        plain = disk.add("plain", pki.leaf(B_CA, "plain.example.com"))
        server = disk.server(ServerPolicy((plain,), verify="on", client_certificate=disk.trust("middle", middle)))
        shown = disk.add("shown", pki.leaf(middle, "shown.example.com"))
        _, other = pair(disk.client(ClientPolicy(certificates=(shown,))), server)
        judgement = judge_client(other, server, no_report)
        self.assertEqual((judgement.ok, judgement.code), (False, 2))

    def test_links(self) -> None:
        """
        Every certificate of the chain is noted with its depth and subject, from the root down.
        """
        judgement = self.judged(2, 2, "client")
        self.assertEqual(
            [(link.depth, link.subject, link.error) for link in judgement.links],
            [
                (3, "CN=*.example.com", 0),
                (2, "CN=Intermediate 1", 0),
                (1, "CN=Intermediate 2", 0),
                (0, "CN=shown.example.com", 0),
            ],
        )


class RevocationTests(SynchronousTestCase):
    """
    Revocation lists, on both sides.
    """

    def test_client(self) -> None:
        """
        A revoked client is refused, also with its ticket, and its neighbour is not.
        """
        disk = Disk()
        bad, good = pki.leaf(B_CA, "bad.example.com"), pki.leaf(B_CA, "good.example.com")
        disk.files["/crl"] = pki.crl(B_CA, bad)
        plain = disk.add("plain", good)
        server = disk.server(ServerPolicy((plain,), verify="on", client_certificate=disk.trust("ca", B_CA), crl="/crl"))
        for identity, code in ((bad, 23), (good, 0)):
            visitor = disk.client(ClientPolicy(certificates=(disk.add("visitor", identity),)))
            one, other = pair(visitor, server)
            self.assertEqual(judge_client(other, server, no_report).code, code)
            _, other = pair(visitor, server, one.get_session())
            self.assertTrue(native.session_reused(other))
            self.assertEqual(judge_client(other, server, no_report).code, code)

    def test_every_authority_needs_a_list(self) -> None:
        """
        A chain with an authority that no list speaks of is refused: error 3.
        """
        disk = Disk()
        disk.files["/crl"] = pki.crl(B_CA)
        shown = disk.add("shown", pki.leaf(pki.chain(B_CA, 1), "shown.example.com"))
        client = disk.client(ClientPolicy(verify=True, trusted_certificate=disk.trust("ca", B_CA), crl="/crl"))
        one, _ = pair(client, disk.server(ServerPolicy((shown,))))
        judgement = judge_server(one, client, "shown.example.com", no_report)
        self.assertEqual(
            (judgement.ok, judgement.message),
            (False, "upstream SSL certificate verify error: (3:unable to get certificate CRL)"),
        )


class ResumedTests(SynchronousTestCase):
    """
    What a resumed session must not do.
    """

    def setUp(self) -> None:
        self.disk = Disk()
        self.plain = self.disk.add("plain", pki.leaf(B_CA, "plain.example.com"))
        self.trust = self.disk.trust("ca", B_CA)
        self.now = NOW

    def test_client_expired_since(self) -> None:
        """
        A client whose certificate has ended since its session was made is refused.
        """
        policy = ServerPolicy((self.plain,), verify="on", client_certificate=self.trust)
        server = self.disk.server(policy, lambda: self.now)
        visitor = self.disk.client(ClientPolicy(certificates=(self.disk.add("v", pki.leaf(B_CA)),)))
        one, other = pair(visitor, server)
        self.assertTrue(judge_client(other, server, no_report).ok)
        self.now = pki.END.timestamp()
        _, other = pair(visitor, server, one.get_session())
        self.assertTrue(native.session_reused(other))
        judgement = judge_client(other, server, no_report)
        self.assertEqual((judgement.ok, judgement.code), (False, 10))

    def test_upstream(self) -> None:
        """
        An upstream that resumes is good for as long as the session that it was offered, and for its own name only.
        """
        client = self.disk.client(ClientPolicy(verify=True, trusted_certificate=self.trust), lambda: self.now)
        server = self.disk.server(ServerPolicy((self.plain,)))
        first, _ = pair(client, server)
        session = first.get_session()
        one, other = client.connection(), server.connection()
        assert session is not None
        one.set_session(session)
        one.offered_until = NOW + 1
        shake(one, other)
        self.assertTrue(native.session_reused(one))
        self.assertFalse(judge_server(one, client, "other.example.com", no_report).ok)
        self.assertIsNone(one.good_until)
        self.assertTrue(judge_server(one, client, "plain.example.com", no_report).ok)
        self.assertEqual(one.good_until, NOW + 1)

    def test_hook_prevents(self) -> None:
        """
        With a hook there is no resumption under either protocol, so it sees every link every time.
        """
        for protocol in ("TLSv1.2", "TLSv1.3"):
            seen: list[int] = []

            def hook(depth: int, certificate: x509.Certificate, error: int, seen: list[int] = seen) -> bool:
                seen.append(depth)
                return True

            policy = ServerPolicy(
                (self.plain,),
                protocols=(protocol,),
                verify="on",
                client_certificate=self.trust,
                session_cache=("shared:a:1m",),
                hook=hook,
            )
            server = self.disk.server(policy)
            visitor = self.disk.client(ClientPolicy(certificates=(self.disk.add("v", pki.leaf(B_CA)),)))
            one, other = pair(visitor, server)
            self.assertTrue(judge_client(other, server, no_report).ok)
            _, other = pair(visitor, server, one.get_session())
            self.assertFalse(native.session_reused(other))
            self.assertTrue(judge_client(other, server, no_report).ok)
            self.assertEqual(seen, [1, 0, 1, 0])

    def test_resumed_against_the_rule(self) -> None:
        """
        Should a context that must not resume have done so, the peer is refused.
        """
        policy = ServerPolicy((self.plain,), verify="on", client_certificate=self.trust)
        server = self.disk.server(policy)
        strict = self.disk.server(ServerPolicy((self.plain,), verify="on", client_certificate=self.trust, hook=_never))
        visitor = self.disk.client(ClientPolicy(certificates=(self.disk.add("v", pki.leaf(B_CA)),)))
        one, _ = pair(visitor, server)
        _, other = pair(visitor, server, one.get_session())
        judgement = judge_client(other, strict, no_report)
        self.assertEqual((judgement.ok, judgement.code), (False, 1))


def _never(depth: int, certificate: x509.Certificate, error: int) -> bool:
    raise AssertionError("not to be asked")


class HookTests(SynchronousTestCase):
    """
    A verify hook can refuse and cannot admit.
    """

    def setUp(self) -> None:
        self.disk = Disk()
        self.plain = self.disk.add("plain", pki.leaf(B_CA, "plain.example.com"))
        self.trust = self.disk.trust("ca", B_CA)
        self.reported: list[Exception] = []

    def client_judged(self, hook: object, client: str) -> Judgement:
        """
        What becomes of C{client} in mode on.
        """
        policy = ServerPolicy((self.plain,), verify="on", client_certificate=self.trust, hook=hook)  # type: ignore[arg-type]
        server = self.disk.server(policy)
        identity = CLIENTS[client]
        shown = (self.disk.add("v", identity),) if identity else ()
        _, other = pair(self.disk.client(ClientPolicy(certificates=shown)), server)
        return judge_client(other, server, self.reported.append)

    def test_refuses(self) -> None:
        """
        One false answer refuses whom the chain lets in.
        """
        judgement = self.client_judged(lambda depth, certificate, error: depth == 1, "B")
        self.assertEqual((judgement.ok, judgement.message), (False, "client SSL certificate refused by a verify hook"))

    def test_cannot_admit(self) -> None:
        """
        A true answer admits nobody who is refused without it.
        """
        for client in ("none", "U", "exp"):
            self.assertFalse(self.client_judged(lambda depth, certificate, error: True, client).ok)

    def test_exception_refuses(self) -> None:
        """
        A hook that fails has refused, and its exception is reported.
        """
        self.assertFalse(self.client_judged(lambda depth, certificate, error: 1 // 0, "B").ok)
        self.assertIsInstance(self.reported[0], ZeroDivisionError)

    def test_upstream(self) -> None:
        """
        The same hook stands before upstreams.
        """
        for answer in (True, False):
            policy = ClientPolicy(verify=True, trusted_certificate=self.trust, hook=lambda *_, answer=answer: answer)
            client = self.disk.client(policy)
            one, _ = pair(client, self.disk.server(ServerPolicy((self.plain,))))
            judgement = judge_server(one, client, "plain.example.com", self.reported.append)
            self.assertEqual(judgement.ok, answer)
            self.assertEqual(judgement.message, "" if answer else "upstream SSL certificate refused by a verify hook")
        self.assertFalse(client.resumes)


class ServerJudgementTests(SynchronousTestCase):
    """
    What is demanded of an upstream.
    """

    def judged(self, shown: pki.Identity, name: str, verify: bool = True) -> Judgement:
        """
        What becomes of an upstream that shows C{shown}.
        """
        disk = Disk()
        trust = disk.trust("ca", B_CA) if verify else ""
        client = disk.client(ClientPolicy(verify=verify, trusted_certificate=trust))
        one, _ = pair(client, disk.server(ServerPolicy((disk.add("s", shown),))))
        judgement = judge_server(one, client, name, no_report)
        self.assertEqual(one.good_until is not None, judgement.ok)
        return judgement

    def test_good(self) -> None:
        """
        Chain and name hold.
        """
        judgement = self.judged(pki.leaf(B_CA, "a.example.com"), "A.example.com.")
        self.assertEqual((judgement.ok, judgement.text), (True, "SUCCESS"))

    def test_not_verified(self) -> None:
        """
        Without proxy_ssl_verify nothing is asked.
        """
        self.assertIs(self.judged(pki.self_signed("x.example.com"), "y.example.com", verify=False), NOT_ASKED)

    def test_untrusted(self) -> None:
        """
        An unknown authority is told in nginx's words.
        """
        judgement = self.judged(pki.leaf(pki.chain(UNKNOWN, 1), "a.example.com"), "a.example.com")
        self.assertEqual(
            judgement.message,
            "upstream SSL certificate verify error: (20:unable to get local issuer certificate)",
        )

    def test_wrong_name(self) -> None:
        """
        A trusted certificate of somebody else is told in nginx's words.
        """
        judgement = self.judged(pki.leaf(B_CA, "a.example.com"), "b.example.com")
        self.assertEqual(judgement.message, 'upstream SSL certificate does not match "b.example.com"')

    def test_usage(self) -> None:
        """
        A certificate for clients only does not make a server: error 26. One without usages does.
        """
        self.assertEqual(self.judged(pki.leaf(B_CA, "a.example.com", usage="client"), "a.example.com").code, 26)
        self.assertTrue(self.judged(pki.leaf(B_CA, "a.example.com", usage="server"), "a.example.com").ok)
        self.assertTrue(self.judged(pki.leaf(B_CA, "a.example.com", usage="none"), "a.example.com").ok)

    def test_client_usage(self) -> None:
        """
        Nor does a certificate for servers only make a client.
        """
        disk = Disk()
        plain, trust = disk.add("plain", pki.leaf(B_CA)), disk.trust("ca", B_CA)
        server = disk.server(ServerPolicy((plain,), verify="on", client_certificate=trust))
        shown = disk.add("v", pki.leaf(B_CA, usage="server"))
        _, other = pair(disk.client(ClientPolicy(certificates=(shown,))), server)
        self.assertEqual(judge_client(other, server, no_report).code, 26)


class NameTests(SynchronousTestCase):
    """
    Which names a certificate is good for.
    """

    def test_names(self) -> None:
        """
        Wildcards stand for one whole label at the left, addresses match addresses, and the common name matches nothing.
        """
        cases: tuple[tuple[tuple[str, ...], str, bool], ...] = (
            (("a.example.com",), "a.example.com", True),
            (("A.example.com",), "a.EXAMPLE.com.", True),
            (("*.example.com",), "a.example.com", True),
            (("*.example.com",), "a.b.example.com", False),
            (("*.example.com",), "example.com", False),
            (("w*.example.com",), "www.example.com", False),
            (("a.*.com",), "a.b.com", False),
            (("*.com",), "a.com", False),
            (("127.0.0.1",), "127.0.0.1", True),
            (("127.0.0.1",), "127.0.0.2", False),
            (("a.example.com",), "127.0.0.1", False),
            (("::1",), "::1", True),
            (("::1",), "[::1]", True),
            (("xn--bcher-kva.example",), "b\u00fccher.example", True),
            (("a.example.com",), "", False),
            (("a.example.com",), ".", False),
            (("a.example.com",), "a.example.com\0", False),
            (("a.example.com",), "\udcff", False),
            ((), "common.example.com", False),
        )
        for names, name, good in cases:
            certificate = pki.leaf(B_CA, "common.example.com", names=names).certificate
            self.assertEqual(matches(certificate, name), good, f"{names} {name!r}")


class FailClosedTests(SynchronousTestCase):
    """
    What happens when something is not as it should be.
    """

    def test_binding_gone(self) -> None:
        """
        Without a private binding the table holds all the same, and nobody resumes.
        """
        self.patch(native, "BINDINGS", (*native.BINDINGS, "SSL_not_there"))
        disk = Disk()
        plain, trust = disk.add("plain", pki.leaf(B_CA, "plain.example.com")), disk.trust("ca", B_CA)
        for protocol in ("TLSv1.2", "TLSv1.3"):
            policy = ServerPolicy(
                (plain,),
                protocols=(protocol,),
                verify="on",
                client_certificate=trust,
                session_cache=("shared:a:1m",),
            )
            server = disk.server(policy)
            self.assertFalse(server.exact)
            for name, client in CLIENTS.items():
                visitor = disk.client(ClientPolicy(certificates=(disk.add("v", client),) if client else ()))
                one, other = pair(visitor, server)
                self.assertEqual(judge_client(other, server, no_report).ok, name == "B", name)
                _, other = pair(visitor, server, one.get_session())
                self.assertFalse(native.session_reused(other))
                self.assertEqual(judge_client(other, server, no_report).ok, name == "B", name)

    def test_links_not_noted(self) -> None:
        """
        A full handshake with a certificate of which no link was noted is refused.
        """
        disk = Disk()
        plain, trust = disk.add("plain", pki.leaf(B_CA, "plain.example.com")), disk.trust("ca", B_CA)
        server = disk.server(ServerPolicy((plain,), verify="on", client_certificate=trust))
        _, other = pair(disk.client(ClientPolicy(certificates=(plain,))), server)
        other.links.clear()
        self.assertEqual(judge_client(other, server, no_report).code, 1)

    def test_unreadable(self) -> None:
        """
        A certificate that cannot be read is refused.
        """
        disk = Disk()
        plain, trust = disk.add("plain", pki.leaf(B_CA, "plain.example.com")), disk.trust("ca", B_CA)
        server = disk.server(ServerPolicy((plain,), verify="optional_no_ca", client_certificate=trust))
        _, other = pair(disk.client(ClientPolicy(certificates=(plain,))), server)

        def broken(der: bytes) -> None:
            raise ValueError("not a certificate")

        self.patch(native, "_parsed", broken)
        judgement = judge_client(other, server, no_report)
        self.assertEqual((judgement.ok, judgement.code), (False, 1))

    def test_callback_fails(self) -> None:
        """
        Where a link cannot be noted the handshake itself fails.
        """
        disk = Disk()
        plain, trust = disk.add("plain", pki.leaf(B_CA, "plain.example.com")), disk.trust("ca", B_CA)
        server = disk.server(ServerPolicy((plain,), verify="on", client_certificate=trust))
        one, other = disk.client(ClientPolicy(certificates=(plain,))).connection(), server.connection()
        other.links = None  # type: ignore[assignment]
        self.assertRaises(SSL.Error, shake, one, other)
