"""Become another program that does not outlive the process that started it.

    python launch.py PARENT SIGNAL UID GID PROGRAM [ARGUMENT ...]

The kernel sends the signal when the thread that started the process ends. A process of its own
rather than Popen's preexec_fn, which may deadlock once the test process has threads. Run by path
and isolated, so standard library only.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, last_signal: int, uid: int, gid: int, command: list[str]) -> None:
    """Give up root if asked to, tie our life to the parent's and run the command in our place."""
    if os.geteuid() == 0 and uid != 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # Last, since a change of account clears it.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, last_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("the process that asked for this one is gone already")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]), sys.argv[5:])
