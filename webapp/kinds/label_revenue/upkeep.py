"""Sums behind a load's transaction, and the proof of all that follows from loads.

Large batches are added up by a worker. The rows in the database say what is to be done, so its job
may be lost or come twice.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select

from webapp import jobs
from webapp.kinds.label_revenue import sums
from webapp.kinds.label_revenue.in_force import work_out_everything
from webapp.kinds.label_revenue.ledger import BEGINNING, END, UnitOfWork, unit_of_work
from webapp.kinds.label_revenue.models import LabelInForce, TermsInForce


def recount(company_id: str) -> list[tuple[str, int]]:
    """Work out again what is in force and the sums; put right what differs.

    Returns: each table that did not follow from what loads said, and how many rows differed
    """
    proved: tuple[Any, ...] = (TermsInForce, LabelInForce, *(model for model, _ in sums.SUMS))
    with unit_of_work(company_id) as work:
        sums.process_pending_within(work)
        processed = set(work.changed)
        before = {model: _content(work, model) for model in proved}
        work_out_everything(work)
        for model, _ in sums.SUMS:
            work.connection.execute(delete(model).where(model.company_id == company_id))
        sums.aggregate(work, [], +1)
        found: list[tuple[str, int]] = []
        for model in proved:
            if wrong := len(before[model] ^ _content(work, model)):
                found.append((model.__tablename__, wrong))
        if not found:
            # Only what was added up just now has changed; other revisions must stay.
            work.changed &= processed
            work.changed_spans.clear()
        else:
            work.changed_spans.append((BEGINNING, END))
    return found


def _content(work: UnitOfWork, model: Any) -> set[int]:
    """Return a digest of each row, so that millions of them fit in memory."""
    query = select(model.__table__).where(model.company_id == work.company_id)
    rows = work.connection.execute(query, execution_options={"yield_per": 5000})
    return {hash(tuple(row)) for row in rows}


def enqueue_pending(company_id: str) -> None:
    """Let a worker add up what waits, once the caller has committed."""
    jobs.start(SUMS.name, company_id=company_id, user_id=None, payload={}, key=company_id)


def add_up(attempt: jobs.Attempt, _payload: dict[str, Any]) -> None:
    """Add up a company's large batches."""
    sums.process_pending(attempt.company_id)


SUMS = jobs.Task("label-revenue-sums", add_up, noun="sum", kept_s=0)
