"""
ngx_stream_limit_conn_module and ngx_http_limit_conn_module: how many connections there may be at once, by any key; in
http how many requests.

Strategy: a zone is a dictionary of counts, which is kept from one configuration to the next, since the sessions it
counts are; workers share a table in its place (L{sniproxy.common.shared_counts}). A session notes what it counts in,
and takes itself out at its end, whichever server it has come to by then. A zone that is full by nginx's arithmetic
refuses, as nginx does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.contexts import HTTP, KINDS, PLACES
from sniproxy.common.listen import kind_of
from sniproxy.common.phases import SERVICE_UNAVAILABLE, Phase
from sniproxy.common.runtime import Ending, Runtime, attend
from sniproxy.common.server import Server
from sniproxy.common.shared_counts import SharedCounts, Verdict, mending, shape_of
from sniproxy.common.shared_memory import Share, Table, share
from sniproxy.common.zones import SMALLEST, Room, check, declare
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import ANY, Template, Variable
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IHttpModule, IModule
from sniproxy.levels import CRIT, ERROR, INFO, NOTICE, WARN

USES: Final = {"stream": "limit_conn", "http": "http limit_conn"}
"""What a zone is for, by the kind of those it counts: a zone of sessions is none of requests."""

LONGEST_KEY: Final = 255
"""Bytes; what has a longer key is not counted."""

MOST: Final = 65535
"""The greatest limit there is."""

_NODE: Final = 36
"""Bytes that nginx needs for a count, beside its key."""

_SHARED: Final = 64
"""Bytes that nginx needs in a zone for itself."""

_COUNTED: Final = "limit_conn counted"
"""The key in C{session.notes} of the counts a session, or request, is in: each with its key."""

OUTCOME: Final = "limit_conn status"
"""The key in C{session.notes} of what C{$limit_conn_status} says."""


def room_of(name: str, size: int) -> Room:
    """
    The room of a zone in which nothing is counted.
    """
    room = Room(size)
    room.take(_SHARED)
    room.take(len(f' in limit_conn_zone "{name}"') + 1)
    return room


class Counts:
    """
    The connections of one zone by their keys. Holds as many keys as nginx would in a zone of this size.

    @ivar size: of the zone, in bytes.
    @ivar key: what it counts by, as it is written.
    """

    def __init__(self, name: str, size: int, key: str) -> None:
        self.size = size
        self.key = key
        self._counts: dict[bytes, int] = {}
        self._room = room_of(name, size)

    def enter(self, key: bytes, most: int) -> Verdict:
        """
        One more, if there are less than so many.
        """
        count = self._counts.get(key, 0)
        if count >= most:
            return Verdict.TOO_MANY
        if not count and not self._room.take(_NODE + len(key)):
            return Verdict.NO_ROOM
        self._counts[key] = count + 1
        return Verdict.ENTERED

    def leave(self, key: bytes) -> None:
        """
        One less.
        """
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]
            self._room.give(_NODE + len(key))


class ConnZone:
    """
    One C{limit_conn_zone} of a configuration.

    @ivar kind: of those it counts.
    @ivar counts: of the configuration before, where that had the same zone, once this one is at work.
    """

    def __init__(self, name: str, key: Template, size: int, kind: str) -> None:
        self.kind = kind
        self.name = name
        self.key = key
        self.size = size
        self.counts: Counts | SharedCounts = Counts(name, size, key.text)

    def share(self, build: Build) -> None:
        """
        Have workers count together.
        """
        key = (USES[self.kind], self.name, self.size, self.key.text)
        share(build, Share(key, shape_of(self.size), True, self._take, mending(lambda: room_of(self.name, self.size))))

    def _take(self, table: Table) -> None:
        self.counts = SharedCounts(table, self.size, self.key.text, _NODE)


@dataclass(frozen=True, slots=True)
class Limit:
    """
    One C{limit_conn}.

    @ivar most: how many connections of one key there may be.
    """

    zone: str
    most: int


class Limiter:
    """
    The handler of one server.
    """

    def __init__(
        self,
        limits: tuple[tuple[ConnZone, int], ...],
        dry_run: bool,
        level: int,
        status: int = SERVICE_UNAVAILABLE,
    ) -> None:
        """
        @param status: that those get who are refused.
        """
        self._status = status
        self._limits = limits
        self._dry_run = dry_run
        self._level = level

    def __call__(self, subject: Any) -> Any:
        """
        @see: L{sniproxy.interfaces.IPhaseHandler}
        """
        for zone, most in self._limits:
            key = zone.key.render(subject).encode("utf-8", "surrogateescape")
            if not key:
                continue
            if len(key) > LONGEST_KEY:
                shown = key.decode("utf-8", "surrogateescape")
                subject.error(f'the value of the "{zone.key.text}" key is more than {LONGEST_KEY} bytes: "{shown}"')
                continue
            subject.notes[OUTCOME] = "PASSED"
            counts = zone.counts
            verdict = counts.enter(key, most)
            if verdict is Verdict.TOO_MANY:
                dry = ", dry run," if self._dry_run else ""
                subject.log(self._level, f'limiting connections{dry} by zone "{zone.name}"')
                return self._refused(subject)
            if verdict is Verdict.NO_ROOM:
                subject.runtime.error_log.write(
                    CRIT, f'ngx_slab_alloc() failed: no memory in limit_conn_zone "{zone.name}"'
                )
                return self._refused(subject)
            subject.notes.setdefault(_COUNTED, []).append((counts, key))
        return None

    def _refused(self, subject: Any) -> int | None:
        leave(subject)
        subject.notes[OUTCOME] = "REJECTED_DRY_RUN" if self._dry_run else "REJECTED"
        return None if self._dry_run else self._status


class RequestLimiter(Limiter):
    """
    The handler of one place of http: a request is judged once, wherever it is sent from within, and counts until it is
    over.
    """

    def __call__(self, request: Any) -> Any:
        """
        @see: L{sniproxy.interfaces.IHttpModule}
        """
        if OUTCOME in request.notes:
            return None
        answer = super().__call__(request)
        if _COUNTED in request.notes:
            request.cleanup.append(partial(leave, request))
        return answer


def leave(subject: Any) -> None:
    """
    A session, or a request, does not count any more.
    """
    counted: list[tuple[Counts | SharedCounts, bytes]] = subject.notes.pop(_COUNTED, [])
    for counts, key in counted:
        counts.leave(key)


def _zones(build: Build, kind: str) -> dict[str, ConnZone]:
    zones: dict[str, ConnZone] = build.shared.setdefault((ConnZone, kind), {})
    return zones


def keep(runtime: Runtime, zones: Sequence[ConnZone]) -> Ending:
    """
    Go on with the counts of the configuration before, where a zone is still the same.
    """
    before: dict[tuple[str, str], Counts | SharedCounts] = runtime.engine.kept.get(keep, {})
    for zone in zones:
        counts = before.get((zone.kind, zone.name))
        if counts is not None and (counts.size, counts.key) == (zone.counts.size, zone.counts.key):
            zone.counts = counts
    runtime.engine.kept[keep] = {(zone.kind, zone.name): zone.counts for zone in zones}
    return lambda: None


# The directives.


def _limit_conn_zone(node: Node, build: Build, scope: Scope) -> str:
    key = build.template(node.args[0], node)
    name = ""
    size: int | None = None
    for word in node.args[1:]:
        if not word.startswith("zone="):
            raise ConfigError(f'invalid parameter "{word}"')
        name, colon, text = word[len("zone=") :].partition(":")
        size = values.size_of(text) if colon else None
        if size is None:
            raise ConfigError(f'invalid zone size "{word}"')
        if size < SMALLEST:
            raise ConfigError(f'zone "{word}" is too small')
    if not name or size is None:
        raise ConfigError(f'"{node.name}" must have "zone" parameter')
    kind = kind_of(scope)
    declare(build, name, size, USES[kind], node)
    zones = _zones(build, kind)
    if name in zones:
        raise ConfigError(f'{node.name} "{name}" is already bound to key "{zones[name].key.text}"')
    zones[name] = ConnZone(name, key, size, kind)
    return name


def _limit_conn(node: Node, build: Build, scope: Scope) -> Limit:
    zone, text = node.args
    declare(build, zone, 0, USES[kind_of(scope)], node)
    if any(limit.zone == zone for limit in scope.values.get(LIMIT_CONN, ())):
        raise ConfigError(f'"{node.name}" directive is duplicate')
    most = values.number_of(text)
    if not most:
        raise ConfigError(f'invalid number of connections "{text}"')
    if most > MOST:
        raise ConfigError(f"connection limit must be less {MOST + 1}")
    return Limit(zone, most)


LIMIT_CONN_ZONE: Final[Directive[tuple[str, ...]]] = Directive(
    "limit_conn_zone", KINDS, (2, 2), _limit_conn_zone, (), Inherit.NEVER, Repeat.LISTED
)
LIMIT_CONN: Final[Directive[tuple[Limit, ...]]] = Directive(
    "limit_conn", PLACES, (2, 2), _limit_conn, (), repeat=Repeat.LISTED
)
DRY_RUN: Final = Directive("limit_conn_dry_run", PLACES, (1, 1), values.flag, False)
LOG_LEVEL: Final = Directive(
    "limit_conn_log_level",
    PLACES,
    (1, 1),
    values.one_of({"info": INFO, "notice": NOTICE, "warn": WARN, "error": ERROR}),
    ERROR,
)
STATUS: Final = Directive("limit_conn_status", HTTP, (1, 1), values.number_within(400, 599), SERVICE_UNAVAILABLE)


def _status(subject: Any) -> str | None:
    status: str | None = subject.notes.get(OUTCOME)
    return status


@implementer(IPlugin, IModule, IHttpModule)
class LimitConn:
    """
    The module.
    """

    name = "stream_limit_conn"
    directives: tuple[Directive[Any], ...] = (LIMIT_CONN_ZONE, LIMIT_CONN, DRY_RUN, LOG_LEVEL, STATUS)
    variables = (Variable("limit_conn_status", _status, volatile=True, kind=ANY),)

    def prepare(self, build: Build) -> None:
        """
        Each zone must have been made; counts go from one configuration to the next.
        """
        for use in USES.values():
            check(build, use)
        zones = [zone for kind in KINDS for zone in _zones(build, kind).values()]
        attend(build, lambda runtime: keep(runtime, zones))
        for zone in zones:
            zone.share(build)

    def attach(self, server: Server, build: Build) -> None:
        """
        Count in each server that has limits. A name may lead a session to any other before it ends.
        """
        if not _zones(build, "stream"):
            return
        server.handle(Phase.LOG, leave)
        scope = server.scope
        limits = _limits(build, scope)
        if limits:
            server.handle(Phase.PREACCESS, Limiter(limits, scope[DRY_RUN], scope[LOG_LEVEL]))

    def attach_place(self, place: Any, build: Build) -> None:
        """
        Count the requests of a place that has limits.
        """
        scope = place.scope
        limits = _limits(build, scope)
        if limits:
            place.handle("preaccess", RequestLimiter(limits, scope[DRY_RUN], scope[LOG_LEVEL], scope[STATUS]))


def _limits(build: Build, scope: Scope) -> tuple[tuple[ConnZone, int], ...]:
    """
    Those in force in a block.
    """
    zones = _zones(build, kind_of(scope))
    return tuple((zones[limit.zone], limit.most) for limit in scope[LIMIT_CONN] if limit.zone in zones)


limit_conn = LimitConn()
