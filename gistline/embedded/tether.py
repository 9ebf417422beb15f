"""Becomes another program that dies with the process that started it; run as a script, imports nothing of ours.

Arguments: the starter's process id, the signal number to die by, the account (``-`` or ``UID:GID:GROUP,GROUP``), then
the program and its arguments. It exists because the three steps have a fixed order: a change of account clears the
parent-death signal, so it must come first, and both must happen after the fork, where threads of the starter make
Python code unsafe.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def become(starter: int, death: int, *, account: str, argv: list[str]) -> None:
    """Replace this process by ``argv``; returns only by an exception."""
    for inherited in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(inherited, signal.SIG_DFL)
    if account != "-":
        uid, gid, groups = account.split(":")
        os.setgroups([int(group) for group in groups.split(",") if group])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death, 0, 0, 0)
        if os.getppid() != starter:  # it died before the line above could take hold
            raise SystemExit(f"{argv[0]} not started: process {starter}, which wanted it, is gone")
    os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    become(int(sys.argv[1]), int(sys.argv[2]), account=sys.argv[3], argv=sys.argv[4:])
