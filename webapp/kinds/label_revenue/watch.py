"""What looks wrong in single streams that programs stored or changed, said as loads say theirs.

Streams without time or of the future are known by their number as they come. Whether a listener's
day is longer than a day is a look through all streams, so the days to look at are kept and looked
at together, when somebody opens the page that shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from sqlalchemy import func, select, tuple_

from webapp.kinds.label_revenue import checks
from webapp.kinds.label_revenue.books import (
    Writer,
    api_batch,
    find_api_batch,
    shelf_ids,
    writing,
)
from webapp.kinds.label_revenue.checks import DAY_SECONDS
from webapp.kinds.label_revenue.models import Batch, ListenerMonth, Stream

MOST_KEPT = 1000
PER_QUERY = 400
StreamRow = Mapping[str, Any]


def notice(
    writer: Writer, *, gone: Iterable[StreamRow] = (), come: Iterable[StreamRow] = ()
) -> None:
    """Keep what looks odd in streams as they are now, forget it of streams as they were.

    Called after the sums have moved.
    """
    gone, come = list(gone), list(come)
    found = find_api_batch(writer.company_id)
    before = _record(found)
    after = {name: set(kept) for name, kept in before.items()}
    for row in gone:
        after["odd"].discard(row["id"])
        after["future"].discard(row["id"])
    after["odd"] |= {row["id"] for row in come if row["seconds"] <= 0}
    after["future"] |= {row["id"] for row in come if row["date"] > checks.last_day()}
    days = {(row["user_id"], row["date"].isoformat()) for row in gone}
    after["ask"] |= days & after["days"]
    after["ask"] |= _long_enough(writer, come)
    if after != before:
        _keep(found or api_batch(writer), after)


def _long_enough(writer: Writer, rows: list[StreamRow]) -> set[tuple[int, str]]:
    """Return the days to look at: of listeners with more than a day's seconds in that month."""
    users = sorted({row["user_id"] for row in rows})
    months = {row["date"].replace(day=1) for row in rows}
    long: set[tuple[int, date]] = set()
    for first in range(0, len(users), PER_QUERY):
        query = select(ListenerMonth.user_id, ListenerMonth.month).where(
            ListenerMonth.company_id == writer.company_id,
            ListenerMonth.month.in_(months),
            ListenerMonth.user_id.in_(users[first : first + PER_QUERY]),
            ListenerMonth.seconds > DAY_SECONDS,
        )
        long |= {(user_id, month) for user_id, month in writer.connection.execute(query)}
    return {
        (row["user_id"], row["date"].isoformat())
        for row in rows
        if (row["user_id"], row["date"].replace(day=1)) in long
    }


def look(company_id: str) -> None:
    """Look at the days that were kept for it."""
    batch = find_api_batch(company_id)
    if batch is None or not _record(batch)["ask"]:
        return
    with writing(company_id) as writer:
        batch = api_batch(writer)
        record = _record(batch)
        record["days"] = (record["days"] - record["ask"]) | _too_long(writer, record["ask"])
        record["ask"] = set()
        _keep(batch, record)


def _too_long(writer: Writer, asked: set[tuple[int, str]]) -> set[tuple[int, str]]:
    pairs = [(user_id, date.fromisoformat(day)) for user_id, day in sorted(asked)]
    found: set[tuple[int, str]] = set()
    for first in range(0, len(pairs), PER_QUERY):
        query = (
            select(Stream.user_id, Stream.date)
            .where(
                Stream.shelf_id.in_(shelf_ids(writer.company_id)),
                tuple_(Stream.user_id, Stream.date).in_(pairs[first : first + PER_QUERY]),
            )
            .group_by(Stream.user_id, Stream.date)
            .having(func.sum(Stream.seconds) > DAY_SECONDS)
        )
        found |= {(row[0], row[1].isoformat()) for row in writer.connection.execute(query)}
    return found


def _record(batch: Batch | None) -> dict[str, set[Any]]:
    """Return what is kept of a batch: numbers of streams, and days as (listener, day)."""
    kept = (batch.files.get("api") if batch else None) or {}
    return {
        "odd": set(kept.get("odd", ())),
        "future": set(kept.get("future", ())),
        "days": {(user_id, day) for user_id, day in kept.get("days", ())},
        "ask": {(user_id, day) for user_id, day in kept.get("ask", ())},
    }


def _keep(batch: Batch, record: dict[str, set[Any]]) -> None:
    kept = {name: sorted(values)[:MOST_KEPT] for name, values in record.items() if values}
    batch.files = batch.files | {"api": kept}
    days = sorted((day, user_id) for user_id, day in record["days"])
    batch.warnings = [
        *checks.odd_seconds(len(record["odd"])),
        *checks.future_dates(len(record["future"])),
        *(checks.long_days(len(days), days[0][1], days[0][0]) if days else ()),
    ]
