"""Pings taken in. Every ping is durable when it is answered, and many share a transaction.

The more pings come at once, the fewer commits each of them costs, and a quiet server answers as
fast as one commit allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from itertools import chain, islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

from flask import Flask
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from webapp.engine import months
from webapp.errors import Unavailable
from webapp.extensions import db, this_app
from webapp.kinds.session_activity.aggregate import LateChange, Ping, aggregate
from webapp.kinds.session_activity.models import SLUG, Login
from webapp.kinds.session_activity.names import ids_of, key_of
from webapp.kinds.session_activity.segments import SessionFacts, lock_sessions, open_transaction
from webapp.lib.batches import batched
from webapp.lib.coalescer import Coalescer, NotAnswered

PINGS_PER_TRANSACTION = 2000


class Verdict(NamedTuple):
    """What became of a ping: an HTTP status and a sentence."""

    status: int
    message: str


CREATED = Verdict(201, "Created")
UNKNOWN = Verdict(404, "There is no such session.")
ELSEWHOSE = Verdict(400, "The session belongs to another login.")
NOT_STORED = "The ping could not be stored. Keep it and send it again in a moment."
# What became of the pings of one request, and the months over that its transaction changed.
Taken = tuple[list[Verdict], Sequence[LateChange]]


class Intake:
    """Takes the pings of all requests of this process and stores them together."""

    def __init__(self, grace: timedelta, zone: ZoneInfo) -> None:
        self.grace, self.zone = grace, zone
        self._stores: dict[Engine, Coalescer[Sequence[Ping], Taken]] = {}

    def take(self, engine: Engine, pings: Sequence[Ping]) -> list[Verdict]:
        """Store pings durably and return a verdict for each, in their order.

        To be called without a database connection in hand: the writer needs one of the pool, and
        those who wait for it must not hold them all.
        Raises: Unavailable when they could not be stored; earlier thousands of a long list may be
        """
        store = self._stores.get(engine) or self._stores.setdefault(
            engine, Coalescer(partial(self._store, engine), most=PINGS_PER_TRANSACTION, size=len)
        )
        verdicts: list[Verdict] = []
        for some in batched(pings, PINGS_PER_TRANSACTION):
            try:
                taken, late = store.ask(some)
            except NotAnswered:
                raise Unavailable(NOT_STORED) from None
            verdicts += taken
            expire_late(late)
        return verdicts

    def _store(self, engine: Engine, lists: list[Sequence[Ping]]) -> list[Taken]:
        """Store the pings of several requests in one transaction."""
        pings = list(chain.from_iterable(lists))
        with open_transaction(engine) as connection:
            sessions = _lock_sessions(connection, pings)
            known = _strange_logins(connection, pings, sessions)
            verdicts, good = [], []
            for ping in pings:
                session = sessions.get((ping.company_id, ping.session_id))
                if session is None:
                    verdicts.append(UNKNOWN)
                elif session.login_id == known.get((ping.company_id, ping.login), session.login_id):
                    verdicts.append(CREATED)
                    ping.session = session
                    good.append(ping)
                else:
                    verdicts.append(ELSEWHOSE)
            late: Sequence[LateChange] = aggregate(connection, good, self.grace, self.zone)
        each = iter(verdicts)
        # Whoever is first expires what all of them changed.
        return [
            (list(islice(each, len(one))), () if place else late) for place, one in enumerate(lists)
        ]


def _lock_sessions(
    connection: Connection, pings: Sequence[Ping]
) -> dict[tuple[str, str], SessionFacts]:
    """Return the sessions pings name, by company and id; locked."""
    wanted: dict[str, set[str]] = {}
    for ping in pings:
        wanted.setdefault(ping.company_id, set()).add(ping.session_id)
    return {
        (company_id, session.id): session
        for company_id, ids in sorted(wanted.items())
        for session in lock_sessions(connection, company_id, sorted(ids))
    }


def _strange_logins(
    connection: Connection, pings: Sequence[Ping], sessions: dict[tuple[str, str], SessionFacts]
) -> dict[tuple[str, str], int | None]:
    """Return whom logins mean that are not simply the name of their session's login."""
    strange: dict[str, set[str]] = {}
    for ping in pings:
        session = sessions.get((ping.company_id, ping.session_id))
        if session and ping.login != session.login and key_of(ping.login) != key_of(session.login):
            strange.setdefault(ping.company_id, set()).add(ping.login)
    return {
        (company_id, login): found.get(login)
        for company_id, logins in strange.items()
        for found in [ids_of(connection, Login, company_id, logins)]
        for login in logins
    }


def expire_late(changes: Sequence[LateChange]) -> None:
    """Expire the stored months that late pings have changed."""
    for company_id, login, first, last in changes:
        months.expire(company_id=company_id, kind=SLUG, subject=login, start=first, end=last)
    if changes:
        db.session.commit()


def zone_of(app: Flask) -> ZoneInfo:
    """Return the zone whose days and months are counted."""
    return ZoneInfo(app.config["SESSION_TIMEZONE"])


def intake() -> Intake:
    """Return the one intake of this process and application."""
    app = this_app()
    made: Intake | None = app.extensions.get(SLUG)
    if made is None:
        # Between a promised end and the next ping, so long a gap is closed.
        grace = timedelta(seconds=app.config["SESSION_GRACE_SECONDS"])
        made = app.extensions.setdefault(SLUG, Intake(grace, zone_of(app)))
    return made
