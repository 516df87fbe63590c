"""Rows of sessions, segments and clocks ahead, many at once.

A list of keys is one array on Postgres, so that the text of a statement never changes and it is
planned once. SQLite has no arrays and no distance to cross: rows go one by one, which is as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    Connection,
    Integer,
    any_,
    bindparam,
    case,
    delete,
    func,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.engine import Engine

from webapp.extensions import UtcDateTime
from webapp.kinds.session_activity.compute import EPOCH, ONE_DAY, Span
from webapp.kinds.session_activity.models import (
    ClockAhead,
    ClockOffset,
    Computer,
    Login,
    Segment,
    Session,
)
from webapp.lib.batches import batched
from webapp.lib.upserts import upsert

# What a clock has said: session, event, time.
Said = tuple[int, str, datetime]
Clock = type[ClockAhead] | type[ClockOffset]


class SessionFacts(NamedTuple):
    """What taking a ping needs to know of its session and login.

    lag_s: the lag of the single ping before it
    lag_low_s: the least lag of any
    """

    company_id: str = ""
    id: str = ""
    number: int = 0
    lag_s: int | None = None
    login_id: int = 0
    login: str = ""
    longest_days: int = 1
    last_at: datetime = EPOCH
    ends_at: datetime = EPOCH
    lag_low_s: int | None = None

    @property
    def ended_at(self) -> datetime | None:
        """Return when it was ended, where no ping came since; a ping's promise is never empty.

        Of a clock that is behind the end arrived later than that.
        """
        return self.ends_at if self.ends_at <= self.last_at else None


class NewEnd(NamedTuple):
    """Where a session ends by its newest ping, and the lag that one came with."""

    number: int
    last_at: datetime
    ends_at: datetime
    ends_day: int
    lag_s: int | None


class NewSegmentEnd(NamedTuple):
    """A segment, by its key, and its new end."""

    session_number: int
    event: str
    start_at: datetime
    end_at: datetime


@contextmanager
def open_transaction(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that may read first and write then, and is on disk when it is over.

    SQLite takes its one write lock at once, because it cannot take it after a read, and waits for
    the disk; Postgres does so anyway and locks by row.
    """
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA synchronous=FULL")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        connection.commit()


def ends_day(moment: datetime) -> int:
    """Return the day of a moment in days since 1970, UTC."""
    return (moment - EPOCH) // ONE_DAY


def _for_both(make: Callable[[Callable[[Any, str], Any]], Any]) -> dict[str, Any]:
    """Return a statement by dialect; `make` is handed what says that a column is in a list."""
    return {
        "postgresql": make(
            lambda column, name: column == any_(bindparam(name, type_=ARRAY(column.type)))
        ),
        "sqlite": make(lambda column, name: column.in_(bindparam(name, expanding=True))),
    }


_LOCKED = _for_both(
    lambda among: (
        select(
            Session.company_id,
            Session.id,
            Session.number,
            Session.lag_s,
            Login.id,
            Login.name,
            Login.longest_days,
            Session.last_at,
            Session.ends_at,
            Session.lag_low_s,
        )
        .join(Login, Login.id == Session.login_id)
        .where(Session.company_id == bindparam("company_id"), among(Session.id, "ids"))
        .order_by(Session.id)
        .with_for_update(of=Session)
    )
)
_NEAR = _for_both(
    lambda among: select(
        Segment.session_number, Segment.event, Segment.start_at, Segment.end_at
    ).where(
        among(Segment.session_number, "numbers"),
        Segment.end_at >= bindparam("low"),
        Segment.start_at <= bindparam("high"),
    )
)


def _first_kept(table: Any, said_at: Any, moment: Any) -> dict[str, Any]:
    key = (table.session_number, table.event, said_at)
    return _for_both(
        lambda among: (
            select(*key, func.min(moment))
            .where(
                among(table.session_number, "numbers"),
                among(table.event, "events"),
                said_at.between(bindparam("low"), bindparam("high")),
            )
            .group_by(*key)
        )
    )


_FIRST_KEPT = {
    ClockAhead: _first_kept(ClockAhead, ClockAhead.at, ClockAhead.arrived_at),
    ClockOffset: _first_kept(ClockOffset, ClockOffset.said_at, ClockOffset.corrected_at),
}


def lock_sessions(
    connection: Connection, company_id: str, ids: Sequence[str]
) -> Iterator[SessionFacts]:
    """Yield what is known of the company's sessions.

    They are locked in one order everywhere, so no two transactions wait for each other.
    """
    for some in batched(ids):
        given = {"company_id": company_id, "ids": some}
        rows = connection.execute(_LOCKED[connection.dialect.name], given)
        yield from map(SessionFacts._make, rows)


def hold(bind: Any, table: Any, ids: Iterable[int], *, with_sessions: bool = False) -> None:
    """Hold logins or computers for a change, in the order of all who change hours.

    A ping holds sessions, then marks their logins; who begins a session holds its login, then its
    computer. In another order two would wait for each other until Postgres ends one of them.
    """
    ids, uses = sorted(ids), Session.login_id if table is Login else Session.computer_id
    if with_sessions:
        theirs = select(Session.number).where(uses.in_(ids)).order_by(Session.id)
        bind.execute(theirs.with_for_update())
    if table is Computer:
        sat = Login.id.in_(select(Session.login_id).where(uses.in_(ids)))
        logins = select(Login.id).where(sat).order_by(Login.id)
        bind.execute(logins.with_for_update(key_share=True))
    bind.execute(select(table.id).where(table.id.in_(ids)).order_by(table.id).with_for_update())


def near_segments(
    connection: Connection, numbers: Sequence[int], low: datetime, high: datetime
) -> Iterator[Any]:
    """Yield session, event, start and end of the sessions' segments that touch [low, high]."""
    for some in batched(numbers):
        given = {"numbers": some, "low": low, "high": high}
        yield from connection.execute(_NEAR[connection.dialect.name], given)


def moved_spans(connection: Connection, moved: Mapping[int, timedelta]) -> dict[int, Span]:
    """Return from when to when sessions are, where they stand and where they are moved to."""
    if not moved:
        return {}
    ends = (func.min(Segment.start_at), func.max(Segment.end_at))
    query = select(Segment.session_number, *ends).where(Segment.session_number.in_(list(moved)))
    rows = connection.execute(query.group_by(Segment.session_number))
    return {number: Span(start, end + moved[number]) for number, start, end in rows}


def first_kept(connection: Connection, table: Clock, said: Sequence[Said]) -> dict[Said, datetime]:
    """Return of what clocks have said, as far as it is kept, what the first of them came to.

    Of clocks ahead that is when it arrived, of those known to be off when it was.
    """
    found: dict[Said, datetime] = {}
    for some in batched(said):
        numbers, events, ats = (sorted(set(column)) for column in zip(*some, strict=True))
        given = {"numbers": numbers, "events": events, "low": ats[0], "high": ats[-1]}
        rows = connection.execute(_FIRST_KEPT[table][connection.dialect.name], given)
        found |= {(number, event, at): moment for number, event, at, moment in rows}
    return found


def keep(connection: Connection, table: Clock, rows: Sequence[dict[str, Any]]) -> None:
    """Keep what clocks that are off have said."""
    if rows:
        connection.execute(upsert(connection, table).on_conflict_do_nothing(), list(rows))


# Both at once: each round trip costs about as much as ten pings.
_MOVE_ALL = text(
    "WITH ended AS (UPDATE session_activity_session AS s "
    "SET last_at = v.last_at, ends_at = v.ends_at, ends_day = v.ends_day, "
    "lag_s = COALESCE(v.lag_s, s.lag_s), lag_low_s = LEAST(s.lag_low_s, v.lag_s), "
    "lag_high_s = GREATEST(s.lag_high_s, v.lag_s), "
    "lag_pings = s.lag_pings + CAST(v.lag_s IS NOT NULL AS integer) "
    "FROM unnest(CAST(:e_number AS bigint[]), CAST(:e_last_at AS timestamptz[]), "
    "CAST(:e_ends_at AS timestamptz[]), CAST(:e_ends_day AS integer[]), "
    "CAST(:e_lag_s AS integer[])) AS v(number, last_at, ends_at, ends_day, lag_s) "
    "WHERE s.number = v.number AND (s.last_at, s.last_at >= s.ends_at, s.ends_at) "
    "< (v.last_at, v.last_at >= v.ends_at, v.ends_at)) "
    "UPDATE session_activity_segment AS s SET end_at = v.end_at "
    "FROM unnest(CAST(:m_session_number AS bigint[]), CAST(:m_event AS varchar[]), "
    "CAST(:m_start_at AS timestamptz[]), CAST(:m_end_at AS timestamptz[])) "
    "AS v(session_number, event, start_at, end_at) "
    "WHERE s.session_number = v.session_number AND s.event = v.event "
    "AND s.start_at = v.start_at"
)
# Of a ping and an end at the same moment, the end is the later one.
_LAST, _ENDS = (bindparam(f"b_{name}", type_=UtcDateTime) for name in ("last_at", "ends_at"))
_LAG = bindparam("b_lag_s", type_=Integer)
_MOVE_SESSION = (
    update(Session)
    .where(
        Session.number == bindparam("b_number"),
        tuple_(Session.last_at, Session.last_at >= Session.ends_at, Session.ends_at)
        < tuple_(_LAST, _LAST >= _ENDS, _ENDS),
    )
    .values(
        last_at=_LAST,
        ends_at=_ENDS,
        ends_day=bindparam("b_ends_day"),
        lag_s=func.coalesce(_LAG, Session.lag_s),
        lag_low_s=func.min(
            func.coalesce(Session.lag_low_s, _LAG), func.coalesce(_LAG, Session.lag_low_s)
        ),
        lag_high_s=func.max(
            func.coalesce(Session.lag_high_s, _LAG), func.coalesce(_LAG, Session.lag_high_s)
        ),
        lag_pings=Session.lag_pings + case((_LAG.is_(None), 0), else_=1),
    )
)
_OF_SEGMENT = (
    (Segment.session_number == bindparam("b_session_number"))
    & (Segment.event == bindparam("b_event"))
    & (Segment.start_at == bindparam("b_start_at"))
)
_MOVE_SEGMENT = update(Segment).where(_OF_SEGMENT).values(end_at=bindparam("b_end_at"))
_DELETE_SEGMENT = delete(Segment).where(_OF_SEGMENT)


def move_ends(
    connection: Connection, ends: Sequence[NewEnd], moved: Sequence[NewSegmentEnd]
) -> None:
    """Let sessions end where their newest ping promises, and segments where they end now.

    An older ping moves no session's end.
    """
    if connection.dialect.name == "postgresql":
        given = {
            f"{prefix}_{name}": [getattr(row, name) for row in rows]
            for prefix, kind, rows in (("e", NewEnd, ends), ("m", NewSegmentEnd, moved))
            for name in kind.__annotations__
        }
        connection.execute(_MOVE_ALL, given)
        return
    if ends:
        connection.execute(_MOVE_SESSION, _bound(ends))
    if moved:
        connection.execute(_MOVE_SEGMENT, _bound(moved))


def delete_segments(connection: Connection, gone: Sequence[NewSegmentEnd]) -> None:
    """Delete segments, by their keys; they are part of others now."""
    if gone:
        connection.execute(_DELETE_SEGMENT, _bound(gone))


def _bound(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [{f"b_{name}": value for name, value in row._asdict().items()} for row in rows]
