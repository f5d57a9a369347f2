"""
C{set}, C{rewrite}, C{if}, C{break}.
"""

from __future__ import annotations

from typing import Any

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.common.phases import DONE
from sniproxy.errors import ConfigErrors
from sniproxy.http.rewrite import RewriteModule, rewrite
from sniproxy.interfaces import IModule
from tests.support.requests import Answer, Site


class RewriteTestCase(SynchronousTestCase):
    """
    One server.
    """

    def get(self, text: str, target: str = "/", **options: Any) -> Answer:
        """
        What one request gets.
        """
        self.site = Site(text, [RewriteModule()], **options)
        return self.site.get(target)

    def said(self, text: str, target: str = "/", **options: Any) -> str:
        """
        The body of that.
        """
        return self.get(text, target, **options).body.decode("utf-8", "surrogateescape")


class SetTests(RewriteTestCase):
    """
    C{set} and the order of things.
    """

    def test_in_order(self) -> None:
        """
        All directives happen in the order of the file, whatever their names; the first C{return} is the last of them.
        """
        text = 'set $a 1; if ($arg_x) { set $a "$a$arg_x"; } set $b "<$a>"; return 200 $b; set $b no; return 404;'
        self.assertEqual(self.said(text), "<1>")
        self.assertEqual(self.said(text, "/?x=2"), "<12>")

    def test_server_and_location(self) -> None:
        """
        Those of the server come first, and a location does not have those of the one around it.
        """
        text = "set $a s; location /a { set $b l; location /a/b { return 200 $a-$b; } return 200 $a+$b; }"
        self.assertEqual([self.said(text, path) for path in ("/a", "/a/b")], ["s+l", "s-"])

    def test_uninitialized(self) -> None:
        """
        A variable that was not set is empty, and a warning once, unless it is turned off.
        """
        text = 'location /a { set $x 1; } location /b { return 200 "<$x$x>"; }'
        self.assertEqual(self.said(text, "/b"), "<>")
        self.assertEqual(self.site.said(), ['[warn] *1 using uninitialized "x" variable'])
        self.assertEqual(self.said("uninitialized_variable_warn off; " + text, "/b"), "<>")
        self.assertEqual(self.site.lines, [])

    def test_arguments(self) -> None:
        """
        The arguments can be set, and what is made of them follows.
        """
        self.assertEqual(self.said('set $args "q=$arg_p"; return 200 "$args $arg_q";', "/?p=1"), "q=1 1")
        answer = self.get('set $args ""; return 200 <$args>;', "/?p=1")
        assert answer.request is not None
        self.assertEqual((answer.body, answer.request.question), (b"<>", False))

    def test_wrong(self) -> None:
        """
        The name is that of a variable which no module provides.
        """
        for text, words in (
            ("\nset a b;", 'invalid variable name "a"'),
            ("\nset $ b;", 'invalid variable name "$"'),
            ("\nset $Uri b;", 'the duplicate "uri" variable'),
            (
                "\nset $Limit_rate 4k;",
                'the "limit_rate" variable is not supported by sniproxy: it is not carried yet',
            ),
            ("\nset $a $nope;", 'unknown "nope" variable'),
            ("\nset $a;", 'invalid number of arguments in "set" directive'),
            ("\nif ($uri) { if ($uri) { } }", '"if" directive is not allowed here'),
            ("\nrewrite ^ a sometimes;", 'invalid parameter "sometimes"'),
            ('\nrewrite ^ "";', "empty replacement"),
            ("\nrewrite ^ a$nope;", 'unknown "nope" variable'),
            ("\nrewrite a;", 'invalid number of arguments in "rewrite" directive'),
        ):
            problem: ConfigErrors = self.assertRaises(ConfigErrors, Site, text, [RewriteModule()])
            self.assertEqual([str(each) for each in problem.errors], [words + " in /etc/edge.conf:2"])


class RewriteTests(RewriteTestCase):
    """
    C{rewrite} of paths.
    """

    def test_last(self) -> None:
        """
        C{last} ends the block's directives and looks for another location.
        """
        text = 'location /a { rewrite ^/a/(.*) /b/$1 last; return 200 no; } location /b { return 200 "$uri $args"; }'
        answer = self.get(text, "/a/x?y=z")
        assert answer.request is not None
        self.assertEqual((answer.body, answer.request.internal), (b"/b/x y=z", True))

    def test_without_flag(self) -> None:
        """
        Without a flag the next directives see the new path, and another location is looked for in the end.
        """
        text = (
            "location /a { rewrite ^/a /b; rewrite ^/b /c; set $seen $uri; }"
            ' location /b { return 200 b; } location /c { return 200 "c $seen"; }'
        )
        self.assertEqual(self.said(text, "/a"), "c /c")

    def test_break(self) -> None:
        """
        C{break} ends the directives and stays in the location, as a flag and by itself.
        """
        for text in (
            "location /a { rewrite ^/a /b break; return 200 no; }",
            "location /a { rewrite ^/a /b; break; return 200 no; }",
        ):
            self.site = Site(text + " location /b { return 200 no; }", [RewriteModule()])
            self.site.places["/a"].fallback = lambda request: request.respond(200, request.uri.encode())
            self.assertEqual(self.site.get("/a").body, b"/b")

    def test_in_the_server(self) -> None:
        """
        On the server's level it comes before a location is looked for.
        """
        text = 'rewrite ^/a /b; location /a { return 200 a; } location /b { return 200 "b $1"; }'
        self.assertEqual(self.said(text, "/a"), "b ")

    def test_no_match(self) -> None:
        """
        Where nothing matches nothing happens, and nothing is captured any more.
        """
        text = 'if ($uri ~ "(.)") { } rewrite ^/(x) /y; return 200 "$uri<$1>";'
        self.assertEqual(self.said(text, "/a"), "/a<>")

    def test_arguments(self) -> None:
        """
        New arguments come before the old ones, which a question mark at the end drops.
        """
        for replacement, wanted in (
            ("/b", "/b|y=z"),
            ("/b?", "/b|"),
            ("/b?c=$1", "/b|c=x&y=z"),
            ("/b?c=$1?", "/b|c=x"),
            ("/b?c=1&", "/b|c=1&&y=z"),
        ):
            text = f'rewrite ^/(x) {replacement}; return 200 "$uri|$args";'
            self.assertEqual(self.said(text, "/x?y=z"), wanted, replacement)
        self.assertEqual(self.said('rewrite ^ /b?c=d; return 200 "$uri|$args";', "/x"), "/b|c=d")

    def test_escaped_arguments(self) -> None:
        """
        What was escaped in the path is escaped again as an argument, and not in the path.
        """
        text = 'rewrite ^/(?<name>.*) /b/$1?c=$1&d=$name; return 200 "$uri|$args";'
        self.assertEqual(self.said(text, "/a%20%26b"), "/b/a &b|c=a%20%26b&d=a &b")
        self.assertEqual(self.said(text, "/a&b"), "/b/a&b|c=a&b&d=a&b")
        self.assertEqual(self.said(text, "/a+%ff"), "/b/a+\udcff|c=a%2B%FF&d=a+\udcff")

    def test_told(self) -> None:
        """
        With C{rewrite_log} the log says what happens.
        """
        self.get("rewrite_log on; rewrite ^/(a) /b?c=$1; rewrite ^/x /y; return 200;", "/a")
        self.assertEqual(
            self.site.said(),
            [
                '[notice] *1 "^/(a)" matches "/a"',
                '[notice] *1 rewritten data: "/b", args: "c=a"',
                '[notice] *1 "^/x" does not match "/b"',
            ],
        )

    def test_nothing_left(self) -> None:
        """
        A path that becomes empty is our trouble.
        """
        self.assertEqual(self.get("rewrite ^ $arg_none last;").status, 500)
        self.assertEqual(self.site.said(), ["[error] *1 the rewritten URI has a zero length"])

    def test_round_and_round(self) -> None:
        """
        Ten changes are enough.
        """
        self.assertEqual(self.get("location / { rewrite ^/(.*) /x$1 last; }", "/").status, 500)
        self.assertEqual(
            self.site.said(), ['[error] *1 rewrite or internal redirection cycle while processing "/xxxxxxxxxxx"']
        )


class RedirectTests(RewriteTestCase):
    """
    C{rewrite} to elsewhere.
    """

    def to(self, replacement: str, target: str = "/a") -> tuple[int, str | None]:
        """
        Status and address.
        """
        answer = self.get(f'rewrite "^/(.*)" {replacement}; return 200;', target)
        return answer.status, answer.field("location")

    def test_flags(self) -> None:
        """
        An address is 302, and so is any text with C{redirect}; with C{permanent} it is 301.
        """
        self.assertEqual(self.to("http://h/$1"), (302, "http://h/a"))
        self.assertEqual(self.to("https://h/$1 permanent"), (301, "https://h/a"))
        self.assertEqual(self.to("$scheme://h/$1"), (302, "http://h/a"))
        self.assertEqual(self.to("/b/$1 redirect"), (302, "http://www.example.com/b/a"))

    def test_arguments(self) -> None:
        """
        Arguments are added as to a path.
        """
        self.assertEqual(self.to("http://h/", "/a?y=z")[1], "http://h/?y=z")
        self.assertEqual(self.to("http://h/?", "/a?y=z")[1], "http://h/")
        self.assertEqual(self.to("http://h/?x=$1", "/a?y=z")[1], "http://h/?x=a&y=z")
        self.assertEqual(self.to("http://h/?x=$1?", "/a?y=z")[1], "http://h/?x=a")

    def test_escapes(self) -> None:
        """
        What was escaped is escaped again where it must be; in arguments all of it.
        """
        self.assertEqual(
            self.to("http://h/$1?x=$1", "/a%20%26%3fb%c3%a4?q=1")[1], "http://h/a%20&?b%C3%A4?x=a%20%26%3Fb%C3%A4&q=1"
        )
        self.assertEqual(
            self.to("http://h/$1?x=$1", "/a%22%3c%3e%5c%5e%60%7b%7c%7d+b")[1],
            "http://h/a%22<>\\^`{|}+b?x=a%22%3C%3E%5C%5E%60%7B%7C%7D%2Bb",
        )

    def test_no_second_line(self) -> None:
        """
        What a client sends cannot end the line of the address.
        """
        self.assertEqual(self.to("http://h$uri", "/a%0d%0aX:%20y")[1], "http://h/a%0D%0AX: y")

    def test_told(self) -> None:
        """
        With C{rewrite_log} the log says where to.
        """
        self.get("rewrite_log on; rewrite ^/(a) http://h/$1;", "/a")
        self.assertEqual(
            self.site.said(), ['[notice] *1 "^/(a)" matches "/a"', '[notice] *1 rewritten redirect: "http://h/a"']
        )


class IfTests(RewriteTestCase):
    """
    C{if}.
    """

    def test_place(self) -> None:
        """
        A true C{if} of a location takes the request, the last of several; one of a server does not.
        """
        text = "if ($arg_s) { set $s 1; } location / { if ($arg_a) { set $w a; } if ($arg_b) { set $w b; } }"
        self.site = Site(text, [RewriteModule()])
        top = self.site.places["/"]
        inner = [scope for scope in top.scope.children if scope.context == "http.server.location.if"]
        places = {id(self.site.by_scope[scope]): name for scope, name in zip(inner, "ab", strict=True)}
        places[id(top)] = "outer"
        for place in self.site.by_scope.values():
            place.fallback = lambda request: request.respond(200, places[id(request.place)].encode())
        for target, wanted in (("/", b"outer"), ("/?a=1", b"a"), ("/?a=1&b=1", b"b"), ("/?s=1", b"outer")):
            self.assertEqual(self.site.get(target).body, wanted, target)

    def test_ends(self) -> None:
        """
        What ends the directives inside ends those behind as well.
        """
        text = "location /a { if ($arg_x) { rewrite ^ /b last; } return 200 a; } location /b { return 200 b; }"
        self.assertEqual([self.said(text, target) for target in ("/a", "/a?x=1")], ["a", "b"])

    def test_break(self) -> None:
        """
        So does C{break}.
        """
        self.site = Site("if ($arg_x) { break; } return 200 a;", [RewriteModule()])
        self.site.server.place.fallback = lambda request: request.respond(200, b"b")
        self.assertEqual([self.site.get(target).body for target in ("/", "/?x=1")], [b"a", b"b"])

    def test_own_phase(self) -> None:
        """
        The place of an C{if} has no directives of its own to go through, nor has a place without any.
        """
        self.site = Site("location /a { if ($uri) { set $a 1; } } location /b { }", [RewriteModule()])
        self.assertEqual(
            [len(handlers) for place in self.site.places.values() for handlers in place.phases if handlers], [1]
        )

    def test_handler(self) -> None:
        """
        The list answers as a handler does.
        """
        self.site = Site("location /a { break; }", [RewriteModule()])
        (handler,) = [each for handlers in self.site.places["/a"].phases for each in handlers]
        request: Any = self.site.get("/").request
        self.assertIs(handler(request), DONE)


class ModuleTests(SynchronousTestCase):
    """
    The module itself.
    """

    def test_interfaces(self) -> None:
        """
        It is a module, found as a plugin.
        """
        self.assertTrue(verifyObject(IModule, rewrite))
        self.assertTrue(verifyObject(IPlugin, rewrite))
