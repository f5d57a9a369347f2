"""
Does real nginx refuse what we refuse, with the same status and the same words, and which of these does it take?

Strategy: the corpus of tests/wire/test_http1_smuggling.py goes to nginx, and its answers beside those of our reader.
What it takes is listed by name: a list that a newer nginx may shorten, and that does not grow unseen.
"""

from __future__ import annotations

import socket
from contextlib import closing
from typing import Final

from sniproxy.wire.http1 import Refused
from sniproxy.wire.http1_head import READING_BODY
from tests.support.http1 import requests
from tests.support.programs import PATIENCE, ProgramTestCase, eventually, need, read_text, write_text
from tests.wire.test_http1_smuggling import HIDDEN, REQUESTS

STRICTER: Final = frozenset(
    {
        "CL with a thousand zeros",
        "bare LF in place of all ends",
        "bare LF behind the request line",
        "bare LF behind a field",
        "bare LF hides a length",
        "bare LF at the end",
        "bare LF before the end",
        "bare LF before the request line",
        "bare CR before an end",
        "high byte in a name",
        "parenthesis in a name",
        "quotes around a name",
        "control byte in a value",
        "two blanks",
        "two blanks before the version",
        "blank behind the version",
        "HTTP/0.9",
        "version with two digits",
        "blank behind a chunk size",
        "chunk size of 17 digits",
        "NUL in an extension",
        "extension without an end",
        "chunk shorter than its size",
        "bare LF behind a chunk size",
        "bare LF behind a chunk",
        "bare LF behind the last chunk",
        "bare LF in trailers",
        "folded trailer",
        "trailer without a name",
        "request behind a last chunk without an end",
        "CL in trailers",
        "TE in trailers",
        "Host in trailers",
    }
)
"""What nginx takes."""

OTHER_STATUS: Final = {
    "TE with a vertical tab": "501",
    "the preface of HTTP/2": "400",
}
"""What nginx refuses with another status, since it looks at other things first."""

OTHER_WORDS: Final = frozenset({"no colon"})
"""What nginx refuses in other words: it takes a line without a colon for a field without a value."""

CONFIGURATION: Final = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen unix:{front}; location / {{ proxy_pass http://unix:{back}:; }} }}
    server {{ listen unix:{back}; return 200; }}
}}
"""


class NginxTests(ProgramTestCase):
    """
    nginx as it is installed.
    """

    def setUp(self) -> None:
        """
        Start nginx with one server that reads bodies, since it passes them on.
        """
        nginx = need("nginx")
        super().setUp()
        self.front = self.socket_path("front")
        text = CONFIGURATION.format(folder=self.folder, front=self.front, back=self.socket_path("back"))
        path = write_text(self.path("nginx.conf"), text)
        self.start("nginx", nginx, "-p", self.folder, "-e", self.path("error.log"), "-c", path)
        eventually(lambda: self.ask(b"GET / HTTP/1.1\r\n\r\n") == "400", "nginx answers")

    def ask(self, data: bytes) -> str:
        """
        @return: the status of nginx's first answer; empty where it has none.
        """
        with closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(self.front)
            connection.sendall(data)
            # Whoever waits for more shall not wait long.
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while b"\r\n" not in answer and (piece := connection.recv(4096)):
                answer += piece
        return answer[9:12].decode() if answer.startswith(b"HTTP/1.1 ") else ""

    def test_corpus(self) -> None:
        """
        What nginx refuses, we refuse with its status and its words; the rest is listed.
        """
        taken = set()
        for name, data, status, _ in REQUESTS:
            refused = requests(data + HIDDEN)[-1]
            assert isinstance(refused, Refused)
            seen = len(read_text(self.path("error.log")))
            answer = self.ask(data + HIDDEN)
            said = read_text(self.path("error.log"))[seen:]
            if answer in ("", "200"):
                taken.add(name)
            if name in STRICTER or name in taken:
                continue
            self.assertEqual(answer, OTHER_STATUS.get(name, str(status)), name)
            if name not in OTHER_WORDS and name not in OTHER_STATUS:
                # nginx has the fields themselves behind "duplicate header line:".
                words = refused.reason.split(': "')[0]
                self.assertIn(words, said, name)
                if refused.action != READING_BODY:
                    # nginx forgets to say so of what came together with the head.
                    self.assertIn(f"while {refused.action}", said, name)
        self.assertEqual(taken - STRICTER, set())
