"""
Tests for L{sniproxy.common.proxy_bind}.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.common.proxy_bind import BIND, local_address
from sniproxy.config.template import Variable
from sniproxy.errors import BindError, ConfigErrors, TransparencyError
from sniproxy.levels import ERROR
from sniproxy.net.connect import ConnectOptions
from tests.support.places import Declared, FakeRequest, Places
from tests.support.sessions import Attempt, World, configured

SERVER = (
    "server {{ listen 192.0.2.1:443; proxy_pass back; {} }} upstream back {{ server 192.0.2.2:1; server 192.0.2.2:2; }}"
)


class ProxyBindTests(SynchronousTestCase):
    """
    The directive at work.
    """

    def attempt(self, line: str, around: str = "") -> Attempt:
        """
        What a client's session does.
        """
        self.made = World(around + SERVER.format(line))
        self.made.client()
        return self.made.attempt()

    def complaints(self, line: str) -> list[str]:
        """
        What is wrong with it.
        """
        text = f"stream {{ {SERVER.format(line)} }}"
        return [str(error) for error in self.assertRaises(ConfigErrors, configured, text).errors]

    def test_addresses(self) -> None:
        """
        An address may have a port, which IPv6 needs brackets for.
        """
        for text, address in (
            ("192.0.2.9", Address("inet", "192.0.2.9")),
            ("192.0.2.9:80", Address("inet", "192.0.2.9", 80)),
            ("2001:DB8::1", Address("inet6", "2001:db8::1")),
            ("[2001:db8::1]:80", Address("inet6", "2001:db8::1", 80)),
        ):
            self.assertEqual(local_address(text), address)
            attempt = self.attempt(f"proxy_bind {text};")
            self.assertEqual((attempt.options.bind, attempt.options.transparent), (address, False))
        for text in (
            "x",
            "192.0.2",
            "192.0.2.9:0",
            "192.0.2.9:x",
            "192.0.2.9:65536",
            "[::1]",
            "[::1",
            "fe80::1%lo",
            ":1",
            "unix:/s",
        ):
            self.assertIsNone(local_address(text), text)
            self.assertEqual(self.complaints(f"proxy_bind {text};"), [f'invalid address "{text}" in /etc/edge.conf:1'])

    def test_transparent(self) -> None:
        """
        A foreign address is said to be one.
        """
        attempt = self.attempt("proxy_bind 192.0.2.9 transparent;")
        self.assertEqual((attempt.options.bind, attempt.options.transparent), (Address("inet", "192.0.2.9"), True))
        self.assertEqual(self.complaints("proxy_bind 192.0.2.9 foo;"), ['invalid parameter "foo" in /etc/edge.conf:1'])

    def test_off(self) -> None:
        """
        An inner block may take it back.
        """
        around = "proxy_bind 192.0.2.9;"
        self.assertEqual(self.attempt("", around).options.bind, Address("inet", "192.0.2.9"))
        self.assertIsNone(self.attempt("proxy_bind off;", around).options.bind)

    def test_variable(self) -> None:
        """
        With variables each session has its own, for all its tries.
        """
        attempt = self.attempt("proxy_bind $remote_addr:$remote_port transparent;")
        wanted = (Address("inet", "192.0.2.77", 40000), True)
        self.assertEqual((attempt.options.bind, attempt.options.transparent), wanted)
        attempt.fail()
        attempt = self.made.attempt()
        self.assertEqual((attempt.options.bind, attempt.options.transparent), wanted)

    def test_variable_that_says_nothing(self) -> None:
        """
        Where a variable says nothing any address will do; nonsense is an error in the log, and the session goes on.
        """
        for value, lines in (("", 0), ("nonsense", 1)):
            attempt = self.attempt("proxy_bind $own;", f"map $remote_addr $own {{ default '{value}'; }}")
            self.assertIsNone(attempt.options.bind)
            self.assertEqual("".join(self.made.lines).count('[error] *1 invalid local address "nonsense"'), lines)

    def refused(self, line: str, kind: type[BindError], number: int) -> str:
        """
        The system refuses the address.

        @return: what the log says last.
        """
        attempt: Any = self.attempt(line)
        attempt.answered = True
        attempt._done(kind(number, os.strerror(number)), 0)
        self.assertEqual(self.made.statuses(), [500])
        self.assertEqual(self.made.value("$upstream_addr"), "")
        return self.made.lines[-1].partition(" while")[0]

    def test_refused(self) -> None:
        """
        An address that cannot be had is critical, and the end of the session: no other peer would help.
        """
        for text in ("192.0.2.9", "192.0.2.9:80", "2001:db8::1", "[2001:db8::1]:80"):
            self.assertEqual(
                self.refused(f"proxy_bind {text};", BindError, errno.EADDRNOTAVAIL),
                f"[crit] *1 bind({text}) failed (99: Cannot assign requested address)",
            )
        self.assertEqual(
            self.refused("proxy_bind 192.0.2.9 transparent;", TransparencyError, errno.EPERM),
            "[alert] *1 setsockopt(IP_TRANSPARENT) failed (1: Operation not permitted)",
        )

    def test_http(self) -> None:
        """
        In a location it is asked for each request.
        """
        where = Variable("where", lambda request: request.notes["where"], volatile=True, kind="http")
        module = Declared(BIND, variables=[where])
        (place, inner) = Places("server { proxy_bind 192.0.2.5; location / { proxy_bind $where; } }", [module]).places
        request = FakeRequest()
        for found, text, bind in (
            (place.scope[BIND], "", Address("inet", "192.0.2.5", 0)),
            (inner.scope[BIND], "192.0.2.6:7", Address("inet", "192.0.2.6", 7)),
            (inner.scope[BIND], "x", None),
        ):
            request.notes["where"] = text
            assert found is not None
            self.assertEqual(found.options(request, ConnectOptions()).bind, bind)
        self.assertEqual(request.lines, [(ERROR, 'invalid local address "x"')])
