"""Streams that stand already when a load says them again: set aside, not thrown away.

A stream is the same when day, listener, track, region and seconds are, counted as often as it was
said: of a load that says it three times where two stand, one counts. What was set aside counts once
the load that said it first is undone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Integer, and_, delete, func, insert, literal, or_, select, tuple_

from webapp.extensions import db
from webapp.kinds.label_revenue import sums
from webapp.kinds.label_revenue.ledger import UnitOfWork, in_batch, partition_ids, temporary_table
from webapp.kinds.label_revenue.models import Batch, RepeatedStream, Stream
from webapp.kinds.label_revenue.rows import StreamRow
from webapp.lib.batches import batched
from webapp.lib.months import next_month

IDENTITY = ("date", "user_id", "track_id", "region", "seconds")
COPIED = ("id", "batch_no", *IDENTITY)
ROWS_PER_QUERY = 150


def _numbered(model: Any, where: Any) -> Any:
    """Return streams with their place among those that are the same, 1 for the first."""
    same = [getattr(model, name) for name in IDENTITY]
    place = func.row_number().over(partition_by=same, order_by=model.id).label("place")
    return select(model.id, *same, place).where(where).subquery()


def _standing(condition: Any) -> Any:
    """Return how often each stream of other batches stands."""
    same = [getattr(Stream, name) for name in IDENTITY]
    return select(*same, func.count().label("times")).where(condition).group_by(*same).subquery()


def _same(one: Any, other: Any) -> Any:
    return and_(*(one.c[name] == other.c[name] for name in IDENTITY))


def count_standing(company_id: str, rows: Collection[StreamRow]) -> int:
    """Return how many of some streams stand already, counted as often as they are said."""
    said = Counter(tuple(getattr(row, name) for name in IDENTITY) for row in rows)
    same = [getattr(Stream, name) for name in IDENTITY]
    count = 0
    for chunk in batched(sorted(said), ROWS_PER_QUERY):
        query = (
            select(*same, func.count())
            .where(
                Stream.partition_id.in_(partition_ids(company_id)),
                Stream.date.between(chunk[0][0], chunk[-1][0]),
                tuple_(*same).in_(chunk),
            )
            .group_by(*same)
        )
        for *identity, times in db.session.execute(query):
            count += min(times, said[tuple(identity)])
    return count


def set_aside(work: UnitOfWork, batch: Batch) -> int:
    """Set aside the streams of a new batch that stand already; return how many."""
    others = beside(work.connection, batch)
    if others is None:
        return 0
    mine, standing = _numbered(Stream, in_batch(batch)), _standing(others)
    again = (
        select(mine.c.id)
        .join(standing, _same(mine, standing))
        .where(mine.c.place <= standing.c.times)
    )
    owner = literal(work.company_id, RepeatedStream.company_id.type)
    rows = select(owner, *(getattr(Stream, name) for name in COPIED)).where(
        in_batch(batch), Stream.id.in_(again)
    )
    aside = select(RepeatedStream.id).where(_aside(batch))
    gone = delete(Stream).where(in_batch(batch), Stream.id.in_(aside))
    with work.whole_tables():
        work.connection.execute(insert(RepeatedStream).from_select(["company_id", *COPIED], rows))
        return work.connection.execute(gone).rowcount


def bring_back(work: UnitOfWork, undone: Batch) -> None:
    """Let streams count that later loads said, too, after a batch and its streams are gone."""
    later = select(Batch).where(
        Batch.company_id == work.company_id,
        Batch.no > undone.no,
        Batch.undone_at.is_(None),
        Batch.repeated > 0,
    )
    for batch in db.session.scalars(later.order_by(Batch.no)).all():
        _count_again(work, batch)


def _count_again(work: UnitOfWork, batch: Batch) -> None:
    """Let a batch's streams count that were set aside and stand nowhere before it."""
    mine = _numbered(RepeatedStream, _aside(batch))
    query = select(mine.c.id)
    if (earlier := beside(work.connection, batch, earlier=True)) is not None:
        standing = _standing(earlier)
        times = func.coalesce(standing.c.times, 0)
        query = query.outerjoin(standing, _same(mine, standing)).where(mine.c.place > times)
    with work.whole_tables(), temporary_table(work, "label_revenue_back", query) as back:
        ids = select(back.c.id)
        coming = and_(_aside(batch), RepeatedStream.id.in_(ids))
        columns = [getattr(RepeatedStream, name) for name in COPIED]
        rows = select(literal(batch.partition_id, Integer), *columns).where(coming)
        work.connection.execute(insert(Stream).from_select(["partition_id", *COPIED], rows))
        count = work.connection.execute(delete(RepeatedStream).where(coming)).rowcount
        if count:
            sums.aggregate(work, [in_batch(batch), Stream.id.in_(ids)], +1)
        batch.streams += count
        batch.repeated -= count


def forget(work: UnitOfWork, batch: Batch) -> None:
    """Remove what was set aside of a batch."""
    work.connection.execute(delete(RepeatedStream).where(_aside(batch)))


def _aside(batch: Batch) -> Any:
    return and_(RepeatedStream.company_id == batch.company_id, RepeatedStream.batch_no == batch.no)


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
    conditions = [
        Stream.partition_id.in_({partition_id for _, partition_id in others}),
        Stream.batch_no.in_([no for no, _ in others]),
        Stream.date >= batch.first_month,
        Stream.date < next_month(batch.last_month),
    ]
    if earlier:
        # What programs send has one number, whenever it comes; ids are given in order of arrival.
        came = select(func.min(RepeatedStream.id)).where(_aside(batch)).scalar_subquery()
        conditions.append(Stream.id < came)
    return and_(*conditions)
