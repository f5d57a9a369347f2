"""
How does a test log in over ssh? With a real sshd on a loopback port, keys made for the occasion, and the real ssh.
"""

from __future__ import annotations

import getpass
import os
import subprocess

from tests.support.ports import free_port
from tests.support.programs import ProgramTestCase, need, run, write_text

_SETTINGS = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile {folder}/sshd.pid
SetEnv MACHINE={name}
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PubkeyAuthentication yes
UseDNS no
PerSourcePenalties no
"""


def _make_key(path: str) -> None:
    made = run(need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", path)
    if made.returncode:
        raise AssertionError(made.stderr)


class Sshd:
    """
    An sshd that lets the user of the tests in by key, and tells who logs in which machine it is.

    @ivar port: where it listens on 127.0.0.1.
    """

    def __init__(self, test: ProgramTestCase, name: str) -> None:
        self.name = name
        self.port = free_port()
        program = need("sshd")
        self._ssh = need("ssh")
        self._folder = test.path(f"sshd-{name}")
        os.makedirs(self._folder)
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", 0o755, exist_ok=True)  # sshd wants it when it is started by root
        _make_key(f"{self._folder}/host")
        _make_key(f"{self._folder}/user")
        settings = _SETTINGS.format(port=self.port, folder=self._folder, name=name)
        if run(program, "-t", "-f", self._settings(settings)).returncode:
            self._settings(settings.replace("PerSourcePenalties no\n", ""))  # sshd before 9.8
        running = test.start(f"sshd-{name}", program, "-D", "-e", "-f", f"{self._folder}/config")
        running.ready(lambda: os.path.exists(f"{self._folder}/sshd.pid"), "sshd")

    def _settings(self, text: str) -> str:
        return write_text(f"{self._folder}/config", text)

    def login(self, port: int) -> subprocess.CompletedProcess[str]:
        """
        Log in through a port with this machine's user key, and ask which machine it is.
        """
        options: tuple[str, ...] = (
            "StrictHostKeyChecking=no",
            f"UserKnownHostsFile={self._folder}/known",
            "BatchMode=yes",
        )
        options += ("IdentitiesOnly=yes", "ConnectTimeout=20", "LogLevel=ERROR")
        arguments = [each for option in options for each in ("-o", option)]
        target = f"{getpass.getuser()}@127.0.0.1"
        return run(
            self._ssh, "-F", "none", "-i", f"{self._folder}/user", "-p", str(port), *arguments, target, "echo $MACHINE"
        )

    def host_key(self) -> str:
        """
        The key that ssh has seen at the last login, as it stands in its list of known hosts.
        """
        with open(f"{self._folder}/known", encoding="ascii") as file:
            return file.read().split()[-1]

    def own_key(self) -> str:
        """
        The key that it should have seen.
        """
        with open(f"{self._folder}/host.pub", encoding="ascii") as file:
            return file.read().split()[1]
