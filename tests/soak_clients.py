"""
Who comes to the proxy when its endurance is tried, and through which doors? Each door is a server of the
configuration, with what a client needs to get in and what it must find there; each client does one thing and tells
what was not as it must be.

Strategy: doors are data, so that the configuration, the clients and the count of what was done are made from one
list. Everything a client gets back is checked, byte by byte.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from tests.support import clients
from tests.support.backends import LINGER_ZERO

Means = Literal["echo", "text", "refusal", "chance"]

PATIENCE: Final = 30.0
"""Seconds that one client may take."""
ANSWER: Final = 2.0
"""Seconds after which a datagram or its answer is taken for lost."""


@dataclass(frozen=True)
class Door:
    """
    One server.

    @ivar text: its block, without C{listen}.
    @ivar parameters: of C{listen}.
    @ivar means: what is behind it: C{echo}; a C{text}; a C{refusal}; or, by C{chance}, an echo or a refusal.
    @ivar header: whether it wants the PROXY protocol.
    @ivar names: what clients call it in TLS; none for plain ones.
    """

    name: str
    text: str
    parameters: str = ""
    means: Means = "echo"
    header: bool = False
    names: tuple[str, ...] = ()

    @property
    def datagrams(self) -> bool:
        """
        Whether it is for these.
        """
        return "udp" in self.parameters.split()


DOORS: Final = (
    Door("plain", "proxy_pass plain;"),
    Door("half", "proxy_half_close on; proxy_pass plain;"),
    Door("limited", "limit_conn clients 3; limit_conn_log_level info; proxy_pass plain;", means="chance"),
    Door("counted", "limit_conn clients 1; limit_conn_dry_run on; limit_conn_log_level info; proxy_pass plain;"),
    Door("rated", "proxy_download_rate 2m; proxy_upload_rate 2m; proxy_pass plain;"),
    Door("bound", "proxy_bind 127.0.0.9; proxy_socket_keepalive on; proxy_buffer_size 1k; proxy_pass by_random;"),
    Door("dead", "proxy_pass 127.0.0.1:@closed@;", means="refusal"),
    Door("denied", "allow 127.0.0.77; deny all; proxy_pass plain;", means="refusal"),
    Door("told", "set $a $remote_addr; return $a-$half-$near;", means="text"),
    Door("first", "proxy_pass by_time;"),
    # the PROXY protocol
    Door("inbound", "set_real_ip_from 127.0.0.0/8; proxy_pass plain;", "proxy_protocol", header=True),
    Door("inbound_ssl", "proxy_pass plain;", "proxy_protocol ssl", header=True, names=("a.known",)),
    Door("chain", "proxy_protocol on; proxy_pass 127.0.0.1:@inbound@;"),
    Door("chain2", "proxy_protocol v2; proxy_pass 127.0.0.1:@inbound@;"),
    Door("chain_ssl", "proxy_protocol v2; proxy_ssl on; proxy_pass 127.0.0.1:@inbound_ssl@;"),
    # names
    Door("resolved", "proxy_pass resolved;"),
    Door("service", "proxy_pass service;"),
    Door("by_name", "proxy_pass $at:@echo@;"),
    Door("nowhere", "proxy_pass nowhere.test:@echo@$nothing;", means="refusal"),
    # TLS
    Door("ssl", "proxy_pass plain;", "ssl", names=("a.known", "other")),
    Door("both", "proxy_ssl on; proxy_pass tls;", "ssl", names=("a.known", "other")),
    Door("preread", "ssl_preread on; proxy_pass $where;", names=("a.known", "other")),
    Door("passed", "ssl_preread on; pass 127.0.0.1:@ssl@;", names=("a.known", "other")),
    Door("asking", "ssl_verify_client optional_no_ca; proxy_pass plain;", "ssl", names=("a.known",)),
    Door("by_variable", "ssl_certificate $cert; ssl_certificate_key $key; proxy_pass plain;", "ssl", names=("b",)),
    # datagrams
    Door("udp", "proxy_pass udp;", "udp"),
    Door("udp_once", "proxy_responses 1; proxy_pass udp;", "udp"),
    Door("udp_requests", "proxy_requests 3; proxy_responses 1; proxy_pass udp;", "udp"),
    Door("udp_rated", "proxy_download_rate 1m; proxy_upload_rate 1m; proxy_pass udp;", "udp"),
    Door("udp_limited", "limit_conn clients 3; limit_conn_log_level info; proxy_pass udp;", "udp", "chance"),
    Door("udp_resolved", "proxy_pass udp_resolved;", "udp"),
    Door("udp_told", "return $a-$half-$near;", "udp", "text"),
    Door("udp_denied", "deny all; proxy_pass udp;", "udp", "refusal"),
    Door("udp_dead", "proxy_pass 127.0.0.66:@closed_udp@;", "udp", "refusal"),
)

HEAD: Final = """
log_format line '$remote_addr $protocol $status $bytes_sent $bytes_received $session_time $connection $server_port '
    '"$ssl_server_name" "$proxy_protocol_addr" "$realip_remote_addr" "$limit_conn_status" "$upstream_addr" '
    '"$upstream_connect_time" "$upstream_first_byte_time" "$upstream_session_time" "$ssl_session_reused"';
log_format short escape=json '{"at": "$time_iso8601", "of": "$remote_addr:$remote_port", "cipher": "$ssl_cipher"}';
access_log @folder@/access.log line buffer=32k flush=1s;
access_log @folder@/$protocol-$half.log short;
access_log syslog:server=127.0.0.1:@syslog@,nohostname line if=$half;
open_log_file_cache max=4 inactive=5s;
ssl_certificate @cert@; ssl_certificate_key @key@; ssl_handshake_timeout 2s; preread_timeout 2s; proxy_timeout 5s;
ssl_certificate_cache max=2 inactive=5s valid=5s; ssl_session_cache shared:s:1m; proxy_protocol_timeout 2s;
proxy_connect_timeout 2s; proxy_next_upstream_tries 3; proxy_ssl_session_reuse on;
resolver 127.0.0.1:@dns@ valid=1s ipv6=off; resolver_timeout 2s;
limit_conn_zone $binary_remote_addr$server_port zone=clients:1m;
map $ssl_preread_server_name $where { hostnames; .known known; default tls; }
map $remote_port $cert { ~[02468]$ @cert@; default @cert2@; }
map $remote_port $key { ~[02468]$ @key@; default @key2@; }
map $remote_port $at { volatile; ~0$ one.test; default echo.test; }
map '' $nothing { default ''; }
split_clients $remote_port $half { 50% 1; * ""; }
geo $near { default far; 127.0.0.0/8 near; 127.0.0.1 here; }
upstream plain { server 127.0.0.1:@closed@; server 127.0.0.1:@echo@; server 127.0.0.1:@echo@ backup; }
upstream by_random { random two; server 127.0.0.1:@echo@ weight=3; server 127.0.0.2:@echo@ max_conns=1000; }
upstream by_time { least_time first_byte; server 127.0.0.1:@echo@; server 127.0.0.2:@echo@; }
upstream tls { least_conn; server 127.0.0.1:@echo_tls@; }
upstream known { hash $remote_port consistent; server 127.0.0.1:@echo_tls@; server 127.0.0.2:@echo_tls@; }
upstream udp { server 127.0.0.1:@echo_udp@; server 127.0.0.2:@echo_udp@ weight=@turn@; }
upstream resolved { zone resolved 64k; server echo.test:@echo@ resolve; }
upstream service { zone service 64k; server echo.test service=echo resolve; }
upstream udp_resolved { zone udp_resolved 64k; server echo.test:@echo_udp@ resolve; }
"""

ZONES: Final = (
    "echo.test A 127.0.0.1 1\none.test CNAME echo.test 1\n_echo._tcp.echo.test SRV 1:1:@echo@:echo.test 1\n",
    "echo.test A 127.0.0.2 1\necho.test A 127.0.0.3 1\none.test A 127.0.0.4 1\n"
    "_echo._tcp.echo.test SRV 1:1:@echo@:one.test 1\n_echo._tcp.echo.test SRV 2:1:@echo@:echo.test 1\n",
)
"""What the name server knows, by turns."""


class Visitors:
    """
    All clients.

    @ivar ports: of the doors.
    @ivar wrong: what was not as it must be.
    @ivar counts: how many did what.
    @ivar lost: datagrams that got no answer, by doors.
    """

    def __init__(self, dice: random.Random, pause: Callable[[float], Awaitable[None]], ports: dict[str, int]) -> None:
        """
        @param pause: waits so many seconds.
        """
        self.dice = dice
        self.ports = ports
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self._pause = pause
        self._context = clients.context()
        self._identity: ssl.SSLContext | None = None

    def shows(self, identity: ssl.SSLContext) -> None:
        """
        Give some of them a certificate.
        """
        self._identity = identity

    async def one(self) -> None:
        """
        One client: it comes, does something and goes.
        """
        door = self.dice.choice(DOORS)
        try:
            await asyncio.wait_for(self._datagrams(door) if door.datagrams else self._stream(door), PATIENCE)
        except asyncio.TimeoutError:
            self.wrong.append(f"{door.name}: does not end")

    # -- connections

    async def _stream(self, door: Door) -> None:
        what = self.dice.choice(("echo", "echo", "echo", "echo", "resume", "vanish", "reset", "garbage", "silent"))
        if what == "resume" and (not door.names or door.header):
            what = "echo"
        self.counts[f"{what} {door.means}"] += 1
        if what == "resume":
            await asyncio.get_running_loop().run_in_executor(None, self._resume, door)
            return
        try:
            reader, writer = await self._open(door, what)
        except (OSError, EOFError) as error:
            self.wrong.append(f"{door.name} {what}: {error!r}")
            return
        try:
            await self._act(door, what, reader, writer)
        except (OSError, EOFError) as error:
            if what == "echo" and door.means == "echo":
                self.wrong.append(f"{door.name} {what}: {error!r}")
        finally:
            writer.close()

    async def _open(self, door: Door, what: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """
        @raise OSError: nobody there, or no handshake.
        """
        sock = socket.socket()
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(sock, ("127.0.0.1", self.ports[door.name]))
            if door.header and what != "garbage":
                await self._present(sock)
        except BaseException:
            sock.close()
            raise
        secure = bool(door.names) and what in ("echo", "vanish", "reset")
        context = self._identity if door.name == "asking" and self.dice.random() < 0.5 else self._context
        return await asyncio.open_connection(
            sock=sock,
            ssl=context if secure else None,
            server_hostname=self.dice.choice(door.names) if secure else None,
        )

    async def _present(self, sock: socket.socket) -> None:
        """
        Send a header, at times in two pieces.
        """
        header = self.dice.choice((_first_version, _second_version))(self.dice)
        cut = self.dice.randrange(len(header)) if self.dice.random() < 0.3 else 0
        loop = asyncio.get_running_loop()
        if cut:
            await loop.sock_sendall(sock, header[:cut])
            await self._pause(0.05)
        await loop.sock_sendall(sock, header[cut:])

    async def _act(self, door: Door, what: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = self.dice.randbytes(self.dice.choice((1, 1000, 20_000, 20_000, 300_000)))
        if what == "silent":
            writer.write(b"\x16\x03\x01\x02")
            await self._pause(self.dice.random())
        elif what == "garbage":
            writer.write(data)
            await self._pause(0.05)
        elif what == "reset":
            writer.write(data)
            writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
            writer.transport.abort()
        elif what == "vanish":
            writer.write(data)
        elif door.means in ("text", "refusal"):
            said = await reader.read()
            if bool(said) is not (door.means == "text"):
                self.wrong.append(f"{door.name}: says {said!r}")
        else:
            writer.write(data)
            if await reader.readexactly(len(data)) != data:
                self.wrong.append(f"{door.name}: other bytes than were sent")
            if door.name == "half":
                writer.write_eof()
                if await reader.read():
                    self.wrong.append("half: more than was sent")

    def _resume(self, door: Door) -> None:
        """
        Two handshakes, the second with what the first has left; in a thread.
        """
        session = None
        try:
            for _ in range(2):
                with clients.tls(self.ports[door.name], door.names[0], self._context, session=session) as client:
                    client.sendall(b"again")
                    if clients.read_exactly(client, 5) != b"again":
                        self.wrong.append(f"{door.name}: other bytes than were sent, in a session that may be resumed")
                    session = client.session
        except OSError as error:
            self.wrong.append(f"{door.name} resume: {error!r}")

    # -- datagrams

    async def _datagrams(self, door: Door) -> None:
        what = self.dice.choice(("echo", "echo", "echo", "vanish", "burst"))
        self.counts[f"{what} of datagrams {door.means}"] += 1
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, ("127.0.0.1", self.ports[door.name]))
            if what != "echo":
                burst = what == "burst"  # not so large that the kernel drops what others say at the same time
                for _ in range(10 if burst else 1):
                    await loop.sock_sendall(
                        sock, self.dice.randbytes(self.dice.choice((1, 10, 1400 if burst else 65507)))
                    )
                return
            for _ in range(self.dice.randrange(1, 5)):
                data = self.dice.randbytes(self.dice.choice((1, 500, 1400, 9000)))
                await loop.sock_sendall(sock, data)
                self._check(door, data, await self._answer(sock))
        except OSError as error:
            self.wrong.append(f"{door.name} {what}: {error!r}")
        finally:
            sock.close()

    async def _answer(self, sock: socket.socket) -> bytes | None:
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 70000), ANSWER)
        except asyncio.TimeoutError:
            return None

    def _check(self, door: Door, data: bytes, said: bytes | None) -> None:
        if said is None and door.means in ("echo", "text"):
            self.lost[door.name] += 1
        elif (said and door.means == "refusal") or (said and door.means in ("echo", "chance") and said != data):
            self.wrong.append(f"{door.name}: says {said[:40]!r}")


def _first_version(dice: random.Random) -> bytes:
    return b"PROXY TCP4 192.0.2.%d 127.0.0.1 %d 443\r\n" % (dice.randrange(1, 255), dice.randrange(1, 65536))


def _second_version(dice: random.Random) -> bytes:
    addresses = bytes((192, 0, 2, dice.randrange(256), 127, 0, 0, 1)) + struct.pack("!HH", dice.randrange(65536), 443)
    tlvs = b"".join(
        struct.pack("!BH", dice.choice((2, 4, 5, 0xE0)), len(value)) + value
        for value in (dice.randbytes(dice.randrange(40)) for _ in range(dice.randrange(4)))
    )
    local = dice.random() < 0.1
    return (
        b"\r\n\r\n\0\r\nQUIT\n"
        + (b"\x20\x00" if local else b"\x21\x11")
        + struct.pack("!H", len(addresses) + len(tlvs))
        + addresses
        + tlvs
    )


class UdpEcho(asyncio.DatagramProtocol):
    """
    An upstream of datagrams; asyncio cannot send empty ones.
    """

    transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """
        It can answer.
        """
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """
        Send it back.
        """
        self.transport.sendto(data, addr)


class Sink(asyncio.DatagramProtocol):
    """
    Who takes what is written to syslog.

    @ivar lines: how many.
    """

    lines = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """
        One line.
        """
        self.lines += 1


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """
    An upstream of connections.
    """
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
