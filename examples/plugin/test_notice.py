"""
Does the directive work where it is installed? twistd is run for real, on a port of loopback that is free now.
"""

import os
import socket
import subprocess
import sys
import time

from twisted.trial.unittest import SynchronousTestCase

PATIENCE = 30.0
"""Seconds after which something that should have happened has failed."""

TWISTD = [sys.executable, "-c", "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"]


class NoticeTests(SynchronousTestCase):
    """
    A configuration that uses the module, under twistd.
    """

    def setUp(self):
        """
        Choose a port and a folder.
        """
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]

    def write(self, name, text):
        """
        Write a file of the folder.
        """
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def command(self, directives, *options):
        """
        What runs a configuration of one server.
        """
        path = self.write(
            "edge.conf",
            "pid edge.pid; error_log edge.log info;\n"
            f"stream {{ server {{ listen 127.0.0.1:{self.port}; {directives} }} }}\n",
        )
        return [*TWISTD, "-n", "--pidfile=", "sniproxy", "--config", path, *options]

    def run_proxy(self, directives):
        """
        Start sniproxy, and wait until its sockets are open: then it writes its process id.
        """
        with open(os.path.join(self.folder, "edge.out"), "wb") as output:
            proxy = subprocess.Popen(self.command(directives), cwd=self.folder, stdout=output, stderr=subprocess.STDOUT)
        self.addCleanup(proxy.wait)
        self.addCleanup(proxy.terminate)
        end = time.monotonic() + PATIENCE
        while not os.path.exists(os.path.join(self.folder, "edge.pid")):
            if proxy.poll() is not None or time.monotonic() > end:
                with open(os.path.join(self.folder, "edge.out"), encoding="utf-8") as file:
                    self.fail(f"sniproxy does not start:\n{file.read()}")
            time.sleep(0.01)

    def ask(self, source="127.0.0.1"):
        """
        All that a client hears, who says something first and asks nobody whether to.
        """
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE, (source, 0)) as client:
            client.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
            heard = b""
            while data := client.recv(4096):
                heard += data
        return heard.decode("utf-8")

    def test_notice(self):
        """
        Each client gets the text with its variables filled in, and the end of the connection.
        """
        self.write("closed.txt", "Geschloßen, $remote_addr: $visits\n")
        self.run_proxy("notice closed.txt;")
        self.assertEqual(self.ask(), "Geschloßen, 127.0.0.1: 1\n")
        self.assertEqual(self.ask(), "Geschloßen, 127.0.0.1: 2\n")
        self.assertEqual(self.ask("127.0.0.2"), "Geschloßen, 127.0.0.2: 1\n")

    def test_no_file(self):
        """
        A file that is not there is an error with the place of the directive, before anything runs.
        """
        done = subprocess.run(
            self.command("notice nothing.txt;", "--test"), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn(
            f'[emerg] open() "{self.folder}/nothing.txt" failed (2: No such file or directory) '
            f"in {self.folder}/edge.conf:2\n",
            done.stderr,
        )

    def test_too_long(self):
        """
        A file that nobody would read is refused.
        """
        self.write("novel.txt", "x" * 65537)
        done = subprocess.run(
            self.command("notice novel.txt;", "--test"), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("is longer than 65536 bytes", done.stderr)
