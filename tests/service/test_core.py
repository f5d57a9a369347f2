"""
Tests for L{sniproxy.service.core}.
"""

from __future__ import annotations

import grp
import os
import pwd
from types import SimpleNamespace

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.common.listen import listenings
from sniproxy.config.build import Build
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from sniproxy.service.core import PID, PRIORITY, SHUTDOWN_TIMEOUT, USER, WORKERS, Account, has_master, service_core
from tests.support.sessions import configured


class ServiceCoreTests(SynchronousTestCase):
    """
    The directives about the process.
    """

    def setUp(self) -> None:
        self.user = 0
        self.patch(os, "geteuid", lambda: self.user)
        self.patch(pwd, "getpwnam", lambda name: {"proxy": SimpleNamespace(pw_uid=13, pw_gid=99)}[name])
        self.patch(
            grp, "getgrnam", lambda name: {"proxy": SimpleNamespace(gr_gid=14), "adm": SimpleNamespace(gr_gid=4)}[name]
        )

    def complaint(self, text: str) -> str:
        """
        The one thing that is wrong.
        """
        (error,) = self.assertRaises(ConfigErrors, configured, text).errors
        return str(error)

    def warnings(self, build: Build) -> list[str]:
        """
        What the operator is told.
        """
        return [str(warning) for warning in build.warnings]

    def test_interfaces(self) -> None:
        """
        It is a plugin and a module, which does nothing in servers.
        """
        self.assertTrue(verifyObject(IModule, service_core))
        self.assertTrue(IPlugin.providedBy(service_core))
        build = configured("stream { server { listen 80; } }")
        service_core.attach(listenings(build)[0].default, build)

    def test_defaults(self) -> None:
        """
        Nothing said, there is no pid file, the user stays, and sessions may go on for ever.
        """
        root = configured("").root
        self.assertEqual((root[PID], root[USER], root[SHUTDOWN_TIMEOUT], root[WORKERS]), ("", None, 0.0, 1))

    def test_pid(self) -> None:
        """
        The pid file is relative to the prefix.
        """
        self.assertEqual(configured("pid run/edge.pid;").root[PID], "/var/run/edge.pid")
        self.assertEqual(configured("pid /run/edge.pid;").root[PID], "/run/edge.pid")

    def test_accepted(self) -> None:
        """
        daemon and master_process must be on or off.
        """
        configured("daemon off; master_process on; worker_shutdown_timeout 10s;")
        self.assertIn('it must be "on" or "off"', self.complaint("daemon maybe;"))

    def test_workers(self) -> None:
        """
        As many as it says, or as many as there are cores to run on, whether or not the system tells which.
        """
        self.assertEqual(configured("worker_processes 4;").root[WORKERS], 4)
        self.patch(os, "sched_getaffinity", lambda pid: {0, 2, 5})
        self.assertEqual(configured("worker_processes auto;").root[WORKERS], 3)
        del os.sched_getaffinity
        self.patch(os, "cpu_count", lambda: 7)
        self.assertEqual(configured("worker_processes auto;").root[WORKERS], 7)
        self.patch(os, "cpu_count", lambda: None)
        self.assertEqual(configured("worker_processes auto;").root[WORKERS], 1)
        for word in ("0", "x", "-1"):
            self.assertEqual(
                self.complaint(f"worker_processes {word};"),
                '"worker_processes" directive invalid value in /etc/edge.conf:1',
            )

    def test_master(self) -> None:
        """
        Several workers have a master, unless it is refused; one has none, unless it is asked for.
        """
        for text, wanted in (
            ("", False),
            ("worker_processes 2;", True),
            ("worker_processes 2; master_process off;", False),
            ("master_process on;", True),
        ):
            self.assertEqual(has_master(configured(text).root), wanted)

    def test_priority(self) -> None:
        """
        A priority may have a sign of either kind.
        """
        for word, value in (("5", 5), ("+5", 5), ("-5", -5)):
            self.assertEqual(configured(f"worker_priority {word};").root[PRIORITY], value)
        for word in ("--1", "x", '""'):
            self.assertEqual(
                self.complaint(f"worker_priority {word};"),
                '"worker_priority" directive invalid number in /etc/edge.conf:1',
            )

    def test_affinity(self) -> None:
        """
        Masks that are not one for each worker, nor one for all, are a warning.
        """
        words = '[warn] the number of "worker_processes" is not equal to the number of "worker_cpu_affinity" masks,'
        for text, warned in (
            ("worker_processes 2; worker_cpu_affinity 01 10;", False),
            ("worker_processes 3; worker_cpu_affinity 01 10;", True),
            ("worker_processes 3; worker_cpu_affinity auto;", False),
        ):
            build = configured(text)
            self.assertEqual([str(line).startswith(words[7:]) for line in build.warnings], [True] * warned)
        self.assertEqual(
            self.complaint("worker_cpu_affinity x;"),
            'invalid character "x" in "worker_cpu_affinity" in /etc/edge.conf:1',
        )

    def test_user(self) -> None:
        """
        A user is looked up, with the group that is named or else the one of his name.
        """
        self.assertEqual(configured("user proxy;").root[USER], Account("proxy", 13, 14))
        self.assertEqual(configured("user proxy adm;").root[USER], Account("proxy", 13, 4))

    def test_nobody(self) -> None:
        """
        Who does not exist is refused in nginx's words.
        """
        self.assertEqual(self.complaint("user ghost;"), 'getpwnam("ghost") failed in /etc/edge.conf:1')
        self.assertEqual(self.complaint("user proxy ghosts;"), 'getgrnam("ghosts") failed in /etc/edge.conf:1')

    def test_not_root(self) -> None:
        """
        Where the process is nobody special the directive says nothing, whoever is named.
        """
        self.user = 1000
        build = configured("user ghost;")
        self.assertIsNone(build.root[USER])
        (warning,) = self.warnings(build)
        self.assertIn('the "user" directive makes sense only if', warning)
