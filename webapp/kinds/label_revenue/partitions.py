"""Where streams stand: partitions, and which streams of them are whose.

On Postgres a large batch has a partition of its own; everything else of a company stands in its
shared one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, delete, or_, select, text

from webapp.extensions import db
from webapp.kinds.label_revenue.ledger import UnitOfWork
from webapp.kinds.label_revenue.models import Batch, Partition, Stream
from webapp.lib.months import next_month


def new_partition(work: UnitOfWork) -> int:
    """Return the number of a new partition; on Postgres it still needs its table."""
    partition = Partition(company_id=work.company_id)
    db.session.add(partition)
    db.session.flush()
    return partition.id


def shared_partition(work: UnitOfWork) -> int:
    """Return the partition of single streams and small batches, made on first use."""
    if work.ledger.shared_partition is None:
        partition_id = new_partition(work)
        if work.is_postgres:
            work.connection.execute(
                text(
                    f"CREATE TABLE {partition_table(partition_id)} "
                    f"PARTITION OF label_revenue_stream FOR VALUES IN ({partition_id})"
                )
            )
            index_partition(work, partition_id, "btree (id)")
        work.ledger.shared_partition = partition_id
        db.session.flush()
    return work.ledger.shared_partition


def index_partition(work: UnitOfWork, partition_id: int, numbers: str) -> None:
    """Build a partition's indexes: of its streams' numbers, in a form that fits, and of dates."""
    table = partition_table(partition_id)
    for statement in (
        "SET LOCAL maintenance_work_mem = '256MB'",
        f"CREATE INDEX {table}_id ON {table} USING {numbers}",
        f"CREATE INDEX {table}_date ON {table} (date, id)",
    ):
        work.connection.execute(text(statement))


def partition_table(partition_id: int) -> str:
    """Return the name of a partition's table on Postgres."""
    return f"label_revenue_stream_{int(partition_id)}"


def partition_ids(company_id: str) -> list[int]:
    """Return the partitions of a company: every query of streams names them."""
    query = select(Partition.id).where(Partition.company_id == company_id)
    return list(db.session.scalars(query))


def forget_partition(work: UnitOfWork, partition_id: int) -> None:
    """Give up a partition that has no table."""
    work.connection.execute(delete(Partition).where(Partition.id == partition_id))


# Batches and their streams


def in_batch(batch: Batch) -> Any:
    """Return the condition that a stream belongs to a batch."""
    return and_(Stream.partition_id == batch.partition_id, Stream.batch_no == batch.no)


def batches(company_id: str, limit: int = 200) -> list[Batch]:
    """Return a company's batches, newest first."""
    query = select(Batch).where(Batch.company_id == company_id)
    return list(db.session.scalars(query.order_by(Batch.no.desc()).limit(limit)))


def drop_streams(work: UnitOfWork, batch: Batch) -> None:
    """Remove the streams of a batch, with its partition where it has one of its own."""
    if not batch.own_partition or batch.partition_id is None:
        work.connection.execute(delete(Stream).where(in_batch(batch)))
        return
    if work.is_postgres:
        work.connection.execute(text(f"DROP TABLE {partition_table(batch.partition_id)}"))
    forget_partition(work, batch.partition_id)


def beside(connection: Connection, batch: Batch, *, earlier: bool = False) -> Any:
    """Return the condition of other batches' streams in the months of a batch; None without any.

    earlier: only of batches that came before it
    """
    if batch.first_month is None or batch.last_month is None:
        return None
    same_months = or_(
        Batch.first_month.is_(None),  # what programs send, any month
        and_(Batch.first_month <= batch.last_month, Batch.last_month >= batch.first_month),
    )
    others = connection.execute(
        select(Batch.no, Batch.partition_id).where(
            Batch.company_id == batch.company_id,
            Batch.no < batch.no if earlier else Batch.no != batch.no,
            Batch.streams > 0,
            Batch.undone_at.is_(None),
            Batch.partition_id.is_not(None),
            same_months,
        )
    ).all()
    if not others:
        return None
    return and_(
        Stream.partition_id.in_({partition_id for _, partition_id in others}),
        Stream.batch_no.in_([no for no, _ in others]),
        Stream.date >= batch.first_month,
        Stream.date < next_month(batch.last_month),
    )


def find_api_batch(company_id: str) -> Batch | None:
    """Return the batch of streams that programs send, if there is one."""
    return db.session.scalar(
        select(Batch).where(
            Batch.company_id == company_id,
            Batch.streams_hash.is_(None),
            Batch.undone_at.is_(None),
            Batch.partition_id.is_not(None),
            Batch.own_partition.is_(False),
        )
    )


def api_batch(work: UnitOfWork) -> Batch:
    """Return the batch of streams that programs send, made on first use."""
    found = find_api_batch(work.company_id)
    if found is None:
        partition_id = shared_partition(work)
        found = Batch(company_id=work.company_id, files={"api": {}}, partition_id=partition_id)
        db.session.add(found)
        db.session.flush()
    return found
