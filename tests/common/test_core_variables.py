"""
The core variables, in nginx's formats.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.common.core_variables import CORE_VARIABLES
from sniproxy.common.session import Session
from sniproxy.config.template import ANY
from tests.support.places import FakeRequest
from tests.support.sessions import World, lone_session

CLIENT = Address("inet", "192.0.2.7", 40001)
SERVER = Address("inet", "192.0.2.1", 443)


class Carried:
    """
    What has been counted.
    """

    bytes_received = 517
    bytes_sent = 4096
    bytes_to_upstream = 0
    bytes_from_upstream = 0


GETTERS = {variable.name: variable.get for variable in CORE_VARIABLES}


def session_with(
    peer: Address = CLIENT,
    local: Address = SERVER,
    names: tuple[str, ...] = (),
    begun: float = 100.0,
    wall: float = 1679012385.0,
    status: int = 200,
) -> Session:
    """
    A session at the moment 100.0 of the clock for intervals.
    """
    session = lone_session(peer, local, number=23, begun=begun, status=status)
    session.runtime.now = lambda: 100.0
    session.runtime.time = lambda: wall
    session.server.names = names
    session.traffic = Carried()
    return session


def value(name: str, **facts: Any) -> str:
    """
    A variable of a session with some facts of its own.
    """
    answer: str = GETTERS[name](session_with(**facts))
    return answer


class VariableTests(SynchronousTestCase):
    """
    One session, many variables.
    """

    def check(self, expected: dict[str, str], **facts: Any) -> None:
        """
        Compare several variables of one session.
        """
        self.assertEqual({name: value(name, **facts) for name in expected}, expected)

    def test_tcp(self) -> None:
        """
        Addresses of the internet are shown without brackets, ports apart.
        """
        self.check(
            {
                "remote_addr": "192.0.2.7",
                "remote_port": "40001",
                "server_addr": "192.0.2.1",
                "server_port": "443",
                "binary_remote_addr": "\xc0".encode("latin-1").decode("utf-8", "surrogateescape") + "\0\x02\x07",
            }
        )
        self.check(
            {"remote_addr": "2001:db8::1", "remote_port": "1", "server_addr": "::1", "server_port": "2"},
            peer=Address("inet6", "2001:db8::1", 1),
            local=Address("inet6", "::1", 2),
        )

    def test_binary_address_survives(self) -> None:
        """
        The binary address is the address, whatever bytes it has.
        """
        for family, host in (
            ("inet", "195.169.0.255"),
            ("inet", "10.0.0.1"),
            ("inet6", "2001:db8::c3a9:ff"),
            ("inet6", "::ffff:1.2.3.4"),
        ):
            text = value("binary_remote_addr", peer=Address(family, host, 9))  # type: ignore[arg-type]
            packed = socket.inet_pton(socket.AF_INET if family == "inet" else socket.AF_INET6, host)
            self.assertEqual(text.encode("utf-8", "surrogateescape"), packed)

    def test_unix(self) -> None:
        """
        A client on a unix socket has no name and no port; the server has its path.
        """
        self.check(
            {
                "remote_addr": "unix:",
                "remote_port": "",
                "binary_remote_addr": "unix:",
                "server_addr": "unix:/run/edge.sock",
                "server_port": "",
            },
            peer=Address("unix", ""),
            local=Address("unix", "/run/edge.sock"),
        )

    def test_counts(self) -> None:
        """
        Numbers are decimal; a status has three digits even before there is one.
        """
        self.check({"connection": "23", "bytes_received": "517", "bytes_sent": "4096", "status": "200"})
        self.check({"status": "000"}, status=0)

    def test_process(self) -> None:
        """
        What is the same for all sessions of a process.
        """
        self.check(
            {
                "hostname": socket.gethostname().lower(),
                "nginx_version": "1.31.5",
                "pid": str(os.getpid()),
                "protocol": "TCP",
            }
        )

    def test_datagrams(self) -> None:
        """
        Datagrams have another protocol.
        """
        session = session_with()
        (session.listening,) = World("server { listen 192.0.2.1:1 udp; return x; }").listening
        self.assertEqual(GETTERS["protocol"](session), "UDP")

    def test_server_name(self) -> None:
        """
        The server's name is the first of its names, or nothing.
        """
        self.check({"server_name": ""})
        self.check({"server_name": "a.example"}, names=("a.example", "b.example"))

    def test_session_time(self) -> None:
        """
        The time a session took has three decimals and is never negative.
        """
        for begun, expected in (
            (99.995, "0.005"),
            (100.0, "0.000"),
            (38.75, "61.250"),
            (100.5, "0.000"),
            (98.999, "1.001"),
        ):
            self.check({"session_time": expected}, begun=begun)

    def test_msec(self) -> None:
        """
        The current time keeps its milliseconds, and is not rounded up.
        """
        for wall, expected in (
            (1679041185.123, "1679041185.123"),
            (1679041185.0, "1679041185.000"),
            (1679041185.9999, "1679041185.999"),
            (1679041185.001, "1679041185.001"),
        ):
            self.check({"msec": expected}, wall=wall)

    def test_what_is_volatile(self) -> None:
        """
        What changes while a session lasts is asked each time, as nginx flags it.
        """
        self.assertEqual(
            {variable.name for variable in CORE_VARIABLES if variable.volatile},
            {"msec", "session_time", "status", "time_iso8601", "time_local"},
        )


class ZoneTests(SynchronousTestCase):
    """
    The time of day, which depends on where the machine is.
    """

    def in_zone(self, zone: str, wall: float) -> tuple[str, str]:
        """
        Both texts for a moment, in a time zone (POSIX writes its sign the other way round).
        """
        before = os.environ.get("TZ")

        def restore() -> None:
            os.environ.pop("TZ", None)
            if before is not None:
                os.environ["TZ"] = before
            time.tzset()

        self.addCleanup(restore)
        os.environ["TZ"] = zone
        time.tzset()
        return value("time_local", wall=wall), value("time_iso8601", wall=wall)

    def test_east(self) -> None:
        """
        East of Greenwich the offset is positive.
        """
        self.assertEqual(
            self.in_zone("CST-8", 1679012385.9), ("17/Mar/2023:08:19:45 +0800", "2023-03-17T08:19:45+08:00")
        )

    def test_west_by_half_an_hour(self) -> None:
        """
        West of it the offset is negative, with its minutes.
        """
        self.assertEqual(
            self.in_zone("NST3:30", 1704067199.0), ("31/Dec/2023:20:29:59 -0330", "2023-12-31T20:29:59-03:30")
        )

    def test_greenwich(self) -> None:
        """
        In Greenwich it is plus nothing.
        """
        self.assertEqual(
            self.in_zone("UTC0", 1704067200.0), ("01/Jan/2024:00:00:00 +0000", "2024-01-01T00:00:00+00:00")
        )


class KindTests(SynchronousTestCase):
    """
    Which of them requests have.
    """

    def test_requests(self) -> None:
        """
        What does not differ in http is told of requests, too.
        """
        request = FakeRequest()
        shared = [variable for variable in CORE_VARIABLES if variable.kind == ANY]
        stream = {variable.name for variable in CORE_VARIABLES} - {variable.name for variable in shared}
        self.assertEqual(stream, {"bytes_received", "bytes_sent", "protocol", "server_name", "session_time", "status"})
        for variable in shared:
            self.assertEqual(variable.get(request), variable.get(request.session), variable.name)
