"""The tables of this kind: what loads said, what holds because of it, streams, and monthly sums.

A load (batch) keeps every row it said: `Terms`, `Track`, `Stream`, and `RepeatedStream` for streams
that stood already. `TermsInForce` and `LabelInForce` are worked out from the loads that stand.

On Postgres `label_revenue_stream` is partitioned: a large batch has a partition of its own, so that
it is loaded by a bare COPY and undone by dropping a table; everything else of a company stands in
its shared partition. Streams carry no foreign keys: they would be checked ten million times.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal
from uuid import uuid4

from sqlalchemy import JSON, BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.accounts import User
from webapp.extensions import CompanyId, Model, UserId, UtcDateTime, UuidText, kept
from webapp.lib.moments import utcnow

# SQLite counts by itself only in a column it calls INTEGER.
BigCount = BigInteger().with_variant(Integer, "sqlite")
UNLABELLED = 0


class Ledger(Model):
    """One row a company: its writers wait for each other here.

    date_order:       of the last streams file, for dates such as 03/04/2025 that programs send
    shared_partition: of single streams and small batches
    next_id:          of its next stream
    """

    __tablename__ = "label_revenue_book"

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True, sort_order=-2)
    revision: Mapped[int] = mapped_column(default=0)
    date_order: Mapped[str | None] = mapped_column(String(3))
    shared_partition: Mapped[int | None]
    next_id: Mapped[int] = mapped_column(BigCount, default=1)


class Batch(Model):
    """One load: its files' fingerprints, what it held, and whether it was undone.

    no:          short number that rows carry; also the order in which loads came
    month:       its own month, from which on its terms and tracks hold; None once it is undone
    said_month:  that month where a person named it
    known_month: the newest month programs had sent streams of when it came
    streams:     those that count; `repeated` ones stood already when it came
    summed:      False while a large batch waits for its monthly sums
    """

    __tablename__ = "label_revenue_batch"
    __table_args__ = (Index("ix_label_revenue_batch_company", "company_id", "no"),)

    no: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[UuidText] = mapped_column(unique=True, default=lambda: str(uuid4()))
    company_id: Mapped[CompanyId]
    created_by: Mapped[UserId | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    undone_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    files: Mapped[dict[str, Any]] = mapped_column(JSON)
    streams_hash: Mapped[str | None] = mapped_column(String(64))
    month: Mapped[date | None]
    said_month: Mapped[date | None]
    known_month: Mapped[date | None]
    partition_id: Mapped[int | None]
    own_partition: Mapped[bool] = mapped_column(default=False)
    summed: Mapped[bool] = mapped_column(default=True)
    streams: Mapped[int] = mapped_column(BigInteger, default=0)
    repeated: Mapped[int] = mapped_column(BigInteger, default=0)
    listeners: Mapped[int] = mapped_column(default=0)
    tracks: Mapped[int] = mapped_column(default=0)
    rejected: Mapped[int] = mapped_column(default=0)
    first_month: Mapped[date | None]
    last_month: Mapped[date | None]
    warnings: Mapped[list[str]] = mapped_column(JSON, default=list)


class Terms(Model):
    """What a load's users file says a listener pays; it holds from the load's own month on."""

    __tablename__ = "label_revenue_terms"

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True, sort_order=-2)
    batch_no: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    product_type: Mapped[str] = mapped_column(String(100))
    fee: Mapped[str] = mapped_column(String(40))
    origin: Mapped[str] = mapped_column(String(40))


class TermsInForce(Model):
    """What a listener pays from a month on, until before another, and the load that says so.

    early: True for the months before a listener's first terms: those hold there, too, but only
           where the listener streamed
    """

    __tablename__ = "label_revenue_terms_in_force"

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True, sort_order=-2)
    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    from_month: Mapped[date] = mapped_column(primary_key=True)
    until_month: Mapped[date]
    early: Mapped[bool]
    batch_no: Mapped[int]
    product_type: Mapped[str] = mapped_column(String(100))
    fee: Mapped[str] = mapped_column(String(40))
    origin: Mapped[str] = mapped_column(String(40))


class Label(Model):
    """A label's name under a short number; 0 stands for no label and has no row."""

    __tablename__ = "label_revenue_label"
    __table_args__ = (Index("uq_label_revenue_label_name", "company_id", "name", unique=True),)

    id: Mapped[int] = mapped_column(primary_key=True)
    company_id: Mapped[CompanyId]
    name: Mapped[str] = mapped_column(String(300))


class Track(Model):
    """A track's name and label as a load's tracks file says them."""

    __tablename__ = "label_revenue_track"

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True, sort_order=-2)
    batch_no: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    track_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    name: Mapped[str] = mapped_column(String(500))
    label_id: Mapped[int]


class LabelInForce(Model):
    """A track's label from a month on, until before another; equal neighbours are one row."""

    __tablename__ = "label_revenue_label_in_force"

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True, sort_order=-2)
    track_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    from_month: Mapped[date] = mapped_column(primary_key=True)
    until_month: Mapped[date]
    label_id: Mapped[int]


class StreamFields:
    """What is said of a stream, and the load that says it."""

    batch_no: Mapped[int]
    user_id: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[int]
    date: Mapped[date]
    region: Mapped[str] = mapped_column(String(100))
    track_id: Mapped[str] = mapped_column(String(100))


class Stream(StreamFields, Model):
    """One stream: who heard which track, on which day, how many seconds.

    On Postgres each partition has indexes of its own, on `id` and on (date, id).
    """

    __tablename__ = "label_revenue_stream"
    __table_args__ = {
        "postgresql_partition_by": "LIST (partition_id)",
        **kept("date", "STREAMS_KEPT_MONTHS"),
    }

    partition_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class RepeatedStream(StreamFields, Model):
    """A stream a load said although it stood already: it counts once the other one is undone."""

    __tablename__ = "label_revenue_repeated_stream"
    __table_args__ = (
        Index("ix_label_revenue_repeated_stream_batch", "company_id", "batch_no"),
        kept("date", "STREAMS_KEPT_MONTHS"),
    )

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True, sort_order=-2)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class Partition(Model):
    """Where streams stand: a partition of the streams, owned by one company."""

    __tablename__ = "label_revenue_shelf"

    id: Mapped[int] = mapped_column(primary_key=True)
    company_id: Mapped[CompanyId] = mapped_column(index=True)


class MonthSums:
    """Seconds and streams of a company's month; negative seconds count as none."""

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True, sort_order=-2)
    month: Mapped[date] = mapped_column(primary_key=True, sort_order=-1)
    seconds: Mapped[int] = mapped_column(BigInteger, sort_order=1)
    streams: Mapped[int] = mapped_column(BigInteger, sort_order=1)


class ListenerLabelMonth(MonthSums, Model):
    """Sums of a listener, a label and a month."""

    __tablename__ = "label_revenue_heard"
    __table_args__ = (Index("ix_label_revenue_heard_user", "company_id", "user_id"),)

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    label_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class ListenerMonth(MonthSums, Model):
    """Sums of a listener and a month."""

    __tablename__ = "label_revenue_listener_month"

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class LabelMonth(MonthSums, Model):
    """Sums of a label and a month, all listeners."""

    __tablename__ = "label_revenue_label_month"

    label_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class AccountingPeriod(Model):
    """A month with streams: a number that grows with every change that touches it, and its state.

    state:   open, calculated, approved, locked or paid
    locked:  what was paid when the month was locked, by method; None before
    changed: whether anything changed since it was locked
    """

    __tablename__ = "label_revenue_month"

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True, sort_order=-2)
    month: Mapped[date] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(String(12), default="open")
    locked: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    locked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    locked_by: Mapped[UserId | None]
    changed: Mapped[bool] = mapped_column(default=False)


class PeriodEvent(Model):
    """What happened to a month, written once: who took which step, and why a locked one changed.

    state: the state it came into; `changed` for a change of a locked month, which keeps its state
    link:  the page of the cause, where it has one
    """

    __tablename__ = "label_revenue_period_event"
    __table_args__ = (Index("ix_label_revenue_period_event_month", "company_id", "month"),)

    id: Mapped[int] = mapped_column(BigCount, primary_key=True)
    company_id: Mapped[CompanyId]
    month: Mapped[date]
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    user_id: Mapped[UserId | None]
    state: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str] = mapped_column(String(500), default="")
    link: Mapped[str] = mapped_column(String(200), default="")

    user: Mapped[User | None] = relationship()


class MonthSettings(Model):
    """Settings from a month on: the share of each origin, and the currency; never overwritten.

    Of several for one month the newest counts.
    """

    __tablename__ = "label_revenue_period"
    __table_args__ = (Index("ix_label_revenue_period_month", "company_id", "from_month"),)

    no: Mapped[int] = mapped_column(primary_key=True)
    company_id: Mapped[CompanyId]
    from_month: Mapped[date]
    shares: Mapped[dict[str, str]] = mapped_column(JSON)
    currency: Mapped[str] = mapped_column(String(3))
    created_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=utcnow)
    created_by: Mapped[UserId | None]


class IssuedStatement(Model):
    """The number of a statement that was given out, and the hash of what it says."""

    __tablename__ = "label_revenue_statement"
    __table_args__ = (Index("ix_label_revenue_statement_label", "company_id", "label"),)

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True, sort_order=-2)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[str] = mapped_column(String(300))
    method: Mapped[Literal["pool", "listener"]] = mapped_column(String(10))
    first_month: Mapped[date]
    last_month: Mapped[date]
    source_hash: Mapped[str] = mapped_column(String(64))
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    issued_by: Mapped[UserId | None]


class MinimumPayout(Model):
    """From which amount on a label is paid; below it, what it is owed is carried forward.

    label:  empty for all labels that have no minimum of their own
    amount: a plain decimal in the currency of the month that is paid; never overwritten
    """

    __tablename__ = "label_revenue_minimum_payout"
    __table_args__ = (Index("ix_label_revenue_minimum_payout_company", "company_id", "label"),)

    no: Mapped[int] = mapped_column(primary_key=True)
    company_id: Mapped[CompanyId]
    label: Mapped[str] = mapped_column(String(300))
    amount: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    created_by: Mapped[UserId | None]
