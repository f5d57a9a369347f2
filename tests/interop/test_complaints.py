"""
Do we refuse what nginx refuses, in its words? Wrong configurations, given to both, one fault in each.
"""

from __future__ import annotations

import re
from typing import Final

from tests.support.programs import need, run, write_text
from tests.support.proxies import NGINX, SNIPROXY, Kind, ProxyTestCase, command, environment, prelude

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
