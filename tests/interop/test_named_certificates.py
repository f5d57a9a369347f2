"""
Certificates that variables name: which one is shown, and what happens where it cannot be loaded?
"""

from __future__ import annotations

import re
import ssl
from typing import Final

from tests.support import backends, clients, pki
from tests.support.ports import free_ports
from tests.support.programs import eventually, read_text
from tests.support.proxies import NGINX, ProxyTestCase

ENDED: Final = (
    "[info] SSL_do_handshake() failed (SSL: error:0A000179:SSL routines::cert cb error) while SSL handshaking,"
    " client: 127.0.0.1, server: 127.0.0.1:PORT"
)
MISSING: Final = (
    "BIO_new_file() failed (SSL: error:80000002:system library::No such file or directory:calling"
    " fopen(FOLDER/nope.pem, r) error:10000080:BIO routines::no such file)"
)
NO_START: Final = "PEM_read_bio_X509_AUX() failed (SSL: error:0480006C:PEM routines::no start line"
NO_KEY: Final = (
    "PEM_read_bio_PrivateKey() failed (SSL: error:1E08010C:DECODER routines::unsupported:No supported data to decode."
    " Input type: PEM)"
)

BAD: Final = {
    "missing.example": f'cannot load certificate "FOLDER/nope.pem": {MISSING}',
    "junk.example": f'cannot load certificate "FOLDER/junk.pem": {NO_START}:Expecting: TRUSTED CERTIFICATE)',
    "data.example": f'cannot load certificate "data:x": {NO_START}:Expecting: TRUSTED CERTIFICATE)',
    "empty.example": f'cannot load certificate "FOLDER/": {NO_START}:Expecting: TRUSTED CERTIFICATE)',
    "nokey.example": f'cannot load certificate key "FOLDER/nope.pem": {MISSING}',
    "junkkey.example": f'cannot load certificate key "FOLDER/junk.pem": {NO_KEY}',
    "emptykey.example": f'cannot load certificate key "FOLDER/": {NO_KEY}',
    "wrong.example": (
        'SSL_use_PrivateKey("FOLDER/b.key") failed (SSL: error:05800074:x509 certificate routines::key values mismatch)'
    ),
}


class NamedCertificates(ProxyTestCase):
    """
    One port, and a certificate for each name.
    """

    def setUp(self) -> None:
        """
        Start the proxy.
        """
        super().setUp()
        root = pki.authority("Servers")
        self.a, self.b = (pki.leaf(root, f"{name}.example", kind="rsa") for name in "ab")
        self.a.write(self.folder, "a")
        self.b = pki.leaf(root, "b.example", kind="rsa")
        self.b.write(self.folder, "b")
        pki.write(self.folder, "locked.key", self.a.encrypted_key_pem(b"sesame"))
        pki.write(self.folder, "passwords", b"wrong\nsesame\n")
        pki.write(self.folder, "junk.pem", b"junk")
        self.port, self.plain, self.inner = free_ports(3)
        self.edge = self.proxy(
            """stream {
                map $ssl_server_name $chain {
                    default          "";
                    a.example        a.pem;
                    b.example        @folder@/b.pem;
                    locked.example   a.pem;
                    inline.example   "data:@inline@";
                    missing.example  nope.pem;
                    junk.example     junk.pem;
                    data.example     "data:x";
                    nokey.example    a.pem;
                    junkkey.example  a.pem;
                    emptykey.example a.pem;
                    wrong.example    a.pem;
                }
                map $ssl_server_name $key {
                    default          a.key;
                    b.example        b.key;
                    locked.example   locked.key;
                    inline.example   "data:@inline@";
                    nokey.example    nope.pem;
                    junkkey.example  junk.pem;
                    emptykey.example "";
                    wrong.example    b.key;
                }
                map $server_port $ours { default a.pem; @plain@ ""; }
                log_format told '$status $ssl_protocol $ssl_cipher $ssl_server_name';
                ssl_protocols TLSv1.2 TLSv1.3;
                proxy_ssl_protocols TLSv1.2 TLSv1.3;
                server {
                    listen 127.0.0.1:@port@ ssl;
                    ssl_certificate $chain;
                    ssl_certificate_key $key;
                    ssl_password_file passwords;
                    access_log @folder@/told.log told;
                    proxy_pass 127.0.0.1:@echo@;
                }
                server {
                    listen 127.0.0.1:@inner@ ssl;
                    ssl_certificate "data:@inline@";
                    ssl_certificate_key "data:@inline@";
                    proxy_pass 127.0.0.1:@echo@;
                }
            }
            """,
            folder=self.folder,
            inline=(self.b.full_pem + self.b.key_pem).decode(),
            port=self.port,
            plain=self.plain,
            inner=self.inner,
            echo=backends.backend(self).port,
        )

    def shown(self, name: str, version: str | None = None, port: int = 0) -> str:
        """
        Whose certificate a client that asks for this name is shown.
        """
        with clients.tls(port or self.port, name, clients.context(version)) as connection:
            connection.sendall(b"x")
            self.assertEqual(clients.read_exactly(connection, 1), b"x")
            return clients.common_name(connection)

    def line(self, count: int) -> str:
        """
        @return: the last of that many lines of the log.
        """
        path = self.path("told.log")
        eventually(lambda: read_text(path).count("\n") == count, f"line {count}")
        return read_text(path).splitlines()[-1]

    def test_shown(self) -> None:
        """
        A name leads to its certificate, in a file or written down, under TLS 1.2 and 1.3.
        """
        for version in clients.VERSIONS:
            for name, expected in (
                ("a.example", "a.example"),
                ("b.example", "b.example"),
                ("locked.example", "a.example"),
                ("inline.example", "b.example"),
            ):
                self.assertEqual(self.shown(name, version), expected)
        self.assertEqual(self.shown("any.example", None, self.inner), "b.example")

    def test_changed(self) -> None:
        """
        A file that was changed is shown to the next client.
        """
        self.assertEqual(self.shown("a.example"), "a.example")
        self.b.write(self.folder, "a")
        self.assertEqual(self.shown("a.example"), "b.example")

    def test_failures(self) -> None:
        """
        Where nothing can be loaded the client gets the alert internal_error, and the logs say why.
        """
        for count, (name, message) in enumerate(BAD.items(), 1):
            with clients.plain(self.port) as connection:
                number = connection.getsockname()[1]
                connection.sendall(clients.hello(name))
                self.assertEqual(clients.read_all(connection), b"\x15\x03\x03\x00\x02\x02\x50")
            where = f" while SSL handshaking, client: 127.0.0.1, server: 127.0.0.1:{self.port}"
            told = message.replace("FOLDER", self.folder)
            self.edge.tells(number, f"[error] {told}{where}", ENDED.replace("PORT", str(self.port)))
            self.assertEqual(self.line(count), f"500 TLSv1.3 (NONE) {name}")

    def test_no_name(self) -> None:
        """
        A client that asks for no name gets what no name leads to: here nothing.
        """
        with self.assertRaises(ssl.SSLError):
            clients.tls(self.port, None, clients.context("TLSv1.2")).close()
        self.edge.logged(re.compile(re.escape(f'[error] cannot load certificate "{self.folder}/": {NO_START}')))


class NamedCertificatesNginx(NamedCertificates):
    """
    The same on nginx.
    """

    kind = NGINX


class OurCertificates(ProxyTestCase):
    """
    C{proxy_ssl_certificate}.
    """

    def setUp(self) -> None:
        """
        Start the proxy.
        """
        super().setUp()
        root = pki.authority("All")
        server = pki.leaf(root, "s.example").write(self.folder, "s")
        pki.leaf(root, "c.example").write(self.folder, "c")
        self.ports = free_ports(4)
        self.upstream = backends.backend(
            self, context=clients.server_context(server, trust=pki.write(self.folder, "ca.pem", root.pem))
        )
        self.edge = self.proxy(
            """stream {
                map $server_port $chain { @good@ c.pem; @none@ ""; @missing@ nope.pem; @nokey@ c.pem; }
                map $server_port $key   { @good@ c.key; @none@ ""; @missing@ c.key;    @nokey@ nope.pem; }
                log_format told '$status $upstream_addr';
                access_log @folder@/told.log told;
                server {
                    listen 127.0.0.1:@good@; listen 127.0.0.1:@none@; listen 127.0.0.1:@missing@;
                    listen 127.0.0.1:@nokey@;
                    proxy_pass 127.0.0.1:@upstream@;
                    proxy_ssl on;
                    proxy_ssl_protocols TLSv1.2;
                    proxy_ssl_session_reuse off;
                    proxy_ssl_certificate $chain;
                    proxy_ssl_certificate_key $key;
                }
            }
            """,
            folder=self.folder,
            upstream=self.upstream.port,
            **dict(zip(("good", "none", "missing", "nokey"), self.ports, strict=True)),  # type: ignore[arg-type]
        )

    def line(self, count: int) -> str:
        """
        @return: that line of the log.
        """
        path = self.path("told.log")
        eventually(lambda: read_text(path).count("\n") == count, f"line {count}")
        return read_text(path).splitlines()[-1]

    def test_ways(self) -> None:
        """
        The named certificate is shown, none where the name is empty; what cannot be loaded ends the session.
        """
        good, none, *bad = self.ports
        with clients.plain(good) as connection:
            connection.sendall(b"x")
            self.assertEqual(clients.read_exactly(connection, 1), b"x")
        self.assertEqual(self.line(1), f"200 127.0.0.1:{self.upstream.port}")
        for count, port in enumerate((none, *bad), 2):
            with clients.plain(port) as connection:
                self.assertEqual(clients.read_all(connection), b"")
            status = 502 if port == none else 500
            self.assertEqual(self.line(count), f"{status} 127.0.0.1:{self.upstream.port}")
        message = MISSING.replace("FOLDER", self.folder)
        for what in ("certificate", "certificate key"):
            self.edge.logged(
                re.compile(
                    re.escape(f'[error] cannot load {what} "{self.folder}/nope.pem": {message} while connecting to')
                )
            )


class OurCertificatesNginx(OurCertificates):
    """
    The same on nginx.
    """

    kind = NGINX
