"""
Tests for L{sniproxy.http.upstream_variables}.
"""

from __future__ import annotations

from typing import Any

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.http.upstream_states import UpstreamState
from sniproxy.http.upstream_variables import VARIABLES, elsewhere, upstream_variables
from sniproxy.interfaces import IModule
from tests.support.places import FakeRequest, Places


def state(peer: str, **facts: Any) -> UpstreamState:
    """
    A try.
    """
    made = UpstreamState(peer)
    for name, value in facts.items():
        setattr(made, name, value)
    return made


FAILED = state("192.0.2.2:80", status=502, response_time=0.25)
DONE = state(
    "192.0.2.3:80",
    status=200,
    connect_time=0.001,
    header_time=0.0125,
    response_time=2.0,
    response_length=5,
    bytes_sent=70,
    bytes_received=105,
    headers=(
        ("X-One", "a"),
        ("x-one", "b"),
        ("Set-Cookie", "Key = v1 ; Path=/"),
        ("Set-Cookie", "other=v2"),
        ("Set-Cookie", "bare"),
        ("Content_Kind", "c"),
    ),
    trailers=(("X-Sum", "1"),),
)

LISTED = (
    "addr",
    "status",
    "connect_time",
    "header_time",
    "response_time",
    "response_length",
    "bytes_sent",
    "bytes_received",
)


class UpstreamVariablesTests(SynchronousTestCase):
    """
    What requests tell.
    """

    def setUp(self) -> None:
        self.world = Places("server { }", [upstream_variables])

    def told(self, *states: UpstreamState, names: tuple[str, ...] = LISTED) -> list[str]:
        """
        Variables of a request that has made these tries.
        """
        request = FakeRequest()
        request.upstream_states = list(states)
        return [self.world.value(f"$upstream_{name}", request) for name in names]

    def test_interfaces(self) -> None:
        """
        The module is a plugin, whose variables are all asked each time, and of requests.
        """
        self.assertTrue(verifyObject(IModule, upstream_variables))
        self.assertTrue(IPlugin.providedBy(upstream_variables))
        self.assertEqual({(variable.kind, variable.volatile) for variable in VARIABLES}, {("http", True)})

    def test_nothing(self) -> None:
        """
        Where nothing was tried there is nothing to say, in the log a dash.
        """
        self.assertEqual(self.told(), [""] * len(LISTED))
        request: Any = FakeRequest()
        self.assertEqual({variable.get(request) for variable in VARIABLES if not variable.prefix}, {None})
        self.assertEqual(self.told(names=("http_x", "trailer_x", "cookie_x")), [""] * 3)

    def test_tries(self) -> None:
        """
        Each try has an entry; what it has not come to is a dash.
        """
        self.assertEqual(
            self.told(FAILED, DONE),
            [
                "192.0.2.2:80, 192.0.2.3:80",
                "502, 200",
                "-, 0.001",
                "-, 0.013",
                "0.250, 2.000",
                "0, 5",
                "0, 70",
                "0, 105",
            ],
        )
        self.assertEqual(self.told(state("back"), names=("status", "response_time")), ["-", "-"])

    def test_elsewhere(self) -> None:
        """
        Between two groups stands a colon, as soon as there is something behind it.
        """
        request: Any = FakeRequest()
        elsewhere(request)
        self.assertEqual(request.upstream_states, [])
        request.upstream_states.append(FAILED)
        elsewhere(request)
        self.assertEqual(self.world.value("$upstream_status", request), "502")
        self.assertEqual(self.world.value("$upstream_http_x_one", request), "")
        request.upstream_states += [FAILED, DONE]
        self.assertEqual(self.world.value("$upstream_status", request), "502 : 502, 200")

    def test_fields(self) -> None:
        """
        The fields are those of the last try: all of a name, whatever its case, with its dashes written low.
        """
        names = ("http_x_one", "http_X_ONE", "http_content_kind", "http_none", "trailer_x_sum", "trailer_x_one")
        self.assertEqual(self.told(FAILED, DONE, names=names), ["a, b", "a, b", "c", "", "1", ""])
        self.assertEqual(self.told(DONE, FAILED, names=("http_x_one",)), [""])

    def test_cookies(self) -> None:
        """
        A cookie is known by its name, in any case.
        """
        names = ("cookie_key", "cookie_OTHER", "cookie_bare", "cookie_path")
        self.assertEqual(self.told(DONE, names=names), ["v1 ", "v2", "", ""])
