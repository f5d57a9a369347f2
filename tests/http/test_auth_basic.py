"""
Who may come in by a password.
"""

from __future__ import annotations

import errno
from base64 import b64encode
from typing import Any, Final

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.common.access import access
from sniproxy.http import auth_basic as module
from sniproxy.http.auth_basic import LONGEST, PIECE, AuthBasicModule, auth_basic
from sniproxy.http.error_page import ErrorPageModule
from sniproxy.interfaces import IModule
from tests.support.requests import Answer, MemoryDisk, Site

LINES: Final = b"""\
# me:{PLAIN}commented
me:{PLAIN}secret
me:{PLAIN}second
other:{PLAIN}with:comment:more
dos:{PLAIN}x\r
#odd:{PLAIN}x
\rcr:{PLAIN}x
"""


def said(name: str, password: str) -> tuple[str, str]:
    """
    A field that names somebody.
    """
    return "Authorization", "Basic " + b64encode(f"{name}:{password}".encode()).decode()


class AuthBasicTests(SynchronousTestCase):
    """
    One server that asks.
    """

    def made(self, text: str, file: bytes = LINES, **limits: Any) -> None:
        """
        Make it.
        """
        self.disk = MemoryDisk({"/etc/users": file + b"last:{PLAIN}z"})
        self.site = Site(text, [AuthBasicModule(self.disk), access, ErrorPageModule()], **limits)
        for place in self.site.by_scope.values():
            place.fallback = lambda request: request.respond(200, b"in")

    def get(self, *fields: tuple[str, str], target: str = "/") -> Answer:
        """
        What one request gets.
        """
        answer = self.site.get(target, *fields)
        self.assertEqual(self.disk.open_files, 0)
        return answer

    def test_asked(self) -> None:
        """
        Who says nothing is asked; who knows the word comes in.
        """
        self.made('auth_basic "a realm"; auth_basic_user_file users;')
        answer = self.get()
        self.assertEqual((answer.status, answer.field("www-authenticate")), (401, 'Basic realm="a realm"'))
        self.assertEqual(self.disk.reads, [])
        self.assertEqual(self.site.said(), ["[info] *1 no user/password was provided for basic authentication"])
        for name, password in (("me", "secret"), ("other", "with"), ("dos", "x"), ("last", "z")):
            answer = self.get(said(name, password))
            self.assertEqual((answer.status, answer.field("www-authenticate")), (200, None), name)

    def test_wrong(self) -> None:
        """
        Who does not know it, or is not known, is asked again, and the log tells.
        """
        self.made('auth_basic "a"; auth_basic_user_file /etc/users;')
        for name, password in (("me", "second"), ("me", ""), ("nobody", "x"), ("m", "secret"), ("#odd", "x")):
            answer = self.get(said(name, password))
            self.assertEqual((answer.status, answer.field("www-authenticate")), (401, 'Basic realm="a"'))
        self.assertEqual(self.get(said("\rcr", "x")).status, 401)
        self.assertEqual(
            self.site.said()[1:3],
            ['[error] *1 user "me": password mismatch', '[error] *1 user "nobody" was not found in "/etc/users"'],
        )

    def test_file(self) -> None:
        """
        A file that is not there lets nobody in, nor does one that cannot be read.
        """
        self.made("auth_basic a; auth_basic_user_file /etc/none; location /x { auth_basic_user_file /etc/secret; }")
        self.disk.contents["/etc/secret"] = OSError(errno.EIO, "Input/output error")
        self.assertEqual(self.get(said("a", "b")).status, 403)
        self.assertEqual(self.get(said("a", "b"), target="/x").status, 500)
        self.assertEqual(
            self.site.said(),
            [
                '[error] *1 open() "/etc/none" failed (2: No such file or directory)',
                '[crit] *1 pread() "/etc/secret" failed (5: Input/output error)',
            ],
        )

    def test_long(self) -> None:
        """
        Files may be longer than a piece; of lines that are too long the beginning counts.
        """
        many = b"".join(b"user%d:{PLAIN}%d\n" % (number, number) for number in range(PIECE // 8))
        self.made("auth_basic a; auth_basic_user_file users;", many + b"long:" + bytes(3 * LONGEST) + b"\n")
        for number in (0, 4000, PIECE // 8 - 1):
            self.assertEqual(self.get(said(f"user{number}", str(number))).status, 200)
        self.assertEqual(self.get(said("last", "z")).status, 200)
        self.assertGreater(len(self.disk.reads), 4)

    def test_off(self) -> None:
        """
        It can be off, by a variable too; and without a file nobody is asked.
        """
        self.made("auth_basic $arg_realm; auth_basic_user_file users; location /off { auth_basic off; }")
        for target, wanted in (("/?realm=off", 200), ("/off", 200), ("/?realm=x%0ay", 401), ("/", 401)):
            self.assertEqual(self.get(target=target).status, wanted, target)
        self.made("auth_basic a;")
        self.assertEqual(self.get().status, 200)
        self.made("")
        self.assertEqual(self.site.server.place.filters, [])

    def test_file_by_request(self) -> None:
        """
        The file may depend on the request.
        """
        self.made("auth_basic a; auth_basic_user_file $uri;")
        self.assertEqual(self.get(said("me", "secret"), target="/etc/users").status, 200)
        self.assertEqual(self.get(said("me", "secret"), target="/etc/none").status, 403)

    def test_satisfy(self) -> None:
        """
        Addresses are asked first; where one of both is enough, who fails both is asked for a password.
        """
        text = "auth_basic a; auth_basic_user_file users; deny all; location /in { allow all; }"
        self.made(text)
        self.assertEqual(self.get(said("me", "secret")).status, 403)
        self.assertEqual(self.get(target="/in").status, 401)
        self.made(text, satisfy_any=True)
        answer = self.get()
        self.assertEqual((answer.status, answer.field("www-authenticate")), (401, 'Basic realm="a"'))
        self.assertEqual(self.get(said("me", "secret")).status, 200)
        self.assertEqual(self.get(target="/in").status, 200)
        self.assertEqual(len(self.disk.reads), 1)

    def test_page(self) -> None:
        """
        What an error_page makes of it asks all the same.
        """
        self.made("error_page 401 /page; auth_basic a; auth_basic_user_file users; location /page { auth_basic off; }")
        answer = self.get()
        self.assertEqual(
            (answer.status, answer.body, answer.field("www-authenticate")), (401, b"in", 'Basic realm="a"')
        )

    def test_nobody_knows(self) -> None:
        """
        Where nobody can tell whether the word is right, that is our fault.
        """
        self.made("auth_basic a; auth_basic_user_file users;")

        def unknown(password: bytes, known: bytes) -> bool:
            raise OSError(errno.EINVAL, "Invalid argument")

        self.patch(module, "matches", unknown)
        self.assertEqual(self.get(said("me", "secret")).status, 500)
        self.assertEqual(self.site.said(), ["[crit] *1 crypt_r() failed (22: Invalid argument)"])

    def test_one_line(self) -> None:
        """
        A realm cannot end its line.
        """
        self.made("auth_basic $uri; auth_basic_user_file users;")
        self.assertEqual(self.get(target="/a%0d%0ab").field("www-authenticate"), 'Basic realm="/a  b"')

    def test_module(self) -> None:
        """
        The module is one.
        """
        verifyObject(IModule, auth_basic)
        verifyObject(IPlugin, auth_basic)
        build: Any = None
        auth_basic.prepare(build)
        auth_basic.attach(build, build)
