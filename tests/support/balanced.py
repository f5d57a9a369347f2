"""
What do tests of the ways of balancing have in common? A group of three in memory, and whom clients are given.
"""

from __future__ import annotations

from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.errors import ConfigErrors
from tests.support.sessions import World, configured

SERVERS: Final = "server 192.0.2.2:1; server 192.0.2.2:2; server 192.0.2.2:3;"


class BalancedTestCase(SynchronousTestCase):
    """
    A group of three.
    """

    def world(self, line: str) -> World:
        """
        Such a group with one line before its servers, and a server that passes to it.
        """
        return World(f"upstream back {{ {line} {SERVERS} }} server {{ listen 192.0.2.1:443; proxy_pass back; }}")

    def complaints(self, line: str) -> list[str]:
        """
        What is wrong with such a line, which is the second of the file.
        """
        text = "stream { upstream back {\n" + line + "\n" + SERVERS + " } }"
        return [str(error) for error in self.assertRaises(ConfigErrors, configured, text).errors]

    def port(self, world: World, host: str = "192.0.2.77") -> int:
        """
        Where a client is passed to that stays.
        """
        world.client(peer=Address("inet", host, 40000))
        attempt = world.attempt()
        attempt.succeed()
        return attempt.address.port
