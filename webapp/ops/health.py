"""Whether the parts of this installation work: each check has a name and a sentence.

Checks are quick and independent: one part being away must not hide how the others are.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import current_app
from redis.exceptions import RedisError
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from webapp import installation
from webapp.databases import FULL, QUEUE_AWAY, READ_ONLY, is_newest, trouble_of
from webapp.engine import upkeep
from webapp.engine.models import QUEUED, Report
from webapp.extensions import MIGRATIONS, db, quick_redis
from webapp.lib.moments import utcnow
from webapp.ops.workers import live_workers, this_machine

JANITOR_AWAY = "The janitor is not running: lost reports wait, and nothing expires."
LEAST_FREE_BYTES = 10 * 2**20


@dataclass(frozen=True)
class Check:
    """One part: whether it works, and a sentence for who looks after it."""

    name: str
    ok: bool
    detail: str


def checks() -> list[Check]:
    """Return every check, in the order in which a fault spreads."""
    database = _database()
    migrations = _migrations() if database.ok else Check("migrations", False, "Not looked at.")
    return [database, _disk(), migrations, *_redis_and_workers(), janitor()]


def queue() -> dict[str, float] | None:
    """Return how many reports are `waiting`, the oldest since how many seconds (`oldest_s`).

    None where the database does not say.
    """
    try:
        waiting, oldest = db.session.execute(
            select(func.count(), func.min(Report.queued_at)).where(Report.status == QUEUED)
        ).one()
    except SQLAlchemyError:
        db.session.rollback()
        return None
    age_s = (utcnow() - oldest).total_seconds() if oldest else 0.0
    return {"waiting": waiting, "oldest_s": round(max(age_s, 0.0), 1)}


def status_of(found: list[Check]) -> str:
    """Return ok; degraded where reports are still made; unavailable where they are not."""
    missing = {check.name for check in found if not check.ok}
    if not missing:
        return "ok"
    return "degraded" if missing == {"janitor"} else "unavailable"


def as_json(found: list[Check], waiting: dict[str, float] | None) -> dict[str, Any]:
    """Return the checks as `/readyz` shows them."""
    return {
        "status": status_of(found),
        "checks": {check.name: {"ok": check.ok, "detail": check.detail} for check in found},
        "queue": waiting,
    }


def _database() -> Check:
    try:
        is_sqlite = db.engine.url.get_backend_name() == "sqlite"
        trouble = _trouble_of_file() if is_sqlite else _trouble_of_server()
    except SQLAlchemyError as error:
        trouble = trouble_of(error) or f"The database does not answer ({type(error).__name__})."
    db.session.rollback()
    return Check("database", trouble is None, trouble or "The database answers.")


def _trouble_of_file() -> str | None:
    db.session.execute(text("SELECT 1"))
    file = Path(db.engine.url.database or "")
    if not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):
        return READ_ONLY
    return FULL if shutil.disk_usage(file.parent).free < LEAST_FREE_BYTES else None


def _trouble_of_server() -> str | None:
    """Return whether it is read-only; a full disk is raised by what does not fit into memory.

    That goes to the disk as tables do, and leaves nothing there.
    """
    db.session.execute(text("SELECT set_config('work_mem', '64kB', true)"))
    db.session.execute(text("SELECT count(*) FROM generate_series(1, 10000)"))
    setting = db.session.scalar(text("SELECT current_setting('transaction_read_only')"))
    return None if setting == "off" else READ_ONLY


def _disk() -> Check:
    """Look at the disk of DATA_DIR, where the embedded database and Redis write."""
    folder = current_app.config["DATA_DIR"]
    try:
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        return Check("disk", False, f"DATA_DIR does not exist ({type(error).__name__}).")
    if free_bytes < LEAST_FREE_BYTES:
        return Check("disk", False, "The disk of DATA_DIR is full: make room.")
    if not os.access(folder, os.W_OK):
        return Check("disk", False, "DATA_DIR cannot be written: read-only, or not ours.")
    return Check("disk", True, f"{free_bytes // 2**20} MiB are free.")


def _migrations() -> Check:
    try:
        newest = is_newest(db.engine, MIGRATIONS)
    except SQLAlchemyError as error:
        sentence = f"The database's version cannot be read ({type(error).__name__})."
        return Check("migrations", False, sentence)
    sentence = "up to date." if newest else "not up to date: run `flask db upgrade`."
    return Check("migrations", newest, f"The database is {sentence}")


def worker_of_this_machine() -> Check:
    """Return whether a worker of this machine, or of this container, is alive."""
    try:
        alive = live_workers(quick_redis(), current_app.config["QUEUE"])
    except RedisError as error:
        return Check("worker", False, _trouble_of_redis(error))
    here = [worker for worker in alive if worker.name.startswith(f"{this_machine()}.")]
    return Check("worker", bool(here), f"{len(here)} alive on this machine.")


def janitor() -> Check:
    """Return whether a janitor has worked lately."""
    try:
        silence = installation.silence_of(upkeep.JANITOR)
    except SQLAlchemyError:
        db.session.rollback()
        return Check("janitor", False, "Not known without the database.")
    if silence is None or silence > upkeep.SILENT_TOO_LONG:
        return Check("janitor", False, JANITOR_AWAY)
    return Check("janitor", True, f"It worked {max(silence.total_seconds(), 0):.0f} s ago.")


def _redis_and_workers() -> tuple[Check, Check]:
    client = quick_redis()
    try:
        # Not a ping: who has no memory left answers that, and takes no report.
        client.set(f"{current_app.config['QUEUE']}:ready", "", ex=60)
        alive = len(live_workers(client, current_app.config["QUEUE"]))
    except RedisError as error:
        trouble = _trouble_of_redis(error)
        return Check("redis", False, trouble), Check("worker", False, "Not known without Redis.")
    none = "No worker is alive: queued reports wait until one is started."
    worker = Check("worker", alive > 0, f"{alive} alive." if alive else none)
    return Check("redis", True, "Redis answers."), worker


def _trouble_of_redis(error: RedisError) -> str:
    trouble = trouble_of(error)
    if trouble in {None, QUEUE_AWAY}:
        trouble = f"Redis does not answer ({type(error).__name__})."
    return str(trouble)
