"""Many rows in one statement whose text never changes, so that Postgres plans it once.

SQLite has no arrays and no distance to cross: there the rows go one by one, which is as fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, Connection, any_, bindparam, cast, text, update
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeEngine

from webapp.kinds.session_activity.models import Segment, Session


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


def among(
    connection: Connection, column: Any, values: Sequence[Any], type_: TypeEngine[Any]
) -> ColumnElement[bool]:
    """Return the condition that a column has one of the values."""
    if connection.dialect.name == "postgresql":
        return column == any_(cast(list(values), ARRAY(type_)))
    return column.in_(values)


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
