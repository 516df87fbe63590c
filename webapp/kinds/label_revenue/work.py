"""What workers do for this kind beside reports: add up large batches, load uploaded files.

Jobs carry ids; the rows in the database say what is to be done, so a job may be lost or come twice.
Progress of an upload goes to Redis: the loading transaction holds the database's write lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from flask import current_app
from redis.exceptions import RedisError

from webapp.extensions import db, report_queue
from webapp.jobs.transport import forget as forget_job
from webapp.kinds.label_revenue import sums

log = logging.getLogger(__name__)
PROGRESS_KEPT_S = 3600
PROGRESS_EVERY_S = 0.5
# What a load is doing, in words.
STAGES = {
    "streams": "Reading streams",
    "users": "Reading listeners",
    "tracks": "Reading tracks",
    "sums": "Adding up by month, listener and label",
}
STREAMS_PER_JOB_S = 21_600


def home(company_id: str) -> Path:
    """Return the company's folder for uploads and copies of tracks."""
    return Path(current_app.config["DATA_DIR"]) / "label_revenue" / company_id


def copies(company_id: str) -> Path:
    """Return where last good copies of tracks are kept."""
    return home(company_id) / "tracks"


def enqueue_pending(company_id: str) -> bool:
    """Let a worker add up what waits; False where Redis is away (the next reader does it)."""
    return _enqueue(pending_job, company_id, "sums of label revenue")


def _enqueue(
    job: Callable[[str], None], argument: str, description: str, job_id: str | None = None
) -> bool:
    try:
        if job_id is not None:
            forget_job(job_id)
        report_queue().enqueue_call(
            job,
            args=(argument,),
            job_id=job_id,
            timeout=STREAMS_PER_JOB_S,
            result_ttl=600,
            failure_ttl=86400,
            description=description,
        )
    except RedisError as error:
        log.warning("%s waits for Redis: %s", description, type(error).__name__)
        return False
    return True


def pending_job(company_id: str) -> None:
    """Add up a company's large batches: an RQ job, in a fork with connections of its own."""
    db.engine.dispose(close=False)
    sums.process_pending(company_id)
