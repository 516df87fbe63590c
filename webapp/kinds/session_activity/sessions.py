"""Sessions: begun once, one login at one computer at a time, and who is online now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert, select
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from webapp.errors import Conflict, InvalidParams
from webapp.kinds.session_activity.aggregate import (
    SESSION,
    LateChange,
    LoginFacts,
    Ping,
    aggregate,
)
from webapp.kinds.session_activity.directory import find_id
from webapp.kinds.session_activity.ingest import Intake, expire_late
from webapp.kinds.session_activity.models import Computer, Login, Session
from webapp.kinds.session_activity.segments import (
    ends_day,
    first_arrivals,
    first_corrections,
    open_transaction,
)
from webapp.lib.moments import rfc3339


@dataclass(frozen=True)
class SentSession:
    """The start of a session as a computer sent it; `at` is None where it gave no time.

    said_at, lag_s: as of a ping
    """

    company_id: str
    id: str
    computer: str
    ip_addr: str
    login: str
    next_ping_sec: int
    at: datetime | None
    arrived_at: datetime
    said_at: datetime | None = None
    lag_s: int | None = None


class SessionTaken(Conflict):
    """409: the session cannot begin beside the one in `data`."""

    def __init__(self, message: str, data: dict[str, Any]) -> None:
        super().__init__(message)
        self.data = data


def begin(engine: Engine, sent: SentSession, intake: Intake) -> bool:
    """Store a session and its first ping; return False where the very same is known.

    Raises: InvalidParams for an unknown login or computer; SessionTaken when the login is online
            at another computer, or the id belongs to another session
    """
    try:
        return _begin(engine, sent, intake)
    except IntegrityError:
        # The same id twice at the same moment: the other request was first.
        return _begin(engine, sent, intake)


def _begin(engine: Engine, sent: SentSession, intake: Intake) -> bool:
    with open_transaction(engine) as connection:
        login, computer_id = _find_names(connection, sent)
        if found := connection.execute(_listing().where(_is(sent))).first():
            if _is_same(connection, found, sent):
                return False
            raise SessionTaken("Another session has this id already.", described(found))
        if rival := connection.execute(_rivals(sent, login.id, computer_id)).first():
            raise SessionTaken(
                f"{sent.login} is online at {rival.comp_name} already.", described(rival)
            )
        late = _store(connection, sent, login, computer_id, intake)
    expire_late(late)
    return True


def _find_names(connection: Connection, sent: SentSession) -> tuple[LoginFacts, int]:
    """Return login and computer; the login is locked, so its sessions come in turn."""
    mine = (Login.company_id == sent.company_id) & (Login.name == sent.login)
    query = select(Login.id, Login.company_id, Login.name, Login.longest_days).where(mine)
    login = connection.execute(query.with_for_update()).first()
    computer_id = find_id(connection, Computer, sent.company_id, sent.computer)
    errors = {}
    if login is None:
        errors["login"] = "This login is not known; add it with POST /users first."
    if computer_id is None:
        errors["comp_name"] = "This computer is not known; add it with POST /computers first."
    if login is None or computer_id is None:
        raise InvalidParams(errors)
    return LoginFacts(*login), computer_id


def _store(
    connection: Connection, sent: SentSession, login: LoginFacts, computer_id: int, intake: Intake
) -> list[LateChange]:
    # The first ping keeps the time as sent, for whoever sends the same start again.
    at = sent.at or sent.arrived_at
    ping = Ping(0, login, SESSION, at, sent.next_ping_sec, sent.arrived_at, sent.said_at)
    last, ends = ping.span
    row = {
        "company_id": sent.company_id,
        "id": sent.id,
        "login_id": login.id,
        "computer_id": computer_id,
        "ip_addr": sent.ip_addr,
        "next_ping_sec": sent.next_ping_sec,
        "started_at": last,
        "last_at": last,
        "ends_at": ends,
        "ends_day": ends_day(ends),
        "lag_s": sent.lag_s,
        "lag_low_s": sent.lag_s,
        "lag_high_s": sent.lag_s,
        "lag_pings": int(sent.lag_s is not None),
    }
    number = connection.execute(insert(Session).values(row).returning(Session.number)).scalar_one()
    return aggregate(connection, [replace(ping, session_number=number)], intake.grace, intake.zone)


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
            Session.lag_high_s,
            Session.lag_pings,
            Computer.id.label("computer_id"),
            Computer.corrects_clock,
        )
        .join(Computer, Computer.id == Session.computer_id)
        .join(Login, Login.id == Session.login_id)
    )


def _is(sent: SentSession) -> Any:
    return (Session.company_id == sent.company_id) & (Session.id == sent.id)


def _is_same(connection: Connection, found: Row[Any], sent: SentSession) -> bool:
    """Say whether a session was begun with the same body; a missing time differs from none."""
    its = (found.comp_name, found.login, found.ip_addr, found.next_ping_sec)
    if its != (sent.computer, sent.login, sent.ip_addr, sent.next_ping_sec):
        return False
    if sent.at is None or found.started_at == sent.at:
        return True
    if sent.said_at is not None:
        said = (found.number, SESSION, sent.said_at)
        return bool(first_corrections(connection, [said]).get(said) == found.started_at)
    said = (found.number, SESSION, sent.at)
    return bool(first_arrivals(connection, [said]).get(said) == found.started_at)


def _rivals(sent: SentSession, login_id: int, computer_id: int) -> Any:
    """Select sessions of the login that run elsewhere now and did so when this one began.

    One that began later is no rival: this session was over before and is only reported late.
    """
    began_at = min(sent.at or sent.arrived_at, sent.arrived_at)
    return (
        _listing()
        .where(
            Session.login_id == login_id,
            Session.computer_id != computer_id,
            Session.ends_day >= ends_day(sent.arrived_at),
            Session.ends_at > sent.arrived_at,
            Session.started_at < began_at + timedelta(seconds=sent.next_ping_sec),
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
