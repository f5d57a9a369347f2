"""
By which name is a client served under which policy, and what when the files behind it change?

Strategy: each entry of the table is one TLS context of its own, so that nothing (a ticket, a session, a demand for
certificates) goes from one name to another. A look-up reads memory and nothing else, whatever the client asks for.
Files are read when the table is made, at L{ServerNames.reload}, and by a L{Watch}; they are compared by content, so
that one that was replaced within a second is noticed and one that was only touched changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final, TypeAlias

import idna
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.runtime import seconds

from sniproxy.config.hostnames import Hostnames, Verdict
from sniproxy.errors import ConfigError
from sniproxy.tls.contexts import ServerContext, server_context
from sniproxy.tls.policies import ServerPolicy

Read: TypeAlias = Callable[[str], bytes]
ServerSide: TypeAlias = "ServerPolicy | ServerContext"
Policies: TypeAlias = "ServerSide | Mapping[Any, ServerSide] | Callable[[Read], Mapping[Any, ServerSide]]"
"""
One for every client; or by names and masks (C{"a.example"}, C{"*.example"}, C{".example"}, C{"www.*"}, or several
in a tuple); or what makes such a mapping anew at each reload, with a function that reads files.
"""

_EVERYONE: Final = ("",)
"""The key of the default, which is no name."""


def read_file(path: str) -> bytes:
    """
    The content of a file.

    @raise OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return file.read()


def canonical(name: str) -> str:
    """
    A name or a mask as clients send it: in lower case, in A-labels (RFC 5890), without a trailing dot.

    @raise ValueError: it cannot be a host name.
    """
    text = name.lower().removesuffix(".")
    if text.isascii():
        return text
    labels = (label if label.isascii() else idna.encode(label, uts46=True).decode("ascii") for label in text.split("."))
    return ".".join(labels)


def anchored(policy: ServerPolicy) -> ServerPolicy:
    """
    The same policy with absolute paths: a program may change its working directory before files are read again.
    """

    def path(text: str) -> str:
        return os.path.abspath(text) if text else ""

    return replace(
        policy,
        certificates=tuple((path(certificate), path(key)) for certificate, key in policy.certificates),
        client_certificate=path(policy.client_certificate),
        trusted_certificate=path(policy.trusted_certificate),
        crl=path(policy.crl),
        dhparam=path(policy.dhparam),
    )


class _Once:
    """
    Reads each file once, and remembers who read what.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._contents: dict[str, bytes] = {}

    def read(self, path: str) -> bytes:
        if path not in self._contents:
            self._contents[path] = self._read(path)
        return self._contents[path]

    def digest(self, path: str) -> bytes:
        """
        @return: what tells contents apart; empty where there is nothing to read.
        """
        try:
            return sha256(self.read(path)).digest()
        except OSError:
            return b""


@dataclass(frozen=True, slots=True)
class _Entry:
    """
    @ivar policy: what was asked for.
    @ivar seen: the files of the context and their digests.
    """

    policy: ServerSide
    context: ServerContext
    seen: tuple[tuple[str, bytes], ...] = ()

    def holds(self, policy: ServerSide, files: _Once) -> bool:
        """
        Whether it may stay as it is, with its sessions.
        """
        return self.policy == policy and all(files.digest(path) == digest for path, digest in self.seen)


class ServerNames:
    """
    The contexts of a TLS server by the names of clients. May be shared by endpoints. Owns no files and waits for
    nothing.
    """

    def __init__(
        self,
        policies: Policies,
        default: ServerSide | str | None = None,
        *,
        read: Read = read_file,
        clock: Callable[[], float] = seconds,
    ) -> None:
        """
        @param default: for clients that name nobody, or somebody who is not in the mapping: a policy, or one of the
            names in the mapping. None: they are refused; never is one of the mapping taken unasked.
        @param read: reads a file whole.
        @param clock: wall clock, seconds since the epoch.
        @raise ConfigError: a file cannot be read or used; in nginx's words.
        @raise ValueError: a name is none, or is there twice.
        """
        if isinstance(policies, (ServerPolicy, ServerContext)):
            if default is not None:
                raise ValueError("a policy for every client leaves nobody to a default")
            default, policies = policies, {}
        self._policies = policies
        self._default_policy: ServerSide | str | None = default
        self._read = read
        self._clock = clock
        self._entries: dict[tuple[str, ...], _Entry] = {}
        self._table: Hostnames[ServerContext] = Hostnames()
        self._default: ServerContext | None = None
        self.reload()

    @property
    def contexts(self) -> tuple[ServerContext, ...]:
        """
        All of them, the default last.
        """
        return tuple(entry.context for entry in self._entries.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """
        What the policies ask for and cannot be had.
        """
        return tuple(dict.fromkeys(warning for context in self.contexts for warning in context.warnings))

    def choose(self, name: str | None) -> ServerContext | None:
        """
        @param name: from a ClientHello, see L{sniproxy.wire.client_hello.ClientHello.server_name}.
        @return: None: the client is to be refused.
        """
        found = self._table.find(name) if name else None
        return self._default if found is None else found

    def reload(self) -> bool:
        """
        Read all files again. Contexts whose policy and files are the same stay, with their sessions; connections
        that are there keep theirs whatever happens.

        @return: whether anything changed.
        @raise ConfigError: something cannot be read or used; nothing has changed then.
        @raise ValueError: as when made.
        """
        files = _Once(self._read)
        entries: dict[tuple[str, ...], _Entry] = {}
        table: Hostnames[ServerContext] = Hostnames()
        for names, policy in self._wanted(files):
            old = self._entries.get(names)
            entry = old if old is not None and old.holds(policy, files) else self._make(policy, files)
            entries[names] = entry
            if names is not _EVERYONE:
                _add(table, names, entry.context)
        changed = {names: id(entry) for names, entry in entries.items()} != {
            names: id(entry) for names, entry in self._entries.items()
        }
        everyone = entries.get(_EVERYONE)
        default = None if everyone is None else everyone.context
        if isinstance(self._default_policy, str):
            default = table.find(canonical(self._default_policy))
            if default is None:
                raise ValueError(f'the default "{self._default_policy}" is not among the server names')
        self._entries, self._table, self._default = entries, table, default
        return changed

    def _wanted(self, files: _Once) -> Iterator[tuple[tuple[str, ...], ServerSide]]:
        policies = self._policies
        found: Any = policies(files.read) if callable(policies) else policies
        for names, policy in found.items():
            listed = (names,) if isinstance(names, str) else names
            yield tuple(map(canonical, listed)), _settled(policy)
        if self._default_policy is not None and not isinstance(self._default_policy, str):
            yield _EVERYONE, _settled(self._default_policy)

    def _make(self, policy: ServerSide, files: _Once) -> _Entry:
        if isinstance(policy, ServerContext):
            return _Entry(policy, policy)
        seen: dict[str, bytes] = {}

        def read(path: str) -> bytes:
            seen[path] = files.digest(path)
            return files.read(path)

        context = server_context(policy, read, self._clock)
        return _Entry(policy, context, tuple(seen.items()))


def _settled(policy: ServerSide) -> ServerSide:
    return anchored(policy) if isinstance(policy, ServerPolicy) else policy


def _add(table: Hostnames[ServerContext], names: Iterable[str], context: ServerContext) -> None:
    for name in names:
        verdict = table.add(name, context) if name else Verdict.INVALID
        if verdict is not Verdict.TAKEN:
            raise ValueError(f'server name "{name}": {verdict.value}')


class Watch:
    """
    Reloads a table every so many seconds: a renewed certificate is taken without a restart. What cannot be used is
    logged, once as long as it is the same, and changes nothing. Each round costs the reading of the files, and no
    client can cause one.
    """

    log = Logger()

    def __init__(self, names: ServerNames, clock: IReactorTime, interval: float) -> None:
        """
        @param interval: seconds between two looks.
        """
        self._names = names
        self._clock = clock
        self._interval = interval
        self._trouble = ""
        self._call: IDelayedCall | None = None
        self._arm()

    def _arm(self) -> None:
        self._call = self._clock.callLater(self._interval, self._look)

    def _look(self) -> None:
        self._arm()
        try:
            if self._names.reload():
                self.log.info("certificates have changed and are in use")
            self._trouble = ""
        except (ConfigError, ValueError) as error:
            trouble = str(error)
            if trouble != self._trouble:
                self._trouble = trouble
                self.log.error("certificates have changed and cannot be used: {trouble}", trouble=trouble)
        except Exception:
            self.log.failure("certificates cannot be read again")

    def stop(self) -> None:
        """
        Look no more.
        """
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
