"""
Is each file proved by its own test? C{python -m tests.own [FILE ...]} runs tests/x/test_y.py alone and measures the
branches it covers of sniproxy/x/y.py.

Strategy: one process for each file, because what another test happened to import or run must not count; two at a
time. What each file owes stands in tests/exemptions.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.exemptions import LESS_COVERED, NO_OWN_TEST, OWN_ELSEWHERE, OWN_PURE, PURE
from tests.support.house import HOUSE, TOP, modules, room


@dataclass(frozen=True, slots=True)
class Proof:
    """
    What one file's own test showed.

    @ivar file: relative to the project's folder.
    @ivar covered: per cent of lines and branches.
    @ivar owed: what it should be at least.
    @ivar missing: the lines not run, and the branches (from, to) not taken.
    @ivar trouble: the end of what the tests said, if they failed or are not there.
    """

    file: str
    covered: float
    owed: float
    missing: str = ""
    trouble: str = ""

    @property
    def holds(self) -> bool:
        """
        Whether the tests passed and cover enough.
        """
        return not self.trouble and self.covered >= self.owed


def owed(name: str, file: str) -> float:
    """
    How much of a file its own test must cover.
    """
    if file in LESS_COVERED:
        return LESS_COVERED[file][0]
    return OWN_PURE if room(name) in PURE else OWN_ELSEWHERE


def prove(name: str, path: Path) -> Proof:
    """
    Run one file's own test, and it alone.
    """
    file = str(path.relative_to(TOP))
    inside = path.relative_to(HOUSE)
    test = TOP / "tests" / inside.parent / f"test_{path.stem.rstrip('_')}.py"
    due = owed(name, file)
    if not test.exists():
        return Proof(file, 0.0, due, trouble=f"no {test.relative_to(TOP)}")
    dotted = ".".join(test.relative_to(TOP).with_suffix("").parts)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "COVERAGE_FILE": f"{folder}/coverage"}
        coverage = [sys.executable, "-m", "coverage"]

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*coverage, *arguments], cwd=TOP, env=environment, capture_output=True, text=True, check=False
            )

        ran = run("run", "-m", "twisted.trial", f"--temp-directory={folder}/trial", dotted)
        if ran.returncode:
            return Proof(file, 0.0, due, trouble=ran.stdout[-1500:] + ran.stderr[-1500:])
        reported = run("json", "-q", f"--include={path}", "-o", f"{folder}/report.json")
        if reported.returncode:
            return Proof(file, 0.0, due, trouble=reported.stdout + reported.stderr)
        report = json.loads(Path(folder, "report.json").read_text())
    (measured,) = report["files"].values()
    arcs = ", ".join(f"{a}->{b}" for a, b in measured["missing_branches"])
    lines = ", ".join(map(str, measured["missing_lines"]))
    return Proof(file, measured["summary"]["percent_covered"], due, f"lines {lines or '-'}; branches {arcs or '-'}")


def main(wanted: Sequence[str]) -> int:
    """
    @param wanted: files or folders; all of the house where there are none.
    @return: the exit status.
    """
    chosen = [
        (name, path)
        for name, path in modules().items()
        if path.name != "__init__.py"
        and str(path.relative_to(TOP)) not in NO_OWN_TEST
        and (not wanted or any(path.is_relative_to(Path(place).resolve()) for place in wanted))
    ]
    with ThreadPoolExecutor(2) as pool:
        proofs = list(pool.map(lambda pair: prove(*pair), chosen))
    for proof in proofs:
        print(f"{'ok ' if proof.holds else 'BAD'} {proof.covered:6.1f} of {proof.owed:5.1f}  {proof.file}")
    for proof in proofs:
        if not proof.holds:
            print(f"\n{proof.file}: {proof.trouble or proof.missing}")
    bad = sum(not proof.holds for proof in proofs)
    print(f"\n{len(proofs)} files, {bad} not proved by their own test")
    return 1 if bad or not proofs else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
