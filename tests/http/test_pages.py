"""
nginx's own pages.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.limits import Limits
from sniproxy.http.pages import hides_short_pages, page, page_of, signature

MSIE = "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36"


class PageTests(SynchronousTestCase):
    """
    Pages, byte for byte.
    """

    def test_whole(self) -> None:
        """
        A page is what nginx sends, with CRLF at the end of each line.
        """
        self.assertEqual(
            page(404),
            b"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n"
            b"<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx/1.31.5</center>\r\n</body>\r\n</html>\r\n",
        )

    def test_own_words(self) -> None:
        """
        A page may say something else than the status line.
        """
        self.assertIn(b"<title>302 Found</title>", page(302))
        self.assertIn(b"<h1>401 Authorization Required</h1>", page(401))

    def test_bad_requests(self) -> None:
        """
        nginx's own statuses are bad requests with a line that says why.
        """
        for status, text in (
            (494, b"Request Header Or Cookie Too Large"),
            (495, b"The SSL certificate error"),
            (496, b"No required SSL certificate was sent"),
            (497, b"The plain HTTP request was sent to HTTPS port"),
        ):
            self.assertIn(b"<title>400 " + text + b"</title>", page(status))
            self.assertIn(b"<h1>400 Bad Request</h1></center>\r\n<center>" + text + b"</center>\r\n<hr>", page(status))

    def test_none(self) -> None:
        """
        Statuses without a page have an empty body, and the one that falls into a gap of nginx's table has another's.
        """
        for status in (200, 201, 204, 300, 304, 305, 407, 418, 499, 506, 599):
            self.assertEqual(page(status), b"", status)
        self.assertEqual(page(498), page(404))

    def test_tokens(self) -> None:
        """
        How much is told of the server is the operator's choice.
        """
        self.assertIn(b"<hr><center>nginx</center>", page(500, "off"))
        self.assertEqual(page(500, "build"), page(500, "on"))
        self.assertEqual(
            [signature(each) for each in ("on", "off", "build")], ["nginx/1.31.5", "nginx", "nginx/1.31.5"]
        )

    def test_padding(self) -> None:
        """
        Errors are padded to more than half a kilobyte; redirects are not.
        """
        padding = page(404, padded=True)[len(page(404)) :]
        self.assertEqual(padding, b"<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n" * 6)
        self.assertEqual(page(301, padded=True), page(301))
        self.assertEqual(page(418, padded=True), b"")

    def test_browsers(self) -> None:
        """
        MSIE and Chrome hide short pages; those that only say so do not.
        """
        for agent, hides in (
            (MSIE, True),
            (CHROME, True),
            (MSIE + " Opera", False),
            (CHROME + " Opera", False),
            ("Gecko/1 Chrome/1", False),
            ("MSIE 6", False),
            ("curl/8", False),
            ("", False),
        ):
            self.assertIs(hides_short_pages(agent), hides, agent)

    def test_of_a_place(self) -> None:
        """
        The settings of a place and the client decide about the page; what is told may be another status.
        """
        self.assertEqual(page_of(404, Limits(), CHROME), (404, page(404, padded=True)))
        self.assertEqual(page_of(404, Limits(msie_padding=False), CHROME), (404, page(404)))
        self.assertEqual(page_of(404, Limits(server_tokens="off"), ""), (404, page(404, "off")))
        self.assertEqual(page_of(495, Limits(), ""), (400, page(495)))
        self.assertEqual(page_of(418, Limits(), CHROME), (418, None))
