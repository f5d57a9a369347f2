"""
Has everything that an operator can write in C{stream} a test that writes it? Each directive, each parameter and each
variable that is carried stands in a configuration, a format or an expectation of some test.

Strategy: directives and variables are read from the declarations of the modules; parameters, which each directive reads
by itself, are listed here in nginx's spelling. Texts are the string constants of all tests, without docstrings.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.template import ANY
from sniproxy.plugins import shipped
from tests.support.house import TOP

PARAMETERS: Final = {
    "listen": (
        "default_server ssl udp proxy_protocol fastopen= backlog= rcvbuf= sndbuf= deferred bind ipv6only= reuseport"
        " so_keepalive= setfib= accept_filter= multipath"
    ),
    "server in upstream": "weight= max_conns= max_fails= fail_timeout= backup down resolve service= slow_start=",
    "hash": "consistent",
    "random": "two least_conn least_time=connect",
    "least_time": "connect first_byte last_byte inflight",
    "resolver": "valid= ipv4=off ipv6=off status_zone=",
    "proxy_bind": "transparent",
    "proxy_protocol": "on v2",
    "proxy_ssl_certificate_cache, ssl_certificate_cache": "max= inactive= valid=",
    "ssl_session_cache": "off none builtin builtin: shared:",
    "ssl_verify_client": "on off optional optional_no_ca",
    "ssl_ocsp": "leaf",
    "ssl_certificate": "data:",
    "ssl_certificate_key": "data: engine: store:",
    "map": "default hostnames include volatile",
    "geo": "default include delete ranges volatile",
    "limit_conn_zone": "zone=",
    "limit_conn_log_level": "info notice warn error",
    "access_log": "buffer= gzip gzip= flush= if= off syslog:server=",
    "syslog": "facility= severity= tag= nohostname",
    "log_format": "escape=default escape=json escape=none",
    "open_log_file_cache": "max= inactive= min_uses= valid=",
    "error_log": "stderr syslog:server= debug info notice warn error crit alert emerg memory:",
    "allow, deny, set_real_ip_from": "all unix:",
    "ssl_conf_command": (
        "Options Protocol MinProtocol MaxProtocol CipherString Ciphersuites Groups Curves Certificate PrivateKey"
        " SignatureAlgorithms DHParameters ECDHParameters"
    ),
}
"""What stands behind a directive, or in its block."""


def constants(tree: ast.AST) -> Iterator[str]:
    """
    All texts of a module, without its docstrings.
    """
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in documents:
            if isinstance(node.value, str):
                yield node.value
            elif isinstance(node.value, bytes):
                yield node.value.decode("latin-1")


@cache
def written() -> tuple[str, frozenset[str]]:
    """
    Everything that tests write: as one text, and each constant that is one word, since tests make lists of names.
    """
    here = TOP / "tests" / "test_reference.py"
    paths = sorted(path for path in (TOP / "tests").rglob("test_*.py") if path != here)
    found = [text for path in paths for text in constants(ast.parse(path.read_text()))]
    return "\n".join(found), frozenset(found)


def occurs(word: str) -> bool:
    """
    Whether a word stands in some test, by itself; one that ends with C{=}, C{:} or C{_} is the beginning of one.
    """
    end = "" if word[-1] in "=:_" else r"(?!\w)"
    # in braces it is a variable too
    pattern = rf"\$\{{?{re.escape(word[1:])}{end}" if word[0] == "$" else rf"(?<![\w$]){re.escape(word)}{end}"
    text, words = written()
    return re.search(pattern, text) is not None or (word[0] == "$" and word[1:] in words)


def modules() -> list[Any]:
    """
    Those that ship.
    """
    return [getattr(shipped, name) for name in shipped.__all__]


class ReferenceTests(SynchronousTestCase):
    """
    Nothing is carried that no test has ever used.
    """

    maxDiff = None

    def test_directives(self) -> None:
        """
        Each directive is written in some test.
        """
        names = sorted(
            {
                each.name
                for module in modules()
                for each in module.directives
                if {place.partition(".")[0] for place in each.contexts} & {"main", "stream", "*"}
            }
        )
        self.assertGreater(len(names), 120)
        self.assertEqual([name for name in names if not occurs(name)], [])

    def test_variables(self) -> None:
        """
        Each variable is asked for in some test.
        """
        names = sorted(
            {f"${each.name}" for module in modules() for each in module.variables if each.kind in ("stream", ANY)}
        )
        self.assertGreater(len(names), 50)
        self.assertEqual([name for name in names if not occurs(name)], [])

    def test_parameters(self) -> None:
        """
        Each parameter is written in some test.
        """
        missing = [
            f"{directive}: {word}"
            for directive, words in PARAMETERS.items()
            for word in words.split()
            if not occurs(word)
        ]
        self.assertEqual(missing, [])

    def test_search(self) -> None:
        """
        What no test writes is missed.
        """
        self.assertEqual([occurs("nosuch_" + "directive"), occurs("$nosuch_" + "variable")], [False, False])
        self.assertTrue(occurs("proxy_pass"))
