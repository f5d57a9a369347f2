"""
Tests of docs/embedding.md and examples/embedding/: what they show is what runs.
"""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from twisted.application.service import IService
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.endpoints import strings
from sniproxy.endpoints.failures import HandshakeFailed
from sniproxy.tls.policies import ServerPolicy
from tests.endpoints.loopback import HOST, LoopbackCase, reactor
from tests.endpoints.memory import Kept
from tests.support import pki
from tests.support.house import TOP

EXAMPLES = TOP / "examples/embedding"
PAGE = TOP / "docs/embedding.md"


def example(name: str) -> dict[str, Any]:
    """
    @return: what a file of examples/embedding defines.
    """
    return runpy.run_path(str(EXAMPLES / name))


class PageTests(SynchronousTestCase):
    """
    The page.
    """

    def test_code(self) -> None:
        """
        Each piece of Python on the page is the whole of an example, and each example is on it.
        """
        shown = {piece.strip() for piece in re.findall(r"```python\n(.*?)\n```", PAGE.read_text(), re.DOTALL)}
        files = {path.read_text().strip() for path in EXAMPLES.iterdir() if path.suffix in (".py", ".tac")}
        self.assertEqual(shown, files)

    def test_keys(self) -> None:
        """
        Each key of the endpoint strings is on the page, and each short word.
        """
        page = PAGE.read_text()
        for table in (
            strings._SERVER,
            strings._SERVER_POLICY,
            strings._CLIENT,
            strings._CLIENT_POLICY,
            strings._SERVER_ALSO,
        ):
            for key in table:
                self.assertRegex(page, rf"`{key}[`=]")


class ExamplesTests(LoopbackCase):
    """
    Each example at work.
    """

    def leaf(self, stem: str, *names: str) -> None:
        pki.leaf(self.authority, names[0], names=names).write(self.folder, stem)

    async def test_who(self) -> None:
        """
        who.py tells a visitor with a certificate who it is; fetch.py visits it, and says so where the server is
        another.
        """
        self.leaf("web", "localhost")
        where = (
            f"mtls:0:interface={HOST}:certificate={self.folder}/web.pem:key={self.folder}/web.key"
            f":client_ca={self.ca}:verify=on"
        )
        port = await self.opened(example("who.py")["serve"](reactor, where))
        fetching = example("fetch.py")
        agent = fetching["agent_for"](reactor, self.folder)
        for _ in range(2):
            page = await fetching["fetch"](agent, b"https://localhost:%d/" % port)
            self.assertEqual(page, b"You asked for localhost and are CN=me.\n")
        page = await fetching["fetch"](agent, b"https://127.0.0.1:%d/" % port)
        self.assertIn(b'does not match "127.0.0.1"', page)

    async def test_names(self) -> None:
        """
        names.py serves the shop to everybody, the office to those with a certificate, and nobody else's name.
        """
        self.leaf("shop", "shop.example.com", "www.example.com")
        self.leaf("office", "*.office.example.com")
        factory = Kept()
        port = await self.opened(example("names.py")["serve"](reactor, self.folder, factory, 0))
        bare, mine = self.client_policy(), self.client_policy(certificates=(self.me,))
        for name, policy, wanted in (
            ("shop.example.com", bare, b"hello"),
            ("www.example.com", bare, b"hello"),
            ("a.office.example.com", bare, b""),
            ("a.office.example.com", mine, b"hello"),
        ):
            self.assertEqual((await self.ask(self.way(port, policy, name=name))).heard, wanted, name)
        error: Any = await self.assertFailure(
            self.way(port, bare, name="bank.example.com").connect(Kept()), HandshakeFailed
        )
        self.assertIn("unrecognized name", error.reasons[0])
        for each in factory.made:
            await each.over

    async def test_split(self) -> None:
        """
        split.py sends each name to its machine, ends the office's TLS here, and passes what is not TLS on.
        """
        machines = []
        for name in ("ssh1", "ssh2", "office"):
            self.leaf(name, f"{name}.example.com")
            machines.append(ServerPolicy(((f"{self.folder}/{name}.pem", f"{self.folder}/{name}.key"),)))
        first, second, office, plain = Kept(), Kept(), Kept(), Kept()
        ssh1 = await self.listen(first, machines[0])
        ssh2 = await self.listen(second, machines[1])
        sshd = await self.opened(TCP4ServerEndpoint(reactor, 0, interface=HOST).listen(plain))
        port = await self.opened(
            example("split.py")["split"](
                reactor,
                (HOST, 0),
                (HOST, ssh1),
                TCP4ClientEndpoint(reactor, HOST, ssh2),
                machines[2],
                office,
                (HOST, sshd),
            )
        )
        for name in ("ssh1", "ssh2", "office"):
            asking = await self.ask(self.way(port, name=f"{name}.example.com"))
            self.assertEqual((asking.heard, asking.facts.subject), (b"hello", f"CN={name}.example.com"))
        asking = await self.ask(TCP4ClientEndpoint(reactor, HOST, port), b"SSH-2.0-me\r\n")
        self.assertEqual(asking.heard, b"SSH-2.0-me\r\n")
        for kept in (first, second, office, plain):
            self.assertEqual(len(kept.made), 1)
            await kept.made[0].over

    async def test_hook(self) -> None:
        """
        hook.py refuses the certificates of its list and lets the others in.
        """
        with open(self.me[0], "rb") as file:
            fingerprint = x509.load_pem_x509_certificate(file.read()).fingerprint(SHA256()).hex()
        other = tuple(pki.leaf(self.authority, "other").write(self.folder, "other"))
        factory = Kept()
        policy = example("hook.py")["without"](self.guarded_policy(), {fingerprint})
        port = await self.listen(factory, policy)
        for pair, wanted in ((self.me, b""), (other, b"hello")):
            asking = await self.ask(self.way(port, self.client_policy(certificates=(pair,))))
            self.assertEqual(asking.heard, wanted)
        self.assertEqual([each.transport.facts.subject for each in factory.made], ["CN=other"])
        await factory.made[0].over

    async def test_application(self) -> None:
        """
        edge.tac runs a configuration as a service: here one that ends TLS, with a certificate of ours, before a
        plain port.
        """
        plain = await self.opened(TCP4ServerEndpoint(reactor, 0, interface=HOST).listen(Kept()))
        Path(self.folder, "edge.conf").write_text(
            f"""
            error_log off.log;
            stream {{
                server {{
                    listen unix:edge.sock ssl;
                    ssl_certificate web.pem;
                    ssl_certificate_key web.key;
                    proxy_pass {HOST}:{plain};
                }}
            }}
            """
        )
        here = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, here)
        service = IService(example("edge.tac")["application"])
        service.startService()
        self.addCleanup(service.stopService)
        way = strings.ClientParser().parseStreamClient(
            reactor, over="unix:edge.sock", trusted="ca.pem", name="a.example"
        )
        self.assertEqual((await self.ask(way)).heard, b"hello")
