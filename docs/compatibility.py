"""
Makes docs/compatibility.md from what the modules declare: C{python docs/compatibility.py}, or C{make docs}.

Strategy: what is carried and what is accepted without effect is asked of the modules that ship; what is refused is
nginx's list (L{sniproxy.config.known}) without those; only nginx's list of variables stands here. What stream and http
both have is asked for in each. A test fails when the page is not what this makes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from sniproxy.common.core_variables import NGINX_VERSION
from sniproxy.config.differences import DIFFERENCES
from sniproxy.config.directives import Directive
from sniproxy.config.known import FAMILIES, KNOWN, NOT_CARRIED, SOLD
from sniproxy.config.template import ANY
from sniproxy.plugins import shipped

PAGE: Final = Path(__file__).with_suffix(".md")

KINDS: Final = ("stream", "http")
"""What directives and variables are of, where they are not of the program itself."""

ROOMS: Final = ("main", "events", *KINDS)
"""What this page is about."""

NO_ECH: Final = "pyOpenSSL cannot accept encrypted ClientHellos"

NGINX_VARIABLES: Final = (
    (
        "stream_core",
        NOT_CARRIED,
        "binary_remote_addr bytes_received bytes_sent connection hostname msec nginx_version pid protocol"
        " proxy_protocol_addr proxy_protocol_port proxy_protocol_server_addr proxy_protocol_server_port"
        " proxy_protocol_tlv_ remote_addr remote_port server_addr server_name server_port session_time status"
        " time_iso8601 time_local",
    ),
    ("stream_core", SOLD, "time_iso8601_ms"),
    ("stream_limit_conn", NOT_CARRIED, "limit_conn_status"),
    ("stream_realip", NOT_CARRIED, "realip_remote_addr realip_remote_port"),
    (
        "stream_ssl",
        NOT_CARRIED,
        "ssl_alpn_protocol ssl_cipher ssl_ciphers ssl_client_cert ssl_client_escaped_cert ssl_client_fingerprint"
        " ssl_client_i_dn ssl_client_raw_cert ssl_client_s_dn ssl_client_serial ssl_client_sigalg ssl_client_v_end"
        " ssl_client_v_remain ssl_client_v_start ssl_client_verify ssl_curve ssl_curves ssl_protocol ssl_server_name"
        " ssl_session_id ssl_session_reused ssl_sigalg ssl_sigalgs",
    ),
    ("stream_ssl", NO_ECH, "ssl_ech_outer_server_name ssl_ech_status"),
    ("stream_ssl_preread", NOT_CARRIED, "ssl_preread_alpn_protocols ssl_preread_protocol ssl_preread_server_name"),
    (
        "stream_upstream",
        NOT_CARRIED,
        "upstream_addr upstream_bytes_received upstream_bytes_sent upstream_connect_time upstream_first_byte_time"
        " upstream_session_time",
    ),
    ("stream_upstream", SOLD, "upstream_last_addr"),
    (
        "http_core",
        NOT_CARRIED,
        "arg_ args binary_remote_addr body_bytes_sent bytes_sent connection connection_requests connection_time"
        " content_length content_type cookie_ document_root document_uri host hostname http_ https is_args"
        " is_request_port limit_rate msec nginx_version pid pipe proxy_protocol_addr proxy_protocol_port"
        " proxy_protocol_server_addr proxy_protocol_server_port proxy_protocol_tlv_ query_string realpath_root"
        " remote_addr remote_port remote_user request request_body request_body_file request_completion"
        " request_filename request_id request_length request_method request_port request_time request_uri scheme"
        " sent_http_ sent_trailer_ server_addr server_name server_port server_protocol status tcpinfo_rcv_space"
        " tcpinfo_rtt tcpinfo_rttvar tcpinfo_snd_cwnd time_iso8601 time_local uri",
    ),
    ("http_core", SOLD, "time_iso8601_ms"),
    ("http_browser", NOT_CARRIED, "ancient_browser modern_browser msie"),
    ("http_charset", NOT_CARRIED, "date_gmt date_local"),
    ("http_gzip", NOT_CARRIED, "gzip_ratio"),
    ("http_limit_conn", NOT_CARRIED, "limit_conn_status"),
    ("http_limit_req", NOT_CARRIED, "limit_req_status"),
    (
        "http_proxy",
        NOT_CARRIED,
        "proxy_add_x_forwarded_for proxy_host proxy_port proxy_internal_body_length proxy_internal_chunked"
        " proxy_internal_connection",
    ),
    ("http_realip", NOT_CARRIED, "realip_remote_addr realip_remote_port"),
    ("http_referer", NOT_CARRIED, "invalid_referer"),
    ("http_secure_link", NOT_CARRIED, "secure_link secure_link_expires"),
    ("http_slice", NOT_CARRIED, "slice_range"),
    (
        "http_ssl",
        NOT_CARRIED,
        "ssl_alpn_protocol ssl_cipher ssl_ciphers ssl_client_cert ssl_client_escaped_cert ssl_client_fingerprint"
        " ssl_client_i_dn ssl_client_i_dn_legacy ssl_client_raw_cert ssl_client_s_dn ssl_client_s_dn_legacy"
        " ssl_client_serial ssl_client_sigalg ssl_client_v_end ssl_client_v_remain ssl_client_v_start"
        " ssl_client_verify ssl_curve ssl_curves ssl_early_data ssl_protocol ssl_server_name ssl_session_id"
        " ssl_session_reused ssl_sigalg ssl_sigalgs",
    ),
    ("http_ssl", NO_ECH, "ssl_ech_outer_server_name ssl_ech_status"),
    ("http_stub_status", NOT_CARRIED, "connections_active connections_reading connections_waiting connections_writing"),
    (
        "http_upstream",
        NOT_CARRIED,
        "upstream_addr upstream_bytes_received upstream_bytes_sent upstream_cache_status upstream_connect_time"
        " upstream_cookie_ upstream_header_time upstream_http_ upstream_response_length upstream_response_time"
        " upstream_status upstream_trailer_",
    ),
    ("http_upstream", SOLD, "upstream_last_addr upstream_last_server_name upstream_queue_time"),
    ("http_userid", NOT_CARRIED, "uid_got uid_reset uid_set"),
    ("http_v2", NOT_CARRIED, "http2"),
    ("http_v3", NOT_CARRIED, "http3 quic_connection"),
)
"""nginx's variables by module; the reason counts for those that nobody provides."""

HEAD: Final = f"""\
<!-- Made by docs/compatibility.py from the declarations in the code: change those, then run `make docs`. -->

# What of nginx is carried

Directives and variables have the meaning, the defaults and the units they have in nginx {NGINX_VERSION}. Each directive
of nginx is one of three things here: carried; accepted without effect, where it only tunes nginx's own engine; or
refused by its name, with the reason, in a line that names file and line. Nothing is ignored in silence.

This page is about `main`, `events`, `stream` and `http`. `mail` is refused as a block.
"""


def modules() -> list[Any]:
    """
    Those that ship, by name.
    """
    return sorted((getattr(shipped, name) for name in shipped.__all__), key=lambda module: module.name)


def places(directive: Directive[Any]) -> list[str]:
    """
    The blocks it may stand in, as an operator names them.
    """
    here = [context for context in directive.contexts if context.split(".")[0] in (*ROOMS, "*")]
    return ["any" if context == "*" else context.split(".")[-1] for context in here]


def standing(contexts: Iterable[str]) -> str:
    """
    Blocks as a table names them: C{stream, server; http, server, location}.
    """
    found: dict[str, dict[str, None]] = {}
    for context in contexts:
        room = context.split(".")[0]
        if room in ROOMS or room == "*":
            rest = "any" if room == "*" else context.split(".")[-1]
            found.setdefault(room if room in KINDS else "", {})[rest] = None
    return "; ".join(", ".join(names) for names in found.values())


def title(module: Any) -> str:
    """
    The name of a module; both of nginx's names where it is of both kinds.
    """
    kinds = {context.split(".")[0] for each in module.directives for context in each.contexts}
    kinds |= {kind for each in module.variables for kind in (KINDS if each.kind == ANY else (each.kind,))}
    room, _, name = module.name.partition("_")
    return f"{module.name}, http_{name}" if room == "stream" and "http" in kinds else str(module.name)


def shown(value: Any) -> str:
    """
    A default in nginx's spelling; empty where the directive means nothing unless it is there.
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        whole = int(value)
        return "0" if not whole else f"{whole // 60}m" if whole % 60 == 0 and whole > 60 else f"{whole}s"
    if isinstance(value, int):
        return f"{value // 1024}k" if value and value % 1024 == 0 else str(value)
    if isinstance(value, tuple) and value and all(isinstance(word, str) for word in value):
        return " ".join(value)
    return value if isinstance(value, str) else ""


def remarks(directive: Directive[Any]) -> str:
    """
    Where the list of differences speaks of it, by its name or as C{block.name}.
    """
    names = {directive.name, *(f"{place}.{directive.name}" for place in places(directive))}
    numbers = [number for number, each in enumerate(DIFFERENCES, 1) if names.intersection(each.names)]
    return ", ".join(f"[{number}](#difference-{number})" for number in numbers)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """
    Lines of a table; none where there is nothing in it.
    """
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if lines:
        yield f"| {' | '.join(head)} |"
        yield f"|{'---|' * len(head)}"
        yield from lines
        yield ""


def carried() -> Iterator[str]:
    """
    Directives that mean something, module by module.
    """
    yield "## Directives that are carried\n"
    for module in modules():
        found = [each for each in module.directives if each.ignored is None and places(each)]
        if found:
            yield f"### {title(module)}\n"
            yield from table(
                ("directive", "in", "default", "differs"),
                (
                    (
                        f"`{each.name}`" + (" { }" if each.opens or each.free else ""),
                        standing(each.contexts),
                        f"`{default}`" if (default := shown(each.default)) else "",
                        remarks(each),
                    )
                    for each in sorted(found, key=lambda each: each.name)
                ),
            )


def ignored() -> Iterator[str]:
    """
    Directives that are accepted, and checked, and do nothing.
    """
    meant = {
        (each.name, context)
        for module in modules()
        for each in module.directives
        if each.ignored is None
        for context in each.contexts
    }
    found = sorted(
        (each.name, here, each.ignored)
        for module in modules()
        for each in module.directives
        if each.ignored is not None
        and (here := standing(context for context in each.contexts if (each.name, context) not in meant))
    )
    yield "## Directives that are accepted without effect\n"
    yield "Their arguments are checked.\n"
    yield from table(("directive", "in", "because"), ((f"`{name}`", here, why) for name, here, why in found))


def refused() -> Iterator[str]:
    """
    What nginx has and we do not, by reason.
    """
    yield "## Directives that are refused\n"
    for rooms in (("main", "events", "stream"), ("http",)):
        declared = {
            each.name
            for module in modules()
            for each in module.directives
            if any(context.split(".")[0] in (*rooms, "*") for context in each.contexts)
        }
        reasons: dict[str, list[str]] = {}
        for name, known in sorted(KNOWN.items()):
            if known.rooms.intersection(rooms) and name not in declared:
                reasons.setdefault(known.reason, []).append(name)
        yield "In " + ", ".join(f"`{room}`" for room in rooms) + ":\n"
        yield from table(
            ("because", "directives"),
            ((reason, " ".join(f"`{name}`" for name in names)) for reason, names in sorted(reasons.items())),
        )
    families = ", ".join(f"`{name}…`" for name in FAMILIES)
    yield f"Of {families} none is carried: with its upstreams HTTP speaks HTTP.\n"


def variables() -> Iterator[str]:
    """
    Variables, ours and those we have not.
    """
    yield "## Variables\n"
    yield "Variables that the configuration makes (`map`, captures of expressions) are not listed.\n"
    for kind in KINDS:
        provided = {
            title(module): {each.name for each in module.variables if each.kind in (kind, ANY)} for module in modules()
        }
        everywhere = {name for names in provided.values() for name in names}
        yield f"In `{kind}`:\n"
        yield from table(
            ("module", "variables"),
            ((name, " ".join(f"`${each}`" for each in sorted(names))) for name, names in provided.items() if names),
        )
        missing: dict[str, list[str]] = {}
        for module, reason, names in NGINX_VARIABLES:
            if module.startswith(kind):
                missing.setdefault(reason, []).extend(name for name in names.split() if name not in everywhere)
        yield 'Those of nginx that are not there; a text that names one is an error (`unknown "x" variable`):\n'
        yield from table(
            ("because", "variables"),
            ((reason, " ".join(f"`${name}`" for name in sorted(names))) for reason, names in missing.items() if names),
        )


def ours() -> Iterator[str]:
    """
    What nginx has not.
    """
    theirs = set(KNOWN) | {each.name for each in shipped.internals.directives}
    known = {name for _, _, names in NGINX_VARIABLES for name in names.split()}
    found = [f"`{each.name}`" for module in modules() for each in module.directives if each.name not in theirs]
    found += [f"`${each.name}`" for module in modules() for each in module.variables if each.name not in known]
    if found:
        yield "## What nginx does not have\n"
        yield " ".join(sorted(found)) + "\n"


def differences() -> Iterator[str]:
    """
    What is carried and is not quite the same, on purpose.
    """
    yield "## What differs on purpose\n"
    for number, each in enumerate(DIFFERENCES, 1):
        about = ", ".join(f"`{name}`" for name in each.names)
        yield f'<a id="difference-{number}"></a>**{number}.** {about + ": " if about else ""}{each.here}'
        if each.nginx:
            yield f"*nginx:* {each.nginx}"
        yield f"*Why:* {each.why} (`{each.file}`)\n"


def page() -> str:
    """
    The page.
    """
    parts = (carried(), ignored(), refused(), variables(), ours(), differences())
    return "\n".join([HEAD, *(line for part in parts for line in part)]).rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name}: {len(page().splitlines())} lines\n")
