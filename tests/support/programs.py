"""
How does a test run another program? It asks for it by name, starts it, waits until it is ready, and gets its output
when something fails.

Strategy: a missing program skips the test on a developer's machine, and fails it where the environment says C{CI},
so that no test disappears unnoticed. Nothing sleeps for a guessed time: L{eventually} asks again and again until
the answer is yes, and its deadline only serves to fail. Every program is ended by its own process id.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NoReturn, TypeVar

from twisted.trial.unittest import SkipTest, SynchronousTestCase

T = TypeVar("T")

PATIENCE: Final = float(os.environ.get("PATIENCE", "30"))
"""
Seconds after which a wait has failed: far more than any of them takes on a slow machine. Where much fails, less of
it saves time.
"""
ROOT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin"
"""
Where servers are and a user's PATH often does not lead.
"""


def need(program: str, environment: Mapping[str, str] = os.environ) -> str:
    """
    The path of a program that a test cannot do without.

    @param program: its name, or its path.
    @raise SkipTest: it is not here, and need not be.
    @raise RuntimeError: it is not here, and C{CI} says that it has to be.
    """
    found = shutil.which(program, path=f"{environment.get('PATH', os.defpath)}:{PATH}")
    return found if found is not None else missing(f"{program} is not installed", environment)


def missing(what: str, environment: Mapping[str, str] = os.environ) -> NoReturn:
    """
    Skip, or fail where C{CI} is set.

    @raise SkipTest: the test cannot run here.
    @raise RuntimeError: it has to.
    """
    if environment.get("CI"):
        raise RuntimeError(f"{what}, and CI is set: add its package to .ci/run")
    raise SkipTest(what)


def eventually(question: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """
    @param question: asked until its answer is true; C{OSError} is a no.
    @param what: what is waited for, for the error.
    @return: the first true answer.
    """
    end = time.monotonic() + patience
    while True:
        answer = None
        with suppress(OSError):
            answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience:g} s: {what}; last answer: {answer!r}")
        time.sleep(0.005)


def run(
    *arguments: str, folder: str | None = None, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """
    Run a program to its end.
    """
    with subprocess.Popen(
        arguments,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="latin-1",
        env={**os.environ, **(env or {})},
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(stdin.decode("latin-1"), 2 * PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the children it has started
            process.wait()
            raise AssertionError(f"does not end: {' '.join(arguments)}") from None
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


class Program:
    """
    A program that runs beside a test.

    @ivar output_path: the file that takes its standard output and standard error.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        folder: str,
        *,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.name = name
        self.arguments = list(arguments)
        self.folder = folder
        self.output_path = os.path.join(folder, f"{name}.out")
        with open(self.output_path, "ab") as output:
            self.process = subprocess.Popen(
                self.arguments,
                cwd=folder,
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """
        Its process id.
        """
        return self.process.pid

    def output(self) -> str:
        """
        What it has printed so far.
        """
        return read_text(self.output_path)

    def ended(self) -> bool:
        """
        Whether it has.
        """
        return self.process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """
        Send it a signal.
        """
        self.process.send_signal(number)

    def wait(self, patience: float = PATIENCE) -> int:
        """
        @return: its exit status.
        """
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended within {patience:g} s") from None

    def ready(self, question: Callable[[], T], what: str) -> T:
        """
        Wait until C{question} is answered yes, or fail at once when the program ends.
        """

        def alive_or_fail() -> T:
            answer = question()
            if not answer and self.ended():
                raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.output()}")
            return answer

        return eventually(alive_or_fail, what)

    def stop(self) -> None:
        """
        End it, at once if it does not obey.
        """
        if not self.ended():
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


def read_text(path: str) -> str:
    """
    @return: a file's text, empty where there is no file.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def write_text(path: str, text: str) -> str:
    """
    @return: the path of the file, whose folder is made if missing.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    return path


def children(pid: int) -> list[int]:
    """
    @return: the process ids of a process's children.
    """
    return [int(each) for each in read_text(f"/proc/{pid}/task/{pid}/children").split()]


@contextmanager
def explained(papers: Sequence[Callable[[], tuple[str, str]]]) -> Iterator[None]:
    """
    Add to a failure what the programs of the test have printed.

    @param papers: each answers a title and a text.
    """
    try:
        yield
    except SkipTest:
        raise
    except Exception as error:
        story = "\n".join(f"----- {title}\n{text[-6000:]}" for title, text in (paper() for paper in papers) if text)
        if not story:
            raise
        raise AssertionError(f"{type(error).__name__}: {error}\n{story}").with_traceback(error.__traceback__) from None


class ProgramTestCase(SynchronousTestCase):
    """
    A test that runs programs: it has a folder of its own, and its failures show what they have printed.
    """

    def setUp(self) -> None:
        """
        Make the folder, and have failures explained.
        """
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)
        self.papers: list[Callable[[], tuple[str, str]]] = []
        method = getattr(self, self._testMethodName)

        def explaining() -> None:
            with explained(self.papers):
                method()

        setattr(self, self._testMethodName, explaining)

    def path(self, *names: str) -> str:
        """
        @return: a path in the test's folder.
        """
        return os.path.join(self.folder, *names)

    def socket_path(self, name: str) -> str:
        """
        @return: a path for a unix socket, whose 107 bytes the test's own folder may well use up.
        """
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        return os.path.join(folder, name)

    def start(
        self,
        name: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> Program:
        """
        Start a program that ends with the test.
        """
        program = Program(name, arguments, self.folder, env=env, stdin=stdin)
        self.addCleanup(program.stop)
        self.papers.append(lambda: (f"{name}: {' '.join(arguments)}", program.output()))
        return program


def python_environment() -> dict[str, str]:
    """
    The environment in which a Python program finds the sniproxy that this process finds.
    """
    import sniproxy

    home = os.path.dirname(os.path.dirname(os.path.abspath(sniproxy.__file__)))
    return {"PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))}


def twistd() -> list[str]:
    """
    The arguments that start the twistd of this interpreter.
    """
    return [sys.executable, "-c", "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"]
