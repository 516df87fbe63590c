"""Rows kept in a file: the same ones come out, in their order, as often as they are asked for."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from webapp.engine.results import BYTES_PER_READ, IN_MEMORY_BYTES, SpooledRows, replayable


def rows(count: int, first: int = 0) -> Iterator[dict[str, Any]]:
    for number in range(first, first + count):
        yield {
            "login": f"zoë{number // 365}",
            "date": f"2025-01-{number % 28 + 1:02d}",
            "hours": round(number / 7, 6),
            "bytes": 2**70 + number,
            "hole": None,
            "half": "\ud800",
        }


# With the last one the file is on disk, and is read in more than one piece.
@pytest.mark.parametrize("count", [0, 1, 2, max(IN_MEMORY_BYTES, BYTES_PER_READ) // 50])
def test_the_same_rows_come_out_more_than_once(count: int) -> None:
    spooled = SpooledRows()
    spooled.extend(rows(count // 2))
    assert list(spooled) == list(rows(count // 2))
    spooled.extend(rows(count - count // 2, count // 2))
    for _ in range(2):
        assert list(spooled) == list(rows(count))


def test_two_readers_at_once_keep_their_own_places() -> None:
    spooled = SpooledRows()
    spooled.extend(rows(50_000))
    slow = iter(spooled)
    first = [next(slow) for _ in range(10)]
    assert list(spooled) == list(rows(50_000))
    assert [*first, *slow] == list(rows(50_000))


def test_a_generator_is_spooled_and_a_list_is_left_as_it_is() -> None:
    made = list(rows(3))
    assert replayable(made) is made
    spooled = replayable(iter(made))
    assert [list(spooled), list(spooled)] == [made, made]


def test_many_rows_take_little_memory() -> None:
    tracemalloc.start()
    try:
        spooled = SpooledRows()
        spooled.extend(rows(50_000))
        held, _ = tracemalloc.get_traced_memory()
        assert sum(1 for _ in spooled) == 50_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # As dicts they take 400 bytes each and more.
    assert held < 2 * IN_MEMORY_BYTES
    assert peak < held + 5_000_000
