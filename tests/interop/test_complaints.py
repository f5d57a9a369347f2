"""
Do we refuse what nginx refuses, in its words? Wrong configurations, given to both, one fault in each.

Strategy: C{wrong.txt} has one in a line, C{warned.txt} those that both only warn of; where a line begins with an
exclamation mark it is all of a file, else what stands in C{stream}. Since they are many we are asked within this
process; the others in this file, as an operator would ask.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from sniproxy.errors import ConfigErrors
from sniproxy.service.load import load
from tests.support.pki import self_signed
from tests.support.ports import free_port
from tests.support.programs import need, run, write_text
from tests.support.proxies import NGINX, SNIPROXY, Kind, ProxyTestCase, command, environment, fill, prelude

SERVER: Final = "server 127.0.0.1:1;"

WRONG: Final = (
    f"upstream b {{ hash x foo; {SERVER} }}",
    f"upstream b {{ hash; {SERVER} }}",
    f"upstream b {{ hash x; {SERVER} server 127.0.0.1:2 backup; }}",
    f"upstream b {{ random; {SERVER} server 127.0.0.1:2 backup; }}",
    f"upstream b {{ random one; {SERVER} }}",
    f"upstream b {{ random two most; {SERVER} }}",
    f"upstream b {{ least_conn x; {SERVER} }}",
    f"upstream b {{ hash $nothing; {SERVER} }}",
    f"hash x; upstream b {{ {SERVER} }}",
    "upstream b { server 127.0.0.1:2 backup; }",
    "upstream b { server 127.0.0.1:2 weight=0; }",
    "upstream b { server 127.0.0.1:2 max_conns=x; }",
    "upstream b { server 127.0.0.1:2 foo; }",
    "upstream b { server 127.0.0.1; }",
    "upstream b { }",
    f"upstream b {{ zone; {SERVER} }}",
    f'upstream b {{ zone ""; {SERVER} }}',
    f"upstream b {{ zone b; {SERVER} }}",
    f"upstream b {{ zone b 32767; {SERVER} }}",
    f"upstream b {{ zone b 1z; {SERVER} }}",
    f"upstream b {{ zone z 64k; {SERVER} }} upstream c {{ zone z 32k; {SERVER} }}",
    f"upstream b {{ zone z 64k; {SERVER} }} limit_conn_zone $remote_addr zone=z:64k;",
    "limit_conn_zone $remote_addr;",
    "limit_conn_zone $remote_addr zone=;",
    "limit_conn_zone $remote_addr zone=z;",
    "limit_conn_zone $remote_addr zone=:64k;",
    "limit_conn_zone $remote_addr zone=z:1z;",
    "limit_conn_zone $remote_addr zone=z:32767;",
    "limit_conn_zone $remote_addr z:64k;",
    "limit_conn_zone $nothing zone=z:64k;",
    "limit_conn_zone $remote_addr zone=z:64k; limit_conn_zone $remote_port zone=z:64k;",
    "limit_conn_zone $remote_addr zone=z:64k; limit_conn_zone $remote_port zone=z:32k;",
    "limit_conn z 1;",
    "limit_conn_zone $remote_addr zone=z:64k; limit_conn z 1; limit_conn z 2;",
    "limit_conn_zone $remote_addr zone=z:64k; limit_conn z 0;",
    "limit_conn_zone $remote_addr zone=z:64k; limit_conn z x;",
    "limit_conn_zone $remote_addr zone=z:64k; limit_conn z 65536;",
    "limit_conn_zone $remote_addr zone=z:64k; limit_conn z;",
    "limit_conn_log_level crit;",
    "limit_conn_dry_run yes;",
    "upstream b { limit_conn z 1; }",
    "proxy_bind x;",
    "proxy_bind 127.0.0.1:0;",
    "proxy_bind 127.0.0.1:x;",
    "proxy_bind [::1];",
    "proxy_bind unix:/s;",
    "proxy_bind 127.0.0.1 foo;",
    "proxy_bind off transparent;",
    "proxy_bind $nothing;",
    "proxy_bind;",
    "proxy_upload_rate x;",
    "proxy_download_rate 1g;",
    "proxy_upload_rate;",
    "proxy_download_rate $nothing;",
    "proxy_next_upstream_tries x;",
    "proxy_next_upstream_timeout x;",
)


class SameComplaints(ProxyTestCase):
    """
    One fault at a time.
    """

    def complaint(self, kind: Kind, number: int, text: str) -> str:
        """
        What a program says first of a configuration, without its place, which nginx does not always tell.
        """
        path = write_text(self.path(f"{number}.conf"), prelude(kind, self.folder, kind) + f"stream {{ {text} }}")
        done = run(*command(kind, path, "-t" if kind == NGINX else "--test"), env=environment(kind))
        said = re.search(r"\[emerg\] ?(?:\d+#\d+: )?(.*)", done.stdout + done.stderr)
        self.assertIsNotNone(said, f"{kind} says nothing of {text}: {done.stdout}{done.stderr}")
        assert said is not None
        return re.sub(r" in \S+:\d+$", "", said[1])

    def test_all(self) -> None:
        """
        Each fault has the same words.
        """
        need("nginx")
        different = []
        for number, text in enumerate(WRONG):
            ours, theirs = (self.complaint(kind, number, text) for kind in (SNIPROXY, NGINX))
            if ours != theirs:
                different.append(f"{text}\n    we:    {ours}\n    nginx: {theirs}")
        self.assertEqual(different, [], "\n".join(different))


LINE: Final = re.compile(r"^(?:nginx: |\S+ \S+ )\[(emerg|warn)\] (?:\d+#\d+: )?(.*)$", re.MULTILINE)
PLACE: Final = re.compile(r" in \S+:\d+$")


class ManyComplaints(ProxyTestCase):
    """
    What is said of files that are read within this process, and of the same by nginx.
    """

    def setUp(self) -> None:
        super().setUp()
        need("nginx")
        self.values = {"folder": self.folder, "port": free_port()}
        for kind in ("rsa", "ec"):
            identity = self_signed("good.example", kind=kind)
            stem = "good" if kind == "rsa" else "ec"
            Path(self.path(f"{stem}.crt")).write_bytes(identity.pem)
            Path(self.path(f"{stem}.key")).write_bytes(identity.key_pem)
            if kind == "rsa":
                Path(self.path("locked.key")).write_bytes(identity.encrypted_key_pem(b"secret"))
        for name, text in (("pass.txt", "secret\n"), ("wrongpass.txt", "wrong\n"), ("garbage.pem", "garbage\n")):
            write_text(self.path(name), text)
        write_text(self.path("empty.pem"), "")

    def theirs(self, text: str) -> list[tuple[str, str]]:
        """
        What nginx says: levels, and texts without their places.
        """
        path = write_text(self.path("nginx.conf"), prelude(NGINX, self.folder, NGINX) + text)
        done = run(*command(NGINX, path, "-t"))
        return [(level, PLACE.sub("", said)) for level, said in LINE.findall(done.stdout + done.stderr)]

    def ours(self, text: str) -> list[tuple[str, str]]:
        """
        What we say.
        """
        path = write_text(self.path("nginx.conf"), prelude(SNIPROXY, self.folder, SNIPROXY) + text)
        try:
            return [("warn", PLACE.sub("", str(warning))) for warning in load(path).warnings]
        except ConfigErrors as errors:
            return [("emerg", PLACE.sub("", str(error))) for error in errors.errors]

    def compare(self, name: str, level: str, most: int | None) -> None:
        """
        All lines of one file.

        @param level: of what both must say.
        @param most: how many complaints are compared; None for all.
        """
        different = []
        for line in Path(__file__).with_name(name).read_text().splitlines():
            text = fill(line, **self.values)
            text = text[1:] if text.startswith("!") else f"stream {{ {text} }}"
            theirs, ours = ([one for one in said if one[0] == level] for said in (self.theirs(text), self.ours(text)))
            if not theirs or theirs[:most] != ours[:most]:
                different.append(f"{line}\n    we:    {ours}\n    nginx: {theirs}")
        self.assertEqual(different, [], "\n".join(different))

    def test_wrong(self) -> None:
        """
        Each fault has the same words; of several faults we tell all, and nginx the first.
        """
        self.compare("wrong.txt", "emerg", 1)

    def test_warned(self) -> None:
        """
        What is only strange has the same words.
        """
        self.compare("warned.txt", "warn", None)
