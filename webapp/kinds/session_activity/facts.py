"""The facts that hours are made of: a company's logins, and the time credited to them.

This is all that the report and the pages know of how pings are kept. Only the rows of the logins
asked for are read, and only those near the range.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from webapp.extensions import db
from webapp.kinds.session_activity.clocks import moved_sessions
from webapp.kinds.session_activity.compute import (
    Hours,
    Span,
    day_end,
    day_start,
    hours_by_day,
)
from webapp.kinds.session_activity.models import Login, Segment, Session

LOGINS_AT_ONCE = 200
Spans = dict[int, dict[int, list[Span]]]


class KnownLogin(Protocol):
    """A login; see `models.Login`."""

    id: int
    name: str
    longest_days: int
    late_at: datetime | None


def _is_wanted(company_id: str, name: str | None) -> Any:
    mine = Login.company_id == company_id
    return mine & (Login.name == name) if name else mine


def count_logins(company_id: str, name: str | None) -> int:
    """Return how many logins a company has, of that name where one is given."""
    query = select(func.count()).select_from(Login).where(_is_wanted(company_id, name))
    with db.engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def login_pages(company_id: str, name: str | None) -> Iterator[list[KnownLogin]]:
    """Yield a company's logins in the order of their names, some hundred at a time."""
    columns = (Login.id, Login.name, Login.longest_days, Login.late_at)
    query = select(*columns).where(_is_wanted(company_id, name))
    query = query.order_by(Login.name).limit(LOGINS_AT_ONCE)
    logins: list[Any] = []
    while not logins or len(logins) == LOGINS_AT_ONCE:
        after = logins[-1].name if logins else ""
        with db.engine.connect() as connection:
            logins = list(connection.execute(query.where(Login.name > after)))
        if not logins:
            return
        yield logins


def segment_query(
    login_ids: Iterable[int], event: str, first: date, last: date, zone: ZoneInfo, longest: int
) -> Any:
    """Select login, computer, start and end of the segments that reach into the days.

    longest: no segment of these logins is longer (days); so far back may one have begun
    """
    start, end = day_start(first, zone), day_end(last, zone)
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
    logins: list[KnownLogin], event: str, first: date, last: date, zone: ZoneInfo
) -> Spans:
    """Return the spans of each login (by its number, a page of them) at each computer."""
    found: Spans = {login.id: {} for login in logins}
    if not logins:
        return found
    longest = max(login.longest_days for login in logins)
    query = segment_query(found, event, first, last, zone, longest)
    with db.engine.connect() as connection:
        moved = moved_sessions(connection, found)
        near = query.where(Segment.session_number.not_in(list(moved))) if moved else query
        for login_id, computer_id, start, end in connection.execute(near):
            found[login_id].setdefault(computer_id, []).append(Span(start, end))
        for number, by in moved.items():
            # Few, and wherever their clock has put them.
            for login_id, computer_id, start, end in connection.execute(_segments(number, event)):
                spans = found[login_id].setdefault(computer_id, [])
                spans.append(Span(start + by, end + by))
    return found


def _segments(session_number: int, event: str) -> Any:
    return (
        select(Segment.login_id, Session.computer_id, Segment.start_at, Segment.end_at)
        .join(Session, Session.number == Segment.session_number)
        .where(Segment.session_number == session_number, Segment.event == event)
    )


def login_days(
    login: KnownLogin, event: str, first: date, last: date, zone: ZoneInfo
) -> dict[date, Hours]:
    """Return the hours of one login by day, both days included, days without any left out."""
    spans = read_spans([login], event, first, last, zone)[login.id]
    return hours_by_day(spans, first, last, zone)
