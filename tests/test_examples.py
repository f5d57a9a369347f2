"""
Can the examples be copied? Each configuration is loaded as an operator would load it, beside certificates made for it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.listen import listenings
from sniproxy.common.server import no_content
from sniproxy.config.dump import dump
from sniproxy.errors import ConfigErrors
from sniproxy.service.load import load
from tests.support.house import TOP
from tests.support.pki import authority, leaf, write

EXAMPLES = TOP / "examples"
PAGES = ("README.md", "docs/configuration.md")


def printed(page: str) -> list[str]:
    """
    The configurations in a page.
    """
    return re.findall(r"^```nginx\n(.*?)^```$", (TOP / page).read_text(), re.MULTILINE | re.DOTALL)


class ExamplesTests(SynchronousTestCase):
    """
    Every configuration that is there to be copied.
    """

    maxDiff = None

    def setUp(self) -> None:
        """
        A folder with the examples, and with the certificates and keys they name.
        """
        self.folder = Path(self.mktemp()).resolve()
        shutil.copytree(EXAMPLES, self.folder, ignore=shutil.ignore_patterns("plugin", "*.md", "__pycache__"))
        root = authority("Example CA")
        for name in ("server", "client"):
            identity = leaf(root, f"{name}.example.com")
            write(self.folder / "ssl", f"{name}.crt", identity.full_pem)
            write(self.folder / "ssl", f"{name}.key", identity.key_pem)
        for name in ("ca_for_a.crt", "ca_for_b.crt"):
            write(self.folder / "ssl", name, root.pem)

    def check(self, path: Path) -> None:
        """
        A configuration is accepted without a warning, has an address to listen on and a content for each server, and is
        the same when it is dumped and read again.
        """
        try:
            build = load(str(path))
        except ConfigErrors as errors:
            self.fail(f"{path.name}:\n{errors}\n{path.read_text()}")
        self.assertEqual([str(warning) for warning in build.warnings], [])
        found = listenings(build)
        self.assertNotEqual(found, ())
        for listening in found:
            for server in listening.servers:
                self.assertIsNot(server.content, no_content)
        again = path.with_name("again.conf")
        again.write_text(dump(build))
        try:
            self.assertEqual([each.text for each in listenings(load(str(again)))], [each.text for each in found])
        except ConfigErrors as errors:
            self.fail(f"{path.name} dumped:\n{errors}\n{again.read_text()}")

    def test_files(self) -> None:
        """
        Each example passes --test as it stands.
        """
        paths = sorted(self.folder.glob("*.conf"))
        self.assertGreaterEqual(len(paths), 5)
        for path in paths:
            self.check(path)

    def test_pages(self) -> None:
        """
        Each configuration printed in a page passes, too.
        """
        texts = [text for page in PAGES for text in printed(page)]
        self.assertGreaterEqual(len(texts), 7)
        for number, text in enumerate(texts):
            path = self.folder / f"printed-{number}.conf"
            path.write_text(text)
            self.check(path)

    def test_listed(self) -> None:
        """
        The page about the examples names each of them, and nothing else.
        """
        named = set(re.findall(r"^\| \[([^\]]+)\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE))
        there = {path.name for path in EXAMPLES.glob("*.conf")}
        there |= {f"{path.name}/" for path in EXAMPLES.iterdir() if (path / "README.md").is_file()}
        self.assertEqual(named, there)

    def test_a_spoiled_one(self) -> None:
        """
        An example that is spoiled does not pass: the test above looks.
        """
        path = self.folder / "edge.conf"
        path.write_text(path.read_text().replace("ssl_preread on", "ssl_preread maybe"))
        self.assertRaises(self.failureException, self.check, path)
        (self.folder / "ssl/server.key").unlink()
        self.assertRaises(self.failureException, self.check, self.folder / "machine-a.conf")
