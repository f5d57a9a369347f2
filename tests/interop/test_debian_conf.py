"""
Does Debian's own C{nginx.conf}, with all it includes, work here as it does in nginx? Both run on copies of /etc/nginx
in which only places and ports were changed, and answer the same requests.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import Final

from tests.interop.test_http_gzip import GZIP, LONG, MOMENT, Understood
from tests.support.clients import plain, read_all
from tests.support.ports import free_ports
from tests.support.programs import eventually, need, read_text, write_text
from tests.support.proxies import NGINX, SNIPROXY, Kind, ProxyTestCase, command, environment

HOME: Final = "/etc/nginx"

_OPTIONS: Final = re.compile(r"(?m)^(\t+)# ?((?:multi_accept|server_|gzip)\w* .*;)$")
"""Lines of the file that propose something."""


class DebianTests(ProxyTestCase):
    """
    The file as it is installed, and with what its comments propose.
    """

    maxDiff = None

    def run_copy(self, kind: Kind, proposed: bool) -> None:
        """
        Start one of both on a copy of the folder.
        """
        home, logs, pid = self.path(f"{kind}.etc"), self.path(f"{kind}.logs"), self.path(f"{kind}.pid")
        port, port6 = free_ports(2)
        shutil.copytree(HOME, home)
        os.mkdir(logs)
        for folder, _, names in os.walk(home):
            for name in names:
                path = os.path.join(folder, name)
                text = read_text(path)
                for old, new in (
                    (HOME, home),
                    ("/var/log/nginx", logs),
                    ("/run/nginx.pid", pid),
                    ("/var/www/html", self.path("html")),
                    ("listen 80 ", f"listen 127.0.0.1:{port} "),
                    ("listen [::]:80 ", f"listen [::]:{port6} "),
                ):
                    text = text.replace(old, new)
                if os.geteuid() == 0:
                    text = text.replace("user www-data;", "user root;")  # others cannot read what tests write
                if proposed and name == "nginx.conf":
                    text, changed = _OPTIONS.subn(r"\1\2", text)
                    self.assertGreater(changed, 5)
                write_text(path, text)
        folders = "client_body proxy fastcgi uwsgi scgi".split() if kind == NGINX else ["client_body"]
        write_text(f"{home}/conf.d/folders.conf", "".join(f"{each}_temp_path {self.path(each)};\n" for each in folders))
        options = {"globals_text": "daemon off;"} if kind == NGINX else {}
        program = self.start(kind, *command(kind, f"{home}/nginx.conf", **options), env=environment(kind))
        self.papers.append(lambda: (f"{logs}/error.log", read_text(f"{logs}/error.log")))
        program.ready(lambda: read_text(pid).strip(), "its pid file")
        self.ports[kind] = port, port6
        self.logs[kind] = f"{logs}/access.log"

    def ask(self, kind: Kind, line: str, *fields: str) -> str:
        """
        What one request is answered, by both addresses.
        """
        found = []
        for port, host in zip(self.ports[kind], ("127.0.0.1", "::1"), strict=True):
            head = [f"{line} HTTP/1.1", "Host: www.example.com", "Connection: close", *fields, "", ""]
            with plain(port, host) as connection:
                connection.sendall("\r\n".join(head).encode())
                found.append(Understood(line.partition(" ")[0], read_all(connection), port).text)
        self.assertEqual(found[0], found[1])
        return found[0]

    def compare(self, proposed: bool) -> list[str]:
        """
        Ask both for all kinds of things.

        @return: what we answer.
        """
        need("nginx")
        os.mkdir(self.path("html"))
        for name, data in {"index.html": LONG, "a.css": LONG, "b.png": b"png", "sub/index.htm": b"sub"}.items():
            path = os.path.join(self.path("html"), name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
            os.utime(path, (MOMENT, MOMENT))
        self.ports: dict[Kind, tuple[int, int]] = {}
        self.logs: dict[Kind, str] = {}
        for kind in (NGINX, SNIPROXY):
            self.run_copy(kind, proposed)
        asked = [
            (f"{method} {path}", *fields)
            for method in ("GET", "HEAD", "POST")
            for path in ("/", "/index.html", "/a.css", "/b.png", "/sub", "/sub/", "/none", "/%2e%2e/x", "/sub/../a.css")
            for fields in ((), (GZIP,), (GZIP, "Via: 1.1 x"))
        ]
        asked.append(("GET /a.css", "Range: bytes=3-9", "Referer: r", 'User-Agent: "u"'))
        ours = []
        for request in asked:
            theirs, our = self.ask(NGINX, *request), self.ask(SNIPROXY, *request)
            self.assertEqual(our, theirs, request)
            ours.append(our)
        return ours

    def logged(self, kind: Kind, count: int) -> list[str]:
        """
        The lines of its access log, without what differs from run to run.
        """
        eventually(lambda: read_text(self.logs[kind]).count("\n") >= count, "all lines of the access log")
        # how many bytes a compressed body has is a matter of how it is cut
        return [
            re.sub(r'^127\.0\.0\.1|^::1|\[.*?\]|(?<=" 200 )\d+', "X", line)
            for line in read_text(self.logs[kind]).splitlines()
        ]

    def test_installed(self) -> None:
        """
        As it is installed it answers alike, and logs alike.
        """
        ours = self.compare(proposed=False)
        self.assertEqual(len([each for each in ours if "Content-Encoding: gzip" in each]), 7)
        count = 2 * len(ours)
        self.assertEqual(self.logged(SNIPROXY, count), self.logged(NGINX, count))

    def test_proposed(self) -> None:
        """
        So it does with what its comments propose.
        """
        ours = self.compare(proposed=True)
        found = [each for each in ours if "Content-Encoding: gzip" in each]
        self.assertEqual({"Vary: Accept-Encoding" in each for each in found}, {True})
        self.assertEqual(len(found), 22)
        self.assertNotIn("VERSION", "".join(ours))


del ProxyTestCase
