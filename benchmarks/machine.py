"""
What was measured, on what, and when? And is all there that is needed? C{python -m benchmarks.machine} installs what is
missing, and prints which Python is to be measured.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Final

from benchmarks.proxies import STREAM_MODULE, Kind, find

HEADER: Final = "/usr/include/openssl/ssl.h"
POLICY: Final = "/usr/sbin/policy-rc.d"
PYTHON: Final = "/usr/bin/python3"
"""
Debian's own, as nginx and HAProxy are Debian's own. It was built with profiles, as distributors do; what one builds at
home mostly was not, and takes a tenth more.
"""
OLDEST: Final = (3, 10)


def asked(python: str, program: str) -> str:
    """
    @param program: what a Python is to run.
    @return: what it prints, or nothing.
    """
    done = subprocess.run([python, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout.decode("utf-8", "replace").strip()


def python() -> str:
    """
    @return: the path of the Python whose programs are measured: L{PYTHON}, or this one where that is too old.
    """
    if os.path.exists(PYTHON) and asked(PYTHON, f"import sys; print(sys.version_info >= {OLDEST})") == "True":
        return PYTHON
    return sys.executable


def missing() -> list[str]:
    """
    Debian packages without which rows cannot be measured, or not what users install: compiled.
    """
    measured = python()
    header = asked(measured, "import sysconfig; print(sysconfig.get_path('include') + '/Python.h')")
    return [
        package
        for package, there in {
            "gcc": find("cc"),
            "libc6-dev": os.path.exists("/usr/include/stdio.h"),
            "python3-dev": os.path.exists(header),
            "python3-venv": asked(measured, "import ensurepip, venv; print(True)"),
            "libssl-dev": os.path.exists(HEADER),
            "nginx": find("nginx"),
            "libnginx-mod-stream": os.path.exists(STREAM_MODULE),
            "haproxy": find("haproxy"),
        }.items()
        if not there
    ]


def install(packages: Sequence[str]) -> None:
    """
    Install them, as root or by sudo, without starting what they bring: it would take ports and cores.

    @raise OSError: it cannot be done.
    """
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n", "-E"]
    lines = [
        f"if [ ! -e {POLICY} ]; then trap 'rm {POLICY}' EXIT; printf '#!/bin/sh\\nexit 101\\n' > {POLICY}; fi",
        f"chmod 755 {POLICY}",
        "apt-get -qq update",
        f"apt-get -qq install -y --no-install-recommends {' '.join(packages)}",
    ]
    done = subprocess.run(
        [*as_root, "sh", "-ec", "\n".join(lines)], env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, check=False
    )
    if done.returncode:
        raise OSError(f"could not install {' '.join(packages)}")


def said_by(program: Sequence[str], lines: int = 1) -> list[str]:
    """
    The first lines of what a program answers.
    """
    done = subprocess.run(program, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return [line.strip() for line in done.stdout.decode("utf-8", "replace").splitlines()[:lines]]


def openssl_of(program: str) -> str:
    """
    The OpenSSL that nginx or HAProxy runs with, as C{nginx -V} and C{haproxy -vv} say.
    """
    done = subprocess.run([program, "-vV"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if b"OpenSSL" not in done.stdout:
        done = subprocess.run([program, "-vv"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    # What it was built with, and, where they differ, what it runs with, which is said last.
    told = re.findall(rb"OpenSSL \d\S*", done.stdout)
    return str(told[-1].decode("ascii")) if told else "OpenSSL unknown"


def described(kinds: Sequence[Kind], scale: float) -> dict[str, str]:
    """
    All that one must know to compare the figures with others.
    """
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as processors:
        for line in processors:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
    found = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "load before the run": f"{os.getloadavg()[0]:.2f}",
        "amount of work": f"{scale:g} of a full run",
    }
    for kind in kinds:
        if kind.version and kind.program:
            found[kind.name] = f"{', '.join(said_by([kind.program, *kind.version]))}, {openssl_of(kind.program)}"
        elif not kind.apart:
            # Asked of the program that is measured: this process may have another sniproxy on its path.
            found[kind.name] = ", ".join(said_by([kind.program or "twistd", "sniproxy", "--version"], lines=2))
    found["its Python"] = os.path.realpath(sys.executable)
    openssl = find("openssl")
    if openssl:
        found["clients and back end"] = ", ".join(said_by([openssl, "version"]))
    return found


if __name__ == "__main__":
    lacking = missing()
    if lacking:
        print(f"installing {' '.join(lacking)}", file=sys.stderr)
        install(lacking)
    print(python())
