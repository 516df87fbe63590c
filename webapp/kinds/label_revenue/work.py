"""Large batches are added up by a worker, after the transaction that loaded them.

The rows in the database say what is to be done, so a job may be lost or come twice.
"""

from __future__ import annotations

from typing import Any

from webapp import jobs
from webapp.kinds.label_revenue import sums


def enqueue_pending(company_id: str) -> None:
    """Let a worker add up what waits, once the caller has committed."""
    jobs.start(SUMS.name, company_id=company_id, user_id=None, payload={}, key=company_id)


def add_up(attempt: jobs.Attempt, _payload: dict[str, Any]) -> None:
    """Add up a company's large batches."""
    sums.process_pending(attempt.company_id)


SUMS = jobs.Task("label-revenue-sums", add_up, noun="sum", kept_s=0)
