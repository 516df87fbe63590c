"""Data-quality warnings: what looks wrong in streams that count all the same; never changed.

A load's streams are looked at once, when they are added up; those that programs send or change one
by one are looked at together, when somebody opens the page that shows it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, or_, select

from webapp.extensions import db
from webapp.kinds.label_revenue.ledger import (
    UnitOfWork,
    api_batch,
    find_api_batch,
    in_batch,
    partition_ids,
    unit_of_work,
)
from webapp.kinds.label_revenue.models import Batch, ListenerMonth, Stream
from webapp.lib.moments import utcnow
from webapp.lib.months import next_month
from webapp.lib.texts import counted

MOST_KEPT = 1000
DAY_SECONDS = 86_400


def batch_warnings(connection: Connection, batch: Batch) -> list[str]:
    """Return a sentence for each thing in a batch that a person should look at."""
    mine = in_batch(batch)
    found = _warnings(connection, batch, mine)
    parts = (Stream.user_id, Stream.date, Stream.track_id, Stream.seconds, Stream.region)
    times = select(func.count().label("n")).where(mine).group_by(*parts).subquery()
    again = connection.scalar(select(func.sum(times.c.n - 1)))
    if again:
        what = counted(int(again), "stream")
        found.append(f"{what} in the file a second time or more; all count.")
    return found


def mark_sent(work: UnitOfWork, changed: Iterable[int] = ()) -> None:
    """Remember that streams came or went one by one, and which ones of files were changed."""
    batch = api_batch(work)
    numbers = sorted({*batch.files["api"].get("changed", ()), *changed})[:MOST_KEPT]
    batch.files = {"api": {"is_new": True, "changed": numbers}}


def check_sent(company_id: str) -> None:
    """Look at the streams that programs sent or changed, where any did since the last look."""
    found = find_api_batch(company_id)
    if found is None or not found.files["api"] or not found.files["api"].get("is_new", True):
        return
    with unit_of_work(company_id) as work:
        batch = api_batch(work)
        changed = batch.files["api"].get("changed", [])
        ours = Stream.partition_id.in_(partition_ids(company_id))
        mine = or_(in_batch(batch), and_(ours, Stream.id.in_(changed)))
        batch.warnings = _warnings(work.connection, batch, mine)
        batch.files = {"api": {"is_new": False, "changed": changed}}


def last_day() -> date:
    """Return the last day that is not in the future anywhere: on earth one may be ahead of UTC."""
    return utcnow().date() + timedelta(days=1)


def _warnings(connection: Connection, batch: Batch, mine: Any) -> list[str]:
    """Return what is to be said of streams without time or yet to come, and of long days."""
    no_time, future = connection.execute(
        select(
            func.count().filter(Stream.seconds <= 0),
            func.count().filter(Stream.date > last_day()),
        ).where(mine)
    ).one()
    found = []
    if no_time:
        what = counted(no_time, "stream")
        found.append(f"{what} with zero or negative seconds: counted as no time.")
    if future:
        found.append(f"{counted(future, 'stream')} dated in the future.")
    if (days := _long_days(batch, mine)) is not None:
        first = connection.execute(days.order_by(Stream.date, Stream.user_id).limit(1)).first()
        count = connection.scalar(select(func.count()).select_from(days.subquery())) or 0
        if first is not None:
            more = f", and {count - 1:,} more such days" if count > 1 else ""
            found.append(f"Listener {first[1]} streamed more than 24 hours on {first[0]}{more}.")
    return found


def _long_days(batch: Batch, mine: Any) -> Select[date, int] | None:
    """Return the query of days longer than a day, with their listener; None where none can be.

    They are added up over all batches, and only of listeners whose sum of a month is longer than a
    day: mostly there are few.
    """
    busy = select(ListenerMonth.user_id).where(
        ListenerMonth.company_id == batch.company_id, ListenerMonth.seconds > DAY_SECONDS
    )
    ours: list[ColumnElement[bool]] = [Stream.partition_id.in_(partition_ids(batch.company_id))]
    if batch.first_month and batch.last_month:
        busy = busy.where(ListenerMonth.month.between(batch.first_month, batch.last_month))
        ours += [Stream.date >= batch.first_month, Stream.date < next_month(batch.last_month)]
    if db.session.execute(busy.limit(1)).first() is None:
        return None
    return (
        select(Stream.date, Stream.user_id)
        .where(*ours, Stream.user_id.in_(busy))
        .group_by(Stream.user_id, Stream.date)
        .having(func.sum(Stream.seconds) > DAY_SECONDS, func.max(case((mine, 1), else_=0)) == 1)
    )


def look_alikes(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return a sentence for each name that looks like another known one, but is not the same."""
    by_look: dict[str, set[str]] = {}
    for name in (*known, *(names := set(names))):
        by_look.setdefault(unicodedata.normalize("NFKC", name).casefold(), set()).add(name)
    return [
        f"The labels {' and '.join(repr(name) for name in sorted(alike))} differ only in case or "
        "in how their letters are written; they are paid separately."
        for alike in by_look.values()
        if len(alike) > 1 and alike & names
    ]
