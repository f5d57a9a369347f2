"""
The arithmetic of the table in docs/performance.md, and what makes a row count.
"""

from __future__ import annotations

from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.plot import picture
from benchmarks.report import NOTES, Measurement, Results, figure, kept_notes, page, ratios, verdict
from benchmarks.rows import ROWS, Amount, Row

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

    def test_notes_are_kept(self) -> None:
        """
        What was written below the page comes back below the next.
        """
        first = page([ROW], ["sniproxy", "nginx"], results([1.0], [2.0]), {"date": "today"}, 1, "p.svg", "\nWhy so.\n")
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
