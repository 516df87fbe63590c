"""Rows of a large result, kept in a temporary file until the engine writes them.

A row as a dict takes about a kilobyte; a report of millions of them would take a worker's memory.
"""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator

from webapp.engine.kind import Row

IN_MEMORY_BYTES = 1 << 20
BYTES_PER_READ = 1 << 20


def replayable(rows: Iterable[Row]) -> Iterable[Row]:
    """Return rows that may be read more than once: a generator's are spooled, others as they are.

    A write that is tried again after the database was away would else find a generator at its end.
    """
    if not isinstance(rows, Iterator):
        return rows
    spooled = SpooledRows()
    spooled.extend(rows)
    return spooled


class SpooledRows:
    """Rows of JSON values in their order; they may be read more than once, as a table must be.

    A few rows stay in memory. The file goes with the object.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def extend(self, rows: Iterable[Row]) -> None:
        """Add rows at the end."""
        self._file.seek(0, os.SEEK_END)
        for row in rows:
            self._file.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")

    def __iter__(self) -> Iterator[Row]:
        at = 0
        while True:
            # Each reader keeps its own place.
            self._file.seek(at)
            lines = self._file.readlines(BYTES_PER_READ)
            if not lines:
                return
            at = self._file.tell()
            yield from map(json.loads, lines)
