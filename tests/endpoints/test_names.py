"""
Tests of L{sniproxy.endpoints.names}.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.endpoints.names import ServerNames, Watch, anchored, canonical, read_file
from sniproxy.errors import ConfigError
from sniproxy.tls.policies import ServerPolicy
from tests.support import pki
from tests.tls.pump import NOW, Disk


class NamesCase(SynchronousTestCase):
    """
    Files in memory, and policies that name them.
    """

    def setUp(self) -> None:
        self.disk = Disk()
        self.authority = pki.authority()
        self.a = ServerPolicy((self.disk.add("a", pki.leaf(self.authority, "a.example")),))
        self.b = ServerPolicy((self.disk.add("b", pki.leaf(self.authority, "b.example")),))

    def names(self, policies: Any, default: Any = None) -> ServerNames:
        return ServerNames(policies, default, read=self.disk.read, clock=lambda: NOW)

    def path_of(self, names: ServerNames, name: str | None) -> str | None:
        context = names.choose(name)
        return None if context is None else context.credentials[0].certificate_path


class ServerNamesTests(NamesCase):
    """
    Who is served with what.
    """

    def test_one_policy_is_for_everybody(self) -> None:
        """
        A policy alone serves every client, whatever it asks for.
        """
        names = self.names(self.a)
        for name in (None, "a.example", "other.example"):
            self.assertEqual(self.path_of(names, name), "/a.pem")

    def test_exact_and_masks(self) -> None:
        """
        A whole name wins over a mask, and the longest mask over a shorter one.
        """
        names = self.names({"a.example": self.a, ("*.example", "www.*"): self.b})
        for name, path in (
            ("a.example", "/a.pem"),
            ("c.example", "/b.pem"),
            ("deep.a.example", "/b.pem"),
            ("www.org", "/b.pem"),
        ):
            self.assertEqual(self.path_of(names, name), path)

    def test_unknown_name_gets_nobodys_policy(self) -> None:
        """
        Without a default, a client that names nobody or somebody unknown gets no context, and never the first one.
        """
        names = self.names({"a.example": self.a})
        for name in (None, "", "b.example", "example", "xa.example"):
            self.assertIsNone(names.choose(name))

    def test_default_policy(self) -> None:
        """
        A default is for those who name nobody or somebody unknown.
        """
        names = self.names({"a.example": self.a}, self.b)
        self.assertEqual(self.path_of(names, "a.example"), "/a.pem")
        self.assertEqual(self.path_of(names, None), "/b.pem")
        self.assertEqual(self.path_of(names, "c.example"), "/b.pem")

    def test_default_name(self) -> None:
        """
        A default may be one of the names; one that is not there is refused.
        """
        names = self.names({"a.example": self.a, "b.example": self.b}, "B.example")
        self.assertIs(names.choose(None), names.choose("b.example"))
        self.assertRaisesRegex(ValueError, 'default "c" is not', self.names, {"a.example": self.a}, "c")

    def test_default_beside_everybody(self) -> None:
        """
        Where every client has a policy a default has no meaning and is refused.
        """
        self.assertRaises(ValueError, self.names, self.a, self.b)

    def test_each_entry_has_its_own_context(self) -> None:
        """
        Two names of equal policies have contexts of their own, so that a ticket of one is nothing to the other;
        names of one entry share.
        """
        names = self.names({"a.example": self.a, ("b.example", "c.example"): self.a})
        self.assertIsNot(names.choose("a.example"), names.choose("b.example"))
        self.assertIs(names.choose("c.example"), names.choose("b.example"))
        self.assertEqual(len(names.contexts), 2)

    def test_ready_context(self) -> None:
        """
        A context that is made already is taken as it is, and a reload leaves it alone.
        """
        context = self.disk.server(self.a)
        names = self.names({"a.example": context}, context)
        self.assertFalse(names.reload())
        self.assertIs(names.choose("a.example"), context)
        self.assertIs(names.choose(None), context)

    def test_bad_names(self) -> None:
        """
        A name that is none, or that is there twice in whatever spelling, is refused.
        """
        for policies in (
            {"": self.a},
            {"a*b.example": self.a},
            {"a.example": self.a, "A.example.": self.b},
            {"a.example": self.a, ("b.example", "a.example"): self.b},
            {"*": self.a},
        ):
            self.assertRaises(ValueError, self.names, policies)

    def test_warnings(self) -> None:
        """
        What contexts warn of is told once.
        """
        old = ServerPolicy(self.a.certificates, protocols=("SSLv3", "TLSv1.3"))
        names = self.names({"a.example": old, "b.example": old})
        self.assertEqual(len(names.warnings), 1)
        self.assertIn("SSLv3", names.warnings[0])

    def test_canonical(self) -> None:
        """
        Names are compared as clients send them.
        """
        for name, sent in (
            ("WWW.Example.", "www.example"),
            ("*.Bücher.example", "*.xn--bcher-kva.example"),
            ("straße.example", "xn--strae-oqa.example"),
        ):
            self.assertEqual(canonical(name), sent)
        self.assertRaises(ValueError, canonical, "\u2028.example")

    def test_anchored(self) -> None:
        """
        Relative paths are against the working directory of now; what is empty stays empty.
        """
        policy = anchored(ServerPolicy((("a.pem", "a.key"),), client_certificate="ca.pem", crl="/x/crl.pem"))
        here = os.getcwd()
        self.assertEqual(policy.certificates, ((f"{here}/a.pem", f"{here}/a.key"),))
        self.assertEqual(policy.client_certificate, f"{here}/ca.pem")
        self.assertEqual((policy.crl, policy.trusted_certificate, policy.dhparam), ("/x/crl.pem", "", ""))


class ReloadTests(NamesCase):
    """
    Files that change.
    """

    def test_renewed_certificate(self) -> None:
        """
        Another content makes another context, of that entry alone.
        """
        names = self.names({"a.example": self.a, "b.example": self.b})
        a, b = names.choose("a.example"), names.choose("b.example")
        self.disk.add("a", pki.leaf(self.authority, "a.example"))
        self.assertTrue(names.reload())
        self.assertIsNot(names.choose("a.example"), a)
        self.assertIs(names.choose("b.example"), b)

    def test_touched_file(self) -> None:
        """
        The same content changes nothing, so sessions go on.
        """
        names = self.names(self.a)
        context = names.choose(None)
        self.disk.files = dict(self.disk.files)
        self.assertFalse(names.reload())
        self.assertIs(names.choose(None), context)

    def test_every_file_counts(self) -> None:
        """
        New authorities and new revocation lists make a new context too: nobody resumes what they forbid.
        """
        trust = self.disk.trust("ca", self.authority)
        self.disk.files["/crl"] = pki.crl(self.authority)
        names = self.names(ServerPolicy(self.a.certificates, verify="on", client_certificate=trust, crl="/crl"))
        context = names.choose(None)
        self.disk.trust("ca", self.authority, pki.authority("Another"))
        self.assertTrue(names.reload())
        self.disk.files["/crl"] = pki.crl(self.authority, pki.leaf(self.authority))
        self.assertTrue(names.reload())
        self.assertIsNot(names.choose(None), context)
        self.assertFalse(names.reload())

    def test_broken_file_changes_nothing(self) -> None:
        """
        When one file cannot be used all stays as it was, the other names included.
        """
        names = self.names({"a.example": self.a, "b.example": self.b})
        a, b = names.choose("a.example"), names.choose("b.example")
        self.disk.add("a", pki.leaf(self.authority, "a.example"))
        self.disk.files["/b.key"] = pki.leaf(self.authority).key_pem
        self.assertRaisesRegex(ConfigError, "key values mismatch", names.reload)
        self.assertIs(names.choose("a.example"), a)
        self.assertIs(names.choose("b.example"), b)

    def test_missing_file(self) -> None:
        """
        A file that is gone is an error, at first and at a reload.
        """
        names = self.names(self.a)
        key = self.disk.files.pop("/a.key")
        self.assertRaisesRegex(ConfigError, "cannot load certificate key", names.reload)
        self.assertRaises(ConfigError, self.names, self.a)
        self.disk.files["/a.key"] = key
        self.assertFalse(names.reload())

    def test_each_file_is_read_once(self) -> None:
        """
        A reload reads each file once, however many names need it; a look-up reads none.
        """
        read: list[str] = []

        def counting(path: str) -> bytes:
            read.append(path)
            return self.disk.read(path)

        names = ServerNames({"a.example": self.a, "b.example": self.a}, read=counting, clock=lambda: NOW)
        self.assertEqual(sorted(read), ["/a.key", "/a.pem"])
        read.clear()
        for number in range(1000):
            names.choose(f"{number}.example")
        self.assertEqual(read, [])
        names.reload()
        self.assertEqual(sorted(read), ["/a.key", "/a.pem"])

    def test_policies_made_anew(self) -> None:
        """
        A callable makes the mapping at each reload: names come and go with it.
        """
        wanted: Any = {"a.example": self.a}
        names = self.names(lambda read: wanted)
        wanted = {"b.example": self.b}
        self.assertTrue(names.reload())
        self.assertIsNone(names.choose("a.example"))
        self.assertEqual(self.path_of(names, "b.example"), "/b.pem")

    def test_read_file(self) -> None:
        """
        Files are read from the disk unless somebody says otherwise.
        """
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"content")
        self.assertEqual(read_file(path), b"content")
        self.assertRaises(OSError, read_file, path + "x")


class WatchTests(NamesCase):
    """
    Looking at the files now and then.
    """

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.table = self.names(self.a)
        self.watch = Watch(self.table, self.clock, 60.0)

    def said(self, text: str) -> int:
        return sum(text in (formatEvent(event) or "") for event in self.events)

    def test_renewed(self) -> None:
        """
        A renewed certificate is in use after the next look, and not before.
        """
        before = self.table.choose(None)
        self.disk.add("a", pki.leaf(self.authority, "a.example"))
        self.clock.advance(59)
        self.assertIs(self.table.choose(None), before)
        self.clock.advance(1)
        self.assertIsNot(self.table.choose(None), before)

    def test_trouble_is_told_once(self) -> None:
        """
        What cannot be used is logged once as long as it is the same, then again when it came back.
        """
        self.events: list[Any] = []
        observe: Any = self.events.append
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        before = self.table.choose(None)
        key = self.disk.files.pop("/a.key")
        self.clock.advance(60)
        self.clock.advance(60)
        self.assertEqual(self.said("cannot be used"), 1)
        self.assertIs(self.table.choose(None), before)
        self.disk.files["/a.key"] = key
        self.clock.advance(60)
        del self.disk.files["/a.key"]
        self.clock.advance(60)
        self.assertEqual(self.said("cannot be used"), 2)

    def test_fault_does_not_end_it(self) -> None:
        """
        An exception nobody expected is logged with its traceback, and the next look takes place.
        """
        read = self.disk.read

        def broken(path: str) -> bytes:
            raise RuntimeError("no")

        self.table._read = broken
        self.clock.advance(60)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.table._read = read
        self.disk.add("a", pki.leaf(self.authority, "a.example"))
        before = self.table.choose(None)
        self.clock.advance(60)
        self.assertIsNot(self.table.choose(None), before)

    def test_stop(self) -> None:
        """
        A watch that was stopped leaves nothing in the clock, however often it is stopped.
        """
        self.watch.stop()
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
