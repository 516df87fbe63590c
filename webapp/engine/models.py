"""The rows every kind of report shares.

Report is the truth about one report; its id is also the RQ job id, the stream's channel and the
piece of the URL. StatusLine is what its listeners see, ResultRow what it found out, Checkpoint what
a restart need not ask again, StoredMonth what later reports need not ask again.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Date,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import Base, Model, UtcDateTime
from webapp.lib.moments import utcnow
from webapp.security import SEALED

QUEUED, RUNNING = "queued", "running"
DONE, INCOMPLETE, FAILED, CANCELLED = "done", "incomplete", "failed", "cancelled"
ACTIVE = frozenset({QUEUED, RUNNING})
WITH_RESULT = frozenset({DONE, INCOMPLETE})
STATUSES = (QUEUED, RUNNING, DONE, INCOMPLETE, FAILED, CANCELLED)


class Report(Model):
    """One report, from the moment it was asked for until it is deleted.

    `attempt` counts starts and fences writes: only the attempt named here may write while running.
    `sealed` holds the encrypted secrets of the run and is erased when the run ends, however.
    """

    __tablename__ = "report"
    __table_args__ = (
        UniqueConstraint("requested_by", "company_id", "idempotency_key"),
        Index("ix_report_company_created", "company_id", "created_at", "id"),
        Index("ix_report_status_lease", "status", "lease_until"),
    )

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    company_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), ForeignKey("company.id"))
    requested_by: Mapped[str] = mapped_column(Uuid(as_uuid=False), ForeignKey("app_user.id"))
    kind: Mapped[str] = mapped_column(String(40))
    label: Mapped[str] = mapped_column(String(200), default="")
    params: Mapped[dict[str, Any]] = mapped_column(JSON)
    sealed: Mapped[str | None] = mapped_column(Text, info={SEALED: "report {id}"})
    status: Mapped[str] = mapped_column(String(12), default=QUEUED)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    lost: Mapped[int] = mapped_column(Integer, default=0)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    done: Mapped[int] = mapped_column(Integer, default=0)
    total: Mapped[int] = mapped_column(Integer, default=0)
    calls_made: Mapped[int] = mapped_column(Integer, default=0)
    calls_saved: Mapped[int] = mapped_column(Integer, default=0)
    last_seq: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    queued_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[str | None] = mapped_column(Text)
    head: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    body_fingerprint: Mapped[str | None] = mapped_column(String(64))

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE

    @property
    def has_result(self) -> bool:
        return self.status in WITH_RESULT


class StatusLine(Model):
    """One status line; `seq` runs 1, 2, 3 … without gaps within its report."""

    __tablename__ = "status_line"

    report_id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("report.id", ondelete="CASCADE"), primary_key=True
    )
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    level: Mapped[str] = mapped_column(String(8))
    text: Mapped[str] = mapped_column(Text)
    done: Mapped[int] = mapped_column(Integer)
    total: Mapped[int] = mapped_column(Integer)


class ResultRow(Model):
    """One row of one table of a result, in its order."""

    __tablename__ = "result_row"

    report_id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("report.id", ondelete="CASCADE"), primary_key=True
    )
    table_name: Mapped[str] = mapped_column(String(40), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    data: Mapped[dict[str, Any]] = mapped_column(JSON)


class Checkpoint(Model):
    """A partial answer kept for a restart or a retry of the same report."""

    __tablename__ = "checkpoint"

    report_id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("report.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(String(300), primary_key=True)
    data: Mapped[Any] = mapped_column(JSON)


class StoredMonth(Model):
    """What was counted for one closed month of one item, and until when it counts as fresh.

    subject: what the report was about (a partner ID); item: the part counted (a site ID)
    """

    __tablename__ = "stored_month"
    __table_args__ = (Index("ix_stored_month_expires", "expires_at"),)

    company_id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("company.id"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(String(40), primary_key=True)
    subject: Mapped[str] = mapped_column(String(120), primary_key=True)
    item: Mapped[str] = mapped_column(String(200), primary_key=True)
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)
    counted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


__all__ = [
    "ACTIVE",
    "CANCELLED",
    "DONE",
    "FAILED",
    "INCOMPLETE",
    "QUEUED",
    "RUNNING",
    "STATUSES",
    "WITH_RESULT",
    "Base",
    "Checkpoint",
    "Report",
    "ResultRow",
    "StatusLine",
    "StoredMonth",
]
