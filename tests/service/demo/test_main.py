"""
Tests for L{sniproxy.service.demo.main}.
"""

from __future__ import annotations

import io
import os
import pwd
import random
import socket
import sys
import tempfile
from types import SimpleNamespace
from typing import Any

from cryptography import x509
from twisted.application.service import Application
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, Logger
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.errors import ConfigErrors
from sniproxy.service.demo import main
from sniproxy.service.demo.machines import choose_ports, is_free
from sniproxy.service.demo.main import SIGNALS, DemoService, login_name, quiet_log, uses_proxy
from sniproxy.service.demo.sshd import NoSshdError, Sshd
from tests.support.programs import read_text


class Reactor(MemoryReactorClock):
    """
    Remembers whether it was stopped.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stops = 0

    def stop(self) -> None:
        """
        Count.
        """
        self.stops += 1

    def callFromThread(self, function: Any, *args: Any, **kw: Any) -> None:
        """
        At once.
        """
        function(*args, **kw)


def nothing_installed(program: str) -> None:
    """
    No program is anywhere.
    """


def all_installed(program: str) -> str:
    """
    Every program is somewhere.
    """
    return f"/usr/bin/{program}"


class DemoTestCase(SynchronousTestCase):
    """
    A demonstration in memory, but for its files and ports.
    """

    def setUp(self) -> None:
        self.place = os.path.realpath(self.mktemp())
        os.makedirs(self.place)
        self.patch(tempfile, "tempdir", self.place)
        self.reactor = Reactor()
        self.out = io.StringIO()
        self.handlers: dict[int, Any] = {}

    def make(self, **more: Any) -> DemoService:
        """
        Make one, which ends with the test.
        """
        options = {"find": nothing_installed, "on_signal": self.handlers.__setitem__, "out": self.out, **more}
        demo = DemoService(self.reactor, **options)
        self.addCleanup(demo.stopService)
        return demo

    def run_it(self, demo: DemoService) -> None:
        """
        Start it, as twistd does.
        """
        demo.startService()
        self.reactor.run()


class LifeTests(DemoTestCase):
    """
    From the start to the end.
    """

    def test_quiet_until_running(self) -> None:
        """
        Nothing is printed before everything runs; then it is the page, once.
        """
        demo = self.make()
        demo.startService()
        self.assertEqual((self.out.getvalue(), self.handlers), ("", {}))
        self.reactor.run()
        page = self.out.getvalue()
        self.assertEqual(page.count("    cd "), 1)
        self.assertIn(f"    cd {demo.folder}/b\n", page)

    def test_files(self) -> None:
        """
        The folder holds what the page says, and nobody else can look into it.
        """
        demo = self.make()
        self.assertEqual(os.path.dirname(demo.folder), self.place)
        self.assertEqual(os.stat(demo.folder).st_mode & 0o777, 0o700)
        self.run_it(demo)
        for name in ("a.conf", "a-one-listener.conf", "server.crt", "server.key", "ca_for_b.crt"):
            self.assertTrue(read_text(os.path.join(demo.folder, "a", name)), name)
        for name in ("b.conf", "b-one-listener.conf", "b-wrong-authority.conf", "server.crt", "stranger.crt"):
            self.assertTrue(read_text(os.path.join(demo.folder, "b", name)), name)

    def test_certificates(self) -> None:
        """
        Each machine shows a certificate of its own authority, and the stranger's is of neither.
        """
        demo = self.make()

        def certificate(name: str) -> x509.Certificate:
            return x509.load_pem_x509_certificate(read_text(os.path.join(demo.folder, name)).encode())

        for_a, for_b = certificate("b/ca_for_a.crt"), certificate("a/ca_for_b.crt")
        certificate("a/server.crt").verify_directly_issued_by(for_a)
        certificate("b/server.crt").verify_directly_issued_by(for_b)
        self.assertEqual(for_b, certificate("b/ca_for_b.crt"))
        for other in (for_a, for_b):
            with self.assertRaises(ValueError):
                certificate("b/stranger.crt").verify_directly_issued_by(other)

    def test_signals(self) -> None:
        """
        Whatever a terminal sends ends it, in order and once.
        """
        self.run_it(self.make())
        self.assertEqual(set(self.handlers), set(SIGNALS))
        self.reactor.stops = 0
        for number in SIGNALS:
            self.handlers[number](number, None)
        self.assertEqual(self.reactor.stops, 1)

    def test_end(self) -> None:
        """
        At its end the folder is gone, the ports are free, and the user is told.
        """
        demo = self.make()
        self.run_it(demo)
        ports = demo._ports
        self.successResultOf(demo.stopService())
        self.assertEqual(os.listdir(self.place), [])
        self.assertTrue(self.out.getvalue().endswith(f"\nEnded; {demo.folder} is removed.\n"))
        for port in (ports.a, ports.one, *ports.b, *ports.b_one, ports.b_wrong):
            self.assertTrue(is_free(port), port)

    def test_nobody_reads(self) -> None:
        """
        That nobody reads what it tells does not stop it.
        """
        self.out.close()
        demo = self.make()
        self.run_it(demo)
        self.successResultOf(demo.stopService())

    def test_notes(self) -> None:
        """
        What is not installed is said; what is, is not.
        """
        self.run_it(self.make())
        for note in ("curl is not installed here.", "openssl is not installed here.", "Greeters stand in for ssh1"):
            self.assertIn(note, self.out.getvalue())
        self.patch(main, "usable", lambda program, settings: None)
        self.assertNotIn("installed", self.make(find=all_installed)._page)

    def test_proxied(self) -> None:
        """
        Where a proxy is in the way, the commands go round it.
        """
        self.assertIn("--noproxy", self.make(proxied=True)._page)
        self.assertNotIn("--noproxy", self.make()._page)


class RealTests(TestCase):
    """
    Without anything handed in.
    """

    def test_defaults(self) -> Deferred[Any]:
        """
        It takes the reactor, the standard output and the programs of the process, and leaves all of them clean.
        """
        from twisted.internet import reactor

        self.patch(tempfile, "tempdir", os.path.abspath("."))
        demo = DemoService()
        self.assertIs(demo._reactor, reactor)
        self.assertIs(demo._out, sys.stdout)
        demo._out = io.StringIO()
        self.assertTrue(os.path.isdir(demo.folder))
        done = demo.stopService()
        done.addCallback(lambda _: self.assertFalse(os.path.exists(demo.folder)))
        return done


class SshdTests(DemoTestCase):
    """
    With an sshd.
    """

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[tuple[str, str]] = []
        self.patch(main, "usable", self.usable)
        self.patch(main, "login_name", lambda: "somebody")
        self.made: str | None = None

    def usable(self, program: str, settings: str) -> str | None:
        """
        A friendly sshd.
        """
        self.asked.append((program, read_text(settings)))
        return self.made

    def test_sshd(self) -> None:
        """
        Both hosts are an sshd with its own settings, and ssh finds them behind every port of B.
        """
        demo = self.make(find=all_installed)
        self.assertEqual([program for program, _ in self.asked], ["/usr/bin/sshd"] * 2)
        self.assertIn("SetEnv MACHINE=ssh1\n", self.asked[0][1])
        self.assertIn("SetEnv MACHINE=ssh2\n", self.asked[1][1])
        self.assertEqual(len([part for part in demo if isinstance(part, Sshd)]), 2)
        known = read_text(os.path.join(demo.folder, "b", "known_hosts")).splitlines()
        ports = demo._ports
        found = {int(line.split()[0].rpartition(":")[2]): line.split()[2] for line in known}
        self.assertEqual(list(found), [ports.b_ssh1, ports.b_ssh2, ports.b_one_ssh1, ports.b_one_ssh2, ports.b_wrong])
        self.assertEqual(found[ports.b_ssh1], found[ports.b_one_ssh1])
        self.assertEqual(found[ports.b_ssh1], found[ports.b_wrong])
        self.assertNotEqual(found[ports.b_ssh1], found[ports.b_ssh2])
        self.assertIn(f"ssh -F ssh.conf -p {ports.b_ssh1} ", demo._page)

    def test_lent_folder(self) -> None:
        """
        The folder that had to be made for sshd goes with the demonstration, unless somebody uses it by then.
        """
        for left in ([], ["something"]):
            self.made = self.mktemp()
            os.makedirs(self.made)
            for name in left:
                os.mkdir(os.path.join(self.made, name))
            self.successResultOf(self.make(find=all_installed).stopService())
            self.assertEqual(os.path.exists(self.made), bool(left))

    def test_no_sshd(self) -> None:
        """
        An sshd that cannot be run is replaced by greeters, and the page says why.
        """

        def unusable(program: str, settings: str) -> None:
            raise NoSshdError("it has a cold")

        self.patch(main, "usable", unusable)
        demo = self.make(find=all_installed)
        self.assertIn("Greeters stand in for ssh1 and ssh2: it has a cold.", demo._page)
        self.assertEqual([part for part in demo if isinstance(part, Sshd)], [])
        behind = {port for port, *_ in self.reactor.tcpServers}
        self.assertEqual(behind, set(demo._ports.behind))


class LoginNameTests(SynchronousTestCase):
    """
    Who logs in.
    """

    def as_user(self, **entry: str) -> str:
        """
        Be somebody.
        """
        self.patch(pwd, "getpwuid", lambda number: SimpleNamespace(**entry))
        return login_name()

    def test_name(self) -> None:
        """
        It is who runs this.
        """
        self.assertEqual(self.as_user(pw_name="somebody", pw_shell="/bin/sh"), "somebody")

    def test_no_shell(self) -> None:
        """
        Whoever has no shell cannot log in.
        """
        for shell in ("/usr/sbin/nologin", "/bin/false"):
            error = self.assertRaises(NoSshdError, self.as_user, pw_name="www", pw_shell=shell)
            self.assertEqual(str(error), f"the shell of www is {shell}")

    def test_no_name(self) -> None:
        """
        Whoever has no name cannot log in.
        """

        def nobody(number: int) -> None:
            raise KeyError(number)

        self.patch(pwd, "getpwuid", nobody)
        self.assertEqual(str(self.assertRaises(NoSshdError, login_name)), f"user {os.geteuid()} has no name here")


class FailureTests(DemoTestCase):
    """
    What can be wrong is known at once, and nothing is left behind.
    """

    def test_port_taken(self) -> None:
        """
        A port that is taken between its choice and its use is an error; folder and other ports are given back.
        """
        chosen = choose_ports(is_free, random.randrange)
        self.patch(main, "choose_ports", lambda *rules: chosen)
        with socket.create_server(("127.0.0.1", chosen.b_wrong)):
            error = self.assertRaises(ConfigErrors, self.make)
        self.assertIn(f"bind() to 127.0.0.1:{chosen.b_wrong} failed", str(error))
        self.assertEqual(os.listdir(self.place), [])
        self.assertTrue(is_free(chosen.a))
        self.assertEqual(self.out.getvalue(), "")


class LogTests(DemoTestCase):
    """
    Twisted's log.
    """

    def test_quiet(self) -> None:
        """
        Everything goes to the file; what should never happen is loud as well.
        """
        file, loud = io.StringIO(), io.StringIO()
        log = Logger("x", observer=quiet_log(file, loud))
        log.info("all is well")
        log.error("a client is angry")
        log.critical("a fault of ours")
        self.assertEqual(len(file.getvalue().splitlines()), 3)
        self.assertEqual(len(loud.getvalue().splitlines()), 1)
        self.assertIn("a fault of ours", loud.getvalue())

    def test_application(self) -> None:
        """
        twistd's application is given that log, in a file of the folder, before it begins to log.
        """
        application: Any = Application("x")
        demo = self.make()
        demo.setServiceParent(application)
        self.addCleanup(demo.log_file.close)
        Logger("x", observer=application.getComponent(ILogObserver)).info("a line")
        self.assertIn("a line", read_text(os.path.join(demo.folder, "demo.log")))

    def test_log_of_the_user(self) -> None:
        """
        Where the user has chosen a log, it is left alone; and so it is in a program of somebody else.
        """
        application: Any = Application("x")
        self.make(own_log=False).setServiceParent(application)
        self.assertIsNone(application.getComponent(ILogObserver, None))

    def test_uses_proxy(self) -> None:
        """
        A proxy is seen in every spelling that curl knows.
        """
        for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy"):
            self.assertTrue(uses_proxy({name: "http://x"}), name)
        self.assertFalse(uses_proxy({"http_proxy": "", "PATH": "/bin"}))
