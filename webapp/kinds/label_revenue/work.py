"""Large batches are added up by a worker, after the transaction that loaded them.

The rows in the database say what is to be done, so a job may be lost or come twice.
"""

from __future__ import annotations

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


def pending_job(company_id: str) -> None:
    """Add up a company's large batches: an RQ job, in a fork with connections of its own."""
    db.engine.dispose(close=False)
    sums.process_pending(company_id)
