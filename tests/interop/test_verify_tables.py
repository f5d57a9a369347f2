"""
Who is let in, and who is not? nginx's tables of certificate checks, row by row, on TLS 1.2 and 1.3.

Strategy: one proxy has a server for each row, all in front of one back end that greets. Whoever sees the greeting
was let in. Each client comes a second time with the session it was given, and the answer must be the same: a
session must never forget why its certificate was refused.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final

from OpenSSL import SSL

from tests.support import backends, clients, pki
from tests.support.pki import Files
from tests.support.ports import free_port
from tests.support.programs import eventually, run, write_text
from tests.support.proxies import NGINX, ProxyTestCase, command, environment, fill, prelude

GREETING: Final = b"welcome"
NONE: Final = "none"
CLIENTS: Final = (NONE, "B", "T", "U", "A", "N", "self", "exp")
VERSIONS: Final = ("TLSv1.2", "TLSv1.3")

MODES: Final = (
    # mode, has ssl_client_certificate, has ssl_trusted_certificate, who is let in
    ("off", False, False, "none B T U A N self exp"),
    ("off", True, False, "none B T U A N self exp"),
    ("off", False, True, "none B T U A N self exp"),
    ("off", True, True, "none B T U A N self exp"),
    ("on", True, False, "B"),
    ("on", True, True, "B T"),
    ("optional", True, False, "none B"),
    ("optional", True, True, "none B T"),
    ("optional_no_ca", False, False, "none B T U A N self"),
    ("optional_no_ca", False, True, "none B T U A N self"),
    ("optional_no_ca", True, False, "none B T U A self"),
    ("optional_no_ca", True, True, "none B T U A self"),
)


@dataclass(frozen=True)
class Answer:
    """
    What a client met.

    @ivar reused: whether the session it brought was taken.
    """

    let_in: bool
    session: ssl.SSLSession | None = None
    reused: bool | None = None


def knock(
    port: int, settings: ssl.SSLContext, session: ssl.SSLSession | None = None, name: str = "row.example.com"
) -> Answer:
    """
    Come in, read to the end, and take the session along.
    """
    try:
        connection = clients.tls(port, name, settings, session=session)
    except TimeoutError:
        raise
    except OSError:
        return Answer(False)
    with connection:
        reused = connection.session_reused
        seen = clients.read_all(connection)
        if seen not in (GREETING, b""):
            raise AssertionError(f"neither let in nor refused: {seen!r}")
        return Answer(seen == GREETING, connection.session, reused)


class TableTestCase(ProxyTestCase):
    """
    A back end that greets, and the certificates of the tables.
    """

    def setUp(self) -> None:
        """
        Make them.
        """
        super().setUp()
        self.greeter = backends.backend(self, backends.say(GREETING))

    def rows(self, texts: list[str]) -> list[int]:
        """
        Start the proxy with one server for each text.

        @return: their ports.
        """
        ports = [free_port() for _ in texts]
        servers = "".join(
            f"    server {{ listen 127.0.0.1:{port}{text} proxy_pass 127.0.0.1:{self.greeter.port}; }}\n"
            for port, text in zip(ports, texts, strict=True)
        )
        self.log = self.path("rows.log")
        words = "log_format row '$server_port|$ssl_client_verify|$ssl_session_reused|$status'; "
        words += f"access_log {self.log} row;"
        self.edge = self.proxy(f"stream {{\n    {words}\n{servers}}}\n")
        return ports


class Modes(TableTestCase):
    """
    C{ssl_verify_client}.
    """

    def setUp(self) -> None:
        """
        Make the authorities, and a certificate for each kind of client.
        """
        super().setUp()
        ours, theirs, unknown = pki.authority("Clients"), pki.authority("Trusted"), pki.authority("Unknown")
        namesake = pki.authority("Clients")
        self.ca = pki.write(self.folder, "clients.pem", ours.pem)
        self.trusted = pki.write(self.folder, "trusted.pem", theirs.pem)
        server = pki.leaf(pki.authority("Servers"), "row.example.com").write(self.folder, "server")
        self.tls = f" ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {server.certificate}; "
        self.tls += f"ssl_certificate_key {server.key}; "
        made = {
            "B": pki.leaf(ours, "b.example.com"),
            "T": pki.leaf(theirs, "t.example.com"),
            "U": pki.leaf(unknown, "u.example.com"),
            "A": pki.leaf(namesake, "a.example.com"),
            "N": pki.leaf(namesake, "n.example.com", pointer=False),
            "self": pki.self_signed("self.example.com"),
            "exp": pki.leaf(ours, "exp.example.com", validity=pki.EXPIRED),
        }
        self.files: dict[str, Files | None] = {NONE: None}
        self.files |= {name: identity.write(self.folder, name) for name, identity in made.items()}

    def settings(self, client: str, version: str) -> ssl.SSLContext:
        """
        A client's context, new each time.
        """
        return clients.context(version, identity=self.files[client])

    def table(self) -> list[int]:
        """
        Start a server for each row.
        """
        texts = []
        for mode, ca, trusted, _ in MODES:
            text = f"{self.tls}ssl_verify_client {mode}; "
            text += f"ssl_client_certificate {self.ca}; " if ca else ""
            text += f"ssl_trusted_certificate {self.trusted}; " if trusted else ""
            texts.append(text)
        return self.rows(texts)

    def check(self, version: str) -> None:
        """
        Every client tries every row, twice.
        """
        wrong = []
        ports = self.table()
        for (mode, ca, trusted, let_in), port in zip(MODES, ports, strict=True):
            for client in CLIENTS:
                settings = self.settings(client, version)
                wanted = client in let_in.split()
                before = self.greeter.accepted
                first = knock(port, settings)
                again = knock(port, settings, first.session)
                if not wanted and self.greeter.accepted != before:
                    wrong.append((mode, ca, trusted, client, "the back end was bothered"))
                if first.let_in != wanted:
                    wrong.append((mode, ca, trusted, client, "let in" if first.let_in else "refused"))
                if again.let_in != wanted:
                    how = "let in" if again.let_in else "refused"
                    wrong.append((mode, ca, trusted, client, f"{how} the second time, resumed: {again.reused}"))
                if wanted and not again.reused:
                    wrong.append((mode, ca, trusted, client, "not resumed"))
        self.assertEqual(wrong, [])

    def test_tls12(self) -> None:
        """
        On TLS 1.2 each row lets in whom it should and nobody else, the first time and with the session given.
        """
        self.check("TLSv1.2")

    def test_tls13(self) -> None:
        """
        So it does on TLS 1.3.
        """
        self.check("TLSv1.3")

    def test_verify_variable(self) -> None:
        """
        $ssl_client_verify says NONE, SUCCESS or why not, alike on full and resumed handshakes.
        """
        wanted: list[str] = []
        ports = self.table()
        for version in VERSIONS:
            for (mode, _, _, let_in), port in zip(MODES, ports, strict=True):
                for client in let_in.split():
                    settings = self.settings(client, version)
                    first = knock(port, settings)
                    knock(port, settings, first.session)
                    said = self.said(mode, client, port, ports)
                    wanted += [f"{port}|{said}|.|200", f"{port}|{said}|r|200"]
        self.edge.quit()
        self.assertEqual(self.edge.program.wait(), 0)
        with open(self.log, encoding="ascii") as file:
            self.assertEqual(sorted(file.read().split("\n")[:-1]), sorted(wanted))

    def said(self, mode: str, client: str, port: int, ports: list[int]) -> str:
        """
        @return: what the variable says of one who was let in.
        """
        if mode == "off" or client == NONE:
            return "NONE"
        _, ca, trusted, _ = MODES[ports.index(port)]
        if (client == "B" and ca) or (client == "T" and trusted):
            return "SUCCESS"
        return "FAILED:self-signed certificate" if client == "self" else "FAILED:unable to verify the first certificate"

    def test_needs_authority(self) -> None:
        """
        C{on} and C{optional} without any authority are errors of the configuration.
        """
        for mode in ("on", "optional"):
            text = "stream {\n    server {\n        listen 127.0.0.1:@port@" + self.tls
            text += f"ssl_verify_client {mode};\n        proxy_pass 127.0.0.1:1;\n    }}\n}}\n"
            text = prelude(self.kind, self.folder, "refused") + fill(text, port=free_port())
            path = write_text(self.path("refused.conf"), text)
            answer = run(*command(self.kind, path), env=environment(self.kind), folder=self.folder)
            self.assertEqual(answer.returncode, 1)
            # nginx before 1.27 names one of the two directives
            self.assertRegex(
                answer.stderr,
                r"\[emerg\].* no ssl_client_certificate (or ssl_trusted_certificate )?for ssl_verify_client",
            )
            self.assertNotIn("Traceback", answer.stderr)

    def test_names_of_authorities(self) -> None:
        """
        The CertificateRequest names the subjects of ssl_client_certificate in the order of the file, and nothing of
        ssl_trusted_certificate.
        """
        several = b"".join(pki.authority(name).pem for name in ("Zeta", "Alpha", "Mu"))
        ca = pki.write(self.folder, "several.pem", several)
        trusting = f"{self.tls}ssl_trusted_certificate {self.trusted}; "
        ports = self.rows(
            [
                f"{trusting}ssl_verify_client optional; ssl_client_certificate {ca}; ",
                f"{trusting}ssl_verify_client optional_no_ca; ",
            ]
        )
        self.assertEqual(self.advertised(ports[0]), ["Zeta", "Alpha", "Mu"])
        self.assertEqual(self.advertised(ports[1]), [])

    def advertised(self, port: int) -> list[str]:
        """
        @return: the common names of the authorities that a client is told.
        """
        connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), raw := clients.plain(port))
        raw.settimeout(None)
        self.addCleanup(raw.close)
        connection.set_connect_state()
        connection.do_handshake()
        return [str(name.CN) for name in connection.get_client_ca_list()]


class ModesNginx(Modes):
    """
    The same on nginx.
    """

    kind = NGINX


class Depth(TableTestCase):
    """
    C{ssl_verify_depth}, and C{proxy_ssl_verify_depth}: the leaf and the root are not counted.
    """

    SMALL: Final = {0: "yes no no no", 1: "yes yes no no", 2: "yes yes yes no"}

    def setUp(self) -> None:
        """
        Make a root, and leaves under no intermediate up to seven.
        """
        super().setUp()
        self.root = pki.authority("Root")
        self.ca = pki.write(self.folder, "root.pem", self.root.pem)
        self.leaves = {
            count: pki.leaf(pki.chain(self.root, count), "deep.example.com").write(self.folder, f"deep{count}")
            for count in (0, 1, 2, 3, 6, 7)
        }
        server = pki.leaf(pki.authority("Servers"), "row.example.com").write(self.folder, "server")
        self.tls = f" ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {server.certificate}; "
        self.tls += f"ssl_certificate_key {server.key}; "

    def cases(self) -> list[tuple[int | None, int, bool]]:
        """
        @return: depth (None: as it is by default), intermediates, and whether that passes.
        """
        found: list[tuple[int | None, int, bool]] = [
            (depth, count, word == "yes") for depth, row in self.SMALL.items() for count, word in enumerate(row.split())
        ]
        return [*found, (None, 1, True), (None, 2, False), (6, 6, True), (6, 7, False)]

    def check_clients(self, version: str) -> None:
        """
        Clients show chains of every length, twice.
        """
        depths = [0, 1, 2, 6, None]
        texts = []
        for depth in depths:
            said = f"ssl_verify_depth {depth}; " if depth is not None else ""
            texts.append(f"{self.tls}ssl_verify_client on; ssl_client_certificate {self.ca}; {said}")
        ports = dict(zip(depths, self.rows(texts), strict=True))
        wrong = []
        for depth, count, passes in self.cases():
            settings = clients.context(version, identity=self.leaves[count])
            first = knock(ports[depth], settings)
            again = knock(ports[depth], settings, first.session)
            if (first.let_in, again.let_in) != (passes, passes):
                wrong.append((depth, count, first.let_in, again.let_in))
        self.assertEqual(wrong, [])

    def test_clients_tls12(self) -> None:
        """
        On TLS 1.2 a client's chain may have as many intermediates as the depth says.
        """
        self.check_clients("TLSv1.2")

    def test_clients_tls13(self) -> None:
        """
        So it may on TLS 1.3.
        """
        self.check_clients("TLSv1.3")

    def test_too_deep_words(self) -> None:
        """
        A client's chain that is too deep is refused for want of an issuer, because nginx keeps the last error;
        optional_no_ca forgives that.
        """
        both = f"{self.tls}ssl_client_certificate {self.ca}; ssl_verify_depth 1; "
        on, forgiving = self.rows([f"{both}ssl_verify_client on; ", f"{both}ssl_verify_client optional_no_ca; "])
        settings = clients.context(identity=self.leaves[3])
        self.assertFalse(knock(on, settings).let_in)
        self.edge.logged(
            "[info] client SSL certificate verify error: (20:unable to get local issuer certificate) "
            f"while SSL handshaking, client: 127.0.0.1, server: 127.0.0.1:{on}"
        )
        self.assertTrue(knock(forgiving, settings).let_in)

    def test_self_signed_trusted(self) -> None:
        """
        A self-signed certificate that is itself the trusted file passes at depth 0.
        """
        identity = pki.self_signed("alone.example.com")
        files = identity.write(self.folder, "alone")
        said = f"{self.tls}ssl_verify_client on; ssl_client_certificate {files.certificate}; ssl_verify_depth 0; "
        (port,) = self.rows([said])
        for version in VERSIONS:
            self.assertTrue(knock(port, clients.context(version, identity=files)).let_in)

    def test_no_partial_chains(self) -> None:
        """
        A trust file that holds an intermediate and no root is not enough.
        """
        middle = pki.chain(self.root, 1)
        files = pki.leaf(middle, "partial.example.com").write(self.folder, "partial")
        trust = pki.write(self.folder, "middle.pem", middle.pem)
        (port,) = self.rows([f"{self.tls}ssl_verify_client on; ssl_client_certificate {trust}; ssl_verify_depth 6; "])
        self.assertFalse(knock(port, clients.context(identity=files)).let_in)
        self.edge.logged(
            "[info] client SSL certificate verify error: (2:unable to get issuer certificate) "
            f"while SSL handshaking, client: 127.0.0.1, server: 127.0.0.1:{port}"
        )

    def check_servers(self, version: str) -> None:
        """
        The proxy meets servers whose chains have every length, twice.
        """
        # A back end for each case: nginx shares the sessions of an address among its server blocks, whatever their
        # depths.
        servers = [
            backends.backend(self, backends.say(GREETING), clients.server_context(self.leaves[count], version=version))
            for _, count, _ in self.cases()
        ]
        text = "stream {\n    proxy_ssl on; proxy_ssl_verify on; proxy_ssl_name deep.example.com;\n"
        text += f"    proxy_ssl_trusted_certificate {self.ca}; proxy_ssl_protocols TLSv1.2 TLSv1.3;\n"
        ports = []
        for (depth, _, _), server in zip(self.cases(), servers, strict=True):
            said = f"proxy_ssl_verify_depth {depth}; " if depth is not None else ""
            ports.append(free_port())
            text += f"    server {{ listen 127.0.0.1:{ports[-1]}; {said}proxy_pass 127.0.0.1:{server.port}; }}\n"
        edge = self.proxy(text + "}\n")
        wrong = []
        for (depth, count, passes), port in zip(self.cases(), ports, strict=True):
            for time in ("first", "second"):
                with clients.plain(port) as connection:
                    answer = clients.read_all(connection)
                if answer != (GREETING if passes else b""):
                    wrong.append((depth, count, time, answer))
        self.assertEqual(wrong, [])
        deep = self.cases().index((1, 2, False))
        edge.logged(
            "[error] upstream SSL certificate verify error: (20:unable to get local issuer certificate) "
            f"while SSL handshaking to upstream, client: 127.0.0.1, server: 127.0.0.1:{ports[deep]}, "
            f'upstream: "127.0.0.1:{servers[deep].port}", '
            "bytes from/to client:0/0, bytes from/to upstream:0/0"
        )

    def test_servers_tls12(self) -> None:
        """
        On TLS 1.2 a server's chain may have as many intermediates as the depth says.
        """
        self.check_servers("TLSv1.2")

    def test_servers_tls13(self) -> None:
        """
        So it may on TLS 1.3.
        """
        self.check_servers("TLSv1.3")


class DepthNginx(Depth):
    """
    The same on nginx.
    """

    kind = NGINX


class Stricter(TableTestCase):
    """
    Where nginx lets a session through that was made under another policy, we do not.
    """

    def setUp(self) -> None:
        """
        Make two authorities of clients, and a client of each.
        """
        super().setUp()
        self.ours, self.theirs = pki.authority("Clients"), pki.authority("Clients")
        self.ca = pki.write(self.folder, "ours.pem", self.ours.pem)
        self.other_ca = pki.write(self.folder, "theirs.pem", self.theirs.pem)
        self.member = pki.leaf(self.ours, "member.example.com").write(self.folder, "member")
        server = pki.leaf(pki.authority("Servers"), "row.example.com").write(self.folder, "server")
        self.tls = f" ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {server.certificate}; "
        self.tls += f"ssl_certificate_key {server.key}; "

    def test_other_listener(self) -> None:
        """
        A session of an open or forgiving listener does not open a strict one.
        """
        open_port, forgiving, strict = self.rows(
            [
                self.tls,
                f"{self.tls}ssl_verify_client optional_no_ca; ssl_client_certificate {self.other_ca}; ",
                f"{self.tls}ssl_verify_client on; ssl_client_certificate {self.other_ca}; ",
            ]
        )
        for version in VERSIONS:
            for port in (open_port, forgiving):
                settings = clients.context(version, identity=self.member)
                first = knock(port, settings)
                self.assertTrue(first.let_in)
                self.assertIsNotNone(first.session)
                self.assertFalse(knock(strict, settings, first.session).let_in)
        self.assertEqual(self.greeter.accepted, 2 * len(VERSIONS))

    def named(self, ca: str, mode: str = "on") -> str:
        """
        @return: a configuration with an open and a verifying server on one address.
        """
        common = f"listen 127.0.0.1:{self.port}{self.tls}proxy_pass 127.0.0.1:{self.greeter.port}; "
        strict = f"server_name strict.example.com; ssl_verify_client {mode}; ssl_client_certificate {ca}; "
        return f"stream {{\n    server {{ {common}}}\n    server {{ {common}{strict}}}\n}}\n"

    def come(self, name: str, settings: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Answer:
        """
        Come in by a name.
        """
        return knock(self.port, settings, session, name)

    def test_other_name(self) -> None:
        """
        Without its certificate nobody enters a strict server by a session of the open one on the same address, nor
        under a name written otherwise, however often it is tried.
        """
        self.port = free_port()
        self.proxy(self.named(self.ca))
        for version in VERSIONS:
            nobody = clients.context(version)
            first = self.come("open.example.com", nobody)
            self.assertTrue(first.let_in)
            for name in ("strict.example.com", "STRICT.example.com", "strict.EXAMPLE.com"):
                for _ in range(5):
                    self.assertFalse(self.come(name, nobody, first.session).let_in, name)
                    self.assertFalse(self.come(name, nobody).let_in, name)
            self.assertTrue(self.come("strict.example.com", clients.context(version, identity=self.member)).let_in)

    def test_reload(self) -> None:
        """
        After a reload with another authority of the same name, or with a shorter chain allowed, an old session is
        worth nothing.
        """
        self.port = free_port()
        deep = pki.leaf(pki.chain(self.ours, 2), "deep.example.com").write(self.folder, "deep")
        text = self.named(self.ca).replace("strict.example.com;", "strict.example.com; ssl_verify_depth 2;")
        edge = self.proxy(text)
        kept = []
        for version in VERSIONS:
            for identity in (self.member, deep):
                settings = clients.context(version, identity=identity)
                first = self.come("strict.example.com", settings)
                self.assertTrue(first.let_in)
                self.assertTrue(self.come("strict.example.com", settings, first.session).reused)
                kept.append((identity, settings, first.session))
        edge.rewrite(self.named(self.ca))
        edge.reload()
        eventually(lambda: not self.come("strict.example.com", clients.context(identity=deep)).let_in, "depth 1")
        for identity, settings, session in kept:
            let_in = self.come("strict.example.com", settings, session).let_in
            self.assertEqual(let_in, identity is self.member)
        edge.rewrite(self.named(self.other_ca))
        before = len(edge.lines())
        edge.reload()
        eventually(lambda: not self.come("strict.example.com", clients.context(identity=self.member)).let_in, "new CA")
        for _, settings, session in kept:
            self.assertFalse(self.come("strict.example.com", settings, session).let_in)
        self.assertGreater(len(edge.lines()), before)

    def test_upstream_depth(self) -> None:
        """
        The session of a server block that allows long chains does not help another that does not, towards the same
        peer.
        """
        root = pki.authority("Root")
        trust = pki.write(self.folder, "root.pem", root.pem)
        for number, version in enumerate(VERSIONS):
            files = pki.leaf(pki.chain(root, 2), "deep.example.com").write(self.folder, f"deep{number}")
            peer = backends.backend(self, backends.say(GREETING), clients.server_context(files, version=version))
            deep, shallow, other = free_port(), free_port(), free_port()
            self.proxy(
                """stream {
                    proxy_ssl on; proxy_ssl_verify on; proxy_ssl_trusted_certificate @trust@;
                    proxy_ssl_name deep.example.com; proxy_ssl_protocols TLSv1.2 TLSv1.3;
                    server { listen 127.0.0.1:@deep@; proxy_ssl_verify_depth 2; proxy_pass 127.0.0.1:@peer@; }
                    server { listen 127.0.0.1:@shallow@; proxy_pass 127.0.0.1:@peer@; }
                    server {
                        listen 127.0.0.1:@other@;
                        proxy_ssl_verify_depth 2;
                        proxy_ssl_name other.example.com;
                        proxy_pass 127.0.0.1:@peer@;
                    }
                }
                """,
                f"edge{number}",
                trust=trust,
                deep=deep,
                shallow=shallow,
                other=other,
                peer=peer.port,
            )
            for port, wanted in ((deep, GREETING), (deep, GREETING), (shallow, b""), (other, b""), (deep, GREETING)):
                with clients.plain(port) as connection:
                    self.assertEqual(clients.read_all(connection), wanted)
