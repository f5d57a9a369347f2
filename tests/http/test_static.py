"""
Files for requests.
"""

from __future__ import annotations

import errno
from typing import Any

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.errors import ConfigErrors
from sniproxy.http.dates import http_date
from sniproxy.http.pages import page
from sniproxy.http.static import StaticModule, static
from sniproxy.interfaces import IModule
from tests.support.encodings import Keeping
from tests.support.requests import Answer, MemoryDisk, Site

DATE = http_date(MemoryDisk.MODIFIED)
TAG = '"2ebc98a1-a"'


class StaticTestCase(SynchronousTestCase):
    """
    A server over some files.
    """

    def setUp(self) -> None:
        self.disk = MemoryDisk(
            {
                "/srv/n.txt": b"0123456789",
                "/srv/a.html": b"<a>",
                "/srv/empty": b"",
                "/srv/dir/x.txt": b"x",
                "/srv/idx/index.html": b"index",
                "/srv/odd dir/x": b"",
                '/srv/"<\\>/x': b"",
            }
        )
        self.site = self.made()

    def made(self, text: str = "", **options: Any) -> Site:
        """
        A server whose files are in /srv.
        """
        self.site = Site("root /srv; " + text, [StaticModule(self.disk)], **options)
        return self.site

    def get(self, target: str, *fields: tuple[str, str], method: str = "GET") -> Answer:
        """
        One request, whose files are closed in the end.
        """
        answer = self.site.get(target, *fields, method=method)
        self.assertTrue(answer.ended)
        self.assertEqual(self.disk.open_files, 0)
        return answer


class FileTests(StaticTestCase):
    """
    One file.
    """

    def test_whole(self) -> None:
        """
        A file comes with its type, age and tag, and tells that it comes in parts as well.
        """
        answer = self.get("/n.txt")
        self.assertEqual((answer.status, answer.body), (200, b"0123456789"))
        self.assertEqual(
            answer.headers.items,
            [("Content-Type", "text/plain"), ("Last-Modified", DATE), ("ETag", TAG), ("Accept-Ranges", "bytes")],
        )
        assert answer.reply is not None
        self.assertEqual(answer.reply.length, 10)
        self.assertEqual(self.get("/a.html").field("content-type"), "text/html")

    def test_head(self) -> None:
        """
        HEAD has the same head, and reads nothing.
        """
        answer = self.get("/n.txt", method="HEAD")
        self.assertEqual((answer.status, answer.body, answer.field("etag")), (200, b"", TAG))
        assert answer.reply is not None
        self.assertEqual((answer.reply.length, self.disk.reads), (10, []))

    def test_empty(self) -> None:
        """
        An empty file is an empty answer, even where a part of it is wanted.
        """
        answer = self.get("/empty", ("Range", "bytes=0-5"))
        self.assertEqual((answer.status, answer.body), (200, b""))

    def test_no_type(self) -> None:
        """
        Where nothing is known of a file and no default is wanted, no type is said.
        """
        self.made('default_type "";')
        self.assertIsNone(self.get("/n.txt").field("content-type"))
        answer = self.get("/n.txt", ("Range", "bytes=0-0,2-2"))
        self.assertNotIn(b"Content-Type", answer.body)

    def test_methods(self) -> None:
        """
        Files are for GET and HEAD; POST is told so where there is a file, other methods everywhere.
        """
        for target, method, status in (
            ("/n.txt", "POST", 405),
            ("/n.txt", "PUT", 405),
            ("/none", "POST", 404),
            ("/none", "DELETE", 405),
            ("/dir/", "POST", 403),
            ("/dir/", "PUT", 405),
            ("/dir", "POST", 301),
        ):
            self.assertEqual(self.get(target, method=method).status, status, f"{method} {target}")

    def test_not_there(self) -> None:
        """
        What is not there is 404, with a line in the log that can be turned off.
        """
        answer = self.get("/none?a=b")
        self.assertEqual((answer.status, answer.body), (404, page(404)))
        self.assertEqual(self.get("/n.txt/x").status, 404)
        self.assertEqual(
            self.site.said(),
            [
                '[error] *1 open() "/srv/none" failed (2: No such file or directory)',
                '[error] *1 open() "/srv/n.txt/x" failed (20: Not a directory)',
            ],
        )
        self.made("log_not_found off;")
        self.assertEqual(self.get("/none").status, 404)
        self.assertEqual(self.site.lines, [])

    def test_refused(self) -> None:
        """
        What may not be read is 403, what cannot be is 500, and what is no file is 404; each with its line.
        """
        self.disk.refused = {"/srv/a.html": errno.EACCES, "/srv/n.txt": errno.EMFILE}
        self.disk.odd.add("/srv/pipe")
        self.made("log_not_found off;")
        self.assertEqual([self.get(target).status for target in ("/a.html", "/n.txt", "/pipe")], [403, 500, 404])
        self.assertEqual(
            self.site.said(),
            [
                '[error] *1 open() "/srv/a.html" failed (13: Refused)',
                '[crit] *1 open() "/srv/n.txt" failed (24: Refused)',
                '[crit] *1 "/srv/pipe" is not a regular file',
            ],
        )

    def test_climbing(self) -> None:
        """
        A path that was made to climb finds nothing.
        """

        def moved(request: Any) -> None:
            request.uri = "/../etc/passwd"

        self.site.server.place.handle("access", moved)
        self.assertEqual(self.get("/x").status, 404)
        self.assertEqual(self.site.said(), ['[error] *1 unsafe URI "/../etc/passwd" was detected'])

    def test_unwanted(self) -> None:
        """
        Tags and parts can be turned off.
        """
        self.made("etag off; max_ranges 0;")
        answer = self.get("/n.txt", ("Range", "bytes=0-0"), ("If-None-Match", TAG))
        self.assertEqual((answer.status, answer.body), (200, b"0123456789"))
        self.assertEqual(answer.headers.items, [("Content-Type", "text/plain"), ("Last-Modified", DATE)])


class WantedTests(StaticTestCase):
    """
    Parts and conditions.
    """

    def test_part(self) -> None:
        """
        One part comes with its place.
        """
        answer = self.get("/n.txt", ("Range", "bytes=2-4"))
        self.assertEqual((answer.status, answer.body), (206, b"234"))
        self.assertEqual(answer.field("content-range"), "bytes 2-4/10")
        self.assertIsNone(answer.field("accept-ranges"))
        head = self.get("/n.txt", ("Range", "bytes=2-4"), method="HEAD")
        assert head.reply is not None
        self.assertEqual((head.status, head.reply.length), (206, 3))

    def test_parts(self) -> None:
        """
        Several come in one body, with a boundary that is never the same.
        """
        answers = [self.get("/n.txt", ("Range", "bytes=2-4,-1")) for _ in range(2)]
        kinds = [answer.field("content-type") or "" for answer in answers]
        self.assertNotEqual(*kinds)
        for answer, kind in zip(answers, kinds, strict=True):
            self.assertRegex(kind, r"^multipart/byteranges; boundary=\d{20}$")
            boundary = kind.partition("=")[2].encode()
            self.assertEqual(
                answer.body,
                b"\r\n--%b\r\nContent-Type: text/plain\r\nContent-Range: bytes 2-4/10\r\n\r\n234"
                b"\r\n--%b\r\nContent-Type: text/plain\r\nContent-Range: bytes 9-9/10\r\n\r\n9\r\n--%b--\r\n"
                % (boundary, boundary, boundary),
            )

    def test_most_parts(self) -> None:
        """
        Where more parts are wanted than are allowed, the whole is sent.
        """
        self.made("max_ranges 1;")
        self.assertEqual(self.get("/n.txt", ("Range", "bytes=0-0,2-2")).status, 200)
        self.assertEqual(self.get("/n.txt", ("Range", "bytes=0-0")).status, 206)

    def test_encoded(self) -> None:
        """
        Of what is encoded on its way there are no parts.
        """
        for place in self.site.by_scope.values():
            place.encoding = Keeping()
        answer = self.get("/n.txt", ("Range", "bytes=2-4"))
        self.assertEqual((answer.status, answer.body), (200, b"0123456789."))

    def test_not_satisfiable(self) -> None:
        """
        A part that lies behind the end is 416, which says how long the file is.
        """
        answer = self.get("/n.txt", ("Range", "bytes=99-"))
        self.assertEqual((answer.status, answer.body), (416, page(416)))
        self.assertEqual(answer.headers.items, [("Content-Range", "bytes */10"), ("Content-Type", "text/html")])

    def test_not_satisfiable_elsewhere(self) -> None:
        """
        An error page may stand for it.
        """
        asked = []

        def hook(request: Any, status: int) -> bool:
            asked.append(status)
            if len(asked) == 1:
                request.respond(200, b"mine")
            return len(asked) == 1

        self.site.server.place.error_page = hook
        self.assertEqual(self.get("/n.txt", ("Range", "bytes=99-")).body, b"mine")
        self.assertEqual(self.get("/n.txt", ("Range", "bytes=99-")).status, 416)
        self.assertEqual(asked, [416, 416])

    def test_if_range(self) -> None:
        """
        A part of another file than the client has is not sent.
        """
        self.assertEqual(self.get("/n.txt", ("Range", "bytes=0-0"), ("If-Range", '"x"')).status, 200)
        self.assertEqual(self.get("/n.txt", ("Range", "bytes=0-0"), ("If-Range", TAG)).status, 206)

    def test_not_modified(self) -> None:
        """
        A client that has the file is told so, with age and tag alone.
        """
        for field in (("If-None-Match", TAG), ("If-Modified-Since", DATE)):
            answer = self.get("/n.txt", field)
            self.assertEqual((answer.status, answer.body), (304, b""))
            self.assertEqual(answer.headers.items, [("Last-Modified", DATE), ("ETag", TAG)])
            assert answer.reply is not None
            self.assertIsNone(answer.reply.length)

    def test_if_modified_since(self) -> None:
        """
        How a date is compared is the operator's choice.
        """
        later = http_date(MemoryDisk.MODIFIED + 9)
        for word, date, status in (("exact", later, 200), ("before", later, 304), ("off", DATE, 200)):
            self.made(f"if_modified_since {word};")
            self.assertEqual(self.get("/n.txt", ("If-Modified-Since", date)).status, status, word)

    def test_precondition(self) -> None:
        """
        A condition that fails is 412.
        """
        answer = self.get("/n.txt", ("If-Match", '"x"'))
        self.assertEqual((answer.status, answer.body), (412, page(412)))


class FolderTests(StaticTestCase):
    """
    Directories.
    """

    def test_slash(self) -> None:
        """
        A folder without its slash is sent there, with its arguments, escaped as needed.
        """
        for target, location in (
            ("/dir", "http://www.example.com/dir/"),
            ("/dir?a=%20b", "http://www.example.com/dir/?a=%20b"),
            ("/odd%20dir", "http://www.example.com/odd%20dir/"),
            ("/%22%3c%5c%3e", "http://www.example.com/%22%3C%5C%3E/"),
        ):
            answer = self.get(target)
            self.assertEqual((answer.status, answer.field("location")), (301, location))

    def test_index(self) -> None:
        """
        A folder's index is found by an internal redirect.
        """
        answer = self.get("/idx/?a=b")
        self.assertEqual((answer.status, answer.body), (200, b"index"))
        self.assertEqual(answer.field("content-type"), "text/html")
        assert answer.request is not None
        self.assertEqual((answer.request.uri, answer.request.args), ("/idx/index.html", "a=b"))
        self.assertTrue(answer.request.internal)

    def test_indexes(self) -> None:
        """
        The first that is there counts; names may have variables, and the last may be a path of its own.
        """
        self.made("index a.html $host.txt; index n.txt /idx/index.html;")
        self.assertEqual(self.get("/").body, b"<a>")
        self.assertEqual(self.get("/dir/").body, b"index")
        self.disk.contents["/srv/dir/www.example.com.txt"] = b"mine"
        self.assertEqual(self.get("/dir/").body, b"mine")

    def test_forbidden(self) -> None:
        """
        A folder without an index is 403.
        """
        self.assertEqual(self.get("/dir/").status, 403)
        self.assertEqual(self.site.said(), ['[error] *1 directory index of "/srv/dir/" is forbidden'])

    def test_not_there(self) -> None:
        """
        What is no folder at all is 404.
        """
        self.assertEqual([self.get(target).status for target in ("/none/", "/n.txt/")], [404, 404])
        self.assertEqual(
            self.site.said(),
            [
                '[error] *1 "/srv/none/index.html" is not found (2: No such file or directory)',
                '[error] *1 "/srv/n.txt/index.html" is not found (20: Not a directory)',
            ],
        )
        self.made("log_not_found off;")
        self.assertEqual(self.get("/none/").status, 404)
        self.assertEqual(self.site.lines, [])

    def test_refused(self) -> None:
        """
        What may not be looked into is 403, and what cannot be is 500.
        """
        index = "/srv/idx/index.html"
        for refused, status, line in (
            ({index: errno.EACCES}, 403, f'[error] *1 "{index}" is forbidden (13: Refused)'),
            ({index: errno.EIO}, 500, f'[crit] *1 stat() "{index}" failed (5: Refused)'),
            ({index: errno.ENOENT, "/srv/idx": errno.EIO}, 500, '[crit] *1 stat() "/srv/idx/" failed (5: Refused)'),
            (
                {index: errno.ENOENT, "/srv/idx": errno.EACCES},
                403,
                '[error] *1 directory index of "/srv/idx/" is forbidden',
            ),
        ):
            self.made()
            self.disk.refused = refused
            self.assertEqual(self.get("/idx/").status, status)
            self.assertEqual(self.site.said(), [line])

    def test_became_a_file(self) -> None:
        """
        A folder that is none any more when it is asked again is our trouble.
        """
        self.disk.refused = {"/srv/n.txt/index.html": errno.ENOENT}
        self.assertEqual(self.get("/n.txt/").status, 500)
        self.assertEqual(self.site.said(), ['[alert] *1 "/srv/n.txt/index.html" is not a directory'])


class ModuleTests(StaticTestCase):
    """
    Directives and variables.
    """

    def test_variables(self) -> None:
        """
        The folder, its real path and the file's can be asked for.
        """
        site = self.made("index $document_root $realpath_root/$request_filename;")
        (names,) = site.server.scope[static.directives[4]]
        answer = self.get("/n.txt")
        self.assertEqual([name.render(answer.request) for name in names], ["/srv", "/real/srv//srv/n.txt"])

    def test_variables_of_nothing(self) -> None:
        """
        They are empty where a place has no files, where the folder is not there, and where the path climbs.
        """
        site = self.made('location /none { root /none; } index "<$document_root|$realpath_root|$request_filename>";')
        (names,) = site.server.scope[static.directives[4]]
        answer = self.get("/none")
        assert answer.request is not None
        self.assertEqual(names[0].render(answer.request), "</none||/none/none>")
        answer.request.uri = "/.."
        self.assertEqual(names[0].render(answer.request), "</none||>")
        answer.request.place.fallback = None
        self.assertEqual(names[0].render(answer.request), "<||>")
        self.assertIn('[crit] *1 realpath() "/none" failed (2: No such file or directory)', self.site.said())
        self.assertIn('[error] *1 unsafe URI "/.." was detected', self.site.said())

    def test_warned(self) -> None:
        """
        An index that is a path of its own and not the last is a warning.
        """
        self.assertEqual(
            self.made("\nindex /a b;").warnings,
            ['only the last index in "index" directive should be absolute in /etc/edge.conf:2'],
        )

    def test_wrong(self) -> None:
        """
        Mistakes are named with their line.
        """
        for text, words in (
            (
                "\nautoindex off; location / { autoindex on; }",
                '"autoindex" directive is not supported by sniproxy: folders are not listed',
            ),
            ('\nindex a "";', 'index "a" in "index" directive is invalid'),
            ("\nif_modified_since sometimes;", 'invalid value "sometimes"'),
            ("\nmax_ranges x;", '"max_ranges" directive invalid number'),
            ("\netag maybe;", 'invalid value "maybe" in "etag" directive, it must be "on" or "off"'),
        ):
            problem: ConfigErrors = self.assertRaises(ConfigErrors, self.made, text)
            self.assertEqual([str(each) for each in problem.errors], [words + " in /etc/edge.conf:2"])

    def test_interfaces(self) -> None:
        """
        It is a module, found as a plugin.
        """
        self.assertTrue(verifyObject(IModule, static))
        self.assertTrue(verifyObject(IPlugin, static))
