"""Sessions: begun once, one login at one computer at a time, and who is online now."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from webapp.errors import Conflict, InvalidParams
from webapp.kinds.session_activity.aggregate import SESSION, LateChange, Ping, aggregate
from webapp.kinds.session_activity.clocks import STEADY
from webapp.kinds.session_activity.directory import find_id
from webapp.kinds.session_activity.ingest import Intake, expire_late
from webapp.kinds.session_activity.models import ClockAhead, ClockOffset, Computer, Login, Session
from webapp.kinds.session_activity.segments import (
    SessionFacts,
    ends_day,
    first_kept,
    open_transaction,
)
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
        login, computer_id = _find_names(connection, first, computer)
        known = (Session.company_id == first.company_id) & (Session.id == first.session_id)
        if found := connection.execute(_listing().where(known)).first():
            if (found.comp_name, found.ip_addr) == (computer, ip_addr) and _is_same(
                connection, found, first
            ):
                return False
            raise SessionTaken("Another session has this id already.", described(found))
        if rival := connection.execute(_rivals(first, login.login_id, computer_id)).first():
            raise SessionTaken(
                f"{first.login} is online at {rival.comp_name} already.", described(rival)
            )
        late = _store(connection, first, login, (computer_id, ip_addr), intake)
    expire_late(late)
    return True


def _find_names(connection: Connection, first: Ping, computer: str) -> tuple[SessionFacts, int]:
    """Return login and computer; the login is locked, so its sessions come in turn."""
    mine = (Login.company_id == first.company_id) & (Login.name == first.login)
    query = select(Login.id, Login.name, Login.longest_days).where(mine).with_for_update()
    login = connection.execute(query).first()
    computer_id = find_id(connection, Computer, first.company_id, computer)
    errors = {}
    if login is None:
        errors["login"] = "This login is not known; add it with POST /users first."
    if computer_id is None:
        errors["comp_name"] = "This computer is not known; add it with POST /computers first."
    if login is None or computer_id is None:
        raise InvalidParams(errors)
    return SessionFacts(first.company_id, first.session_id, 0, None, *login), computer_id


def _store(
    connection: Connection,
    first: Ping,
    login: SessionFacts,
    place: tuple[int, str],
    intake: Intake,
) -> list[LateChange]:
    last, ends = first.span
    computer_id, ip_addr = place
    row = {
        "company_id": first.company_id,
        "id": first.session_id,
        "login_id": login.login_id,
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
    first.session = login._replace(number=number)
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


def online(connection: Any, company_id: str, now: datetime) -> list[Row[Any]]:
    """Return the company's sessions whose end has not passed, by login and computer."""
    query = _listing().where(
        Session.company_id == company_id,
        Session.ends_day >= ends_day(now),
        Session.ends_at > now,
    )
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
