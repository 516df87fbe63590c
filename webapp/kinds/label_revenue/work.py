<<<<<<< HEAD
"""Large batches are added up by a worker, after the transaction that loaded them.

The rows in the database say what is to be done, so a job may be lost or come twice.
=======
"""What workers do for this kind beside reports and loads: add up large batches.

Also the company's folder for copies of tracks, and the words for how far a load is.
>>>>>>> 074f1d9 (workers refuse every job that is not ours; all of them are jobs of a room)
"""

from __future__ import annotations

<<<<<<< HEAD
import logging

from redis.exceptions import RedisError

from webapp.extensions import db, report_queue
from webapp.kinds.label_revenue import sums

log = logging.getLogger(__name__)
PENDING_S = 21_600


def enqueue_pending(company_id: str) -> bool:
    """Let a worker add up what waits; False where Redis is away (the next reader does it)."""
    try:
        report_queue().enqueue_call(
            pending_job,
            args=(company_id,),
            timeout=PENDING_S,
            result_ttl=600,
            failure_ttl=86400,
            description="sums of label revenue",
        )
    except RedisError as error:
        log.warning("sums of label revenue wait for Redis: %s", type(error).__name__)
        return False
    return True
=======
from pathlib import Path
from typing import Any

from flask import current_app

from webapp import jobs
from webapp.kinds.label_revenue import sums

# What a load is doing, in words.
STAGES = {
    "streams": "Reading streams",
    "users": "Reading listeners",
    "tracks": "Reading tracks",
    "sums": "Adding up by month, listener and label",
}


def home(company_id: str) -> Path:
    """Return the company's folder for uploads and copies of tracks."""
    return Path(current_app.config["DATA_DIR"]) / "label_revenue" / company_id


def copies(company_id: str) -> Path:
    """Return where last good copies of tracks are kept."""
    return home(company_id) / "tracks"


def enqueue_pending(company_id: str) -> None:
    """Let a worker add up what waits, once the caller has committed."""
    jobs.start(SUMS.name, company_id=company_id, user_id=None, payload={}, key=company_id)


def add_up(attempt: jobs.Attempt, _payload: dict[str, Any]) -> None:
    """Add up a company's large batches."""
    sums.process_pending(attempt.company_id)
>>>>>>> 074f1d9 (workers refuse every job that is not ours; all of them are jobs of a room)


SUMS = jobs.Task("label-revenue-sums", add_up, noun="sum", kept_s=0)
