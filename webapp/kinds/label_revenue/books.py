"""A company's book: who writes waits here for the others, and every change marks its months.

All writes of this kind go through `writing`: one transaction that holds the company's book, marks
the months it touched, expires what was stored of them, and commits it all together or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, delete, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from webapp.engine import months as stored_months
from webapp.extensions import db
from webapp.kinds.label_revenue.models import (
    Batch,
    Book,
    Label,
    LabelMonth,
    MonthMark,
    Period,
    Shelf,
)

SLUG = "label-revenue"
BEGINNING = date(1970, 1, 1)
DEFAULT_SHARES = {"web": "0.90", "app_store": "0.70"}
DEFAULT_CURRENCY = "EUR"


def upsert(connection: Connection, table: Any) -> Any:
    """Return the dialect's INSERT that can say what to do about a row that is there already."""
    postgres = connection.dialect.name == "postgresql"
    return postgresql.insert(table) if postgres else sqlite.insert(table)


@dataclass
class Writer:
    """One company's open transaction: its book, held, and the months it touched so far."""

    company_id: str
    connection: Connection
    book: Book
    touched: set[date]
    from_month: date | None = None

    @property
    def is_postgres(self) -> bool:
        return self.connection.dialect.name == "postgresql"

    def touch(self, months: Iterable[date]) -> None:
        """Mark single months as changed."""
        self.touched.update(months)

    def touch_from(self, month: date) -> None:
        """Mark every month from this one on as changed."""
        self.from_month = min(self.from_month or month, month)


@contextmanager
def writing(company_id: str) -> Iterator[Writer]:
    """Open the company's book for a change; commit at the end, undo everything on an error."""
    connection = db.session.connection()
    try:
        connection.execute(
            upsert(connection, Book)
            .values(company_id=company_id, revision=1, next_id=1)
            .on_conflict_do_update(
                index_elements=["company_id"], set_={"revision": Book.revision + 1}
            )
        )
        book = db.session.get_one(Book, company_id, populate_existing=True)
        writer = Writer(company_id, connection, book, set())
        yield writer
        db.session.flush()
        _mark(writer)
        _expire(writer)
        db.session.commit()
    except BaseException:
        db.session.rollback()
        raise


def _mark(writer: Writer) -> None:
    bumped = {"revision": MonthMark.revision + 1, "changed": True}
    if writer.touched:
        statement = upsert(writer.connection, MonthMark)
        writer.connection.execute(
            statement.on_conflict_do_update(index_elements=["company_id", "month"], set_=bumped),
            [
                {"company_id": writer.company_id, "month": month, "revision": 1, "changed": True}
                for month in sorted(writer.touched)
            ],
        )
    if writer.from_month:
        writer.connection.execute(
            update(MonthMark)
            .where(MonthMark.company_id == writer.company_id, MonthMark.month >= writer.from_month)
            .values(bumped)
        )


def _expire(writer: Writer) -> None:
    """Forget stored months; the engine's call commits, so it comes last."""
    if writer.from_month:
        start, end = min(writer.touched | {writer.from_month}), None
    elif writer.touched:
        start, end = min(writer.touched), max(writer.touched)
    else:
        return
    stored_months.expire(company_id=writer.company_id, kind=SLUG, start=start, end=end)


def month_mark(company_id: str, month: date) -> MonthMark | None:
    """Return a month's mark as it is now."""
    return db.session.get(MonthMark, (company_id, month), populate_existing=True)


def months_with_streams(company_id: str) -> list[date]:
    """Return the months that have streams, oldest first."""
    query = select(LabelMonth.month).where(LabelMonth.company_id == company_id).distinct()
    return list(db.session.scalars(query.order_by(LabelMonth.month)))


@dataclass(frozen=True)
class Settings:
    """What holds in a month: the share of each origin, and the currency."""

    shares: Mapping[str, Decimal]
    currency: str


def settings_for(company_id: str, month: date) -> Settings:
    """Return the settings that hold in a month: the newest that began by then, else defaults."""
    period = db.session.scalar(
        select(Period)
        .where(Period.company_id == company_id, Period.from_month <= month)
        .order_by(Period.from_month.desc())
        .limit(1)
    )
    shares = period.shares if period else DEFAULT_SHARES
    currency = period.currency if period else DEFAULT_CURRENCY
    return Settings({origin: Decimal(share) for origin, share in shares.items()}, currency)


def periods(company_id: str) -> list[Period]:
    """Return the company's settings, newest first."""
    query = select(Period).where(Period.company_id == company_id)
    return list(db.session.scalars(query.order_by(Period.from_month.desc())))


def origins(company_id: str) -> frozenset[str]:
    """Return the origins a users file may name: those that have a share in some period."""
    return frozenset(DEFAULT_SHARES).union(*(period.shares for period in periods(company_id)))


def label_ids(writer: Writer, names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of labels by name, made where they are new."""
    wanted = sorted(set(names))
    for first in range(0, len(wanted), 500):
        rows = [
            {"company_id": writer.company_id, "name": name} for name in wanted[first : first + 500]
        ]
        writer.connection.execute(
            upsert(writer.connection, Label).on_conflict_do_nothing(
                index_elements=["company_id", "name"]
            ),
            rows,
        )
    found: dict[str, int] = {}
    for first in range(0, len(wanted), 500):
        query = select(Label.name, Label.id).where(
            Label.company_id == writer.company_id, Label.name.in_(wanted[first : first + 500])
        )
        found |= {row.name: row.id for row in writer.connection.execute(query)}
    return found


def new_shelf(writer: Writer) -> int:
    """Return the number of a new shelf; on Postgres it still needs its partition."""
    shelf = Shelf(company_id=writer.company_id)
    db.session.add(shelf)
    db.session.flush()
    return shelf.id


def loose_shelf(writer: Writer) -> int:
    """Return the shelf of single streams and small batches, made on first use."""
    if writer.book.loose_shelf is None:
        shelf_id = new_shelf(writer)
        if writer.is_postgres:
            writer.connection.execute(
                text(
                    f"CREATE TABLE {partition(shelf_id)} PARTITION OF label_revenue_stream "
                    f"FOR VALUES IN ({shelf_id})"
                )
            )
            index_shelf(writer, shelf_id, "btree (id)")
        writer.book.loose_shelf = shelf_id
        db.session.flush()
    return writer.book.loose_shelf


def index_shelf(writer: Writer, shelf_id: int, numbers: str) -> None:
    """Build a shelf's indexes: of its streams' numbers, in a form that fits, and for the list."""
    table = partition(shelf_id)
    for statement in (
        "SET LOCAL maintenance_work_mem = '256MB'",
        f"CREATE INDEX {table}_id ON {table} USING {numbers}",
        f"CREATE INDEX {table}_date ON {table} (date, id)",
    ):
        writer.connection.execute(text(statement))


def partition(shelf_id: int) -> str:
    """Return the name of a shelf's table on Postgres."""
    return f"label_revenue_stream_{int(shelf_id)}"


def take_ids(writer: Writer, count: int) -> list[int]:
    """Return numbers for new streams, each used once."""
    first = writer.book.next_id
    writer.book.next_id = first + count
    db.session.flush()
    return list(range(first, first + count))


def shelf_ids(company_id: str) -> list[int]:
    """Return the shelves of a company: every query of streams names them."""
    return list(db.session.scalars(select(Shelf.id).where(Shelf.company_id == company_id)))


def drop_shelf(writer: Writer, shelf_id: int) -> None:
    """Remove a shelf with all that stands on it."""
    if writer.is_postgres:
        writer.connection.execute(text(f"DROP TABLE {partition(shelf_id)}"))
    forget_shelf(writer, shelf_id)


def forget_shelf(writer: Writer, shelf_id: int) -> None:
    """Give up a shelf that has no partition."""
    writer.connection.execute(delete(Shelf).where(Shelf.id == shelf_id))


def find_api_batch(company_id: str) -> Batch | None:
    """Return the batch of streams that programs send, if there is one."""
    return db.session.scalar(
        select(Batch).where(
            Batch.company_id == company_id,
            Batch.streams_hash.is_(None),
            Batch.undone_at.is_(None),
            Batch.shelf_id.is_not(None),
            Batch.own_shelf.is_(False),
        )
    )


def api_batch(writer: Writer) -> Batch:
    """Return the batch of streams that programs send, made on first use."""
    found = find_api_batch(writer.company_id)
    if found is None:
        shelf_id = loose_shelf(writer)
        found = Batch(company_id=writer.company_id, files={"api": {}}, shelf_id=shelf_id)
        db.session.add(found)
        db.session.flush()
    return found
