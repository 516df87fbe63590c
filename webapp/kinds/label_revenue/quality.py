"""Data-quality warnings: what looks wrong in streams that count all the same; never changed.

A load's streams are looked at once, when they are added up. Of single streams that programs send,
those without time or of the future are known by their number as they come. Whether a listener's day
is longer than a day is a look through all streams, so the days to look at are kept and looked at
together, when somebody opens the page that shows it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, case, func, or_, select, tuple_

from webapp.kinds.label_revenue.ledger import UnitOfWork, unit_of_work
from webapp.kinds.label_revenue.models import Batch, ListenerMonth, Stream
from webapp.kinds.label_revenue.partitions import (
    api_batch,
    beside,
    find_api_batch,
    in_batch,
    partition_ids,
)
from webapp.lib.moments import utcnow

MOST_KEPT = 1000
PER_QUERY = 400
StreamFields = Mapping[str, Any]
DAY_SECONDS = 86_400


def batch_warnings(connection: Connection, batch: Batch) -> list[str]:
    """Return a sentence for each thing in a batch that a person should look at."""
    mine = in_batch(batch)
    no_time, future = connection.execute(
        select(
            func.count().filter(Stream.seconds <= 0),
            func.count().filter(Stream.date > last_day()),
        ).where(mine)
    ).one()
    found = without_time(no_time) + future_dates(future)
    found += _long_days(connection, batch)
    found += _twice(connection, mine)
    return found


def last_day() -> date:
    """Return the last day that is not in the future anywhere: on earth one may be ahead of UTC."""
    return utcnow().date() + timedelta(days=1)


def without_time(count: int) -> list[str]:
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
    others = beside(connection, batch)
    long = [func.sum(Stream.seconds) > DAY_SECONDS]
    if others is not None:
        long.append(func.max(case((Stream.batch_no == batch.no, 1), else_=0)) == 1)
    mine = in_batch(batch)
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


def look_alikes(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return a sentence for each name that looks like another known one, but is not the same."""
    by_look: dict[str, set[str]] = {}
    for name in (*known, *(names := set(names))):
        by_look.setdefault(unicodedata.normalize("NFKC", name).casefold(), set()).add(name)
    return [
        f"The labels {' and '.join(repr(name) for name in sorted(alike))} differ only in case or "
        "in how their letters are written; they are paid apart."
        for alike in by_look.values()
        if len(alike) > 1 and alike & names
    ]


# Of single streams


def record_warnings(
    work: UnitOfWork, *, gone: Iterable[StreamFields] = (), come: Iterable[StreamFields] = ()
) -> None:
    """Keep what to warn of in streams as they are now, forget it of streams as they were.

    Called after the sums have moved.
    """
    gone, come = list(gone), list(come)
    found = find_api_batch(work.company_id)
    before = _record(found)
    after = {name: set(kept) for name, kept in before.items()}
    for row in gone:
        after["no_time"].discard(row["id"])
        after["future"].discard(row["id"])
    after["no_time"] |= {row["id"] for row in come if row["seconds"] <= 0}
    after["future"] |= {row["id"] for row in come if row["date"] > last_day()}
    days = {(row["user_id"], row["date"].isoformat()) for row in gone}
    after["ask"] |= days & after["days"]
    after["ask"] |= _long_enough(work, come)
    if after != before:
        _keep_record(found or api_batch(work), after)


def _long_enough(work: UnitOfWork, rows: list[StreamFields]) -> set[tuple[int, str]]:
    """Return the days to look at: of listeners with more than a day's seconds in that month."""
    users = sorted({row["user_id"] for row in rows})
    months = {row["date"].replace(day=1) for row in rows}
    long: set[tuple[int, date]] = set()
    for first in range(0, len(users), PER_QUERY):
        query = select(ListenerMonth.user_id, ListenerMonth.month).where(
            ListenerMonth.company_id == work.company_id,
            ListenerMonth.month.in_(months),
            ListenerMonth.user_id.in_(users[first : first + PER_QUERY]),
            ListenerMonth.seconds > DAY_SECONDS,
        )
        long |= {(user_id, month) for user_id, month in work.connection.execute(query)}
    return {
        (row["user_id"], row["date"].isoformat())
        for row in rows
        if (row["user_id"], row["date"].replace(day=1)) in long
    }


def check_long_days(company_id: str) -> None:
    """Look at the days that were kept for it."""
    batch = find_api_batch(company_id)
    if batch is None or not _record(batch)["ask"]:
        return
    with unit_of_work(company_id) as work:
        batch = api_batch(work)
        record = _record(batch)
        record["days"] = (record["days"] - record["ask"]) | _too_long(work, record["ask"])
        record["ask"] = set()
        _keep_record(batch, record)


def _too_long(work: UnitOfWork, asked: set[tuple[int, str]]) -> set[tuple[int, str]]:
    pairs = [(user_id, date.fromisoformat(day)) for user_id, day in sorted(asked)]
    found: set[tuple[int, str]] = set()
    for first in range(0, len(pairs), PER_QUERY):
        query = (
            select(Stream.user_id, Stream.date)
            .where(
                Stream.partition_id.in_(partition_ids(work.company_id)),
                tuple_(Stream.user_id, Stream.date).in_(pairs[first : first + PER_QUERY]),
            )
            .group_by(Stream.user_id, Stream.date)
            .having(func.sum(Stream.seconds) > DAY_SECONDS)
        )
        found |= {(row[0], row[1].isoformat()) for row in work.connection.execute(query)}
    return found


def _record(batch: Batch | None) -> dict[str, set[Any]]:
    """Return what is kept of a batch: numbers of streams, and days as (listener, day)."""
    kept = (batch.files.get("api") if batch else None) or {}
    return {
        "no_time": set(kept.get("no_time", kept.get("odd", ()))),
        "future": set(kept.get("future", ())),
        "days": {(user_id, day) for user_id, day in kept.get("days", ())},
        "ask": {(user_id, day) for user_id, day in kept.get("ask", ())},
    }


def _keep_record(batch: Batch, record: dict[str, set[Any]]) -> None:
    kept = {name: sorted(values)[:MOST_KEPT] for name, values in record.items() if values}
    batch.files = batch.files | {"api": kept}
    days = sorted((day, user_id) for user_id, day in record["days"])
    batch.warnings = [
        *without_time(len(record["no_time"])),
        *future_dates(len(record["future"])),
        *(long_days(len(days), days[0][1], days[0][0]) if days else ()),
    ]
