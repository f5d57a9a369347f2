"""
C{return}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from sniproxy.stream.return_ import return_
from tests.support.sessions import World, configured


class ReturnTests(SynchronousTestCase):
    """
    A text, and the end.
    """

    def test_text(self) -> None:
        """
        The text is sent with its variables, and the session is over.
        """
        world = World(r'server { listen 192.0.2.1:22; return "you are $remote_addr\n"; }')
        client = world.client()
        self.assertEqual((bytes(client.sent), client.closed), (b"you are 192.0.2.77\n", True))
        self.assertEqual(world.statuses(), [200])

    def test_nothing(self) -> None:
        """
        An empty text is an end at once.
        """
        world = World('server { listen 192.0.2.1:22; return ""; }')
        client = world.client()
        self.assertEqual((bytes(client.sent), client.closed, world.statuses()), (b"", True, [200]))

    def test_bytes(self) -> None:
        """
        What a variable holds of bytes comes out as bytes.
        """
        world = World("server { listen 192.0.2.1:22; return $binary_remote_addr; }")
        self.assertEqual(bytes(world.client().sent), b"\xc0\x00\x02\x4d")

    def test_after_preread(self) -> None:
        """
        It is content: what looks at the client's first bytes comes before.
        """
        world = World("server { listen 192.0.2.1:22; ssl_preread on; return $ssl_preread_protocol.; }")
        client = world.client()
        self.assertFalse(client.closed)
        client.arrive(b"SSH-2.0-x\r\n")
        self.assertEqual(bytes(client.sent), b".")

    def test_last_of_two(self) -> None:
        """
        Of two directives that take the sessions the last one counts.
        """
        world = World("server { listen 192.0.2.1:22; proxy_pass 192.0.2.2:22; return x; }")
        self.assertEqual(bytes(world.client().sent), b"x")
        world = World("server { listen 192.0.2.1:22; return x; proxy_pass 192.0.2.2:22; }")
        self.assertFalse(world.client().closed)

    def test_wrong(self) -> None:
        """
        It stands once in a server, with one text.
        """
        for text, words in (
            ("server { listen 1; return a;\nreturn b; }", '"return" directive is duplicate'),
            ("server { listen 1;\nreturn; }", 'invalid number of arguments in "return" directive'),
            ("server { listen 1;\nreturn $nope; }", 'unknown "nope" variable'),
            ("\nreturn a;", '"return" directive is not allowed here'),
        ):
            problem: ConfigErrors = self.assertRaises(ConfigErrors, configured, "stream { " + text + " }")
            self.assertEqual([str(each) for each in problem.errors], [words + " in /etc/edge.conf:2"])

    def test_interfaces(self) -> None:
        """
        It is a module, found as a plugin.
        """
        self.assertTrue(verifyObject(IModule, return_))
        self.assertTrue(verifyObject(IPlugin, return_))
