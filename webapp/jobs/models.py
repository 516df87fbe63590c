"""The rows of a job: Job is the truth about it, StatusLine what its listeners are told, Checkpoint
what another attempt need not find out again; and what workers do, the tasks of this application.

A job's id is also its id in RQ, its stream's channel and, of a report, the piece of the URL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flask import current_app
from sqlalchemy import JSON, Connection, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.errors import ReportError
from webapp.extensions import CompanyId, JobId, Model, UserId, UtcDateTime, UuidText, kept
from webapp.lib.moments import utcnow
from webapp.security import SEALED

if TYPE_CHECKING:
    from webapp.jobs.attempt import Attempt


QUEUED, RUNNING = "queued", "running"
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
ACTIVE = frozenset({QUEUED, RUNNING})


class Job(Model):
    """Work that must not be lost, from the moment it was asked for until it is deleted.

    type:    "job", or the name of a subclass that keeps more about its jobs (a joined table)
    task:    which of the application's tasks does it
    key:     of the jobs of a task with the same key at most one waits
    payload: what the task is told; ids, never a secret
    sealed:  the encrypted secrets of the work; erased when it ends, however
    attempt: counts starts and fences writes: only the attempt named here may write while running
    lost:    how often its worker was lost since it was last asked for
    size:    about how large it is, compared with others of its company
    permille: how far it is, in thousandths; grows alone, whatever done and total do
    stage:   what is being done now, and what holds it up, as people read it
    handed_at: when RQ was handed it; null while it waits for its turn
    status:  queued, running, then how it ended: done, failed, cancelled, or the task's own word
    """

    __tablename__ = "job"
    __table_args__ = (
        UniqueConstraint("user_id", "company_id", "idempotency_key"),
        # Lists and their counts find all they choose by in it.
        Index(
            "ix_job_company_listed",
            *("company_id", "created_at", "id", "status", "task", "type", "user_id"),
        ),
        Index("ix_job_company_counted", "company_id", "type", "task", "status", "user_id"),
        Index("ix_job_company_handed", "company_id", "handed_at"),
        Index("ix_job_status_lease", "status", "lease_until"),
        Index("ix_job_task_status", "task", "status"),
        Index("ix_job_finished", "finished_at"),
        Index(
            "ix_job_waiting",
            "task",
            "key",
            unique=True,
            sqlite_where=text("status = 'queued'"),
            postgresql_where=text("status = 'queued'"),
        ),
        kept("created_at", "REPORTS_KEPT_DAYS"),
    )
    __mapper_args__ = {"polymorphic_on": "type", "polymorphic_identity": "job"}

    id: Mapped[UuidText] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(20))
    task: Mapped[str] = mapped_column(String(40))
    key: Mapped[str | None] = mapped_column(String(120))
    # Of nobody's where the program does it by itself, as its nightly upkeep; nobody reads it there.
    company_id: Mapped[CompanyId] = mapped_column(nullable=True)
    user_id: Mapped[UserId] = mapped_column(nullable=True)
    payload: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    sealed: Mapped[str | None] = mapped_column(Text, info={SEALED: "{type} {id}"})
    size: Mapped[int] = mapped_column(default=1)
    status: Mapped[str] = mapped_column(String(12), default=QUEUED)
    attempt: Mapped[int] = mapped_column(default=0)
    lost: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    permille: Mapped[int] = mapped_column(default=0, server_default="0")
    stage: Mapped[str] = mapped_column(String(200), default="", server_default="")
    last_seq: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    queued_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    handed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    body_fingerprint: Mapped[str | None] = mapped_column(String(64))

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE


class StatusLine(Model):
    """One status line; `seq` runs 1, 2, 3 … without gaps within its job."""

    __tablename__ = "status_line"

    job_id: Mapped[JobId] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    level: Mapped[str] = mapped_column(String(8))
    text: Mapped[str] = mapped_column(Text)
    done: Mapped[int]
    total: Mapped[int]


class Checkpoint(Model):
    """A partial answer kept for another attempt at the same job."""

    __tablename__ = "checkpoint"

    job_id: Mapped[JobId] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(300), primary_key=True)
    data: Mapped[Any] = mapped_column(JSON)


@dataclass(frozen=True)
class Ending:
    """How a job ends: its status, and the sentence that says why where something went wrong."""

    status: str
    error: str | None = None


@dataclass(frozen=True)
class Task:
    """What is done for the jobs of one name.

    run:       does the work, with the attempt and the job's payload; what it raises fails the job
    noun:      what people call such a job, in sentences: "report"
    timeout_s: how long an attempt may take; None for REPORT_TIMEOUT_SECONDS
    at_front:  handed to workers before what waits, for work that takes moments
    kept_s:    how long ended jobs are kept; 0 deletes a done one at once, None: REPORTS_KEPT_DAYS
    in_turn:   whether its jobs wait for their company's turn, or go to the workers at once
    on_end:    told in the transaction that ends a job, however it ends; returns what it ends as
    attempt:   the class of its attempts, `Attempt` or a subclass; None for `Attempt`
    """

    name: str
    run: Callable[[Any, dict[str, Any]], None]
    noun: str = "job"
    timeout_s: float | None = None
    at_front: bool = False
    kept_s: float | None = None
    in_turn: bool = False
    on_end: Callable[[Connection, str, Ending], Ending] = lambda _connection, _id, ending: ending
    attempt: type[Attempt] | None = None

    @property
    def seconds(self) -> float:
        """Return how long an attempt may take."""
        return float(self.timeout_s or current_app.config["REPORT_TIMEOUT_SECONDS"])


def task_named(name: str) -> Task:
    """Return a task; one that was taken out of the program fails its jobs with a sentence."""

    def fail(_attempt: Attempt, _payload: dict[str, Any]) -> None:
        raise ReportError(f"This installation has no {name!r} any more, so it cannot be made.")

    found: Task | None = current_app.extensions["tasks"].get(name)
    return found or Task(name, fail)
