"""Pings aggregated into stored segments, inside the caller's transaction.

Only the neighbourhood of the new time is read and written, so late, repeated and out-of-order pings
leave the very segments that pings in order would have left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, insert, update

from webapp.kinds.session_activity import segments
from webapp.kinds.session_activity.compute import (
    ONE_DAY,
    STEADY_S,
    Span,
    added,
    credited,
    day_of,
    day_start,
    join,
)
from webapp.kinds.session_activity.models import Login, Segment
from webapp.kinds.session_activity.segments import NewEnd, NewSegmentEnd, Said

# The event that stands for the session itself.
SESSION = ""
MICROSECOND = timedelta(microseconds=1)
# Spans by session and event, sorted and separate.
Spans = dict[tuple[int, str], list[Span]]


@dataclass(frozen=True)
class LoginFacts:
    """What aggregating needs to know of a login."""

    id: int
    company_id: str
    name: str
    longest_days: int


@dataclass(frozen=True)
class Ping:
    """A ping of a known session; see `SentPing` for `said_at` and `lag_s`.

    session_lag_s: the lag of the single ping before it
    """

    session_number: int
    login: LoginFacts
    event: str
    at: datetime
    next_ping_sec: int
    arrived_at: datetime
    said_at: datetime | None = None
    lag_s: int | None = None
    session_lag_s: int | None = None

    @property
    def span(self) -> Span:
        """Return the time it credits, on the earlier of both clocks."""
        return credited(self.at, timedelta(seconds=self.next_ping_sec), self.arrived_at)

    @property
    def online(self) -> Span:
        """Return from when to when it shows its session online.

        Pings that come singly and with the lag of the one before are of a clock that is behind;
        they are no late ones, so they go by their arrival.
        """
        if self.lag_s is None or self.session_lag_s is None or self.lag_s <= 0:
            return self.span
        if abs(self.lag_s - self.session_lag_s) > STEADY_S:
            return self.span
        return Span(self.arrived_at, self.arrived_at + timedelta(seconds=self.next_ping_sec))

    @property
    def said(self) -> Said:
        """Return what its clock said, by which it is known when it is sent again."""
        return self.session_number, self.event, self.at


@dataclass(frozen=True)
class LateChange:
    """A login whose hours of months that were over have changed, and which months."""

    company_id: str
    login: str
    first: date
    last: date


def aggregate(
    connection: Connection, pings: Sequence[Ping], grace: timedelta, zone: ZoneInfo
) -> list[LateChange]:
    """Store pings of sessions the transaction has locked; return what changed of months over."""
    if not pings:
        return []
    now = pings[0].arrived_at
    pings = _as_first_arrived(connection, _as_first_corrected(connection, pings))
    new = _credited_spans(pings)
    before = _stored_spans(connection, new, grace)
    after = {key: list(found) for key, found in before.items()}
    for key, spans in new.items():
        for span in spans:
            after[key] = join(after[key], span, grace)
    logins = {ping.session_number: ping.login for ping in pings}
    _write(connection, pings, before, after, logins)
    _lengthen(connection, after, logins)
    return _mark_late(connection, before, after, logins, (now, zone))


def _as_first_corrected(connection: Connection, pings: Sequence[Ping]) -> Sequence[Ping]:
    """Return the pings, those whose clock is known to be off where the first of them was put.

    How far it is off is told anew with each sending, and never twice quite the same.
    """
    off = {
        (ping.session_number, ping.event, ping.said_at): ping
        for ping in reversed(pings)
        if ping.said_at is not None
    }
    if not off:
        return pings
    first = segments.first_corrections(connection, sorted(off))
    segments.keep_offsets(
        connection,
        [
            {
                "session_number": number,
                "event": event,
                "said_at": said_at,
                "corrected_at": ping.at,
                "arrived_at": ping.arrived_at,
            }
            for (number, event, said_at), ping in off.items()
            if (number, event, said_at) not in first
        ],
    )
    first = {key: ping.at for key, ping in off.items()} | first
    return [
        replace(ping, at=first[ping.session_number, ping.event, ping.said_at])
        if ping.said_at is not None
        else ping
        for ping in pings
    ]


def _as_first_arrived(connection: Connection, pings: Sequence[Ping]) -> list[Ping]:
    """Return the pings, those of clocks ahead with their first arrival; keep what is new.

    A ping of such a clock counts from its arrival on. Sent again, it arrives later, perhaps when
    its time has come; only what was kept tells that it is the same, and when it arrived first.
    """
    # What gives no time of its own counts at its arrival: it repeats nothing.
    timed = sorted({ping.said for ping in pings if ping.at != ping.arrived_at})
    first = segments.first_arrivals(connection, timed)
    new: dict[Said, Ping] = {}
    for ping in pings:
        if ping.at > ping.arrived_at and ping.arrived_at < first.get(ping.said, ping.at):
            first[ping.said], new[ping.said] = ping.arrived_at, ping
    segments.keep_ahead(
        connection,
        [
            {
                "session_number": ping.session_number,
                "event": ping.event,
                "at": ping.at,
                "arrived_at": ping.arrived_at,
                "next_ping_sec": ping.next_ping_sec,
            }
            for ping in new.values()
        ],
    )
    if not first:
        return list(pings)
    return [replace(ping, arrived_at=first.get(ping.said, ping.arrived_at)) for ping in pings]


def _credited_spans(pings: Iterable[Ping]) -> Spans:
    """Return the credited time by session and event; each ping counts for the session itself."""
    spans: Spans = {}
    for ping in pings:
        span = ping.span
        for event in {SESSION, ping.event}:
            spans.setdefault((ping.session_number, event), []).append(span)
    return spans


def _stored_spans(connection: Connection, new: Spans, grace: timedelta) -> Spans:
    """Return the stored spans near the new ones, sorted; a session has few in all."""
    near: Spans = {key: [] for key in new}
    low = min(span.start for spans in new.values() for span in spans) - grace
    high = max(span.end for spans in new.values() for span in spans) + grace
    numbers = sorted({number for number, _ in new})
    for number, event, start, end in segments.near_segments(connection, numbers, low, high):
        if (number, event) in near:
            near[number, event].append(Span(start, end))
    for found in near.values():
        found.sort()
    return near


def _write(
    connection: Connection,
    pings: Sequence[Ping],
    before: Spans,
    after: Spans,
    logins: Mapping[int, LoginFacts],
) -> None:
    gone, moved, new = [], [], []
    for key, spans in after.items():
        old, now = dict(before[key]), dict(spans)
        gone += [NewSegmentEnd(*key, *span) for span in before[key] if span.start not in now]
        for start, end in now.items():
            if start not in old:
                row = NewSegmentEnd(*key, start, end)._asdict()
                new.append(row | {"login_id": logins[key[0]].id})
            elif old[start] != end:
                moved.append(NewSegmentEnd(*key, start, end))
    segments.delete_segments(connection, gone)
    segments.move_ends(connection, _new_ends(pings), moved)
    if new:
        connection.execute(insert(Segment), new)


def _new_ends(pings: Iterable[Ping]) -> list[NewEnd]:
    """Return where each session ends by its newest ping."""
    newest: dict[int, tuple[Span, int | None]] = {}
    for ping in pings:
        span = ping.online
        if ping.session_number not in newest or newest[ping.session_number][0] <= span:
            newest[ping.session_number] = span, ping.lag_s
    return [
        NewEnd(number, *span, segments.ends_day(span.end), lag_s)
        for number, (span, lag_s) in sorted(newest.items())
    ]


def _lengthen(connection: Connection, after: Spans, logins: Mapping[int, LoginFacts]) -> None:
    """Keep how long a login's longest segment is, in days rounded up; it seldom grows."""
    longest: dict[int, int] = {}
    for (number, _), spans in after.items():
        login = logins[number]
        days = max((-((span.start - span.end) // ONE_DAY) for span in spans), default=0)
        if days > max(login.longest_days, longest.get(login.id, 0)):
            longest[login.id] = days
    for login_id, days in sorted(longest.items()):
        connection.execute(
            update(Login)
            .where(Login.id == login_id, Login.longest_days < days)
            .values(longest_days=days)
        )


def _mark_late(
    connection: Connection,
    before: Spans,
    after: Spans,
    logins: Mapping[int, LoginFacts],
    when: tuple[datetime, ZoneInfo],
) -> list[LateChange]:
    """Mark logins whose past months changed, so that no older count of them is used again."""
    now, zone = when
    month_began = day_start(day_of(now, zone).replace(day=1), zone)
    changes: dict[int, LateChange] = {}
    for key, spans in after.items():
        change = added(before[key], spans) if spans[0].start < month_began else None
        if change is None or change.start >= month_began:
            continue
        login = logins[key[0]]
        first = day_of(change.start, zone).replace(day=1)
        last = day_of(min(change.end, month_began) - MICROSECOND, zone).replace(day=1)
        if known := changes.get(login.id):
            first, last = min(first, known.first), max(last, known.last)
        changes[login.id] = LateChange(login.company_id, login.name, first, last)
    for login_id in sorted(changes):
        connection.execute(update(Login).where(Login.id == login_id).values(late_at=now))
    return list(changes.values())
