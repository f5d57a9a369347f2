"""
Tests for L{sniproxy.service.demo.sshd}.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.service.demo.certificates import ssh_key
from sniproxy.service.demo.sshd import (
    NEWER,
    PATIENCE,
    Logins,
    NoSshdError,
    Sshd,
    run,
    server_settings,
    usable,
    write,
    write_client,
    write_server,
)
from tests.support.programs import read_text


class FilesTestCase(SynchronousTestCase):
    """
    A folder, and who may log in.
    """

    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)
        self.logins = Logins("somebody", ssh_key(), {"ssh1": ssh_key(), "ssh2": ssh_key()})

    def path(self, name: str) -> str:
        """
        @return: a path in the folder.
        """
        return os.path.join(self.folder, name)


class FilesTests(FilesTestCase):
    """
    What is written for sshd and for ssh.
    """

    def test_private(self) -> None:
        """
        A file is readable for its owner alone, also when it is written over.
        """
        for data in (b"longer", b"short"):
            self.assertEqual(write(self.path("x"), data), self.path("x"))
            self.assertEqual(read_text(self.path("x")), data.decode())
        self.assertEqual(stat.S_IMODE(os.stat(self.path("x")).st_mode), 0o600)

    def test_server(self) -> None:
        """
        A host has a key of its own, lets in its user by key, and nobody by password.
        """
        settings = write_server("ssh2", self.folder, self.logins)
        text = read_text(settings)
        self.assertEqual(text, server_settings("ssh2", self.folder, "somebody"))
        self.assertIn(f'HostKey "{self.folder}/ssh2.key"\n', text)
        self.assertIn("AllowUsers somebody\n", text)
        self.assertIn("PasswordAuthentication no\n", text)
        self.assertEqual(read_text(self.path("ssh2.key")).encode(), self.logins.host_keys["ssh2"].private)
        self.assertEqual(read_text(self.path("authorized_keys")).encode(), self.logins.key.public + b"\n")

    def test_client(self) -> None:
        """
        ssh knows every host by its own key at the port where it is found, and trusts no other.
        """
        write_client(self.folder, self.logins, {50001: "ssh1", 50002: "ssh2"})
        self.assertEqual(
            read_text(self.path("known_hosts")),
            f"[127.0.0.1]:50001 {self.logins.host_keys['ssh1'].public.decode()}\n"
            f"[127.0.0.1]:50002 {self.logins.host_keys['ssh2'].public.decode()}\n",
        )
        text = read_text(self.path("ssh.conf"))
        self.assertIn("StrictHostKeyChecking yes\n", text)
        self.assertIn(f'IdentityFile "{self.folder}/ssh.key"\n', text)
        self.assertEqual(read_text(self.path("ssh.key")).encode(), self.logins.key.private)


class UsableTests(FilesTestCase):
    """
    Whether sshd takes its settings.
    """

    def setUp(self) -> None:
        super().setUp()
        self.settings = write(self.path("settings"), b"Setting yes\n")
        self.asked: list[str] = []

    def usable(self, *answers: str) -> str | None:
        """
        Ask an sshd that complains so, one answer at a time; an empty one is a yes.
        """
        waiting = iter(answers)

        def run(arguments: Sequence[str]) -> tuple[int, str]:
            self.assertEqual(list(arguments), ["/usr/sbin/sshd", "-t", "-f", self.settings])
            self.asked.append(read_text(self.settings))
            said = next(waiting)
            return (255, said) if said else (0, "a warning\n")

        found = usable("/usr/sbin/sshd", self.settings, run)
        self.assertEqual(list(waiting), [])
        return found

    def test_newer(self) -> None:
        """
        An sshd of today is told not to shut out who knocks.
        """
        self.assertIsNone(self.usable(""))
        self.assertEqual(read_text(self.settings), f"Setting yes\n{NEWER}")

    def test_older(self) -> None:
        """
        An older one, which does not know that word, is not told.
        """
        self.assertIsNone(self.usable("Bad configuration option: PerSourcePenalties\n", ""))
        self.assertEqual(self.asked, [f"Setting yes\n{NEWER}", "Setting yes\n"])
        self.assertEqual(read_text(self.settings), "Setting yes\n")

    def test_folder_missing(self) -> None:
        """
        The folder that root's sshd misses is made, and named so that it can be removed.
        """
        missing = self.path("run/sshd")
        self.assertEqual(
            self.usable("Bad option\n", f"Missing privilege separation directory: {missing}\n", ""), missing
        )
        self.assertEqual(stat.S_IMODE(os.stat(missing).st_mode), 0o755)

    def test_folder_made_in_vain(self) -> None:
        """
        If sshd is not content even so, the folder is removed again.
        """
        missing = self.path("empty")
        complaint = f"Missing privilege separation directory: {missing}\n"
        error = self.assertRaises(NoSshdError, self.usable, complaint, "another thing\n", "a third\nand a fourth\n")
        self.assertEqual(str(error), "and a fourth")
        self.assertFalse(os.path.exists(missing))

    def test_folder_impossible(self) -> None:
        """
        If the folder cannot be made, that is why there is no sshd.
        """
        write(self.path("file"), b"")
        complaint = f"Missing privilege separation directory: {self.path('file/below')}\n"
        error = self.assertRaises(NoSshdError, self.usable, complaint)
        self.assertIn("file/below", str(error))

    def test_run(self) -> None:
        """
        A program is run to its end, with nothing to read.
        """
        script = "import sys; sys.stderr.write('said'); print('lost'); sys.exit(3 if sys.stdin.read() == '' else 4)"
        self.assertEqual(run((sys.executable, "-c", script)), (3, "said"))


class Process:
    """
    The transport of a process.
    """

    def __init__(self, protocol: Any, deaf_to: frozenset[str]) -> None:
        self._protocol = protocol
        self._deaf_to = deaf_to
        self.signals: list[str] = []
        self.gone = False

    def signalProcess(self, signal: str) -> None:
        """
        End, if this signal can move it.
        """
        if self.gone:
            raise ProcessExitedAlready
        self.signals.append(signal)
        if signal not in self._deaf_to:
            self.end()

    def end(self) -> None:
        """
        End of itself.
        """
        self.gone = True
        self._protocol.processEnded(Failure(ProcessDone(0)))


class Reactor(Clock):
    """
    Remembers who is watched and what is run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()
        self.run: list[tuple[Any, str, Sequence[str], Mapping[int, Any]]] = []
        self.processes: list[Process] = []
        self.deaf_to: frozenset[str] = frozenset()

    def addReader(self, reader: Any) -> None:
        """
        Watch.
        """
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        """
        Watch no more.
        """
        self.readers.discard(reader)

    def spawnProcess(
        self, protocol: Any, program: str, arguments: Sequence[str], env: Mapping[str, str], childFDs: Mapping[int, Any]
    ) -> None:
        """
        Say hello through what would be the standard output of the process.
        """
        assert env == {}
        self.run.append((protocol, program, arguments, childFDs))
        os.write(childFDs[1], b"hello")
        process = Process(protocol, self.deaf_to)
        self.processes.append(process)
        protocol.makeConnection(process)


class SshdTests(SynchronousTestCase):
    """
    Connections, each with its own process.
    """

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.sshd = Sshd("ssh1", "/usr/sbin/sshd", "/the/settings", 0, self.reactor)
        self.port = self.sshd._socket.getsockname()[1]
        self.addCleanup(self.sshd._socket.close)
        self.sshd.startService()

    def visit(self) -> socket.socket:
        """
        Connect.
        """
        client = socket.create_connection(("127.0.0.1", self.port))
        self.addCleanup(client.close)
        self.sshd.doRead()
        return client

    def test_interface(self) -> None:
        """
        It is what a reactor can watch: the listening socket, from the start of the service on.
        """
        verifyObject(IReadDescriptor, self.sshd)
        self.assertEqual(self.reactor.readers, {self.sshd})
        self.assertEqual(self.sshd.fileno(), self.sshd._socket.fileno())
        self.assertIn("ssh1", self.sshd.logPrefix())
        self.sshd.connectionLost(Failure(ConnectionError()))

    def test_port_taken(self) -> None:
        """
        A port that is taken is known when the service is made.
        """
        self.assertRaises(OSError, Sshd, "ssh2", "/usr/sbin/sshd", "/the/settings", self.port, self.reactor)

    def test_connection(self) -> None:
        """
        A connection becomes the standard input and output of an sshd of its own, and is not kept open by us.
        """
        client = self.visit()
        ((_, program, arguments, descriptors),) = self.reactor.run
        self.assertEqual(program, "/usr/sbin/sshd")
        self.assertEqual(list(arguments), ["/usr/sbin/sshd", "-i", "-e", "-f", "/the/settings"])
        self.assertEqual((descriptors[0], descriptors[2]), (descriptors[1], "r"))
        self.assertEqual(client.recv(100), b"hello")
        self.assertEqual(client.recv(100), b"")

    def test_gone_again(self) -> None:
        """
        A visitor who has left before being seen is none.
        """
        self.sshd.doRead()
        self.assertEqual(self.reactor.run, [])

    def test_forgotten(self) -> None:
        """
        A process that has ended is forgotten.
        """
        self.visit()
        self.visit()
        self.reactor.processes[0].end()
        self.assertEqual(len(self.sshd.sessions), 1)

    def test_log(self) -> None:
        """
        What sshd says goes to the log, line by line.
        """
        events: list[dict[str, Any]] = []
        hear: Any = events.append
        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)
        self.visit()
        self.reactor.run[0][0].errReceived(b"Accepted publickey\r\nand more\xff")
        self.assertEqual(
            [(event["name"], event["line"]) for event in events if "line" in event],
            [("ssh1", "Accepted publickey"), ("ssh1", "and more\N{REPLACEMENT CHARACTER}")],
        )

    def test_stop(self) -> None:
        """
        With the service every process ends, and only then has it stopped; nothing is watched or waited for.
        """
        self.reactor.deaf_to = frozenset({"TERM"})
        self.visit()
        self.reactor.deaf_to = frozenset()
        self.visit()
        done = self.sshd.stopService()
        self.assertEqual([process.gone for process in self.reactor.processes], [False, True])
        self.assertNoResult(done)
        self.reactor.processes[0].end()
        self.successResultOf(done)
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), (set(), []))
        self.assertEqual(self.sshd.fileno(), -1)

    def test_stubborn(self) -> None:
        """
        A process that does not obey is killed.
        """
        self.reactor.deaf_to = frozenset({"TERM"})
        self.visit()
        done = self.sshd.stopService()
        self.reactor.advance(PATIENCE)
        self.successResultOf(done)
        self.assertEqual(self.reactor.processes[0].signals, ["TERM", "KILL"])

    def test_ends_by_itself(self) -> None:
        """
        A process that is gone already needs no signal, even if nobody has heard of its end yet.
        """
        self.visit()
        self.reactor.processes[0].gone = True
        done = self.sshd.stopService()
        self.assertNoResult(done)
        self.reactor.processes[0].end()
        self.successResultOf(done)
