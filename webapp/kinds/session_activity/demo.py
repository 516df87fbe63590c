"""A made-up company's logins at work: two months of sessions, and one that is online now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from flask import current_app

from webapp.extensions import db
from webapp.kinds.session_activity.aggregate import SESSION, Ping
from webapp.kinds.session_activity.ingest import intake, zone_of
from webapp.kinds.session_activity.models import Computer, Login
from webapp.kinds.session_activity.names import add_names, find
from webapp.kinds.session_activity.sessions import begin
from webapp.lib.moments import utcnow

DAYS_BACK = 60
PROMISE_S = 1800
STEP = timedelta(seconds=PROMISE_S)


@dataclass(frozen=True)
class Worker:
    """Somebody's working day: when it begins, how many half hours, which of them are a meeting."""

    login: str
    computer: str
    begins: time
    half_hours: int
    lunch: int
    meeting: range


WORKERS = (
    Worker("ada", "pc-1", time(8, 30), 17, 7, range(2, 4)),
    Worker("grace", "pc-2", time(9, 0), 15, 6, range(2, 4)),
    Worker("linus", "pc-3", time(13, 0), 8, 99, range(0)),
)
MEETING = "zoom-meeting"


def make_demo(company_id: str) -> int:
    """Store the sessions of a company that has no logins of the demo yet; return how many."""
    if find(db.session, Login, company_id, WORKERS[0].login) is not None:
        return 0
    add_names(Login, company_id, [one.login for one in WORKERS])
    add_names(Computer, company_id, [one.computer for one in WORKERS])
    now = utcnow().replace(microsecond=0)
    begun = 0
    pings: list[Ping] = []
    for start, worker in _working_days(now):
        session_id = f"demo-{worker.login}-{start:%Y-%m-%d}"
        begun += _begin(company_id, session_id, worker, start, now)
        for number in range(1, worker.half_hours):
            if number == worker.lunch:
                continue  # nobody is at the computer: a gap of half an hour
            event, at = MEETING if number in worker.meeting else SESSION, start + number * STEP
            pings.append(Ping(company_id, session_id, event, worker.login, at, PROMISE_S, now))
    intake().take(db.engine, pings)
    return begun + _begin(company_id, "demo-ada-now", WORKERS[0], now, now)


def _working_days(now: datetime) -> Iterator[tuple[datetime, Worker]]:
    """Yield the start of each worker's day, up to yesterday, weekends left out."""
    zone = zone_of(current_app)
    for back in range(DAYS_BACK, 0, -1):
        day = (now.astimezone(zone) - timedelta(days=back)).date()
        if day.weekday() < 5:
            for worker in WORKERS:
                yield datetime.combine(day, worker.begins, zone), worker


def _begin(company_id: str, session_id: str, worker: Worker, at: datetime, now: datetime) -> bool:
    first = Ping(company_id, session_id, SESSION, worker.login, at, PROMISE_S, now)
    return begin(db.engine, first, worker.computer, "192.0.2.17", intake())
