"""
How does the demonstration offer ssh? With the real sshd, if there is one, and throwaway keys.

Strategy: sshd is run as inetd ran it: we listen, and each connection gets a process of its own that has the socket as
its standard input and output. So a port that cannot be had is known at once, nothing has to become ready, and no
daemon is left behind whatever happens to us: a process ends with its connection. Everything that it reads is in the
folder of the demonstration.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.service.demo.certificates import SshKey
from sniproxy.service.demo.machines import HOST

PATIENCE: Final = 5.0
"""Seconds that a process has to end after it was asked to."""

_NO_FOLDER: Final = re.compile(r"Missing privilege separation directory: (\S+)")

_log: Final = Logger("sniproxy.demo")

Run = Callable[[Sequence[str]], tuple[int, str]]
"""Runs a program to its end and answers its exit status and what it wrote to standard error."""


class NoSshdError(Exception):
    """
    There is no sshd that we could run; the message says why.
    """


@dataclass(frozen=True, slots=True)
class Logins:
    """
    Who may log in, and how they and the hosts are known.

    @ivar user: who runs this; sshd lets nobody else in unless root runs it.
    @ivar key: the user's.
    @ivar host_keys: by the name of the host.
    """

    user: str
    key: SshKey
    host_keys: dict[str, SshKey]


def server_settings(name: str, folder: str, user: str) -> str:
    """
    What sshd reads.

    @param name: the host it plays; a session finds it in C{$MACHINE}.
    @param folder: where L{write_server} puts the keys.
    """
    return (
        f'HostKey "{folder}/{name}.key"\n'
        f'AuthorizedKeysFile "{folder}/authorized_keys"\n'
        f"AllowUsers {user}\n"
        f"SetEnv MACHINE={name}\n"
        "PidFile none\n"
        "StrictModes no\n"
        "UsePAM no\n"
        "UseDNS no\n"
        "PermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n"
        "PrintMotd no\n"
        "PrintLastLog no\n"
    )


NEWER: Final = "PerSourcePenalties no\n"
"""
sshd 9.8 and later shut out an address from which somebody came without logging in, and all come from one address here;
older ones do not know the word.
"""


def client_settings(folder: str, user: str) -> str:
    """
    What C{ssh -F} reads: nothing of the user's own is touched or asked for.

    @param folder: where L{write_client} puts the keys.
    """
    return (
        f"Host {HOST}\n"
        f"    User {user}\n"
        f'    IdentityFile "{folder}/ssh.key"\n'
        "    IdentitiesOnly yes\n"
        f'    UserKnownHostsFile "{folder}/known_hosts"\n'
        "    StrictHostKeyChecking yes\n"
        "    BatchMode yes\n"
    )


def write_server(name: str, folder: str, logins: Logins) -> str:
    """
    @return: the path of the settings; L{usable} may have to add to them.
    """
    write(f"{folder}/{name}.key", logins.host_keys[name].private)
    write(f"{folder}/authorized_keys", logins.key.public + b"\n")
    return write(f"{folder}/{name}.sshd", server_settings(name, folder, logins.user).encode())


def write_client(folder: str, logins: Logins, hosts: dict[int, str]) -> None:
    """
    Write C{ssh.conf} and what it names.

    @param hosts: which host is found behind which port.
    """
    write(f"{folder}/ssh.key", logins.key.private)
    known = (b"[%s]:%d %s\n" % (HOST.encode(), port, logins.host_keys[name].public) for port, name in hosts.items())
    write(f"{folder}/known_hosts", b"".join(known))
    write(f"{folder}/ssh.conf", client_settings(folder, logins.user).encode())


def write(path: str, data: bytes) -> str:
    """
    Write a file that only we can read.

    @return: its path.
    """
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    return path


def run(arguments: Sequence[str]) -> tuple[int, str]:
    """
    @see: L{Run}
    """
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode, done.stderr.decode("utf-8", "replace")


def usable(program: str, settings: str, run: Run = run) -> str | None:
    """
    See whether sshd takes its settings, and mend them if it is of another age.

    @param settings: their file.
    @return: an empty folder that had to be made for it outside of ours, to be removed at the end; None mostly.
    @raise NoSshdError: it cannot be run here.
    """

    def trouble() -> str:
        status, said = run((program, "-t", "-f", settings))
        return said.strip() if status else ""

    with open(settings, "rb") as file:
        plain = file.read()
    said = ""
    for more in (NEWER.encode(), b""):
        write(settings, plain + more)
        said = trouble()
        if not said:
            return None
        folder = _NO_FOLDER.search(said)
        if folder is not None:
            # root's sshd wants an empty folder that the system makes when its own is first started
            try:
                os.makedirs(folder[1], 0o755)
            except OSError as error:
                raise NoSshdError(str(error)) from None
            said = trouble()
            if not said:
                return folder[1]
            os.rmdir(folder[1])
    raise NoSshdError(said.splitlines()[-1])


class _Session(ProcessProtocol):
    """
    One sshd for one connection.

    @ivar ended: called when its process is gone.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.ended: Deferred[None] = Deferred()

    def errReceived(self, data: bytes) -> None:
        """
        It logs there.
        """
        for line in data.decode("utf-8", "replace").splitlines():
            _log.info("sshd {name}: {line}", name=self._name, line=line)

    def processEnded(self, reason: Failure) -> None:
        """
        The connection is over.
        """
        self.ended.callback(None)

    def end(self, signal: str) -> None:
        """
        Send a signal, if there is still somebody to hear it.
        """
        try:
            if self.transport is not None:
                self.transport.signalProcess(signal)
        except ProcessExitedAlready:
            pass  # what we want


@implementer(IReadDescriptor)
class Sshd(Service):
    """
    A host with ssh. Owns a listening socket and the processes of its connections; ends all with the service.

    @ivar sessions: the connections under way.
    """

    def __init__(self, name: str, program: str, settings: str, port: int, reactor: Any) -> None:
        """
        @param program: the path of sshd; it insists on a whole one.
        @param settings: the path of its settings.
        @param reactor: C{IReactorFDSet}, C{IReactorProcess}, C{IReactorTime}.
        @raise OSError: the port cannot be had.
        """
        self._name = name
        self._arguments = [program, "-i", "-e", "-f", settings]
        self._reactor = reactor
        self.sessions: set[_Session] = set()
        self._socket = socket.create_server((HOST, port))
        self._socket.setblocking(False)

    def startService(self) -> None:
        """
        Take connections.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.addReader(self)

    def stopService(self) -> Deferred[Any]:
        """
        Take no more, and end those there are.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._reactor.removeReader(self)
        self._socket.close()
        self._end("TERM")
        kill = self._reactor.callLater(PATIENCE, self._end, "KILL")
        done: Deferred[Any] = DeferredList([session.ended for session in self.sessions])
        done.addCallback(_cancel, kill)
        return done

    def _end(self, signal: str) -> None:
        for session in list(self.sessions):
            session.end(signal)

    # Called by the reactor

    def fileno(self) -> int:
        """
        What to watch.
        """
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """
        Who we are in the log.
        """
        return f"sshd {self._name}"

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor is done with us; the socket is closed by the service.
        """

    def doRead(self) -> None:
        """
        Somebody comes.
        """
        try:
            sock, _ = self._socket.accept()
        except OSError:
            return  # gone again
        with sock:
            session = _Session(self._name)
            self.sessions.add(session)
            session.ended.addCallback(lambda _: self.sessions.discard(session))
            number = sock.fileno()
            self._reactor.spawnProcess(
                session, self._arguments[0], self._arguments, env={}, childFDs={0: number, 1: number, 2: "r"}
            )


def _cancel(result: Any, call: Any) -> Any:
    if call.active():
        call.cancel()
    return result
