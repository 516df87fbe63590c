"""The parent-death signal: processes that end with the one that started them.

Linux only (`prctl`); elsewhere the calls do nothing and the supervisor's orderly stop has to do.
Without it a supervisor that is killed hard leaves Redis and workers behind, and a worker that is
killed hard leaves its work-horse running and writing.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: looking a library up between fork and exec may wait for a lock for ever.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with_parent(parent_pid: int, signum: int) -> None:
    """Ask the kernel to send `signum` to this process when its parent ends."""
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent_pid:  # it ended before we asked
        os.kill(os.getpid(), signum)


def ending_with_us(signum: int) -> Callable[[], None]:
    """Return what a child of this process calls between fork and exec (`preexec_fn`)."""
    parent_pid = os.getpid()
    return lambda: end_with_parent(parent_pid, signum)
