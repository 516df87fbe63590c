"""Hours read back: only the rows of the logins asked for, only those near the range."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from webapp.kinds.session_activity.compute import (
    ONE_DAY,
    Hours,
    Span,
    day_start,
    hours_by_day,
)
from webapp.kinds.session_activity.models import Login, Segment, Session

LOGINS_PER_QUERY = 200
Spans = dict[int, dict[int, list[Span]]]


def segment_query(
    login_ids: Iterable[int], event: str, first: date, last: date, zone: ZoneInfo, longest: int
) -> Any:
    """Select login, computer, start and end of the segments that reach into the days.

    longest: no segment of these logins is longer (days); so far back may one have begun
    """
    start, end = day_start(first, zone), day_start(last + ONE_DAY, zone)
    return (
        select(Segment.login_id, Session.computer_id, Segment.start_at, Segment.end_at)
        .join(Session, Session.number == Segment.session_number)
        .where(
            Segment.login_id.in_(list(login_ids)),
            Segment.event == event,
            Segment.start_at >= start - timedelta(days=longest),
            Segment.start_at < end,
            Segment.end_at > start,
        )
    )


def read_spans(
    connection: Any, logins: Iterable[Login], event: str, first: date, last: date, zone: ZoneInfo
) -> Spans:
    """Return the spans of each login (by its number) at each computer."""
    asked = list(logins)
    found: Spans = {login.id: {} for login in asked}
    for at in range(0, len(asked), LOGINS_PER_QUERY):
        chunk = asked[at : at + LOGINS_PER_QUERY]
        longest = max(login.longest_days for login in chunk)
        query = segment_query((login.id for login in chunk), event, first, last, zone, longest)
        for login_id, computer_id, start, end in connection.execute(query):
            found[login_id].setdefault(computer_id, []).append(Span(start, end))
    return found


def login_days(
    connection: Any, login: Login, event: str, first: date, last: date, zone: ZoneInfo
) -> dict[date, Hours]:
    """Return the hours of one login by day, both days included, days without any left out."""
    spans = read_spans(connection, [login], event, first, last, zone)[login.id]
    return hours_by_day(spans, first, last, zone)
