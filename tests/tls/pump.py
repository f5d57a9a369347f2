"""
Two TLS connections in memory, and the bytes carried between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from OpenSSL import SSL

from sniproxy.tls.contexts import ClientContext, ServerContext, client_context, server_context
from sniproxy.tls.native import TLSConnection
from sniproxy.tls.policies import ClientPolicy, ServerPolicy
from tests.support import pki

NOW = 1_800_000_000.0
"""
Some time in which the certificates of L{pki} are good.
"""

DH_PARAMETERS = b"""\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
"""
The group ffdhe2048 of RFC 7919.
"""


@dataclass
class Disk:
    """
    Files in memory.
    """

    files: dict[str, bytes] = field(default_factory=dict)

    def read(self, path: str) -> bytes:
        """
        As a disk would.
        """
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.files[path]

    def add(self, stem: str, identity: pki.Identity) -> tuple[str, str]:
        """
        @return: the paths of C{identity}'s chain and key.
        """
        self.files[f"/{stem}.pem"] = identity.full_pem
        self.files[f"/{stem}.key"] = identity.key_pem
        return f"/{stem}.pem", f"/{stem}.key"

    def trust(self, stem: str, *identities: pki.Identity) -> str:
        """
        @return: the path of a file with the certificates of C{identities}.
        """
        self.files[f"/{stem}.pem"] = b"".join(each.pem for each in identities)
        return f"/{stem}.pem"

    def server(self, policy: ServerPolicy, clock: Callable[[], float] = lambda: NOW) -> ServerContext:
        """
        A context whose files are here.
        """
        return server_context(policy, self.read, clock)

    def client(self, policy: ClientPolicy, clock: Callable[[], float] = lambda: NOW) -> ClientContext:
        """
        A context whose files are here.
        """
        return client_context(policy, self.read, clock)


def move(source: SSL.Connection, target: SSL.Connection) -> bool:
    """
    Carry what C{source} wants to send to C{target}.

    @return: whether there was anything.
    """
    try:
        target.bio_write(source.bio_read(1 << 20))
    except SSL.WantReadError:
        return False
    return True


def shake(client: SSL.Connection, server: SSL.Connection) -> None:
    """
    Pump until both have finished their handshakes and nothing is on its way.

    @raise SSL.Error: of the side that failed first; its alert has been carried to the other.
    """
    done: set[SSL.Connection] = set()
    for _ in range(20):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
                done.add(one)
            except SSL.WantReadError:
                pass
            finally:
                move(one, other)
        if len(done) == 2:
            return
    raise AssertionError("the handshake does not end")


def read(connection: SSL.Connection) -> bytes:
    """
    @return: what has come for C{connection}; empty where nothing has. Takes in session tickets.
    """
    try:
        return connection.recv(1 << 20)
    except SSL.WantReadError:
        return b""


def settle(client: SSL.Connection, server: SSL.Connection) -> None:
    """
    One byte each way, so that tickets are taken in.
    """
    for one, other in ((client, server), (server, client)):
        one.send(b"x")
        move(one, other)
        read(other)


def pair(
    client: ClientContext, server: ServerContext, session: SSL.Session | None = None
) -> tuple[TLSConnection, TLSConnection]:
    """
    @param session: for the client to offer.
    @return: a client and a server after their handshake, tickets taken in.
    """
    one, other = client.connection(), server.connection()
    if session is not None:
        one.set_session(session)
    shake(one, other)
    settle(one, other)
    return one, other
