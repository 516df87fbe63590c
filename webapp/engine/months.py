"""Stored months: find the fresh ones, save, expire. The calendar as such is `lib/months.py`.

A month is a `date` on day 1, written `2025-03`. Only months that were closed when they were counted
are kept, and only until `expires_at`; the value keeps the moment it was counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select
from sqlalchemy.engine import Engine

from webapp.engine.models import StoredMonth
from webapp.errors import InvalidParams
from webapp.extensions import db, rows_changed
from webapp.lib.batches import batched
from webapp.lib.bodies import UNSTORABLE
from webapp.lib.moments import utcnow
from webapp.lib.months import is_closed
from webapp.lib.texts import storable
from webapp.lib.upserts import upsert


@dataclass(frozen=True)
class StoredValue:
    """One stored value and the moment it was counted (aware UTC)."""

    value: Any
    counted_at: datetime


_VALUES = (StoredMonth.item, StoredMonth.month, StoredMonth.value, StoredMonth.counted_at)


class MonthStore:
    """The stored months of one company and one kind.

    `writing` opens the transaction of a save; a run hands in one that is fenced by its attempt.
    `retrying` does it all again while the database is away; a run waits, a page does not.
    `count` is told how many were `stored` and used, and how many `counted` anew.
    """

    def __init__(
        self,
        engine: Engine,
        company_id: str,
        kind: str,
        kept_days: float,
        writing: Callable[[], AbstractContextManager[Connection]] | None = None,
        retrying: Callable[[Callable[[], Any]], Any] = lambda work: work(),
        count: Callable[..., None] = lambda *_labels, **_by: None,
    ) -> None:
        self._engine = engine
        self._company_id = company_id
        self._kind = kind
        self._kept = timedelta(days=kept_days)
        self._writing = writing or engine.begin
        self._retrying = retrying
        self._tally = count

    def fresh(
        self, subject: str, items: Iterable[str], start: date, end: date
    ) -> dict[tuple[str, date], StoredValue]:
        """Return the values that have not expired, by (item, month), `end` included."""
        wanted = list(items)

        def read() -> dict[tuple[str, date], StoredValue]:
            found = {}
            fresh = select(*_VALUES).where(
                *self._of(subject),
                StoredMonth.month.between(start, end),
                StoredMonth.expires_at > utcnow(),
            )
            with self._engine.connect() as connection:
                for some in batched(wanted):
                    rows = connection.execute(fresh.where(StoredMonth.item.in_(some)))
                    for item, month, value, counted_at in rows:
                        found[item, month] = StoredValue(value, counted_at)
            return found

        found: dict[tuple[str, date], StoredValue] = self._retrying(read)
        self._tally("stored", by=len(found))
        return found

    def save(self, subject: str, values: Iterable[tuple[str, date, Any, datetime]]) -> int:
        """Keep `(item, month, value, counted_at)`, replacing what was there; return how many.

        A month that was not closed when it was counted is left out: it would be wrong later.
        An older count never replaces a newer one.
        """
        rows = [
            {
                "company_id": self._company_id,
                "kind": self._kind,
                "subject": subject,
                "item": item,
                "month": month,
                "value": value,
                "counted_at": counted_at,
                "expires_at": counted_at + self._kept,
            }
            for item, month, value, counted_at in values
            if is_closed(month, counted_at)
        ]

        def write() -> None:
            with self._writing() as connection:
                statement = upsert(connection, StoredMonth)
                new = {
                    name: statement.excluded[name] for name in ("value", "counted_at", "expires_at")
                }
                newer = StoredMonth.counted_at <= new["counted_at"]
                key = ["company_id", "kind", "subject", "item", "month"]
                connection.execute(
                    statement.on_conflict_do_update(index_elements=key, set_=new, where=newer), rows
                )

        if rows:
            self._retrying(write)
            self._tally("counted", by=len(rows))
        return len(rows)

    def drop(
        self, subject: str, items: Iterable[str], is_wrong: Callable[[str, date, StoredValue], bool]
    ) -> None:
        """Forget those values of items of which `is_wrong` (item, month, value) says so."""
        wanted, mine = list(items), self._of(subject)

        def write() -> None:
            with self._writing() as connection:
                for some in batched(wanted):
                    rows = select(*_VALUES).where(*mine, StoredMonth.item.in_(some))
                    for item, month, value, counted_at in connection.execute(rows).all():
                        if is_wrong(item, month, StoredValue(value, counted_at)):
                            one = (StoredMonth.item == item, StoredMonth.month == month)
                            connection.execute(delete(StoredMonth).where(*mine, *one))

        self._retrying(write)

    def _of(self, subject: str) -> tuple[Any, ...]:
        """Return the conditions of what this store keeps of a subject."""
        return (
            StoredMonth.company_id == self._company_id,
            StoredMonth.kind == self._kind,
            StoredMonth.subject == subject,
        )


def expire(
    *,
    company_id: str | None,
    kind: str | None = None,
    subject: str | None = None,
    start: date | None = None,
    end: date | None = None,
) -> int:
    """Force stored months to expire, in the caller's session, and return how many did.

    company_id: None means every company (the operator's command)
    subject:    a partner ID, or the ID of one of its sites
    start, end: months, both included
    Raises: InvalidParams for a subject no database can compare
    """
    if subject and not storable(subject):
        raise InvalidParams({"subject": UNSTORABLE})
    conditions: list[Any] = []
    if company_id is not None:
        conditions.append(StoredMonth.company_id == company_id)
    if kind:
        conditions.append(StoredMonth.kind == kind)
    if subject:
        conditions.append(or_(StoredMonth.subject == subject, StoredMonth.item == subject))
    if start:
        conditions.append(StoredMonth.month >= start)
    if end:
        conditions.append(StoredMonth.month <= end)
    count = select(func.count()).select_from(StoredMonth)
    fresh = db.session.scalar(count.where(*conditions, StoredMonth.expires_at > utcnow()))
    db.session.execute(delete(StoredMonth).where(*conditions))
    return fresh or 0


def stored_overview(company_id: str) -> Iterator[dict[str, Any]]:
    """Yield what is stored, a row per kind and subject, for the page that lists it.

    Shape: kind, subject, items, values, first_month, last_month, oldest_count, first_expiry
    """
    rows = db.session.execute(
        select(
            StoredMonth.kind,
            StoredMonth.subject,
            func.count(StoredMonth.item.distinct()).label("items"),
            func.count().label("values"),
            func.min(StoredMonth.month).label("first_month"),
            func.max(StoredMonth.month).label("last_month"),
            func.min(StoredMonth.counted_at).label("oldest_count"),
            func.min(StoredMonth.expires_at).label("first_expiry"),
        )
        .where(StoredMonth.company_id == company_id, StoredMonth.expires_at > utcnow())
        .group_by(StoredMonth.kind, StoredMonth.subject)
        .order_by(StoredMonth.kind, StoredMonth.subject)
    )
    for row in rows:
        yield dict(row._mapping)


def first_stored(company_id: str, kind: str) -> date | None:
    """Return the first month of which a company has fresh values of a kind, None without any."""
    mine = (StoredMonth.company_id == company_id) & (StoredMonth.kind == kind)
    fresh = mine & (StoredMonth.expires_at > utcnow())
    return db.session.scalar(select(func.min(StoredMonth.month)).where(fresh))


def drop_expired(before: datetime) -> int:
    """Delete months that expired before the moment; return how many. The caller commits."""
    return rows_changed(delete(StoredMonth).where(StoredMonth.expires_at < before))
