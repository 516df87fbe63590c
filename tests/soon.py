"""A bound in time for what must not hang, wide enough for a machine that stands still a while."""

from __future__ import annotations

import time
from collections.abc import Iterator
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
