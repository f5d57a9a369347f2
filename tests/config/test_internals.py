"""
Tests for L{sniproxy.config.internals}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.config.internals import EVENTS, INTERNALS
from sniproxy.interfaces import IModule
from tests.config.mini import build, faults


class Accepted(SynchronousTestCase):
    """
    Directives without effect are still read as nginx reads them.
    """

    def test_interface(self) -> None:
        """
        They are a module like any other, which attaches nothing.
        """
        verifyObject(IModule, INTERNALS)
        made = build("")
        INTERNALS.attach(object(), made)
        self.assertEqual(made.shared, {})

    def test_reasons(self) -> None:
        """
        Each says why it has no effect.
        """
        for directive in INTERNALS.directives:
            self.assertTrue(directive.ignored, directive.name)

    def test_accepted(self) -> None:
        """
        What many files have is accepted.
        """
        made = build(
            """
            load_module a.so; load_module b.so;
            thread_pool a threads=1; timer_resolution 100ms; pcre_jit on; debug_points stop; env TZ; env A=B;
            working_directory /; lock_file l;
            events {
                worker_connections 1024; use epoll; multi_accept on; accept_mutex off; accept_mutex_delay 1s;
                debug_connection 127.0.0.1; debug_connection ::1;
            }
            stream { map_hash_bucket_size 64; map_hash_max_size 1; variables_hash_max_size 1;
                     server_names_hash_bucket_size 1; open_log_file_cache max=1; server { open_log_file_cache off; } }
            """
        )
        self.assertTrue(made.root.has(EVENTS))

    def test_refused(self) -> None:
        """
        Wrong values, contexts and counts are refused in nginx's words.
        """
        self.assertEqual(
            faults("events {\nworker_connections x;\n}\nworker_connections 5;\npcre_jit 1;\nevents {}"),
            [
                '"worker_connections" directive invalid number in F:2',
                '"worker_connections" directive is not allowed here in F:4',
                'invalid value "1" in "pcre_jit" directive, it must be "on" or "off" in F:5',
                '"events" directive is duplicate in F:6',
            ],
        )

    def test_tables(self) -> None:
        """
        The table of variables is always built by nginx, which then finds that it cannot be.
        """
        wrong = "could not build variables_hash,"
        for text, fault in (
            ("variables_hash_max_size 0", f"{wrong} you should increase variables_hash_max_size: 0"),
            ("variables_hash_bucket_size 0", f"{wrong} you should increase variables_hash_bucket_size: 0"),
            ("variables_hash_bucket_size 65473", f"{wrong} too large variables_hash_bucket_size: 65536"),
        ):
            self.assertEqual(faults(f"stream {{ {text}; }}"), [f"{fault} in F:1"])
        build("stream { variables_hash_bucket_size 65472; map_hash_max_size 0; }")

    def test_thread_pools(self) -> None:
        """
        A pool has threads, a queue perhaps, and a name of its own; words that are neither mean nothing.
        """
        for text, fault in (
            ("a threads=0", 'invalid threads value "threads=0"'),
            ("a threads=x", 'invalid threads value "threads=x"'),
            ("a threads=1 max_queue=x", 'invalid max_queue value "max_queue=x"'),
            ("a max_queue=0", '"thread_pool" must have "threads" parameter'),
            ("b threads=1", 'duplicate thread pool "b"'),
        ):
            self.assertEqual(faults(f"thread_pool b threads=2 else; thread_pool {text};"), [f"{fault} in F:1"])
