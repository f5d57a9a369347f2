"""
The arithmetic of the tables in docs/performance.md, what makes a row count, and whether the proxies are told the same.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import configurations, grown, odd
from benchmarks.bench import TURNS, Running
from benchmarks.growth import GROWTHS, Growth
from benchmarks.layout import ENTRANCES, SERVICES, Layout
from benchmarks.machine import openssl_of
from benchmarks.plot import picture
from benchmarks.profiles import functions, shares
from benchmarks.proxies import Kind, Proxy, Trouble, kinds
from benchmarks.report import NOTES, Measurement, Results, figure, kept_notes, page, ratios, spread, together, verdict
from benchmarks.rows import ROWS, Amount, Row
from benchmarks.run import STUDIES, options, sections
from benchmarks.web import WEBS, Web, lines_of
from benchmarks.workers import WORKERS
from sniproxy.errors import ConfigErrors
from sniproxy.service.load import load
from tests.support.pki import Files, authority, leaf

ROW = Row("connections", "a connection", "answer", "passed", must=1.5, goal=1.0, tls=True)
STREAMS = Row("bytes", "bytes", "bytes", "passed", must=0.35, goal=0.25, at_once=4, up=3_000_000_000)
GOOD = {"errors": 0, "short_reads": 0, "done": 3, "resumed": 0}


def results(ours: list[float], base: list[float]) -> Results:
    """
    Costs of some rounds.
    """
    found = Results()
    for proxy, costs in (("sniproxy", ours), ("nginx", base)):
        for cost in costs:
            found.add(ROW.name, proxy, Measurement(cost, 10.0, 20.0, 30.0))
    return found


class RatioTests(SynchronousTestCase):
    """
    L{Results}.
    """

    def test_within_rounds(self) -> None:
        """
        A ratio is the median of the rounds' quotients, not the quotient of their medians.
        """
        self.assertEqual(results([1.0, 8.0, 3.0], [1.0, 2.0, 4.0]).ratio("connections", "sniproxy"), 1.0)

    def test_failed_round(self) -> None:
        """
        A row in which one round failed has no figure, for the one or the other.
        """
        for failing in ("sniproxy", "nginx"):
            found = results([1.0, 1.0], [1.0, 1.0])
            found.fail("connections", failing, "short read")
            found.fail("connections", failing, "another")
            self.assertIsNone(found.ratio("connections", "sniproxy"))
            self.assertIsNone(found.middle("connections", failing))
            self.assertEqual(found.troubles, {("connections", failing): "short read"})

    def test_missing_round(self) -> None:
        """
        Rounds that only one of the two has done make no ratio.
        """
        self.assertIsNone(results([1.0, 1.0], [1.0]).ratio("connections", "sniproxy"))
        self.assertIsNone(results([], []).ratio("connections", "sniproxy"))

    def test_middle(self) -> None:
        """
        Each figure's median is its own.
        """
        found = Results()
        for one in (Measurement(3, 1, 5, 9), Measurement(1, 3, 4, 8), Measurement(2, 2, 6, 7)):
            found.add("row", "proxy", one)
        self.assertEqual(found.middle("row", "proxy"), Measurement(2, 2, 5, 8))

    def test_verdict(self) -> None:
        """
        A ratio on the bar has reached it.
        """
        told = [verdict(each, ROW) for each in (1.0, 1.01, 1.5, 1.51, None)]
        self.assertEqual(told, ["goal", "must", "must", "**missed**", "-"])

    def test_figures(self) -> None:
        """
        Figures have three digits that count.
        """
        told = [figure(each) for each in (1234.5, 56.78, 9.876, 0.5432, 0.0, None)]
        self.assertEqual(told, ["1,234", "56.8", "9.88", "0.543", "-", "-"])


class Named:
    """
    A proxy that only has a name.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def last_words(self) -> str:
        """
        The end of its log.
        """
        return f"{self.name} has ended"


class TurnTests(SynchronousTestCase):
    """
    L{Running}, and what the parts of a round make.
    """

    def setUp(self) -> None:
        self.results = Results()
        self.running = Running("connections", self.results)
        self.asked: list[str] = []

    def start(self, *names: str) -> None:
        """
        Let some come up.
        """
        for kind in kinds():
            if kind.name in names:
                named: Any = Named(kind.name)
                self.running.start(kind, lambda named=named: named)  # type: ignore[misc]

    def act(self, proxy: Any) -> Measurement:
        """
        Each turn costs one more than the one before; who is asked too often has ended.
        """
        self.asked.append(proxy.name)
        if self.asked.count(proxy.name) == 6:
            raise Trouble("no more")
        return Measurement(float(len(self.asked)))

    def test_together(self) -> None:
        """
        Equal shares of the work cost their mean, and their rate is that of all the work.
        """
        parts = [Measurement(1.0, 10.0, 5.0, 9.0, 70.0), Measurement(3.0, 30.0, 7.0, 11.0, 60.0)]
        self.assertEqual(together(parts), Measurement(2.0, 15.0, 6.0, 10.0, 70.0))
        self.assertEqual(together([Measurement(1.0), Measurement(2.0)]), Measurement(1.5))

    def test_in_turn(self) -> None:
        """
        In each round all take their turns, one after the other, a different one first each time.
        """
        self.start("sniproxy", "nginx", "haproxy")
        self.running.measure(1, self.act)
        order = "sniproxy nginx haproxy nginx haproxy sniproxy haproxy sniproxy nginx sniproxy nginx haproxy"
        self.assertEqual((self.asked, TURNS), (order.split(), 4))
        costs = [[each.cost for each in self.results.whole("connections", name)] for name in ("sniproxy", "nginx")]
        self.assertEqual(costs, [[(1 + 6 + 8 + 10) / 4], [(2 + 4 + 9 + 11) / 4]])

    def test_ended(self) -> None:
        """
        Who fails in one turn has no figure, tells why, and is not asked again; nor does who never came up.
        """

        def broken() -> Proxy:
            raise Trouble("it does not come up")

        self.running.measure(1, self.act)
        self.assertEqual(self.results, Results())
        self.start("sniproxy")
        self.running.start(kinds()[1], broken)
        self.running.measure(3, self.act)
        self.assertEqual(self.asked, ["sniproxy"] * 6)
        self.assertEqual(self.results.troubles["connections", "sniproxy"], "no more\nsniproxy has ended")
        self.assertEqual(self.results.troubles["connections", "nginx"], "it does not come up")
        self.assertEqual(self.results.whole("connections", "sniproxy"), [])


class PageTests(SynchronousTestCase):
    """
    What is written.
    """

    def test_ratios(self) -> None:
        """
        The table has a line for each row, with the shares of all proxies but the base, the bars, and which was reached.
        """
        lines = ratios([ROW], ["sniproxy", "nginx", "haproxy"], results([3.0], [2.0])).splitlines()
        self.assertEqual(lines[0], "| row | sniproxy | haproxy | must | goal | reached |")
        self.assertEqual(lines[2:], ["| a connection | 1.50 | - | 1.50 | 1.00 | must |"])
        bare = ratios([ROW], ["sniproxy", "nginx"], results([3.0], [2.0]), bars=False).splitlines()
        self.assertEqual(bare[0::2], ["| row | sniproxy |", "| a connection | 1.50 |"])

    def test_spread(self) -> None:
        """
        A ratio of several rounds says between what they lay.
        """
        told = [spread(each) for each in ([1.0, 3.0, 2.5], [1.5], [])]
        self.assertEqual(told, ["2.50 (1.00 to 3.00)", "1.50", "-"])

    def test_sections(self) -> None:
        """
        What was measured besides has a heading on the page, and nothing else has.
        """
        known = kinds()
        every = sections(ROWS, STUDIES, known, Results())
        self.assertEqual(list(every), ["HTTP", "Two workers", "As work grows", "Large and odd", "The portable relay"])
        self.assertEqual(sections(ROWS, (), known[:3], Results()), {})
        text = page([ROW], ["sniproxy", "nginx"], results([1.0], [2.0]), {}, 1, "p.svg", {"Two workers": "grows\n"}, "")
        self.assertIn("\n\n## Two workers\n\ngrows\n\n## How it was measured\n", text)

    def test_notes_are_kept(self) -> None:
        """
        What was written below the page comes back below the next.
        """
        first = page(
            [ROW], ["sniproxy", "nginx"], results([1.0], [2.0]), {"date": "today"}, 1, "p.svg", {}, "\nWhy so.\n"
        )
        self.assertTrue(first.endswith(f"{NOTES}\n\nWhy so.\n"))
        self.assertEqual(kept_notes(first), "\nWhy so.\n")
        self.assertEqual(kept_notes(""), "")

    def test_picture(self) -> None:
        """
        The picture is XML, and a bar is as long as its share.
        """
        drawn = ElementTree.fromstring(picture([ROW, STREAMS], ["sniproxy", "nginx"], results([1.0], [2.0])))
        space = "{http://www.w3.org/2000/svg}"
        bars = [float(each.attrib["width"]) for each in drawn.iter(f"{space}rect") if each.attrib.get("x") == "400"]
        one = next(each for each in drawn.iter(f"{space}path") if "stroke-dasharray" in each.attrib)
        self.assertEqual(len(bars), 1)
        self.assertAlmostEqual(bars[0], (float(one.attrib["d"][1:].split()[0]) - 400) / 2, places=0)
        self.assertIn("no figure", [each.text for each in drawn.iter(f"{space}text")])


class RowTests(SynchronousTestCase):
    """
    L{Row}.
    """

    def test_complaints(self) -> None:
        """
        A report counts when all was done, without an error, a short read or a resumption that nobody asked for.
        """
        self.assertEqual(ROW.complaint(Amount(3, 1), GOOD), "")
        for name in GOOD:
            spoiled = GOOD | {name: GOOD[name] + 1, "first_error": "why"}
            self.assertEqual(
                ROW.complaint(Amount(3, 1), spoiled),
                f"{name} {GOOD[name] + 1}, not {GOOD[name]}; first error: why",
            )

    def test_bytes_are_counted(self) -> None:
        """
        A stream that lacks a byte is noticed.
        """
        report = {"errors": 0, "short_reads": 0, "done": 4, "up": 39, "down": 0}
        self.assertEqual(STREAMS.complaint(Amount(4, 4, 10, 0), report), "up 39, not 40")
        self.assertEqual(STREAMS.complaint(Amount(4, 4, 10, 0), report | {"up": 40}), "")

    def test_scale(self) -> None:
        """
        A scale changes how much is done, but not how many do it at once, nor which way bytes go.
        """
        self.assertEqual(STREAMS.scaled(0.1), Amount(4, 4, 300_000_000, 0))
        self.assertEqual(STREAMS.scaled(0.1).bytes, 1_200_000_000)
        for row in ROWS:
            whole, part = row.scaled(1), row.scaled(0.5)
            if row.kind != "hold":
                self.assertEqual(whole.at_once, part.at_once)
            self.assertEqual(whole.count + whole.bytes > part.count + part.bytes, True, row.name)


class StudyTests(SynchronousTestCase):
    """
    What is measured besides the rows.
    """

    def test_growth(self) -> None:
        """
        Growth is the median of the rounds' quotients of the biggest and the smallest.
        """
        one = Row("one", "connection", "answer", "passed")
        growth = Growth("map", "Map", "entries", (10, 1_000), grown.table, lambda size: [one])
        found = Results()
        for size, costs in ((10, (1.0, 2.0, 1.0)), (1_000, (2.0, 2.0, 5.0))):
            for cost in costs:
                found.add(f"map connection {size}", "nginx", Measurement(cost))
        lines = growth.section(kinds()[1:2], found).splitlines()
        self.assertIn("| entries: |  | 10 | 1,000 | growth |", lines)
        self.assertIn("| connection, µs | nginx | 1.00 | 2.00 | 2.00 |", lines)
        self.assertIn("| reload, ms | nginx | - | - | - |", lines)
        found.fail("map", "nginx", "why")
        self.assertIn("| connection, µs | nginx | - | - | - |", growth.section(kinds()[1:2], found).splitlines())

    def test_workers(self) -> None:
        """
        The gain is that of each round.
        """
        found = Results()
        for rate in (10.0, 20.0):
            found.add("workers 1", "nginx", Measurement(50.0, rate))
            found.add("workers 2", "nginx", Measurement(60.0, rate * 1.5))
        self.assertEqual(WORKERS.gain("nginx", found), [1.5, 1.5])
        nginx = kinds()[1:2]
        self.assertIn("| nginx | 15.0 | 22.5 | 1.50 (1.50 to 1.50) | 50.0 | 60.0 |", WORKERS.section(nginx, found))
        found.fail("workers", "nginx", "why")
        self.assertIn("| nginx | - | - | - | - | - |", WORKERS.section(nginx, found))

    def test_odd(self) -> None:
        """
        What failed is told in the place of its figures.
        """
        found = Results()
        found.add("large", "nginx", Measurement(0.5, 1000.0, memory=3 * odd.MIB))
        found.fail("tls-large", "nginx", "memory grew\nwords")
        found.add("silent without", "nginx", Measurement(50.0, 1.0, 1000.0, 2000.0))
        found.add("silent with", "nginx", Measurement(51.0, 1.0, 1000.0, 4000.0))
        told = odd.section(odd.STREAMS, [odd.SILENCE], kinds()[1:2], found)
        self.assertIn("| nginx | 0.500 s/GB | 1,000 MB/s | 3.00 |", told)
        self.assertIn("| nginx | memory grew |  |  |", told)
        self.assertIn("| p99, ms | nginx | 2.00 | 4.00 |", told)

    def test_web(self) -> None:
        """
        Requests are scaled where they are what costs, else their bodies; the share of nginx's cost is told with bars.
        """
        small, down, up = WEBS
        self.assertEqual(small.amount(0.1), (2000, 1024, 0))
        self.assertEqual(small.amount(0.0001), (128, 1024, 0))
        self.assertEqual((down.amount(0.5), up.amount(0.5)), ((4, 125_000_000, 0), (4, 0, 125_000_000)))
        study = Web("connections", "requests", "/small", 4.0, 2.5, twisted=True)
        measured = results([30.0, 20.0], [10.0, 10.0])
        text = lines_of([study], measured)
        self.assertIn("| 2.50 (2.00 to 3.00) | 4.00 | 2.50 |", text)
        self.assertIn("| requests | twisted.web | - |", text)
        for cost in (75.0, 80.0):
            measured.add("connections", "twisted.web", Measurement(cost, 1.0, 1.0, 1.0))
        self.assertIn("costs 3.25 (2.50 to 4.00) times what sniproxy does; that", lines_of([study], measured))

    def test_options(self) -> None:
        """
        All rows go to docs/, some go nowhere, and a name that is none is an error.
        """
        self.assertEqual(options([]).output and Path(options([]).output).name, "docs")
        self.assertIsNone(options(["--seconds-scale", "0.5"]).output)
        some = options(["--rows", "map,trips"])
        self.assertEqual([each.name for each in (*some.rows, *some.studies)], ["trips", "map"])
        self.assertIsNone(some.output)
        with open(os.devnull, "w") as nowhere:
            self.patch(__import__("sys"), "stderr", nowhere)
            self.assertRaises(SystemExit, options, ["--rows", "trips,maps"])

    def test_names(self) -> None:
        """
        No two have one name.
        """
        names = [each.name for each in (*ROWS, *STUDIES)]
        self.assertEqual(len(set(names)), len(names))


class FairTests(SynchronousTestCase):
    """
    What the proxies are told.
    """

    def setUp(self) -> None:
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        root = authority("CA")
        files = leaf(root, "*.example.com", usage="server").write(folder, "server")
        ports = {name: 2000 + number for number, name in enumerate((*SERVICES, "secret", *ENTRANCES))}
        self.layout = Layout(folder, ports, files.certificate, files, files, Files(files.certificate, files.key))

    def test_one_file(self) -> None:
        """
        nginx, sniproxy and its portable relay read one and the same file.
        """
        by_name = {kind.name: kind.configuration for kind in kinds()}
        self.assertIs(by_name["sniproxy"], by_name["nginx"])
        self.assertIs(by_name["portable"], by_name["nginx"])

    def test_one_worker(self) -> None:
        """
        Each has one worker, or as many as are asked for.
        """
        for number in (1, 2):
            nginx = configurations.nginx(self.layout, self.layout.folder, number)
            haproxy = configurations.haproxy(self.layout, self.layout.folder, number)
            self.assertEqual(re.findall(r"^worker_processes (\d+);", nginx, re.MULTILINE), [str(number)])
            self.assertEqual(re.findall(r"^    nbthread (\d+)$", haproxy, re.MULTILINE), [str(number)])
        self.assertIn("worker_processes 1;", kinds()[0].configuration(self.layout, self.layout.folder))
        self.assertIn("nbthread 1\n", kinds()[2].configuration(self.layout, self.layout.folder))

    def test_all_log(self) -> None:
        """
        Both write a line for each session, wherever it comes in, and the lines tell as much.
        """
        nginx = configurations.nginx(self.layout, self.layout.folder)
        self.assertEqual(len(re.findall(r"access_log [^;]+ sessions;", nginx)), 1)
        self.assertNotIn("access_log off", nginx)
        haproxy = configurations.haproxy(self.layout, self.layout.folder)
        self.assertIn("defaults\n    mode tcp\n    log global\n    log-format", haproxy)
        in_nginx = re.findall(r"\$\w+", "".join(re.findall(r"log_format sessions ('[^;]*)", nginx)))
        in_haproxy = re.findall(r"%\S+", haproxy.partition("log-format ")[2].partition("\n")[0])
        self.assertEqual(len(in_nginx) - 1, len(in_haproxy))  # nginx has a variable for each kind of server name

    def test_all_look_up(self) -> None:
        """
        Both find the upstream by the name in a table, wherever a name comes in.
        """
        nginx = configurations.nginx(self.layout, self.layout.folder)
        haproxy = configurations.haproxy(self.layout, self.layout.folder)
        self.assertEqual(len(re.findall(r"proxy_pass \$(?:passed|ended);", nginx)), 3)
        self.assertEqual(haproxy.count("names.map,answer)]"), 3)
        entries = len(Path(self.layout.path("names.map")).read_text().splitlines())
        self.assertEqual(nginx.count(".example.com answer;"), 2)
        self.assertEqual(nginx.count(".example.com "), 2 * entries)

    def test_grown_files(self) -> None:
        """
        The files that grow are configurations, and have as many servers and entries as they should.
        """
        for growth in GROWTHS:
            size = growth.sizes[0]
            for second in ("before", "after"):
                text = growth.configuration(self.layout, self.layout.folder, size, second)
                path = self.layout.path("proxy.conf")
                Path(path).write_text(text.replace("user root;", ""))
                try:
                    load(path)
                except ConfigErrors as errors:
                    self.fail(f"{growth.name}: {errors}")
                self.assertIn(f"listen 127.0.0.1:{self.layout.ports[second]};", text)
            servers = text.count("server {")
            self.assertEqual(servers, 3 if growth.configuration in (grown.sessions, grown.table) else 2 + size)
        self.assertEqual(len(re.findall(r"com answer;", grown.table(self.layout, "", 1_000, "after"))), 1_000)

    def test_logged_bytes(self) -> None:
        """
        A log that tells other sizes than were carried is noticed.
        """
        proxy = Proxy.__new__(Proxy)
        proxy.kind = Kind("nginx", None, configurations.nginx, lambda *words: [], "access.log", ())
        proxy.folder = self.layout.folder
        log = Path(self.layout.path("access.log"))
        log.write_text("1 [now] TCP 200 108 1032 0.1 x\n" * 2)
        proxy.check_bytes(Amount(2, 2, 1000, 100), preread=False)
        for wrong in (Amount(2, 2, 1000, 101), Amount(2, 2, 1001, 100), Amount(3, 3, 1000, 100)):
            self.assertRaises(Trouble, proxy.check_bytes, wrong, preread=False)
        log.write_text("1 [now] -- 108 1332 0.1 x\n1 [now] 0 108 900 10 x\n")
        self.assertRaises(Trouble, proxy.check_bytes, Amount(2, 2, 1000, 100), preread=True)
        proxy.check_bytes(Amount(1, 1, 1000, 100), preread=True)

    def test_openssl_of(self) -> None:
        """
        A program that names no OpenSSL has an unknown one.
        """
        self.assertEqual(openssl_of("true"), "OpenSSL unknown")


class ProfileTests(SynchronousTestCase):
    """
    What profilers say, in short.
    """

    def test_shares(self) -> None:
        """
        Time is the kernel's, OpenSSL's, the interpreter's or somebody else's.
        """
        told = shares(
            [
                " 40.00% ;[kernel.kallsyms];[k] tcp_ack   ;-      -",
                " 25.00% ;libpython3.11.so.1.0;[.] _PyEval_EvalFrameDefault;-",
                "  5.00% ;_socket.cpython-311-x86_64-linux-gnu.so;[.] sock_recv;-",
                " 20.00% ;_rust.abi3.so;[.] sha512;-",
                " 10.00% ;libc.so.6;[.] malloc;-",
                "# a remark",
            ]
        )
        self.assertEqual(
            told.splitlines()[1:5],
            [
                "   40.0  kernel",
                "   30.0  interpreter and its library",
                "   20.0  OpenSSL",
                "   10.0  C library and others",
            ],
        )
        self.assertIn("   40.0  tcp_ack  ([kernel.kallsyms])", told)
        self.assertEqual(shares([]), "perf: no samples")

    def test_functions(self) -> None:
        """
        A function has what was spent in itself, and what it called, once however often it is on the stack.
        """
        stacks = [
            "run (twisted/x.py:1);a (sniproxy/a.py:1);b (sniproxy/b.py:1);a (sniproxy/a.py:1) 3",
            "b (sniproxy/b.py:1) 1",
        ]
        told = functions(stacks).splitlines()
        self.assertEqual(told[0], "functions of Python, % of 4 samples (py-spy)")
        self.assertEqual(told[3:5], ["   75.0  a (sniproxy/a.py:1)", "   25.0  b (sniproxy/b.py:1)"])
        self.assertEqual(told[7:], ["  100.0  b (sniproxy/b.py:1)", "   75.0  a (sniproxy/a.py:1)"])
        self.assertEqual(functions(["nothing"]), "py-spy: no samples")
