"""
Which datagrams a syslog server gets.
"""

from __future__ import annotations

import socket
from datetime import datetime
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.config.build import Build
from sniproxy.errors import ConfigError
from sniproxy.interfaces import ISessionLog
from sniproxy.logs.syslog import Syslog, SyslogLog, parse

NOON = datetime(2023, 3, 7, 12, 5, 9).timestamp()


class ParseTests(SynchronousTestCase):
    """
    The parameter as it is written.
    """

    def setUp(self) -> None:
        self.build = Build([], file="a.conf", lookup={"logs.example": ("10.0.0.9", "10.0.0.10")}.__getitem__)

    def test_defaults(self) -> None:
        """
        Only the server has to be given.
        """
        self.assertEqual(
            parse("syslog:server=127.0.0.1", self.build),
            Syslog(Address("inet", "127.0.0.1", 514), 23, 6, "nginx", True),
        )

    def test_everything(self) -> None:
        """
        All parameters, in any order and case.
        """
        self.assertEqual(
            parse("syslog:nohostname,tag=edge_1,severity=WARN,facility=daemon,server=[::1]:1514", self.build),
            Syslog(Address("inet6", "::1", 1514), 3, 4, "edge_1", False),
        )

    def test_servers(self) -> None:
        """
        A server is numeric, a unix socket, or a name whose first address counts.
        """
        for text, address in (
            ("unix:/dev/log", Address("unix", "/dev/log")),
            ("logs.example:99", Address("inet", "10.0.0.9", 99)),
            ("10.0.0.1:99", Address("inet", "10.0.0.1", 99)),
        ):
            self.assertEqual(parse(f"syslog:server={text}", self.build).server, address)

    def test_refused(self) -> None:
        """
        What is wrong is said in nginx's words.
        """
        self.build.lookup = Build([], file="a.conf").lookup
        for text, message in (
            ("", 'unknown syslog parameter ""'),
            ("tag=a", "no syslog server specified"),
            ("server=1.1.1.1,server=1.1.1.2", 'duplicate syslog "server"'),
            ("server=1.1.1.1,tag=a,tag=b", 'duplicate syslog "tag"'),
            ("server=1.1.1.1,facility=x", 'unknown syslog facility "x"'),
            ("server=1.1.1.1,severity=x", 'unknown syslog severity "x"'),
            ("server=1.1.1.1,tag=" + "a" * 33, "syslog tag length exceeds 32"),
            ("server=1.1.1.1,tag=a-b", 'syslog "tag" only allows alphanumeric characters and underscore'),
            ("server=1.1.1.1,tag", 'unknown syslog parameter "tag"'),
            ("server=1.1.1.1:0", 'invalid port in syslog server "1.1.1.1:0"'),
            ("server=nowhere.example", 'host not found in syslog server "nowhere.example"'),
        ):
            error = self.assertRaises(ConfigError, parse, f"syslog:{text}", self.build)
            self.assertEqual(str(error), message)

    def test_longest_tag(self) -> None:
        """
        A tag of 32 characters is the longest.
        """
        self.assertEqual(parse("syslog:server=1.1.1.1,tag=" + "a" * 32, self.build).tag, "a" * 32)


class SyslogLogTests(SynchronousTestCase):
    """
    Lines on their way to a server of ours.
    """

    def setUp(self) -> None:
        self.complaints: list[str] = []
        self.now = NOON
        self.server = self.listen(socket.AF_INET, ("127.0.0.1", 0))

    def listen(self, family: int, address: Any) -> socket.socket:
        server = socket.socket(family, socket.SOCK_DGRAM)
        self.addCleanup(server.close)
        server.settimeout(10)
        server.bind(address)
        return server

    def log(self, syslog: Syslog | None = None) -> SyslogLog:
        if syslog is None:
            syslog = Syslog(Address("inet", *self.server.getsockname()))
        log = SyslogLog(syslog, lambda: self.now, self.complaints.append, "edge")
        self.addCleanup(log.close)
        return log

    def test_interface(self) -> None:
        """
        A syslog server is a session log.
        """
        self.assertTrue(verifyObject(ISessionLog, self.log()))

    def test_line(self) -> None:
        """
        A line has priority, time with the day padded by a space, host, tag, and no newline.
        """
        self.log().write(b"hello\n")
        self.assertEqual(self.server.recv(1000), b"<190>Mar  7 12:05:09 edge nginx: hello")

    def test_own_severity(self) -> None:
        """
        A line may have a severity of its own; the host's name may be left out.
        """
        address = Address("inet", *self.server.getsockname())
        self.log(Syslog(address, 3, 6, "a", hostname=False)).send(2, b"hello\n")
        self.assertEqual(self.server.recv(1000), b"<26>Mar  7 12:05:09 a: hello")

    def test_own_hostname(self) -> None:
        """
        Where no name is handed in it is the host's.
        """
        log = SyslogLog(Syslog(Address("inet", *self.server.getsockname())), lambda: NOON, self.complaints.append)
        self.addCleanup(log.close)
        log.write(b"hello\n")
        self.assertIn(f" {socket.gethostname()} nginx: ".encode(), self.server.recv(1000))

    def test_unix(self) -> None:
        """
        A unix socket takes datagrams too, also after the server was started anew.
        """
        path = Path(self.mktemp())
        server = self.listen(socket.AF_UNIX, str(path))
        log = self.log(Syslog(Address("unix", str(path))))
        log.write(b"one\n")
        self.assertTrue(server.recv(1000).endswith(b"one"))
        server.close()
        path.unlink()
        server = self.listen(socket.AF_UNIX, str(path))
        log.write(b"two\n")
        self.assertTrue(server.recv(1000).endswith(b"two"))
        self.assertEqual(self.complaints, [])

    def test_nobody_there(self) -> None:
        """
        A server that is not there costs the lines and one complaint a minute; when it comes it is found.
        """
        path = Path(self.mktemp())
        log = self.log(Syslog(Address("unix", str(path))))
        complaint = f"send() to syslog unix:{path} failed (2: No such file or directory)"
        log.write(b"one\n")
        log.write(b"two\n")
        self.assertEqual(self.complaints, [complaint])
        self.now += 60
        log.write(b"three\n")
        self.assertEqual(self.complaints, [complaint, complaint])
        server = self.listen(socket.AF_UNIX, str(path))
        log.write(b"four\n")
        self.assertTrue(server.recv(1000).endswith(b"four"))

    def test_slow_server(self) -> None:
        """
        A server that does not read loses lines, and nobody waits for it.
        """
        path = Path(self.mktemp())
        server = self.listen(socket.AF_UNIX, str(path))
        log = self.log(Syslog(Address("unix", str(path))))
        for _ in range(2000):
            log.write(b"x" * 1000 + b"\n")
        self.assertEqual(self.complaints, [])
        self.assertTrue(server.recv(2000).endswith(b"x"))

    def test_reopen(self) -> None:
        """
        After USR1 lines come from a new socket.
        """
        log = self.log()
        log.write(b"one\n")
        log.reopen()
        log.write(b"two\n")
        (first, here), (second, there) = self.server.recvfrom(1000), self.server.recvfrom(1000)
        self.assertTrue(first.endswith(b"one") and second.endswith(b"two"))
        self.assertNotEqual(here, there)
