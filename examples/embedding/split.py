"""
One open port: ssh1 and ssh2 are other machines and see their own TLS, the office ends its TLS in this program,
plain ssh goes to this machine's own server, and everything else is refused.
"""

from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from sniproxy.endpoints import ServerPolicy, SNISplitter, Terminate


def split(
    reactor: Any, where: Any, ssh1: tuple[str, int], ssh2: Any, office: ServerPolicy, pages: IProtocolFactory, sshd: Any
) -> Any:
    """
    @param where: an address and a port, or any server endpoint.
    @param ssh2: as C{ssh1} a host and a port, or any client endpoint.
    """
    splitter = SNISplitter(
        reactor,
        where,
        {
            "ssh1.example.com": ssh1,
            ("ssh2.example.com", "*.ssh2.example.com"): ssh2,
            "office.example.com": Terminate(office, pages),
        },
        not_tls=sshd,
    )
    return splitter.listen()
