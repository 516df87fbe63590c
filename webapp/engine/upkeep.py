"""The janitor: lost jobs every few seconds, what expired every hour, what kinds do beside reports.

Kinds have small upkeep, which the janitor does itself, and large upkeep once a night, which runs in
a worker, so that no lost job waits for it. Of any number of janitors one works; when it is silent
for a while, the next one does.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, current_app
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from webapp import installation, jobs
from webapp.accounts import audit_log
from webapp.databases import reason_of
from webapp.engine import months, retention
from webapp.engine.kind import ReportKind
from webapp.engine.registry import kinds
from webapp.extensions import db
from webapp.jobs import janitor
from webapp.lib.moments import utcnow

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 3.0
JANITOR = "janitor"
# After this time without a sign of the one that works, another one does.
TURN = timedelta(seconds=10)
# Longer than a turn: its upkeep may take it a while.
SILENT_TOO_LONG = timedelta(seconds=30)
TIDY_EVERY = timedelta(hours=1)
NIGHT_BEGINS = 3
# Stands for them where a kind's name stands otherwise.
ROOMS = "rooms"
REMEMBERED_S = 2 * 86400


def add_maintenance(app: Flask, run: Callable[[], object]) -> None:
    """Let the janitor do something for a room above this one, each time it looks around."""
    app.extensions.setdefault("maintenance", []).append(run)


def add_nightly(app: Flask, run: Callable[[], object]) -> None:
    """Let a worker do something large once a night for a room above this one."""
    app.extensions.setdefault("nightly", []).append(run)


def run_maintenance() -> None:
    """Let every kind, and rooms above, do their small upkeep."""
    for kind in kinds().values():
        kind.run_maintenance()
    for run in current_app.extensions.get("maintenance", ()):
        run()


def ask_nightly(now: datetime | None = None) -> list[str]:
    """Ask for the large upkeep of today where nobody did; return of whom. Commits.

    A night that was slept through is made up for later that day.
    """
    now = now or utcnow()
    if now.hour < NIGHT_BEGINS:
        return []
    busy = [
        slug
        for slug, kind in kinds().items()
        if type(kind).nightly is not ReportKind.nightly or retention.months_kept(kind)
    ]
    keys = {f"{name} {now:%Y-%m-%d}": name for name in (*busy, ROOMS)}
    asked = select(jobs.Job.key).where(jobs.Job.task == NIGHTLY.name, jobs.Job.key.in_(keys))
    for key in db.session.scalars(asked):
        keys.pop(key or "", None)
    for key, name in keys.items():
        start_nightly(name, key)
    # Also where nobody had to be asked: the look ends here and holds no connection.
    db.session.commit()
    return list(keys.values())


def start_nightly(name: str, key: str) -> None:
    """Ask for the large upkeep of a kind or of ROOMS, once a key; the caller commits."""
    jobs.start(NIGHTLY.name, company_id=None, user_id=None, payload={"kind": name}, key=key)


def run_nightly(attempt: jobs.Attempt, payload: dict[str, Any]) -> None:
    """Do the large upkeep of a kind, which may be no more, or that of all rooms above."""
    name = payload["kind"]
    if kind := kinds().get(name):
        kind.nightly()
        retention.forget(kind, attempt.check)
    for run in current_app.extensions.get("nightly", ()) if name == ROOMS else ():
        run()


NIGHTLY = jobs.Task("nightly", run_nightly, noun="upkeep", kept_s=REMEMBERED_S)


def tidy(now: datetime | None = None) -> None:
    """Delete reports and audit entries older than they are kept, months that expired a day ago."""
    now = now or utcnow()
    janitor.drop_ended(now)
    months.drop_expired(now - timedelta(days=1))
    db.session.commit()
    audit_log.drop_old_entries(now - timedelta(days=current_app.config["AUDIT_KEPT_DAYS"]))


def loop(app: Flask, stop: threading.Event | None = None) -> None:
    """Sweep and run maintenance until told to stop; an absent database is waited for."""
    stop = stop or threading.Event()
    me = uuid.uuid4().hex
    tidied = utcnow() - TIDY_EVERY
    wait_s = 0.0
    while not stop.is_set():
        try:
            # After an outage of the database workers get to renew their leases first.
            stop.wait(wait_s)
            wait_s = 0.0
            with app.app_context():
                if not installation.take_turn(JANITOR, me, TURN):
                    stop.wait(SWEEP_EVERY_S)
                    continue
                janitor.sweep()
                run_maintenance()
                ask_nightly()
                if utcnow() - tidied >= TIDY_EVERY:
                    tidy()
                    tidied = utcnow()
        except SQLAlchemyError as error:
            log.warning("the janitor waits for the database: %s", reason_of(error))
            with app.app_context():
                while not stop.wait(1.0) and not _database_answers():
                    pass
            wait_s = min(app.config["LEASE_SECONDS"] / 4, 5.0)
        stop.wait(SWEEP_EVERY_S)
    with app.app_context(), suppress(SQLAlchemyError):
        installation.end_turn(JANITOR, me)


def _database_answers() -> bool:
    try:
        db.session.execute(select(1))
    except SQLAlchemyError:
        db.session.remove()
        return False
    return True
