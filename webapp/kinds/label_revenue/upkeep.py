"""Sums behind a load's transaction, the proof of all that follows from loads, streams forgotten.

Large batches are added up by a worker. The rows in the database say what is to be done, so its job
may be lost or come twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from sqlalchemy import delete, select

from webapp import jobs
from webapp.engine.keeping import kept_from
from webapp.extensions import db
from webapp.kinds.label_revenue import sums
from webapp.kinds.label_revenue.in_force import work_out_everything
from webapp.kinds.label_revenue.ledger import BEGINNING, END, SLUG, UnitOfWork, unit_of_work
from webapp.kinds.label_revenue.models import (
    Batch,
    LabelInForce,
    Ledger,
    RepeatedStream,
    Stream,
    TermsInForce,
)
from webapp.kinds.label_revenue.partitions import drop_streams, partition_ids

STREAMS_PER_STEP = 10_000


def recount(company_id: str) -> list[tuple[str, int]]:
    """Work out again what is in force and the sums; put right what differs.

    Returns: each table that did not follow from what loads said, and how many rows differed
    """
    proved: tuple[Any, ...] = (TermsInForce, LabelInForce, *(model for model, _ in sums.SUMS))
    since = kept_from(SLUG)
    with unit_of_work(company_id) as work:
        sums.process_pending_within(work)
        processed = set(work.changed)
        before = {model: _content(work, model) for model in proved}
        work_out_everything(work)
        for model, _ in sums.SUMS:
            mine = (model.company_id == company_id) & (model.month >= since)
            work.connection.execute(delete(model).where(mine))
        sums.aggregate(work, [Stream.date >= since], +1)
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


def forget_streams(month: date) -> Iterator[int]:
    """Delete the streams before a month, whose sums stay; yield step by step, each committed."""
    for company_id in db.session.scalars(select(Ledger.company_id)).all():
        while gone := _forget_some(company_id, month):
            yield gone


def _forget_some(company_id: str, month: date) -> int:
    with unit_of_work(company_id) as work:
        sums.process_pending_within(work)
        whole = Batch.own_partition & Batch.partition_id.is_not(None) & (Batch.last_month < month)
        of_company = Batch.company_id == company_id
        if batch := db.session.scalar(select(Batch).where(of_company, whole).limit(1)):
            drop_streams(work, batch)
            batch.partition_id = None
            return batch.streams
        for partition_id in partition_ids(company_id):
            here = Stream.partition_id == partition_id
            old = select(Stream.id).where(here, Stream.date < month).limit(STREAMS_PER_STEP)
            if ids := db.session.scalars(old).all():
                db.session.execute(delete(Stream).where(here, Stream.id.in_(ids)))
                return len(ids)
        mine = RepeatedStream.company_id == company_id
        db.session.execute(delete(RepeatedStream).where(mine, RepeatedStream.date < month))
    return 0


def enqueue_pending(company_id: str) -> None:
    """Let a worker add up what waits, once the caller has committed."""
    jobs.start(SUMS.name, company_id=company_id, user_id=None, payload={}, key=company_id)


def add_up(attempt: jobs.Attempt, _payload: dict[str, Any]) -> None:
    """Add up a company's large batches."""
    sums.process_pending(attempt.company_id)


SUMS = jobs.Task("label-revenue-sums", add_up, noun="sum", kept_s=0)
