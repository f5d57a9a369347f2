"""
Bodies that are compressed.
"""

from __future__ import annotations

import gzip as reference
import os
import zlib
from typing import Any, Final

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.errors import ConfigErrors
from sniproxy.http.exchange import Reply
from sniproxy.http.gzip import DIRECTIVES, PAGE, Deflater, GzipModule, gzip
from sniproxy.http.headers import Headers
from sniproxy.interfaces import IModule
from tests.support.requests import Answer, Site

TEXT: Final = b"the same again, and again, and again: the same\n" * 100
GZIP: Final = ("Accept-Encoding", "gzip")
VIA: Final = ("Via", "1.1 x")


class DeflaterTests(SynchronousTestCase):
    """
    One body.
    """

    def test_whole(self) -> None:
        """
        What comes out, in whatever pieces it came, is gzip, and its ratio is known at the end.
        """
        deflater = Deflater(6, 15, None)
        data = b"".join(deflater.encode(TEXT[at : at + 7]) for at in range(0, len(TEXT), 7))
        self.assertIsNone(deflater.ratio)
        data += deflater.finish()
        self.assertEqual(reference.decompress(data), TEXT)
        wanted = int(len(TEXT) * 100 / len(data) + 0.5) / 100
        self.assertEqual(deflater.ratio, f"{wanted:.2f}")

    def test_empty(self) -> None:
        """
        A body in which nothing came is one all the same.
        """
        deflater = Deflater(1, 15, None)
        self.assertEqual(reference.decompress(deflater.finish()), b"")
        self.assertEqual(deflater.ratio, "0.00")

    def test_pages(self) -> None:
        """
        There is nothing to be sent until it is worth it.
        """
        deflater = Deflater(1, 15, None)
        sizes = [len(deflater.encode(bytes(os.urandom(100)))) for _ in range(2000)]
        self.assertEqual([size for size in sizes if 0 < size < PAGE], [])
        self.assertGreater(sum(sizes), PAGE)

    def test_flush(self) -> None:
        """
        What was flushed can be read at once; where nothing has come since, nothing is sent.
        """
        deflater = Deflater(1, 15, None)
        self.assertEqual(deflater.flush(), b"")
        reader = zlib.decompressobj(31)
        for piece in (b"one", b"two"):
            self.assertEqual(reader.decompress(deflater.encode(piece) + deflater.flush()), piece)
            self.assertEqual(deflater.flush(), b"")
        reader.decompress(deflater.finish())
        self.assertTrue(reader.eof)

    def test_short(self) -> None:
        """
        For short bodies the window is small: a reader needs no more than that.
        """
        for length, window in ((0, 9), (100, 9), (5000, 13), (100000, 15)):
            data = bytes(range(256)) * (length // 256) + bytes(length % 256)
            deflater = Deflater(9, 15, length)
            sent = deflater.encode(data) + deflater.finish()
            self.assertEqual(zlib.decompress(sent, 16 + window), data, length)
            self.assertEqual(deflater._window, window, length)


class GzipTests(SynchronousTestCase):
    """
    One server that answers with a text.
    """

    def get(
        self,
        text: str,
        *fields: tuple[str, str],
        status: int = 200,
        said: Any = (("Content-Type", "text/html"),),
        body: bytes = TEXT,
        **options: Any,
    ) -> Answer:
        """
        What one request gets.
        """
        self.site = Site(f"gzip on; {text}", [GzipModule()])
        for place in self.site.by_scope.values():
            place.fallback = lambda request: request.respond(status, body, headers=Headers(said))
        return self.site.get("/", *fields, **options)

    def encoded(self, *arguments: Any, **options: Any) -> bool:
        """
        Whether its body was compressed.
        """
        answer = self.get(*arguments, **options)
        if answer.field("content-encoding") != "gzip":
            self.assertEqual(answer.body, b"" if options.get("method") == "HEAD" else options.get("body", TEXT))
            return False
        self.assertEqual(reference.decompress(answer.body), options.get("body", TEXT))
        return True

    def test_head(self) -> None:
        """
        A body that is compressed has no length, no parts, and a weak tag.
        """
        said = [("Accept-Ranges", "bytes"), ("Content-Type", "text/html"), ("ETag", '"x"'), ("Content-Length", "9")]
        answer = self.get("", GZIP, said=said)
        self.assertEqual(
            answer.headers.items, [("Content-Type", "text/html"), ("ETag", 'W/"x"'), ("Content-Encoding", "gzip")]
        )
        assert answer.reply is not None and answer.request is not None
        self.assertIsNone(answer.reply.length)
        self.assertEqual(answer.request.body_sent, len(answer.body))
        self.assertEqual(self.get("", GZIP, said=[*said[1:2], ("ETag", 'W/"x"')]).field("etag"), 'W/"x"')
        self.assertIsNone(self.get("", GZIP, said=[*said[1:2], ("ETag", "x")]).field("etag"))

    def test_off(self) -> None:
        """
        Where it is off nothing is there that would be asked.
        """
        site = Site("gzip on; location /a { gzip off; } location /b { }", [gzip])
        self.assertIsNone(site.places["/a"].encoding)
        self.assertIsNotNone(site.places["/b"].encoding)

    def test_which(self) -> None:
        """
        Statuses, lengths, types and what was compressed before decide.
        """
        for status in (200, 403, 404):
            self.assertTrue(self.encoded("", GZIP, status=status), status)
        for status in (201, 206, 302, 500):
            self.assertFalse(self.encoded("", GZIP, status=status), status)
        self.assertTrue(self.encoded("", GZIP, body=bytes(20)))
        self.assertFalse(self.encoded("", GZIP, body=bytes(19)))
        self.assertFalse(self.encoded("gzip_min_length 50;", GZIP, body=bytes(49)))
        for kind in ("text/HTML; charset=x", "a/b"):
            self.assertTrue(self.encoded("gzip_types a/b;", GZIP, said=[("Content-Type", kind)]), kind)
        for kind in ("a/b", "text/html; a=b"):
            self.assertFalse(self.encoded("", GZIP, said=[("Content-Type", kind)]), kind)
        self.assertFalse(self.encoded("", GZIP, said=()))
        self.assertTrue(self.encoded("gzip_types *;", GZIP, said=()))
        self.assertFalse(self.encoded("gzip_types *;", GZIP, said=[("Content-Encoding", "br")]))

    def test_for_whom(self) -> None:
        """
        The client has to take it, and to be no old one.
        """
        self.assertFalse(self.encoded(""))
        self.assertFalse(self.encoded("", ("Accept-Encoding", "br")))

        def old(request: Any) -> None:
            request.text = "HTTP/1.0"

        self.assertFalse(self.encoded("", GZIP, prepared=old))
        self.assertTrue(self.encoded("gzip_http_version 1.0;", GZIP, prepared=old))

    def test_agents(self) -> None:
        """
        Those that cannot read it, though they say so, are known by name.
        """
        text = 'gzip_disable msie6 "^old"; gzip_disable "very.old";'
        for agent in ("MSIE 6.0; x", "MSIE 5.5 ", "a MSIE 4.0)", "OLD", "a very old one"):
            self.assertFalse(self.encoded(text, GZIP, ("User-Agent", agent)), agent)
        for agent in ("MSIE 6.0; SV1", "MSIE 7.0; x", "MSIE 6.", "MSIE 6.0; Opera", "not old", ""):
            self.assertTrue(self.encoded(text, GZIP, ("User-Agent", agent)), agent)
        self.assertTrue(self.encoded(text, GZIP))
        self.assertTrue(self.encoded("", GZIP, ("User-Agent", "MSIE 6.0; x")))

    def test_agents_inherited(self) -> None:
        """
        A block with expressions has no others; the word is inherited all the same.
        """
        text = 'gzip_disable msie6 "^old"; location / { gzip_disable "new"; }'
        for agent, wanted in (("old", True), ("new", False), ("MSIE 6.0; x", False)):
            self.assertEqual(self.encoded(text, GZIP, ("User-Agent", agent)), wanted, agent)

    def test_proxies(self) -> None:
        """
        What may be kept by a proxy is compressed where it says so.
        """
        html = ("Content-Type", "text/html")
        past, future = "Fri, 15 Jan 2027 07:59:59 GMT", "Fri, 15 Jan 2027 08:00:01 GMT"
        for words, said, wanted in (
            ("off any", (), False),
            ("any", (), True),
            ("expired", [("Expires", past)], True),
            ("expired", [("Expires", future)], False),
            ("expired", [("Expires", future), ("Date", "Sat, 16 Jan 2027 08:00:01 GMT")], True),
            ("expired", [("Expires", past), ("Date", "junk")], False),
            ("expired", [("Expires", "junk")], False),
            ("private", [("Expires", past)], False),
            ("no-cache", [("Cache-Control", "no-cache")], True),
            ("no-store", [("Cache-Control", "x=y;No-Store , z")], True),
            ("private", [("Cache-Control", "a, private")], True),
            ("private", [("Cache-Control", "private=x, privately")], False),
            ("private", [("Cache-Control", "a"), ("Cache-Control", "private")], True),
            ("no-cache", [("Cache-Control", "private")], False),
            ("no_etag", [("ETag", '"x"')], False),
            ("no_etag", [("Last-Modified", past)], True),
            ("no_last_modified", [("Last-Modified", past)], True),
            ("auth", (), True),
        ):
            found = self.encoded(f"gzip_proxied {words};", GZIP, VIA, said=[html, *said])
            self.assertEqual(found, wanted, (words, said))
        self.assertFalse(self.encoded("", GZIP, VIA))

        def tried(request: Any) -> None:
            request.upstream_states.append(None)

        text, dated = "gzip_proxied no_last_modified;", [html, ("Last-Modified", past)]
        self.assertFalse(self.encoded(text, GZIP, VIA, said=dated, prepared=tried))
        self.assertTrue(self.encoded(text, GZIP, VIA, said=[html], prepared=tried))
        allowed = ("Authorization", "Basic x")
        self.assertTrue(self.encoded("gzip_proxied auth;", GZIP, VIA, allowed, said=[html, ("Expires", "x")]))
        self.assertFalse(self.encoded("gzip_proxied no-cache;", GZIP, VIA, allowed, said=[html, ("Expires", "x")]))

    def test_vary(self) -> None:
        """
        What might be compressed for somebody says so, once, before all else.
        """
        vary = ("Vary", "Accept-Encoding")
        for fields in ((), (GZIP,)):
            answer = self.get("gzip_vary on;", *fields)
            self.assertEqual(answer.headers.items[:2], [vary, ("Content-Type", "text/html")])
        self.assertNotIn(vary, self.get("gzip_vary on;", GZIP, status=500).headers.items)
        self.assertNotIn(vary, self.get("", GZIP).headers.items)

    def test_parts(self) -> None:
        """
        Parts can be sent of what is sent as it is; what might be compressed says so then.
        """
        answer = self.get("gzip_vary on;", GZIP)
        place, request = self.site.places[""], answer.request
        assert place.encoding is not None and request is not None
        whole = Reply(200, [("Content-Type", "text/html")], 100)
        self.assertFalse(place.encoding.may_part(request, whole))
        request.headers.remove("accept-encoding")
        self.assertTrue(place.encoding.may_part(request, whole))
        self.assertTrue(place.encoding.may_part(request, Reply(200, [("Content-Type", "a/b")], 100)))
        self.assertEqual(len(whole.headers.all("vary")), 1)

    def test_no_body(self) -> None:
        """
        The answer to HEAD says what the one to GET would, and nothing is compressed for it.
        """
        answer = self.get("", GZIP, method="HEAD")
        self.assertEqual((answer.field("content-encoding"), answer.body), ("gzip", b""))

    def test_pieces(self) -> None:
        """
        A body that comes bit by bit can be read as far as it was flushed, and stops where the client does.
        """
        steps: list[Any] = []

        def content(request: Any) -> None:
            request.begin(Reply(200, [("Content-Type", "text/html")]))
            steps.extend((request.send(b"one"), request.flush(), request.send(b"two")))

        site = Site("gzip on;", [gzip])
        site.server.place.fallback = content
        answer = site.get("/", GZIP, room=30)
        reader = zlib.decompressobj(31)
        self.assertEqual(reader.decompress(answer.body), b"one")
        self.assertEqual(steps[0::2], [True, True])
        assert answer.request is not None
        answer.request.end()
        self.assertEqual(reference.decompress(answer.body), b"onetwo")
        self.assertEqual(answer.request.body_sent, len(answer.body))

    def test_ratio(self) -> None:
        """
        C{$gzip_ratio} is there when the body is whole.
        """
        answer = self.get("", GZIP)
        (ratio,) = gzip.variables
        assert answer.request is not None
        ratio_now = ratio.get(answer.request)
        assert ratio_now is not None
        self.assertAlmostEqual(float(ratio_now), len(TEXT) / len(answer.body), 2)
        answer = self.get("")
        self.assertIsNone(ratio.get(answer.request))

    def test_words(self) -> None:
        """
        What nginx refuses is refused in its words; what tunes it is accepted.
        """
        self.get(
            "gzip_buffers 16 8k; gzip_hash 64k; postpone_gzipping 1k; gzip_no_buffer on; gzip_window 4k;"
            " gzip_comp_level 9;"
        )
        for text, message in {
            "gzip_comp_level 10;": "value must be between 1 and 9",
            "gzip_window 256;": '"gzip_window" directive must be 512, 1k, 2k, 4k, 8k, 16k, or 32k',
            "gzip_window 1000;": '"gzip_window" directive must be 512, 1k, 2k, 4k, 8k, 16k, or 32k',
            "gzip_hash 256k;": '"gzip_hash" directive must be 512, 1k, 2k, 4k, 8k, 16k, 32k, 64k, or 128k',
            "gzip_proxied some;": 'invalid value "some"',
            "gzip_http_version 2;": 'invalid value "2"',
            "gzip_buffers 0 1k;": '"gzip_buffers" directive invalid value',
            "gzip_disable (;": 'pcre2_compile() failed: missing closing parenthesis in "("',
        }.items():
            error = self.assertRaises(ConfigErrors, self.get, text)
            self.assertIn(message, str(error), text)

    def test_module(self) -> None:
        """
        The module is one, and has nothing to do elsewhere.
        """
        verifyObject(IModule, gzip)
        verifyObject(IPlugin, gzip)
        build: Any = None
        gzip.prepare(build)
        gzip.attach(build, build)
        self.assertEqual(gzip.directives, DIRECTIVES)
