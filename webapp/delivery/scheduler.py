"""What the janitor does for this room every few seconds: what is due is made, what is made is sent.

Each step is one transaction that begins with a conditional UPDATE, so any number of janitors may do
it at once and any of them may be killed between two: the next one finds the row where it stands. A
report is asked for with an Idempotency-Key of its run, so that asking twice finds the first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from flask import current_app
from sqlalchemy import ColumnElement, Select, delete, exists, select, update
from sqlalchemy.orm import aliased

from webapp import jobs, mail
from webapp.accounts import User, scope_of, zone_of
from webapp.delivery.definitions import plan, resolved
from webapp.delivery.models import (
    DUE,
    FAILED,
    HELD,
    MAKING,
    OPEN,
    OVER,
    SENDING,
    WAITING,
    Definition,
    DefinitionRun,
    Delivery,
)
from webapp.delivery.results import watch
from webapp.delivery.schedules import Schedule, quiet_until
from webapp.engine.models import CANCELLED, INCOMPLETE, Report
from webapp.engine.models import FAILED as REPORT_FAILED
from webapp.engine.registry import kind_named
from webapp.engine.service import retry_report, start_report
from webapp.errors import ReportError
from webapp.extensions import Model, db, rows_changed
from webapp.lib.moments import utcnow
from webapp.lib.upserts import upsert

log = logging.getLogger(__name__)

TASK = "deliver"
WATCHED_FOR = timedelta(minutes=30)
RETRIES = 2
RETRY_AFTER = timedelta(minutes=10)
BATCH = 100


def run_maintenance(now: datetime | None = None) -> None:
    """Plan, make and send what is due at this moment."""
    now = now or utcnow()
    # What is looked at leaves its list, but for runs: those that wait must not hide others.
    for definition_id in _ids(select(Definition.id).where(Definition.next_run_at <= now), BATCH):
        _begin_run(definition_id, now)
    for run_id in _ids(select(DefinitionRun.id).where(DefinitionRun.status == DUE)):
        _ask_for_report(run_id)
    for run_id in _ids(select(DefinitionRun.id).where(DefinitionRun.status.in_((MAKING, HELD)))):
        _follow_report(run_id, now)
    for delivery_id in _ids(select(Delivery.id).where(Delivery.next_try_at <= now), BATCH):
        _hand_over_delivery(delivery_id, now)


def _ids(query: Select[str], most: int | None = None) -> list[str]:
    found = list(db.session.scalars(query.limit(most)))
    db.session.rollback()
    return found


def _begin_run(definition_id: str, now: datetime) -> None:
    """Write down the run that is due, once for its period, and when the next one is.

    Of times that were slept through the last one is made up for; it says how many there were.
    """
    definition = db.session.get(Definition, definition_id)
    # Another janitor may have been here since it was listed.
    first = definition.next_run_at if definition else None
    if definition is None or definition.schedule is None or first is None or first > now:
        return
    schedule, zone = Schedule.model_validate(definition.schedule), zone_of(definition.company_id)
    times = [first]
    for moment in schedule.moments(first, zone):
        if moment > now:
            break
        times.append(moment)
    due = (Definition.id == definition_id) & (Definition.next_run_at == first)
    if not _changed_once(Definition, due, next_run_at=None):
        return
    run = {
        "definition_id": definition_id,
        "period": schedule.period(times[-1], zone),
        "due_at": times[-1],
        "missed": len(times) - 1,
    }
    # A schedule that was changed may be due again for a period that was made.
    statement = upsert(db.session, DefinitionRun).values(run).on_conflict_do_nothing()
    db.session.execute(statement)
    db.session.refresh(definition)
    plan(definition, now)
    db.session.commit()


def _ask_for_report(run_id: str) -> None:
    """Ask for a run's report as the definition's owner; what forbids it ends the run, told."""
    definition = db.session.get_one(DefinitionRun, run_id).definition
    scope = scope_of(definition.owner, definition.company_id)
    try:
        if scope is None:
            raise ReportError(
                "Its owner is no longer a member of the company. An admin can save it again.",
            )
        params = resolved(kind_named(definition.kind), definition.params)
        key = f"definition-run:{run_id}"
        report = start_report(scope, definition.kind, params, idempotency_key=key).report
    except ReportError as error:
        db.session.rollback()
        _end_run(run_id, FAILED, "report.failed", error=error.message)
        return
    if _changed_once(DefinitionRun, _in_status(run_id, DUE), status=MAKING, report_id=report.id):
        db.session.commit()


def _in_status(run_id: str, *statuses: str) -> ColumnElement[bool]:
    return (DefinitionRun.id == run_id) & DefinitionRun.status.in_(statuses)


def _changed_once(table: type[Model], mine: ColumnElement[bool], **values: object) -> bool:
    """Change the one row that is still so; where another janitor was faster, roll back."""
    statement = update(table).where(mine).values(values)
    if rows_changed(statement.execution_options(synchronize_session=False)) != 1:
        db.session.rollback()
        return False
    return True


def _follow_report(run_id: str, now: datetime) -> None:
    """End a run whose report has ended: its deliveries stand, or it is tried again, or waits."""
    run = db.session.get_one(DefinitionRun, run_id)
    report = run.report
    if report is None:
        _end_run(run_id, FAILED, None, error="The report was deleted before it was sent.")
    elif report.is_active:
        db.session.rollback()
    elif report.status == CANCELLED:
        _end_run(run_id, OVER, None, error="The report was cancelled.")
    elif report.status == REPORT_FAILED:
        _try_again(run, report, now)
    elif report.status == INCOMPLETE and run.definition.hold_incomplete:
        _hold(run)
    else:
        _end_run(run_id, OVER, "report.finished", now=now)


def _hold(run: DefinitionRun) -> None:
    """Keep an incomplete report back until it is complete, or a newer run takes its place."""
    newer = select(DefinitionRun.id).where(
        DefinitionRun.definition_id == run.definition_id, DefinitionRun.due_at > run.due_at
    )
    if db.session.scalar(newer.limit(1)):
        _end_run(run.id, OVER, None, error="A newer run replaced it before it was complete.")
        return
    if _changed_once(DefinitionRun, _in_status(run.id, MAKING), status=HELD):
        db.session.commit()


def _try_again(run: DefinitionRun, report: Report, now: datetime) -> None:
    """Retry a failed report a few times, longer apart each time; then its owner is told."""
    run_id, ended_at = run.id, report.finished_at or now
    if run.period is None or run.retries >= RETRIES:
        _end_run(run_id, FAILED, "report.failed", error=report.error)
        return
    if now < ended_at + RETRY_AFTER * (run.retries + 1):
        db.session.rollback()
        return
    scope = scope_of(db.session.get_one(User, report.user_id), report.company_id)
    open_run = _in_status(run_id, MAKING, HELD)
    if not _changed_once(DefinitionRun, open_run, status=MAKING, retries=run.retries + 1):
        return
    try:
        if scope is not None:
            retry_report(scope, report.id, {})
        db.session.commit()
    except ReportError as error:
        db.session.rollback()
        _end_run(run_id, FAILED, "report.failed", error=error.message)


def _end_run(
    run_id: str,
    status: str,
    event: str | None,
    *,
    error: str | None = None,
    now: datetime | None = None,
) -> None:
    """End a run once; its deliveries are written in the same transaction.

    A failure is told to the owner and to webhooks; mail and folders get no empty success.
    """
    run = db.session.get_one(DefinitionRun, run_id)
    if not _changed_once(DefinitionRun, _in_status(run_id, *OPEN), status=status, error=error):
        return
    _add_deliveries(run, event, now or utcnow())
    for about in watch(run) if event == "report.finished" else ():
        _add_deliveries(run, about["event"], now or utcnow(), about)
    db.session.commit()


def _add_deliveries(
    run: DefinitionRun, event: str | None, at: datetime, about: dict[str, Any] | None = None
) -> None:
    """Add the deliveries of an event; those of an alert wait until the hours of quiet are over."""
    definition = run.definition
    if about and definition.quiet:
        zone = zone_of(definition.company_id)
        at = quiet_until(at, definition.quiet["begin"], definition.quiet["end"], zone)
    for place, target in _readers(definition, event):
        db.session.add(
            Delivery(
                definition_id=definition.id,
                run_id=run.id,
                company_id=definition.company_id,
                place=f"{event}:{about['alert']}:{place}" if about else place,
                target=target | {"attach": []} if about else target,
                event=event,
                about=about,
                next_try_at=at,
            )
        )


def _readers(definition: Definition, event: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield who is told of an event, each mail's reader by themselves: a place and a target."""
    takes_it = {"report.finished": {"webhook", "folder", "email"}, "report.failed": {"webhook"}}
    for number, target in enumerate(definition.deliver if event else ()):
        if target["by"] not in takes_it.get(str(event), {"webhook", "email"}) or target.get("off"):
            continue
        if target["by"] == "email":
            for address in target["to"]:
                yield f"{number}:{address}", {**target, "to": [address]}
        else:
            yield str(number), target
    if event == "report.failed" and mail.is_set_up():
        yield "owner", {"by": "email", "to": [definition.owner.email], "attach": []}


def _hand_over_delivery(delivery_id: str, now: datetime) -> None:
    """Give a delivery whose next try is due to the workers; the job's key keeps it single."""
    due = (Delivery.id == delivery_id) & (Delivery.next_try_at <= now)
    due &= Delivery.status.in_((WAITING, SENDING))
    # The task sets the next try; should it be lost for good, it is found again after this.
    if not _changed_once(Delivery, due, next_try_at=utcnow() + WATCHED_FOR):
        return
    delivery = db.session.get_one(Delivery, delivery_id)
    jobs.start(
        TASK,
        company_id=delivery.company_id,
        user_id=delivery.definition.user_id,
        payload={"delivery": delivery_id},
        key=delivery_id,
    )
    db.session.commit()


def drop_old_runs() -> int:
    """Delete runs, with their deliveries, older than they are kept; of each definition one stays.

    Returns: how many. Commits, a batch at a time
    """
    days = current_app.config["DELIVERIES_KEPT_DAYS"]
    newer = aliased(DefinitionRun)
    old = select(DefinitionRun.id).where(
        DefinitionRun.created_at < utcnow() - timedelta(days=days),
        DefinitionRun.status.not_in(OPEN),
        exists().where(
            newer.definition_id == DefinitionRun.definition_id,
            newer.created_at > DefinitionRun.created_at,
        ),
        ~exists().where(
            Delivery.run_id == DefinitionRun.id, Delivery.status.in_((WAITING, SENDING))
        ),
    )
    gone = 0
    while days and (ids := db.session.scalars(old.limit(BATCH)).all()):
        db.session.execute(delete(DefinitionRun).where(DefinitionRun.id.in_(ids)))
        db.session.commit()
        gone += len(ids)
    return gone
