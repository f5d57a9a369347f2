"""
C{ssl_ocsp} and C{ssl_stapling} beside the responder that comes with openssl, on real sockets. nginx of Debian has
neither for stream.
"""

from __future__ import annotations

import ssl
import subprocess

from tests.support import backends, clients, pki, responses
from tests.support.ports import free_ports
from tests.support.programs import eventually, need
from tests.support.proxies import Proxy, ProxyTestCase


class OcspTests(ProxyTestCase):
    """
    An authority with an index of what it has revoked, and its responder.
    """

    def setUp(self) -> None:
        """
        Make the certificates, and start all of it.
        """
        super().setUp()
        self.responder, self.port = free_ports(2)
        url = f"http://127.0.0.1:{self.responder}/"
        self.root = pki.authority("Root")
        identities = {
            name: responses.with_url(self.root, name, url) for name in ("server", "good", "revoked", "nobody")
        }
        self.shown = {name: identity.write(self.folder, name) for name, identity in identities.items()}
        pki.write(self.folder, "server.pem", identities["server"].pem + self.root.pem)
        pki.write(self.folder, "root.pem", self.root.pem)
        pki.write(self.folder, "root.key", self.root.key_pem)
        pki.write(
            self.folder,
            "index.txt",
            "".join(
                f"{mark}\t990101000000Z\t{when}\t{identities[name].certificate.serial_number:X}\tunknown\t/CN={name}\n"
                for name, mark, when in (
                    ("server", "V", ""),
                    ("good", "V", ""),
                    ("revoked", "R", "240601000000Z"),
                )
            ).encode(),
        )
        self.edge: Proxy = self.proxy(
            """stream {
                server {
                    listen 127.0.0.1:@port@ ssl;
                    ssl_certificate server.pem;
                    ssl_certificate_key server.key;
                    ssl_verify_client optional;
                    ssl_client_certificate root.pem;
                    ssl_ocsp on;
                    ssl_stapling on;
                    ssl_stapling_verify on;
                    proxy_pass 127.0.0.1:@echo@;
                }
            }
            """,
            port=self.port,
            echo=backends.backend(self).port,
        )

    def start_responder(self) -> None:
        """
        openssl's own, which serves one request after the other.
        """
        program = self.start(
            "responder", need("openssl"), "ocsp", "-index", self.path("index.txt"), "-port", str(self.responder),
            "-rsigner", self.path("root.pem"), "-rkey", self.path("root.key"), "-CA", self.path("root.pem"),
            "-text", "-nmin", "60",
        )  # fmt: skip

        # a connection without a question would keep it busy for ever
        program.ready(lambda: "waiting for OCSP client connections" in program.output(), "the responder")

    def let_in(self, name: str | None, version: str) -> bool:
        """
        Whether a client gets through to the back end.
        """
        settings = clients.context(version, identity=self.shown[name] if name else None)
        try:
            with clients.tls(self.port, "a.example", settings) as connection:
                connection.sendall(b"x")
                return clients.read_exactly(connection, 1) == b"x"
        except (ssl.SSLError, ConnectionError):
            return False

    def test_clients(self) -> None:
        """
        Who is good is let in, who is revoked or not known is not, and nobody is while the responder is away.
        """
        self.assertFalse(self.let_in("good", "TLSv1.3"))
        self.edge.logged(
            "[info] client SSL certificate verify error: certificate status request failed while SSL"
            f" handshaking, client: 127.0.0.1, server: 127.0.0.1:{self.port}"
        )
        self.start_responder()
        for version in clients.VERSIONS:
            found = {name: self.let_in(name, version) for name in ("good", "revoked", "nobody", None)}
            self.assertEqual(found, {"good": True, "revoked": False, "nobody": False, None: True})
        for words in ("certificate revoked", "certificate status unknown"):
            self.edge.logged(
                f"[info] client SSL certificate verify error: {words} while SSL handshaking,"
                f" client: 127.0.0.1, server: 127.0.0.1:{self.port}"
            )

    def test_staple(self) -> None:
        """
        openssl's client is shown a good response, once the first one has asked for it.
        """
        self.start_responder()

        def status() -> str:
            answer = subprocess.run(
                [need("openssl"), "s_client", "-connect", f"127.0.0.1:{self.port}", "-status", "-CAfile", "root.pem"],
                cwd=self.folder, input=b"", capture_output=True, timeout=10, check=False,
            )  # fmt: skip
            return answer.stdout.decode("latin-1")

        self.assertIn("OCSP response: no response sent", status())
        eventually(lambda: "OCSP Response Status: successful" in status(), "a stapled response")
        self.assertIn("Cert Status: good", status())
