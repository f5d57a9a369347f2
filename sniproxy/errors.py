"""
Who is to blame: the three kinds of failure the house knows by name.

Anything that is raised and is none of these is our own bug: it is logged with its traceback, ends the
session it happened in, and leaves the process alive.
"""

from __future__ import annotations


class SniproxyError(Exception):
    """
    What all our own errors have in common.
    """


class ConfigError(SniproxyError):
    """
    The configuration is wrong.

    Raised without a place by converters (who see only a value) and completed by whoever knows the directive.

    @ivar message: what is wrong, in nginx's words where nginx has them, without C{[emerg]} and without the place.
    @ivar file: the configuration file, or None while it is not known.
    @ivar line: the line in it, counted from 1; 0 where there are no lines (the command line); None while not known.
    """

    def __init__(self, message: str, file: str | None = None, line: int | None = None) -> None:
        super().__init__(message, file, line)
        self.message = message
        self.file = file
        self.line = line

    def at(self, file: str, line: int) -> ConfigError:
        """
        The same error with its place, unless it has one already.
        """
        if self.file is not None:
            return self
        return ConfigError(self.message, file, line)

    def __str__(self) -> str:
        if self.file is None:
            return self.message
        if not self.line:
            return f"{self.message} in {self.file}"
        return f"{self.message} in {self.file}:{self.line}"


class ConfigErrors(SniproxyError):
    """
    All that is wrong with a configuration, in the order it was found.

    @ivar errors: at least one.
    """

    def __init__(self, errors: tuple[ConfigError, ...]) -> None:
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(f"[emerg] {error}" for error in self.errors)


class PeerError(SniproxyError):
    """
    The client broke a protocol or a rule: its session ends, one line is logged, nothing else is touched.
    """


class UpstreamError(SniproxyError):
    """
    A peer of an upstream failed: the next one may be tried.
    """


class BindError(OSError):
    """
    The address we want to go out from cannot be had: no fault of the other end's.

    @cvar call: what the system has refused, as nginx names it; empty for the address itself.
    """

    call = ""


class TransparencyError(BindError):
    """
    Addresses of other machines cannot be had.
    """

    call = "setsockopt(IP_TRANSPARENT)"


class TlsFailure(OSError):
    """
    TLS broke: an alert, a bad record, a refused handshake.

    @ivar reasons: OpenSSL's error queue, the oldest first: (library, function, reason).
    """

    def __init__(self, reasons: tuple[tuple[str, str, str], ...]) -> None:
        super().__init__(reasons[0][2] if reasons else "unknown TLS error")
        self.reasons = reasons
