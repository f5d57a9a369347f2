"""
The pages that stand for a status where nobody has configured another one: ngx_http_special_response, byte for byte.

Strategy: there are few statuses, three signatures and two ways to end, so each page is made once.
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import Final

from sniproxy.common.core_variables import NGINX_VERSION
from sniproxy.http.limits import Limits
from sniproxy.http.statuses import REASONS, told


def signature(tokens: str) -> str:
    """
    What the C{Server} field and each page tell of the server.

    @param tokens: C{server_tokens}: C{"on"}, C{"off"}, or C{"build"}, which would name the build where there is one.
    """
    return "nginx" if tokens == "off" else f"nginx/{NGINX_VERSION}"


_HEADINGS: Final = MappingProxyType({302: "Found", 401: "Authorization Required"})
"""Where a page says something else than the status line."""

_TEXTS: Final = MappingProxyType(
    {
        494: "Request Header Or Cookie Too Large",
        495: "The SSL certificate error",
        496: "No required SSL certificate was sent",
        497: "The plain HTTP request was sent to HTTPS port",
    }
)
"""What is said of a bad request that nginx has a status of its own for."""

_PADDING: Final = "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n" * 6
"""Browsers that hide short pages behind pages of their own show one that is longer than 512 bytes."""

CONTENT_TYPE: Final = "text/html"


@cache
def page(status: int, tokens: str = "on", padded: bool = False) -> bytes:
    """
    @param status: nginx's own ones too.
    @param padded: whether the client is one of those that L{hides_short_pages}, and C{msie_padding} is on.
    @return: the body; empty where a status has no page.
    """
    if status == 498:
        status = 404  # a gap in nginx's table
    text = _TEXTS.get(status)
    heading = "400 Bad Request" if text else f"{status} {_HEADINGS.get(status) or REASONS.get(status)}"
    if not text and (status < 301 or status == 304 or status not in REASONS):
        return b""
    lines = [
        "<html>",
        f"<head><title>{f'400 {text}' if text else heading}</title></head>",
        "<body>",
        f"<center><h1>{heading}</h1></center>",
        *([f"<center>{text}</center>"] if text else ()),
        f"<hr><center>{signature(tokens)}</center>",
        "</body>",
        "</html>",
        "",
    ]
    return ("\r\n".join(lines) + (_PADDING if padded and status >= 400 else "")).encode()


def hides_short_pages(user_agent: str) -> bool:
    """
    Whether a client is MSIE or Chrome, by the marks that nginx goes by.
    """
    if "Opera" in user_agent:
        return False
    place = user_agent.find("MSIE ")
    if place >= 0 and place + 7 < len(user_agent):
        return True
    return "Chrome/" in user_agent and "Gecko/" not in user_agent


def page_of(status: int, limits: Limits, user_agent: str) -> tuple[int, bytes | None]:
    """
    @param limits: of the place in force.
    @param user_agent: of the client; empty where it did not say.
    @return: the status that the client is told, and the body; None where there is no page.
    """
    padded = limits.msie_padding and status >= 400 and hides_short_pages(user_agent)
    return told(status), page(status, limits.server_tokens, padded) or None
