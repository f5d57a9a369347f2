"""
Do datagrams fare as they do with nginx? Both get the same ones, and must answer with the same bytes and say the same in
their logs.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from typing import Final

from twisted.names import dns

from tests.support.dns_thread import NameServer
from tests.support.ports import free_port
from tests.support.programs import PATIENCE, eventually, read_text
from tests.support.proxies import NGINX, SNIPROXY, Proxy, ProxyTestCase, fill

CONFIGURATION: Final = """stream {
    log_format all '$protocol $status $bytes_received/$bytes_sent $upstream_addr'
                   ' $upstream_bytes_sent/$upstream_bytes_received $server_addr $server_port';
    access_log @log@ all;
    @before@
    server { listen @listen@ udp; @settings@ }
}
"""

Answer = Callable[[bytes], list[bytes]]


def echo(data: bytes) -> list[bytes]:
    """
    The same again.
    """
    return [data]


def nothing(data: bytes) -> list[bytes]:
    """
    No answer.
    """
    return []


def twice(data: bytes) -> list[bytes]:
    """
    Two answers.
    """
    return [b"1" + data, b"2" + data]


def much(data: bytes) -> list[bytes]:
    """
    Three large answers.
    """
    return [bytes(600)] * 3


def say(letter: bytes) -> Answer:
    """
    A letter, before the same again.
    """

    def answer(data: bytes) -> list[bytes]:
        return [letter + data]

    return answer


class Answering:
    """
    A back end of datagrams on 127.0.0.1.

    @ivar heard: what it got, each with the port it came from.
    """

    def __init__(self, test: ProxyTestCase, answer: Answer = echo) -> None:
        self.heard: list[tuple[bytes, int]] = []
        self._answer = answer
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self._over = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        test.addCleanup(self.close)

    def _serve(self) -> None:
        while True:
            data, sender = self._sock.recvfrom(70000)
            if self._over:
                return
            self.heard.append((data, sender[1]))
            for each in self._answer(data):
                self._sock.sendto(each, sender)

    def close(self) -> None:
        """
        Answer no more.
        """
        if not self._over:
            self._over = True
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"", ("127.0.0.1", self.port))
            self._thread.join(PATIENCE)
            self._sock.close()


class Client:
    """
    One client, with a port of its own.
    """

    def __init__(self, test: ProxyTestCase, port: int, host: str = "127.0.0.1") -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        test.addCleanup(self.sock.close)
        self.sock.settimeout(PATIENCE)
        self.sock.connect((host, port))
        self.port: int = self.sock.getsockname()[1]

    def say(self, data: bytes) -> None:
        """
        One datagram.
        """
        self.sock.send(data)

    def hear(self) -> bytes:
        """
        One.
        """
        return self.sock.recv(70000)

    def ask(self, data: bytes) -> bytes:
        """
        One, and the next that comes.
        """
        self.say(data)
        return self.hear()


class UdpCase(ProxyTestCase):
    """
    A proxy, and what it says.
    """

    def edge(self, settings: str, before: str = "", listen: str | None = None) -> tuple[Proxy, int]:
        """
        @return: a proxy of datagrams, and its port.
        """
        port = free_port(socket.SOCK_DGRAM)
        self.log = self.path("access.log")
        where = listen or f"127.0.0.1:{port}"
        proxy = self.proxy(
            CONFIGURATION, log=self.log, before=before, settings=settings, listen=where.replace("PORT", str(port))
        )
        return proxy, port

    def logged(self, *wanted: str) -> None:
        """
        Wait for these lines of the access log, in any order and no others.
        """
        eventually(lambda: len(read_text(self.log).splitlines()) >= len(wanted), f"{len(wanted)} lines")
        self.assertEqual(sorted(read_text(self.log).splitlines()), sorted(wanted))

    def story(self, proxy: Proxy, client: Client, last: str) -> list[list[str]]:
        """
        What the error log says of each session of a client, without what is different each time.

        @param last: what its last line must be of.
        """
        proxy.logged(re.compile(last))
        begin = f"udp client 127.0.0.1:{client.port} connected to "
        lines = proxy.lines()
        numbers = [line.number for line in lines if line.text.startswith(begin)]
        return [
            [re.sub(r"udp proxy 127\.0\.0\.1:\d+", "udp proxy", str(line)) for line in lines if line.number == number][
                1:
            ]
            for number in numbers
        ]


class Sessions(UdpCase):
    """
    Where sessions begin and end.
    """

    def test_echo(self) -> None:
        """
        Clients get the answers to what they said, each its own, in one session each.
        """
        back = Answering(self)
        _, port = self.edge(f"proxy_pass 127.0.0.1:{back.port}; proxy_timeout 1s;")
        clients = [Client(self, port) for _ in range(3)]
        for text in (b"one", b"", b"three"):
            for client in clients:
                self.assertEqual(client.ask(text), text)
        self.assertEqual(len({sender for _, sender in back.heard}), 3)
        self.logged(*[f"UDP 200 8/8 127.0.0.1:{back.port} 8/8 127.0.0.1 {port}"] * 3)

    def test_one_answer(self) -> None:
        """
        With one answer to each datagram the session is over when all are there; another one begins.
        """
        back = Answering(self)
        proxy, port = self.edge(f"proxy_pass 127.0.0.1:{back.port}; proxy_responses 1;")
        client = Client(self, port)
        for text in (b"a", b"bb"):
            self.assertEqual(client.ask(text), text)
        self.logged(
            f"UDP 200 1/1 127.0.0.1:{back.port} 1/1 127.0.0.1 {port}",
            f"UDP 200 2/2 127.0.0.1:{back.port} 2/2 127.0.0.1 {port}",
        )
        self.assertEqual(
            self.story(proxy, client, "udp done, .* bytes from/to client:2/2"),
            [
                [
                    f"[info] udp proxy connected to 127.0.0.1:{back.port}",
                    f"[info] udp done, packets from/to client:1/1, bytes from/to client:{size}/{size}"
                    f", bytes from/to upstream:{size}/{size}",
                ]
                for size in (1, 2)
            ],
        )

    def test_several_answers(self) -> None:
        """
        With several answers to each it waits for all of them.
        """
        back = Answering(self, twice)
        _, port = self.edge(f"proxy_pass 127.0.0.1:{back.port}; proxy_responses 2; proxy_requests 2;")
        client = Client(self, port)
        for text in (b"a", b"b"):
            self.assertEqual({client.ask(text), client.hear()}, {b"1" + text, b"2" + text})
        self.logged(f"UDP 200 2/8 127.0.0.1:{back.port} 2/8 127.0.0.1 {port}")

    def test_no_answers(self) -> None:
        """
        Where there are none it is over at once.
        """
        back = Answering(self, nothing)
        proxy, port = self.edge(f"proxy_pass 127.0.0.1:{back.port}; proxy_responses 0;")
        client = Client(self, port)
        client.say(b"a")
        client.say(b"b")
        self.logged(*[f"UDP 200 1/0 127.0.0.1:{back.port} 1/0 127.0.0.1 {port}"] * 2)
        eventually(lambda: len(back.heard) == 2, "both")
        proxy.logged(
            "[info] udp done, packets from/to client:1/0, bytes from/to client:1/0, bytes from/to upstream:0/1"
        )

    def test_requests(self) -> None:
        """
        After so many datagrams a client is a new one, while the first session goes on until its time is over.
        """
        back = Answering(self)
        proxy, port = self.edge(f"proxy_pass 127.0.0.1:{back.port}; proxy_requests 2; proxy_timeout 1s;")
        client = Client(self, port)
        for text in (b"a", b"b", b"c"):
            self.assertEqual(client.ask(text), text)
        senders = [sender for _, sender in back.heard]
        self.assertEqual((senders[0] == senders[1], senders[1] == senders[2]), (True, False))
        self.logged(
            f"UDP 200 2/2 127.0.0.1:{back.port} 2/2 127.0.0.1 {port}",
            f"UDP 200 1/1 127.0.0.1:{back.port} 1/1 127.0.0.1 {port}",
        )
        proxy.logged(
            "[info] udp timed out, packets from/to client:2/2, bytes from/to client:2/2, bytes from/to upstream:2/2"
        )

    def test_timeout(self) -> None:
        """
        Where an answer is missing it is the upstream's failure.
        """
        back = Answering(self, nothing)
        proxy, port = self.edge(f"proxy_pass 127.0.0.1:{back.port}; proxy_responses 1; proxy_timeout 500ms;")
        client = Client(self, port)
        client.say(b"a")
        self.logged(f"UDP 502 1/0 127.0.0.1:{back.port} 1/0 127.0.0.1 {port}")
        self.assertEqual(
            self.story(proxy, client, "timed out"),
            [
                [
                    f"[info] udp proxy connected to 127.0.0.1:{back.port}",
                    "[error] upstream timed out (110: Connection timed out) while proxying connection"
                    f', udp client: 127.0.0.1, server: 127.0.0.1:{port}, upstream: "127.0.0.1:{back.port}"'
                    ", bytes from/to client:1/0, bytes from/to upstream:0/1",
                ]
            ],
        )

    def test_sizes(self) -> None:
        """
        Datagrams keep their bounds.
        """
        back = Answering(self)
        _, port = self.edge(f"proxy_pass 127.0.0.1:{back.port};")
        client = Client(self, port)
        for size in (1, 512, 1500, 9000, 16384):
            self.assertEqual(len(client.ask(bytes(size))), size)
        self.assertEqual([len(data) for data, _ in back.heard], [1, 512, 1500, 9000, 16384])

    def test_questions(self) -> None:
        """
        Names are asked for through it.
        """
        server = NameServer({"a.example": ["192.0.2.5"]})
        self.addCleanup(server.close)
        _, port = self.edge(f"proxy_pass 127.0.0.1:{server.port}; proxy_responses 1;")
        for number in range(3):
            question = dns.Message(id=number, recDes=1)
            question.addQuery(b"a.example", dns.A)
            answer = dns.Message()
            answer.fromStr(Client(self, port).ask(question.toStr()))
            (record,) = answer.answers
            assert isinstance(record.payload, dns.Record_A)
            self.assertEqual((answer.id, record.payload.dottedQuad()), (number, "192.0.2.5"))


class SessionsNginx(Sessions):
    """
    nginx does the same.
    """

    kind = NGINX


class Peers(UdpCase):
    """
    Which upstream, and what if there is none.
    """

    def test_balancing(self) -> None:
        """
        Sessions go to the peers in their turns; the datagrams of one to one peer.
        """
        backs = [Answering(self, say(letter)) for letter in (b"a", b"b", b"c")]
        group = "".join(
            f"server 127.0.0.1:{back.port} weight={weight};" for back, weight in zip(backs, (3, 1, 2), strict=True)
        )
        _, port = self.edge("proxy_pass back; proxy_responses 1;", f"upstream back {{ {group} }}")
        self.assertEqual(b"".join(Client(self, port).ask(b"") for _ in range(12)), b"acabca" * 2)
        client = Client(self, port)
        self.assertEqual([client.ask(b"") for _ in range(3)], [b"a", b"c", b"a"])

    def test_hash(self) -> None:
        """
        By a key of the client it is always the same one.
        """
        backs = [Answering(self, say(letter)) for letter in (b"a", b"b")]
        group = "".join(f"server 127.0.0.1:{back.port};" for back in backs)
        _, port = self.edge("proxy_pass back; proxy_responses 1;", f"upstream back {{ hash $remote_addr; {group} }}")
        self.assertEqual(len({Client(self, port).ask(b"x") for _ in range(6)}), 1)

    def test_nobody_listens(self) -> None:
        """
        What the network says of a peer is in the log, the client gets an empty datagram, and the next session goes to
        another peer.
        """
        back, gone = Answering(self), free_port(socket.SOCK_DGRAM)
        group = f"upstream back {{ server 127.0.0.1:{gone}; server 127.0.0.1:{back.port}; }}"
        proxy, port = self.edge("proxy_pass back; proxy_responses 1;", group)
        client = Client(self, port)
        self.assertEqual(client.ask(b"xyz"), b"")
        for _ in range(3):
            self.assertEqual(client.ask(b"abc"), b"abc")
        self.logged(
            f"UDP 200 3/0 127.0.0.1:{gone} 3/0 127.0.0.1 {port}",
            *[f"UDP 200 3/3 127.0.0.1:{back.port} 3/3 127.0.0.1 {port}"] * 3,
        )
        where = f', udp client: 127.0.0.1, server: 127.0.0.1:{port}, upstream: "127.0.0.1:{gone}"'
        traffic = ", bytes from/to client:3/0, bytes from/to upstream:0/3"
        self.assertEqual(
            self.story(proxy, client, "bytes from/to client:3/3")[0],
            [
                f"[info] udp proxy connected to 127.0.0.1:{gone}",
                "[error] recv() failed (111: Connection refused) while proxying and reading from upstream"
                f"{where}{traffic}",
                f"[info] udp done, packets from/to client:1/1{traffic}",
                f"[warn] upstream server temporarily disabled while proxying connection{where}{traffic}",
            ],
        )

    def test_unreachable(self) -> None:
        """
        Where the system knows no way to a peer the next one gets the datagram.
        """
        back = Answering(self)
        group = f"upstream back {{ server 255.255.255.255:9; server 127.0.0.1:{back.port}; }}"
        proxy, port = self.edge("proxy_pass back; proxy_responses 1;", group)
        self.assertEqual(Client(self, port).ask(b"abc"), b"abc")
        self.logged(f"UDP 200 3/3 255.255.255.255:9, 127.0.0.1:{back.port} 0, 3/0, 3 127.0.0.1 {port}")
        proxy.logged(
            re.compile(r"^\[crit\] connect\(\) to 255\.255\.255\.255:9 failed \(13: Permission denied\) while ")
        )

    def test_bind(self) -> None:
        """
        Sessions go out from the address that is asked for.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
            back.bind(("127.0.0.1", 0))
            back.settimeout(PATIENCE)
            _, port = self.edge(f"proxy_pass 127.0.0.1:{back.getsockname()[1]}; proxy_bind 127.0.0.9; ")
            Client(self, port).say(b"x")
            self.assertEqual(back.recvfrom(9)[1][0], "127.0.0.9")

    def test_header(self) -> None:
        """
        The first datagram of a session begins with the header.
        """
        back = Answering(self)
        _, port = self.edge(f"proxy_pass 127.0.0.1:{back.port}; proxy_protocol on;")
        client = Client(self, port)
        header = b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % (client.port, port)
        self.assertEqual((client.ask(b"x"), client.ask(b"y")), (header + b"x", b"y"))

    def test_download_rate(self) -> None:
        """
        With a rate answers wait until it is their time.
        """
        back = Answering(self, much)
        _, port = self.edge(f"proxy_pass 127.0.0.1:{back.port}; proxy_download_rate 1000; proxy_responses 3;")
        client = Client(self, port)
        client.say(b"x")
        self.assertEqual([len(client.hear()) for _ in range(3)], [600] * 3)
        self.logged(f"UDP 200 1/1800 127.0.0.1:{back.port} 1/1800 127.0.0.1 {port}")


class PeersNginx(Peers):
    """
    nginx does the same.
    """

    kind = NGINX


class Others(UdpCase):
    """
    What else may become of datagrams.
    """

    def test_return(self) -> None:
        """
        A text is one datagram; an empty one is none.
        """
        _, port = self.edge('set $a "$protocol $bytes_received"; return "$a $remote_port";')
        client = Client(self, port)
        self.assertEqual(client.ask(b"hello"), b"UDP 5 %d" % client.port)
        size = len(f"UDP 5 {client.port}")
        self.logged(f"UDP 200 5/{size} - -/- 127.0.0.1 {port}")

    def test_denied(self) -> None:
        """
        Who may not come in hears nothing; each datagram is a session that ends with 403.
        """
        proxy, port = self.edge("deny 127.0.0.1; return x;")
        client = Client(self, port)
        client.say(b"hello")
        client.say(b"again!")
        self.logged(f"UDP 403 5/0 - -/- 127.0.0.1 {port}", f"UDP 403 6/0 - -/- 127.0.0.1 {port}")
        proxy.logged(
            "[error] access forbidden by rule while initializing session, udp client: 127.0.0.1"
            f", server: 127.0.0.1:{port}"
        )

    def test_limit(self) -> None:
        """
        Sessions are counted; one too many ends with 503.
        """
        back = Answering(self)
        proxy, port = self.edge(
            f"limit_conn all 1; proxy_pass 127.0.0.1:{back.port}; proxy_timeout 1s;",
            "limit_conn_zone $binary_remote_addr zone=all:1m;",
        )
        client, other = Client(self, port), Client(self, port)
        self.assertEqual(client.ask(b"x"), b"x")
        other.say(b"y")
        proxy.logged(
            '[error] limiting connections by zone "all" while initializing session, udp client: 127.0.0.1'
            f", server: 127.0.0.1:{port}"
        )
        self.assertEqual(client.ask(b"x"), b"x")
        self.logged(f"UDP 503 1/0 - -/- 127.0.0.1 {port}", f"UDP 200 2/2 127.0.0.1:{back.port} 2/2 127.0.0.1 {port}")

    def test_by_map(self) -> None:
        """
        Variables choose.
        """
        backs = [Answering(self, say(letter)) for letter in (b"a", b"b")]
        tables = (
            f"geo $near {{ default 0; 127.0.0.0/8 1; }} map $protocol$near $target "
            f"{{ UDP1 127.0.0.1:{backs[1].port}; default 127.0.0.1:{backs[0].port}; }}"
        )
        _, port = self.edge("proxy_pass $target;", tables)
        self.assertEqual(Client(self, port).ask(b"x"), b"bx")

    def test_wildcard(self) -> None:
        """
        On a wildcard address a client is answered from where it wrote to; each address is another session, and one of
        them may be another server.
        """
        _, port = self.edge(
            'return "any $server_addr";',
            "server { listen 127.0.0.3:PORT udp; return 'own $server_addr'; }",
            "*:PORT",
        )
        heard = [Client(self, port, host).ask(b"x") for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3")]
        self.assertEqual(heard, [b"any 127.0.0.1", b"any 127.0.0.2", b"own 127.0.0.3"])

    def test_reload_with_workers(self) -> None:
        """
        With a master and workers new ones take all datagrams after a reload, those of clients with a session too.
        """
        backs = [Answering(self, say(letter)) for letter in (b"a", b"b")]
        port = free_port(socket.SOCK_DGRAM)
        text = (
            "master_process on; worker_processes 2; stream {"
            " server { listen 127.0.0.1:@port@ udp reuseport; proxy_pass 127.0.0.1:@back@; proxy_timeout 1s; } }"
        )
        if self.kind == NGINX:
            text = text.replace("master_process on; ", "")
        proxy = self.proxy(text, port=port, back=backs[0].port)
        clients = [Client(self, port) for _ in range(6)]
        self.assertEqual([client.ask(b"1") for client in clients], [b"a1"] * 6)
        proxy.rewrite(fill(text, port=port, back=backs[1].port))
        proxy.reload()

        def left() -> bool:
            return sum(line.text == "gracefully shutting down" for line in proxy.lines()) == 2

        eventually(left, "both old workers are told")
        eventually(lambda: Client(self, port).ask(b"2") == b"b2", "the new workers")
        self.assertEqual([client.ask(b"3") for client in clients], [b"b3"] * 6)

    def test_both_ways(self) -> None:
        """
        A port may be listened on for connections, too.
        """
        _, port = self.edge("return $protocol;", "server { listen 127.0.0.1:PORT; return $protocol; }")
        self.assertEqual(Client(self, port).ask(b"x"), b"UDP")
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            self.assertEqual(client.recv(9), b"TCP")

    def edge(self, settings: str, before: str = "", listen: str | None = None) -> tuple[Proxy, int]:
        """
        As ever, with the port in both places.
        """
        port = free_port(socket.SOCK_DGRAM)
        self.log = self.path("access.log")
        where = (listen or "127.0.0.1:PORT").replace("PORT", str(port))
        before = before.replace("PORT", str(port))
        return self.proxy(CONFIGURATION, log=self.log, before=before, settings=settings, listen=where), port


class OthersNginx(Others):
    """
    nginx does the same.
    """

    kind = NGINX


class OwnWays(UdpCase):
    """
    What nginx does otherwise; see the page about compatibility.
    """

    kind = SNIPROXY

    def test_large(self) -> None:
        """
        Nothing is cut, however large it is.
        """
        back = Answering(self)
        _, port = self.edge(f"proxy_pass 127.0.0.1:{back.port};")
        client = Client(self, port)
        for size in (20000, 65507, 40000):
            self.assertEqual(len(client.ask(bytes(size))), size)

    def test_reload(self) -> None:
        """
        A session goes on over a reload, under the configuration it began with; who is new comes under the other one.
        """
        backs = [Answering(self, say(letter)) for letter in (b"a", b"b")]
        proxy, port = self.edge(f"proxy_pass 127.0.0.1:{backs[0].port};")
        client = Client(self, port)
        self.assertEqual(client.ask(b"1"), b"a1")
        text = read_text(proxy.configuration)
        proxy.rewrite(text[text.index("stream {") :].replace(str(backs[0].port), str(backs[1].port)))
        proxy.reload()
        self.assertEqual((client.ask(b"2"), Client(self, port).ask(b"3"), client.ask(b"4")), (b"a2", b"b3", b"a4"))

    def test_late_answer(self) -> None:
        """
        A worker that was left still gives its clients the answers that were under way; then it is gone.
        """
        port = free_port(socket.SOCK_DGRAM)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
            back.bind(("127.0.0.1", 0))
            back.settimeout(PATIENCE)
            proxy = self.proxy(
                "worker_processes 2; stream { server { listen 127.0.0.1:@port@ udp;"
                " proxy_pass 127.0.0.1:@back@; proxy_responses 1; } }",
                port=port,
                back=back.getsockname()[1],
            )
            client = Client(self, port)
            client.say(b"question")
            data, sender = back.recvfrom(99)
            proxy.reload()
            eventually(lambda: len(proxy.processes()) == 3, "one old worker, two new ones")
            back.sendto(b"answer to " + data, sender)
            self.assertEqual(client.hear(), b"answer to question")
        eventually(lambda: len(proxy.processes()) == 2, "the new workers alone")

    def test_workers(self) -> None:
        """
        Each of several workers has a socket of its own, and all datagrams of a client go to one of them.
        """
        port, back = free_port(socket.SOCK_DGRAM), Answering(self)
        proxy = self.proxy(
            "worker_processes 2; stream { proxy_timeout 9s;"
            " server { listen 127.0.0.1:@port@ udp reuseport; proxy_pass 127.0.0.1:@back@; } }",
            port=port,
            back=back.port,
        )
        clients = [Client(self, port) for _ in range(12)]
        for text in (b"a", b"b", b"c"):
            for client in clients:
                self.assertEqual(client.ask(text), text)
        self.assertEqual(len({sender for _, sender in back.heard}), 12)
        eventually(lambda: len(proxy.processes()) == 2, "two workers")

    def test_flood(self) -> None:
        """
        When descriptors are used up datagrams of new clients are lost, with a line in the log for each; whoever has a
        session keeps it, and when there is room again there are new ones.
        """
        port, back = free_port(socket.SOCK_DGRAM), Answering(self)
        proxy = self.proxy(
            "worker_rlimit_nofile 60; stream { server { listen 127.0.0.1:@port@ udp; proxy_pass 127.0.0.1:@back@;"
            " proxy_timeout 2s; } }",
            port=port,
            back=back.port,
        )
        first = Client(self, port)
        self.assertEqual(first.ask(b"x"), b"x")
        crowd = [Client(self, port) for _ in range(100)]
        for client in crowd:
            client.say(b"y")
        proxy.logged(
            re.compile(r"^\[crit\] socket\(\) failed \(24: Too many open files\) while connecting to upstream, udp")
        )
        self.assertEqual(first.ask(b"z"), b"z")
        eventually(lambda: any("udp timed out" in line.text for line in proxy.lines()), "the end of the crowd")
        self.assertEqual(Client(self, port).ask(b"w"), b"w")
        self.assertEqual([str(line) for line in proxy.lines() if line.level == "alert"], [])
