"""
Tests for L{sniproxy.http.proxy_rewrites}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.errors import ConfigErrors
from tests.support.upstreams import Proxied, answer, one
from tests.support.webs import head


class RewriteCase(SynchronousTestCase):
    """
    What tests of this file share.
    """

    def field(self, directives: str, name: str, *values: str, behind: str = "") -> list[str]:
        """
        What a client gets of a field of these values.

        @param behind: what stands behind C{proxy_pass}.
        """
        web = Proxied(f"{directives} location /one/ {{ proxy_pass http://192.0.2.2:8000/two/; {behind} }}")
        client = web.client(head("GET /one/ HTTP/1.1", "Host: front.example"))
        fields = [f"{name}: {value}" for value in values]
        web.connected().arrive(answer(b"", *fields, line="HTTP/1.1 302 Found"))
        return one(client).headers.all(name.lower())

    def fault(self, directive: str) -> str:
        """
        What is wrong with a directive.
        """
        raised = self.assertRaises(ConfigErrors, Proxied, f"location / {{ {directive} }}")
        return str(raised.errors[0].message)


class RedirectTests(RewriteCase):
    """
    C{proxy_redirect}.
    """

    def location(self, directives: str, value: str) -> str:
        """
        What becomes of a C{Location}.
        """
        (found,) = self.field(directives, "Location", value)
        return found

    def test_default(self) -> None:
        """
        Unless told otherwise, the upstream's address is replaced by the location's.
        """
        found = self.location("", "http://192.0.2.2:8000/two/a?b")
        self.assertEqual(found, "http://front.example/one/a?b")
        self.assertEqual(self.location("", "http://elsewhere/two/"), "http://elsewhere/two/")
        self.assertEqual(self.location("", "/two/a"), "/two/a")

    def test_off(self) -> None:
        """
        C{off} leaves everything as it is.
        """
        text = "http://192.0.2.2:8000/two/"
        self.assertEqual(self.location("proxy_redirect off;", text), text)

    def test_pairs(self) -> None:
        """
        Of several pairs the first that fits counts; both sides may have variables.
        """
        rules = "proxy_redirect http://$http_host/ /h/; proxy_redirect http://a/b https://$host; proxy_redirect / x;"
        self.assertEqual(self.location(rules, "http://front.example/y"), "http://front.example/h/y")
        self.assertEqual(self.location(rules, "http://a/bc"), "https://front.examplec")
        self.assertEqual(self.location(rules, "http://c"), "http://c")

    def test_regex(self) -> None:
        """
        An expression replaces the whole text, and its groups are at hand.
        """
        rules = "proxy_redirect ~^(http://[^:]+):\\d+(?<rest>/.+)$ $1$rest; proxy_redirect ~*/USER/(.*) http://$1/;"
        self.assertEqual(self.location(rules, "http://a:80/b"), "http://a/b")
        self.assertEqual(self.location(rules, "x/user/me"), "http://me/")
        self.assertEqual(self.location(rules, "y"), "y")

    def test_with_default(self) -> None:
        """
        C{default} may stand among others.
        """
        rules = "proxy_redirect http://a/ /a/; proxy_redirect default;"
        (found,) = self.field("", "Location", "http://192.0.2.2:8000/two/x", behind=rules)
        self.assertEqual(found, "http://front.example/one/x")

    def test_refresh(self) -> None:
        """
        C{Refresh} is treated alike, behind its C{url=} where it has one.
        """
        rules = "proxy_redirect http://a/ http://b/;"
        found = self.field(rules, "Refresh", "5; URL=http://a/x", "http://a/y", "3; url=http://c/")
        self.assertEqual(found, ["5; URL=http://b/x", "http://b/y", "3; url=http://c/"])

    def test_wrong(self) -> None:
        """
        What is neither a pair nor one of the two words is refused.
        """
        self.assertEqual(self.fault("proxy_redirect x;"), 'invalid parameter "x"')
        self.assertIn("missing closing parenthesis", self.fault("proxy_redirect ~( x;"))

    def test_slow(self) -> None:
        """
        An expression that may take very long is a warning.
        """
        web = Proxied("location / { proxy_pass http://192.0.2.2; proxy_redirect ~(a+)+ x; }")
        self.assertIn("repeats what repeats", web.world.build.warnings[0].message)


class CookieTests(RewriteCase):
    """
    C{proxy_cookie_domain}, C{proxy_cookie_path}, C{proxy_cookie_flags}.
    """

    def cookie(self, directives: str, value: str) -> str:
        """
        What becomes of a cookie.
        """
        (found,) = self.field(directives, "Set-Cookie", value)
        return found

    def test_domain(self) -> None:
        """
        A domain is replaced where all of it is meant, whatever its case; a dot before it stays there, but for an
        expression it is one of the characters.
        """
        rules = "proxy_cookie_domain .Up.Example front.example; proxy_cookie_domain ~\\.(\\w+)$ $1;"
        self.assertEqual(self.cookie(rules, "a=b;DOMAIN=.up.EXAMPLE; Path=/"), "a=b; DOMAIN=.front.example; Path=/")
        self.assertEqual(self.cookie(rules, "a=b; domain=Up.example"), "a=b; domain=front.example")
        self.assertEqual(self.cookie(rules, "a=b; domain=.net"), "a=b; domain=net")
        self.assertEqual(self.cookie(rules, "a=b; domain=x.net"), "a=b; domain=net")
        self.assertEqual(self.cookie(rules, "a=b;domain=x;y"), "a=b;domain=x;y")

    def test_path(self) -> None:
        """
        A path is replaced at its beginning.
        """
        rules = "proxy_cookie_path /two/ /one/;"
        self.assertEqual(self.cookie(rules, "a=b; path=/two/x; secure"), "a=b; path=/one/x; secure")
        self.assertEqual(self.cookie(rules, "a=b; path=/three/; domain=d"), "a=b; path=/three/; domain=d")

    def test_flags(self) -> None:
        """
        Flags are added and taken away by the cookie's name; the first rule that fits counts.
        """
        rules = (
            "proxy_cookie_flags one httponly nosecure samesite=Strict; proxy_cookie_flags ~^t nosamesite secure;"
            " proxy_cookie_flags three;"
        )
        self.assertEqual(self.cookie(rules, "ONE=x; Secure; Path=/"), "ONE=x; Path=/; HttpOnly; SameSite=Strict")
        self.assertEqual(self.cookie(rules, "two=x; SameSite=Lax; secure"), "two=x; secure")
        self.assertEqual(self.cookie(rules, "one=x; samesite=none; a; httponly"), "one=x; SameSite=Strict; a; httponly")
        self.assertEqual(self.cookie(rules, "two"), "two")
        rules = "proxy_cookie_flags a $arg_one samesite=$arg_two $arg_three httponly;"
        self.assertEqual(self.cookie(rules, "a=b"), "a=b; HttpOnly")
        self.assertEqual(
            self.cookie(rules.replace("$arg_one", "${scheme}x").replace("$arg_two", "lax"), "a=b; HttpOnly"),
            "a=b; HttpOnly; SameSite=Lax",
        )
        self.assertEqual(self.cookie(rules, "other=x;Secure"), "other=x;Secure")

    def test_bare(self) -> None:
        """
        A rule without flags keeps others away from a cookie.
        """
        rules = "proxy_cookie_flags three; proxy_cookie_flags ~. secure nohttponly;"
        self.assertEqual(self.cookie(rules, "three=x;HttpOnly"), "three=x;HttpOnly")
        self.assertEqual(self.cookie(rules, "four=x;HttpOnly"), "four=x; Secure")

    def test_off(self) -> None:
        """
        C{off} takes back what was inherited.
        """
        web = Proxied(
            "proxy_cookie_path / /x/; proxy_cookie_domain a b; proxy_cookie_flags ~. secure;"
            " location / { proxy_pass http://192.0.2.2;"
            " proxy_cookie_path off; proxy_cookie_domain off; proxy_cookie_flags off; }"
        )
        client = web.client(head("GET / HTTP/1.1"))
        web.connected().arrive(answer(b"", "Set-Cookie: a=b;path=/;domain=a"))
        self.assertEqual(one(client).headers.get("set-cookie"), "a=b;path=/;domain=a")

    def test_wrong(self) -> None:
        """
        Flags that there are not are refused, and so are other lone words.
        """
        self.assertEqual(self.fault("proxy_cookie_flags a x;"), 'invalid parameter "x"')
        self.assertEqual(self.fault("proxy_cookie_flags a samesite=x;"), 'invalid parameter "samesite=x"')
        self.assertEqual(self.fault("proxy_cookie_path a;"), 'invalid parameter "a"')
        self.assertEqual(self.fault("proxy_cookie_domain a;"), 'invalid parameter "a"')
