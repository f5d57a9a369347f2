"""
Tests for L{sniproxy.service.load}.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.listen import listenings
from sniproxy.errors import ConfigErrors
from sniproxy.plugins import shipped
from sniproxy.service import load as under_test
from sniproxy.service.core import PID
from sniproxy.service.load import load, lookup, modules, read
from sniproxy.service.snapshot import World


class ModulesTests(SynchronousTestCase):
    """
    Which modules there are.
    """

    def test_shipped(self) -> None:
        """
        All that ship are found, in the order of their names.
        """
        found = modules()
        for name in shipped.__all__:
            self.assertIn(getattr(shipped, name), found)
        self.assertEqual([module.name for module in found], sorted(module.name for module in found))

    def test_once(self) -> None:
        """
        A module that is found twice, or another of the same name, counts once: the first.
        """
        one, two = SimpleNamespace(name="a"), SimpleNamespace(name="a")
        self.patch(under_test, "getPlugins", lambda interface, package: [one, two, one])
        self.assertEqual(modules(), (one,))


class LookupTests(SynchronousTestCase):
    """
    Names of hosts at start-up.
    """

    def resolve(self, *answers: Any) -> tuple[str, ...]:
        """
        What a name is when the system answers this.
        """
        self.patch(socket, "getaddrinfo", lambda *asked, **kind: [(0, 0, 0, "", answer) for answer in answers])
        return lookup("a.example")

    def test_each_once(self) -> None:
        """
        Addresses come in the system's order, each once, without the zone of a link.
        """
        self.assertEqual(
            self.resolve(("192.0.2.1", 0), ("fe80::1%eth0", 0, 0, 2), ("192.0.2.1", 0)), ("192.0.2.1", "fe80::1")
        )

    def test_numeric(self) -> None:
        """
        A numeric address is itself.
        """
        self.assertEqual(lookup("127.0.0.1"), ("127.0.0.1",))

    def test_no_name(self) -> None:
        """
        What can be no name at all is not found, as any other.
        """
        self.assertRaises(OSError, lookup, "a" * 64 + ".example")


class LoadTests(SynchronousTestCase):
    """
    From a file's name to a configuration.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()

    def file(self, text: str, name: str = "edge.conf") -> str:
        """
        Write a file.
        """
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def test_whole(self) -> None:
        """
        A file is read with what it includes, and its servers are there.
        """
        self.file("server { listen 192.0.2.1:1; proxy_pass 192.0.2.2:2; }", "one.inc")
        self.file("server { listen 192.0.2.1:2; proxy_pass localhost:2; }", "two.inc")
        build = load(self.file("stream { include *.inc; }"))
        self.assertEqual({listening.text for listening in listenings(build)}, {"192.0.2.1:1", "192.0.2.1:2"})

    def test_relative(self) -> None:
        """
        A relative name is one in the folder where the process runs, and errors show it whole.
        """
        path = self.file("bogus;")
        error = self.assertRaises(ConfigErrors, load, os.path.relpath(path))
        self.assertEqual(str(error), f'[emerg] unknown directive "bogus" in {path}:1')

    def test_prefix(self) -> None:
        """
        Logs are relative to the prefix, or else to the file's folder.
        """
        path = self.file("pid edge.pid;")
        self.assertEqual(load(path).root[PID], str(self.folder / "edge.pid"))
        self.assertEqual(load(path, "/run/here").root[PID], "/run/here/edge.pid")
        self.assertEqual(load(path, "here").root[PID], os.path.abspath("here/edge.pid"))

    def test_globals(self) -> None:
        """
        Directives of the command line come before the file's.
        """
        self.assertEqual(load(self.file(""), None, "pid /run/a.pid;").root[PID], "/run/a.pid")

    def test_another_world(self) -> None:
        """
        All that a configuration depends on is asked of the world it is given.
        """
        asked: list[str] = []

        def read(path: str) -> bytes:
            asked.append(path)
            return b"stream { include *.inc; }" if path == "/a.conf" else b"upstream u { server h:1; }"

        def listed(pattern: str) -> list[str]:
            asked.append(pattern)
            return ["/b.inc"]

        def lookup(host: str) -> tuple[str, ...]:
            asked.append(host)
            return ("192.0.2.1",)

        build = load("/a.conf", asked=World(read, listed, lookup))
        self.assertEqual(asked, ["/a.conf", "/*.inc", "/b.inc", "h"])
        # what names of clients lead to is on the disk as it is then
        self.assertEqual(build.live(self.file("later")), b"later")

    def test_missing(self) -> None:
        """
        A file that cannot be read is one line, in nginx's words.
        """
        path = str(self.folder / "nowhere.conf")
        error = self.assertRaises(ConfigErrors, load, path)
        self.assertEqual(str(error), f'[emerg] open() "{path}" failed (2: No such file or directory)')
        error = self.assertRaises(ConfigErrors, load, str(self.folder))
        self.assertIn("failed (21: Is a directory)", str(error))

    def test_read(self) -> None:
        """
        Files are read as bytes.
        """
        self.assertEqual(read(self.file("a")), b"a")
