"""Rows of a large result, kept small until the engine writes them.

A row as a dict takes about a kilobyte; a report of millions of them would take a worker's memory.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator

from webapp.engine.kind import Row

ROWS_PER_PACK = 2000
# Most of what there is to win, at a tenth of the time of the best.
LEVEL = 1


def rereadable(rows: Iterable[Row]) -> Iterable[Row]:
    """Return rows that may be read more than once: a generator's are packed, others as they are.

    A write that is tried again after the database was away would else find a generator at its end.
    """
    if not isinstance(rows, Iterator):
        return rows
    packed = PackedRows()
    packed.extend(rows)
    return packed


class PackedRows:
    """Rows of JSON values in their order; they may be read more than once, as a table must be."""

    def __init__(self) -> None:
        self._packs: list[bytes] = []
        self._open: list[Row] = []

    def extend(self, rows: Iterable[Row]) -> None:
        """Add rows at the end."""
        for row in rows:
            self._open.append(row)
            if len(self._open) >= ROWS_PER_PACK:
                text = json.dumps(self._open, ensure_ascii=False, separators=(",", ":"))
                self._packs.append(zlib.compress(text.encode(), LEVEL))
                self._open = []

    def __iter__(self) -> Iterator[Row]:
        for pack in self._packs:
            yield from json.loads(zlib.decompress(pack))
        yield from self._open
