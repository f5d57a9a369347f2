"""
Tests for L{sniproxy.service.demo.page}.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import astuple

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.service.demo.machines import Ports
from sniproxy.service.demo.page import PAGE, Commands, Trial, groups, page

PORTS = Ports(*range(20001, 20001 + len(astuple(Ports()))))


def trials(commands: Commands) -> list[Trial]:
    """
    All of a page.
    """
    return [trial for group in groups(commands) for trial in group.trials]


class TrialTests(SynchronousTestCase):
    """
    What is to be tried.
    """

    def setUp(self) -> None:
        self.commands = Commands(PORTS)
        self.trials = trials(self.commands)

    def test_every_route(self) -> None:
        """
        Every port that a user can reach is tried: both variants of A, and all of B.
        """
        tried = " ".join(trial.command for trial in self.trials)
        for port in (*PORTS.b, *PORTS.b_one, PORTS.b_wrong, PORTS.a, PORTS.one):
            self.assertIn(str(port), tried)

    def test_every_promise_can_be_held(self) -> None:
        """
        Each trial says in quotes what will be printed, and says so of what its own port leads to.
        """
        for trial in self.trials:
            self.assertRegex(trial.shows, r'^(shows|fails)\b.*"[^"]+"')
        self.assertEqual(
            [re.findall('"(.*?)"', trial.shows)[0] for trial in self.trials[:6]], ["ssh1", "ssh2", PAGE] * 2
        )

    def test_exact(self) -> None:
        """
        The commands are those of the tutorial.
        """
        self.assertEqual(self.trials[0].command, f"ssh -F ssh.conf -p {PORTS.b_ssh1} 127.0.0.1 'echo $MACHINE'")
        self.assertEqual(self.trials[2].command, f"curl -sS http://127.0.0.1:{PORTS.b_web}/")
        self.assertEqual(
            self.commands.curl(PORTS.a, "--cacert x"),
            f"curl -sS --cacert x --connect-to ::127.0.0.1:{PORTS.a} https://web.example.com/",
        )

    def test_one_line_each(self) -> None:
        """
        A command is one line that a shell can read to its end.
        """
        for trial in self.trials:
            self.assertNotIn("\n", trial.command)
            shlex.split(trial.command)

    def test_refusals(self) -> None:
        """
        There is a client without a certificate, one with a stranger's, one that asks for an unknown name, one that
        believes another authority, and a machine B that does.
        """
        *_, bare, stranger, unknown, client, machine = self.trials
        self.assertNotIn("--cert", bare.command)
        self.assertIn("stranger.crt", stranger.command)
        self.assertIn("other.example.com", unknown.command)
        self.assertIn("--cacert ca_for_b.crt", client.command)
        self.assertIn(str(PORTS.b_wrong), machine.command)
        for trial in (bare, stranger, unknown, client, machine):
            self.assertTrue(trial.shows.startswith("fails"), trial)

    def test_without_sshd(self) -> None:
        """
        Where greeters stand in, curl knocks at their ports, and nothing needs ssh.
        """
        found = trials(Commands(PORTS, sshd=False))
        self.assertEqual(len(found), len(self.trials))
        for trial in found:
            self.assertFalse(trial.command.startswith("ssh"), trial)
            self.assertNotIn("SSH", trial.shows)
        self.assertEqual(found[0].command, f"curl -sS --http0.9 http://127.0.0.1:{PORTS.b_ssh1}/")
        self.assertEqual(found[0].shows, 'shows "ssh1: a greeter in place of sshd"')

    def test_proxied(self) -> None:
        """
        Where curl would ask a proxy, every curl is told not to.
        """
        for trial in trials(Commands(PORTS, proxied=True)):
            if "curl" in trial.command.split():
                self.assertTrue(trial.command.startswith("curl -sS --noproxy '*' "), trial)


class PageTests(SynchronousTestCase):
    """
    What the user reads.
    """

    def setUp(self) -> None:
        self.text = page(Commands(PORTS), "/tmp/a-folder", ["A note."])
        self.lines = self.text.splitlines()

    def test_commands_stand_alone(self) -> None:
        """
        Every command is a line of its own, four spaces in, with what it shows below it, eight spaces in.
        """
        for trial in trials(Commands(PORTS)):
            at = self.lines.index(f"    {trial.command}")
            self.assertEqual(self.lines[at + 1], f"        {trial.shows}")

    def test_folder(self) -> None:
        """
        It says where everything is, and how to get to B's folder, before the first command that needs it.
        """
        self.assertIn("/tmp/a-folder:", self.text)
        going = self.lines.index("    cd /tmp/a-folder/b")
        for trial in trials(Commands(PORTS)):
            self.assertLess(going, self.lines.index(f"    {trial.command}"))

    def test_routes(self) -> None:
        """
        Every route is a row: what listens where, from B to what is behind, in columns.
        """
        head, *rows = self.lines[2:9]
        self.assertEqual(re.split("   +", head.strip()), ["machine B", "machine A", "behind A"])
        self.assertEqual(len(rows), 6)
        self.assertRegex(
            rows[0], rf"^    ssh1\.example\.com +:{PORTS.b_ssh1} +:{PORTS.a}.*:{PORTS.a_ssh1} +:{PORTS.ssh1} sshd$"
        )
        self.assertRegex(
            rows[5], rf"^    web\.example\.com +:{PORTS.b_one_web} +:{PORTS.one}.* +:{PORTS.web} web page$"
        )
        column = head.index("machine A")
        self.assertEqual({row[column] for row in rows}, {":"})

    def test_notes(self) -> None:
        """
        What this computer lacks is said, a line each; where it lacks nothing, nothing is said.
        """
        self.assertIn("\nA note.\n", self.text)
        self.assertEqual(page(Commands(PORTS), "/tmp/a-folder"), self.text.replace("A note.\n\n", ""))

    def test_readable_anywhere(self) -> None:
        """
        It is ASCII, ends with an empty line, and no line of prose is longer than a terminal of 120 columns.
        """
        self.assertTrue(self.text.isascii())
        self.assertTrue(self.text.endswith("\n\n"))
        for line in self.lines:
            if not re.match(r"    (curl|echo|ssh) ", line):
                self.assertLessEqual(len(line), 120)

    def test_without_sshd(self) -> None:
        """
        Where greeters stand in, the table says so.
        """
        self.assertIn(f":{PORTS.ssh1} greeter", page(Commands(PORTS, sshd=False), "/tmp/a-folder"))
