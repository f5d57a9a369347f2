"""
The configuration blocks of published articles: those that are right are accepted, those printed with a fault are
refused for it, as nginx refuses them.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config import values
from sniproxy.config.directives import MANY, Directive, Repeat
from tests.config.mini import DOCUMENTS, MODULES, OTHERS, Module, faults

INSIDE = ("http", "http.server", "http.server.location")

HTTP = Module(
    "http",
    (
        Directive("http", ("main",), (0, 0), values.block, None, opens="http"),
        Directive("upstream", ("http",), (1, 1), values.block, (), repeat=Repeat.LISTED, opens="http.upstream"),
        Directive("server", ("http.upstream",), (1, MANY), values.words, (), repeat=Repeat.LISTED),
        Directive("server", ("http",), (0, 0), values.block, (), repeat=Repeat.LISTED, opens="http.server"),
        Directive("listen", ("http.server",), (1, MANY), values.words, (), repeat=Repeat.LISTED),
        Directive("server_name", ("http.server",), (1, MANY), values.words, ()),
        Directive("location", ("http.server",), (1, 2), values.block, (), repeat=Repeat.LISTED, opens=INSIDE[2]),
        Directive("proxy_pass", (INSIDE[2],), (1, 1), values.text, ""),
        *(
            Directive(other.name, INSIDE, (1, MANY if "protocols" in other.name else 1), values.words, ())
            for other in OTHERS
        ),
    ),
)
"""As much of HTTP as the articles need to be judged."""

DOTS = 'unknown directive "..." in F:'
ENDS = 'unexpected "}" in F:'
BRACE = ['"server" directive is not allowed here in F:41', 'unexpected end of file, expecting "}" in F:56']


class Documents(SynchronousTestCase):
    """
    Each block, inside the block it belongs to.
    """

    def faults(self, name: str, around: str) -> list[str]:
        """
        What is wrong with a block inside of others, without changing its lines.
        """
        source = around.encode().replace(b"%", DOCUMENTS[name])
        return faults(source, (*MODULES, HTTP))

    def test_streams(self) -> None:
        """
        What the articles print for stream is right as it stands.
        """
        whole = [name for name in DOCUMENTS if DOCUMENTS[name].startswith(b"stream {")]
        self.assertEqual(len(whole), 8)
        for name in whole:
            self.assertEqual(self.faults(name, "%"), [], name)

    def test_fragments(self) -> None:
        """
        So are the fragments, with what they refer to around them.
        """
        target = "map $remote_addr $proxy_pass_target {}"
        for name, source in DOCUMENTS.items():
            if not name.startswith("machines") or source.startswith(b"stream {"):
                continue
            around = "stream { server { % } }" if name == "machines_14" else "stream {" + target + " % }"
            self.assertEqual(self.faults(name, around), [], name)

    def test_locations(self) -> None:
        """
        Fragments of HTTP: the dots and the missing semicolon are faults, the dots in comments are not.
        """
        words = "http { server { % } }"
        for name, expected in (
            ("upstreams_00", []),
            ("upstreams_01", [ENDS + "5"]),
            ("upstreams_02", [DOTS + "3", ENDS + "7", DOTS + "7"]),
            ("upstreams_03", [DOTS + "3", ENDS + "5", DOTS + "5"]),
            ("upstreams_04", [DOTS + "3"]),
            *((f"flows_0{number}", []) for number in range(5)),
        ):
            self.assertEqual(self.faults(name, words), expected, name)

    def test_servers(self) -> None:
        """
        The same of whole servers.
        """
        for name, expected in (
            ("upstreams_05", [DOTS + "8", ENDS + "11"]),
            ("upstreams_06", [DOTS + "3", ENDS + "6", DOTS + "6"]),
            ("flows_05", []),
            ("flows_06", []),
        ):
            self.assertEqual(self.faults(name, "http { % }"), expected, name)

    def test_whole_http(self) -> None:
        """
        The complete examples lack a brace, so that a server stands in another; the older one has more faults.
        """
        self.assertEqual(self.faults("flows_07", "%"), BRACE)
        self.assertEqual(
            self.faults("upstreams_07", "%"),
            [DOTS + "3", DOTS + "13", ENDS + "39", DOTS + "39", BRACE[0], ENDS + "53", BRACE[1]],
        )

    def test_semicolon(self) -> None:
        """
        Where a semicolon is missing the next directive becomes arguments, and the line is that of the next semicolon.
        """
        source = DOCUMENTS["upstreams_07"].replace(b"...", b"#..")
        self.assertEqual(
            faults(source, (*MODULES, HTTP)),
            ['invalid number of arguments in "proxy_ssl_certificate_key" directive in F:17', *BRACE],
        )
