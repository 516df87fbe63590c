"""Pings taken in. Every ping is durable when it is answered, and many share a transaction.

The more pings come at once, the fewer commits each of them costs, and a quiet server answers as
fast as one commit allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from zoneinfo import ZoneInfo

from flask import Flask, current_app
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from webapp.engine import months
from webapp.errors import Unavailable
from webapp.kinds.session_activity.bulk import lock_sessions
from webapp.kinds.session_activity.fold import LateChange, LoginFacts, Ping, fold, writing
from webapp.lib.coalescer import Coalescer, NotAnswered

SLUG = "session-activity"
SESSIONS_PER_QUERY = 500
PINGS_PER_TRANSACTION = 2000


@dataclass(frozen=True)
class SentPing:
    """A ping as a computer sent it, readable and within bounds."""

    company_id: str
    session_id: str
    event: str
    login: str
    at: datetime
    next_ping_sec: int
    arrived_at: datetime


@dataclass(frozen=True)
class Verdict:
    """What became of a ping: an HTTP status and a sentence."""

    status: int
    message: str


@dataclass(frozen=True)
class Known:
    """A session the transaction has locked."""

    number: int
    login: LoginFacts


CREATED = Verdict(201, "Created")
UNKNOWN = Verdict(404, "There is no such session.")
ELSEWHOSE = Verdict(400, "The session belongs to another login.")
NOT_STORED = "The ping could not be stored. Keep it and send it again in a moment."


@dataclass(frozen=True)
class _Taken:
    """What became of the pings of one request, and the months over that its transaction changed."""

    verdicts: Sequence[Verdict]
    late: Sequence[LateChange] = ()


class Intake:
    """Takes the pings of all requests of this process and stores them together."""

    def __init__(self, grace: timedelta, zone: ZoneInfo) -> None:
        self.grace, self.zone = grace, zone
        self._stores: dict[Engine, Coalescer[Sequence[SentPing], _Taken]] = {}

    def take(self, engine: Engine, pings: Sequence[SentPing]) -> list[Verdict]:
        """Store pings durably and return a verdict for each, in their order.

        To be called without a database connection in hand: the writer needs one of the pool, and
        those who wait for it must not hold them all.
        Raises: Unavailable when they could not be stored; earlier thousands of a long list may be
        """
        store = self._stores.get(engine) or self._stores.setdefault(engine, self._store_of(engine))
        verdicts: list[Verdict] = []
        for first in range(0, len(pings), PINGS_PER_TRANSACTION):
            try:
                taken = store.ask(pings[first : first + PINGS_PER_TRANSACTION])
            except NotAnswered:
                raise Unavailable(NOT_STORED) from None
            verdicts += taken.verdicts
            expire_late(taken.late)
        return verdicts

    def _store_of(self, engine: Engine) -> Coalescer[Sequence[SentPing], _Taken]:
        return Coalescer(partial(self._store, engine), most=PINGS_PER_TRANSACTION, size=len)

    def _store(self, engine: Engine, lists: list[Sequence[SentPing]]) -> list[_Taken]:
        """Store the pings of several requests in one transaction."""
        with writing(engine) as connection:
            verdicts, late = self._fold(connection, [ping for pings in lists for ping in pings])
        each = iter(verdicts)
        taken = [_Taken(list(islice(each, len(pings)))) for pings in lists]
        # Whoever is first expires what all of them changed.
        taken[0] = replace(taken[0], late=late)
        return taken

    def _fold(
        self, connection: Connection, pings: Sequence[SentPing]
    ) -> tuple[list[Verdict], list[LateChange]]:
        sessions = _lock_sessions(connection, pings)
        verdicts, known = [], []
        for ping in pings:
            session = sessions.get((ping.company_id, ping.session_id))
            if session is None:
                verdicts.append(UNKNOWN)
            elif ping.login != session.login.name:
                verdicts.append(ELSEWHOSE)
            else:
                verdicts.append(CREATED)
                known.append(_ping(ping, session))
        return verdicts, fold(connection, known, self.grace, self.zone)


def _ping(sent: SentPing, session: Known) -> Ping:
    return Ping(
        session.number, session.login, sent.event, sent.at, sent.next_ping_sec, sent.arrived_at
    )


def _lock_sessions(
    connection: Connection, pings: Iterable[SentPing]
) -> dict[tuple[str, str], Known]:
    """Return the sessions pings name, by company and id, locked in one order everywhere."""
    wanted: dict[str, set[str]] = {}
    for ping in pings:
        wanted.setdefault(ping.company_id, set()).add(ping.session_id)
    found: dict[tuple[str, str], Known] = {}
    for company_id in sorted(wanted):
        ids = sorted(wanted[company_id])
        for first in range(0, len(ids), SESSIONS_PER_QUERY):
            some = ids[first : first + SESSIONS_PER_QUERY]
            for session_id, number, login_id, name, longest in lock_sessions(
                connection, company_id, some
            ):
                facts = LoginFacts(login_id, company_id, name, longest)
                found[company_id, session_id] = Known(number, facts)
    return found


def expire_late(changes: Iterable[LateChange]) -> None:
    """Expire the stored months that late pings have changed."""
    for change in changes:
        months.expire(
            company_id=change.company_id,
            kind=SLUG,
            subject=change.login,
            start=change.first,
            end=change.last,
        )


def grace_of(app: Flask) -> timedelta:
    """Return the gap between a promised end and the next ping that is closed."""
    return timedelta(seconds=app.config["SESSION_GRACE_SECONDS"])


def zone_of(app: Flask) -> ZoneInfo:
    """Return the zone whose days and months are counted."""
    return ZoneInfo(app.config["SESSION_TIMEZONE"])


def intake() -> Intake:
    """Return the one intake of this process and application."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    made: Intake = app.extensions.setdefault(SLUG, Intake(grace_of(app), zone_of(app)))
    return made
