"""From a file version's events to what it adds to counters and months. Pure: asks nobody.

A version's history is a function of the set of its events: ordered by the time they happened, at
one time by type (upload, trash, restore, purge), then by id; a purge is final; before its upload a
version counts nowhere. So it does not matter when, how often or in which order events come in.
Size, provider and uploader are those of its last upload; where that provider overwrites in place,
each upload counts from its own moment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
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
# The last two: what lies in the trash now since this month.
MONTHLY = (*COUNTED, "active_area", "trash_area", "lying_file_versions", "lying_bytes")
NEVER_CAME, CAME_LATER, WAS_PURGED = "never came", "came later", "was purged"
Share = tuple[date, int, str]
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
    """One event; at_us in microseconds since 1970 UTC, the last three known for uploads."""

    at_us: int
    event_id: str
    type: str
    bytes: int | None
    provider: int | None
    uploader: str = ""


@dataclass
class Effects:
    """What file versions add up to.

    in_place: the providers that overwrite in place
    counters: provider → what is held now, in the order of COUNTED
    months:   month, provider, uploader → change within it, in the order of MONTHLY
    """

    in_place: Collection[int] = ()
    counters: dict[int, list[int]] = field(default_factory=dict)
    months: dict[Share, list[int]] = field(default_factory=dict)

    def add(self, events: Iterable[Event], sign: int = 1) -> None:
        """Add what one version's events amount to, or take it away (sign -1)."""
        ordered = sorted(events, key=lambda one: (one.at_us, _RANK[one.type], one.event_id))
        for event in ordered:
            if event.type == UPLOAD:
                # A provider that was ever used has a row, with zeros where nothing is left.
                self.counters.setdefault(event.provider or 0, [0, 0, 0, 0])
        purge = next((n for n, event in enumerate(ordered) if event.type == PURGE), len(ordered))
        uploads = [event for event in ordered[:purge] if event.type == UPLOAD]
        if not uploads:
            return
        in_place = uploads[-1].provider in self.in_place
        at_us, state, holds = 0, None, uploads[-1]
        for at_us, new, upload in _changes(ordered, in_place):
            self._month(at_us, state, -sign, holds)
            holds = upload if in_place else uploads[-1]
            self._month(at_us, new, sign, holds)
            state = new
        _count(self.counters[holds.provider or 0], state, sign, holds.bytes or 0)
        if state == TRASH:
            lying = self._change(at_us, holds)
            lying[6] += sign
            lying[7] += sign * (holds.bytes or 0)

    def _month(self, at_us: int, state: str | None, sign: int, upload: Event) -> None:
        change, size = self._change(at_us, upload), upload.bytes or 0
        _count(change, state, sign, size)
        if state is not None:
            _, end_us = month_of(at_us)
            change[4 if state == ACTIVE else 5] += sign * size * (end_us - at_us)

    def _change(self, at_us: int, upload: Event) -> list[int]:
        share = (month_of(at_us)[0], upload.provider or 0, upload.uploader)
        return self.months.setdefault(share, [0] * len(MONTHLY))


def _count(numbers: list[int], state: str | None, sign: int, size: int) -> None:
    if state is not None:
        first = 0 if state == ACTIVE else 2
        numbers[first] += sign
        numbers[first + 1] += sign * size


def not_placed(events: Mapping[int, Event]) -> dict[int, str]:
    """Return the numbers of one version's events that have no place in its history, and why."""
    uploads = [event.at_us for event in events.values() if event.type == UPLOAD]
    if not uploads:
        return dict.fromkeys(events, NEVER_CAME)
    purges = [event.at_us for event in events.values() if event.type == PURGE]
    found: dict[int, str] = {}
    for seq, event in events.items():
        if event.type != PURGE and purges and event.at_us > min(purges):
            found[seq] = WAS_PURGED
        elif event.type in {TRASH, RESTORE} and event.at_us < min(uploads):
            found[seq] = CAME_LATER
    return found


def _changes(ordered: Iterable[Event], in_place: bool) -> Iterator[tuple[int, str | None, Event]]:
    """Yield each change of a version: when, active or trash or None, the upload that stands.

    in_place: another upload is a change, too
    """
    state, upload = None, None
    for event in ordered:
        if event.type == PURGE:
            if upload is not None:
                yield event.at_us, None, upload
            return
        if event.type == UPLOAD:
            new, is_other, upload = ACTIVE, in_place, event
        elif state is None:
            # Trashed or restored before it was uploaded: the upload is still to come.
            continue
        else:
            new, is_other = TRASH if event.type == TRASH else ACTIVE, False
        if upload is not None and (new != state or is_other):
            yield event.at_us, new, upload
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
