"""
Tests for L{sniproxy.service.demo.machines}.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from dataclasses import astuple
from datetime import datetime, timezone
from itertools import count

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.listen import listenings
from sniproxy.service.demo import machines
from sniproxy.service.demo.certificates import authority
from sniproxy.service.demo.machines import HIGHEST, LOWEST, Ports, choose_ports, is_free
from sniproxy.service.load import load
from tests.support import pki
from tests.support.ports import free_port
from tests.support.programs import ROOT, read_text

PORTS = Ports(*range(20001, 20001 + len(astuple(Ports()))))


def printed(name: str) -> str:
    """
    A configuration of the tutorial as it is printed.
    """
    text = read_text(os.path.join(ROOT, "tests", "data", "seeds", name))
    assert text, name
    return text


def essence(text: str) -> list[str]:
    """
    The directives of a text one by one, without comments, space, and our choice of a log.
    """
    bare = re.sub(r"#.*|\s+", " ", text)
    return [line.strip() for line in re.findall(r"[^;{}]*[;{}]", bare) if "error_log" not in line]


def with_addresses(text: str, *changes: tuple[str, object]) -> list[str]:
    """
    A printed text with other addresses, ports and paths, each of which occurs in it.
    """
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, str(new))
    return essence(text)


class TextTests(SynchronousTestCase):
    """
    The demonstration runs what the tutorial prints.
    """

    def test_first_variant(self) -> None:
        """
        A's first variant is the tutorial's, but for addresses, ports and paths.
        """
        self.assertEqual(
            essence(machines.machine_a(PORTS)),
            with_addresses(
                printed("a-mtls.conf"),
                ("192.168.121.21:22", f"127.0.0.1:{PORTS.ssh1}"),
                ("192.168.121.22:22", f"127.0.0.1:{PORTS.ssh2}"),
                ("192.168.121.23:8080", f"127.0.0.1:{PORTS.web}"),
                ("listen 443", f"listen 127.0.0.1:{PORTS.a}"),
                ("30001", PORTS.a_ssh1),
                ("30002", PORTS.a_ssh2),
                ("30003", PORTS.a_web),
                ("/etc/nginx/ssl/example.com/", ""),
                ("/etc/nginx/ssl/", ""),
            ),
        )

    def test_second_variant(self) -> None:
        """
        A's second variant is the tutorial's, but for addresses, ports, paths and the order of two lines.
        """
        self.assertEqual(
            sorted(essence(machines.machine_a_one_listener(PORTS))),
            sorted(
                with_addresses(
                    printed("a-terminating.conf"),
                    ("192.168.121.21:22", f"127.0.0.1:{PORTS.ssh1}"),
                    ("192.168.121.22:22", f"127.0.0.1:{PORTS.ssh2}"),
                    ("192.168.121.23:8080", f"127.0.0.1:{PORTS.web}"),
                    ("listen 443", f"listen 127.0.0.1:{PORTS.one}"),
                    ("/etc/nginx/ssl/example.com/", ""),
                    ("/etc/nginx/ssl/", ""),
                )
            ),
        )

    def test_machine_b(self) -> None:
        """
        B's ports for ssh are the tutorial's, before either variant of A, and there is a third one for the web.
        """
        for text, ports, target in (
            (machines.machine_b(PORTS), PORTS.b, PORTS.a),
            (machines.machine_b_one_listener(PORTS), PORTS.b_one, PORTS.one),
        ):
            wanted = with_addresses(
                printed("b-certificate.conf"),
                ("listen 50001", f"listen 127.0.0.1:{ports[0]}"),
                ("listen 50002", f"listen 127.0.0.1:{ports[1]}"),
                ("10.0.92.10:443", f"127.0.0.1:{target}"),
                ("/etc/nginx/ssl/example.com/", ""),
                ("/etc/nginx/ssl/", ""),
            )
            server = len(wanted[1:-1]) // 2
            third = [
                line.replace(str(ports[0]), str(ports[2])).replace("ssh1", "web") for line in wanted[1 : 1 + server]
            ]
            self.assertEqual(essence(text), [*wanted[:-1], *third, "}"])

    def test_wrong_authority(self) -> None:
        """
        The B that is deceived differs from the first server of the other in whom it believes, and in its port.
        """
        wanted = essence(machines.machine_b(PORTS))
        wanted = [line.replace("ca_for_a", "ca_for_b") for line in [*wanted[: wanted.index("}") + 1], "}"]]
        wanted = [line.replace(str(PORTS.b_ssh1), str(PORTS.b_wrong)) for line in wanted]
        self.assertEqual(essence(machines.machine_b_wrong_authority(PORTS)), wanted)

    def test_they_load(self) -> None:
        """
        Every text is a whole configuration without a mistake, and listens on loopback alone.
        """
        folder = self.mktemp()
        os.makedirs(folder)
        shown = authority("an authority", datetime.now(timezone.utc))
        for name, data in (("ca_for_a.crt", shown.pem), ("ca_for_b.crt", shown.pem), ("server.crt", shown.pem)):
            pki.write(folder, name, data)
        pki.write(folder, "server.key", shown.key_pem)
        found = []
        for make in (
            machines.machine_a,
            machines.machine_a_one_listener,
            machines.machine_b,
            machines.machine_b_one_listener,
            machines.machine_b_wrong_authority,
        ):
            path = pki.write(folder, f"{make.__name__}.conf", make(PORTS).encode())
            found += [each.address for each in listenings(load(path))]
        self.assertEqual({address.host for address in found}, {"127.0.0.1"})
        mine = set(astuple(PORTS)) - set(PORTS.behind)
        self.assertEqual(sorted(address.port for address in found), sorted(mine))


def from_above() -> Callable[[int, int], int]:
    """
    Dice that count.
    """
    numbers = count()
    return lambda low, high: low + next(numbers)


class ChooseTests(SynchronousTestCase):
    """
    Which ports are taken.
    """

    def test_all_free(self) -> None:
        """
        Where all is free, the ports are the tutorial's.
        """
        self.assertEqual(choose_ports(lambda port: True, from_above()), Ports())

    def test_some_taken(self) -> None:
        """
        What is not free is replaced by what is, and the rest stays.
        """
        busy = {50001, 30003, LOWEST}
        chosen = choose_ports(lambda port: port not in busy, from_above())
        self.assertEqual(chosen, Ports(a_web=LOWEST + 1, b_ssh1=LOWEST + 2))

    def test_none_twice(self) -> None:
        """
        No port is chosen twice, whatever the dice say.
        """
        dice = iter([LOWEST, LOWEST, LOWEST, *range(LOWEST + 1, HIGHEST)])
        chosen = astuple(choose_ports(lambda port: port < HIGHEST and port >= LOWEST, lambda low, high: next(dice)))
        self.assertEqual(len(set(chosen)), len(chosen))

    def test_nothing_free(self) -> None:
        """
        A machine without free ports is an error, not an endless search.
        """
        self.assertRaises(OSError, choose_ports, lambda port: False, from_above())

    def test_is_free(self) -> None:
        """
        A port where somebody listens is not free, and is free when they have left.
        """
        port = free_port()  # and not one of the system's, which somebody else may be given in between
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            sock.listen()
            self.assertFalse(is_free(port))
        self.assertTrue(is_free(port))
