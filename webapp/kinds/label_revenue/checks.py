"""What looks wrong in streams that were loaded all the same: said as warnings, never changed."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, and_, case, func, or_, select

from webapp.kinds.label_revenue.models import Batch, ListenerMonth, Stream
from webapp.lib.moments import utcnow
from webapp.lib.months import next_month

DAY_SECONDS = 86_400


def batch_warnings(connection: Connection, batch: Batch) -> list[str]:
    """Return a sentence for each thing in a batch that a person should look at."""
    mine = and_(Stream.shelf_id == batch.shelf_id, Stream.batch_no == batch.no)
    odd, future = connection.execute(
        select(
            func.count().filter(Stream.seconds <= 0),
            func.count().filter(Stream.date > last_day()),
        ).where(mine)
    ).one()
    found = odd_seconds(odd) + future_dates(future)
    found += _long_days(connection, batch)
    found += _twice(connection, mine)
    return found


def last_day() -> date:
    """Return the last day that is not in the future anywhere: on earth one may be ahead of UTC."""
    return utcnow().date() + timedelta(days=1)


def odd_seconds(count: int) -> list[str]:
    """Return what is said of streams without time."""
    return [f"{_streams(count)} with zero or negative seconds: counted as no time."] * bool(count)


def future_dates(count: int) -> list[str]:
    """Return what is said of streams that are yet to come."""
    return [f"{_streams(count)} dated in the future."] * bool(count)


def long_days(count: int, user_id: int, day: date | str) -> list[str]:
    """Return what is said of days longer than a day: how many, and one of them."""
    more = f", and {count - 1:,} more such days" if count > 1 else ""
    return [f"Listener {user_id} streamed more than 24 hours on {day}{more}."] * bool(count)


def _long_days(connection: Connection, batch: Batch) -> list[str]:
    """Look at the days of a batch, whichever batches their streams came with.

    Only the days of listeners whose sum of a month is longer than a day: mostly there are few.
    """
    busy = select(ListenerMonth.user_id).where(
        ListenerMonth.company_id == batch.company_id,
        ListenerMonth.month.between(batch.first_month, batch.last_month),
        ListenerMonth.seconds > DAY_SECONDS,
    )
    if connection.execute(busy.limit(1)).first() is None:
        return []
    others = _beside(connection, batch)
    long = [func.sum(Stream.seconds) > DAY_SECONDS]
    if others is not None:
        long.append(func.max(case((Stream.batch_no == batch.no, 1), else_=0)) == 1)
    mine = and_(Stream.shelf_id == batch.shelf_id, Stream.batch_no == batch.no)
    days = (
        select(Stream.user_id, Stream.date)
        .where(mine if others is None else or_(mine, others), Stream.user_id.in_(busy))
        .group_by(Stream.user_id, Stream.date)
        .having(*long)
        .subquery()
    )
    count = connection.scalar(select(func.count()).select_from(days))
    if not count:
        return []
    example = connection.execute(
        select(days.c.user_id, days.c.date).order_by(days.c.date, days.c.user_id).limit(1)
    ).one()
    return long_days(count, example[0], example[1])


def _beside(connection: Connection, batch: Batch) -> Any:
    """Return the condition of other batches' streams in the same months; None without any."""
    if batch.first_month is None or batch.last_month is None:
        return None
    same_months = or_(
        Batch.first_month.is_(None),  # what programs send, any month
        and_(Batch.first_month <= batch.last_month, Batch.last_month >= batch.first_month),
    )
    others = connection.execute(
        select(Batch.no, Batch.shelf_id).where(
            Batch.company_id == batch.company_id,
            Batch.no != batch.no,
            Batch.streams > 0,
            Batch.undone_at.is_(None),
            Batch.shelf_id.is_not(None),
            same_months,
        )
    ).all()
    if not others:
        return None
    return and_(
        Stream.shelf_id.in_({shelf for _, shelf in others}),
        Stream.batch_no.in_([no for no, _ in others]),
        Stream.date >= batch.first_month,
        Stream.date < next_month(batch.last_month),
    )


def _twice(connection: Connection, mine: Any) -> list[str]:
    parts = (Stream.user_id, Stream.date, Stream.track_id, Stream.seconds, Stream.region)
    again = (
        select((func.count() - 1).label("more"))
        .where(mine)
        .group_by(*parts)
        .having(func.count() > 1)
        .subquery()
    )
    count = connection.scalar(select(func.coalesce(func.sum(again.c.more), 0)))
    return (
        [f"{_streams(int(count))} in the file a second time or more; all count."] if count else []
    )


def _streams(count: int) -> str:
    return "1 stream" if count == 1 else f"{count:,} streams"
