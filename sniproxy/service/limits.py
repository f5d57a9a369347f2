"""
What does a process that serves connections set for itself? Priority, limits, whom it becomes, its cores: in nginx's
order, and with nginx's words for what the system refuses, which stops nothing.
"""

from __future__ import annotations

import os
import resource

from sniproxy.config.directives import Scope
from sniproxy.levels import ALERT, NOTICE
from sniproxy.logs.error_log import ErrorLog
from sniproxy.service.core import AFFINITY, CORE, NOFILE, PRIORITY, USER, Account


def settle(root: Scope, log: ErrorLog, worker: int = 0) -> None:
    """
    Do as the main block says; from here on the process may be nobody special.

    @param worker: which of the workers this is, from 0.
    @raise OSError: it cannot become the user that it is to be; it must not go on.
    """
    priority = root[PRIORITY]
    if priority:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, priority)
        except OSError as error:
            log.write(ALERT, f"setpriority({priority}) failed ({error.errno}: {error.strerror})")
    for directive, number, name in (
        (NOFILE, resource.RLIMIT_NOFILE, "RLIMIT_NOFILE"),
        (CORE, resource.RLIMIT_CORE, "RLIMIT_CORE"),
    ):
        limit = root[directive]
        if limit is not None:
            try:
                resource.setrlimit(number, (limit, limit))
            except (OSError, ValueError, OverflowError) as error:
                log.write(ALERT, f"setrlimit({name}, {limit}) failed ({error})")
    account = root[USER]
    if account is not None:
        become(account)
    _bind(root, log, worker)


def become(account: Account) -> None:
    """
    Groups first and the user last, which cannot be undone.
    """
    os.initgroups(account.name, account.group)
    os.setgid(account.group)
    os.setuid(account.user)


def _bind(root: Scope, log: ErrorLog, worker: int) -> None:
    masks = root[AFFINITY]
    wanted = None if masks is None else masks.of(worker, range(os.cpu_count() or 1))
    if wanted is None:
        return
    for core in sorted(wanted):
        log.write(NOTICE, f"sched_setaffinity(): using cpu #{core}")
    try:
        os.sched_setaffinity(0, wanted)
    except OSError as error:
        log.write(ALERT, f"sched_setaffinity() failed ({error.errno}: {error.strerror})")
    except AttributeError:
        log.write(ALERT, "sched_setaffinity() is not there on this system")
