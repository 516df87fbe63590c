"""Rows kept small: the same ones come out, in their order, as often as they are asked for."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from webapp.engine.packed import ROWS_PER_PACK, PackedRows


def rows(count: int, first: int = 0) -> Iterator[dict[str, Any]]:
    for number in range(first, first + count):
        yield {
            "login": f"zoë{number // 365}",
            "date": f"2025-01-{number % 28 + 1:02d}",
            "hours": round(number / 7, 6),
            "bytes": 2**70 + number,
            "hole": None,
        }


@pytest.mark.parametrize("count", [0, 1, ROWS_PER_PACK - 1, ROWS_PER_PACK, 2 * ROWS_PER_PACK + 1])
def test_the_same_rows_come_out_more_than_once(count: int) -> None:
    packed = PackedRows()
    packed.extend(rows(count // 2))
    packed.extend(rows(count - count // 2, count // 2))
    for _ in range(2):
        assert list(packed) == list(rows(count))


def test_many_rows_take_little_memory() -> None:
    tracemalloc.start()
    try:
        packed = PackedRows()
        packed.extend(rows(50_000))
        held, _ = tracemalloc.get_traced_memory()
        assert sum(1 for _ in packed) == 50_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # As dicts they take 400 bytes each and more.
    assert held < 50 * 50_000
    assert peak < held + 5_000_000
