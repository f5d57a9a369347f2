"""
C{try_files}.
"""

from __future__ import annotations

import errno
from typing import Any

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.errors import ConfigErrors
from sniproxy.http.static import StaticModule
from sniproxy.http.try_files import TryFilesModule, try_files
from sniproxy.interfaces import IModule
from tests.support.requests import Answer, MemoryDisk, Site


class TryFilesTests(SynchronousTestCase):
    """
    Names to try.
    """

    def setUp(self) -> None:
        self.disk = MemoryDisk(
            {"/srv/a.txt": b"a", "/srv/dir/x.txt": b"x", "/srv/dir/b.html": b"b", "/etc/secret": b"secret"}
        )

    def made(self, text: str) -> Site:
        """
        A server whose files are in /srv.
        """
        self.site = Site("root /srv; " + text, [StaticModule(self.disk), TryFilesModule(self.disk)])
        return self.site

    def get(self, text: str, target: str) -> Answer:
        """
        What one request gets.
        """
        return self.made(text).get(target)

    def test_first(self) -> None:
        """
        The first file that is there is the answer, and the path is its name from then on.
        """
        answer = self.get("location / { try_files $uri $uri.html /a.txt =404; }", "/dir/b")
        self.assertEqual((answer.body, answer.field("content-type")), (b"b", "text/html"))
        assert answer.request is not None
        self.assertEqual((answer.request.uri, answer.request.internal), ("/dir/b.html", False))

    def test_folder(self) -> None:
        """
        A name with a slash at the end is a folder, which is answered as any other.
        """
        answer = self.get("try_files $uri /dir/ =404;", "/none")
        self.assertEqual((answer.status, answer.field("location")), (301, "http://www.example.com/dir/"))
        self.assertEqual(self.get("try_files /dir /a.txt/ =404;", "/none").status, 404)

    def test_otherwise(self) -> None:
        """
        In the end there is a status, or another path with arguments, or a named location.
        """
        self.assertEqual(self.get("try_files /none =404;", "/x").status, 404)
        answer = self.get("location /b { try_files /none /a.txt?q=1; }", "/b?x=2")
        assert answer.request is not None
        self.assertEqual((answer.body, answer.request.args, answer.request.internal), (b"a", "q=1", True))
        text = "location /b { try_files /none @c; } location @c { try_files /a.txt =404; }"
        self.assertEqual(self.get(text, "/b").body, b"a")

    def test_whole_last_name(self) -> None:
        """
        The slash of the last name is its own, and it is not looked at but gone to.
        """
        answer = self.get("location /b { try_files /none /dir/; } index x.txt;", "/b")
        self.assertEqual(answer.body, b"x")

    def test_alias(self) -> None:
        """
        With an alias the location's part is left out of what has variables, and is kept in the path.
        """
        answer = self.get("location /b/ { alias /srv/dir/; try_files $uri x.txt =404; }", "/b/b.html")
        assert answer.request is not None
        self.assertEqual((answer.body, answer.request.uri), (b"b", "/b/b.html"))
        answer = self.get("location /b/ { alias /srv/dir/; try_files $uri x.txt =404; }", "/b/none")
        assert answer.request is not None
        self.assertEqual((answer.body, answer.request.uri), (b"x", "/b/x.txt"))

    def test_alias_of_expression(self) -> None:
        """
        There the name is behind the alias; of a folder it changes nothing.
        """
        text = r"location ~ ^/(\w+)/b { alias /srv/$1; try_files /x.txt =404; }"
        self.assertEqual(self.get(text, "/dir/b").body, b"x")
        text = r"location ~ ^/(\w+)/b { alias /srv; try_files /dir/ =404; }"
        answer = self.get(text, "/dir/b")
        self.assertEqual(answer.field("location"), "http://www.example.com/dir/b/")

    def test_climbing(self) -> None:
        """
        What a client wants to climb with is not there.
        """
        text = "try_files /dir/$arg_name /a.txt =404;"
        self.assertEqual(self.get(text, "/?name=x.txt").body, b"x")
        self.assertEqual(self.get(text, "/?name=../../etc/secret").body, b"a")
        self.assertEqual(self.site.said(), ['[error] *1 unsafe URI "/dir/../../etc/secret" was detected'])

    def test_trouble(self) -> None:
        """
        A disk that fails is told of, and the next name is tried.
        """
        self.disk.refused = {"/srv/none": errno.EIO, "/srv/long": errno.ENAMETOOLONG}
        self.assertEqual(self.get("try_files /none /long /a.txt =404;", "/x").body, b"a")
        self.assertEqual(self.site.said(), ['[crit] *1 stat() "/srv/none" failed (5: Refused)'])

    def test_own(self) -> None:
        """
        An inner location does not inherit it.
        """
        text = "try_files /a.txt =404; location /b { location /b/c { } }"
        self.assertEqual(self.get(text, "/b/c").status, 404)
        self.assertEqual(self.get(text, "/x").body, b"a")

    def test_round_and_round(self) -> None:
        """
        A path that leads to itself comes to an end.
        """
        answer = self.get("try_files /none /none;", "/x")
        self.assertEqual(answer.status, 500)
        self.assertEqual(
            self.site.said()[-1],
            '[error] *1 rewrite or internal redirection cycle while internally redirecting to "/none"',
        )

    def test_wrong(self) -> None:
        """
        Mistakes are named with their line.
        """
        for text, words in (
            ("\ntry_files /a;", 'invalid number of arguments in "try_files" directive'),
            ("\ntry_files /a =x;", 'invalid code "=x"'),
            ("\ntry_files /a =1000;", 'invalid code "=1000"'),
            ("\ntry_files $nope =404;", 'unknown "nope" variable'),
            ("try_files a b;\ntry_files a b;", '"try_files" directive is duplicate'),
        ):
            problem: ConfigErrors = self.assertRaises(ConfigErrors, self.made, text)
            self.assertEqual([str(each) for each in problem.errors], [words + " in /etc/edge.conf:2"])

    def test_interfaces(self) -> None:
        """
        It is a module, found as a plugin.
        """
        module: Any = try_files
        self.assertTrue(verifyObject(IModule, module))
        self.assertTrue(verifyObject(IPlugin, module))
