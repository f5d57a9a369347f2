"""
Do the stream configurations of the tutorial work as they are printed?

Machine A stands before two machines with ssh and one with a web page, and sends connections to them by the server
name; machine B wraps plain ports in TLS towards A. The configurations in C{tests/data/seeds} are the printed ones;
only addresses, ports and paths are replaced here. Real sshd, ssh, curl and openssl try every route.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache

from tests.support import backends, clients, pki
from tests.support.dns_thread import NameServer
from tests.support.ports import free_port
from tests.support.programs import ROOT, eventually, need, run
from tests.support.proxies import NGINX, Kind, Proxy, ProxyTestCase
from tests.support.ssh import Sshd

DATA = os.path.join(ROOT, "tests", "data", "seeds")


def printed(name: str) -> str:
    """
    @return: a block as it is printed.
    """
    with open(os.path.join(DATA, name), encoding="utf-8") as file:
        return file.read()


def exchange(text: str, **changes: str) -> str:
    """
    Replace addresses, ports, paths and names, each of which must occur.
    """
    for old, new in changes.items():
        if old not in text:
            raise AssertionError(f"{old} does not occur")
        text = text.replace(old, new)
    return text


def within_stream(text: str) -> str:
    """
    A fragment inside the block it belongs to.
    """
    return f"stream {{\n{text}\n}}\n"


@cache
def certificates(machine: str) -> str:
    """
    Run the printed script for a machine, once in a test run.

    @return: the folder with ca.crt, server.crt and server.key.
    """
    folder = tempfile.mkdtemp(prefix=f"machine-{machine}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    listing = run(need("openssl"), "version", "-d").stdout
    found = re.search(r'"(.*)"', listing)
    assert found, listing
    script = exchange(printed("certificates.sh"), **{"/etc/pki/tls/openssl.cnf": f"{found[1]}/openssl.cnf"})
    made = run(need("bash"), "-e", "-c", script, folder=folder)
    if made.returncode:
        raise AssertionError(made.stderr)
    return folder


class TutorialTestCase(ProxyTestCase):
    """
    The two machines and what stands behind them.

    @cvar kind_of_a: which proxy A runs, where it is not the one under test.
    @cvar kind_of_b: the same of B.
    """

    kind_of_a: Kind | None = None
    kind_of_b: Kind | None = None

    def setUp(self) -> None:
        """
        Lay out the folders of both machines, each with its own certificate and the other's authority.
        """
        super().setUp()
        self.listening: dict[str, int] = {}
        for machine, other in (("a", "b"), ("b", "a")):
            made = certificates(machine)
            home = self.path(machine, "ssl", "example.com")
            os.makedirs(home)
            for name in ("server.crt", "server.key"):
                shutil.copy(os.path.join(made, name), home)
            shutil.copy(os.path.join(certificates(other), "ca.crt"), self.path(machine, "ssl", f"ca_for_{other}.crt"))

    def behind(self) -> None:
        """
        Start what stands behind A.
        """
        self.first, self.second = Sshd(self, "first"), Sshd(self, "second")
        self.page = backends.web(self, b"the page\n")

    def at(self, printed_port: int) -> int:
        """
        @return: the port that stands for a printed one.
        """
        return self.listening.setdefault(str(printed_port), free_port())

    def machine_a(self, text: str) -> Proxy:
        """
        Start A with a printed configuration.
        """
        inner = {port: self.at(port) for port in (30001, 30002, 30003) if str(port) in text}
        changes = {f"127.0.0.1:{port}": f"127.0.0.1:{mine}" for port, mine in inner.items()}
        for target, port in (
            ("192.168.121.21:22", self.first.port),
            ("192.168.121.22:22", self.second.port),
            ("192.168.121.23:8080", self.page),
        ):
            changes[target] = f"127.0.0.1:{port}"
        changes["listen 443"] = f"listen {self.at(443)}"
        changes["/etc/nginx/"] = self.path("a", "")
        return self.proxy(exchange(text, **changes), "a", kind=self.kind_of_a, as_printed=True)

    def machine_b(self, text: str) -> Proxy:
        """
        Start B with a printed configuration.
        """
        changes = {"10.0.92.10:443": f"127.0.0.1:{self.at(443)}"}
        for port in (50001, 50002, 50003):
            if f"listen {port}" in text:
                changes[f"listen {port}"] = f"listen {self.at(port)}"
        if "/etc/nginx/" in text:
            changes["/etc/nginx/"] = self.path("b", "")
        return self.proxy(exchange(text, **changes), "b", kind=self.kind_of_b, as_printed=True)

    def assert_ssh(self) -> None:
        """
        Each of B's ports leads to its own machine.
        """
        for port, machine in ((self.at(50001), self.first), (self.at(50002), self.second)):
            answer = machine.login(port)
            self.assertEqual((answer.stdout, answer.returncode), (f"{machine.name}\n", 0), answer.stderr)
            self.assertEqual(machine.host_key(), machine.own_key())

    def curl(self, *options: str, name: str = "web.example.com") -> tuple[str, int]:
        """
        Ask A for the page as the tutorial does.

        @return: the status of the answer, 000 where there is none, and curl's exit status.
        """
        answer = run(
            need("curl"),
            *("-q", "-so", self.path("page"), "-w", "%{http_code}", "--max-time", "20", "--noproxy", "*"),
            *("--connect-to", f"{name}:443:127.0.0.1:{self.at(443)}", *options, f"https://{name}/"),
        )
        return answer.stdout, answer.returncode

    def assert_page(self, *options: str) -> None:
        """
        The page arrives.
        """
        self.assertEqual(self.curl(*options), ("200", 0))
        with open(self.path("page"), "rb") as file:
            self.assertEqual(file.read(), b"the page\n")

    def assert_no_page(self, *options: str, name: str = "web.example.com") -> int:
        """
        Nothing arrives.

        @return: curl's exit status.
        """
        status, exit_status = self.curl(*options, name=name)
        self.assertEqual(status, "000")
        self.assertNotEqual(exit_status, 0)
        return exit_status

    def own_certificate(self) -> tuple[str, ...]:
        """
        The options by which curl shows B's certificate.
        """
        home = self.path("b", "ssl", "example.com")
        return ("--cert", f"{home}/server.crt", "--key", f"{home}/server.key")

    def trust_a(self) -> tuple[str, ...]:
        """
        The options by which curl believes A, and nobody else.
        """
        return ("--cacert", self.path("b", "ssl", "ca_for_a.crt"))

    def s_client(self, name: str | None, *options: str) -> str:
        """
        @return: what C{openssl s_client} prints until the machine behind greets, or the connection ends.
        """
        asked = ("-servername", name) if name else ("-noservername",)
        client = self.start(
            f"s_client-{name}",
            need("openssl"),
            *("s_client", "-connect", f"127.0.0.1:{self.at(443)}", "-quiet", *asked, *options),
            stdin=subprocess.PIPE,
        )
        eventually(lambda: "SSH-2.0-" in client.output() or client.ended(), "a greeting or an end")
        output = client.output()
        client.stop()
        return output


class OneWay(TutorialTestCase):
    """
    A sends on by name and ends TLS behind; nobody shows B's certificate.
    """

    def setUp(self) -> None:
        """
        Start A as first printed.
        """
        super().setUp()
        self.behind()
        self.a = self.machine_a(printed("a-preread.conf"))

    def test_first(self) -> None:
        """
        ssh reaches both machines through B and A as first printed, and curl the page through A alone.
        """
        self.machine_b(printed("b-first.conf"))
        self.assert_ssh()
        self.assert_page("-k")
        self.assert_page(*self.trust_a())
        self.assertEqual(self.assert_no_page(), 60)

    def test_web(self) -> None:
        """
        With the third port of B, the page can be had without TLS.
        """
        text = printed("b-first.conf")
        end = text.rindex("}")
        self.machine_b(text[:end] + printed("b-web.conf") + text[end:])
        answer = run(need("curl"), "-q", "-s", "--noproxy", "*", f"http://127.0.0.1:{self.at(50003)}")
        self.assertEqual((answer.stdout, answer.returncode), ("the page\n", 0))

    def test_corrected(self) -> None:
        """
        Without the certificate that B does not need, all is as before.
        """
        self.machine_b(printed("b-corrected.conf"))
        self.assert_ssh()

    def test_needless_certificate_missing(self) -> None:
        """
        The certificate that B does not need is never opened: it need not exist.
        """
        shutil.rmtree(self.path("b", "ssl", "example.com"))
        self.machine_b(printed("b-first.conf"))
        self.assert_ssh()

    def test_verifying(self) -> None:
        """
        B verifies A, and ssh still reaches both machines.
        """
        self.machine_b(printed("b-verifying.conf"))
        self.assert_ssh()

    def test_wrong_authority(self) -> None:
        """
        With another authority at B, ssh is thrown out before it sees a greeting, and the log says why.
        """
        shutil.copy(os.path.join(certificates("b"), "ca.crt"), self.path("b", "ssl", "ca_for_a.crt"))
        b = self.machine_b(printed("b-verifying.conf"))
        answer = self.second.login(self.at(50002))
        self.assertEqual((answer.stdout, answer.returncode), ("", 255))
        self.assertRegex(
            answer.stderr, r"kex_exchange_identification: .*[Cc]onnection (reset by peer|closed by remote host)"
        )
        line = b.logged(re.compile("upstream SSL certificate verify error"))
        self.assertEqual(
            re.sub(r"\(\d+:[^)]*\)", "(N:why)", str(line)),
            "[error] upstream SSL certificate verify error: (N:why) while SSL handshaking to upstream, "
            f'client: 127.0.0.1, server: 0.0.0.0:{self.at(50002)}, upstream: "127.0.0.1:{self.at(443)}", '
            "bytes from/to client:0/0, bytes from/to upstream:0/0",
        )
        self.assertRegex(line.text, r"\((21:unable to verify the first certificate|7:certificate signature failure)\)")

    def test_s_client(self) -> None:
        """
        openssl's client meets the first machine by its name, and believes A by its authority.
        """
        trusted = ("-CAfile", self.path("b", "ssl", "ca_for_a.crt"), "-verify_return_error")
        output = self.s_client("ssh1.example.com", *trusted, "-verify_hostname", "ssh1.example.com")
        self.assertIn("SSH-2.0-OpenSSH", output)
        self.assertIn("verify return:1", output)

    def test_names_ignore_case(self) -> None:
        """
        Names are the same in capitals.
        """
        self.assertIn("SSH-2.0-OpenSSH", self.s_client("SSH2.Example.COM"))

    def test_unknown_name(self) -> None:
        """
        A name that is not in the map goes to the default, where nobody listens: the connection ends at once and the
        log names the address.
        """
        self.assert_refused("other.example.com")

    def test_no_name(self) -> None:
        """
        A client that names nobody goes to the default.
        """
        self.assert_refused(None)

    def assert_refused(self, name: str | None) -> None:
        """
        s_client ends without a greeting, and A has logged the refusal.
        """
        self.assertNotIn("SSH-2.0", self.s_client(name))
        self.a.logged(
            "[error] connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1, "
            f'server: 0.0.0.0:{self.at(443)}, upstream: "127.0.0.1:65535", '
            "bytes from/to client:0/0, bytes from/to upstream:0/0"
        )


class OneWayNginx(OneWay):
    """
    The same on nginx.
    """

    kind = NGINX


class Fragments(TutorialTestCase):
    """
    The parts that the tutorial prints once more to explain them.
    """

    def test_assembled(self) -> None:
        """
        A made of the explained parts, and B of its explained server with the three verifying lines, work together.
        """
        self.behind()
        parts = ("map", "server-preread", "server-30001", "server-30003")
        text = within_stream("\n".join(printed(f"fragments/{part}.conf") for part in parts))
        text = text.replace("ssh2.example.com 127.0.0.1:30002;", "")
        changed = exchange(
            text,
            **{
                "127.0.0.1:30001": f"127.0.0.1:{self.at(30001)}",
                "127.0.0.1:30003": f"127.0.0.1:{self.at(30003)}",
                "192.168.121.21:22": f"127.0.0.1:{self.first.port}",
                "192.168.121.23:8080": f"127.0.0.1:{self.page}",
                "listen 443": f"listen {self.at(443)}",
                "/etc/nginx/": self.path("a", ""),
            },
        )
        self.proxy(changed, "a", as_printed=True)
        server = printed("fragments/server-50001.conf")
        end = server.rindex("}")
        self.machine_b(within_stream(server[:end] + printed("fragments/verify.conf") + server[end:]))
        self.assertEqual(self.first.login(self.at(50001)).stdout, "first\n")
        self.assert_page(*self.trust_a())


class FragmentsNginx(Fragments):
    """
    The same on nginx.
    """

    kind = NGINX


class BothWays(TutorialTestCase):
    """
    A demands a certificate of B's authority.
    """

    a_text = "a-mtls.conf"

    def setUp(self) -> None:
        """
        Start A so that it verifies.
        """
        super().setUp()
        self.behind()
        self.a = self.machine_a(printed(self.a_text))
        self.refusing = self.at(30003) if "30003" in printed(self.a_text) else self.at(443)

    def test_with_certificate(self) -> None:
        """
        B shows its certificate: ssh reaches both machines, and curl with the same certificate the page.
        """
        self.machine_b(printed("b-certificate.conf"))
        self.assert_ssh()
        self.assert_page(*self.trust_a(), *self.own_certificate())

    def test_without_certificate(self) -> None:
        """
        B without a certificate is refused, and so is curl; the log says that no certificate was sent.
        """
        self.machine_b(printed("b-verifying.conf"))
        answer = self.first.login(self.at(50001))
        self.assertEqual((answer.stdout, answer.returncode), ("", 255))
        self.assert_no_page("-k")
        line = self.a.logged(re.compile(f"client sent no required SSL certificate.*:{self.refusing}$"))
        server = f"127.0.0.1:{self.refusing}" if "30003" in printed(self.a_text) else f"0.0.0.0:{self.refusing}"
        self.assertEqual(
            str(line),
            "[info] client sent no required SSL certificate while SSL handshaking, "
            f"client: 127.0.0.1, server: {server}",
        )

    def test_wrong_certificate(self) -> None:
        """
        A certificate of another authority of the same name is refused, and the log says why.
        """
        home = self.path("a", "ssl", "example.com")
        self.assert_no_page("-k", "--cert", f"{home}/server.crt", "--key", f"{home}/server.key")
        line = self.a.logged(re.compile("client SSL certificate verify error"))
        self.assertRegex(
            str(line),
            r"^\[info\] client SSL certificate verify error: "
            r"\((21:unable to verify the first certificate|7:certificate signature failure)\) "
            rf"while SSL handshaking, client: 127\.0\.0\.1, server: [0-9.]+:{self.refusing}$",
        )

    def test_s_client(self) -> None:
        """
        openssl's client is let in with B's certificate and not without.
        """
        home = self.path("b", "ssl", "example.com")
        shown = ("-cert", f"{home}/server.crt", "-key", f"{home}/server.key")
        self.assertIn("SSH-2.0-OpenSSH", self.s_client("ssh1.example.com", *shown))
        self.assertNotIn("SSH-2.0", self.s_client("ssh2.example.com"))


class BothWaysNginx(BothWays):
    """
    The same on nginx.
    """

    kind = NGINX


class Terminating(BothWays):
    """
    The second variant of A: the outer server ends TLS itself, and the name decides after the handshake.
    """

    a_text = "a-terminating.conf"

    def test_unknown_name(self) -> None:
        """
        An unknown name ends at the default, after the handshake.
        """
        self.assert_no_page("-k", *self.own_certificate(), name="other.example.com")
        # The client may speak before the refusal is seen.
        line = self.a.logged(re.compile("Connection refused"))
        self.assertRegex(
            str(line),
            r"^\[error\] connect\(\) failed \(111: Connection refused\) "
            r"while (connecting to upstream|proxying connection), "
            rf'client: 127\.0\.0\.1, server: 0\.0\.0\.0:{self.at(443)}, upstream: "127\.0\.0\.1:65535", '
            r"bytes from/to client:\d+/0, bytes from/to upstream:0/0$",
        )


class TerminatingNginx(Terminating):
    """
    The same on nginx.
    """

    kind = NGINX


class Group(ProxyTestCase):
    """
    The TCP example: one plain port, and a group of three TLS servers that demand a certificate.
    """

    def setUp(self) -> None:
        """
        Start three back ends and the proxy.
        """
        super().setUp()
        authority, other = pki.authority("Back ends"), pki.authority("Proxies")
        trust = pki.write(self.path("certs"), "trusted_ca_cert.crt", authority.pem)
        demanded = pki.write(self.path("certs"), "proxies.crt", other.pem)
        files = pki.leaf(authority, "backend", names=("backend",)).write(self.path("certs"), "server")
        self.client = pki.leaf(other, "proxy.example.com")
        shown = self.client.write(self.path("certs"), "backend")
        os.rename(shown.certificate, self.path("certs", "backend.crt"))
        self.trust = trust
        self.backends = [
            backends.backend(self, backends.greet(b"%d" % number), clients.server_context(files, trust=demanded))
            for number in range(3)
        ]
        self.port = free_port()
        changes = {
            f"backend{number + 1}.example.com:12345": f"127.0.0.1:{server.port}"
            for number, server in enumerate(self.backends)
        }
        changes["12345;\n        proxy_pass"] = f"{self.port};\n        proxy_pass"
        changes["/etc/ssl/certs/"] = self.path("certs", "")
        self.edge = self.proxy(exchange(printed("tcp-upstream.conf"), **changes), as_printed=True)

    def visit(self) -> bytes:
        """
        @return: which back end answered.
        """
        with clients.plain(self.port) as connection:
            connection.sendall(b"?")
            answer = clients.read_exactly(connection, 2)
        self.assertEqual(answer[1:], b"?")
        return answer[:1]

    def test_round_robin_and_reuse(self) -> None:
        """
        The three take turns; each one's first handshake is full and every later one resumed, with TLS 1.2 and the
        proxy's certificate.
        """
        self.assertEqual([self.visit() for _ in range(9)], [b"0", b"1", b"2"] * 3)
        for server in self.backends:
            visits = [server.visit(number) for number in range(3)]
            self.assertEqual([visit.error for visit in visits], [None] * 3)
            self.assertEqual([visit.reused for visit in visits], [False, True, True])
            self.assertEqual({visit.version for visit in visits}, {"TLSv1.2"})
            self.assertEqual({visit.name for visit in visits}, {None})


class GroupNginx(Group):
    """
    The same on nginx.
    """

    kind = NGINX


class Dmz(ProxyTestCase):
    """
    Passing TLS on to where its name says, unopened.
    """

    def setUp(self) -> None:
        """
        Start an API server and a name server that knows it.
        """
        super().setUp()
        authority = pki.authority("Public CA")
        self.trust = pki.write(self.folder, "public.pem", authority.pem)
        files = pki.leaf(authority, "oapi.dingtalk.com").write(self.folder, "oapi")
        self.api = backends.backend(self, backends.say(b"the answer"), clients.server_context(files))
        self.port = free_port()

    def dmz(self, text: str) -> Proxy:
        """
        Start the proxy in the DMZ with a printed fragment.
        """
        changes = {":443;": f":{self.api.port};", "listen 443": f"listen {self.port}"}
        if "223.5.5.5" in text:
            names = NameServer({"oapi.dingtalk.com": ["127.0.0.1"]})
            self.addCleanup(names.close)
            changes["223.5.5.5"] = f"127.0.0.1:{names.port}"
        return self.proxy(exchange(within_stream(text), **changes), as_printed=True)

    def test_no_resolver(self) -> None:
        """
        Without a resolver the name cannot be found: the handshake fails and the log says so.
        """
        edge = self.dmz(printed("dmz-first.conf"))
        self.assertRaises(OSError, clients.tls, self.port, "oapi.dingtalk.com")
        edge.logged(
            "[error] no resolver defined to resolve oapi.dingtalk.com, client: 127.0.0.1, "
            f"server: 0.0.0.0:{self.port}, bytes from/to client:0/0, bytes from/to upstream:0/0"
        )

    def test_resolved(self) -> None:
        """
        With a resolver the client talks to the API server, whose own certificate it believes.
        """
        self.dmz(printed("dmz.conf"))
        with clients.tls(self.port, "oapi.dingtalk.com", clients.context(trust=self.trust)) as connection:
            self.assertEqual(clients.read_all(connection), b"the answer")
        self.assertEqual(self.api.visit(0).name, "oapi.dingtalk.com")

    def test_unknown_to_resolver(self) -> None:
        """
        A name that the name server does not know ends the session, and the log says that it does not exist.
        """
        edge = self.dmz(printed("dmz.conf"))
        self.assertRaises(OSError, clients.tls, self.port, "bing.domaina.com")
        edge.logged(
            "[error] bing.domaina.com could not be resolved (3: Host not found), client: 127.0.0.1, "
            f"server: 0.0.0.0:{self.port}, bytes from/to client:0/0, bytes from/to upstream:0/0"
        )

    def test_unknown_name(self) -> None:
        """
        A name that is not in the map ends at the default.
        """
        edge = self.dmz(printed("dmz.conf"))
        self.assertRaises(OSError, clients.tls, self.port, "other.example.com")
        edge.logged(
            "[error] connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1, "
            f'server: 0.0.0.0:{self.port}, upstream: "127.0.0.1:65535", '
            "bytes from/to client:0/0, bytes from/to upstream:0/0"
        )


class DmzNginx(Dmz):
    """
    The same on nginx.
    """

    kind = NGINX
