"""
The road of a request: nginx's phases of http, by the names modules give them.
"""

from __future__ import annotations

from typing import Final

# In nginx's order (ngx_http_core_module.h). Finding the location is no phase of handlers: it comes before the rewrite
# phase. Plain numbers: each request asks a dozen times which one it is in, and members of an enumeration cost more to
# look up than all else that is done then.
POST_READ: Final = 0
SERVER_REWRITE: Final = 1
REWRITE: Final = 2
PREACCESS: Final = 3
ACCESS: Final = 4
CONTENT: Final = 5
LOG: Final = 6

BY_NAME: Final = {
    "post_read": POST_READ,
    "server_rewrite": SERVER_REWRITE,
    "rewrite": REWRITE,
    "preaccess": PREACCESS,
    "access": ACCESS,
    "content": CONTENT,
    "log": LOG,
}
"""What L{sniproxy.http.place.Place.handle} takes: rooms below know the names alone."""

CREATED: Final = 201
NO_CONTENT: Final = 204
PARTIAL_CONTENT: Final = 206
MOVED_PERMANENTLY: Final = 301
FOUND: Final = 302
SEE_OTHER: Final = 303
NOT_MODIFIED: Final = 304
TEMPORARY_REDIRECT: Final = 307
PERMANENT_REDIRECT: Final = 308
UNAUTHORIZED: Final = 401
NOT_FOUND: Final = 404
NOT_ALLOWED: Final = 405
REQUEST_TIMEOUT: Final = 408
PRECONDITION_FAILED: Final = 412
TOO_LARGE: Final = 413
RANGE_NOT_SATISFIABLE: Final = 416
MISDIRECTED: Final = 421
NOT_IMPLEMENTED: Final = 501
GATEWAY_TIMEOUT: Final = 504
VERSION_NOT_SUPPORTED: Final = 505

# nginx's own, which no client sees
CLOSE: Final = 444
"""Close the connection without an answer."""
HEADER_TOO_LARGE: Final = 494
CERTIFICATE_ERROR: Final = 495
NO_CERTIFICATE: Final = 496
PLAIN_ON_TLS: Final = 497
CLIENT_CLOSED: Final = 499

BODYLESS: Final = frozenset((NO_CONTENT, NOT_MODIFIED))
"""Statuses whose answers have no body, whatever the method (RFC 9110 section 6.4.1)."""

SPECIAL: Final = 300
"""From here on a status that a handler answers is a page of its own."""

LAST_CONNECTION: Final = frozenset((400, 413, 414, 494, 495, 496, 497, 500, 501))
"""After these nothing more is read from a client, as in ngx_http_special_response_handler."""
