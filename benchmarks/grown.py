"""
What are nginx and sniproxy told as the work grows? The same file with more in it: entries of a map, or server blocks.

Strategy: besides what grows there are two plain listeners by which a reload is watched: one that is always there, and
one that the reload brings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks.configurations import beginning
from benchmarks.layout import SERVICES, Layout

Configuration = Callable[[Layout, str, int, str], str]
"""Writes a file: for a layout, what the proxy writes into, the size, and the second listener, C{before} or C{after}."""

HOSTS: Final = 250
"""Addresses taken of each 127.1.N.0."""


def name(number: int) -> str:
    """
    The server's name by which an entry or a server is found; the certificate of the benchmarks is for all of them.
    """
    return f"n{number}.example.com"


def _file(layout: Layout, folder: str, second: str, body: str) -> str:
    ports = layout.ports
    groups = "\n".join(f"    upstream {each} {{ server 127.0.0.1:{ports[each]}; }}" for each in SERVICES)
    return f"""\
{beginning(folder, 1)}
{groups}
    server {{ listen 127.0.0.1:{ports["steady"]}; proxy_pass answer; }}
    server {{ listen 127.0.0.1:{ports[second]}; proxy_pass answer; }}
{body}
}}
"""


def sessions(layout: Layout, folder: str, size: int, second: str) -> str:
    """
    For any number of sessions.
    """
    names = "\n".join(f"        {each}.example.com {each};" for each in SERVICES)
    return _file(
        layout,
        folder,
        second,
        f"""\
    map $ssl_preread_server_name $passed {{
{names}
        default answer;
    }}
    server {{
        listen 127.0.0.1:{layout.ports["passed"]} backlog=4096;
        ssl_preread on;
        proxy_pass $passed;
    }}""",
    )


def table(layout: Layout, folder: str, size: int, second: str) -> str:
    """
    A map, every tenth entry of which is a wildcard.
    """
    entries = "\n".join(
        f"        {f'*.w{number}.example.com' if number % 10 == 5 else name(number)} answer;" for number in range(size)
    )
    return _file(
        layout,
        folder,
        second,
        f"""\
    map_hash_max_size 262144;
    map_hash_bucket_size 128;
    map $ssl_preread_server_name $passed {{
        hostnames;
{entries}
        default echo;
    }}
    server {{
        listen 127.0.0.1:{layout.ports["passed"]} backlog=4096;
        ssl_preread on;
        proxy_pass $passed;
    }}""",
    )


def named(layout: Layout, folder: str, size: int, second: str) -> str:
    """
    Servers by name behind one listener, TLS passed through.
    """
    return _file(layout, folder, second, _by_name(layout.ports["passed"], "", "ssl_preread on;", size))


def named_ended(layout: Layout, folder: str, size: int, second: str) -> str:
    """
    Servers by name behind one listener, TLS ended, each with certificates of its own.
    """
    return _file(layout, folder, second, _by_name(layout.ports["ended"], " ssl", _certificate(layout), size))


def listening(layout: Layout, folder: str, size: int, second: str) -> str:
    """
    Servers with a listener each, TLS passed through.
    """
    rest = f":{layout.ports['passed']} backlog=4096; ssl_preread on; proxy_pass answer; }}"
    servers = [f"    server {{ listen {_address(size - 1 - each)}{rest}" for each in range(size)]
    return _file(layout, folder, second, "\n".join(servers))


def listening_ended(layout: Layout, folder: str, size: int, second: str) -> str:
    """
    Servers with a listener each, TLS ended, each with certificates of its own.
    """
    rest = f":{layout.ports['ended']} ssl backlog=4096; {_certificate(layout)} proxy_pass answer; }}"
    servers = [f"    server {{ listen {_address(size - 1 - each)}{rest}" for each in range(size)]
    return _file(layout, folder, second, "\n".join(servers))


def _by_name(port: int, how: str, inside: str, size: int) -> str:
    # Options of a listener are said once.
    listens = (f"listen 127.0.0.1:{port}{how}{'' if number else ' backlog=4096'};" for number in range(size))
    return "\n".join(
        f"    server {{ {listen} server_name {name(number)}; {inside} proxy_pass answer; }}"
        for number, listen in enumerate(listens)
    )


def _certificate(layout: Layout) -> str:
    files = layout.server
    return f"ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {files.certificate}; ssl_certificate_key {files.key};"


def _address(number: int) -> str:
    """
    That of clients for the first, which is the last to be configured.
    """
    return "127.0.0.1" if number == 0 else f"127.1.{number // HOSTS}.{number % HOSTS + 1}"
