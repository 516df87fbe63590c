"""A company's ledger: who writes waits here for the others, and every change marks its months.

All writes of this kind go through `unit_of_work`: one transaction that holds the company's ledger,
marks the accounting periods it changed, expires what was stored of them, and commits it all
together or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import (
    Connection,
    CreateTableAs,
    DropTable,
    Select,
    and_,
    delete,
    or_,
    select,
    text,
    update,
)

from webapp.accounts import Scope, audit
from webapp.engine import months as stored_months
from webapp.extensions import db
from webapp.kinds.label_revenue.models import (
    AccountingPeriod,
    Batch,
    Label,
    LabelMonth,
    Ledger,
    Partition,
    PeriodEvent,
    Stream,
)
from webapp.lib.batches import batched
from webapp.lib.months import next_month
from webapp.lib.upserts import upsert

SLUG = "label-revenue"
BEGINNING, END = date(1970, 1, 1), date(9999, 12, 1)


@dataclass
class UnitOfWork:
    """One company's open transaction: its ledger, held, and the months it changed so far.

    by:     who changes something: a person, a user's id, or None for a command
    changed_spans: first month, and the one before which it ends
    reason: what is written beside a locked month that it changes, and the page to look at
    """

    company_id: str
    connection: Connection
    ledger: Ledger
    changed: set[date] = field(default_factory=set)
    changed_spans: list[tuple[date, date]] = field(default_factory=list)
    by: Scope | str | None = None
    reason: str = ""
    link: str = ""
    entries: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_postgres(self) -> bool:
        return self.connection.dialect.name == "postgresql"

    def execute(self, *statements: str) -> None:
        """Run statements as they are written, for what only Postgres knows."""
        for statement in statements:
            self.connection.execute(text(statement))

    @contextmanager
    def whole_tables(self) -> Iterator[None]:
        """Let Postgres join by going through both sides once, in the block.

        It does not know yet how many rows this transaction wrote; taking them for few, it would go
        through one side for each row of the other.
        """
        if self.is_postgres:
            self.execute("SET LOCAL enable_nestloop TO off")
        yield
        if self.is_postgres:
            self.execute("SET LOCAL enable_nestloop TO DEFAULT")

    @property
    def user_id(self) -> str | None:
        return self.by.user_id if isinstance(self.by, Scope) else self.by

    def record(self, action: str, subject: str) -> None:
        """Write who did what into the audit log, in the transaction of the change itself."""
        self.entries.append((action, subject))
        self.reason = self.reason or f"{action} {subject}"


@contextmanager
def unit_of_work(company_id: str, by: Scope | str | None = None) -> Iterator[UnitOfWork]:
    """Open the company's ledger for a change; commit at the end, undo everything on an error."""
    connection = db.session.connection()
    try:
        connection.execute(
            upsert(connection, Ledger)
            .values(company_id=company_id, revision=1, next_id=1)
            .on_conflict_do_update(
                index_elements=["company_id"], set_={"revision": Ledger.revision + 1}
            )
        )
        ledger = db.session.get_one(Ledger, company_id, populate_existing=True)
        yield (work := UnitOfWork(company_id, connection, ledger, by=by))
        db.session.flush()
        _mark_periods(work)
        for action, subject in work.entries:
            audit(by, action, subject, company_id=company_id)
        db.session.commit()
    except BaseException:
        db.session.rollback()
        raise


@contextmanager
def temporary_table(work: UnitOfWork, name: str, query: Select[Any]) -> Iterator[Any]:
    """Yield a table with the rows that a query has now; it is gone afterwards."""
    made = CreateTableAs(query, name, temporary=True)
    work.connection.execute(made)
    yield made.table
    work.connection.execute(DropTable(made.table))


def _mark_periods(work: UnitOfWork) -> None:
    """Raise the revision of every changed accounting period; forget what was stored of them.

    What was calculated or approved of it is open again; of a locked one, the cause is kept.
    """
    bumped = {"revision": AccountingPeriod.revision + 1, "changed": True}
    if work.changed:
        statement = upsert(work.connection, AccountingPeriod)
        work.connection.execute(
            statement.on_conflict_do_update(index_elements=["company_id", "month"], set_=bumped),
            [
                {"company_id": work.company_id, "month": month, "revision": 1, "changed": True}
                for month in sorted(work.changed)
            ],
        )
    spans = [
        and_(AccountingPeriod.month >= start, AccountingPeriod.month < until)
        for start, until in work.changed_spans
    ]
    if spans:
        work.connection.execute(
            update(AccountingPeriod)
            .where(AccountingPeriod.company_id == work.company_id, or_(*spans))
            .values(bumped)
        )
    if work.changed or spans:
        _reopen(work, or_(AccountingPeriod.month.in_(work.changed), *spans))
    first = [*work.changed, *(start for start, _ in work.changed_spans)]
    last = [*work.changed, *(until for _, until in work.changed_spans)]
    if first:
        stored_months.expire(company_id=work.company_id, kind=SLUG, start=min(first), end=max(last))


def _reopen(work: UnitOfWork, changed: Any) -> None:
    """Open months again that were calculated, also those that owe adjustments of a locked one."""
    mine = AccountingPeriod.company_id == work.company_id
    closed = AccountingPeriod.locked_at.is_not(None)
    causes = set(
        work.connection.scalars(select(AccountingPeriod.month).where(mine, changed, closed))
    )
    for month in sorted(causes):
        add_event(work, month, "changed", work.reason, work.link)
    locked = set(work.connection.scalars(select(AccountingPeriod.month).where(mine, closed)))
    owing = {first_month_not_in(locked, month) for month in causes}
    open_calculated(work, or_(changed, AccountingPeriod.month.in_(owing)))


def open_calculated(work: UnitOfWork, where: Any) -> None:
    """Open the months of a condition again that were calculated or approved, and say why."""
    calculated = and_(
        AccountingPeriod.company_id == work.company_id,
        AccountingPeriod.state.in_(("calculated", "approved")),
        where,
    )
    for month in work.connection.scalars(select(AccountingPeriod.month).where(calculated)).all():
        add_event(work, month, "open", work.reason, work.link)
    work.connection.execute(update(AccountingPeriod).where(calculated).values(state="open"))


def add_event(work: UnitOfWork, month: date, state: str, reason: str = "", link: str = "") -> None:
    """Write down what happened to a month."""
    db.session.add(
        PeriodEvent(
            company_id=work.company_id,
            month=month,
            user_id=work.user_id,
            state=state,
            reason=reason[:500],
            link=link,
        )
    )


def first_month_not_in(months: Collection[date], after: date) -> date:
    """Return the first month after one that is not among some."""
    found = next_month(after)
    while found in months:
        found = next_month(found)
    return found


def accounting_period(company_id: str, month: date) -> AccountingPeriod | None:
    """Return a month's accounting period as it is now."""
    return db.session.get(AccountingPeriod, (company_id, month), populate_existing=True)


def months_with_streams(company_id: str) -> list[date]:
    """Return the months that have streams, oldest first."""
    query = select(LabelMonth.month).where(LabelMonth.company_id == company_id).distinct()
    return list(db.session.scalars(query.order_by(LabelMonth.month)))


def label_ids(work: UnitOfWork, names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of labels by name, made where they are new."""
    found: dict[str, int] = {}
    for chunk in batched(sorted(set(names))):
        work.connection.execute(
            upsert(work.connection, Label).on_conflict_do_nothing(
                index_elements=["company_id", "name"]
            ),
            [{"company_id": work.company_id, "name": name} for name in chunk],
        )
        query = select(Label.name, Label.id).where(
            Label.company_id == work.company_id, Label.name.in_(chunk)
        )
        found |= {row.name: row.id for row in work.connection.execute(query)}
    return found


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
            # Attached, not made as a part: that would wait for everybody who reads any stream.
            table = partition_table(partition_id)
            work.execute(
                f"CREATE TABLE {table} (LIKE label_revenue_stream INCLUDING DEFAULTS)",
                f"ALTER TABLE label_revenue_stream ATTACH PARTITION {table} "
                f"FOR VALUES IN ({partition_id})",
            )
            index_partition(work, partition_id, "btree (id)")
        work.ledger.shared_partition = partition_id
        db.session.flush()
    return work.ledger.shared_partition


def index_partition(work: UnitOfWork, partition_id: int, numbers: str) -> None:
    """Build a partition's indexes: of its streams' numbers, in a form that fits, and of dates."""
    table = partition_table(partition_id)
    work.execute(
        "SET LOCAL maintenance_work_mem = '256MB'",
        f"CREATE INDEX {table}_id ON {table} USING {numbers}",
        f"CREATE INDEX {table}_date ON {table} (date, id)",
    )


def partition_table(partition_id: int) -> str:
    """Return the name of a partition's table on Postgres."""
    return f"label_revenue_stream_{int(partition_id)}"


def partition_ids(company_id: str) -> list[int]:
    """Return the partitions of a company: every query of streams names them."""
    query = select(Partition.id).where(Partition.company_id == company_id)
    return list(db.session.scalars(query))


def forget_partition(work: UnitOfWork, partition_id: int) -> None:
    """Give up a partition: no query names it any more."""
    work.connection.execute(delete(Partition).where(Partition.id == partition_id))


# Batches and their streams


def in_batch(batch: Batch) -> Any:
    """Return the condition that a stream belongs to a batch."""
    return and_(Stream.partition_id == batch.partition_id, Stream.batch_no == batch.no)


def batches(company_id: str) -> list[Batch]:
    """Return a company's batches, newest first."""
    query = select(Batch).where(Batch.company_id == company_id)
    return list(db.session.scalars(query.order_by(Batch.no.desc())))


def drop_streams(work: UnitOfWork, batch: Batch) -> None:
    """Remove the streams of a batch; of its own partition the table goes by `drop_given_up`."""
    if not batch.own_partition or batch.partition_id is None:
        work.connection.execute(delete(Stream).where(in_batch(batch)))
        return
    forget_partition(work, batch.partition_id)


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
