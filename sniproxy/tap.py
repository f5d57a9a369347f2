"""
What C{twistd sniproxy} takes and runs.
"""

from __future__ import annotations

import sys

from twisted.application.service import IService
from twisted.python import usage

from sniproxy.config.dump import dump
from sniproxy.errors import ConfigErrors
from sniproxy.logs.sinks import hold_standard_streams
from sniproxy.service.load import load
from sniproxy.service.main import ProxyService, complain


class Options(usage.Options):
    """
    The command line.
    """

    synopsis = "[options]"
    longdesc = "A TLS-aware proxy that reads nginx's configuration grammar."

    optParameters = [
        ["config", "c", None, "The configuration file."],
        ["prefix", "p", None, "What logs and the pid file are relative to; the configuration file's folder by default."],
        ["globals", "g", "", "Directives of the main context that come before the file's."],
    ]
    optFlags = [
        ["test", "t", "Check the configuration and exit."],
        ["dump", "T", "Check the configuration, print what is in force, and exit."],
    ]

    def postOptions(self) -> None:
        """
        Answer C{--test} and C{--dump} at once.
        """
        if self["config"] is None:
            raise usage.UsageError("--config FILE is needed")
        if not (self["test"] or self["dump"]):
            return
        try:
            build = load(self["config"], self["prefix"], self["globals"])
        except ConfigErrors as errors:
            complain(errors)
            print(f"sniproxy: configuration file {self['config']} test failed", file=sys.stderr)
            raise SystemExit(1) from None
        for warning in build.warnings:
            print(f"[warn] {warning}", file=sys.stderr)
        print(f"sniproxy: the configuration file {build.file} syntax is ok", file=sys.stderr)
        print(f"sniproxy: configuration file {build.file} test is successful", file=sys.stderr)
        if self["dump"]:
            print(dump(build), end="")
        raise SystemExit(0)


def makeService(options: Options) -> IService:
    """
    Read the configuration and bind its sockets; what is wrong is said in a line each, and the exit status is 1.
    """
    hold_standard_streams()
    try:
        service: IService = ProxyService(options["config"], options["prefix"], options["globals"], signals=True)
    except ConfigErrors as errors:
        complain(errors)
        raise SystemExit(1) from None
    return service
