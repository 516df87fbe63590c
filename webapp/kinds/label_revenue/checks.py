"""What looks wrong in streams that were loaded all the same: said as warnings, never changed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, select

from webapp.extensions import utcnow
from webapp.kinds.label_revenue.models import Batch, Stream

DAY_SECONDS = 86_400


def batch_warnings(connection: Connection, batch: Batch) -> list[str]:
    """Return a sentence for each thing in a batch that a person should look at."""
    mine = and_(Stream.shelf_id == batch.shelf_id, Stream.batch_no == batch.no)
    # A listener anywhere on earth may be a day ahead of UTC.
    tomorrow = utcnow().date() + timedelta(days=1)
    odd, future = connection.execute(
        select(
            func.count().filter(Stream.seconds <= 0),
            func.count().filter(Stream.date > tomorrow),
        ).where(mine)
    ).one()
    found = []
    if odd:
        found.append(f"{_streams(odd)} with zero or negative seconds: counted as no time.")
    if future:
        found.append(f"{_streams(future)} dated in the future.")
    found += _long_days(connection, mine)
    found += _twice(connection, mine)
    return found


def _long_days(connection: Connection, mine: Any) -> list[str]:
    total = func.sum(Stream.seconds)
    days = (
        select(Stream.user_id, Stream.date, total.label("total"))
        .where(mine)
        .group_by(Stream.user_id, Stream.date)
        .having(total > DAY_SECONDS)
        .subquery()
    )
    count = connection.scalar(select(func.count()).select_from(days))
    if not count:
        return []
    example = connection.execute(
        select(days.c.user_id, days.c.date).order_by(days.c.date, days.c.user_id).limit(1)
    ).one()
    more = f", and {count - 1:,} more such days" if count > 1 else ""
    return [f"Listener {example[0]} streamed more than 24 hours on {example[1]}{more}."]


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
