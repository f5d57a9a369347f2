"""
What C{twistd sniproxy} takes and runs.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.application.service import IService
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.python import usage

from sniproxy.config.dump import dump
from sniproxy.errors import ConfigErrors
from sniproxy.logs.sinks import files_of, hold_standard_streams
from sniproxy.service.about import long
from sniproxy.service.load import load
from sniproxy.service.main import complain, say
from sniproxy.service.master import make_service
from sniproxy.service.pidfile import check_pid


class Options(usage.Options):
    """
    The command line.
    """

    synopsis = "[options]"
    longdesc = "A TLS-aware proxy that reads nginx's configuration grammar."

    optParameters = [
        ["config", "c", None, "The configuration file."],
        ["prefix", "p", None, "What logs and the pid file are relative to; else the configuration file's folder."],
        ["globals", "g", "", "Directives of the main context that come before the file's."],
    ]
    optFlags = [
        ["test", "t", "Check the configuration and exit."],
        ["dump", "T", "Check the configuration, print what is in force, and exit."],
        ["demo", None, "Run two machines on loopback with throwaway certificates, and tell what to try."],
    ]

    def parseOptions(self, options: Any = None) -> None:
        """
        As every program: what is wrong with the command line is said on standard error, and the exit status is 1.
        """
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            say(f"sniproxy: {error}\nTry --help for usage information.")
            raise SystemExit(1) from None

    def opt_version(self) -> None:
        """
        Print which build this is, and on what it runs.
        """
        _show(long() + "\n")
        raise SystemExit(0)

    opt_v = opt_V = opt_version

    def postOptions(self) -> None:
        """
        Answer C{--test} and C{--dump} at once.
        """
        if self["demo"]:
            self._demo_alone()
            return
        if self["config"] is None:
            raise usage.UsageError("--config FILE is needed")
        if not (self["test"] or self["dump"]):
            return
        try:
            build = load(self["config"], self["prefix"], self["globals"])
            check_pid(build)
            files_of(build).open(Clock())
            files_of(build).close()
        except ConfigErrors as errors:
            complain(errors)
            say(f"sniproxy: configuration file {self['config']} test failed")
            raise SystemExit(1) from None
        for warning in build.warnings:
            say(f"[warn] {warning}")
        say(f"sniproxy: the configuration file {build.file} syntax is ok")
        say(f"sniproxy: configuration file {build.file} test is successful")
        if self["dump"]:
            _show(dump(build))
        raise SystemExit(0)

    def _demo_alone(self) -> None:
        others = [name for name in ("config", "prefix", "globals", "test", "dump") if self[name]]
        if others:
            raise usage.UsageError(f"--demo has configurations of its own: it does not go with --{others[0]}")
        if self.parent is not None and not self.parent["nodaemon"]:
            raise usage.UsageError("--demo stays in the foreground: twistd -n sniproxy --demo")


def _show(text: str) -> None:
    """
    Write to standard output, byte for byte what the files had.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
            sys.stdout.flush()
    except OSError as error:
        say(f"sniproxy: write() to standard output failed ({error.errno}: {error.strerror})")
        raise SystemExit(1) from None


def makeService(options: Options) -> IService:
    """
    Read the configuration and bind its sockets; what is wrong is said in a line each, and the exit status is 1.
    """
    hold_standard_streams()
    try:
        if options["demo"]:
            return make_demo(options)
        service: IService = make_service(options["config"], options["prefix"], options["globals"])
    except ConfigErrors as errors:
        complain(errors)
        raise SystemExit(1) from None
    return service


def make_demo(options: Options) -> IService:
    """
    @raise ConfigErrors: a machine of the demonstration cannot be started.
    @raise SystemExit: something else of it cannot; why is said in a line.
    """
    from sniproxy.service.demo.main import DemoService, uses_proxy  # brings twisted.web, which nobody else needs

    try:
        logfile = options.parent is not None and options.parent["logfile"]
        return DemoService(proxied=uses_proxy(os.environ), own_log=not logfile)
    except (OSError, CannotListenError) as error:
        say(f"sniproxy: the demonstration cannot be started: {error}")
        raise SystemExit(1) from None
