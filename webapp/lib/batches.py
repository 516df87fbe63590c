"""Rows a batch at a time, for queries and files that take no more at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(rows: Iterable[T], size: int = 500) -> Iterator[list[T]]:
    """Yield rows as lists of a size, the last one shorter."""
    stream = iter(rows)
    while batch := list(islice(stream, size)):
        yield batch
