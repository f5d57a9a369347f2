"""
Does the demonstration do what it says? Every command that it prints is run as it is printed, and shows what the page
says it shows; and when it is ended, nothing is left.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass

from tests.support.programs import (
    PATIENCE,
    Program,
    ProgramTestCase,
    children,
    eventually,
    need,
    python_environment,
    run,
    twistd,
)

WITHOUT_SSHD = (
    "import shutil, sys; which = shutil.which; "
    "shutil.which = lambda name, **more: None if name == 'sshd' else which(name, **more); "
    "sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
)
"""twistd on a computer where sshd is not installed."""


@dataclass(frozen=True, slots=True)
class Printed:
    """
    A command of the page, and what is under it.
    """

    command: str
    promise: str

    @property
    def pieces(self) -> list[str]:
        """
        What the page says will be printed.
        """
        return re.findall(r'"([^"]*)"', self.promise)


def read_page(page: str) -> tuple[str, list[Printed]]:
    """
    @return: the command that goes to the folder, and all the others.
    """
    going = re.search(r"^    (cd \S+)$", page, re.MULTILINE)
    assert going, page
    found = re.findall(r"^    (\S.*)\n        (\S.*)$", page[going.end() :], re.MULTILINE)
    return going[1], [Printed(command, promise) for command, promise in found]


class DemoTestCase(ProgramTestCase):
    """
    A demonstration under way.
    """

    twistd = tuple(twistd())

    def setUp(self) -> None:
        """
        Start it, with a place of its own for temporary folders.
        """
        super().setUp()
        for program in ("curl", "openssl", "ssh", "sshd"):
            need(program)
        self.place = os.path.realpath(self.path("tmp"))
        os.makedirs(self.place)
        self.demo = self.begin()

    def begin(self) -> Program:
        """
        Start it, and wait until it has told all.
        """
        demo = self.start(
            f"demo-{len(self.papers)}",
            *(*self.twistd, "-n", "--pidfile=", "sniproxy", "--demo"),
            env={**python_environment(), "TMPDIR": self.place},
        )
        demo.ready(lambda: "What must fail" in demo.output() and demo.output().endswith("\n\n"), "the page")
        return demo

    def ask(self, going: str, command: str) -> subprocess.CompletedProcess[str]:
        """
        Do as a user does: paste two lines.
        """
        return run("/bin/sh", "-c", f"{going}\n{command}\n")

    def assert_keeps_its_word(self, page: str) -> list[Printed]:
        """
        Run every command of the page, as printed.

        @return: them.
        """
        going, trials = read_page(page)
        for trial in trials:
            done = self.ask(going, trial.command)
            said = done.stdout + done.stderr
            self.assertTrue(trial.pieces, trial)
            for piece in trial.pieces:
                self.assertIn(piece, said, f"{trial.command}\n{trial.promise}")
            if trial.promise.startswith("shows"):
                self.assertEqual(done.returncode, 0, f"{trial.command}\n{said}")
            else:
                self.assertNotIn("This is web", said, trial.command)
                self.assertNotIn("ssh1\n", done.stdout, trial.command)
        return trials

    def assert_all_gone(self, demo: Program, number: signal.Signals = signal.SIGINT) -> None:
        """
        End it as a terminal does: status 0, no folder, no process, no port, no traceback.
        """
        below = family(demo.pid)
        demo.signal(number)
        self.assertEqual(demo.wait(), 0, demo.output())
        self.assertEqual(os.listdir(self.place), [])
        eventually(lambda: not any(map(alive, below)), "the end of all its processes")
        self.assertNotIn("Traceback", demo.output())
        self.assertRegex(demo.output(), r"\n\nEnded; \S+ is removed.\n\Z")


def family(pid: int) -> list[int]:
    """
    The processes below one.
    """
    below = children(pid)
    return below + [each for child in below for each in family(child)]


def alive(pid: int) -> bool:
    """
    Whether there is such a process.
    """
    return os.path.exists(f"/proc/{pid}")


class DemoTests(DemoTestCase):
    """
    With all programs installed.
    """

    def test_every_command(self) -> None:
        """
        Every command shows what the page says, twice over, and Ctrl-C ends it all.
        """
        page = self.demo.output()
        trials = self.assert_keeps_its_word(page)
        self.assert_keeps_its_word(page)
        self.assertEqual(len(trials), 15)
        self.assertEqual({trial.command.split()[0] for trial in trials}, {"ssh", "curl", "echo"})
        self.assert_all_gone(self.demo)

    def test_tidy(self) -> None:
        """
        Nothing but the page is printed, and no line of it is of a log.
        """
        page = self.demo.output()
        self.assertTrue(page.startswith("Both machines of the tutorial run on 127.0.0.1"), page)
        self.assertNotRegex(page, r"\[-\]|\[notice\]|starting up")
        self.assertTrue(page.isascii())

    def test_two_at_once(self) -> None:
        """
        A second one takes other ports, and works as well.
        """
        other = self.begin()
        first, second = (set(re.findall(r":\d{4,5}", each.output())) for each in (self.demo, other))
        self.assertEqual(first & second, set())
        self.assert_keeps_its_word(other.output())
        other.signal(signal.SIGTERM)
        self.assertEqual(other.wait(), 0)
        self.assert_all_gone(self.demo, signal.SIGHUP)

    def test_ended_in_the_middle(self) -> None:
        """
        A login with a terminal that is under way ends with it.
        """
        going, trials = read_page(self.demo.output())
        command = trials[0].command.replace("ssh ", "ssh -tt ").replace("$MACHINE", "$MACHINE; exec sleep 600")
        self.assertNotEqual(command, trials[0].command)
        login = self.start("login", "/bin/sh", "-c", f"{going}\nexec {command}")
        login.ready(lambda: "ssh1" in login.output(), "the login")
        self.assertTrue(family(self.demo.pid))
        self.assert_all_gone(self.demo)
        self.assertEqual(login.wait(PATIENCE), 255)


class WithoutSshdTests(DemoTestCase):
    """
    Where there is no sshd.
    """

    twistd = (sys.executable, "-c", WITHOUT_SSHD)

    def test_every_command(self) -> None:
        """
        Greeters stand in for it, which the page says, and every command shows what it should.
        """
        page = self.demo.output()
        self.assertIn("Greeters stand in for ssh1 and ssh2: OpenSSH's sshd and ssh are not both installed.", page)
        trials = self.assert_keeps_its_word(page)
        self.assertEqual({trial.command.split()[0] for trial in trials}, {"curl", "echo"})
        self.assert_all_gone(self.demo)


class ProxyInTheWayTests(DemoTestCase):
    """
    Where curl is configured to ask a proxy for everything.
    """

    def setUp(self) -> None:
        """
        A proxy that is not there.
        """
        for name in ("http_proxy", "https_proxy"):
            self.patch(os, "environ", {**os.environ, name: "http://127.0.0.1:9/"})
        super().setUp()

    def test_every_command(self) -> None:
        """
        The commands get past it.
        """
        self.assert_keeps_its_word(self.demo.output())


class RefusalTests(ProgramTestCase):
    """
    What does not go together.
    """

    def refused(self, *arguments: str) -> str:
        """
        @return: what is said, in a line.
        """
        done = run(*twistd(), "--pidfile=", *arguments, env=python_environment())
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        return done.stderr.splitlines()[0]

    def test_with_a_configuration(self) -> None:
        """
        It takes no configuration, and says so.
        """
        for option in (("--config", "x.conf"), ("--prefix", "x"), ("--globals", "x;"), ("--test",), ("--dump",)):
            self.assertEqual(
                self.refused("-n", "sniproxy", "--demo", *option),
                f"sniproxy: --demo has configurations of its own: it does not go with {option[0]}",
            )

    def test_in_the_background(self) -> None:
        """
        It does not go into the background, where nobody could read it.
        """
        self.assertEqual(
            self.refused("sniproxy", "--demo"),
            "sniproxy: --demo stays in the foreground: twistd -n sniproxy --demo",
        )
