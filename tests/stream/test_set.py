"""
C{set}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from sniproxy.stream.set_ import set_
from tests.support.sessions import World, configured


class SetTests(SynchronousTestCase):
    """
    Values that servers give.
    """

    def said(self, text: str, *, outer: str = "") -> str:
        """
        What a client of a server hears.
        """
        world = World(outer + "server { listen 192.0.2.1:22; " + text + " }")
        return world.client(b"SSH-2.0-x\r\n").sent.decode()

    def test_text(self) -> None:
        """
        A value may have variables, and those that were set before; the last one counts.
        """
        self.assertEqual(self.said('set $a 1; set $B "<$a$remote_addr>"; return $b$A;'), "<1192.0.2.77>1")
        self.assertEqual(self.said("set $a 1; set $a 2$a; return $a;"), "21")

    def test_elsewhere(self) -> None:
        """
        On a server that does not set it, the variable is empty.
        """
        world = World(
            "server { listen 192.0.2.1:22; return <$a>; } server { listen 192.0.2.1:23; set $a 1; return <$a>; }"
        )
        self.assertEqual([bytes(world.client(at=at).sent) for at in (0, 1)], [b"<>", b"<1>"])

    def test_of_a_map(self) -> None:
        """
        What a block of the configuration makes may be set too: a map before or behind it, volatile or not.
        """
        for flag in ("", "volatile;"):
            made = "map $protocol $a { " + flag + " default map; } "
            later = " map $protocol $c { " + flag + " default map; } "
            self.assertEqual(self.said("set $b $a; set $a own; return $b-$a;", outer=made), "map-own")
            world = World(
                made
                + "server { listen 192.0.2.1:22; set $a own; set $c $c-own; return $a-$c; }"
                + "server { listen 192.0.2.1:23; return $a-$c; }"
                + later
            )
            self.assertEqual([bytes(world.client(at=at).sent) for at in (0, 1)], [b"own-map-own", b"map-map"])

    def test_before_preread(self) -> None:
        """
        It comes before anybody looks at what the client sends, and whoever uses the variable later sees its value.
        """
        self.assertEqual(self.said("ssl_preread on; set $a <$ssl_preread_protocol>; return $a;"), "<>")
        world = World("server { listen 192.0.2.1:22; set $a 192.0.2.9:9; proxy_pass $a; }")
        world.client()
        self.assertEqual(world.attempt().address.text, "192.0.2.9:9")

    def test_wrong(self) -> None:
        """
        The name is that of a variable which no module provides, and the directive stands in a server.
        """
        for text, words in (
            ("server { listen 1; return a;\nset a b; }", 'invalid variable name "a"'),
            ("server { listen 1; return a;\nset $ b; }", 'invalid variable name "$"'),
            ("server { listen 1; return a;\nset $Remote_addr b; }", 'the duplicate "remote_addr" variable'),
            ("server { listen 1; return a;\nset $a $nope; }", 'unknown "nope" variable'),
            ("server { listen 1; return a;\nset $a; }", 'invalid number of arguments in "set" directive'),
            ("\nset $a b;", '"set" directive is not allowed here'),
        ):
            problem: ConfigErrors = self.assertRaises(ConfigErrors, configured, "stream { " + text + " }")
            self.assertEqual([str(each) for each in problem.errors], [words + " in /etc/edge.conf:2"])

    def test_interfaces(self) -> None:
        """
        It is a module, found as a plugin.
        """
        self.assertTrue(verifyObject(IModule, set_))
        self.assertTrue(verifyObject(IPlugin, set_))
