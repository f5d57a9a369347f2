"""
What is each proxy told? The same, in its own grammar: nginx and sniproxy read one file.

Strategy: every row of every proxy goes through a table of names, a preread of the ClientHello where TLS is passed
through, and one line of log for each session, as an operator would have it. Sizes and timeouts are the defaults of each
program.
"""

from __future__ import annotations

import os
from typing import Final

from benchmarks.layout import DEPTH, SERVICES, Layout

CONNECTIONS: Final = 16_384
"""Of nginx, which counts both legs."""
CLIENTS: Final = 6_000
"""Of HAProxy, which counts clients, and wants descriptors for its pipes too."""


def beginning(folder: str, workers: int) -> str:
    """
    What every file that nginx and sniproxy read begins with: up to the log, inside C{stream}.

    @param folder: for what the proxy writes.
    """
    return f"""\
{"user root;" if os.geteuid() == 0 else ""}
worker_processes {workers};
pid {folder}/proxy.pid;
error_log {folder}/error.log warn;
events {{
    worker_connections {CONNECTIONS};
}}
stream {{
    log_format sessions '$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received $session_time '
                        '"$ssl_preread_server_name$ssl_server_name" "$upstream_addr" $upstream_connect_time';
    access_log {folder}/access.log sessions;
"""


def nginx(layout: Layout, folder: str, workers: int = 1) -> str:
    """
    The file that nginx and sniproxy read.

    @param folder: for what the proxy writes.
    """
    ports = layout.ports
    names = "\n".join(f"        {each}.example.com {each};" for each in SERVICES)
    groups = "\n".join(f"    upstream {each} {{ server 127.0.0.1:{ports[each]}; }}" for each in (*SERVICES, "secret"))
    wrapping = f"""\
        proxy_pass secret;
        proxy_ssl on;
        proxy_ssl_protocols TLSv1.2 TLSv1.3;
        proxy_ssl_certificate {layout.client.certificate};
        proxy_ssl_certificate_key {layout.client.key};
        proxy_ssl_trusted_certificate {layout.authority};
        proxy_ssl_verify on;
        proxy_ssl_name secret.example.com;
        proxy_ssl_server_name on;
        proxy_ssl_session_reuse off;"""
    return f"""\
{beginning(folder, workers)}
    map $ssl_preread_server_name $passed {{
{names}
        default answer;
    }}
    map $ssl_server_name $ended {{
{names}
        default answer;
    }}
{groups}

    server {{
        listen 127.0.0.1:{ports["passed"]} backlog=4096;
        ssl_preread on;
        proxy_pass $passed;
    }}

    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {layout.server.certificate};
    ssl_certificate_key {layout.server.key};

    server {{
        listen 127.0.0.1:{ports["ended"]} ssl backlog=4096;
        proxy_pass $ended;
    }}
    server {{
        listen 127.0.0.1:{ports["certified"]} ssl backlog=4096;
        ssl_verify_client on;
        ssl_client_certificate {layout.authority};
        ssl_verify_depth {DEPTH};
        proxy_pass $ended;
    }}
    server {{
        listen 127.0.0.1:{ports["wrapped"]} backlog=4096;
{wrapping}
        proxy_ssl_conf_command Curves X25519;
    }}
    server {{
        listen 127.0.0.1:{ports["hybrid"]} backlog=4096;
{wrapping}
    }}
}}
"""


def haproxy(layout: Layout, folder: str, workers: int = 1) -> str:
    """
    HAProxy's, with splicing forced, which is where it is best. Its log goes to its standard output.

    @param folder: for the tables and certificates in the form that it wants.
    """
    ports, trust = layout.ports, f"ca-file {layout.authority} verify required"
    with open(os.path.join(folder, "names.map"), "w", encoding="ascii") as table:
        table.writelines(f"{each}.example.com {each}\n" for each in SERVICES)
    server = _joined(layout.server.certificate, layout.server.key, os.path.join(folder, "server.pem"))
    client = _joined(layout.client.certificate, layout.client.key, os.path.join(folder, "client.pem"))
    name = "secret.example.com"
    secret = f"ssl crt {client} {trust} verifyhost {name} sni str({name}) no-ssl-reuse"
    groups = "\n".join(f"backend {each}\n    server one 127.0.0.1:{ports[each]}" for each in SERVICES)
    return f"""\
global
    maxconn {CLIENTS}
    nbthread {workers}
    log stdout format raw local0 info
    ssl-default-bind-options ssl-min-ver TLSv1.2

defaults
    mode tcp
    log global
    log-format "%ci [%t] %ST %B %U %Tt %[ssl_fc_sni] %b %Tc %ts"
    option splice-request
    option splice-response
    timeout connect 60s
    timeout client 10m
    timeout server 10m

frontend passed
    bind 127.0.0.1:{ports["passed"]} backlog 4096
    tcp-request inspect-delay 30s
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    use_backend %[req.ssl_sni,lower,map({folder}/names.map,answer)]

frontend ended
    bind 127.0.0.1:{ports["ended"]} backlog 4096 ssl crt {server}
    use_backend %[ssl_fc_sni,lower,map({folder}/names.map,answer)]

frontend certified
    bind 127.0.0.1:{ports["certified"]} backlog 4096 ssl crt {server} {trust}
    use_backend %[ssl_fc_sni,lower,map({folder}/names.map,answer)]

frontend wrapped
    bind 127.0.0.1:{ports["wrapped"]} backlog 4096
    default_backend secret

frontend hybrid
    bind 127.0.0.1:{ports["hybrid"]} backlog 4096
    default_backend secret

{groups}
backend secret
    server one 127.0.0.1:{ports["secret"]} {secret}
"""


def _joined(certificate: str, key: str, path: str) -> str:
    with open(path, "wb") as joined:
        for each in (certificate, key):
            with open(each, "rb") as part:
                joined.write(part.read())
    return path
