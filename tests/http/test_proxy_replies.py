"""
Tests for L{sniproxy.http.proxy_replies}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.request import Request
from tests.support.sessions import FakeLeg
from tests.support.upstreams import Proxied, answer, asked, one
from tests.support.webs import Answer, head

FIELDS = (
    "Date: then", "Server: theirs", "X-Pad: x", "X-Accel-Expires: 5", "X-Accel-Limit-Rate: 9", "X-Accel-Charset: x",
    "Connection: x", "Keep-Alive: timeout=5", "Proxy-Connection: close", "Trailer: x", "ETag: \"e\"", "X: 1", "x: 2",
)  # fmt: skip
OURS = ["Server", "Date", "Content-Length", "Connection"]


class ReplyCase(SynchronousTestCase):
    """
    What tests of this file share.
    """

    def answered(self, data: bytes, more: str = "", line: str = "GET / HTTP/1.1", end: bool = False) -> Answer:
        """
        What a client gets of an upstream's answer.
        """
        web = Proxied(f"location / {{ proxy_pass http://192.0.2.2; {more} }}")
        client = web.client(head(line))
        upstream = web.connected()
        upstream.arrive(data)
        if end:
            upstream.end()
        return one(client, line.split(" ")[0])


class ReplyTests(ReplyCase):
    """
    Heads of answers.
    """

    def test_default(self) -> None:
        """
        Fields go on as they came, but for those that are ours to say.
        """
        found = self.answered(answer(b"b", *FIELDS, line="HTTP/1.1 404 Gone fishing"))
        self.assertEqual((found.status, found.reason, found.body), (404, "Gone fishing", b"b"))
        self.assertEqual([name for name, _ in found.headers], [*OURS, "ETag", "X", "x"])
        self.assertEqual(found.headers.get("server"), "nginx/1.31.5")
        self.assertEqual(found.headers.all("x"), ["1", "2"])

    def test_hide(self) -> None:
        """
        proxy_hide_header hides what it names, in any case.
        """
        found = self.answered(answer(b"", *FIELDS), "proxy_hide_header x; proxy_hide_header ETAG;")
        self.assertEqual([name for name, _ in found.headers], OURS)

    def test_pass(self) -> None:
        """
        proxy_pass_header lets through what is hidden otherwise; what concerns the connection stays ours.
        """
        more = "proxy_pass_header server; proxy_pass_header X-Pad; proxy_pass_header Connection;"
        found = self.answered(answer(b"", *FIELDS), more)
        self.assertEqual([name for name, _ in found.headers], [*OURS, "X-Pad", "ETag", "X", "x"])
        self.assertEqual(found.headers.get("server"), "theirs")

    def test_head(self) -> None:
        """
        An answer to HEAD tells the length that the body would have, where the upstream has told it.
        """
        data = answer(b"", "Content-Length: 7", length=False)
        self.assertEqual(self.answered(data, line="HEAD / HTTP/1.1").headers.get("content-length"), "7")
        found = self.answered(answer(b"", length=False), line="HEAD / HTTP/1.1")
        self.assertIsNone(found.headers.get("content-length"))

    def test_not_modified(self) -> None:
        """
        So does one that says that nothing was modified.
        """
        line = "HTTP/1.1 304 Not Modified"
        found = self.answered(answer(b"", "Content-Length: 7", line=line, length=False))
        self.assertEqual((found.status, found.headers.get("content-length")), (304, "7"))
        self.assertIsNone(self.answered(answer(b"", line=line, length=False)).headers.get("content-length"))

    def test_no_content(self) -> None:
        """
        One without content has no length.
        """
        found = self.answered(answer(b"", line="HTTP/1.1 204 No Content", length=False))
        self.assertEqual((found.status, found.headers.get("content-length")), (204, None))

    def test_another_method(self) -> None:
        """
        Where the upstream was asked with HEAD on behalf of GET, no body is promised.
        """
        found = self.answered(answer(b"", "Content-Length: 7", length=False), "proxy_method HEAD;")
        self.assertEqual((found.headers.get("content-length"), found.body), ("0", b""))

    def test_until_the_end(self) -> None:
        """
        A body that ends with the connection is passed on in chunks.
        """
        found = self.answered(answer(b"abc", length=False), end=True)
        self.assertEqual((found.headers.get("transfer-encoding"), found.body), ("chunked", b"abc"))

    def test_rewritten(self) -> None:
        """
        Redirections and cookies are spoken of in our words, where there are any.
        """
        fields = (
            "Location: http://192.0.2.2/a",
            "Refresh: 1; url=http://192.0.2.2/b",
            "Refresh: http://elsewhere/",
            "Refresh: 2",
            "Set-Cookie: a=b; path=/a",
            "Set-Cookie: c=d; path=/c",
            "Location: elsewhere",
        )
        found = self.answered(answer(b"", *fields), "proxy_cookie_path /a /b;").headers
        self.assertEqual(found.all("location"), ["http://x/a"])
        self.assertEqual(found.all("refresh"), ["1; url=/b", "http://elsewhere/", "2"])
        self.assertEqual(found.all("set-cookie"), ["a=b; path=/b", "c=d; path=/c"])

    def test_cookies_left(self) -> None:
        """
        Where only redirections are spoken of, cookies are left as they are.
        """
        found = self.answered(answer(b"", "Set-Cookie: a=b;path=/")).headers
        self.assertEqual(found.get("set-cookie"), "a=b;path=/")


class AccelerationTests(ReplyCase):
    """
    What upstreams say to us.
    """

    def web(self, more: str = "") -> Proxied:
        """
        A server with an internal location for files that upstreams point at.
        """

        def files(request: Request) -> None:
            request.respond(200, f"{request.method} {request.uri} {request.args}".encode(), "text/plain")

        return Proxied(
            f"location / {{ proxy_pass http://192.0.2.2; {more} }}"
            " location /files/ { internal; content files; }"
            " location @named { content files; }",
            {"files": files},
        )

    def redirected(
        self, where: str, *fields: str, line: str = "GET /x HTTP/1.1", more: str = ""
    ) -> tuple[Answer, FakeLeg]:
        """
        What becomes of C{X-Accel-Redirect}, and the leg to the upstream.
        """
        client = (web := self.web(more)).client(head(line))
        upstream = web.connected()
        upstream.arrive(answer(b"theirs", f"X-Accel-Redirect: {where}", *fields))
        return one(client, line.split(" ")[0]), upstream

    def test_redirect(self) -> None:
        """
        A path is answered instead, even one for internal use, and the connection ends.
        """
        found, upstream = self.redirected("/files//a%20b?c=d")
        self.assertEqual((found.status, found.body), (200, b"GET /files/a b c=d"))
        self.assertTrue(upstream.closed)

    def test_method(self) -> None:
        """
        Whatever was posted, the path is got; but HEAD stays HEAD.
        """
        self.assertEqual(self.redirected("/files/a", line="POST /x HTTP/1.1")[0].body, b"GET /files/a ")
        self.assertEqual(self.redirected("/files/a", line="HEAD /x HTTP/1.1")[0].headers.get("content-length"), "14")

    def test_named(self) -> None:
        """
        A named location answers where one is meant.
        """
        self.assertEqual(self.redirected("@named")[0].body, b"GET /x ")

    def test_fields(self) -> None:
        """
        Some of the first answer's fields come with the second.
        """
        fields = ("Content-Type: text/css", "Set-Cookie: a", "Set-Cookie: b", "Content-Disposition: inline", "X: y")
        found, _ = self.redirected("/files/a", *fields)
        self.assertEqual(found.headers.all("content-type"), ["text/css"])
        self.assertEqual(found.headers.all("set-cookie"), ["a", "b"])
        self.assertEqual((found.headers.get("content-disposition"), found.headers.get("x")), ("inline", None))

    def test_no_path(self) -> None:
        """
        What is no path, or leads out of the root, is not found.
        """
        for where in ("elsewhere", "/files/../../a", "/%zz"):
            self.assertEqual(self.redirected(where)[0].status, 404)

    def test_ignored(self) -> None:
        """
        With proxy_ignore_headers it is an answer as any other.
        """
        found, _ = self.redirected("/files/a", more="proxy_ignore_headers X-Accel-Redirect;")
        self.assertEqual((found.body, found.headers.get("x-accel-redirect")), (b"theirs", None))

    def sent(self, field: str, more: str = "") -> bytes:
        """
        What a client has got when a part of an answer has come.
        """
        client = (web := self.web(more)).client(head("GET /x HTTP/1.1"))
        upstream = web.connected()
        upstream.arrive(answer(b"", field, "Content-Length: 9", length=False) + b"part")
        return client.taken().partition(b"\r\n\r\n")[2]

    def test_buffering(self) -> None:
        """
        An answer may say whether its pieces are sent on at once.
        """
        self.assertEqual(self.sent("X: y"), b"")
        self.assertEqual(self.sent("X-Accel-Buffering: no"), b"part")
        self.assertEqual(self.sent("X-Accel-Buffering: maybe", "proxy_buffering off;"), b"part")
        self.assertEqual(self.sent("X-Accel-Buffering: Yes", "proxy_buffering off;"), b"")
        self.assertEqual(self.sent("X-Accel-Buffering: no", "proxy_ignore_headers X-Accel-Buffering;"), b"")

    def test_not_asked_again(self) -> None:
        """
        The body of a request that is sent elsewhere from within is still there for another upstream.
        """
        web = Proxied(
            "location / { proxy_pass http://192.0.2.2; } location @other { proxy_pass http://192.0.2.3; }",
        )
        client = web.client(head("POST /x HTTP/1.1", "Content-Length: 4") + b"body")
        first = web.connected()
        self.assertEqual(asked(first).body, b"body")
        first.arrive(answer(b"", "X-Accel-Redirect: @other"))
        second = asked(upstream := web.connected())
        self.assertEqual((second.method, second.target, second.body), ("GET", "/x", b"body"))
        upstream.arrive(answer(b"fine"))
        self.assertEqual(one(client).body, b"fine")
        self.assertEqual([state.peer for state in web.request().upstream_states], ["192.0.2.2:80", "", "192.0.2.3:80"])
