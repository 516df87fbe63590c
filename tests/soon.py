"""Bounds in time for what must not hang, wide enough for a machine that stands still a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SOON_S = 20.0


@contextmanager
def soon() -> Iterator[None]:
    """Ask that the block ends within SOON_S; what it guards against takes far longer, or for ever.

    Tests tell right from wrong by what happened, not by how fast: a narrow bound fails on a busy
    machine and says nothing about the program.
    """
    started = time.monotonic()
    yield
    assert time.monotonic() - started < SOON_S


def until(condition: Callable[[], object], seconds: float = 60) -> bool:
    """Ask again and again until it is so; return False where it never was within the seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())
