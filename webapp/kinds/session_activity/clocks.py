"""Clocks ahead of ours: what they said is kept beside the time of arrival, and counts once.

A ping of such a clock counts from its arrival on. Sent again, it arrives later, perhaps when its
time has come; only what is kept here tells that it is the same ping, and when it arrived first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects import postgresql, sqlite

from webapp.kinds.session_activity.models import ClockAhead, Session

if TYPE_CHECKING:
    from webapp.kinds.session_activity.fold import Ping

KEYS_PER_QUERY = 500
Said = tuple[int, str, datetime]

_ARRIVED = text(
    "SELECT c.session_number, c.event, c.at, min(c.arrived_at) AS arrived_at "
    "FROM unnest(CAST(:numbers AS bigint[]), CAST(:events AS varchar[]), "
    "CAST(:ats AS timestamptz[])) AS v(number, event, at) "
    "JOIN session_activity_clock_ahead c "
    "ON c.session_number = v.number AND c.event = v.event AND c.at = v.at "
    "GROUP BY c.session_number, c.event, c.at"
).columns(ClockAhead.session_number, ClockAhead.event, ClockAhead.at, ClockAhead.arrived_at)


def as_first_arrived(connection: Connection, pings: Sequence[Ping]) -> list[Ping]:
    """Return the pings, those of clocks ahead with their first arrival; keep what is new."""
    # What gives no time of its own counts at its arrival: it repeats nothing.
    timed = sorted({_said(ping) for ping in pings if ping.at != ping.arrived_at})
    first = _first_arrivals(connection, timed) if timed else {}
    new: dict[Said, Ping] = {}
    for ping in pings:
        said = _said(ping)
        if ping.at > ping.arrived_at and ping.arrived_at < first.get(said, ping.at):
            first[said], new[said] = ping.arrived_at, ping
    _keep(connection, list(new.values()))
    if not first:
        return list(pings)
    return [replace(ping, arrived_at=first.get(_said(ping), ping.arrived_at)) for ping in pings]


def _said(ping: Ping) -> Said:
    return ping.session_number, ping.event, ping.at


def _first_arrivals(connection: Connection, said: Sequence[Said]) -> dict[Said, datetime]:
    if connection.dialect.name == "postgresql":
        numbers, events, ats = (list(column) for column in zip(*said, strict=True))
        rows = connection.execute(_ARRIVED, {"numbers": numbers, "events": events, "ats": ats})
        return {(number, event, at): arrived for number, event, at, arrived in rows}
    found: dict[Said, datetime] = {}
    for start in range(0, len(said), KEYS_PER_QUERY):
        found |= _first_arrivals_near(connection, said[start : start + KEYS_PER_QUERY])
    return found


def _first_arrivals_near(connection: Connection, said: Sequence[Said]) -> dict[Said, datetime]:
    """Return arrivals of what sessions said about then; SQLite has no index for exact triples."""
    numbers, events, ats = (set(column) for column in zip(*said, strict=True))
    columns = (ClockAhead.session_number, ClockAhead.event, ClockAhead.at)
    query = select(*columns, func.min(ClockAhead.arrived_at)).where(
        ClockAhead.session_number.in_(sorted(numbers)),
        ClockAhead.event.in_(sorted(events)),
        ClockAhead.at.between(min(ats), max(ats)),
    )
    rows = connection.execute(query.group_by(*columns))
    return {(number, event, at): arrived for number, event, at, arrived in rows}


def _keep(connection: Connection, pings: Sequence[Ping]) -> None:
    rows = [
        {
            "session_number": ping.session_number,
            "event": ping.event,
            "at": ping.at,
            "arrived_at": ping.arrived_at,
            "next_ping_sec": ping.next_ping_sec,
        }
        for ping in pings
    ]
    if rows:
        maker: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        connection.execute(maker(ClockAhead).on_conflict_do_nothing(), rows)


def was_said(connection: Connection, number: int, at: datetime, arrived_at: datetime) -> bool:
    """Say whether a session's own ping of that time, ahead of ours, arrived at that moment."""
    query = select(ClockAhead.at).where(
        ClockAhead.session_number == number,
        ClockAhead.event == "",
        ClockAhead.at == at,
        ClockAhead.arrived_at == arrived_at,
    )
    return connection.execute(query).first() is not None


def online_ahead(
    connection: Any, company_id: str, now: datetime, today: int
) -> dict[str, timedelta]:
    """Return how far clocks are ahead, by session online, as its newest ping has it.

    today: days since 1970, as `ends_day` counts them
    """
    query = (
        select(Session.id, Session.last_at, func.max(ClockAhead.at))
        .join(ClockAhead, ClockAhead.session_number == Session.number)
        .where(
            Session.company_id == company_id,
            Session.ends_day >= today,
            Session.ends_at > now,
            ClockAhead.arrived_at == Session.last_at,
        )
        .group_by(Session.id, Session.last_at)
    )
    return {name: at - last for name, last, at in connection.execute(query)}
