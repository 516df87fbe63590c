"""Sessions: begun once, one login at one computer at a time, and who is online now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Row, and_, exists, func, insert, or_, select, tuple_
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from webapp.accounts import Scope
from webapp.errors import Conflict, InvalidParams
from webapp.kinds.session_activity.aggregate import SESSION, LateChange, Ping, aggregate
from webapp.kinds.session_activity.clocks import STEADY
from webapp.kinds.session_activity.ingest import Intake, expire_late
from webapp.kinds.session_activity.models import (
    ClockAhead,
    ClockOffset,
    Computer,
    Login,
    Segment,
    Session,
)
from webapp.kinds.session_activity.names import find, key_of, matching, seen
from webapp.kinds.session_activity.segments import (
    SessionFacts,
    ends_day,
    first_kept,
    open_transaction,
)
from webapp.lib.batches import batched
from webapp.lib.moments import rfc3339


class SessionTaken(Conflict):
    """409: the session cannot begin beside the one in `data`."""

    def __init__(self, message: str, data: dict[str, Any]) -> None:
        super().__init__(message)
        self.data = data


def begin(engine: Engine, first: Ping, computer: str, ip_addr: str, intake: Intake) -> bool:
    """Store a session and its first ping; return False where the very same is known.

    Raises: InvalidParams for an unknown login or computer; SessionTaken when the login is online
            at another computer, or the id belongs to another session
    """
    try:
        return _begin(engine, first, computer, ip_addr, intake)
    except IntegrityError:
        # The same id twice at the same moment: the other request was first.
        return _begin(engine, first, computer, ip_addr, intake)


def _begin(engine: Engine, first: Ping, computer: str, ip_addr: str, intake: Intake) -> bool:
    with open_transaction(engine) as connection:
        login, place = _find_names(connection, first, computer)
        first.login = login.name
        if found := find_session(connection, first.company_id, first.session_id):
            if (found.comp_name, found.ip_addr) == (place.name, ip_addr) and _is_same(
                connection, found, first
            ):
                return False
            raise SessionTaken("Another session has this id already.", described(found))
        if rival := connection.execute(_rivals(first, login.id, place.id)).first():
            raise SessionTaken(
                f"{first.login} is online at {rival.comp_name} already.", described(rival)
            )
        late = _store(connection, first, login, (place.id, ip_addr), intake)
    expire_late(late)
    return True


def _find_names(connection: Connection, first: Ping, computer: str) -> tuple[Any, Any]:
    """Return login and computer; the login is locked, so its sessions come in turn."""
    login = find(connection, Login, first.company_id, first.login, locks=True)
    place = find(connection, Computer, first.company_id, computer)
    errors = {}
    for field, noun, found, path in (
        ("login", "login", login, "/users"),
        ("comp_name", "computer", place, "/computers"),
    ):
        if found is None:
            errors[field] = f"This {noun} is not known; add it with POST {path} first."
        elif found.is_off:
            errors[field] = f"This {noun} is switched off."
    if errors:
        raise InvalidParams(errors)
    return login, place


def _store(
    connection: Connection, first: Ping, login: Any, place: tuple[int, str], intake: Intake
) -> list[LateChange]:
    last, ends = first.span
    computer_id, ip_addr = place
    row = {
        "company_id": first.company_id,
        "id": first.session_id,
        "login_id": login.id,
        "computer_id": computer_id,
        "ip_addr": ip_addr,
        "next_ping_sec": first.next_ping_sec,
        "started_at": last,
        "last_at": last,
        "ends_at": ends,
        "ends_day": ends_day(ends),
        "lag_s": first.lag_s,
        "lag_low_s": first.lag_s,
        "lag_high_s": first.lag_s,
        "lag_pings": int(first.lag_s is not None),
    }
    number = connection.execute(insert(Session).values(row).returning(Session.number)).scalar_one()
    first.session = SessionFacts(
        first.company_id,
        first.session_id,
        number,
        None,
        login.id,
        login.name,
        login.longest_days,
        last,
        ends,
    )
    return aggregate(connection, [first], intake.grace, intake.zone)


def _listing() -> Any:
    return (
        select(
            Session.number,
            Session.id,
            Computer.name.label("comp_name"),
            Session.ip_addr,
            Login.name.label("login"),
            Session.started_at,
            Session.ends_at,
            Session.next_ping_sec,
            Session.lag_low_s,
            STEADY.label("is_behind"),
            Computer.corrects_clock,
        )
        .join(Computer, Computer.id == Session.computer_id)
        .join(Login, Login.id == Session.login_id)
    )


def _is_same(connection: Connection, found: Row[Any], first: Ping) -> bool:
    """Say whether a session was begun with the same ping; a missing time differs from none."""
    if (found.login, found.next_ping_sec) != (first.login, first.next_ping_sec):
        return False
    if first.at in (first.arrived_at, found.started_at):
        return True
    table = ClockOffset if first.said_at is not None else ClockAhead
    said = (found.number, SESSION, first.said_at or first.at)
    return bool(first_kept(connection, table, [said]).get(said) == found.started_at)


def _rivals(first: Ping, login_id: int, computer_id: int) -> Any:
    """Select sessions of the login that run elsewhere now and did so when this one began.

    One that began later is no rival: this session was over before and is only reported late.
    """
    return (
        _listing()
        .where(
            Session.login_id == login_id,
            Session.computer_id != computer_id,
            Session.ends_day >= ends_day(first.arrived_at),
            Session.ends_at > first.arrived_at,
            Session.started_at < first.span.end,
        )
        .order_by(Session.ends_at.desc())
    )


Sort = Literal["login", "computer", "since", "until"]
SORTS: dict[str, tuple[Any, ...]] = {
    "login": (Login.key, Computer.key),
    "computer": (Computer.key, Login.key),
    "since": (Session.started_at.desc(), Login.key, Computer.key),
    "until": (Session.ends_at, Login.key, Computer.key),
}


class Board(NamedTuple):
    """Who is online: some rows, how many match, and how many people and computers they are."""

    rows: Sequence[Row[Any]]
    matching: int
    people: int
    computers: int


def board(
    bind: Any,
    scope: Scope,
    now: datetime,
    search: str,
    sort: Sort,
    page: int = 1,
    per_page: int | None = None,
) -> Board:
    """Return the newest session of each login the caller sees at each computer that is online.

    A restart leaves older ones, which programs still see.
    search: a text in login, computer or address
    page:   counted from 1; the last one where there are fewer
    """
    newer = aliased(Session)
    is_newest = ~exists().where(
        newer.login_id == Session.login_id,
        newer.computer_id == Session.computer_id,
        newer.ends_day >= ends_day(now),
        newer.ends_at > now,
        tuple_(newer.started_at, newer.number) > tuple_(Session.started_at, Session.number),
    )
    is_online = _is_online(scope, now)
    query = _listing().where(is_online)
    counting = select(Session).where(is_online)
    if search:
        named = (matching(bind, table, scope.company_id, search) for table in (Login, Computer))
        at_address = func.lower(Session.ip_addr).contains(key_of(search), autoescape=True)
        counting = query = query.where(or_(*named, at_address))
    # A place is a login at a computer; counting them needs no look for newer sessions.
    place = Session.login_id * 2**32 + Session.computer_id
    counted = (func.count(one.distinct()) for one in (place, Session.login_id, Session.computer_id))
    counts = bind.execute(counting.with_only_columns(*counted)).one()
    shown = query.where(is_newest).order_by(*SORTS[sort])
    if per_page:
        last = max(counts[0] - 1, 0) // per_page
        shown = shown.offset(min(page - 1, last) * per_page).limit(per_page)
    return Board(bind.execute(shown).all(), *counts)


def credited_time(bind: Any, numbers: Sequence[int], now: datetime) -> dict[int, timedelta]:
    """Return how much time some sessions were credited up to now."""
    found: defaultdict[int, timedelta] = defaultdict(timedelta)
    for some in batched(numbers):
        for number, start, end in bind.execute(
            select(Segment.session_number, Segment.start_at, Segment.end_at).where(
                Segment.session_number.in_(some), Segment.event == SESSION, Segment.start_at < now
            )
        ):
            found[number] += min(end, now) - start
    return dict(found)


def ahead_of(bind: Any, numbers: Sequence[int]) -> dict[int, timedelta]:
    """Return how far clocks are ahead, of some sessions, as their newest ping has it."""
    query = (
        select(Session.number, Session.last_at, func.max(ClockAhead.at))
        .join(ClockAhead, ClockAhead.session_number == Session.number)
        .where(Session.number.in_(numbers), ClockAhead.arrived_at == Session.last_at)
        .group_by(Session.number, Session.last_at)
    )
    return {number: at - last for number, last, at in bind.execute(query)}


def find_session(bind: Any, company_id: str, session_id: str) -> Row[Any] | None:
    """Return a session of the company by its id."""
    mine = (Session.company_id == company_id) & (Session.id == session_id)
    found: Row[Any] | None = bind.execute(_listing().where(mine)).first()
    return found


def _is_online(scope: Scope, now: datetime) -> Any:
    return and_(
        Session.company_id == scope.company_id,
        seen(scope, Session.login_id),
        Session.ends_day >= ends_day(now),
        Session.ends_at > now,
    )


def online(connection: Any, scope: Scope, now: datetime) -> list[Row[Any]]:
    """Return the sessions the caller sees whose end has not passed, by login and computer."""
    query = _listing().where(_is_online(scope, now))
    return list(connection.execute(query.order_by(Login.name, Computer.name)))


def described(row: Row[Any]) -> dict[str, Any]:
    """Return a session as the addresses show it."""
    return {
        "id": row.id,
        "comp_name": row.comp_name,
        "ip_addr": row.ip_addr,
        "login": row.login,
        "start_date_time": rfc3339(row.started_at, "auto"),
        "end_date_time": rfc3339(row.ends_at, "auto"),
    }
