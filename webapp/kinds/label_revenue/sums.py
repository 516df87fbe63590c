"""Monthly sums: kept up to date as streams change, and after streams are forgotten.

Small changes move the sums in their own transaction. A batch of millions is committed first, marked
`summed=False`, and added by a worker or by the next reader, whoever comes first
(`process_pending`). A stream counts for the label that is in force for its track in its month.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    Select,
    and_,
    case,
    cast,
    delete,
    func,
    literal,
    select,
)

from webapp import jobs
from webapp.extensions import db
from webapp.kinds.label_revenue.bulk import drop_given_up
from webapp.kinds.label_revenue.ledger import (
    UnitOfWork,
    drop_streams,
    in_batch,
    index_partition,
    partition_ids,
    partition_table,
    temporary_table,
    unit_of_work,
)
from webapp.kinds.label_revenue.models import (
    UNLABELLED,
    Batch,
    LabelInForce,
    LabelMonth,
    Ledger,
    ListenerLabelMonth,
    ListenerMonth,
    RepeatedStream,
    Stream,
    TermsInForce,
)
from webapp.kinds.label_revenue.quality import batch_warnings
from webapp.lib.upserts import upsert

LABELS: Any = LabelInForce.__table__
SUMS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (ListenerLabelMonth, ("month", "user_id", "label_id")),
    (ListenerMonth, ("month", "user_id")),
    (LabelMonth, ("month", "label_id")),
)


def label_of_stream(company_id: str, labels: Any = LABELS) -> Any:
    """Return the condition that joins a stream to its track's label in its month."""
    return and_(
        labels.c.company_id == company_id,
        labels.c.track_id == Stream.track_id,
        labels.c.from_month <= Stream.date,
        labels.c.until_month > Stream.date,
    )


def _grouped(work: UnitOfWork, where: Iterable[Any], labels: Any) -> Select[Any]:
    """Return the query that adds up a company's streams by month, listener and label."""
    month: ColumnElement[date] = func.date(Stream.date, "start of month", type_=Date)
    if work.is_postgres:
        month = cast(func.date_trunc("month", cast(Stream.date, DateTime)), Date)
    label_id = func.coalesce(labels.c.label_id, UNLABELLED)
    heard = case((Stream.seconds > 0, Stream.seconds), else_=0)
    return (
        select(
            month.label("month"),
            Stream.user_id.label("user_id"),
            label_id.label("label_id"),
            cast(func.sum(heard), BigInteger).label("seconds"),
            func.count().label("streams"),
        )
        .select_from(Stream)
        .outerjoin(labels, label_of_stream(work.company_id, labels))
        .where(Stream.partition_id.in_(partition_ids(work.company_id)), *where)
        .group_by(month, Stream.user_id, label_id)
    )


def aggregate(work: UnitOfWork, where: Iterable[Any], sign: int, labels: Any = LABELS) -> None:
    """Add the streams of a condition to the sums, or take them out.

    They are added up once, into a temporary table that all three sums are moved by.

    labels: what is in force for tracks, where it is not what the database says now
    """
    connection = work.connection
    if work.is_postgres:
        work.execute("SET LOCAL work_mem = '256MB'")
    query = _grouped(work, where, labels)
    with temporary_table(work, "label_revenue_aggregate", query) as added:
        months = set(connection.scalars(select(added.c.month).distinct()))
        seconds = cast(func.sum(added.c.seconds) * sign, BigInteger)
        streams = cast(func.sum(added.c.streams) * sign, BigInteger)
        for model, keys in SUMS:
            picked = [added.c[key] for key in keys]
            rows = (
                select(literal(work.company_id, model.company_id.type), *picked, seconds, streams)
                .where(added.c.streams > 0)
                .group_by(*picked)
                .order_by(*picked)
            )
            names = ["company_id", *keys, "seconds", "streams"]
            adding = upsert(connection, model).from_select(names, rows)
            new = adding.excluded
            connection.execute(
                adding.on_conflict_do_update(
                    index_elements=["company_id", *keys],
                    set_={
                        "seconds": model.seconds + new.seconds,
                        "streams": model.streams + new.streams,
                    },
                )
            )
            if sign < 0:
                empty = (model.company_id == work.company_id, model.streams == 0)
                connection.execute(delete(model).where(*empty, model.month.in_(months)))
    work.changed |= months


def pending(company_id: str) -> list[Batch]:
    """Return the batches whose sums are still to be added."""
    query = select(Batch).where(Batch.company_id == company_id, Batch.summed.is_(False))
    return list(db.session.scalars(query))


def process_pending(company_id: str) -> None:
    """Add the sums of batches that wait for it. Safe to call at any time."""
    if pending(company_id):
        with unit_of_work(company_id) as work:
            process_pending_within(work)


def process_pending_within(work: UnitOfWork) -> None:
    """Add the sums that wait, in a transaction that is open already."""
    for batch in pending(work.company_id):
        if batch.own_partition and batch.partition_id is not None:
            # Numbers rise from the first row to the last: a block range index finds one of them.
            index_partition(work, batch.partition_id, "brin (id) WITH (pages_per_range = 16)")
            # Let Postgres see what a large batch changed; its plans are for empty tables else. It
            # holds them to the end: without waiting, or two companies wait for each other.
            in_force = (TermsInForce.__tablename__, LabelInForce.__tablename__)
            tables = (partition_table(batch.partition_id), *in_force)
            work.execute(*(f"ANALYZE (SKIP_LOCKED) {table}" for table in tables))
        with work.whole_tables():
            aggregate(work, [in_batch(batch)], +1)
            found = batch_warnings(work.connection, batch)
        batch.warnings = list(dict.fromkeys([*batch.warnings, *found]))
        batch.summed = True
        if batch.own_partition:
            work.execute(*(f"ANALYZE (SKIP_LOCKED) {model.__tablename__}" for model, _ in SUMS))


def add_up(attempt: jobs.Attempt, _payload: dict[str, Any]) -> None:
    """Add up a company's large batches."""
    process_pending(attempt.company_id)


STREAMS_PER_STEP = 10_000


def forget_streams(month: date) -> Iterator[int]:
    """Delete the streams before a month, whose sums stay; yield step by step, each committed."""
    for company_id in db.session.scalars(select(Ledger.company_id)).all():
        while gone := _forget_some(company_id, month):
            yield gone
    drop_given_up()


def _forget_some(company_id: str, month: date) -> int:
    with unit_of_work(company_id) as work:
        process_pending_within(work)
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


ADD_UP = jobs.Task("label-revenue-sums", add_up, noun="sum", kept_s=0)
