"""Clocks that are behind: found by the lag of single pings, corrected on demand, and back again.

A slow clock and a late ping look alike, so nothing of what was sent is changed: where a computer's
clock is corrected, the segments of its steady sessions are moved when they are read.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from webapp.accounts import Scope
from webapp.extensions import db
from webapp.kinds.session_activity.compute import BEHIND_S, STEADY_PINGS, STEADY_S
from webapp.kinds.session_activity.models import Computer, Login, Session
from webapp.kinds.session_activity.names import find_login, seen
from webapp.lib.moments import rfc3339

MOST_LISTED = 1000
# Sessions whose single pings all came with the same lag, those of a clock that is behind.
STEADY = (
    (Session.lag_pings >= STEADY_PINGS)
    & (Session.lag_low_s > BEHIND_S)
    & (Session.lag_high_s - Session.lag_low_s <= STEADY_S)
)


def corrected_computers(company_id: str) -> list[str]:
    """Return the names of the computers whose clocks are corrected."""
    query = select(Computer.name).where(Computer.company_id == company_id, Computer.corrects_clock)
    return list(db.session.scalars(query.order_by(Computer.name)))


def moved_sessions(connection: Any, wanted: Any) -> dict[int, timedelta]:
    """Return by how much the segments of the wanted sessions are moved where that is corrected."""
    query = (
        select(Session.number, Session.lag_low_s)
        .join(Computer, Computer.id == Session.computer_id)
        .where(wanted, Computer.corrects_clock, STEADY)
    )
    return {number: timedelta(seconds=lag_s or 0) for number, lag_s in connection.execute(query)}


def clocks_behind(
    scope: Scope, login: str | None, start: datetime, end: datetime
) -> list[dict[str, Any]]:
    """Return sessions of a range whose clocks are behind, by computer, a thousand at most.

    Shape: as the report's table `clocks`
    """
    query = (
        select(
            Computer.name,
            Login.name,
            Session.started_at,
            func.coalesce(Session.lag_low_s, 0),
            Computer.corrects_clock,
        )
        .join(Computer, Computer.id == Session.computer_id)
        .join(Login, Login.id == Session.login_id)
        .where(
            Session.company_id == scope.company_id,
            seen(scope),
            STEADY,
            Session.started_at < end,
            Session.ends_at > start,
        )
        .order_by(Computer.name, Session.started_at)
        .limit(MOST_LISTED)
    )
    if login:
        found = find_login(scope, login)
        query = query.where(Login.id == (found.id if found else None))
    with db.engine.connect() as connection:
        return [
            {
                "computer": computer,
                "login": name,
                "started_at": rfc3339(started_at),
                "minutes_behind": round(lag_s / 60, 1),
                "corrected": "yes" if is_corrected else "no",
            }
            for computer, name, started_at, lag_s, is_corrected in connection.execute(query)
        ]
