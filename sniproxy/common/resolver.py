"""
Names to addresses while the program runs: C{resolver} and C{resolver_timeout} (nginx's ngx_resolver.c).

Strategy: all who wait for one name wait for one L{Lookup}. Answers are kept as long as they are good for, or as
C{valid=} says, and are then given at once, each time beginning with another address.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from secrets import randbelow
from typing import Any, Final, Protocol

from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import classImplements, implementer

from sniproxy.addresses import Address, numeric
from sniproxy.common.contexts import PLACES, UPSTREAMS
from sniproxy.common.lookups import TIMED_OUT, Found, Lookup
from sniproxy.common.questions import NOT_FOUND, Dice, Log, Outcome, Question
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.known import SOLD
from sniproxy.config.places import place
from sniproxy.config.template import Variable
from sniproxy.config.values import time, time_of
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule, IResolver
from sniproxy.wire.cursor import WireError
from sniproxy.wire.dns import AAAA, A, wire_name

PORT: Final = 53

TEXTS: Final = {
    1: "Format error",
    2: "Server failure",
    3: "Host not found",
    4: "Unimplemented",
    5: "Operation refused",
    TIMED_OUT: "Operation timed out",
}

MAX_KEPT: Final = 4096
"""How many names are remembered; the one not asked for the longest goes first."""

MAX_LOOKUPS: Final = 256
"""How many lookups are under way at once; others wait, each within its own deadline."""


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """
    What one C{resolver} directive says, with the C{resolver_timeout} of its block. Equal settings may share a
    L{Resolver}.

    @ivar servers: whom to ask, at least one.
    @ivar valid: seconds that answers are kept, whatever they say; None or 0: as they say.
    @ivar ipv4: whether A records are asked for.
    @ivar ipv6: whether AAAA records are.
    @ivar timeout: seconds that anyone waits for an answer.
    """

    servers: tuple[Address, ...]
    valid: float | None = None
    ipv4: bool = True
    ipv6: bool = True
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class ResolveFailure:
    """
    Why a name has no addresses: C{NAME could not be resolved (3: Host not found)}.

    @ivar code: a response code, or L{TIMED_OUT}.
    @ivar text: in nginx's words.
    """

    code: int
    text: str

    @classmethod
    def of(cls, code: int) -> ResolveFailure:
        """
        With the words that belong to the code.
        """
        return cls(code, TEXTS.get(code, "Unknown error"))

    def __str__(self) -> str:
        return f"({self.code}: {self.text})"


Answers = Callable[["list[str] | ResolveFailure"], None]

Findings = Callable[["list[str] | ResolveFailure", float], None]
"""As L{Answers}, with the seconds for which that is good."""


class Cancellable(Protocol):
    """
    What C{resolve} gives back.
    """

    def cancel(self) -> None:
        """
        The answer is not wanted any more.
        """


class _Nothing:
    """
    There is nothing to cancel: the answer has been given.
    """

    def cancel(self) -> None:
        """
        Nothing.
        """


NOTHING: Final = _Nothing()


class Resolver:
    """
    One C{resolver} at work. Keeps at most L{MAX_KEPT} names, has at most L{MAX_LOOKUPS} lookups under way, and lets
    nobody wait beyond C{settings.timeout}. Owns the lookups; C{close} ends them.
    """

    _log = Logger()

    def __init__(
        self,
        settings: ResolverSettings,
        reactor: Any,
        log: Log = lambda level, message: None,
        dice: Dice = randbelow,
    ) -> None:
        """
        @param reactor: provides IReactorUDP, IReactorTCP and IReactorTime.
        @param log: told of servers that cannot be reached.
        """
        self.settings = settings
        self._reactor = reactor
        self._tell_log = log
        self._dice = dice
        self._kinds = (A,) * settings.ipv4 + (AAAA,) * settings.ipv6
        self._kept: OrderedDict[bytes, tuple[float, Found]] = OrderedDict()
        self._lookups: dict[bytes, Lookup] = {}
        self._queue: dict[bytes, Lookup] = {}
        self._turn = 0

    def resolve(self, name: str, answer: Answers) -> Cancellable:
        """
        @param name: a host name, or a numeric address, which is its own answer.
        @param answer: called once, perhaps before this returns, with numeric addresses or L{ResolveFailure}.
        """
        return self.find(name, lambda found, life: answer(found))

    def find(self, name: str, answer: Findings) -> Cancellable:
        """
        As C{resolve}, for those who want to know for how long the answer is good.
        """
        literal = numeric(name, 0)
        if literal is not None:
            answer([literal.host], inf)
            return NOTHING
        try:
            key = wire_name(name)
        except WireError:
            answer(ResolveFailure.of(NOT_FOUND), inf)
            return NOTHING
        until, found = self._kept.get(key, (0.0, None))
        now = self._reactor.seconds()
        if found is not None and now < until:
            self._kept.move_to_end(key)
            answer(self._given(found), until - now)
            return NOTHING
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._begin(key)
        return lookup.wait(lambda found: self._tell(answer, found), self.settings.timeout)

    def question(self, name: bytes, kind: int, done: Callable[[Outcome], None]) -> Question:
        """
        One question to the servers, each time beginning with another; it has not been asked yet.

        @param name: in wire form.
        """
        return Question(self._reactor, self._servers(), name, kind, done, self._dice, self._tell_log)

    def _servers(self) -> tuple[Address, ...]:
        """
        Whom to ask, each time beginning with another.
        """
        start = self._turn
        self._turn = (start + 1) % len(self.settings.servers)
        return self.settings.servers[start:] + self.settings.servers[:start]

    def close(self) -> None:
        """
        End all lookups; nobody is answered.
        """
        lookups = list(self._lookups.values())
        self._lookups.clear()
        self._queue.clear()
        for lookup in lookups:
            lookup.stop()

    def _begin(self, key: bytes) -> Lookup:
        servers = self._servers()

        def asked(kind: int, done: Callable[[Outcome], None]) -> Question:
            return Question(self._reactor, servers, key, kind, done, self._dice, self._tell_log)

        lookup = Lookup(key, self._reactor, self._kinds, asked, self._over)
        if len(self._lookups) - len(self._queue) < MAX_LOOKUPS:
            lookup.start()
        else:
            self._queue[key] = lookup
        self._lookups[key] = lookup
        return lookup

    def _over(self, lookup: Lookup, found: Found | None) -> None:
        """
        A lookup has come to its end: keep what it found, tell all who wait, and let another begin.
        """
        del self._lookups[lookup.key]
        if self._queue.pop(lookup.key, None) is None and self._queue:
            self._queue.pop(next(iter(self._queue))).start()
        if found is None:
            return
        life = self._life(found)
        if life > 0:
            self._kept[lookup.key] = (self._reactor.seconds() + life, found)
            self._kept.move_to_end(lookup.key)
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        for give in lookup.stop():
            give(found)

    def _tell(self, answer: Findings, found: Found) -> None:
        """
        If one who waits cannot take the answer the others are still told.
        """
        try:
            answer(self._given(found), self._life(found))
        except Exception:
            self._log.failure("Could not take the answer of a resolver")

    def _life(self, found: Found) -> float:
        """
        How long it is good for, C{valid=} considered.
        """
        return self.settings.valid if self.settings.valid and not found.code else found.life

    def _given(self, found: Found) -> list[str] | ResolveFailure:
        """
        The addresses of both families, each beginning anywhere, and all of them beginning anywhere, as in nginx.
        """
        if found.code:
            return ResolveFailure.of(found.code)
        return self._turned([*self._turned(found.ipv4), *self._turned(found.ipv6)])

    def _turned(self, addresses: Sequence[str]) -> list[str]:
        start = self._dice(len(addresses)) if len(addresses) > 1 else 0
        return [*addresses[start:], *addresses[:start]]


# The directives.


def resolver(scope: Scope) -> ResolverSettings | None:
    """
    The resolver in force in a block, with the block's C{resolver_timeout}; None where there is none.
    """
    settings = scope[RESOLVER]
    return None if settings is None else replace(settings, timeout=scope[RESOLVER_TIMEOUT])


def _switch(word: str, text: str) -> bool:
    if text not in ("on", "off"):
        raise ConfigError(f"invalid parameter: {word}")
    return text == "on"


def _settings(node: Node, build: Build, scope: Scope) -> ResolverSettings:
    servers: list[Address] = []
    valid: float | None = None
    ipv4 = ipv6 = True
    for word in node.args:
        name, equals, text = word.partition("=")
        if equals and name == "status_zone":
            raise ConfigError(f'"{name}" parameter is not supported by sniproxy: {SOLD}')
        if not equals or name not in ("valid", "ipv4", "ipv6"):
            servers += _servers(word, build)
        elif name == "valid":
            valid = time_of(text, seconds=True)
            if valid is None:
                raise ConfigError(f"invalid parameter: {word}")
        elif name == "ipv4":
            ipv4 = _switch(word, text)
        elif name == "ipv6":
            ipv6 = _switch(word, text)
    if not ipv4 and not ipv6:
        raise ConfigError('"ipv4" and "ipv6" cannot both be "off"')
    if not servers:
        raise ConfigError("no name servers defined")
    return ResolverSettings(tuple(servers), valid, ipv4, ipv6)


def _servers(word: str, build: Build) -> tuple[Address, ...]:
    try:
        found = place(word)
        if found.family == "unix":
            raise ConfigError("invalid host")
        return found.addresses(build.lookup, PORT)
    except ConfigError as error:
        raise ConfigError(f'{error.message} in resolver "{word}"') from None


CONTEXTS: Final = (*PLACES, *UPSTREAMS)

RESOLVER: Final[Directive[ResolverSettings | None]] = Directive("resolver", CONTEXTS, (1, MANY), _settings, None)

RESOLVER_TIMEOUT: Final[Directive[float]] = Directive("resolver_timeout", CONTEXTS, (1, 1), time, 30.0)


@implementer(IPlugin, IModule)
class ResolverModule:
    """
    The resolver's directives; those who resolve ask L{resolver} for what they said.
    """

    name = "stream_resolver"
    directives = (RESOLVER, RESOLVER_TIMEOUT)
    variables: tuple[Variable, ...] = ()

    def prepare(self, build: Build) -> None:
        """
        Nothing spans blocks.
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        A resolver does nothing by itself.
        """


resolver_module = ResolverModule()

classImplements(Resolver, IResolver)
