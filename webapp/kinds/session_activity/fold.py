"""Folding pings into stored segments, inside the caller's transaction.

Only the neighbourhood of the new time is read and written, so late, repeated and out-of-order pings
leave the very segments that pings in order would have left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Table, bindparam, delete, insert, update
from sqlalchemy.engine import Engine

from webapp.kinds.session_activity.bulk import Move, NewEnd, move, near_segments
from webapp.kinds.session_activity.clocks import as_first_arrived
from webapp.kinds.session_activity.compute import (
    ONE_DAY,
    Span,
    added,
    credited,
    day_of,
    day_start,
    join,
)
from webapp.kinds.session_activity.models import Login, Segment

SESSION = ""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KEYS_PER_QUERY = 500

segments = cast("Table", Segment.__table__)
logins = cast("Table", Login.__table__)
Track = tuple[int, str]


@dataclass(frozen=True)
class LoginFacts:
    """What folding needs to know of a login."""

    id: int
    company_id: str
    name: str
    longest_days: int


@dataclass(frozen=True)
class Ping:
    """A ping of a known session."""

    session_number: int
    login: LoginFacts
    event: str
    at: datetime
    next_ping_sec: int
    arrived_at: datetime

    @property
    def promise(self) -> timedelta:
        return timedelta(seconds=self.next_ping_sec)

    @property
    def last(self) -> tuple[datetime, datetime]:
        """Return when it counts as sent, and its promised end, on the earlier of both clocks."""
        at = min(self.at, self.arrived_at)
        return at, at + self.promise


@dataclass(frozen=True)
class LateChange:
    """A login whose hours of months that were over have changed, and which months."""

    company_id: str
    login: str
    first: date
    last: date


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that may read first and write then, and is on disk when it is over.

    SQLite takes its one write lock at once, because it cannot take it after a read, and waits for
    the disk; Postgres does so anyway and locks by row.
    """
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA synchronous=FULL")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        connection.commit()


def ends_day(moment: datetime) -> int:
    """Return the day of a moment in days since 1970, UTC."""
    return (moment - EPOCH) // ONE_DAY


def fold(
    connection: Connection, pings: Sequence[Ping], grace: timedelta, zone: ZoneInfo
) -> list[LateChange]:
    """Store pings of sessions the transaction has locked; return what changed of months over."""
    if not pings:
        return []
    now = pings[0].arrived_at
    pings = as_first_arrived(connection, pings)
    spans = _spans(pings)
    before = _read(connection, spans, grace)
    after = {track: list(found) for track, found in before.items()}
    for track, new in spans.items():
        for span in new:
            after[track] = join(after[track], span, grace)
    owners = {ping.session_number: ping.login for ping in pings}
    _write(connection, _new_ends(pings), before, after, owners)
    _lengthen(connection, after, owners)
    return _late(connection, before, after, owners, now, zone)


def _spans(pings: Iterable[Ping]) -> dict[Track, list[Span]]:
    """Return the credited time by session and event; each ping counts for the session itself."""
    spans: dict[Track, list[Span]] = {}
    for ping in pings:
        span = credited(ping.at, ping.promise, ping.arrived_at)
        for event in {SESSION, ping.event}:
            spans.setdefault((ping.session_number, event), []).append(span)
    return spans


def _read(
    connection: Connection, spans: dict[Track, list[Span]], grace: timedelta
) -> dict[Track, list[Span]]:
    """Return the stored spans near the new ones, sorted; a session has few in all."""
    near: dict[Track, list[Span]] = {track: [] for track in spans}
    if not spans:
        return near
    low = min(span.start for new in spans.values() for span in new) - grace
    high = max(span.end for new in spans.values() for span in new) + grace
    numbers = sorted({number for number, _ in spans})
    for first in range(0, len(numbers), KEYS_PER_QUERY):
        some = numbers[first : first + KEYS_PER_QUERY]
        for number, event, start, end in near_segments(connection, some, low, high):
            if (number, event) in near:
                near[number, event].append(Span(start, end))
    for found in near.values():
        found.sort()
    return near


def _write(
    connection: Connection,
    ends: list[NewEnd],
    before: dict[Track, list[Span]],
    after: dict[Track, list[Span]],
    owners: dict[int, LoginFacts],
) -> None:
    gone: list[dict[str, Any]] = []
    moved: list[Move] = []
    new: list[dict[str, Any]] = []
    for track, spans in after.items():
        old, now = dict(before[track]), dict(spans)
        key = {"b_session": track[0], "b_event": track[1]}
        gone += [key | {"b_start": start} for start in old if start not in now]
        for start, end in now.items():
            if start not in old:
                new.append(_row(track, start, end, owners[track[0]].id))
            elif old[start] != end:
                moved.append(Move(*track, start, end))
    if gone:
        mine = (
            (segments.c.session_number == bindparam("b_session"))
            & (segments.c.event == bindparam("b_event"))
            & (segments.c.start_at == bindparam("b_start"))
        )
        connection.execute(delete(segments).where(mine), gone)
    move(connection, ends, moved)
    if new:
        connection.execute(insert(segments), new)


def _row(track: Track, start: datetime, end: datetime, login_id: int) -> dict[str, Any]:
    return {
        "session_number": track[0],
        "event": track[1],
        "start_at": start,
        "end_at": end,
        "login_id": login_id,
    }


def _new_ends(pings: Iterable[Ping]) -> list[NewEnd]:
    """Return where each session ends by its newest ping."""
    newest: dict[int, tuple[datetime, datetime]] = {}
    for ping in pings:
        newest[ping.session_number] = max(newest.get(ping.session_number, ping.last), ping.last)
    return [
        NewEnd(number, last, ends, ends_day(ends))
        for number, (last, ends) in sorted(newest.items())
    ]


def _lengthen(
    connection: Connection, after: dict[Track, list[Span]], owners: dict[int, LoginFacts]
) -> None:
    """Keep how long a login's longest segment is, in days rounded up; it seldom grows."""
    longest: dict[int, int] = {}
    for (number, _), spans in after.items():
        login = owners[number]
        days = max((-((span.start - span.end) // ONE_DAY) for span in spans), default=0)
        if days > max(login.longest_days, longest.get(login.id, 0)):
            longest[login.id] = days
    for login_id, days in sorted(longest.items()):
        connection.execute(
            update(logins)
            .where(logins.c.id == login_id, logins.c.longest_days < days)
            .values(longest_days=days)
        )


def _late(
    connection: Connection,
    before: dict[Track, list[Span]],
    after: dict[Track, list[Span]],
    owners: dict[int, LoginFacts],
    now: datetime,
    zone: ZoneInfo,
) -> list[LateChange]:
    """Mark logins whose past months changed, so that no older count of them is used again."""
    month_began = day_start(day_of(now, zone).replace(day=1), zone)
    changes: dict[int, LateChange] = {}
    for (number, _), spans in after.items():
        if not spans or spans[0].start >= month_began:
            continue
        change = added(before[number, _], spans)
        if change is None or change.start >= month_began:
            continue
        login = owners[number]
        end = min(change.end, month_began) - timedelta(microseconds=1)
        first = day_of(change.start, zone).replace(day=1)
        last = day_of(end, zone).replace(day=1)
        known = changes.get(login.id)
        changes[login.id] = LateChange(
            login.company_id,
            login.name,
            min(first, known.first) if known else first,
            max(last, known.last) if known else last,
        )
    for login_id in sorted(changes):
        connection.execute(update(logins).where(logins.c.id == login_id).values(late_at=now))
    return list(changes.values())
