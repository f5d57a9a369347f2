"""
Tests for L{sniproxy.tls.named}: contexts by the content of files.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.errors import ConfigError
from sniproxy.tls.named import MOST, Contents, Keep, NamedContexts, Once, Pairs
from sniproxy.tls.pem import Read
from tests.tls.pump import Disk


class Counting:
    """
    A disk that counts what is read.
    """

    def __init__(self, **files: bytes) -> None:
        self.files = dict(files)
        self.asked: list[str] = []

    def read(self, path: str) -> bytes:
        """
        As a disk would.
        """
        self.asked.append(path)
        return Disk(self.files).read(path)


class ContentsTests(SynchronousTestCase):
    """
    L{Contents}.
    """

    def test_no_cache(self) -> None:
        """
        Without a cache each question is answered by the disk.
        """
        disk = Counting(a=b"1")
        contents = Contents(disk.read, None)
        self.assertEqual((contents.get("a", 0), contents.get("a", 0), len(contents)), (b"1", b"1", 0))
        self.assertEqual(disk.asked, ["a", "a"])

    def test_valid(self) -> None:
        """
        With one it is remembered as long as it is valid, from when it was read.
        """
        disk = Counting(a=b"1")
        contents = Contents(disk.read, Keep(2, inactive=100, valid=5))
        self.assertEqual(contents.get("a", 10), b"1")
        disk.files["a"] = b"2"
        self.assertEqual([contents.get("a", now) for now in (12, 15, 16, 21)], [b"1", b"1", b"2", b"2"])

    def test_inactive(self) -> None:
        """
        What nobody has asked for is forgotten; who is asked for stays.
        """
        disk = Counting(a=b"1", b=b"2")
        contents = Contents(disk.read, Keep(2, inactive=5, valid=100))
        for now in (0, 4, 8, 12):
            contents.get("a", now)
        contents.get("b", 12)
        self.assertEqual((disk.asked, len(contents)), (["a", "b"], 2))
        contents.get("b", 17)
        contents.get("a", 18)
        self.assertEqual((disk.asked, len(contents)), (["a", "b", "a"], 2))

    def test_most(self) -> None:
        """
        Of more files than there is room for the one that was used the longest ago goes.
        """
        disk = Counting(a=b"1", b=b"2", c=b"3")
        contents = Contents(disk.read, Keep(2))
        for path in "abacab":
            contents.get(path, 0)
        self.assertEqual((disk.asked, len(contents)), (["a", "b", "c", "b"], 2))

    def test_failures(self) -> None:
        """
        A failure is not remembered, and what was known before is not used in its place.
        """
        disk = Counting()
        contents = Contents(disk.read, Keep(2, valid=5))
        self.assertRaises(FileNotFoundError, contents.get, "a", 0)
        disk.files["a"] = b"1"
        self.assertEqual(contents.get("a", 0), b"1")
        del disk.files["a"]
        self.assertRaises(FileNotFoundError, contents.get, "a", 6)


class OnceTests(SynchronousTestCase):
    """
    L{Once}.
    """

    def test_remembers(self) -> None:
        """
        A file is what it was when it was first read.
        """
        disk = Counting(a=b"1")
        once = Once(disk.read)
        self.assertEqual(once.read("a"), b"1")
        disk.files["a"] = b"2"
        self.assertEqual((once.read("a"), disk.asked), (b"1", ["a"]))
        self.assertRaises(FileNotFoundError, once.read, "b")


class NamedContextsTests(SynchronousTestCase):
    """
    L{NamedContexts}, with texts in the place of contexts.
    """

    def setUp(self) -> None:
        self.disk = Counting(a=b"1", b=b"2", c=b"1")
        self.made: list[bytes] = []
        self.contexts: NamedContexts[bytes] = NamedContexts(
            self.make, Contents(self.disk.read, None), Once(self.disk.read).read
        )

    def make(self, pairs: Pairs, read: Read) -> bytes:
        """
        All that a context would read.
        """
        try:
            text = b"".join(
                path[5:].encode() if path.startswith("data:") else read(path) for pair in pairs for path in pair
            )
            self.made.append(text + read("other"))
        except OSError as error:
            raise ConfigError(str(error)) from None
        return self.made[-1]

    def get(self, *pairs: tuple[str, str]) -> bytes:
        """
        The context for these names.
        """
        return self.contexts.get(pairs, 0.0)

    def test_by_content(self) -> None:
        """
        What is the same by content is one context, whatever its name; what was changed is another.
        """
        self.disk.files["other"] = b"!"
        self.assertEqual((self.get(("a", "b")), self.get(("c", "b")), self.get(("b", "a"))), (b"12!", b"12!", b"21!"))
        self.assertEqual(self.made, [b"12!", b"21!"])
        self.disk.files["a"] = b"3"
        self.disk.files["other"] = b"?"
        self.assertEqual((self.get(("a", "b")), len(self.contexts)), (b"32!", 3))

    def test_borders(self) -> None:
        """
        Where one file ends and the next begins makes a difference, and so does what is written down.
        """
        self.disk.files.update(other=b"", d=b"12", e=b"")
        self.get(("d", "e"))
        self.get(("a", "b"))
        self.get(("data:1", "data:2"))
        self.get(("data:1", "data:3"))
        self.assertEqual(self.made, [b"12", b"12", b"12", b"13"])

    def test_failures(self) -> None:
        """
        What cannot be read is told by whoever makes contexts, each time anew, and nothing of it is kept.
        """
        self.disk.files["other"] = b"!"
        for _ in range(2):
            error = self.assertRaises(ConfigError, self.get, ("a", "nope"))
            self.assertIn("No such file", str(error))
        self.assertEqual((len(self.contexts), self.made), (0, []))
        self.disk.files["nope"] = b"5"
        self.assertEqual(self.get(("a", "nope")), b"15!")

    def test_most(self) -> None:
        """
        The one that was not asked for the longest goes first.
        """
        self.disk.files["other"] = b""
        for number in range(MOST):
            self.get((f"data:{number}", "data:"))
        self.get(("data:0", "data:"))
        self.get(("data:new", "data:"))
        self.assertEqual(len(self.contexts), MOST)
        count = len(self.made)
        self.get(("data:0", "data:"))
        self.assertEqual(len(self.made), count)
        self.get(("data:1", "data:"))
        self.assertEqual(len(self.made), count + 1)
