"""The rows every kind of report shares: Report, what it found out, months later ones need not ask.

A report is a job (`webapp/jobs/`) whose task is its kind: the job's row has its status, lines and
secrets, and this one what makes it a report.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, Date, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column, synonym

from webapp.extensions import CompanyId, JobId, Model, UtcDateTime, UuidText, kept
from webapp.jobs import ACTIVE as ACTIVE
from webapp.jobs import CANCELLED as CANCELLED
from webapp.jobs import DONE as DONE
from webapp.jobs import FAILED as FAILED
from webapp.jobs import QUEUED as QUEUED
from webapp.jobs import RUNNING as RUNNING
from webapp.jobs import Job

INCOMPLETE = "incomplete"
WITH_RESULT = frozenset({DONE, INCOMPLETE})
STATUSES = (QUEUED, RUNNING, DONE, INCOMPLETE, FAILED, CANCELLED)


class Report(Job):
    """One report, from the moment it was asked for until it is deleted.

    head: the members of its result beside the tables; null until there is one
    """

    __tablename__ = "report"
    __mapper_args__ = {"polymorphic_identity": "report"}

    id: Mapped[JobId] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(200), default="")
    params: Mapped[dict[str, Any]] = mapped_column(JSON)
    calls_made: Mapped[int] = mapped_column(Integer, default=0)
    calls_saved: Mapped[int] = mapped_column(Integer, default=0)
    head: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    kind: Mapped[str] = synonym("task")
    requested_by: Mapped[str] = synonym("user_id")

    @property
    def has_result(self) -> bool:
        return self.status in WITH_RESULT


class ReportEntry(Model):
    """What lists show of a report, and find it by, in a small row of its own.

    name, tags: what people call it
    words:      in small letters: kind, label, name, tags, and what it was asked with
    figure:     what its result says first: label, value, type, note; null before there is one
    course:     the numbers of its main figure over its months or days, oldest first
    """

    __tablename__ = "report_entry"

    report_id: Mapped[JobId] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), default="")
    tags: Mapped[list[str]] = mapped_column(JSON, default=list)
    words: Mapped[str] = mapped_column(Text, default="")
    figure: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    course: Mapped[list[float | None] | None] = mapped_column(JSON(none_as_null=True))


class Favourite(Model):
    """A report that somebody marked to find it again."""

    __tablename__ = "favourite"

    user_id: Mapped[UuidText] = mapped_column(
        ForeignKey("app_user.id", ondelete="CASCADE"), primary_key=True
    )
    report_id: Mapped[JobId] = mapped_column(primary_key=True)


class ResultRow(Model):
    """One row of one table of a result, in its order.

    shown: what its grid shows, where that is not what is stored
    """

    __tablename__ = "result_row"

    report_id: Mapped[JobId] = mapped_column(primary_key=True)
    table_name: Mapped[str] = mapped_column(String(40), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    shown: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class StoredMonth(Model):
    """What was counted for one closed month of one item, and until when it counts as fresh.

    subject: what the report was about (a partner ID); item: the part counted (a site ID)
    """

    __tablename__ = "stored_month"
    __table_args__ = (
        Index("ix_stored_month_expires", "expires_at"),
        kept("counted_at", "MONTHS_KEPT_DAYS"),
    )

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(40), primary_key=True)
    subject: Mapped[str] = mapped_column(String(120), primary_key=True)
    item: Mapped[str] = mapped_column(String(200), primary_key=True)
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)
    counted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
