"""
The C{$upstream_…} variables of ngx_http_upstream_module: what became of each peer that a request has tried.

Strategy: there is one entry for each try, joined with commas; where a request was sent from one group to another from
within, a colon stands between the two. A state without a peer (L{elsewhere}) marks that place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.milliseconds import milliseconds
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive
from sniproxy.config.template import Variable
from sniproxy.http.upstream_states import UpstreamState
from sniproxy.interfaces import IModule

NOTHING: Final = "-"
"""Stands where there is nothing to say of a try."""


def elsewhere(request: Any) -> None:
    """
    The request is passed on now, perhaps not for the first time: what follows belongs to another group.
    """
    if request.upstream_states:
        request.upstream_states.append(UpstreamState(""))


def _listed(show: Callable[[UpstreamState], str]) -> Callable[[Any], str | None]:
    """
    A variable with one entry for each try; none where nothing was tried.
    """

    def get(request: Any) -> str | None:
        states: list[UpstreamState] = request.upstream_states
        if not states:
            return None
        if len(states) == 1 and states[0].peer:
            return show(states[0])
        groups: list[list[str]] = [[]]
        for state in states:
            if state.peer:
                groups[-1].append(show(state))
            else:
                groups.append([])
        return " : ".join([", ".join(group) for group in groups if group])

    return get


def _time(seconds: float | None) -> str:
    """
    Milliseconds after the point, always three.
    """
    return NOTHING if seconds is None else milliseconds(seconds)


def _last(request: Any) -> UpstreamState | None:
    """
    The try whose answer it is.
    """
    states: list[UpstreamState] = request.upstream_states
    return states[-1] if states and states[-1].peer else None


def _joined(fields: tuple[tuple[str, str], ...], wanted: str) -> str | None:
    """
    @param wanted: in lower case, with C{_} for C{-}.
    @return: the values of all fields of a name; None where there is none.
    """
    found = [value for name, value in fields if name.lower().replace("-", "_") == wanted]
    return ", ".join(found) if found else None


def _field(name: str) -> Callable[[Any], str | None]:
    wanted = name.removeprefix(FIELD)

    def get(request: Any) -> str | None:
        state = _last(request)
        return None if state is None else _joined(state.headers, wanted)

    return get


def _trailer(name: str) -> Callable[[Any], str | None]:
    wanted = name.removeprefix(TRAILER)

    def get(request: Any) -> str | None:
        state = _last(request)
        return None if state is None else _joined(state.trailers, wanted)

    return get


def _cookie(name: str) -> Callable[[Any], str | None]:
    wanted = name.removeprefix(COOKIE)

    def get(request: Any) -> str | None:
        state = _last(request)
        for field, value in () if state is None else state.headers:
            if field.lower() == "set-cookie":
                known, equals, text = value.partition(";")[0].partition("=")
                if equals and known.rstrip(" ").lower() == wanted:
                    return text.lstrip(" ")
        return None

    return get


FIELD: Final = "upstream_http_"
TRAILER: Final = "upstream_trailer_"
COOKIE: Final = "upstream_cookie_"


def _variable(name: str, get: Callable[..., Any], *, prefix: bool = False) -> Variable:
    return Variable(name, get, volatile=True, prefix=prefix, kind="http")


VARIABLES: Final = (
    _variable("upstream_addr", _listed(lambda state: state.peer)),
    _variable("upstream_bytes_received", _listed(lambda state: str(state.bytes_received))),
    _variable("upstream_bytes_sent", _listed(lambda state: str(state.bytes_sent))),
    _variable("upstream_connect_time", _listed(lambda state: _time(state.connect_time))),
    _variable("upstream_header_time", _listed(lambda state: _time(state.header_time))),
    _variable("upstream_response_length", _listed(lambda state: str(state.response_length))),
    _variable("upstream_response_time", _listed(lambda state: _time(state.response_time))),
    _variable("upstream_status", _listed(lambda state: str(state.status) if state.status else NOTHING)),
    _variable(FIELD, _field, prefix=True),
    _variable(TRAILER, _trailer, prefix=True),
    _variable(COOKIE, _cookie, prefix=True),
)


@implementer(IPlugin, IModule)
class UpstreamVariables:
    """
    The module of these variables; groups are made by L{sniproxy.common.upstream}.
    """

    name = "http_upstream"
    directives: tuple[Directive[Any], ...] = ()
    variables = VARIABLES

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """


upstream_variables = UpstreamVariables()
