"""
How does the demonstration live? It makes a folder with all it needs, starts everything in this one process, tells
what to try, and leaves nothing behind.

Strategy: all that can fail is done while the service is made, before anything runs: files are written, ports are
bound. Whatever fails then is told in a line, and the folder is removed. Twisted's log goes to a file in the folder,
so that nothing comes between the lines that the user reads; only what should never happen is printed as well.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final, TextIO

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
    textFileLogObserver,
)
from twisted.python.components import Componentized

from sniproxy.service.demo import machines
from sniproxy.service.demo.backends import greeter, web
from sniproxy.service.demo.certificates import authority, certificate, ssh_key
from sniproxy.service.demo.machines import NAMES, choose_ports, is_free
from sniproxy.service.demo.page import PAGE, Commands, page
from sniproxy.service.demo.sshd import Logins, NoSshdError, Sshd, usable, write, write_client, write_server
from sniproxy.service.main import ProxyService

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""All that a terminal can say means the end."""

SYSTEM_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where sshd is, and a user's PATH often does not lead."""

PROXY_VARIABLES: Final = ("http_proxy", "https_proxy", "all_proxy")

Find = Callable[[str], str | None]
"""The path of a program, or None where it is not installed."""


def find(program: str) -> str | None:
    """
    @see: L{Find}
    """
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PATH}")


class DemoService(MultiService):
    """
    Everything at once. Owns the folder, and through its parts the ports and processes.

    @ivar folder: where everything is.
    @ivar log_file: takes Twisted's log, when it is ours.
    """

    def __init__(
        self,
        reactor: Any = None,
        out: TextIO | None = None,
        find: Find = find,
        proxied: bool = False,
        on_signal: Callable[[int, Any], Any] = signal.signal,
        own_log: bool = True,
    ) -> None:
        """
        Make all of it, so that what is wrong is known before anything runs.

        @param out: who reads the page; standard output as it is now.
        @param proxied: whether curl is configured to use a proxy.
        @param on_signal: sets the handlers of signals.
        @param own_log: whether Twisted's log is to be a file in the folder.
        @raise OSError: there is no place for the files, or no port.
        @raise sniproxy.errors.ConfigErrors: a machine cannot be started.
        @raise twisted.internet.error.CannotListenError: a server behind cannot be started.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        if reactor is None:
            from twisted.internet import reactor
        self._reactor: Any = reactor
        self._out = out if out is not None else sys.stdout
        self._on_signal = on_signal
        self._own_log = own_log
        self._ending = False
        self._lent: list[str] = []
        self._ports = choose_ports(is_free, random.SystemRandom().randrange)
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="sniproxy-demo-"))
        try:
            notes = [*self._make_parts(find), *_not_here(find)]
        except BaseException:
            for part in list(self):
                part.stopService()
            self._remove_files()
            raise
        self._page = page(Commands(self._ports, sshd=self._sshd, proxied=proxied), self.folder, notes)

    # Making

    def _make_parts(self, find: Find) -> list[str]:
        """
        @return: what is not as it should be.
        """
        for name in ("a", "b", "behind"):
            os.mkdir(self._path(name))
        self._write_certificates()
        notes = []
        try:
            self._make_sshd(find)
            self._sshd = True
        except NoSshdError as error:
            self._sshd = False
            for name, port in zip(NAMES[:2], self._ports.behind, strict=False):
                self._add(greeter(_short(name), port, self._reactor))
            notes.append(f"Greeters stand in for ssh1 and ssh2: {error}.")
        self._add(web(f"{PAGE}\n", self._ports.web, self._reactor))
        for name, text in (
            ("a/a.conf", machines.machine_a),
            ("a/a-one-listener.conf", machines.machine_a_one_listener),
            ("b/b.conf", machines.machine_b),
            ("b/b-one-listener.conf", machines.machine_b_one_listener),
            ("b/b-wrong-authority.conf", machines.machine_b_wrong_authority),
        ):
            write(self._path(name), text(self._ports).encode())
            self._add(ProxyService(self._path(name), reactor=self._reactor))
        return notes

    def _add(self, part: Any) -> None:
        part.setServiceParent(self)

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _write_certificates(self) -> None:
        now = datetime.now(timezone.utc)
        roots = {machine: authority(f"authority of machine {machine.upper()}", now) for machine in "ab"}
        shown = {
            "a/server": certificate(roots["a"], "machine A", now),
            "b/server": certificate(roots["b"], "machine B", now),
            "b/stranger": certificate(authority("authority of a stranger", now), "a stranger", now),
        }
        for name, each in shown.items():
            write(self._path(f"{name}.crt"), each.pem)
            write(self._path(f"{name}.key"), each.key_pem)
        for machine in "ab":
            for other in "ab":
                write(self._path(f"{machine}/ca_for_{other}.crt"), roots[other].pem)

    def _make_sshd(self, find: Find) -> None:
        """
        @raise NoSshdError: it cannot be.
        """
        program = find("sshd")
        if program is None or find("ssh") is None:
            raise NoSshdError("OpenSSH's sshd and ssh are not both installed")
        names = [_short(name) for name in NAMES[:2]]
        logins = Logins(login_name(), ssh_key(), {name: ssh_key() for name in names})
        for name, port in zip(names, self._ports.behind, strict=False):
            settings = write_server(name, self._path("behind"), logins)
            made = usable(program, settings)
            if made is not None:
                self._lent.append(made)
            self._add(Sshd(name, program, settings, port, self._reactor))
        ports = self._ports
        seen = {port: name for row in (ports.b, ports.b_one) for port, name in zip(row, names, strict=False)}
        write_client(self._path("b"), logins, {**seen, ports.b_wrong: names[0]})

    # Called by Twisted

    def setServiceParent(self, parent: Any) -> None:
        """
        Give twistd's application a log that leaves the terminal alone, before twistd begins to log.
        """
        if self._own_log and isinstance(parent, Componentized):
            # never closed, for twistd has a last word when all has ended
            self.log_file = open(self._path("demo.log"), "w", encoding="utf-8")
            parent.setComponent(ILogObserver, quiet_log(self.log_file))  # type: ignore[no-untyped-call]
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """
        Start everything, then tell.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.callWhenRunning(self._begun)

    def stopService(self) -> Deferred[Any]:
        """
        End everything, then remove the folder.
        """
        done = maybeDeferred(super().stopService)
        done.addBoth(self._ended)
        return done

    def _begun(self) -> None:
        # Set here, for the reactor has handlers of its own; and with those, twistd would end by the signal it got.
        for number in SIGNALS:
            self._on_signal(number, lambda number, frame: self._reactor.callFromThread(self._end))
        self._tell(self._page)

    def _end(self) -> None:
        if not self._ending:
            self._ending = True
            self._reactor.stop()

    def _ended(self, result: Any) -> Any:
        self._remove_files()
        self._tell(f"\nEnded; {self.folder} is removed.\n")
        return result

    def _remove_files(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for folder in self._lent:
            try:
                os.rmdir(folder)
            except OSError:
                pass  # it is in use by now: another sshd has begun

    def _tell(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            pass  # nobody reads any more


def _short(name: str) -> str:
    return name.partition(".")[0]


def _not_here(find: Find) -> list[str]:
    return [f"{name} is not installed here." for name in ("curl", "openssl") if find(name) is None]


def login_name() -> str:
    """
    @return: the name of who runs this.
    @raise NoSshdError: they cannot log in.
    """
    try:
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        raise NoSshdError(f"user {os.geteuid()} has no name here") from None
    if os.path.basename(user.pw_shell) in ("nologin", "false"):
        raise NoSshdError(f"the shell of {user.pw_name} is {user.pw_shell}")
    return user.pw_name


def uses_proxy(environment: Mapping[str, str]) -> bool:
    """
    Whether curl would ask a proxy for pages on loopback.
    """
    return any(environment.get(name) or environment.get(name.upper()) for name in PROXY_VARIABLES)


def quiet_log(file: TextIO, loud: TextIO | None = None) -> LogPublisher:
    """
    @param file: takes all that is logged.
    @param loud: takes what should never happen; standard error as it is now.
    """
    never = FilteringLogObserver(
        textFileLogObserver(loud if loud is not None else sys.stderr), [LogLevelFilterPredicate(LogLevel.critical)]
    )
    return LogPublisher(textFileLogObserver(file), never)
