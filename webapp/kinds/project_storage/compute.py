"""From a file version's events to what it adds to counters and months. Pure: asks nobody.

A version's history is a function of the set of its events: ordered by the time they happened, at
one time by type (upload, trash, restore, purge), then by id; a purge is final; before its upload a
version counts nowhere. So it does not matter when, how often or in which order events come in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

UPLOAD, TRASH, RESTORE, PURGE = "upload", "trash", "restore", "purge"
# In this order they count where clocks that tell seconds give them one time.
EVENT_TYPES = (UPLOAD, TRASH, RESTORE, PURGE)
_RANK = {name: rank for rank, name in enumerate(EVENT_TYPES)}
ACTIVE = "active"
COUNTED = ("active_file_versions", "active_bytes", "trash_file_versions", "trash_bytes")
MONTHLY = (*COUNTED, "active_area", "trash_area")
# A month as people read it: held at its end, grown within it, held on average over it.
GROWTH = (
    *COUNTED,
    *(f"{name}_delta" for name in COUNTED),
    "active_byte_months",
    "trash_byte_months",
)
LARGEST = 2**63 - 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Event(NamedTuple):
    """One event; at_us in microseconds since 1970 UTC, bytes and provider known for uploads."""

    at_us: int
    event_id: str
    type: str
    bytes: int | None
    provider: int | None


@dataclass
class Effects:
    """What file versions add up to.

    counters: provider → what is held now, in the order of COUNTED
    months:   month → change within it, in the order of MONTHLY
    """

    counters: dict[int, list[int]] = field(default_factory=dict)
    months: dict[date, list[int]] = field(default_factory=dict)

    def add(self, events: Iterable[Event], sign: int = 1) -> None:
        """Add what one version's events amount to, or take it away (sign -1)."""
        ordered = sorted(events, key=lambda one: (one.at_us, _RANK[one.type], one.event_id))
        uploads = [event for event in ordered if event.type == UPLOAD]
        if not uploads:
            return
        size, provider = uploads[-1].bytes or 0, uploads[-1].provider or 0
        for upload in uploads:
            # A provider that was ever used has a row, with zeros where nothing is left.
            self.counters.setdefault(upload.provider or 0, [0, 0, 0, 0])
        state: str | None = None
        for at_us, new in _changes(ordered):
            self._month(at_us, state, -sign, size)
            self._month(at_us, new, sign, size)
            state = new
        _count(self.counters[provider], state, sign, size)

    def _month(self, at_us: int, state: str | None, sign: int, size: int) -> None:
        month, end_us = month_of(at_us)
        change = self.months.setdefault(month, [0] * len(MONTHLY))
        _count(change, state, sign, size)
        if state is not None:
            change[4 if state == ACTIVE else 5] += sign * size * (end_us - at_us)


def _count(numbers: list[int], state: str | None, sign: int, size: int) -> None:
    if state is not None:
        first = 0 if state == ACTIVE else 2
        numbers[first] += sign
        numbers[first + 1] += sign * size


def _changes(ordered: Iterable[Event]) -> Iterator[tuple[int, str | None]]:
    """Yield each change of a version's state: (when, active or trash or None)."""
    state: str | None = None
    for event in ordered:
        if event.type == PURGE:
            if state is not None:
                yield event.at_us, None
            return
        if event.type == UPLOAD:
            new = ACTIVE
        elif state is None:
            # Trashed or restored before it was uploaded: the upload is still to come.
            continue
        else:
            new = TRASH if event.type == TRASH else ACTIVE
        if new != state:
            yield event.at_us, new
            state = new


@lru_cache(maxsize=4096)
def _month_at_hour(hour: int) -> tuple[date, int]:
    at = EPOCH + timedelta(hours=hour)
    end = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return date(at.year, at.month, 1), moment_us(end)


def month_of(at_us: int) -> tuple[date, int]:
    """Return the month of a moment, and the month's end in microseconds since 1970."""
    return _month_at_hour(at_us // 3_600_000_000)


def moment_us(moment: datetime) -> int:
    """Return an aware moment in microseconds since 1970 UTC, exactly."""
    return (moment - EPOCH) // _MICROSECOND


def moment_at(at_us: int) -> datetime:
    """Return the aware moment of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=at_us)


def held(number: int) -> int:
    """Return the number as a 64-bit column takes it."""
    return max(-LARGEST, min(number, LARGEST))


def month_rows(
    opening: list[int], changes: dict[date, list[int]], months: list[date], now_us: int
) -> list[tuple[int, ...]]:
    """Return a row per month, in the order of GROWTH.

    opening: what was held before the first month, in the order of COUNTED
    changes: month → change within it, in the order of MONTHLY; none of it after `now_us`
    now_us:  the running month counts up to here
    Units:   byte-months: bytes held on average over the whole month, rounded to whole ones
    """
    rows = []
    balance = list(opening)
    for month in months:
        start_us = moment_us(datetime(month.year, month.month, 1, tzinfo=UTC))
        _, end_us = month_of(start_us)
        change = changes.get(month, [0] * len(MONTHLY))
        before = tuple(balance)
        for index in range(4):
            balance[index] += change[index]
        length = end_us - start_us
        to_come = max(end_us - max(now_us, start_us), 0)
        areas = [
            before[held_at] * length + change[area_at] - balance[held_at] * to_come
            for held_at, area_at in ((1, 4), (3, 5))
        ]
        byte_months = [(2 * area + length) // (2 * length) for area in areas]
        rows.append((*balance, *change[:4], *byte_months))
    return rows
