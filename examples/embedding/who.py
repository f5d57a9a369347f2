"""
A web page that tells its visitors who they are; nobody without a certificate of our authority gets as far as the page.

    python who.py mtls:8443:certificate=web.pem:key=web.key:client_ca=ca.pem:verify=on
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import Site


class Who(Resource):
    """
    One page, whatever the path.
    """

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        """
        Tell what the handshake has shown.
        """
        facts = request.channel.transport.facts
        return f"You asked for {facts.server_name} and are {facts.subject}.\n".encode()


def serve(reactor: Any, where: str) -> Any:
    """
    Listen.
    """
    return serverFromString(reactor, where).listen(Site(Who()))


async def main(reactor: Any, where: str) -> None:
    """
    Serve until somebody stops it.
    """
    await serve(reactor, where)
    await Deferred()


if __name__ == "__main__":
    react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
