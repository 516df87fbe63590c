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
_ENDS = text(
    "UPDATE session_activity_session AS s "
    "SET last_at = v.last_at, ends_at = v.ends_at, ends_day = v.ends_day "
    "FROM unnest(CAST(:number AS bigint[]), CAST(:last_at AS timestamptz[]), "
    "CAST(:ends_at AS timestamptz[]), CAST(:ends_day AS integer[])) "
    "AS v(number, last_at, ends_at, ends_day) "
    "WHERE s.number = v.number AND (s.last_at, s.ends_at) < (v.last_at, v.ends_at)"
)
_MOVES = text(
    "UPDATE session_activity_segment AS s SET end_at = v.end_at "
    "FROM unnest(CAST(:session_number AS bigint[]), CAST(:event AS varchar[]), "
    "CAST(:start_at AS timestamptz[]), CAST(:end_at AS timestamptz[])) "
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


def move_ends(connection: Connection, ends: Sequence[NewEnd]) -> None:
    """Let sessions end where their newest ping promises; an older ping changes nothing."""
    if not ends:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(_ENDS, _columns(NewEnd, ends))
        return
    statement = (
        update(Session)
        .where(
            Session.number == bindparam("b_number"),
            (Session.last_at < bindparam("b_last_at"))
            | (
                (Session.last_at == bindparam("b_last_at"))
                & (Session.ends_at < bindparam("b_ends_at"))
            ),
        )
        .values(
            last_at=bindparam("b_last_at"),
            ends_at=bindparam("b_ends_at"),
            ends_day=bindparam("b_ends_day"),
        )
        .execution_options(synchronize_session=False)
    )
    connection.execute(statement, _rows(ends))


def move_segments(connection: Connection, moves: Sequence[Move]) -> None:
    """Let segments end later or earlier."""
    if not moves:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(_MOVES, _columns(Move, moves))
        return
    statement = (
        update(Segment)
        .where(
            Segment.session_number == bindparam("b_session_number"),
            Segment.event == bindparam("b_event"),
            Segment.start_at == bindparam("b_start_at"),
        )
        .values(end_at=bindparam("b_end_at"))
    )
    connection.execute(statement, _rows(moves))


def _columns(kind: Any, rows: Sequence[Any]) -> dict[str, list[Any]]:
    return dict(zip(kind._fields, map(list, zip(*rows, strict=True)), strict=True))


def _rows(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [{f"b_{name}": value for name, value in row._asdict().items()} for row in rows]
