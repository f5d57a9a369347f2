"""
A name server for tests with real sockets, over UDP and TCP on one port:
C{python -m tests.support.dns_server --port 0 --zone FILE}.

It prints its port, then one line for each question: C{a.example A udp}. The zone file is read anew for each question.
Its lines, where a name may come as often as needed::

    a.example A 127.0.0.1 60        an address and its TTL (60 where none is given); AAAA and CNAME likewise
    _x._tcp.a.example SRV 1:5:80:b.example 60    a service: priority, weight, port and host
    a.example DELAY 0.5             answer that late
    gone.example NXDOMAIN           as for every name that is not in the file
    bad.example SERVFAIL            fail; REFUSED likewise
    mute.example DROP               never answer; C{DROP AAAA}: that kind of question only
    big.example TRUNCATE            over UDP answer that TCP is to be used
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.names import dns, server


def service(value: str, ttl: int) -> Any:
    """
    A service as the zone file has it.
    """
    priority, weight, port, host = value.split(":")
    return dns.Record_SRV(int(priority), int(weight), int(port), host.encode(), ttl)


PAYLOADS: dict[str, Callable[[str, int], Any]] = {
    "A": lambda value, ttl: dns.Record_A(value, ttl),
    "AAAA": lambda value, ttl: dns.Record_AAAA(value, ttl),
    "CNAME": lambda value, ttl: dns.Record_CNAME(value.encode(), ttl),
    "SRV": lambda value, ttl: service(value, ttl),
}

CODES = {"NXDOMAIN": dns.ENAME, "SERVFAIL": dns.ESERVER, "REFUSED": dns.EREFUSED}


class Zone:
    """
    What the server knows.

    @ivar lines: the words of each line.
    """

    def __init__(self, text: str) -> None:
        self.lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]

    def of(self, name: str) -> list[list[str]]:
        """
        The lines of a name, without it.
        """
        return [line[1:] for line in self.lines if line[0].lower() == name.lower()]

    def has(self, name: str, word: str, kind: str) -> bool:
        """
        Whether a line says that, of this kind of question or of all.
        """
        return any(line[0] == word and (len(line) == 1 or line[1] == kind) for line in self.of(name))

    def delay(self, name: str) -> float:
        """
        Seconds before the answer.
        """
        return sum(float(line[1]) for line in self.of(name) if line[0] == "DELAY")

    def code(self, name: str) -> int:
        """
        The response code.
        """
        lines = self.of(name)
        return next((CODES[line[0]] for line in lines if line[0] in CODES), dns.OK if lines else dns.ENAME)

    def records(self, name: str, kind: str) -> list[dns.RRHeader]:
        """
        The answer, along the aliases.
        """
        found = []
        for _ in range(10):
            alias = None
            for what, *rest in self.of(name):
                if what not in (kind, "CNAME"):
                    continue
                ttl = int(rest[1]) if len(rest) > 1 else 60
                payload = PAYLOADS[what](rest[0], ttl)
                found.append(dns.RRHeader(name.encode(), payload.TYPE, dns.IN, ttl, payload))
                if what == "CNAME":
                    alias = rest[0]
            if alias is None:
                break
            name = alias
        return found


class NameServer(server.DNSServerFactory):
    """
    Answers from a zone.

    @ivar asked: how often each question came: (name, kind, "udp" or "tcp").
    """

    noisy = False

    def __init__(self, zone: Callable[[], str], reactor: Any, heard: Callable[[str], None] = lambda line: None) -> None:
        """
        @param zone: gives the text of the zone.
        @param heard: told of each question.
        """
        super().__init__()
        self._zone = zone
        self._reactor = reactor
        self._heard = heard
        self.asked: Counter[tuple[str, str, str]] = Counter()
        self._ports: list[Any] = []

    def listen(self, port: int = 0, interface: str = "127.0.0.1") -> int:
        """
        Open one port for TCP and UDP.

        @return: its number.
        """
        stream = self._reactor.listenTCP(port, self, interface=interface)
        number: int = stream.getHost().port
        datagrams = dns.DNSDatagramProtocol(self)
        datagrams.noisy = False
        self._ports = [stream, self._reactor.listenUDP(number, datagrams, interface=interface)]
        return number

    def close(self) -> list[Any]:
        """
        Close the ports.

        @return: what each gave back, some of it Deferreds.
        """
        return [port.stopListening() for port in self._ports]

    def handleQuery(self, message: Any, protocol: Any, address: Any) -> None:
        """
        A question came.
        """
        query = message.queries[0]
        name = query.name.name.decode()
        kind = dns.QUERY_TYPES.get(query.type, str(query.type))
        way = "udp" if address is not None else "tcp"
        self.asked[name, kind, way] += 1
        self._heard(f"{name} {kind} {way}")
        zone = Zone(self._zone())
        if zone.has(name, "DROP", kind):
            return
        truncated = way == "udp" and zone.has(name, "TRUNCATE", kind)
        answer = dns.Message(message.id, answer=1, rCode=zone.code(name), trunc=truncated, recDes=1, recAv=1)
        answer.queries = message.queries
        answer.maxSize = 512 if way == "udp" else 0
        if not truncated:
            answer.answers = zone.records(name, kind)
        self._reactor.callLater(zone.delay(name), self._send, protocol, answer, address)

    def _send(self, protocol: Any, answer: Any, address: Any) -> None:
        if address is None:
            protocol.writeMessage(answer)
        else:
            protocol.writeMessage(answer, address)


def main() -> None:
    """
    Serve until told to stop.
    """
    parser = argparse.ArgumentParser(description="A name server for tests.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--zone", type=Path, required=True)
    options = parser.parse_args()
    reactor: Any = real_reactor
    factory = NameServer(options.zone.read_text, reactor, lambda line: print(line, flush=True))
    print(factory.listen(options.port), flush=True)
    reactor.run()
    sys.exit(0)


if __name__ == "__main__":
    main()
