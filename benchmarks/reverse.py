"""
A reverse proxy as Twisted has it: C{twisted.web.proxy.ReverseProxyResource}, HTTP in and HTTP out.

    python benchmarks/reverse.py PORT UPSTREAM
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor
from twisted.web.proxy import ReverseProxyResource
from twisted.web.server import Site


def main(port: str, upstream: str) -> None:
    """
    Pass all requests on, until the process is ended.
    """
    running: Any = reactor
    site: Any = Site
    resource: Any = ReverseProxyResource
    running.listenTCP(int(port), site(resource("127.0.0.1", int(upstream), b"")), 4096, "127.0.0.1")
    running.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
