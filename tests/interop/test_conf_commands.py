"""
C{ssl_conf_command} and C{proxy_ssl_conf_command}: what do clients and upstreams see of them?

Strategy: one proxy has a server for each row of a table, and a client that offers much comes to each of them, twice;
nginx proves the table.
"""

from __future__ import annotations

import socket
from typing import Final

from OpenSSL import SSL

from tests.support import backends, clients, pki
from tests.support.ports import free_ports
from tests.support.programs import run, write_text
from tests.support.proxies import NGINX, ProxyTestCase, command, environment, fill, prelude

Seen = tuple[str, str, str, bool]

ECDHE: Final = "ECDHE-RSA-AES128-GCM-SHA256"
FIRST: Final = ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "x25519", True)

ROWS: Final[tuple[tuple[tuple[str, ...], Seen | None], ...]] = (
    # commands; version, cipher, group and whether the client resumes at its second visit, or None: nobody gets in
    ((), FIRST),
    (("Ciphersuites TLS_CHACHA20_POLY1305_SHA256",), ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256", "x25519", True)),
    (("Protocol -TLSv1.3",), ("TLSv1.2", ECDHE, "x25519", True)),
    (("protocol -ALL,tlsv1.2",), ("TLSv1.2", ECDHE, "x25519", True)),
    (("Protocol TLSv1.1",), FIRST),
    (("MaxProtocol TLSv1.2",), ("TLSv1.2", ECDHE, "x25519", True)),
    (("MaxProtocol TLSv1.2", "MaxProtocol None"), FIRST),
    (("MinProtocol TLSv1.3",), FIRST),
    (("MinProtocol TLSv1.3", "MaxProtocol TLSv1.2"), None),
    (("Protocol -ALL",), None),
    (("MaxProtocol TLSv1.2", "CipherString AES256-GCM-SHA384"), ("TLSv1.2", "AES256-GCM-SHA384", "", True)),
    (("CipherString AES256-GCM-SHA384", "CipherString ALL"), FIRST),
    (("Groups P-384",), ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "secp384r1", True)),
    (("Curves P-256:P-384",), ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "secp256r1", True)),
    (("ECDHParameters P-521",), ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "secp521r1", True)),
    (("MaxProtocol TLSv1.2", "Options -SessionTicket"), ("TLSv1.2", ECDHE, "x25519", False)),
    (
        (
            "MaxProtocol TLSv1.2",
            "Options ServerPreference",
            "CipherString AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256",
        ),
        ("TLSv1.2", "AES256-GCM-SHA384", "", True),
    ),
    (
        ("Options PrioritizeChaCha,ServerPreference,-EncryptThenMac", "SignatureAlgorithms rsa_pss_rsae_sha512"),
        FIRST,
    ),
)

BAD: Final = (
    "Foo bar",
    "CipherString zz",
    "ciphersuites zz",
    "Options zz",
    "Options SessionTicket,,KTLS",
    "Protocol zz",
    "MinProtocol zz",
    "MaxProtocol tlsv1.2",
    "Groups zz",
    "SignatureAlgorithms zz",
    "Certificate nope.pem",
    "Certificate server.key",
    "PrivateKey nope.pem",
    "PrivateKey server.pem",
    "DHParameters nope.pem",
    "-cipher ALL",
)


def _answer(connection: socket.socket) -> bytes:
    """
    One byte, or nothing at the end.
    """
    try:
        return clients.read_exactly(connection, 1)
    except ConnectionResetError:
        return b""


class Commanded(ProxyTestCase):
    """
    A proxy with a port for each row.
    """

    def setUp(self) -> None:
        """
        Make the certificate.
        """
        super().setUp()
        self.identity = pki.leaf(pki.authority("Servers"), "a.example.com", kind="rsa")
        self.files = self.identity.write(self.folder, "server")
        self.echo = backends.backend(self)

    def start_rows(self, text: str, directive: str, to: int) -> tuple[int, ...]:
        """
        @param text: what is in each server besides C{listen} and the commands.
        @return: the ports of the rows.
        """
        ports = free_ports(len(ROWS))
        servers = "".join(
            f"server {{ {text} listen 127.0.0.1:{port}{' ssl' if directive.startswith('ssl') else ''}; "
            + "".join(f"{directive} {line};" for line in commands)
            + "}\n"
            for port, (commands, _) in zip(ports, ROWS, strict=True)
        )
        self.edge = self.proxy(
            "stream { ssl_certificate @certificate@; ssl_certificate_key @key@; ssl_protocols TLSv1.2 TLSv1.3;\n"
            "proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_pass_placeholder }".replace("proxy_pass_placeholder", servers),
            certificate=self.files.certificate,
            key=self.files.key,
            to=to,
        )
        return ports

    def settings(self) -> SSL.Context:
        """
        A client that offers much, in an order of its own.
        """
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_cipher_list(f"{ECDHE}:AES256-GCM-SHA384".encode())
        lib = SSL._lib  # type: ignore[attr-defined]
        lib.SSL_CTX_set1_curves_list(context._context, b"X25519:P-256:P-384:P-521")
        return context

    def seen(self, port: int) -> Seen | None:
        """
        What a client sees at its first visit, and whether the second one resumes.
        """
        context, session, found = self.settings(), None, None
        for again in (False, True):
            with clients.plain(port) as connection:
                connection.settimeout(None)
                far = SSL.Connection(context, connection)
                far.set_connect_state()
                if session is not None:
                    far.set_session(session)
                try:
                    far.do_handshake()
                    far.send(b"x")
                    self.assertEqual(far.recv(1), b"x")
                except SSL.Error:
                    return None
                if again:
                    reused = bool(SSL._lib.SSL_session_reused(far._ssl))  # type: ignore[attr-defined]
                    return (*found, reused) if found else None
                found = (far.get_protocol_version_name(), far.get_cipher_name() or "", far.get_group_name() or "")
                session = far.get_session()
                far.shutdown()
        return None


class ServerCommands(Commanded):
    """
    C{ssl_conf_command}.
    """

    def test_rows(self) -> None:
        """
        Clients see what is commanded.
        """
        ports = self.start_rows("proxy_pass 127.0.0.1:@to@;", "ssl_conf_command", self.echo.port)
        for port, (commands, expected) in zip(ports, ROWS, strict=True):
            self.assertEqual(self.seen(port), expected, commands)

    def test_second_certificate(self) -> None:
        """
        A certificate that is commanded replaces one of its type, and stands beside one of another; names are relative
        to the configuration's folder.
        """
        pki.leaf(pki.authority("Servers"), "ec.example.com").write(self.folder, "ec")
        pki.leaf(pki.authority("Servers"), "rsa.example.com", kind="rsa").write(self.folder, "rsa")
        (port,) = free_ports(1)
        self.proxy(
            """stream { server {
                listen 127.0.0.1:@port@ ssl; proxy_pass 127.0.0.1:@to@;
                ssl_certificate server.pem; ssl_certificate_key server.key;
                ssl_conf_command Certificate ec.pem; ssl_conf_command PrivateKey ec.key;
                ssl_conf_command Certificate rsa.pem; ssl_conf_command PrivateKey rsa.key;
            } }""",
            port=port,
            to=self.echo.port,
        )
        for ciphers, name in (("ECDHE-ECDSA-AES128-GCM-SHA256", "ec.example.com"), (ECDHE, "rsa.example.com")):
            settings = clients.context("TLSv1.2")
            settings.set_ciphers(ciphers)
            with clients.tls(port, None, settings) as connection:
                self.assertEqual(clients.common_name(connection), name)

    def test_bad(self) -> None:
        """
        What is wrong is told in the same words.
        """
        for line in BAD:
            path = self.path("bad.conf")
            text = fill(
                """stream { server {
                    listen 127.0.0.1:1 ssl; proxy_pass 127.0.0.1:1;
                    ssl_certificate server.pem; ssl_certificate_key server.key; ssl_conf_command @line@;
                } }""",
                line=line,
            )
            write_text(path, prelude(self.kind, self.folder, "bad") + text)
            test = "-t" if self.kind == NGINX else "--test"
            answer = run(*command(self.kind, path, test), env=environment(self.kind))
            self.assertNotEqual(answer.returncode, 0, line)
            name, _, value = line.partition(" ")
            if name in ("Certificate", "PrivateKey", "DHParameters"):
                value = self.path(value)
            end = "unknown cmd name:cmd=" + name if name in ("Foo", "-cipher") else f"cmd={name}, value={value}"
            self.assertRegex(answer.stderr, rf'SSL_CONF_cmd\("{name}", "{value}"\) failed \(SSL: error:.*{end}\)')


class ServerCommandsNginx(ServerCommands):
    """
    The same on nginx.
    """

    kind = NGINX


class ClientCommands(Commanded):
    """
    C{proxy_ssl_conf_command}, for a server that takes the client's order.
    """

    def test_rows(self) -> None:
        """
        An upstream sees what is commanded.
        """
        context = clients.server_context(self.files)
        context.set_ciphers("ALL")
        server = backends.backend(self, context=context)
        ports = self.start_rows(
            "proxy_ssl on; proxy_ssl_session_reuse off; proxy_pass 127.0.0.1:@to@;",
            "proxy_ssl_conf_command",
            server.port,
        )
        for port, (commands, expected) in zip(ports, ROWS, strict=True):
            with clients.plain(port) as connection:
                connection.sendall(b"x")
                let_in = _answer(connection) == b"x"
            self.assertEqual(let_in, expected is not None, commands)
            if expected is not None:
                self.assertEqual(server.visits[-1].version, expected[0], commands)


class ClientCommandsNginx(ClientCommands):
    """
    The same on nginx.
    """

    kind = NGINX
