"""Many rows in one statement whose text never changes, so that Postgres plans it once.

SQLite has no arrays and no distance to cross: there the rows go one by one, which is as fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, text, update

from webapp.kinds.session_activity.models import Login, Segment, Session


class NewEnd(NamedTuple):
    """Where a session ends by its newest ping."""

    number: int
    last_at: datetime
    ends_at: datetime
    ends_day: int


class Move(NamedTuple):
    """A segment, by its key, and its new end."""

    session_number: int
    event: str
    start_at: datetime
    end_at: datetime


_LOCKED = text(
    "SELECT s.id, s.number, l.id, l.name, l.longest_days FROM session_activity_session s "
    "JOIN session_activity_login l ON l.id = s.login_id "
    "WHERE s.company_id = CAST(:company_id AS uuid) AND s.id = ANY(CAST(:ids AS varchar[])) "
    "ORDER BY s.id FOR UPDATE OF s"
)
_NEAR = text(
    "SELECT session_number, event, start_at, end_at FROM session_activity_segment "
    "WHERE session_number = ANY(CAST(:numbers AS bigint[])) "
    "AND end_at >= :low AND start_at <= :high"
).columns(Segment.session_number, Segment.event, Segment.start_at, Segment.end_at)
# Both at once: each round trip costs about as much as ten pings.
_MOVE = text(
    "WITH ended AS (UPDATE session_activity_session AS s "
    "SET last_at = v.last_at, ends_at = v.ends_at, ends_day = v.ends_day "
    "FROM unnest(CAST(:e_number AS bigint[]), CAST(:e_last_at AS timestamptz[]), "
    "CAST(:e_ends_at AS timestamptz[]), CAST(:e_ends_day AS integer[])) "
    "AS v(number, last_at, ends_at, ends_day) "
    "WHERE s.number = v.number AND (s.last_at, s.ends_at) < (v.last_at, v.ends_at)) "
    "UPDATE session_activity_segment AS s SET end_at = v.end_at "
    "FROM unnest(CAST(:m_session_number AS bigint[]), CAST(:m_event AS varchar[]), "
    "CAST(:m_start_at AS timestamptz[]), CAST(:m_end_at AS timestamptz[])) "
    "AS v(session_number, event, start_at, end_at) "
    "WHERE s.session_number = v.session_number AND s.event = v.event "
    "AND s.start_at = v.start_at"
)


def lock_sessions(connection: Connection, company_id: str, ids: Sequence[str]) -> Iterable[Any]:
    """Return id, number, login's number, its name and longest_days of the company's sessions.

    They are locked in one order everywhere, so no two transactions wait for each other.
    """
    if connection.dialect.name == "postgresql":
        return connection.execute(_LOCKED, {"company_id": company_id, "ids": list(ids)})
    query = (
        select(Session.id, Session.number, Login.id, Login.name, Login.longest_days)
        .join(Login, Login.id == Session.login_id)
        .where(Session.company_id == company_id, Session.id.in_(ids))
    )
    return connection.execute(query)


def near_segments(
    connection: Connection, numbers: Sequence[int], low: datetime, high: datetime
) -> Iterable[Any]:
    """Return session, event, start and end of the sessions' segments that touch [low, high]."""
    if connection.dialect.name == "postgresql":
        given = {"numbers": list(numbers), "low": low, "high": high}
        return connection.execute(_NEAR, given)
    query = select(Segment.session_number, Segment.event, Segment.start_at, Segment.end_at).where(
        Segment.session_number.in_(numbers), Segment.end_at >= low, Segment.start_at <= high
    )
    return connection.execute(query)


def move(connection: Connection, ends: Sequence[NewEnd], moves: Sequence[Move]) -> None:
    """Let sessions end where their newest ping promises, and segments where they end now.

    An older ping moves no session's end.
    """
    if connection.dialect.name == "postgresql":
        given = _columns("e_", NewEnd, ends) | _columns("m_", Move, moves)
        connection.execute(_MOVE, given)
        return
    if ends:
        connection.execute(_END, _rows(ends))
    if moves:
        connection.execute(_MOVE_ONE, _rows(moves))


_END = (
    update(Session)
    .where(
        Session.number == bindparam("b_number"),
        (Session.last_at < bindparam("b_last_at"))
        | (
            (Session.last_at == bindparam("b_last_at")) & (Session.ends_at < bindparam("b_ends_at"))
        ),
    )
    .values(
        last_at=bindparam("b_last_at"),
        ends_at=bindparam("b_ends_at"),
        ends_day=bindparam("b_ends_day"),
    )
)
_MOVE_ONE = (
    update(Segment)
    .where(
        Segment.session_number == bindparam("b_session_number"),
        Segment.event == bindparam("b_event"),
        Segment.start_at == bindparam("b_start_at"),
    )
    .values(end_at=bindparam("b_end_at"))
)


def _columns(prefix: str, kind: Any, rows: Sequence[Any]) -> dict[str, list[Any]]:
    return {prefix + name: [row[place] for row in rows] for place, name in enumerate(kind._fields)}


def _rows(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [{f"b_{name}": value for name, value in row._asdict().items()} for row in rows]
