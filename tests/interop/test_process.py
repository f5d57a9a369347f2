"""
How does the proxy start, reload, reopen its logs and end, and what does it say of a configuration that is wrong?

Strategy: what nginx does too is tried on both. Of a wrong configuration nginx tells the first error only; we tell
them all, so nginx proves the words of each, one at a time, and ours must be the same words.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
from typing import Final

from tests.support import backends, clients, pki
from tests.support.clients import plain, read_all, read_exactly
from tests.support.ports import free_port
from tests.support.programs import PATIENCE, Program, eventually, read_text, run, write_text
from tests.support.proxies import (
    NGINX,
    Proxy,
    ProxyTestCase,
    command,
    environment,
    fill,
    prelude,
    read_lines,
)

SIMPLE: Final = """stream {
    server {
        listen 127.0.0.1:@port@;
        proxy_pass 127.0.0.1:@peer@;
    }
}
"""


class ProcessTestCase(ProxyTestCase):
    """
    Two back ends that say who they are.
    """

    def setUp(self) -> None:
        """
        Start them.
        """
        super().setUp()
        self.first = backends.backend(self, backends.greet(b"1"))
        self.second = backends.backend(self, backends.greet(b"2"))
        self.port = free_port()

    def simple(self, peer: backends.Backend | None = None, **values: object) -> str:
        """
        @return: a configuration that leads to a back end.
        """
        return fill(SIMPLE, port=self.port, peer=(peer or self.first).port, **values)

    def who(self, port: int | None = None) -> bytes:
        """
        @return: which back end answers; empty where the connection ends, or is refused.
        @raise TimeoutError: none does: a connection whose last ACK meets a listener that closes is never told so.
        """
        try:
            with plain(port or self.port) as connection:
                connection.settimeout(PATIENCE / 5)
                return read_exactly(connection, 1)
        except ConnectionError:
            return b""

    def says(self, wanted: bytes, port: int | None = None) -> None:
        """
        Wait until C{wanted} is the answer.
        """
        eventually(lambda: self.who(port) == wanted, f"{wanted!r} from {port or self.port}")


class Reload(ProcessTestCase):
    """
    HUP.
    """

    def running(self, text: str) -> Proxy:
        """
        @return: a proxy that has answered.
        """
        edge = self.proxy(text)
        self.says(b"1")
        return edge

    def test_at_once(self) -> None:
        """
        Who reads the pid file may send a signal at once: it is obeyed.
        """
        edge = self.proxy(self.simple())
        edge.rewrite(self.simple(self.second))
        edge.program.signal(signal.SIGHUP)
        edge.logged("[notice] reconfiguring")
        self.says(b"2")

    def test_new_configuration(self) -> None:
        """
        New connections find the new back end; a session under way goes on with the old one to its end.
        """
        edge = self.running(self.simple())
        with plain(self.port) as old:
            self.assertEqual(read_exactly(old, 1), b"1")
            edge.rewrite(self.simple(self.second))
            edge.reload()
            self.says(b"2")
            old.sendall(b"still here")
            self.assertEqual(read_exactly(old, 10), b"still here")
        self.assertEqual(bytes(self.first.visit(1).received), b"still here")
        edge.logged(re.compile(r"^\[notice\] signal 1 \(SIGHUP\) received.*, reconfiguring$"))
        edge.logged("[notice] reconfiguring")
        edge.logged(re.compile(r"^\[notice\] worker process \d+ exited with code 0$"))

    def test_broken_configuration(self) -> None:
        """
        A broken file changes nothing and is logged.
        """
        edge = self.running(self.simple())
        edge.rewrite("stream {\n    server {\n        bogus on;\n    }\n}\n")
        edge.reload()
        edge.logged(f'[emerg] unknown directive "bogus" in {edge.configuration}:3')
        self.assertEqual(self.who(), b"1")
        edge.rewrite(self.simple(self.second))
        edge.reload()
        self.says(b"2")

    def test_unreadable_certificate(self) -> None:
        """
        Neither does a configuration whose certificate is missing, though its text is right.
        """
        edge = self.running(self.simple())
        missing = "ssl_certificate /nowhere/a.pem; ssl_certificate_key /nowhere/a.key;"
        edge.rewrite(self.simple(self.second).replace(f"{self.port};", f"{self.port} ssl; {missing}"))
        edge.reload()
        edge.logged(re.compile(r'^\[emerg\] cannot load certificate "/nowhere/a.pem"'))
        self.assertEqual(self.who(), b"1")

    def test_address_in_use(self) -> None:
        """
        Neither does a new listener whose address is taken.
        """
        with socket.create_server(("127.0.0.1", free_port())) as taken:
            other = taken.getsockname()[1]
            edge = self.running(self.simple())
            text = self.simple(self.second)
            text = text[: text.rindex("}")] + f"server {{ listen 127.0.0.1:{other}; proxy_pass 127.0.0.1:1; }}\n}}\n"
            edge.rewrite(text)
            edge.program.signal(signal.SIGHUP)
            said = rf"bind\(\) to 127\.0\.0\.1:{other} failed \(98: Address already in use\)"
            edge.logged(re.compile(rf"^\[emerg\] {said}( in .*)?$"))  # we add where it stands
            self.assertEqual(self.who(), b"1")

    def test_listeners_come_and_go(self) -> None:
        """
        A listener that is new in the file opens, one that is gone closes, and its sessions go on.
        """
        other = free_port()
        edge = self.running(self.simple())
        with plain(self.port) as old:
            self.assertEqual(read_exactly(old, 1), b"1")
            edge.rewrite(fill(SIMPLE, port=other, peer=self.second.port))
            edge.reload()
            self.says(b"2", other)
            self.says(b"")
            old.sendall(b"x")
            self.assertEqual(read_exactly(old, 1), b"x")

    def test_nobody_is_refused(self) -> None:
        """
        While the configuration is read again and again, every connection is answered.
        """
        edge = self.running(self.simple())
        answers: set[bytes] = set()
        over = threading.Event()

        def knock() -> None:
            while not over.is_set():
                answers.add(self.who())

        knocking = threading.Thread(target=knock)
        knocking.start()
        try:
            for peer in (self.second, self.first, self.second):
                edge.rewrite(self.simple(peer))
                edge.reload()
                self.says(b"1" if peer is self.first else b"2")
        finally:
            over.set()
            knocking.join()
        self.assertEqual(answers, {b"1", b"2"})

    def test_replaced_within_a_second(self) -> None:
        """
        A certificate that is written anew in place is the one that is served after the reload.
        """
        names = ("first.example.com", "second.example.com")
        authority = pki.authority("CA")
        files = pki.leaf(authority, names[0]).write(self.folder, "served")
        settings = f"{self.port} ssl; ssl_certificate {files.certificate}; ssl_certificate_key {files.key};"
        edge = self.proxy(self.simple().replace(f"{self.port};", settings))
        before = os.stat(files.certificate)
        self.assertEqual(self.served(), names[0])
        pki.leaf(authority, names[1]).write(self.folder, "served")
        os.utime(files.certificate, ns=(before.st_atime_ns, before.st_mtime_ns))
        edge.reload()
        eventually(lambda: self.served() == names[1], "the new certificate")

    def served(self) -> str:
        """
        @return: the common name of the certificate that is served.
        """
        with clients.tls(self.port, "any.example.com") as connection:
            return clients.common_name(connection)

    def test_nothing_stays_open(self) -> None:
        """
        Reloads leave no descriptor behind.
        """
        edge = self.running(self.simple())

        def again(peer: backends.Backend, answer: bytes) -> int:
            edge.rewrite(self.simple(peer))
            edge.reload()
            self.says(answer)
            eventually(lambda: len(edge.processes()) == 1, "the old worker ends")
            return len(edge.descriptors())

        again(self.second, b"2")
        self.says(b"2")
        counts = [again(self.first, b"1"), again(self.second, b"2"), again(self.first, b"1"), again(self.second, b"2")]
        eventually(lambda: len(edge.descriptors()) <= max(counts[:2]), f"{counts} descriptors to be no more in the end")


class ReloadNginx(Reload):
    """
    The same on nginx.
    """

    kind = NGINX


class End(ProcessTestCase):
    """
    QUIT, TERM and INT.
    """

    def test_quit(self) -> None:
        """
        QUIT closes the listeners at once, waits for the last session, and ends with status 0; the pid file goes.
        """
        edge = self.proxy(self.simple())
        self.assertEqual(int(read_text(edge.pid_path)), edge.program.pid)
        with plain(self.port) as connection:
            self.assertEqual(read_exactly(connection, 1), b"1")
            edge.quit()
            self.says(b"")
            connection.sendall(b"last words")
            self.assertEqual(read_exactly(connection, 10), b"last words")
            self.assertFalse(edge.program.ended())
        self.assertEqual(edge.program.wait(), 0)
        self.assertFalse(os.path.exists(edge.pid_path))

    def test_quit_idle(self) -> None:
        """
        Without sessions QUIT ends at once.
        """
        edge = self.proxy(self.simple())
        self.assertEqual(self.who(), b"1")
        edge.quit()
        self.assertEqual(edge.program.wait(), 0)

    def test_term_and_int(self) -> None:
        """
        TERM and INT end sessions at once, with status 0, and the sessions are logged before the end.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            name = number.name.lower()
            text = self.simple().replace("stream {", "stream {{ log_format end $status; access_log {}/{} end;", 1)
            text = text.replace("{}/{}", f"{self.folder}/{name}.access").replace("{{", "{")
            edge = self.proxy(text, name)
            with plain(self.port) as connection:
                self.assertEqual(read_exactly(connection, 1), b"1")
                edge.program.signal(number)
                self.assertEqual(read_all(connection), b"")
            self.assertEqual(edge.program.wait(), 0)
            self.assertEqual(read_text(self.path(f"{name}.access")).count("\n"), self.logged_at_end)
            self.assertFalse(os.path.exists(edge.pid_path))

    logged_at_end = 1

    def test_shutdown_timeout(self) -> None:
        """
        worker_shutdown_timeout ends the sessions that QUIT has waited for so long.
        """
        edge = self.proxy("worker_shutdown_timeout 1s;\n" + self.simple())
        with plain(self.port) as connection:
            self.assertEqual(read_exactly(connection, 1), b"1")
            edge.quit()
            self.assertEqual(read_all(connection), b"")
        self.assertEqual(edge.program.wait(), 0)


class EndNginx(End):
    """
    The same on nginx, which forgets to log what TERM ends.
    """

    kind = NGINX
    logged_at_end = 0


class Reopen(ProcessTestCase):
    """
    USR1.
    """

    def test_reopen(self) -> None:
        """
        After USR1 the logs that were moved away are written anew under their names.
        """
        access = self.path("access.log")
        text = self.simple().replace("stream {", f"stream {{ log_format end $status; access_log {access} end;", 1)
        edge = self.proxy(text)
        self.assertEqual(self.who(), b"1")
        eventually(lambda: read_text(access), "a line in the access log")
        for path in (access, edge.log_path):
            os.rename(path, f"{path}.1")
        edge.program.signal(signal.SIGUSR1)
        eventually(lambda: os.path.exists(access) and os.path.exists(edge.log_path), "new logs")
        before = read_text(f"{access}.1")

        def fresh() -> bool:
            return self.who() == b"1" and bool(read_text(access)) and bool(read_lines(edge.log_path))

        eventually(fresh, "lines in the new logs")
        self.assertTrue(read_text(f"{access}.1").startswith(before))
        self.assertEqual(self.who(), b"1")


class ReopenNginx(Reopen):
    """
    The same on nginx.
    """

    kind = NGINX


class Start(ProcessTestCase):
    """
    Paths, the first line, and an address in use.
    """

    def test_first_line(self) -> None:
        """
        The error log tells nginx's version at notice when the program starts.
        """
        self.proxy(self.simple()).logged(re.compile(r"^\[notice\] .*nginx/\d+\.\d+\.\d+"))

    def test_relative_paths(self) -> None:
        """
        Certificates, keys and includes are looked for in the folder of the configuration file; logs and the pid
        file in the prefix.
        """
        files, logs = self.path("etc"), self.path("var")
        os.makedirs(f"{logs}/logs")
        pki.leaf(pki.authority("CA"), "relative.example.com").write(f"{files}/certs", "server")
        inner = fill(SIMPLE, port=f"{self.port} ssl", peer=self.first.port)
        inner = inner[inner.index("{") + 1 : inner.rindex("}")].replace("@", "")
        write_text(f"{files}/conf.d/a.conf", inner)
        text = (
            "stream {\n    ssl_certificate certs/server.pem;\n    ssl_certificate_key certs/server.key;\n"
            "    log_format end $status;\n    access_log logs/access.log end;\n    include conf.d/*.conf;\n}\n"
        )
        before = prelude(self.kind, "@", "edge").replace("@/", "logs/")
        write_text(f"{files}/main.conf", before + text)
        arguments = command(self.kind, f"{files}/main.conf", prefix=f"{logs}/")
        program = self.start("edge", *arguments, env=environment(self.kind))
        program.ready(lambda: read_text(f"{logs}/logs/edge.pid"), "the pid file in the prefix")
        with clients.tls(self.port, "relative.example.com") as connection:
            self.assertEqual(connection.recv(1), b"1")
        eventually(lambda: read_text(f"{logs}/logs/access.log") == "200\n", "a line in the access log")
        self.assertTrue(read_lines(f"{logs}/logs/edge.log"))

    def test_address_in_use(self) -> None:
        """
        Where another program has the address, one line says so and the status is 1.
        """
        with socket.create_server(("127.0.0.1", self.port)):
            path = write_text(self.path("taken.conf"), prelude(self.kind, self.folder, "taken") + self.simple())
            answer = run(*command(self.kind, path), env=environment(self.kind), folder=self.folder)
        self.assertEqual(answer.returncode, 1)
        told = answer.stderr + read_text(self.path("taken.log"))
        self.assertIn(f"[emerg] bind() to 127.0.0.1:{self.port} failed (98: Address already in use)", undated(told))
        self.assertNotIn("Traceback", told)
        self.assertFalse(os.path.exists(self.path("taken.pid")))

    def test_unix_socket(self) -> None:
        """
        A unix socket is listened on and proxied to, and is gone after the end.
        """
        path = self.socket_path("front.sock")
        text = self.simple().replace(f"127.0.0.1:{self.port}", f"unix:{path}")
        edge = self.proxy(
            text[: text.rindex("}")] + f"server {{ listen 127.0.0.1:{self.port}; proxy_pass unix:{path}; }}\n}}\n"
        )
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(path)
            self.assertEqual(read_exactly(connection, 1), b"1")
        self.assertEqual(self.who(), b"1")
        edge.quit()
        self.assertEqual(edge.program.wait(), 0)
        self.assertFalse(os.path.exists(path))


class StartNginx(Start):
    """
    The same on nginx.
    """

    kind = NGINX


def undated(text: str) -> str:
    """
    Lines without what each log puts before the level.
    """
    return re.sub(r"^.*?(\[(?:emerg|alert|crit|error|warn)\] )(?:\d+#\d+: )?", r"\1", text, flags=re.MULTILINE)


WRONG: Final = (
    # what stands in `stream {`, the line of it that is wrong, nginx's words
    ("bogus on;", 2, 'unknown directive "bogus"'),
    ("server {\n    proxy_pass 127.0.0.1:1;\n    stream { }\n}", 4, '"stream" directive is not allowed here'),
    ("ssl_preread on off;", 2, 'invalid number of arguments in "ssl_preread" directive'),
    ("ssl_preread;", 2, 'invalid number of arguments in "ssl_preread" directive'),
    ("ssl_preread maybe;", 2, 'invalid value "maybe" in "ssl_preread" directive, it must be "on" or "off"'),
    ("ssl_preread on;\nssl_preread off;", 3, '"ssl_preread" directive is duplicate'),
    ("preread_timeout soon;", 2, '"preread_timeout" directive invalid value'),
    ("preread_buffer_size 16q;", 2, '"preread_buffer_size" directive invalid value'),
    ("proxy_ssl_verify_depth x;", 2, '"proxy_ssl_verify_depth" directive invalid number'),
    ("ssl_protocols TLSv9;", 2, 'invalid value "TLSv9"'),
    ("ssl_verify_client perhaps;", 2, 'invalid value "perhaps"'),
    ("server;", 2, 'directive "server" has no opening "{"'),
    ("ssl_preread { }", 2, 'directive "ssl_preread" is not terminated by ";"'),
    ("server {\n    ssl_preread on\n}", 4, 'unexpected "}"'),
    ("server {\n    listen 127.0.0.1:@port@\n}", 4, 'unexpected "}"'),
    ('ssl_preread "on"x;', 2, 'unexpected "x"'),
    ("map $remote_addr $a {\n    default x;\n    b c d;\n}", 4, "invalid number of the map parameters"),
    ("map $remote_addr $a {\n    b c;\n    b d;\n}", 4, 'conflicting parameter "b"'),
    ("map $remote_addr a { default x; }", 2, 'invalid variable name "a"'),
    ("map $nope $a { default x; }", 2, 'unknown "nope" variable'),
    ("upstream g { }", 2, "no servers are inside upstream"),
    ("upstream g {\n    server 127.0.0.1;\n}", 3, 'no port in upstream "127.0.0.1"'),
    ("upstream g {\n    server 127.0.0.1:1 weight=x;\n}", 3, 'invalid parameter "weight=x"'),
    ("upstream g { server 127.0.0.1:1; }\nupstream g { server 127.0.0.1:1; }", 3, 'duplicate upstream "g"'),
    (
        "server {\n    listen 127.0.0.1:99999;\n    proxy_pass 127.0.0.1:1;\n}",
        3,
        'invalid port in "127.0.0.1:99999" of the "listen" directive',
    ),
    (
        "server {\n    listen 127.0.0.1:@port@ bogus;\n    proxy_pass 127.0.0.1:1;\n}",
        3,
        'the invalid "bogus" parameter',
    ),
    ("server {\n    proxy_pass 127.0.0.1:1;\n}", 2, 'no "listen" is defined for server'),
    ("server {\n    listen 127.0.0.1:@port@;\n    proxy_pass 127.0.0.1;\n}", 4, 'no port in upstream "127.0.0.1"'),
    (
        "server {\n    listen 127.0.0.1:@port@;\n    proxy_pass 127.0.0.1:1;\n    proxy_pass 127.0.0.1:2;\n}",
        5,
        '"proxy_pass" directive is duplicate',
    ),
    (
        "server {\n    listen 127.0.0.1:@port@ ssl;\n    proxy_pass 127.0.0.1:1;\n}",
        3,
        'no "ssl_certificate" is defined for the "listen ... ssl" directive',
    ),
    (
        "server {\n    listen 127.0.0.1:@port@ ssl;\n    ssl_certificate a.pem;\n    proxy_pass 127.0.0.1:1;\n}",
        3,
        'no "ssl_certificate_key" is defined for the "listen ... ssl" directive',
    ),
    ("access_log @folder@/a.log nope;", 2, 'unknown log format "nope"'),
    ("access_log @folder@/a.log;", 2, "log format is not specified"),
    ("log_format a x;\nlog_format a y;", 3, 'duplicate "log_format" name "a"'),
    ("log_format a escape=nope x;", 2, 'unknown log format escaping "nope"'),
    ("error_log @folder@/a.log loud;", 2, 'invalid log level "loud"'),
    ("include @folder@/nowhere.conf;", 2, 'open() "@folder@/nowhere.conf" failed (2: No such file or directory)'),
    ("resolver 127.0.0.1 valid=x;", 2, "invalid parameter: valid=x"),
)


class Wrong(ProcessTestCase):
    """
    What is said of a wrong configuration.
    """

    def attempt(self, text: str, *options: str) -> subprocess.CompletedProcess[str]:
        """
        Run the program with a configuration to its end.
        """
        path = write_text(self.path("wrong.conf"), prelude(self.kind, self.folder, "wrong") + text)
        return run(*command(self.kind, path, *options), env=environment(self.kind), folder=self.folder)

    def test_words(self) -> None:
        """
        Each mistake is one line on standard error, in nginx's words, with file and line; the status is 1 and
        nothing is listened on.
        """
        wrong = []
        for inside, line, words in WRONG:
            text = fill("stream {\n" + inside + "\n}\n", port=self.port, folder=self.folder)
            words = fill(words, folder=self.folder)
            answer = self.attempt(text, self.test_option)
            wanted = f"[emerg] {words} in {self.folder}/wrong.conf:{line}"
            told = [each for each in undated(answer.stderr).splitlines() if each.startswith("[emerg]")]
            if self.kind == NGINX and told == [f"[emerg] {words}"]:
                told = [wanted]  # nginx does not always tell where
            if wanted not in told or answer.returncode != 1 or "Traceback" in answer.stderr:
                wrong.append(f"{inside!r}: {answer.returncode} {told or answer.stderr[-300:]} instead of {wanted}")
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_files(self) -> None:
        """
        Certificates and keys that are missing, that do not fit, or that are none, are named.
        """
        one = pki.leaf(pki.authority("CA"), "one.example.com").write(self.folder, "one")
        other = pki.leaf(pki.authority("CA"), "other.example.com").write(self.folder, "other")
        junk = write_text(self.path("junk.pem"), "junk\n")
        wrong = []
        for settings, words in (
            (f"ssl_certificate /no.pem; ssl_certificate_key {one.key};", 'cannot load certificate "/no.pem"'),
            (f"ssl_certificate {junk}; ssl_certificate_key {one.key};", f'cannot load certificate "{junk}"'),
            (
                f"ssl_certificate {one.certificate}; ssl_certificate_key /no.key;",
                'cannot load certificate key "/no.key"',
            ),
            (
                f"ssl_certificate {one.certificate}; ssl_certificate_key {junk};",
                f'cannot load certificate key "{junk}"',
            ),
            (
                f"ssl_certificate {one.certificate}; ssl_certificate_key {other.key};",
                f'SSL_CTX_use_PrivateKey("{other.key}") failed',
            ),
            (
                f"ssl_certificate {one.certificate}; ssl_certificate_key {one.key}; ssl_verify_client on; "
                "ssl_client_certificate /no.pem;",
                'SSL_CTX_load_verify_locations("/no.pem") failed',
            ),
            (
                f"ssl_certificate {one.certificate}; ssl_certificate_key {one.key}; ssl_verify_client on; "
                f"ssl_client_certificate {one.certificate}; ssl_crl /no.pem;",
                'X509_LOOKUP_load_file("/no.pem") failed',
            ),
        ):
            text = self.simple().replace(f"{self.port};", f"{self.port} ssl; {settings}")
            answer = self.attempt(text, self.test_option)
            told = [each for each in undated(answer.stderr).splitlines() if each.startswith("[emerg]")]
            fits = any(each.startswith(f"[emerg] {words}") for each in told)
            if not fits or answer.returncode != 1 or "Traceback" in answer.stderr:
                wrong.append(f"{settings!r}: {answer.returncode} {told or answer.stderr[-300:]} instead of {words}")
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_unknown_host(self) -> None:
        """
        A host that is not found at the start is an error of the line it stands in.
        """
        text = self.simple().replace(f"127.0.0.1:{self.first.port}", "no.such.host.invalid:1")
        answer = self.attempt(text)
        self.assertEqual(answer.returncode, 1)
        self.assertIn(
            f'[emerg] host not found in upstream "no.such.host.invalid" in {self.folder}/wrong.conf:4',
            undated(answer.stderr),
        )

    def test_end_of_file(self) -> None:
        """
        A missing brace is noticed at the end of the file.
        """
        answer = self.attempt("stream {\n    server {\n        listen 127.0.0.1:1;\n")
        self.assertEqual(answer.returncode, 1)
        self.assertIn(
            f'[emerg] unexpected end of file, expecting "}}" in {self.folder}/wrong.conf:4', undated(answer.stderr)
        )

    def test_good(self) -> None:
        """
        A right configuration is called so, with status 0, and nothing is listened on.
        """
        answer = self.attempt(self.simple(), self.test_option)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertRegex(answer.stdout + answer.stderr, r"wrong\.conf test is successful")
        self.assertEqual(self.who(), b"")
        self.assertFalse(os.path.exists(self.path("wrong.pid")) and read_text(self.path("wrong.pid")))

    def test_only_tested(self) -> None:
        """
        A wrong one is told of with status 1 when it is only tested.
        """
        answer = self.attempt("stream { bogus on; }", self.test_option)
        self.assertEqual(answer.returncode, 1)
        self.assertIn(f'[emerg] unknown directive "bogus" in {self.folder}/wrong.conf:1', undated(answer.stderr))

    test_option = "--test"


class WrongNginx(Wrong):
    """
    The same on nginx.
    """

    kind = NGINX
    test_option = "-t"


class Ours(ProcessTestCase):
    """
    What nginx does not do, or not so.
    """

    def run_with(self, text: str, *options: str) -> subprocess.CompletedProcess[str]:
        """
        Run the program to its end with a configuration that holds nothing but C{text}.
        """
        path = write_text(self.path("only.conf"), text)
        return run(*command(self.kind, path, *options), env=environment(self.kind), folder=self.folder)

    def start_with(self, text: str, name: str = "edge", *, options: tuple[str, ...] = ()) -> Program:
        """
        Start the program with such a configuration, and wait until it answers.
        """
        path = write_text(self.path("only.conf"), text)
        program = self.start(name, *command(self.kind, path, *options), env=environment(self.kind))
        program.ready(lambda: self.who() == b"1", "an answer")
        return program

    def test_all_errors(self) -> None:
        """
        All errors of a file are told, in the order of their lines, and nothing else is printed.
        """
        text = """stream {
    bogus on;
    ssl_preread maybe;
    server {
        listen 127.0.0.1:99999;
        proxy_pass 127.0.0.1:1;
        proxy_timeout never;
    }
    server { listen 127.0.0.1:@port@; proxy_pass $nope; }
}
"""
        answer = self.run_with(fill(text, port=self.port))
        self.assertEqual(answer.returncode, 1)
        self.assertEqual(
            answer.stderr.splitlines(),
            [
                f"[emerg] {words} in {self.folder}/only.conf:{line}"
                for line, words in (
                    (2, 'unknown directive "bogus"'),
                    (3, 'invalid value "maybe" in "ssl_preread" directive, it must be "on" or "off"'),
                    (5, 'invalid port in "127.0.0.1:99999" of the "listen" directive'),
                    (7, '"proxy_timeout" directive invalid value'),
                    (9, 'unknown "nope" variable'),
                )
            ],
        )
        self.assertNotIn("Traceback", answer.stdout)

    def test_no_such_file(self) -> None:
        """
        A configuration file that is missing is one line and status 1.
        """
        path = self.path("nowhere.conf")
        answer = run(*command(self.kind, path), env=environment(self.kind), folder=self.folder)
        self.assertEqual(answer.returncode, 1)
        self.assertEqual(answer.stderr.splitlines(), [f'[emerg] open() "{path}" failed (2: No such file or directory)'])

    def test_dump(self) -> None:
        """
        The effective configuration shows inherited values, is itself a configuration, and dumps to itself.
        """
        text = self.simple().replace("stream {", "stream {\n    preread_timeout 7s;\n    tcp_nodelay off;", 1)
        first = self.run_with(text, "--dump")
        self.assertEqual(first.returncode, 0, first.stderr)
        server = first.stdout[first.stdout.index("server {") :]
        self.assertRegex(server, r"preread_timeout\s+7s;")
        self.assertRegex(server, r"tcp_nodelay\s+off;")
        self.assertRegex(server, rf"proxy_pass\s+127\.0\.0\.1:{self.first.port};")
        second = self.run_with(first.stdout, "--dump")
        self.assertEqual(second.returncode, 0, second.stderr)
        self.assertEqual(without_comments(second.stdout), without_comments(first.stdout))
        self.start_with(first.stdout)

    def test_stream_alone(self) -> None:
        """
        A file of nothing but a stream block is complete: no pid file, no logs folder, errors go to what twistd prints.
        """
        closed = backends.closed_port(self)
        other = free_port()
        text = self.simple()
        text = text[: text.rindex("}")] + f"server {{ listen 127.0.0.1:{other}; proxy_pass 127.0.0.1:{closed}; }}\n}}\n"
        program = self.start_with(text)
        self.assertEqual(self.who(other), b"")
        eventually(lambda: "connect() failed (111: Connection refused)" in program.output(), "the error is printed")
        self.assertEqual(sorted(os.listdir(self.folder)), ["edge.out", "only.conf"])

    def test_foreground(self) -> None:
        """
        twistd -n stays in the foreground whatever the file says.
        """
        program = self.start_with("daemon on; master_process on; worker_processes 1;\n" + self.simple())
        self.assertFalse(program.ended())
        program.signal(signal.SIGTERM)
        self.assertEqual(program.wait(), 0)

    def test_globals(self) -> None:
        """
        Directives given on the command line stand before the file, and what is wrong in them is told.
        """
        given = f"pid {self.folder}/given.pid; error_log {self.folder}/given.log notice;"
        self.start_with(self.simple(), options=("--globals", given))
        self.assertTrue(read_text(self.path("given.pid")).strip())
        self.assertTrue(read_lines(self.path("given.log")))
        answer = self.run_with(self.simple(), "--globals", "bogus on;")
        self.assertEqual(answer.returncode, 1)
        self.assertIn('[emerg] unknown directive "bogus"', answer.stderr)

    def test_stderr(self) -> None:
        """
        error_log stderr writes nginx's lines to standard error, also when the other standard streams are closed.
        """
        text = "error_log stderr info;\n" + self.simple()
        path = write_text(self.path("only.conf"), text)
        arguments = command(self.kind, path)
        closing = ("sh", "-c", 'exec "$@" <&- >&-', "sh")
        program = self.start("edge", *closing, *arguments, env=environment(self.kind))
        program.ready(lambda: self.who() == b"1", "an answer")
        pattern = (
            rf"(?m)^\d{{4}}/\d\d/\d\d .* \[info\] .*client 127\.0\.0\.1:\d+ connected to 127\.0\.0\.1:{self.port}$"
        )
        eventually(lambda: re.search(pattern, program.output()), "a line on standard error")

    def test_closed_streams(self) -> None:
        """
        With all standard streams closed it starts and answers, and no log line runs into a connection.
        """
        path = write_text(self.path("only.conf"), prelude(self.kind, self.folder, "edge") + self.simple())
        closing = ("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")
        program = self.start("edge", *closing, *command(self.kind, path), env=environment(self.kind))
        program.ready(lambda: read_text(self.path("edge.pid")).strip(), "the pid file")
        for _ in range(5):
            with plain(self.port) as connection:
                connection.sendall(b"abc")
                self.assertEqual(read_exactly(connection, 4), b"1abc")

    def test_missing_pid_folder(self) -> None:
        """
        A pid file or a log that cannot be written is one line and status 1.
        """
        for given, name in (("pid", "a.pid"), ("error_log", "a.log")):
            answer = self.run_with(f"{given} {self.folder}/nowhere/{name};\n" + self.simple())
            self.assertEqual(answer.returncode, 1)
            self.assertIn(
                f'[emerg] open() "{self.folder}/nowhere/{name}" failed (2: No such file or directory)', answer.stderr
            )
            self.assertNotIn("Traceback", answer.stdout + answer.stderr)

    def test_several_error_logs(self) -> None:
        """
        Several error logs of one level all get the lines.
        """
        text = "".join(f"error_log {self.folder}/{name}.log info;\n" for name in ("a", "b")) + self.simple()
        self.start_with(text)
        for name in ("a", "b"):
            eventually(lambda name=name: read_lines(self.path(f"{name}.log")), f"lines in {name}.log")  # type: ignore[misc]

    def test_refused_by_name(self) -> None:
        """
        A directive of nginx that is not carried is refused by its name.
        """
        answer = self.run_with("stream {\n    zone_sync;\n}\n")
        self.assertEqual(answer.returncode, 1)
        self.assertRegex(answer.stderr, rf"^\[emerg\] .*zone_sync.* in {self.folder}/only\.conf:2$")

    def test_internals_accepted(self) -> None:
        """
        What only tunes nginx's own engine is accepted.
        """
        tuning = "load_module modules/a.so; worker_rlimit_nofile 1024; timer_resolution 100ms;\n"
        events = "events { worker_connections 512; multi_accept on; use epoll; }\n"
        answer = self.run_with(tuning + events + self.simple(), "--test")
        self.assertEqual(answer.returncode, 0, answer.stderr)


def without_comments(text: str) -> str:
    """
    @return: a dump without what it tells of where its lines come from.
    """
    lines = (re.sub(r"\s*#.*", "", line) for line in text.splitlines())
    return "\n".join(line for line in lines if line)
