"""From pings to hours, without asking anybody: spans of time, joined, united, cut into days.

A span is [start, end) in aware UTC. Joining is the same whatever order the pings come in, so spans
may be stored in place of pings. Days and months are cut when hours are read, in the zone asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import chain, islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

EPOCH, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 12, 31, tzinfo=UTC)
NO_TIME = timedelta(0)
ONE_DAY = timedelta(days=1)
# A clock that is off by less troubles nobody.
WORTH_CORRECTING = timedelta(minutes=1)
# As many single pings that came with the same lag, give or take, are those of a clock behind.
STEADY_PINGS, STEADY_S = 3, 15
BEHIND_S = int(WORTH_CORRECTING.total_seconds())


class Span(NamedTuple):
    """A stretch of time: `start` included, `end` excluded, aware UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Hours:
    """Time of one login: at any computer (person), and summed over computers (machine)."""

    person: timedelta = NO_TIME
    machine: timedelta = NO_TIME

    def __add__(self, other: Hours) -> Hours:
        return Hours(self.person + other.person, self.machine + other.machine)


def credited(at: datetime, promise: timedelta, arrived_at: datetime) -> Span:
    """Return the time a ping credits: from itself, or its arrival if that is earlier, on.

    A clock ahead of ours is believed up to the arrival plus the promise. Pings of one that is
    always as far ahead follow each other as they arrive, so their promises still meet.
    arrived_at: of the first time where it was sent again
    """
    start = min(at, arrived_at)
    return Span(start, start + promise)


def corrected(said_at: datetime, sent_at: datetime, arrived_at: datetime) -> datetime:
    """Return when a ping was by our clock, as far as that is known.

    sent_at: the sender's clock when it sent; beside the arrival it tells how far that clock is off.
             Below a minute it may as well have been under way, and what leads before 1970 or out
             of the calendar tells nothing.
    """
    offset = arrived_at - sent_at
    if abs(offset) <= WORTH_CORRECTING or not EPOCH - said_at <= offset <= LATEST - said_at:
        return said_at
    return said_at + offset


def join(spans: list[Span], new: Span, grace: timedelta) -> list[Span]:
    """Return sorted, separate spans with one more; gaps up to the grace are closed.

    spans: sorted, and further apart than the grace
    """
    low = bisect_left(spans, new.start - grace, key=lambda span: span.end)
    high = low
    start, end = new
    while high < len(spans) and spans[high].start - grace <= new.end:
        start, end = min(start, spans[high].start), max(end, spans[high].end)
        high += 1
    return [*spans[:low], Span(start, end), *spans[high:]]


def united(spans: Iterable[Span]) -> list[Span]:
    """Return the union of spans as sorted, separate ones; nothing between them is added."""
    whole: list[Span] = []
    for span in sorted(spans):
        if whole and span.start <= whole[-1].end:
            whole[-1] = Span(whole[-1].start, max(whole[-1].end, span.end))
        else:
            whole.append(span)
    return whole


def changed(before: Iterable[Span], after: Iterable[Span]) -> Span | None:
    """Return from where to where two lists of sorted, separate spans differ; None for nowhere."""
    # A moment where both begin or end something changes nothing of how they differ.
    ends = set(chain.from_iterable(before)) ^ set(chain.from_iterable(after))
    return Span(min(ends), max(ends)) if ends else None


@lru_cache(maxsize=20_000)
def day_start(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a day in the zone, aware UTC."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def day_end(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant after a day; the calendar's last day ends with the calendar."""
    try:
        return day_start(day + ONE_DAY, zone)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def day_of(moment: datetime, zone: ZoneInfo) -> date:
    """Return the day of the zone that a moment falls on."""
    return moment.astimezone(zone).date()


def days_of(span: Span, zone: ZoneInfo) -> Iterable[tuple[date, timedelta]]:
    """Yield each day's own part of a span; days have 23 to 25 hours where clocks are changed."""
    day, at = day_of(span.start, zone), span.start
    while at < span.end:
        end = min(day_start(day + ONE_DAY, zone), span.end)
        if end > at:
            yield day, end - at
            at = end
        day += ONE_DAY


def clipped(spans: Iterable[Span], start: datetime, end: datetime) -> list[Span]:
    """Return the parts of spans that lie inside [start, end)."""
    parts = (Span(max(span.start, start), min(span.end, end)) for span in spans)
    return [part for part in parts if part.start < part.end]


def hours_by_day(
    spans_of: Mapping[int, Iterable[Span]], first: date, last: date, zone: ZoneInfo
) -> dict[date, Hours]:
    """Return the hours of one login by day, days without any left out, oldest first.

    spans_of: the spans of each computer the login sat at
    first, last: days of the zone, both included; what lies outside does not count
    """
    start, end = day_start(first, zone), day_end(last, zone)
    inside = [united(clipped(spans, start, end)) for spans in spans_of.values()]
    machines = list(chain.from_iterable(inside))
    days: defaultdict[date, Hours] = defaultdict(Hours)
    for span in united(machines):
        for day, length in days_of(span, zone):
            days[day] += Hours(person=length)
    for span in machines:
        for day, length in days_of(span, zone):
            days[day] += Hours(machine=length)
    return dict(sorted(days.items()))


def period_of(day: date, group_by: str) -> date:
    """Return the first day of the month or week of a day, or the day itself."""
    if group_by == "week":
        return day - ONE_DAY * day.weekday()
    return day.replace(day=1) if group_by == "month" else day


def period_text(period: date, group_by: str) -> str:
    """Return a month, an ISO week or a date as tables write it: 2025-03, 2025-W10, 2025-03-31."""
    if group_by == "week":
        return f"{period:%G-W%V}"
    return period.isoformat()[:7] if group_by == "month" else period.isoformat()


def by_period(days: Mapping[date, Hours], group_by: str) -> dict[date, Hours]:
    """Return hours by period, oldest first, from hours by day."""
    periods: defaultdict[date, Hours] = defaultdict(Hours)
    for day in sorted(days):
        periods[period_of(day, group_by)] += days[day]
    return dict(periods)


def most_at_once(spans_of: Iterable[Iterable[Span]]) -> tuple[int, datetime | None]:
    """Return how many lists have a span at the same moment at most, and when so for the first time.

    spans_of: each list sorted and separate
    """
    spans = list(chain.from_iterable(spans_of))
    # One that ends as another begins is not there at once with it.
    steps = sorted([(end, -1) for _, end in spans] + [(start, 1) for start, _ in spans])
    now, most, when = 0, 0, None
    for at, step in steps:
        now += step
        if now > most:
            most, when = now, at
    return most, when


def overlap(spans: Iterable[Span], opened: Sequence[Span]) -> timedelta:
    """Return how much of sorted, separate spans lies inside others of that kind."""
    length, place = NO_TIME, 0
    for start, end in spans:
        while place < len(opened) and opened[place].end <= start:
            place += 1
        for open_start, open_end in islice(opened, place, None):
            if open_start >= end:
                break
            length += min(end, open_end) - max(start, open_start)
    return length


def hours_of_week(spans: Iterable[Span], zone: ZoneInfo) -> dict[tuple[int, int], timedelta]:
    """Return the time of spans by day of the week (Monday is 0) and hour of the zone."""
    found: defaultdict[tuple[int, int], timedelta] = defaultdict(timedelta)
    for at, end in spans:
        while at < end:
            local = at.astimezone(zone)
            hour = local.replace(minute=0, second=0, microsecond=0, tzinfo=None)
            past = local.replace(tzinfo=None) - hour
            until = min(at + timedelta(hours=1) - past, end)
            found[local.weekday(), local.hour] += until - at
            at = until
    return dict(found)


def in_hours(length: timedelta, places: int = 6) -> float:
    """Return a length of time in hours, rounded."""
    return round(length / timedelta(hours=1), places)
