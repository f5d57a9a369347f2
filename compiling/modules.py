"""
Which modules are compiled, and which are not, though sessions run through them?

Strategy: what runs for each event, each session or each log line is compiled, and what runs for each of a hundred
thousand lines of a configuration; what runs once for one is not worth its place in a shared library. All are compiled
as one group, in which calls and attributes of each other's classes need no look-up; so a module between two others of
the list is worth more inside than out.
"""

from __future__ import annotations

from typing import Final

COMPILED: Final = (
    "sniproxy.addresses",
    "sniproxy.balancing.only",
    "sniproxy.common.core_variables",
    "sniproxy.common.log",
    "sniproxy.common.map",
    "sniproxy.common.phases",
    "sniproxy.common.preread",
    "sniproxy.common.runtime",
    "sniproxy.common.session",
    "sniproxy.common.ssl",
    "sniproxy.common.ssl_variables",
    "sniproxy.common.upstream",
    "sniproxy.common.upstream_variables",
    "sniproxy.config.grammar",
    "sniproxy.config.hostnames",
    "sniproxy.config.lexer",
    "sniproxy.config.template",
    "sniproxy.http.attempt",
    "sniproxy.http.body",
    "sniproxy.http.fields",
    "sniproxy.http.headers",
    "sniproxy.http.http1",
    "sniproxy.http.keepalive",
    "sniproxy.http.outgoing",
    "sniproxy.http.place",
    "sniproxy.http.proxy_headers",
    "sniproxy.http.proxy_replies",
    "sniproxy.http.proxying",
    "sniproxy.http.request",
    "sniproxy.http.subject",
    "sniproxy.http.upstream_leg",
    "sniproxy.http.upstream_states",
    "sniproxy.http.upstream_variables",
    "sniproxy.http.uri",
    "sniproxy.http.variables",
    "sniproxy.logs.log_format",
    "sniproxy.logs.sinks",
    "sniproxy.net.accept",
    "sniproxy.net.bound",
    "sniproxy.net.channel",
    "sniproxy.net.connect",
    "sniproxy.net.datagram_relay",
    "sniproxy.net.datagrams",
    "sniproxy.net.lead",
    "sniproxy.net.legs",
    "sniproxy.net.look",
    "sniproxy.net.network",
    "sniproxy.net.pipes",
    "sniproxy.net.poller",
    "sniproxy.net.rated",
    "sniproxy.net.relay",
    "sniproxy.net.splice",
    "sniproxy.net.tickets",
    "sniproxy.net.timers",
    "sniproxy.net.tls_leg",
    "sniproxy.stream.proxy",
    "sniproxy.stream.proxying",
    "sniproxy.stream.proxying_datagrams",
    "sniproxy.stream.ssl_preread",
    "sniproxy.tls.contexts",
    "sniproxy.tls.lean",
    "sniproxy.tls.links",
    "sniproxy.tls.sessions",
    "sniproxy.tls.verify",
    "sniproxy.wire.client_hello",
    "sniproxy.wire.cursor",
    "sniproxy.wire.hello_message",
    "sniproxy.wire.http1",
    "sniproxy.wire.http1_body",
    "sniproxy.wire.http1_fields",
    "sniproxy.wire.http1_head",
    "sniproxy.wire.http1_reader",
    "sniproxy.wire.http1_write",
)
"""By name. A module that is added must keep to what CONTRIBUTING.md says under "Compiled and pure"."""

INTERPRETED: Final = {
    "sniproxy.balancing.choice": "others write methods too, and no interpreted class may extend a compiled one",
    "sniproxy.net.portable": "runs on Twisted's transports, where its time is spent",
    "sniproxy.net.portable_network": "see sniproxy.net.portable",
    "sniproxy.net.transport": "for Twisted's own protocols; no session of the proxy takes that way",
    "sniproxy.common.listening": "its types and those of common.server go in a circle: compiled, it crashes at import",
    "sniproxy.common.server": "see sniproxy.common.listening",
}
"""What one would look for above, by module or room, and why it is not there."""
