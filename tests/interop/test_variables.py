"""
What do variables hold, and how are they written to the access log?

Strategy: a table says for each variable what it holds on each kind of connection, exact or as a pattern; a log in
JSON tells name and value. nginx's log proves the table.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import ssl
from typing import Final

from cryptography.hazmat.primitives import serialization

from tests.support import backends, clients, pki
from tests.support.clients import plain, read_exactly
from tests.support.ports import free_port, free_ports
from tests.support.programs import eventually, read_text
from tests.support.proxies import NGINX, ProxyTestCase

NAMES: Final = (
    "binary_remote_addr bytes_received bytes_sent connection hostname msec nginx_version pid protocol remote_addr "
    "remote_port server_addr server_port session_time status time_iso8601 time_local "
    "ssl_preread_protocol ssl_preread_server_name ssl_preread_alpn_protocols "
    "ssl_alpn_protocol ssl_cipher ssl_client_cert ssl_client_fingerprint ssl_client_i_dn "
    "ssl_client_raw_cert ssl_client_s_dn ssl_client_serial ssl_client_v_end ssl_client_v_remain ssl_client_v_start "
    "ssl_client_verify ssl_curve ssl_protocol ssl_server_name ssl_session_id ssl_session_reused "
    "upstream_addr upstream_bytes_received upstream_bytes_sent upstream_connect_time upstream_first_byte_time "
    "upstream_session_time"
).split()

SECONDS: Final = r"\d+\.\d{3}"
Table = dict[str, "str | re.Pattern[str]"]
ALWAYS: Final[Table] = {
    "binary_remote_addr": re.compile(r"^\x7f\x00\x00\x01$"),
    "connection": re.compile(r"^[1-9]\d*$"),
    "hostname": socket.gethostname().lower(),
    "msec": re.compile(r"^\d{10}\.\d{3}$"),
    "nginx_version": re.compile(r"^\d+\.\d+\.\d+$"),
    "pid": re.compile(r"^[1-9]\d*$"),
    "protocol": "TCP",
    "remote_addr": "127.0.0.1",
    "server_addr": "127.0.0.1",
    "session_time": re.compile(f"^{SECONDS}$"),
    "status": "200",
    "time_iso8601": re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$"),
    "time_local": re.compile(r"^\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}$"),
}


class Values(ProxyTestCase):
    """
    Each variable on each kind of connection.
    """

    def setUp(self) -> None:
        """
        Start the proxy with a plain, a prereading and a terminating listener.
        """
        super().setUp()
        self.authority = pki.authority("Clients")
        server = pki.leaf(pki.authority("Servers"), "a.example.com").write(self.folder, "server")
        self.client = pki.leaf(self.authority, "client.example.com", serial=0xAB12)
        self.shown = self.client.write(self.folder, "client")
        self.echo = backends.backend(self)
        self.plain, self.preread, self.sealed = free_ports(3)
        fields = ",".join(f'"{name}":"${name}"' for name in NAMES)
        self.edge = self.proxy(
            """stream {
                log_format all escape=json '{@fields@}';
                access_log @folder@/all.log all;
                server { listen 127.0.0.1:@plain@; proxy_pass 127.0.0.1:@echo@; }
                server { listen 127.0.0.1:@preread@; ssl_preread on; proxy_pass 127.0.0.1:@echo@; }
                server {
                    listen 127.0.0.1:@sealed@ ssl;
                    ssl_certificate @certificate@;
                    ssl_certificate_key @key@;
                    ssl_protocols TLSv1.2 TLSv1.3;
                    ssl_alpn h2 http/1.1;
                    ssl_verify_client optional;
                    ssl_client_certificate @authority@;
                    proxy_pass 127.0.0.1:@echo@;
                }
            }
            """,
            fields=fields,
            folder=self.folder,
            plain=self.plain,
            preread=self.preread,
            sealed=self.sealed,
            echo=self.echo.port,
            certificate=server.certificate,
            key=server.key,
            authority=pki.write(self.folder, "clients.pem", self.authority.pem),
        )

    def last(self, count: int = 1) -> dict[str, str]:
        """
        Wait for C{count} lines.

        @return: the last one.
        """
        path = self.path("all.log")
        eventually(lambda: read_text(path).count("\n") >= count, f"{count} lines of the access log")
        found = json.loads(read_text(path).split("\n")[count - 1])
        assert isinstance(found, dict)
        return found

    def check(self, found: dict[str, str], wanted: Table) -> None:
        """
        Every variable is as wanted: those that nothing is said about are empty.
        """
        wrong = []
        for name in NAMES:
            want, value = wanted.get(name, ""), found.get(name)
            fits = value == want if isinstance(want, str) else value is not None and want.search(value)
            if not fits:
                wrong.append(f"{name}: {value!r} instead of {want if isinstance(want, str) else want.pattern!r}")
        self.assertEqual(wrong, [], "\n".join(wrong))

    def common(self, connection: tuple[str, int], port: int, received: int, sent: int) -> Table:
        """
        What holds on every connection that was proxied.
        """
        return {
            **ALWAYS,
            "remote_port": str(connection[1]),
            "server_port": str(port),
            "bytes_received": str(received),
            "bytes_sent": str(sent),
            "upstream_addr": f"127.0.0.1:{self.echo.port}",
            "upstream_bytes_received": str(sent),
            "upstream_bytes_sent": str(sent),
            "upstream_connect_time": re.compile(f"^{SECONDS}$"),
            "upstream_first_byte_time": re.compile(f"^{SECONDS}$"),
            "upstream_session_time": re.compile(f"^{SECONDS}$"),
        }

    def test_plain(self) -> None:
        """
        On a plain connection what is about TLS is empty.
        """
        with plain(self.plain) as connection:
            own = connection.getsockname()
            connection.sendall(b"abcde")
            self.assertEqual(read_exactly(connection, 5), b"abcde")
        self.check(self.last(), self.common(own, self.plain, 5, 5))

    def test_preread(self) -> None:
        """
        ssl_preread tells the name as it was written, the offered protocols and the highest version, and nothing
        about a handshake.
        """
        for number, (version, highest) in enumerate((("TLSv1.2", "TLSv1.2"), (None, "TLSv1.3")), 1):
            flight = clients.hello("A.Example.com", version, alpn=["h2", "http/1.1"])
            with plain(self.preread) as connection:
                own = connection.getsockname()
                connection.sendall(flight)
                self.assertEqual(read_exactly(connection, len(flight)), flight)
            # as nginx since 1.25.5, which looks at the hello without taking it; Debian's does not count what it saw
            wanted = self.common(own, self.preread, 0 if self.kind == NGINX else len(flight), len(flight))
            wanted["ssl_preread_server_name"] = "A.Example.com"
            wanted["ssl_preread_alpn_protocols"] = "h2,http/1.1"
            wanted["ssl_preread_protocol"] = highest
            self.check(self.last(number), wanted)

    def talk(
        self, settings: ssl.SSLContext, session: ssl.SSLSession | None = None
    ) -> tuple[ssl.SSLSession | None, Table]:
        """
        Speak TLS.

        @return: the session, and what is wanted of the variables.
        """
        with clients.tls(self.sealed, "a.example.com", settings, session=session) as connection:
            wanted = self.common(connection.getsockname(), self.sealed, 5, 5)
            connection.sendall(b"abcde")
            self.assertEqual(read_exactly(connection, 5), b"abcde")
            cipher = connection.cipher()
            assert cipher is not None
            wanted |= {
                "ssl_cipher": cipher[0],
                "ssl_client_verify": "NONE",
                "ssl_curve": re.compile(r"^(X25519|prime256v1|X25519MLKEM768)$"),
                "ssl_protocol": str(connection.version()),
                "ssl_server_name": "a.example.com",
                "ssl_session_reused": "r" if connection.session_reused else ".",
                "ssl_alpn_protocol": connection.selected_alpn_protocol() or "",
                "ssl_session_id": re.compile(r"^([0-9a-f]{64})?$"),
            }
            return connection.session, wanted

    def test_tls(self) -> None:
        """
        On a TLS connection they tell what both have agreed on, on a full and on a resumed handshake.
        """
        lines = 0
        for version in clients.VERSIONS:
            settings = clients.context(version, alpn=["http/1.1"])
            session, wanted = self.talk(settings)
            self.check(self.last(lines := lines + 1), wanted)
            _, wanted = self.talk(settings, session)
            self.assertEqual(wanted["ssl_session_reused"], "r")
            if version == "TLSv1.2":
                wanted["ssl_curve"] = re.compile("")  # there is no exchange of keys
            self.check(self.last(lines := lines + 1), wanted)

    def test_client_certificate(self) -> None:
        """
        A client's certificate is told in all its forms, on a full and on a resumed handshake.
        """
        certificate = self.client.certificate
        text = self.client.pem.decode("ascii")
        wanted_of_it: Table = {
            "ssl_client_cert": text.rstrip("\n").replace("\n", "\n\t"),
            "ssl_client_raw_cert": re.compile("^" + re.escape(text.rstrip("\n")) + "\n?$"),
            "ssl_client_fingerprint": hashlib.sha1(
                certificate.public_bytes(serialization.Encoding.DER), usedforsecurity=False
            ).hexdigest(),
            "ssl_client_i_dn": "CN=Clients",
            "ssl_client_s_dn": "CN=client.example.com",
            "ssl_client_serial": "AB12",
            "ssl_client_v_start": "Jan  1 00:00:00 2024 GMT",
            "ssl_client_v_end": "Jan  1 00:00:00 2099 GMT",
            "ssl_client_v_remain": re.compile(r"^2[5-7]\d{3}$"),
            "ssl_client_verify": "SUCCESS",
        }
        lines = 0
        for version in clients.VERSIONS:
            settings = clients.context(version, identity=self.shown)
            session, wanted = self.talk(settings)
            self.check(self.last(lines := lines + 1), {**wanted, **wanted_of_it})
            _, wanted = self.talk(settings, session)
            self.assertEqual(wanted["ssl_session_reused"], "r")
            if version == "TLSv1.2":
                wanted["ssl_curve"] = re.compile("")
            self.check(self.last(lines := lines + 1), {**wanted, **wanted_of_it})

    def test_numbers(self) -> None:
        """
        $connection counts accepted and upstream connections together; the process is the one that serves.
        """
        numbers = []
        for count in range(1, 4):
            with plain(self.plain) as connection:
                connection.sendall(b"x")
                read_exactly(connection, 1)
            numbers.append(int(self.last(count)["connection"]))
        self.assertEqual(numbers, [1, 3, 5])
        self.assertIn(int(self.last(3)["pid"]), self.edge.processes())


class ValuesNginx(Values):
    """
    The same on nginx.
    """

    kind = NGINX


class Writing(ProxyTestCase):
    """
    C{log_format} and C{access_log}.
    """

    def setUp(self) -> None:
        """
        Start a back end.
        """
        super().setUp()
        self.echo = backends.backend(self)
        self.port = free_port()

    def serve(self, text: str, own: int = 0, none: int = 0) -> None:
        """
        Start the proxy with more lines in its stream block.
        """
        self.edge = self.proxy(
            "stream {\n" + text + "\nserver { listen 127.0.0.1:@port@; proxy_pass 127.0.0.1:@echo@; }\n}\n",
            port=self.port,
            echo=self.echo.port,
            folder=self.folder,
            own=own,
            none=none,
        )

    def visit(self) -> None:
        """
        Come and go.
        """
        with plain(self.port) as connection:
            connection.sendall(b"x")
            read_exactly(connection, 1)

    def written(self, name: str) -> str:
        """
        Wait for the log to have something.
        """
        eventually(lambda: read_text(self.path(name)), f"lines in {name}")
        return read_text(self.path(name))

    def test_escaping(self) -> None:
        """
        Odd bytes are written as C{\\xXX} by default, as JSON where it is asked for, and as they are with none; a
        variable without a value is a hyphen by default only.
        """
        self.serve(
            r"""
            map $remote_addr $odd { default "a\"b\\c	d\ne'é"; }
            map $remote_addr $empty { default ""; }
            log_format default '[$odd][$empty][$ssl_cipher]';
            log_format json escape=json '[$odd][$empty][$ssl_cipher]';
            log_format none escape=none '[$odd][$empty][$ssl_cipher]';
            access_log @folder@/default.log default;
            access_log @folder@/json.log json;
            access_log @folder@/none.log none;
            """
        )
        self.visit()
        self.assertEqual(self.written("default.log"), r"[a\x22b\x5Cc\x09d\x0Ae'\xC3\xA9][][-]" + "\n")
        self.assertEqual(self.written("json.log"), r"""[a\"b\\c\td\ne'é][][]""" + "\n")
        self.assertEqual(self.written("none.log"), "[a\"b\\c\td\ne'é][][]\n")

    def test_pieces(self) -> None:
        """
        The strings of a format are written one after the other; braces end a variable's name.
        """
        self.serve("log_format pieces '$protocol' ' ${protocol}x' \" $status\"; access_log @folder@/a.log pieces;")
        self.visit()
        self.assertEqual(self.written("a.log"), "TCP TCPx 200\n")

    def test_condition(self) -> None:
        """
        C{if=} leaves out sessions for which it is empty or 0.
        """
        self.serve(
            """
            map $bytes_received $wanted { 1 0; 2 ""; default yes; }
            log_format short $bytes_received;
            access_log @folder@/a.log short if=$wanted;
            access_log @folder@/all.log short;
            """
        )
        for text in (b"a", b"ab", b"abc"):
            with plain(self.port) as connection:
                connection.sendall(text)
                read_exactly(connection, len(text))
        eventually(lambda: self.written("all.log").count("\n") == 3, "three lines")
        self.assertEqual(self.written("a.log"), "3\n")

    def test_name_with_variables(self) -> None:
        """
        The name of a log may have variables.
        """
        self.serve("log_format short $status; access_log @folder@/by-$remote_addr.log short;")
        self.visit()
        self.assertEqual(self.written("by-127.0.0.1.log"), "200\n")

    def test_buffered(self) -> None:
        """
        A buffered log is written at the end of the program, if not before.
        """
        self.serve("log_format short $status; access_log @folder@/a.log short buffer=64k flush=1h;")
        self.visit()
        self.visit()
        self.assertEqual(read_text(self.path("a.log")), "")
        self.edge.quit()
        self.assertEqual(self.edge.program.wait(), 0)
        self.assertEqual(read_text(self.path("a.log")), "200\n200\n")

    def test_off_and_inherited(self) -> None:
        """
        A server with logs of its own, or none, does not use those of the outer block.
        """
        own, none = free_ports(2)
        self.serve(
            """
            log_format short $server_port;
            access_log @folder@/outer.log short;
            server { listen 127.0.0.1:@own@; access_log @folder@/own.log short; proxy_pass 127.0.0.1:@echo@; }
            server { listen 127.0.0.1:@none@; access_log off; proxy_pass 127.0.0.1:@echo@; }
            """,
            own=own,
            none=none,
        )
        for port in (own, none, self.port):
            with plain(port) as connection:
                connection.sendall(b"x")
                read_exactly(connection, 1)
        self.assertEqual(self.written("outer.log"), f"{self.port}\n")
        self.assertEqual(self.written("own.log"), f"{own}\n")


class WritingNginx(Writing):
    """
    The same on nginx.
    """

    kind = NGINX
