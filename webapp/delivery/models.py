"""The rows of this room: Definition says what is wanted when, DefinitionRun that a period was made,
Delivery that somebody is told.

`(definition, period)` is unique, and so is a delivery's place within its run: however many
schedulers, workers and restarts there are, a period is made once and sent once.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint, Uuid, select
from sqlalchemy.orm import Mapped, column_property, foreign, mapped_column, relationship

from webapp.accounts import User
from webapp.engine.models import Report
from webapp.extensions import CompanyId, Model, UserId, UtcDateTime, UuidText, kept
from webapp.lib.moments import utcnow
from webapp.security import SEALED

# What becomes of a run: its report is to be asked for, is being made, waits to be complete, is
# over (its deliveries stand), could not be made.
DUE, MAKING, HELD, OVER, FAILED = "due", "making", "held", "over", "failed"
OPEN = (DUE, MAKING, HELD)
# A delivery waits for its next try, went out, was given up, or may have gone out or not.
WAITING, SENDING, SENT, GIVEN_UP, UNKNOWN = "waiting", "sending", "sent", "failed", "unknown"


def _id() -> Mapped[str]:
    return mapped_column(Uuid(as_uuid=False), primary_key=True, default=lambda: str(uuid4()))


class DefinitionRun(Model):
    """One making of a definition's report.

    period: what it is about (`2025-03`, `2025-W14`, a day, a moment); None where asked by hand
    missed: how many earlier times were slept through and are made up for by this one
    figures: the numbers on top of its result, [{"label", "value", "unit" if any}]; they
        outlast the report
    """

    __tablename__ = "definition_run"
    __table_args__ = (
        UniqueConstraint("definition_id", "period"),
        Index("ix_definition_run_definition", "definition_id", "created_at"),
        Index("ix_definition_run_status", "status"),
        Index("ix_definition_run_report", "report_id"),
        kept("created_at", "DELIVERIES_KEPT_DAYS"),
    )

    id: Mapped[str] = _id()
    definition_id: Mapped[UuidText] = mapped_column(ForeignKey("definition.id", ondelete="CASCADE"))
    period: Mapped[str | None] = mapped_column(String(40))
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    missed: Mapped[int] = mapped_column(default=0)
    status: Mapped[str] = mapped_column(String(12), default=DUE)
    # The report may be deleted before its run is.
    report_id: Mapped[UuidText | None]
    retries: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)
    figures: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    definition: Mapped[Definition] = relationship(viewonly=True)
    report: Mapped[Report | None] = relationship(
        primaryjoin=lambda: foreign(DefinitionRun.report_id) == Report.id, viewonly=True
    )

    @property
    def report_status(self) -> str | None:
        """Return what became of the report, while that is kept."""
        return self.report.status if self.report else None


class Definition(Model):
    """A saved report: what is asked for, when, and who is told.

    params:   as they were given, months relative (`last_closed`, `-11`) or fixed; no secrets
    schedule: a `Schedule` as JSON, or None where it is made by hand
    deliver:  a list of targets as JSON (`by`: email, webhook, folder)
    alerts:   a list of `Alert` as JSON
    alert_states: by an alert's name since when it holds, and what the last result says of it
    quiet:    a `Quiet` as JSON, or None
    sealed:   the secret that signs this definition's webhooks
    private:  only its owner sees it and its runs
    """

    __tablename__ = "definition"
    __table_args__ = (
        Index("ix_definition_company_created", "company_id", "created_at", "id"),
        Index("ix_definition_next_run", "next_run_at"),
    )

    id: Mapped[str] = _id()
    company_id: Mapped[CompanyId]
    user_id: Mapped[UserId]
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(40))
    params: Mapped[dict[str, Any]] = mapped_column(JSON)
    schedule: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    deliver: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    alerts: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    alert_states: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    quiet: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    sealed: Mapped[str | None] = mapped_column(Text, info={SEALED: "definition {id}"})
    hold_incomplete: Mapped[bool] = mapped_column(default=False)
    paused: Mapped[bool] = mapped_column(default=False)
    private: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    next_run_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    owner: Mapped[User] = relationship(viewonly=True)
    # The report that was made last.
    last_report: Mapped[str | None] = column_property(
        select(DefinitionRun.report_id)
        .where(DefinitionRun.definition_id == id)
        .order_by(DefinitionRun.created_at.desc(), DefinitionRun.id)
        .limit(1)
        .correlate_except(DefinitionRun)
        .scalar_subquery()
    )


class Delivery(Model):
    """One target told of one run, with every try and its answer.

    place:    which of the definition's targets, counted from 0, and of a mail its reader; `owner`
              is the owner, told of a failure
    target:   the target as it stood when the run was over, without secrets
    about:    of an alert: its name, since when, what the result says, which rows
    tries:    [{"at", "ok", "answer"}], oldest first
    failures: how many tries failed since it was last asked for
    """

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("run_id", "place"),
        Index("ix_delivery_definition", "definition_id", "created_at", "id"),
        Index("ix_delivery_next_try", "next_try_at"),
        kept("created_at", "DELIVERIES_KEPT_DAYS"),
    )

    id: Mapped[str] = _id()
    definition_id: Mapped[UuidText] = mapped_column(ForeignKey("definition.id", ondelete="CASCADE"))
    run_id: Mapped[UuidText] = mapped_column(ForeignKey("definition_run.id", ondelete="CASCADE"))
    company_id: Mapped[CompanyId]
    place: Mapped[str] = mapped_column(String(500))
    target: Mapped[dict[str, Any]] = mapped_column(JSON)
    event: Mapped[str] = mapped_column(String(40))
    about: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    status: Mapped[str] = mapped_column(String(12), default=WAITING)
    tries: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    failures: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=utcnow)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    definition: Mapped[Definition] = relationship(viewonly=True)
    run: Mapped[DefinitionRun] = relationship(viewonly=True)

    @property
    def to(self) -> str:
        """Return who is told, as people read it."""
        return ", ".join(self.target.get("to", ())) or str(self.target["url"])
