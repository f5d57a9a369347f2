"""
What does the demonstration tell its user? What listens where, and commands that try every route, each with what it
shows.

Strategy: each command stands on a line of its own, ready to be pasted, and under it what it shows, in quotes as the
other terminal will print it; so that whoever reads the page, a person or a test, can hold it to its word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sniproxy.service.demo.backends import greeting
from sniproxy.service.demo.machines import HOST, NAMES, Ports

PAGE: Final = "This is web.example.com."
"""What the web server behind A answers."""

TRUST: Final = "ca_for_a.crt"
OWN: Final = "--cert server.crt --key server.key"
STRANGER: Final = "--cert stranger.crt --key stranger.key"


@dataclass(frozen=True, slots=True)
class Trial:
    """
    Something to try.

    @ivar command: one line for a shell, in B's folder.
    @ivar shows: what comes of it; what is in double quotes is printed so.
    """

    command: str
    shows: str


@dataclass(frozen=True, slots=True)
class Group:
    """
    Trials with something in common.
    """

    title: str
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Commands:
    """
    Makes commands.

    @ivar ports: what listens where.
    @ivar sshd: whether a real sshd is behind A, not a greeter.
    @ivar proxied: whether curl has to be told that no proxy leads to loopback.
    """

    ports: Ports
    sshd: bool = True
    proxied: bool = False

    @property
    def _curl(self) -> str:
        return "curl -sS --noproxy '*'" if self.proxied else "curl -sS"

    def plain(self, port: int, name: str) -> Trial:
        """
        Through one of B's plain ports.

        @param name: of L{NAMES}.
        """
        short = name.partition(".")[0]
        if name == NAMES[2]:
            return Trial(f"{self._curl} http://{HOST}:{port}/", f'shows "{PAGE}"')
        if self.sshd:
            return Trial(self.ssh(port), f'shows "{short}"; without the echo it is a login')
        return Trial(f"{self._curl} --http0.9 http://{HOST}:{port}/", f'shows "{greeting(short)}"')

    def ssh(self, port: int) -> str:
        """
        Ask a machine which one it is.
        """
        return f"ssh -F ssh.conf -p {port} {HOST} 'echo $MACHINE'"

    def curl(self, port: int, *options: str, name: str = NAMES[2]) -> str:
        """
        Ask A for the page, with TLS.
        """
        return " ".join([self._curl, *options, f"--connect-to ::{HOST}:{port} https://{name}/"])

    def openssl(self, port: int, name: str) -> Trial:
        """
        Knock at a machine with ssh, through A, with nothing but TLS.
        """
        command = (
            f"echo | openssl s_client -quiet -connect {HOST}:{port} -servername {name} "
            f"-CAfile {TRUST} -verify_return_error -cert server.crt -key server.key"
        )
        said = "SSH-2.0-" if self.sshd else greeting(name.partition(".")[0])
        return Trial(command, f'shows "verify return:1" for A\'s certificate, then "{said}"' + "..." * self.sshd)

    def refused(self, command: str, log: str, why: str) -> Trial:
        """
        @param log: the file in which the reason is the last line.
        """
        return Trial(f"{command}; tail -n 1 {log}", f'fails, and the log says why: "{why}"')


def groups(commands: Commands) -> tuple[Group, ...]:
    """
    Everything there is to try.
    """
    ports = commands.ports
    one = "../a/a-one-listener.log"
    trusted = f"--cacert {TRUST}"
    return (
        Group(
            "Plain connections to machine B, which speaks TLS with A; A goes by the name and ends TLS behind",
            tuple(commands.plain(port, name) for port, name in zip(ports.b, NAMES, strict=True)),
        ),
        Group(
            "The same with A's second variant: it ends TLS at once, then goes by the name",
            tuple(commands.plain(port, name) for port, name in zip(ports.b_one, NAMES, strict=True)),
        ),
        Group(
            "TLS straight to machine A, both variants, with B's certificate",
            (
                Trial(commands.curl(ports.a, trusted, OWN), f'shows "{PAGE}"'),
                Trial(commands.curl(ports.one, trusted, OWN), f'shows "{PAGE}"'),
                commands.openssl(ports.a, NAMES[0]),
                commands.openssl(ports.one, NAMES[1]),
            ),
        ),
        Group(
            "What must fail",
            (
                commands.refused(commands.curl(ports.one, trusted), one, "client sent no required SSL certificate"),
                commands.refused(
                    commands.curl(ports.one, trusted, STRANGER), one, "client SSL certificate verify error"
                ),
                commands.refused(
                    commands.curl(ports.one, trusted, OWN, name="other.example.com"),
                    one,
                    "connect() failed (111: Connection refused)",
                ),
                Trial(
                    commands.curl(ports.one, "--cacert ca_for_b.crt", OWN),
                    'fails with "curl: (60)": A\'s certificate is not of that authority',
                ),
                commands.refused(
                    commands.plain(ports.b_wrong, NAMES[0]).command,
                    "b-wrong-authority.log",
                    "upstream SSL certificate verify error",
                ),
            ),
        ),
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "    " + "   ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _routes(commands: Commands) -> list[str]:
    ports = commands.ports
    ssh = "sshd" if commands.sshd else "greeter"
    behind = [f":{port} {what}" for port, what in zip(ports.behind, (ssh, ssh, "web page"), strict=True)]
    rows = [("", "machine B", "machine A", "behind A")]
    for name, port, inner, there in zip(NAMES, ports.b, ports.inner, behind, strict=True):
        rows.append((name, f":{port}", f":{ports.a}, and TLS ends at :{inner}", there))
    for name, port, there in zip(NAMES, ports.b_one, behind, strict=True):
        rows.append((name, f":{port}", f":{ports.one}, where TLS ends", there))
    return _table(rows)


def page(commands: Commands, folder: str, notes: Sequence[str] = ()) -> str:
    """
    @param folder: where everything is.
    @param notes: what this computer lacks, a sentence each.
    @return: lines, each with its newline.
    """
    lines = [
        f"Both machines of the tutorial run on {HOST}, with throwaway certificates. Ctrl-C ends them.",
        "",
        *_routes(commands),
        "",
        f"Configurations, certificates and logs are in {folder}:",
        "",
        *_table(
            (
                ("a/a.conf", "machine A: reads the name, ends TLS in three servers behind"),
                ("a/a-one-listener.conf", "machine A, second variant: ends TLS at once"),
                ("b/b.conf", "machine B before a.conf"),
                ("b/b-one-listener.conf", "machine B before a-one-listener.conf"),
                ("b/b-wrong-authority.conf", "machine B with another authority than A's"),
                ("a/*.log, b/*.log, demo.log", "what they log"),
            )
        ),
        *(["", *notes] if notes else []),
        "",
        "To try them, open another terminal, go to machine B's folder and paste what you like:",
        "",
        f"    cd {folder}/b",
    ]
    for group in groups(commands):
        lines += ["", f"{group.title}:"]
        for trial in group.trials:
            lines += ["", f"    {trial.command}", f"        {trial.shows}"]
    return "\n".join(lines) + "\n\n"
