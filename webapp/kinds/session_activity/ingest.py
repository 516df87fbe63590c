"""Pings taken in. Every ping is durable when it is answered, and many share a transaction.

The more pings come at once, the fewer commits each of them costs, and a quiet server answers as
fast as one commit allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, islice
from zoneinfo import ZoneInfo

from flask import Flask, current_app
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from webapp.engine import months
from webapp.errors import Unavailable
from webapp.extensions import db
from webapp.kinds.session_activity.aggregate import LateChange, LoginFacts, Ping, aggregate
from webapp.kinds.session_activity.segments import lock_sessions, open_transaction
from webapp.lib.coalescer import Coalescer, NotAnswered

SLUG = "session-activity"
PINGS_PER_TRANSACTION = 2000


@dataclass(frozen=True)
class SentPing:
    """A ping as a computer sent it, readable and within bounds.

    at:      when it was, by our clock where `sent_at` told how far theirs is off
    said_at: when it was by their clock, where that is another time
    lag_s:   by how many seconds it came after its time, of pings that come singly
    """

    company_id: str
    session_id: str
    event: str
    login: str
    at: datetime
    next_ping_sec: int
    arrived_at: datetime
    said_at: datetime | None = None
    lag_s: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of a ping: an HTTP status and a sentence."""

    status: int
    message: str


CREATED = Verdict(201, "Created")
UNKNOWN = Verdict(404, "There is no such session.")
ELSEWHOSE = Verdict(400, "The session belongs to another login.")
UNKNOWN_SESSION = (0, None, None)
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
        with open_transaction(engine) as connection:
            verdicts, late = self._aggregate(connection, list(chain.from_iterable(lists)))
        each = iter(verdicts)
        taken = [_Taken(list(islice(each, len(pings)))) for pings in lists]
        # Whoever is first expires what all of them changed.
        taken[0] = replace(taken[0], late=late)
        return taken

    def _aggregate(
        self, connection: Connection, sent: Sequence[SentPing]
    ) -> tuple[list[Verdict], list[LateChange]]:
        sessions = _lock_sessions(connection, sent)
        verdicts, pings = [], []
        for one in sent:
            number, login, lag_s = sessions.get((one.company_id, one.session_id), UNKNOWN_SESSION)
            if login is None:
                verdicts.append(UNKNOWN)
            elif one.login != login.name:
                verdicts.append(ELSEWHOSE)
            else:
                verdicts.append(CREATED)
                pings.append(
                    Ping(
                        number,
                        login,
                        one.event,
                        one.at,
                        one.next_ping_sec,
                        one.arrived_at,
                        one.said_at,
                        one.lag_s,
                        lag_s,
                    )
                )
        return verdicts, aggregate(connection, pings, self.grace, self.zone)


def _lock_sessions(
    connection: Connection, pings: Iterable[SentPing]
) -> dict[tuple[str, str], tuple[int, LoginFacts, int | None]]:
    """Return number, login and lag of the sessions pings name, by company and id; locked."""
    wanted: dict[str, set[str]] = {}
    for ping in pings:
        wanted.setdefault(ping.company_id, set()).add(ping.session_id)
    return {
        (company_id, session_id): (number, LoginFacts(login_id, company_id, name, longest), lag)
        for company_id, ids in sorted(wanted.items())
        for session_id, number, lag, login_id, name, longest in lock_sessions(
            connection, company_id, sorted(ids)
        )
    }


def expire_late(changes: Sequence[LateChange]) -> None:
    """Expire the stored months that late pings have changed."""
    for change in changes:
        months.expire(
            company_id=change.company_id,
            kind=SLUG,
            subject=change.login,
            start=change.first,
            end=change.last,
        )
    if changes:
        db.session.commit()


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
