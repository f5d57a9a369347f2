"""
Do nginx and we let the same people in by a password, and say the same to all others?
"""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from tests.interop.test_http_files import Twins
from tests.support.programs import write_text
from tests.support.proxies import NGINX

USERS: Final = r"""# comment:{PLAIN}x
apr:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/
sha:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=:a comment
ssha:{SSHA}kL3+/tIbZ86DOhMac+F4u8lG275zYWx0
plain:{PLAIN}myPassword
blowfish:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC
long:$6$abcdefgh$vd/23X3cwvfSktK8g8ZrCYdcWYlKD1KOv4Gc9wAngWRrkUauykD1U1wxHuTWE0sLAQyZJhLvoMoXOvwt3tk020
junk:x
empty:
noline
twice:{PLAIN}a
twice:{PLAIN}myPassword
"""


def basic(text: str | bytes) -> str:
    """
    A field that says who one is.
    """
    return "Authorization: Basic " + b64encode(text.encode() if isinstance(text, str) else text).decode()


class AuthBasicTests(Twins):
    """
    A server with a file of passwords.
    """

    def test_everybody(self) -> None:
        """
        Every kind of password, right and wrong, every form of the field, and what stands beside it.
        """
        users = self.path("users")
        write_text(users, USERS + "last:{PLAIN}myPassword")
        self.serve(
            f"auth_basic_user_file {users}; location = /n.txt {{ auth_basic 'some realm'; }}"
            " location /who { return 200 $remote_user; }"
            " location /any { auth_basic a; satisfy any; deny all; alias @root@/n.txt; }"
            " location /allowed { auth_basic a; satisfy any; allow all; alias @root@/n.txt; }"
            " location /all { auth_basic a; deny all; alias @root@/n.txt; }"
            " location /off { auth_basic off; alias @root@/n.txt; }"
            " location /variable { auth_basic $arg_realm; alias @root@/n.txt; }"
            " location /nofile { auth_basic a; auth_basic_user_file /nowhere/users; alias @root@/n.txt; }"
            " location /folder { auth_basic a; auth_basic_user_file /etc; alias @root@/n.txt; }"
            " location /page { auth_basic a; error_page 401 /off; alias @root@/n.txt; }"
            " location /fine { auth_basic a; error_page 401 =200 /off; alias @root@/n.txt; }"
            " location /limited { limit_except GET { auth_basic a; } alias @root@/n.txt; }"
        )
        names = [line.partition(":")[0] for line in USERS.split("\n")] + ["last", "nobody", "#", "# comment", "ap"]
        right = basic("plain:myPassword")
        self.compare(
            *(("GET /n.txt", basic(f"{name}:myPassword")) for name in names),
            *(("GET /n.txt", basic(f"{name}:mypassword")) for name in names),
            *(("GET /n.txt", basic(text)) for text in ("plain", ":x", "", "plain:myPassword\0x", b"\xff:x", "empty:")),
            *(("GET /n.txt", f"Authorization: {each}") for each in ("Basic", "Basic ", "Bearer x", "Basic !", "x", "")),
            *(("GET /n.txt", f"Authorization: {each}{right[20:]}") for each in ("BASIC", "basic  ", "Basicx")),
            ("GET /n.txt", right.rstrip("=")),
            "HEAD /n.txt",
            *(
                (f"GET {path}", *fields)
                for path in (
                    "/n.txt /any /allowed /all /off /variable /variable?realm=x /variable?realm=off /nofile /folder"
                    " /page /fine /limited"
                ).split()
                for fields in ((), (right,), (basic("plain:wrong"),))
            ),
            ("POST /limited", "Content-Length: 0"),
            ("POST /limited", "Content-Length: 0", right),
            *(
                ("GET /who", each)
                for each in (right, right.rstrip("="), basic("last:x"), "X: y", "Authorization: Basic bWU6", "X: x")
            ),
        )
        self.assertIn("password mismatch", "".join(self.logged(NGINX)))


del Twins
