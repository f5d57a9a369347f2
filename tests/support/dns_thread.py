"""
Who answers a proxy's questions for addresses? A name server of a few lines in a thread, which knows what it is told
and counts what it is asked.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

from twisted.names import dns

from tests.support.programs import PATIENCE


class NameServer:
    """
    A name server on a loopback UDP port.

    @ivar port: where it listens on 127.0.0.1.
    @ivar asked: the questions so far, as name and type.
    @ivar names: what it knows, which may be changed at any time: IPv4 and IPv6 addresses of names; an unknown name
        does not exist.
    @ivar silent: whether it takes questions and answers none.
    """

    def __init__(self, names: Mapping[str, Sequence[str]], ttl: int = 60) -> None:
        self.names = dict(names)
        self.asked: list[tuple[str, int]] = []
        self.silent = False
        self._ttl = ttl
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._over = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            question, sender = self._socket.recvfrom(4096)
            if self._over:
                return
            with suppress(EOFError):
                answer = self._answer(question)
                if not self.silent:
                    self._socket.sendto(answer, sender)

    def _answer(self, question: bytes) -> bytes:
        message = dns.Message()
        message.fromStr(question)
        reply = dns.Message(id=message.id, answer=1, recDes=message.recDes, recAv=1, auth=True)
        for query in message.queries:
            name = query.name.name.decode("ascii").lower()
            self.asked.append((name, query.type))
            known = self.names.get(name)
            reply.queries.append(query)
            if known is None:
                reply.rCode = dns.ENAME
            for address in known or ():
                six = ":" in address
                if query.type == (dns.AAAA if six else dns.A):
                    record = dns.Record_AAAA(address, self._ttl) if six else dns.Record_A(address, self._ttl)
                    reply.answers.append(
                        dns.RRHeader(query.name.name, query.type, dns.IN, self._ttl, record, auth=True)
                    )
        return bytes(reply.toStr())

    def close(self) -> None:
        """
        End it.
        """
        self._over = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(PATIENCE)
        self._socket.close()
