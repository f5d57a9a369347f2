"""
The variables of ngx_http_core_module: what was asked for, by whom, and what was answered.

Strategy: getters read the request and nothing else. Those about the connection, the machine and the time are stream's,
too, and stand in L{sniproxy.common.core_variables}.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from secrets import token_hex
from struct import error as StructError
from struct import unpack_from
from typing import TYPE_CHECKING, Final

from sniproxy.common.milliseconds import milliseconds
from sniproxy.config.template import Variable
from sniproxy.http.credentials import credentials
from sniproxy.http.phases import BODYLESS
from sniproxy.http.spool import Spool

if TYPE_CHECKING:
    from sniproxy.http.request import Request

Get = Callable[["Request"], "str | None"]

_TCP_INFO: Final = 104
"""Bytes of C{struct tcp_info} (linux/tcp.h) up to what is asked for."""

_TCP_FIELDS: Final = {"rtt": 68, "rttvar": 72, "snd_cwnd": 80, "rcv_space": 96}
"""Where in it the numbers stand."""


def field(name: str) -> Get:
    """
    C{$http_NAME}: a field of the request's head; several of one name are joined.
    """
    name = name[len("http_") :]
    wanted = name.replace("_", "-")
    if wanted == name:
        return lambda request: request.fields.get(wanted)

    def get(request: Request) -> str | None:
        found = request.fields.get(wanted)
        if found is None:
            # names with underscores are rare, and let in by the configuration alone
            return next((value for key, value in request.fields.items() if key.replace("-", "_") == name), None)
        return found

    return get


def sent_field(name: str) -> Get:
    """
    C{$sent_http_NAME}: a field of the answer's head.
    """
    wanted = name[len("sent_http_") :].replace("_", "-")

    def get(request: Request) -> str | None:
        if wanted == "connection":
            return "keep-alive" if request.keep_alive else "close"
        if wanted == "keep-alive":
            seconds = request.place.limits.keepalive_header
            return f"timeout={seconds}" if request.keep_alive and seconds else None
        reply = request.reply
        if reply is None:
            return None
        if wanted == "content-length":
            return None if reply.length is None or reply.status == 204 else str(reply.length)
        if wanted == "transfer-encoding":
            chunked = reply.length is None and reply.status not in BODYLESS and request.text == "HTTP/1.1"
            return "chunked" if chunked and request.place.limits.chunked else None
        return ", ".join(reply.headers.all(wanted)) or None

    return get


def argument(name: str) -> Get:
    """
    C{$arg_NAME}: the first argument of that name, in any case, as it was sent.
    """
    wanted = name[len("arg_") :] + "="

    def get(request: Request) -> str | None:
        if not request.args:
            return None
        for pair in request.args.split("&"):
            if pair[: len(wanted)].lower() == wanted:
                return pair[len(wanted) :]
        return None

    return get


def cookie(name: str) -> Get:
    """
    C{$cookie_NAME}: the first cookie of that name, in any case.
    """
    wanted = name[len("cookie_") :]

    def get(request: Request) -> str | None:
        for line in request.headers.all("cookie"):
            for pair in line.split(";"):
                key, equals, value = pair.strip(" ").partition("=")
                if equals and key.rstrip(" ").lower() == wanted:
                    return value.lstrip(" ")
        return None

    return get


def host(request: Request) -> str:
    """
    That of the request line, else of the C{Host} field, else the server's first name.
    """
    return request.host or request.server_text()


def args(request: Request) -> str | None:
    """
    Behind the question mark.
    """
    return request.args or None


def is_args(request: Request) -> str:
    """
    A question mark, where there are arguments.
    """
    return "?" if request.args else ""


def uri(request: Request) -> str:
    """
    The path, decoded and cleaned.
    """
    return request.uri


def request_uri(request: Request) -> str | None:
    """
    Path and arguments as they were sent; nothing where they are none.
    """
    return request.target or None


def request_line(request: Request) -> str:
    """
    The whole line.
    """
    return request.line


def request_method(request: Request) -> str:
    """
    As sent.
    """
    return request.method


def request_length(request: Request) -> str:
    """
    Bytes of line, head and body.
    """
    return str(request.length)


def request_time(request: Request) -> str:
    """
    Seconds since the first byte, with milliseconds.
    """
    return milliseconds(request.clock.now() - request.begun)


def request_id(request: Request) -> str:
    """
    Sixteen random bytes, in hexadecimal.
    """
    return token_hex(16)


def request_body(request: Request) -> str | None:
    """
    The body, where it was read to be passed on, and is in memory.
    """
    spool = request.notes.get(Spool)
    if spool is None or spool.filed:
        return None
    return bytes(spool.read(0)).decode("utf-8", "surrogateescape")


def request_completion(request: Request) -> str:
    """
    C{OK} where all of the answer was sent.
    """
    return "OK" if request.complete else ""


def request_port(request: Request) -> str | None:
    """
    The port that the client named, or that of its scheme.
    """
    named = request.fields.get("host", "")
    end = named.rpartition(":")[2] if ":" in named.rpartition("]")[2] else ""
    return end if end.isdigit() else None


def is_request_port(request: Request) -> str:
    """
    A colon, where the client named a port.
    """
    return ":" if request_port(request) else ""


def body_bytes_sent(request: Request) -> str:
    """
    Of the answer's body.
    """
    return str(request.body_sent)


def bytes_sent(request: Request) -> str:
    """
    Of the whole answer.
    """
    return str(request.bytes_sent)


def connection_requests(request: Request) -> str:
    """
    How many requests the connection has carried, with this one.
    """
    return str(request.count)


def connection_time(request: Request) -> str:
    """
    Seconds since the client was accepted, with milliseconds.
    """
    return milliseconds(request.clock.now() - request.session.begun)


def https(request: Request) -> str:
    """
    C{on} where the client speaks TLS.
    """
    return "" if request.tls is None else "on"


def scheme(request: Request) -> str:
    """
    C{http} or C{https}.
    """
    return request.scheme


def server_name(request: Request) -> str:
    """
    The first name of the server that takes the request.
    """
    return request.server_text()


def server_protocol(request: Request) -> str:
    """
    C{HTTP/1.0}, C{HTTP/1.1}, C{HTTP/2.0}.
    """
    return request.text


def http2(request: Request) -> str:
    """
    C{h2} over TLS, C{h2c} without, where it is HTTP/2.
    """
    if request.text != "HTTP/2.0":
        return ""
    return "h2c" if request.tls is None else "h2"


def status(request: Request) -> str:
    """
    Of the answer; C{000} until it is known.
    """
    return str(request.status).zfill(3)


def content_length(request: Request) -> str | None:
    """
    What the request's head says.
    """
    return request.fields.get("content-length")


def content_type(request: Request) -> str | None:
    """
    What the request's head says.
    """
    return request.fields.get("content-type")


def pipe(request: Request) -> str:
    """
    C{p} where the request had come before the one before it was answered.
    """
    return "p" if request.pipelined else "."


def remote_user(request: Request) -> str | None:
    """
    The name in a C{Basic} authorization (RFC 7617), whether or not anybody has asked for one.
    """
    found = credentials(request.headers.get("authorization"))
    return None if found is None else found[0].decode("utf-8", "surrogateescape")


def tcp_info(name: str) -> Get:
    """
    C{$tcpinfo_…}: what the kernel knows of the connection.
    """
    place = _TCP_FIELDS[name]

    def get(request: Request) -> str | None:
        sock = request.session.client.socket()
        if sock is None:
            return None
        try:
            found = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO)
            return str(unpack_from("=I", found, place)[0])
        except (OSError, StructError):
            return None

    return get


def _http(name: str, get: Callable[..., object], *, volatile: bool = False, prefix: bool = False) -> Variable:
    return Variable(name, get, volatile=volatile, prefix=prefix, kind="http")


VARIABLES: Final = (
    _http("arg_", argument, volatile=True, prefix=True),
    _http("args", args, volatile=True),
    _http("body_bytes_sent", body_bytes_sent, volatile=True),
    _http("bytes_sent", bytes_sent, volatile=True),
    _http("connection_requests", connection_requests),
    _http("connection_time", connection_time, volatile=True),
    _http("content_length", content_length),
    _http("content_type", content_type),
    _http("cookie_", cookie, prefix=True),
    _http("document_uri", uri, volatile=True),
    _http("host", host),
    _http("http2", http2),
    _http("http_", field, prefix=True),
    _http("https", https),
    _http("is_args", is_args, volatile=True),
    _http("is_request_port", is_request_port),
    _http("pipe", pipe),
    _http("query_string", args, volatile=True),
    _http("remote_user", remote_user),
    _http("request", request_line),
    _http("request_body", request_body, volatile=True),
    _http("request_completion", request_completion, volatile=True),
    _http("request_id", request_id),
    _http("request_length", request_length, volatile=True),
    _http("request_method", request_method),
    _http("request_port", request_port),
    _http("request_time", request_time, volatile=True),
    _http("request_uri", request_uri),
    _http("scheme", scheme),
    _http("sent_http_", sent_field, volatile=True, prefix=True),
    _http("server_name", server_name, volatile=True),
    _http("server_protocol", server_protocol),
    _http("status", status, volatile=True),
    *(_http(f"tcpinfo_{name}", tcp_info(name), volatile=True) for name in _TCP_FIELDS),
    _http("uri", uri, volatile=True),
)
