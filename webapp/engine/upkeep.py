"""What kinds do beside reports: small upkeep every few seconds, large upkeep once a night.

The janitor calls; large upkeep runs in a worker, so that no lost report waits for it. Any number of
janitors may ask for the same night: a flag in Redis lets one of them through.
"""

from __future__ import annotations

import logging
from datetime import datetime

from flask import current_app
from redis.exceptions import RedisError

from webapp.engine.jobs import kinds
from webapp.engine.kind import ReportKind
from webapp.extensions import db, redis_client, report_queue
from webapp.lib.moments import utcnow

log = logging.getLogger(__name__)

NIGHT_BEGINS = 3
REMEMBERED_S = 2 * 86400


def run_maintenance() -> None:
    """Let every kind do its small upkeep."""
    for kind in kinds().values():
        kind.run_maintenance()


def ask_nightly(now: datetime | None = None) -> list[str]:
    """Ask for the large upkeep of today where nobody did; return the kinds asked for.

    A night that was slept through is made up for later that day. With Redis away: next time.
    """
    now = now or utcnow()
    if now.hour < NIGHT_BEGINS:
        return []
    slugs = [slug for slug, kind in kinds().items() if _has_nightly(kind)]
    return [slug for slug in slugs if _ask(slug, f"{now:%Y-%m-%d}")]


def _has_nightly(kind: ReportKind) -> bool:
    return type(kind).nightly is not ReportKind.nightly


def _ask(slug: str, day: str) -> bool:
    flag = f"{current_app.config['QUEUE']}:nightly:{slug}:{day}"
    try:
        if not redis_client().set(flag, 1, nx=True, ex=REMEMBERED_S):
            return False
        report_queue().enqueue_call(
            run_nightly,
            args=(slug,),
            timeout=current_app.config["REPORT_TIMEOUT_SECONDS"],
            result_ttl=3600,
            failure_ttl=86400,
            description=f"nightly upkeep of {slug}",
        )
    except RedisError as error:
        log.warning("nightly upkeep of %s waits for Redis: %s", slug, type(error).__name__)
        return False
    return True


def run_nightly(slug: str) -> None:
    """Do a kind's large upkeep: an RQ job, in a fork that needs database connections of its own."""
    db.engine.dispose(close=False)
    kind = kinds().get(slug)
    if kind is not None:
        kind.nightly()
