"""
Tests for L{sniproxy.common.ocsp}: clients whose certificates are asked about, and ours that others ask about.
"""

from __future__ import annotations

from base64 import b64decode
from functools import cache
from typing import Any
from urllib.parse import unquote

from cryptography.x509 import ocsp as x509_ocsp
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.ocsp import MOST, Memory, Staples
from sniproxy.tls.ocsp import FOREVER, Status
from tests.support import pki, responses
from tests.support.sessions import NOW, FakeLeg, FarEnd, World, client_of, client_settings

VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)


@cache
def identities() -> dict[str, pki.Identity]:
    """
    A root, an authority below it, a server and clients.
    """
    root = pki.authority("Root")
    middle = pki.intermediate(root, "Middle")
    return {
        "root": root,
        "middle": middle,
        "server": responses.with_url(root, "a.example", "http://192.0.2.90/s"),
        "plain": pki.leaf(root, "plain.example"),
        "client": responses.with_url(root, "client", "http://192.0.2.91/c"),
        "deep": pki.leaf(middle, "deep"),
        "mute": pki.leaf(root, "mute"),
        "secure": responses.with_url(root, "secure", "https://192.0.2.91/"),
    }


def files() -> dict[str, bytes]:
    """
    All of them, as files.
    """
    found = {}
    for name, identity in identities().items():
        found[f"/etc/{name}.pem"] = identity.full_pem
        found[f"/etc/{name}.key"] = identity.key_pem
    found["/etc/chained.pem"] = identities()["server"].pem + identities()["root"].pem
    return found


def world(settings: str, *, verify: str = "on", more: str = "") -> World:
    """
    A server that asks.
    """
    return World(
        f"server {{ listen 192.0.2.1:443 ssl; ssl_certificate server.pem; ssl_certificate_key server.key; {settings}"
        f" ssl_verify_client {verify}; ssl_client_certificate root.pem; ssl_verify_depth 3; return in; }} {more}",
        files(),
    )


class ClientCase(SynchronousTestCase):
    """
    What tests of clients share.
    """

    def come(self, here: World, who: str | None = "client", version: int = SSL.TLS1_3_VERSION) -> FarEnd:
        """
        A client whose handshake is over as far as it sees.
        """
        settings = client_settings(version=version, identity=identities()[who] if who else None)
        if who == "deep":
            settings.add_extra_chain_cert(identities()["middle"].certificate)
        return FarEnd(here.client(), client_of(settings)).shake()

    def asked(self, leg: FakeLeg) -> int:
        """
        Whose status a responder is asked for: a serial number.
        """
        path = leg.taken().split()[1].decode()
        request = x509_ocsp.load_der_ocsp_request(b64decode(unquote(path.rpartition("/")[2])))
        return request.serial_number

    def answer(self, here: World, who: str, word: str = "good", issuer: str = "root", **options: Any) -> None:
        """
        The responder that is being connected to says something.
        """
        leg = here.attempt().succeed()
        self.assertEqual(self.asked(leg), identities()[who].certificate.serial_number)
        data = responses.response(identities()[who], identities()[issuer], here.engine.time(), word, **options)
        leg.arrive(responses.http(data))
        leg.end()
        self.assertTrue(leg.closed)


class ClientTests(ClientCase):
    """
    C{ssl_ocsp}.
    """

    def test_good(self) -> None:
        """
        Who is good is let in, after the answer and not before.
        """
        for version in VERSIONS:
            here = world("ssl_ocsp on;")
            far = self.come(here, version=version)
            self.assertEqual((far.done, far.heard, here.statuses()), (True, b"", []))
            self.answer(here, "client")
            self.assertEqual((far.shake().heard, here.statuses()), (b"in", [200]))
            self.assertEqual(here.network.attempts[0].address.text, "192.0.2.91:80")

    def test_not_good(self) -> None:
        """
        Who is revoked or unknown is not let in, and the log says so as nginx's does.
        """
        for word, message in (("revoked", "certificate revoked"), ("unknown", "certificate status unknown")):
            here = world("ssl_ocsp on;")
            far = self.come(here)
            self.answer(here, "client", word)
            self.assertEqual((far.shake().heard, here.statuses(), far.leg.closed), (b"", [500], True))
            self.assertIn(
                f"[info] *1 client SSL certificate verify error: {message} while SSL handshaking, client: ",
                here.lines[-1],
            )

    def assertFailed(self, here: World, far: FarEnd, why: str) -> None:
        """
        Nobody knew, so the client is not let in.
        """
        self.assertEqual((far.shake().heard, here.statuses(), far.leg.closed), (b"", [500], True))
        self.assertIn("client SSL certificate verify error: certificate status request failed", here.lines[-1])
        self.assertIn(f"[error] *1 {why}", here.lines[-2])

    def test_no_answer(self) -> None:
        """
        Whatever goes wrong with the responder, the client is not let in.
        """
        here = world("ssl_ocsp on;")
        far = self.come(here)
        here.attempt().fail()
        self.assertFailed(here, far, "connect() failed (111: Connection refused) while requesting certificate status")
        for options, why in (
            ({"signer": identities()["mute"]}, "OCSP_basic_verify() failed"),
            ({"lasts": -1000.0, "age": 5000.0}, "OCSP_check_validity() failed"),
        ):
            here = world("ssl_ocsp on;")
            far = self.come(here)
            self.answer(here, "client", **options)
            self.assertFailed(here, far, why)
        here = world("ssl_ocsp on;")
        self.assertFailed(here, self.come(here, "mute"), "no OCSP responder URL in the certificate")
        here = world("ssl_ocsp on;")
        self.assertFailed(here, self.come(here, "secure"), 'invalid URL prefix in OCSP responder "https://192.0.2.91/"')

    def test_time(self) -> None:
        """
        The time of the handshake bounds the questions, too; whoever leaves is not asked about any more.
        """
        here = world("ssl_ocsp on; ssl_handshake_timeout 5s;")
        far = self.come(here)
        attempt = here.attempt()
        here.pass_time(5.2)
        self.assertEqual((here.statuses(), far.leg.closed, attempt.cancelled), ([500], True, True))

    def test_chain(self) -> None:
        """
        The whole chain is asked about but the root, or the client alone; the responder of the directive is asked first.
        """
        settings = "ssl_ocsp_responder http://192.0.2.99:81/x; ssl_ocsp"
        here = world(f"{settings} on;")
        far = self.come(here, "deep")
        self.answer(here, "deep", issuer="middle")
        self.assertEqual(far.shake().heard, b"")
        self.answer(here, "middle")
        self.assertEqual(far.shake().heard, b"in")
        self.assertEqual({each.address.text for each in here.network.attempts}, {"192.0.2.99:81"})
        here = world(f"{settings} leaf;")
        far = self.come(here, "deep")
        self.answer(here, "deep", issuer="middle")
        self.assertEqual(far.shake().heard, b"in")
        here = world(f"{settings} on;")
        far = self.come(here, "deep")
        self.answer(here, "deep", issuer="middle")
        self.answer(here, "middle", "revoked")
        self.assertEqual(here.statuses(), [500])

    def test_who_is_not_asked_about(self) -> None:
        """
        Who has no certificate, where he may, is asked nothing about, nor anybody where none is wanted.
        """
        for settings, verify, who in (
            ("ssl_ocsp on;", "optional", None),
            ("ssl_ocsp on;", "off", "client"),
            ("ssl_ocsp off;", "on", "client"),
        ):
            here = world(settings, verify=verify)
            self.assertEqual((self.come(here, who).heard, here.network.attempts), (b"in", []))

    def test_not_resumed(self) -> None:
        """
        No session is resumed where somebody has to be asked: it has no chain.
        """
        for version in VERSIONS:
            here = world("ssl_ocsp on; ssl_session_cache builtin;")
            settings = client_settings(version=version, identity=identities()["client"])
            far = FarEnd(here.client(), client_of(settings)).shake()
            self.answer(here, "client")
            far.shake()
            far = FarEnd(here.client(), client_of(settings, session=far.connection.get_session())).shake()
            self.assertEqual(far.heard, b"")
            self.answer(here, "client", "revoked")
            self.assertEqual(here.statuses(), [200, 500])

    def test_cache(self) -> None:
        """
        With a cache nobody is asked again before the responder knows more; servers that name it share it.
        """
        here = world("ssl_ocsp on; ssl_ocsp_cache shared:a:1m;")
        far = self.come(here)
        self.answer(here, "client", lasts=100.0)
        self.assertEqual(far.shake().heard, b"in")
        self.assertEqual((self.come(here).heard, len(here.network.attempts)), (b"in", 1))
        here.pass_time(120)
        self.assertEqual((self.come(here).heard, len(here.network.attempts)), (b"", 2))
        self.answer(here, "client", "revoked")
        self.come(here)
        self.assertEqual((here.statuses(), len(here.network.attempts)), ([200, 200, 500, 500], 2))


class MemoryTests(SynchronousTestCase):
    """
    L{Memory}.
    """

    def test_bounds(self) -> None:
        """
        It has room for so many, the oldest goes first; what is good for this moment alone is not kept.
        """
        memory, root = Memory(), identities()["root"].certificate
        memory.put(identities()["client"].certificate, root, Status("good", FOREVER))
        self.assertEqual(len(memory), 0)

        class Numbered:
            def __init__(self, number: int) -> None:
                self.serial_number = number

        for number in range(MOST + 1):
            memory.put(Numbered(number), root, Status("good", 10.0))  # type: ignore[arg-type]
        self.assertEqual(len(memory), MOST)
        self.assertIsNone(memory.get(Numbered(0), root, 0.0))  # type: ignore[arg-type]
        self.assertEqual(memory.get(Numbered(1), root, 9.0), Status("good", 10.0))  # type: ignore[arg-type]
        self.assertIsNone(memory.get(Numbered(1), root, 10.0))  # type: ignore[arg-type]


class StaplingCase(ClientCase):
    """
    What tests of stapling share.
    """

    def setUp(self) -> None:
        self.staple = responses.response(identities()["server"], identities()["root"], NOW)

    def world(self, settings: str, certificate: str = "chained") -> World:
        """
        A server that staples.
        """
        key = "server" if certificate == "chained" else certificate
        return World(
            f"server {{ listen 192.0.2.1:443 ssl; ssl_certificate {certificate}.pem; ssl_certificate_key {key}.key;"
            f" ssl_stapling on; {settings} return in; }}",
            {**files(), "/etc/staple.der": self.staple},
        )

    def stapled(self, here: World, asks: bool = True) -> bytes:
        """
        What a client gets with the certificate.
        """
        got: list[bytes] = []

        def keep(connection: SSL.Connection, response: bytes, data: Any) -> bool:
            got.append(response)
            return True

        settings = client_settings()
        settings.set_ocsp_client_callback(keep)
        connection = client_of(settings)
        if asks:
            connection.request_ocsp()
        far = FarEnd(here.client(), connection).shake()
        self.assertEqual(far.heard, b"in")
        here.reactor.pump([0.0])
        return b"".join(got)


class StaplingTests(StaplingCase):
    """
    C{ssl_stapling}.
    """

    def test_file(self) -> None:
        """
        The file is shown to whom asks for it, as it is.
        """
        here = self.world("ssl_stapling_file staple.der;")
        self.assertEqual(self.stapled(here), self.staple)
        self.assertEqual(self.stapled(here, asks=False), b"")
        self.assertEqual(here.network.attempts, [])

    def test_fetched(self) -> None:
        """
        The first client that asks gets nothing and the responder is asked; the next ones get the answer until it is
        old, and it is asked for anew in time.
        """
        here = self.world("ssl_stapling_verify on;")
        self.assertEqual((self.stapled(here), self.stapled(here)), (b"", b""))
        self.assertEqual(here.attempt().address.text, "192.0.2.90:80")
        self.answer(here, "server", lasts=2000.0)
        first = self.stapled(here)
        self.assertNotEqual(first, b"")
        here.pass_time(1690)
        self.assertEqual((self.stapled(here), len(here.network.attempts)), (first, 1))
        here.pass_time(60)
        self.assertEqual((self.stapled(here), len(here.network.attempts)), (first, 2))
        here.attempt().fail()
        here.pass_time(270)
        self.assertEqual((self.stapled(here), len(here.network.attempts)), (b"", 2))
        here.pass_time(60)
        self.assertEqual((self.stapled(here), len(here.network.attempts)), (b"", 3))

    def test_not_worth_showing(self) -> None:
        """
        Only good news is shown; what is not signed is refused where that is asked for.
        """
        for settings, options, shown, message in (
            ("", {"word": "revoked"}, False, 'certificate status "revoked" in the OCSP response'),
            ("", {"signer": identities()["mute"]}, True, ""),
            ("ssl_stapling_verify on;", {"signer": identities()["mute"]}, False, "OCSP_basic_verify() failed"),
        ):
            here = self.world(settings)
            self.stapled(here)
            self.answer(here, "server", **options)
            self.assertEqual(self.stapled(here) != b"", shown)
            if message:
                self.assertIn(
                    f"[error] {message} while requesting certificate status, responder: 192.0.2.90", "".join(here.lines)
                )

    def test_end(self) -> None:
        """
        With the configuration the question ends, and nothing more is shown or asked.
        """
        here = self.world("")
        self.stapled(here)
        attempt = here.attempt()
        here.runtime.stop()
        self.assertTrue(attempt.cancelled)
        self.assertEqual(self.stapled(here), b"")
        self.assertEqual(len(here.network.attempts), 1)
        here = self.world("")
        self.stapled(here)
        self.answer(here, "server")
        here.runtime.stop()
        self.assertEqual(here.network.attempts[0].cancelled, False)

    def test_other_certificate(self) -> None:
        """
        Of a certificate that nobody has spoken about nothing is known.
        """
        self.assertEqual(Staples()(identities()["plain"].certificate), b"")
        self.assertEqual(Staples(b"x")(identities()["plain"].certificate), b"x")
