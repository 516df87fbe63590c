"""Pings aggregated into stored segments, inside the caller's transaction.

Only the neighbourhood of the new time is read and written, so late, repeated and out-of-order pings
leave the very segments that pings in order would have left.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, insert, update

from webapp.kinds.session_activity import segments
from webapp.kinds.session_activity.clocks import moved_sessions
from webapp.kinds.session_activity.compute import (
    BEHIND_S,
    EPOCH,
    ONE_DAY,
    STEADY_S,
    Span,
    changed,
    clipped,
    credited,
    day_of,
    day_start,
    join,
)
from webapp.kinds.session_activity.models import ClockAhead, ClockOffset, Login, Segment, Session
from webapp.kinds.session_activity.segments import NewEnd, NewSegmentEnd, Said, SessionFacts

# The event that stands for the session itself.
SESSION = ""
UNKNOWN_SESSION = SessionFacts()
MICROSECOND = timedelta(microseconds=1)
# Spans by session and event, sorted and separate.
Spans = dict[tuple[int, str], list[Span]]


@dataclass
class Ping:
    """A ping as a computer sent it, readable and within bounds.

    at:      when it was, by our clock where `sent_at` told how far theirs is off
    next_ping_sec: what it promises; 0 ends the session
    said_at: when it was by their clock, where that is another time
    lag_s:   by how many seconds it came after its time, of pings that come singly
    session: what is known of its session, once that is looked up
    """

    company_id: str
    session_id: str
    event: str
    login: str
    at: datetime
    next_ping_sec: int
    arrived_at: datetime
    said_at: datetime | None = None
    lag_s: int | None = None
    session: SessionFacts = UNKNOWN_SESSION

    @property
    def span(self) -> Span:
        """Return the time it credits, on the earlier of both clocks."""
        return credited(self.at, timedelta(seconds=self.next_ping_sec), self.arrived_at)

    @property
    def online(self) -> Span:
        """Return from when to when it shows its session online.

        Pings that come singly and with the lag of the one before are of a clock that is behind;
        they are no late ones, so they go by their arrival; of one that is sent again the same lag
        tells nothing. An end arrives so, too, but is over by that clock: earlier pings sent again
        are compared with it.
        """
        if self.lag_s is None or self.session.lag_s is None or self.lag_s <= 0:
            return self.span
        if self.span.start == self.session.last_at:
            return self.span
        if abs(self.lag_s - self.session.lag_s) > STEADY_S:
            return self.span
        if self.next_ping_sec == 0:
            return Span(self.arrived_at, self.span.end)
        if self.session.ended_at and self.span.start < self.session.ended_at:
            return self.span
        return Span(self.arrived_at, self.arrived_at + timedelta(seconds=self.next_ping_sec))

    def said(self, at: datetime | None = None) -> Said:
        """Return by what a ping is known when it is sent again."""
        return self.session.number, self.event, at or self.at


class LateChange(NamedTuple):
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
    new: Spans = {}
    ends, undone = _ends(pings)
    for ping in pings:
        start, end = ping.span
        # What is known to have ended credits no more than up to there.
        end = min([end, *(at for at in ends.get(ping.session.number, ()) if at >= start)])
        # Each counts for the session itself.
        for event in {SESSION, ping.event}:
            new.setdefault((ping.session.number, event), []).append(Span(start, end))
    before = _stored_spans(connection, new, grace, undone)
    after = {
        (number, event): clipped(spans, EPOCH, undone[number]) if number in undone else spans
        for (number, event), spans in before.items()
    }
    for key, spans in new.items():
        for span in spans:
            after[key] = join(after[key], span, grace)
        after[key] = [span for span in after[key] if span.start < span.end]
    sessions = {ping.session.number: ping.session for ping in pings}
    # Only of a clock that is behind could the switch of its computer have moved anything.
    timed = {one.session.number for one in pings if one.lag_s is not None}
    behind = [number for number in timed if (sessions[number].lag_low_s or 0) > BEHIND_S]
    moved = _moved(connection, behind)
    _write(connection, pings, before, after, sessions)
    differing = moved ^ _moved(connection, behind)
    whole = segments.moved_spans(connection, dict(sorted(differing)))
    return _mark_logins(connection, before, after, sessions, whole, (now, zone))


def _moved(connection: Connection, numbers: Sequence[int]) -> Set[tuple[int, timedelta]]:
    """Return by how much the segments of some sessions are moved, of those that are."""
    found = moved_sessions(connection, Session.number.in_(numbers)) if numbers else {}
    return found.items()


def _ends(pings: Iterable[Ping]) -> tuple[dict[int, list[datetime]], dict[int, datetime]]:
    """Return when sessions ended, as far as is known, and from when on stored time is undone.

    An end takes back what earlier pings promised ahead of it. Where a later one is known already,
    nobody can tell which of them a stored stretch is of, so it stays.
    """
    ends: dict[int, list[datetime]] = {}
    undone: dict[int, datetime] = {}
    for ping in pings:
        session = ping.session
        if session.ended_at and session.number not in ends:
            ends[session.number] = [session.ended_at]
        if ping.next_ping_sec == 0:
            ends.setdefault(session.number, []).append(ping.span.start)
            if ping.online.start >= session.last_at:
                at = undone.get(session.number, ping.span.start)
                undone[session.number] = min(at, ping.span.start)
    return ends, undone


def _as_first_corrected(connection: Connection, pings: Sequence[Ping]) -> Sequence[Ping]:
    """Return the pings, those whose clock is known to be off where the first of them was put.

    How far it is off is told anew with each sending, and never twice quite the same.
    """
    off = {ping.said(ping.said_at): ping for ping in reversed(pings) if ping.said_at}
    if not off:
        return pings
    first = segments.first_kept(connection, ClockOffset, sorted(off))
    new = {said: ping for said, ping in off.items() if said not in first}
    segments.keep(
        connection,
        ClockOffset,
        [
            {
                "session_number": ping.session.number,
                "event": ping.event,
                "said_at": ping.said_at,
                "corrected_at": ping.at,
                "arrived_at": ping.arrived_at,
            }
            for ping in new.values()
        ],
    )
    first |= {said: ping.at for said, ping in new.items()}
    return [
        replace(ping, at=first[ping.said(ping.said_at)]) if ping.said_at else ping for ping in pings
    ]


def _as_first_arrived(connection: Connection, pings: Sequence[Ping]) -> list[Ping]:
    """Return the pings, those of clocks ahead with their first arrival; keep what is new.

    A ping of such a clock counts from its arrival on. Sent again, it arrives later, perhaps when
    its time has come; only what was kept tells that it is the same, and when it arrived first.
    """
    # What gives no time of its own counts at its arrival: it repeats nothing.
    timed = sorted({ping.said() for ping in pings if ping.at != ping.arrived_at})
    first = segments.first_kept(connection, ClockAhead, timed)
    new: dict[Said, Ping] = {}
    for ping in pings:
        if ping.at > ping.arrived_at and ping.arrived_at < first.get(ping.said(), ping.at):
            first[ping.said()], new[ping.said()] = ping.arrived_at, ping
    segments.keep(
        connection,
        ClockAhead,
        [
            {
                "session_number": ping.session.number,
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
    return [replace(ping, arrived_at=first.get(ping.said(), ping.arrived_at)) for ping in pings]


def _stored_spans(
    connection: Connection, new: Spans, grace: timedelta, ended: Container[int]
) -> Spans:
    """Return the stored spans near the new ones, sorted; of sessions that ended of each event."""
    near: Spans = {key: [] for key in new}
    low = min(span.start for spans in new.values() for span in spans) - grace
    high = max(span.end for spans in new.values() for span in spans) + grace
    numbers = sorted({number for number, _ in new})
    for number, event, start, end in segments.near_segments(connection, numbers, low, high):
        if (number, event) in near or number in ended:
            near.setdefault((number, event), []).append(Span(start, end))
    return {key: sorted(found) for key, found in near.items()}


def _write(
    connection: Connection,
    pings: Iterable[Ping],
    before: Spans,
    after: Spans,
    sessions: dict[int, SessionFacts],
) -> None:
    """Write what differs, and where each session ends by its newest ping."""
    newest: dict[int, tuple[Span, int | None]] = {}
    for ping in pings:
        number, span = ping.session.number, ping.online
        if number not in newest or _later(newest[number][0]) <= _later(span):
            newest[number] = span, ping.lag_s
    ends = [
        NewEnd(number, *span, segments.ends_day(span.end), lag_s)
        for number, (span, lag_s) in sorted(newest.items())
    ]
    gone, moved, new = [], [], []
    for key, spans in after.items():
        old, now = dict(before[key]), dict(spans)
        gone += [NewSegmentEnd(*key, *span) for span in before[key] if span.start not in now]
        for start, end in now.items():
            if start not in old:
                row = NewSegmentEnd(*key, start, end)._asdict()
                new.append(row | {"login_id": sessions[key[0]].login_id})
            elif old[start] != end:
                moved.append(NewSegmentEnd(*key, start, end))
    segments.delete_segments(connection, gone)
    segments.move_ends(connection, ends, moved)
    if new:
        connection.execute(insert(Segment), new)


def _later(span: Span) -> tuple[datetime, bool, datetime]:
    # Of a ping and an end at the same moment, the end is the later one.
    return span.start, span.start >= span.end, span.end


def _mark_logins(
    connection: Connection,
    before: Spans,
    after: Spans,
    sessions: dict[int, SessionFacts],
    whole: dict[int, Span],
    when: tuple[datetime, ZoneInfo],
) -> list[LateChange]:
    """Keep how long a login's longest segment is, in days rounded up; it seldom grows.

    Logins whose past months changed are marked, so that no older count of them is used again.
    whole: from when to when sessions are that were moved, or are not any more
    """
    now, zone = when
    month_began = day_start(day_of(now, zone).replace(day=1), zone)
    longest: dict[int, int] = {}
    changes: dict[int, LateChange] = {}
    for key, spans in after.items():
        session = sessions[key[0]]
        days = max((-((span.start - span.end) // ONE_DAY) for span in spans), default=0)
        if days > max(session.longest_days, longest.get(session.login_id, 0)):
            longest[session.login_id] = days
        change = whole.get(key[0]) or changed(before[key], spans)
        if change is None or change.start >= month_began:
            continue
        first = day_of(change.start, zone).replace(day=1)
        last = day_of(min(change.end, month_began) - MICROSECOND, zone).replace(day=1)
        if known := changes.get(session.login_id):
            first, last = min(first, known.first), max(last, known.last)
        changes[session.login_id] = LateChange(session.company_id, session.login, first, last)
    for login_id, days in sorted(longest.items()):
        is_shorter = (Login.id == login_id) & (Login.longest_days < days)
        connection.execute(update(Login).where(is_shorter).values(longest_days=days))
    if changes:
        late = update(Login).where(Login.id.in_(sorted(changes))).values(late_at=now)
        connection.execute(late)
    return list(changes.values())
