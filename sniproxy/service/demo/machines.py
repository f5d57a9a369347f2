"""
What do the machines of the demonstration run? The configurations of the tutorial, with nothing changed but addresses,
ports and paths.

Strategy: a text is made from L{Ports} alone, which can be asked what listens where; the ports are chosen once, before
anything is bound. The tutorial's own numbers are taken where they are free, so that whoever has it beside them
recognises everything. All paths are relative to the folder of the file, as C{ssl_certificate} reads them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

HOST: Final = "127.0.0.1"

NAMES: Final = ("ssh1.example.com", "ssh2.example.com", "web.example.com")

NOBODY: Final = f"{HOST}:65535"
"""Where unknown names go in the tutorial: no one listens there."""

LOWEST: Final = 12000
HIGHEST: Final = 32000
"""
Other ports are drawn from here: below those that Linux gives to outgoing connections, so that none of those takes a
port between its choice and its use.
"""

ATTEMPTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Ports:
    """
    What listens where on 127.0.0.1. The defaults are the tutorial's numbers, or like them where it needs root.

    @ivar a: machine A, which reads the name and sends the connection on as it is.
    @ivar a_ssh1: TLS ends here, for ssh1; so for the next two.
    @ivar one: machine A in its second variant, where TLS ends at once.
    @ivar b_ssh1: machine B, a plain port for ssh1, wrapped in TLS towards C{a}; so for the next two.
    @ivar b_one_ssh1: the same towards C{one}.
    @ivar b_wrong: a plain port of a machine B that was told to believe somebody else than A.
    @ivar ssh1: behind A; so the next two.
    """

    a: int = 8443
    a_ssh1: int = 30001
    a_ssh2: int = 30002
    a_web: int = 30003
    one: int = 8444
    b_ssh1: int = 50001
    b_ssh2: int = 50002
    b_web: int = 50003
    b_one_ssh1: int = 50011
    b_one_ssh2: int = 50012
    b_one_web: int = 50013
    b_wrong: int = 50021
    ssh1: int = 22021
    ssh2: int = 22022
    web: int = 28080

    @property
    def behind(self) -> tuple[int, int, int]:
        """
        The programs behind A, in the order of L{NAMES}.
        """
        return self.ssh1, self.ssh2, self.web

    @property
    def inner(self) -> tuple[int, int, int]:
        """
        The servers of A's first variant where TLS ends, in the order of L{NAMES}.
        """
        return self.a_ssh1, self.a_ssh2, self.a_web

    @property
    def b(self) -> tuple[int, int, int]:
        """
        B's ports that lead to A's first variant, in the order of L{NAMES}.
        """
        return self.b_ssh1, self.b_ssh2, self.b_web

    @property
    def b_one(self) -> tuple[int, int, int]:
        """
        B's ports that lead to A's second variant, in the order of L{NAMES}.
        """
        return self.b_one_ssh1, self.b_one_ssh2, self.b_one_web


def choose_ports(is_free: Callable[[int], bool], draw: Callable[[int, int], int]) -> Ports:
    """
    @param is_free: whether a port can be listened on now.
    @param draw: a number from its first argument up to, but without, its second; C{random.randrange}.
    @return: the tutorial's numbers where they are free, others where they are not; no two the same.
    @raise OSError: no free port was found.
    """
    taken: set[int] = set()
    chosen: dict[str, int] = {}
    for field in fields(Ports):
        port: int = field.default  # type: ignore[assignment]
        for _ in range(ATTEMPTS):
            if port not in taken and is_free(port):
                break
            port = draw(LOWEST, HIGHEST)
        else:
            raise OSError("no free port on 127.0.0.1")
        taken.add(port)
        chosen[field.name] = port
    return Ports(**chosen)


def is_free(port: int) -> bool:
    """
    Whether nobody listens on a port, on any address of this machine.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("", port))
        except OSError:
            return False
    return True


def _map(variable: str, targets: tuple[int, int, int]) -> str:
    lines = "".join(f"        {name} {HOST}:{port};\n" for name, port in zip(NAMES, targets, strict=True))
    return f"    map {variable} $proxy_pass_target {{\n{lines}        default {NOBODY};\n    }}\n"


_ENDS_TLS: Final = """\
        ssl_certificate server.crt;
        ssl_certificate_key server.key;
        ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;
        ssl_verify_client on;
        ssl_verify_depth 6;
        ssl_client_certificate ca_for_b.crt;
"""


def machine_a(ports: Ports) -> str:
    """
    A's first variant: the name is read from the ClientHello, the connection is sent on untouched, and TLS ends in one
    of three servers behind.
    """
    servers = "".join(
        f"\n    server {{\n        listen {HOST}:{inner} ssl;\n{_ENDS_TLS}        proxy_pass {HOST}:{target};\n    }}\n"
        for inner, target in zip(ports.inner, ports.behind, strict=True)
    )
    return (
        "# Machine A: one open port. The name in the ClientHello tells which server behind ends TLS,\n"
        "# and that one asks for a certificate of B's authority.\n"
        "error_log a.log info;\n\n"
        "stream {\n"
        "    map_hash_bucket_size 64;\n"
        f"{_map('$ssl_preread_server_name', ports.inner)}\n"
        f"    server {{\n        listen {HOST}:{ports.a};\n        ssl_preread on;\n"
        "        proxy_pass $proxy_pass_target;\n    }\n"
        f"{servers}}}\n"
    )


def machine_a_one_listener(ports: Ports) -> str:
    """
    A's second variant: TLS ends where the client comes in, and the name then tells where to.
    """
    return (
        "# Machine A once more, with one layer: TLS ends at the open port, then the name tells where to.\n"
        "error_log a-one-listener.log info;\n\n"
        "stream {\n"
        "    map_hash_bucket_size 64;\n"
        f"{_map('$ssl_server_name', ports.behind)}\n"
        f"    server {{\n        listen {HOST}:{ports.one} ssl;\n{_ENDS_TLS}"
        "        proxy_pass $proxy_pass_target;\n    }\n"
        "}\n"
    )


def _server_b(port: int, name: str, target: int, authority: str) -> str:
    return (
        f"\n    server {{\n        listen {HOST}:{port};\n"
        "        proxy_ssl on;\n"
        "        proxy_ssl_certificate server.crt;\n"
        "        proxy_ssl_certificate_key server.key;\n"
        "        proxy_ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;\n"
        "        proxy_ssl_verify on;\n"
        f"        proxy_ssl_trusted_certificate {authority};\n"
        "        proxy_ssl_verify_depth 6;\n"
        "        proxy_ssl_server_name on;\n"
        f"        proxy_ssl_name {name};\n"
        f"        proxy_pass {HOST}:{target};\n    }}\n"
    )


def _machine_b(what: str, stem: str, servers: str) -> str:
    return f"# {what}\nerror_log {stem}.log info;\n\nstream {{{servers}}}\n"


def machine_b(ports: Ports) -> str:
    """
    B before A's first variant: plain ports, wrapped in TLS with B's certificate.
    """
    servers = (_server_b(port, name, ports.a, "ca_for_a.crt") for port, name in zip(ports.b, NAMES, strict=True))
    return _machine_b(
        "Machine B: programs that know no TLS connect here; towards A it is TLS, with B's certificate.",
        "b",
        "".join(servers),
    )


def machine_b_one_listener(ports: Ports) -> str:
    """
    B before A's second variant.
    """
    servers = (_server_b(port, name, ports.one, "ca_for_a.crt") for port, name in zip(ports.b_one, NAMES, strict=True))
    return _machine_b("Machine B before a-one-listener.conf.", "b-one-listener", "".join(servers))


def machine_b_wrong_authority(ports: Ports) -> str:
    """
    A B that was told to believe another authority than A's, and so takes A for an impostor.
    """
    return _machine_b(
        "Machine B with another authority than A's: it takes A for an impostor and ends the connection.",
        "b-wrong-authority",
        _server_b(ports.b_wrong, NAMES[0], ports.a, "ca_for_b.crt"),
    )
