"""The facts that hours are made of: a company's logins, and the time credited to them.

This is all that the report and the pages know of how pings are kept. Only the rows of the logins
asked for are read, and only those near the range.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from webapp.accounts import Scope
from webapp.engine.retention import not_kept
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.kinds.session_activity.clocks import moved_sessions
from webapp.kinds.session_activity.compute import Hours, Span, day_end, day_start, hours_by_day
from webapp.kinds.session_activity.corrections import apply_corrections
from webapp.kinds.session_activity.models import SLUG, Login, Segment, Session
from webapp.kinds.session_activity.names import find_login, seen
from webapp.lib.months import next_month

Spans = dict[int, dict[int, list[Span]]]


def check_kept(first: date) -> None:
    """Raise InvalidParams where hours from this day on are not all kept any more."""
    if sentence := not_kept(SLUG, first, "Hours"):
        raise InvalidParams({"start": sentence})


def first_day(company_id: str) -> date | None:
    """Return the day (UTC) on which the company's first session ended, None without sessions."""
    own = select(func.min(Session.ends_day)).where(Session.company_id == company_id)
    first = db.session.scalar(own)
    return None if first is None else date(1970, 1, 1) + timedelta(days=first)


def find_logins(scope: Scope, name: str | None, first: date, last: date) -> list[Login]:
    """Return the logins the caller sees in the order of their names, or the one of that name.

    first, last: of those that stand for a month of somebody, only what may reach into these days
    """
    columns = (Login.id, Login.name, Login.longest_days, Login.late_at)
    mine = (Login.company_id == scope.company_id) & Login.same_as_id.is_(None)
    # A clock that is put right may move time from the end of a month into the next one.
    of_days = Login.nameless_month.between(next_month(first.replace(day=1), -1), last)
    query = select(*columns).where(mine, Login.nameless_month.is_(None) | of_days, seen(scope))
    query = query.order_by(Login.name)
    if name:
        found = find_login(scope, name)
        query = query.where(Login.id == (found.id if found else None))
    with db.engine.connect() as connection:
        return list[Any](connection.execute(query))


def segment_query(
    login_ids: Iterable[int], event: str, first: date, last: date, zone: ZoneInfo, longest: int
) -> Any:
    """Select login, computer, start and end of the segments that reach into the days.

    longest: no segment of these logins is longer (days); so far back may one have begun
    """
    start, end = day_start(first, zone), day_end(last, zone)
    return _segments(event).where(
        Segment.login_id.in_(list(login_ids)),
        Segment.start_at >= start - timedelta(days=longest),
        Segment.start_at < end,
        Segment.end_at > start,
    )


def _segments(event: str) -> Any:
    return (
        select(Segment.login_id, Session.computer_id, Segment.start_at, Segment.end_at)
        .join(Session, Session.number == Segment.session_number)
        .where(Segment.event == event)
    )


def read_spans(logins: list[Login], event: str, first: date, last: date, zone: ZoneInfo) -> Spans:
    """Return the spans of each login (by its number, a page of them) at each computer.

    Raises: InvalidParams where hours of these days are not kept any more
    """
    check_kept(first)
    found: Spans = {login.id: {} for login in logins}
    if not logins:
        return found
    longest = max(login.longest_days for login in logins)
    near = segment_query(found, event, first, last, zone, longest)
    with db.engine.connect() as connection:
        moved = moved_sessions(connection, Session.login_id.in_(list(found)))
        queries = [(near, timedelta(0))]
        if moved:
            # Few, and wherever their clock has put them.
            queries = [(near.where(Segment.session_number.not_in(list(moved))), timedelta(0))]
            queries += [
                (_segments(event).where(Segment.session_number == number), by)
                for number, by in moved.items()
            ]
        for query, by in queries:
            for login_id, computer_id, start, end in connection.execute(query):
                found[login_id].setdefault(computer_id, []).append(Span(start + by, end + by))
        apply_corrections(connection, found, event)
    return found


def event_names(logins: list[Login], first: date, last: date, zone: ZoneInfo) -> list[str]:
    """Return the events that some logins have in these days."""
    ids = [login.id for login in logins]
    query = select(Segment.event).where(Segment.login_id.in_(ids), Segment.event != "")
    inside = (Segment.start_at < day_end(last, zone)) & (Segment.end_at > day_start(first, zone))
    with db.engine.connect() as connection:
        # Wherever their clock has put them.
        moved = moved_sessions(connection, Session.login_id.in_(ids))
        query = query.where(inside | Segment.session_number.in_(list(moved)))
        return sorted(connection.execute(query.distinct()).scalars())


def login_days(
    login: Login, event: str, first: date, last: date, zone: ZoneInfo
) -> dict[date, Hours]:
    """Return the hours of one login by day, both days included, days without any left out."""
    spans = read_spans([login], event, first, last, zone)[login.id]
    return hours_by_day(spans, first, last, zone)
