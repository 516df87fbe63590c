"""Definitions as pages and programs ask for them: create, find, change, delete, run, compare."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import joinedload
from sqlalchemy.sql.elements import ColumnElement

from webapp.accounts import Scope, audit, zone_changed, zone_of
from webapp.delivery.bodies import Changes, ComparisonAnswer, NewDefinition, Target
from webapp.delivery.models import MAKING, SENDING, WAITING, Definition, DefinitionRun, Delivery
from webapp.delivery.results import FIRST, compare
from webapp.delivery.schedules import Schedule, resolve
from webapp.engine.kind import ReportKind
from webapp.engine.models import WITH_RESULT, Report
from webapp.engine.params import json_schema, read_params
from webapp.engine.registry import kind_named, personal_kinds, readable
from webapp.engine.service import find_report, start_report
from webapp.errors import Conflict, InvalidParams, NotAllowed, NotFound
from webapp.extensions import db, public_url
from webapp.lib.moments import utcnow
from webapp.security import seal, unseal

MOST_DEFINITIONS = 500
MOMENTS_IN_CALENDAR = 12
OLD_SECRET_SIGNS = timedelta(days=1)


def visible(scope: Scope) -> ColumnElement[bool]:
    """Return the condition of what the caller may see: of private ones only theirs."""
    shared = Definition.private.is_(False) & Definition.kind.not_in(personal_kinds(scope))
    return (Definition.company_id == scope.company_id) & or_(
        shared, Definition.user_id == scope.user_id
    )


def find_definition(scope: Scope, definition_id: str) -> Definition:
    """Return a definition that the caller may see; any other is as unknown as none: NotFound."""
    found = db.session.scalar(
        select(Definition).where(Definition.id == definition_id, visible(scope))
    )
    if found is None:
        raise NotFound("There is no such saved report.")
    return found


def names_of(scope: Scope, ids: AbstractSet[str]) -> dict[str, tuple[str, str]]:
    """Return (name, address) of those definitions the caller may see."""
    query = select(Definition.id, Definition.name).where(Definition.id.in_(ids), visible(scope))
    return {id: (name, f"/saved/{id}") for id, name in db.session.execute(query)}


def create_definition(scope: Scope, new: NewDefinition) -> Definition:
    """Save a definition; commits, with its audit entry.

    Raises: InvalidParams for parameters its kind could not run with, NotAllowed
    """
    kind = kind_named(new.kind)
    _check_role(scope, kind)
    _check_params(kind, scope, new.params)
    _check_folders(scope, new.deliver)
    kept = select(func.count()).where(Definition.company_id == scope.company_id)
    if (db.session.scalar(kept) or 0) >= MOST_DEFINITIONS:
        raise InvalidParams({"name": f"A company keeps at most {MOST_DEFINITIONS} saved reports."})
    definition = Definition(company_id=scope.company_id, user_id=scope.user_id)
    for name, value in new.model_dump(mode="json").items():
        setattr(definition, name, value)
    definition.sealed = seal(json.dumps([new_secret()]))
    db.session.add(definition)
    plan(definition)
    db.session.flush()
    audit(scope, "saved report", f"{definition.name} {definition.id}")
    db.session.commit()
    return definition


def change_definition(scope: Scope, definition: Definition, changes: Changes) -> None:
    """Change what was sent, in the session; the caller commits.

    Raises: InvalidParams, NotAllowed
    """
    kind = kind_named(definition.kind)
    check_may_change(scope, definition)
    whole = changes.model_dump(mode="json")
    given = {name: whole[name] for name in changes.model_fields_set}
    null = [
        name for name, value in given.items() if value is None and name not in {"schedule", "quiet"}
    ]
    if null:
        raise InvalidParams(dict.fromkeys(null, "Leave this out, or give it a value."))
    _check_folders(scope, changes.deliver or ())
    if "params" in given:
        _check_params(kind, scope, given["params"])
    for name, value in given.items():
        setattr(definition, name, value)
    plan(definition)


def delete_definition(scope: Scope, definition: Definition) -> None:
    """Delete a definition with its runs and deliveries, in the session; its reports stay."""
    check_may_change(scope, definition)
    db.session.delete(definition)


def check_may_change(scope: Scope, definition: Definition) -> None:
    """Raise NotAllowed for who may neither run its kind nor change what others saved."""
    _check_role(scope, kind_named(definition.kind))
    if definition.user_id != scope.user_id and not scope.may("admin"):
        raise NotAllowed("Only the maker of a saved report and admins may change it.")


def may_change(scope: Scope, definition: Definition) -> bool:
    """Say whether `check_may_change` lets them."""
    try:
        check_may_change(scope, definition)
    except NotAllowed:
        return False
    return True


def _check_role(scope: Scope, kind: ReportKind) -> None:
    if not scope.may(kind.run_role):
        raise NotAllowed(f"This needs the role {kind.run_role} in this company.")


def _check_folders(scope: Scope, targets: Iterable[Target]) -> None:
    """Raise NotAllowed where a folder is named by who is no admin: it is this machine's, or a
    bucket that the operator's credentials open."""
    if any(target.by == "folder" for target in targets) and not scope.may("admin"):
        raise NotAllowed("Putting reports into a folder needs the role admin in this company.")


def _check_params(kind: ReportKind, scope: Scope, params: Mapping[str, Any]) -> None:
    secret = sorted(kind.secret_params & set(params))
    if secret:
        raise InvalidParams(
            dict.fromkeys(secret, "A saved report stores no secret; name a stored connection.")
        )
    parsed = read_params(kind, resolved(kind, params))
    kind.resolve_secrets(parsed.params, scope, parsed.secrets)


def resolved(kind: ReportKind, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a definition's parameters with the months they mean now."""
    return resolve(params, json_schema(kind), utcnow())


def described(kind: ReportKind, params: Mapping[str, Any]) -> str:
    """Return a definition's parameters in a few words, with the months they mean now."""
    try:
        return kind.describe(read_params(kind, resolved(kind, params)).public)
    except InvalidParams:
        return ""  # its kind takes other parameters by now; its next run says which


def plan(definition: Definition, after: datetime | None = None) -> None:
    """Set when the definition is due next; never where it is paused or has no schedule."""
    moments = next_moments(definition, 1, after)
    definition.next_run_at = moments[0] if moments and not definition.paused else None


@zone_changed.connect
def plan_anew(_sender: object, *, company_id: str) -> None:
    """Plan what a company saved by its new clock, in the session."""
    for definition in db.session.scalars(
        select(Definition).where(Definition.company_id == company_id)
    ):
        plan(definition)


def next_moments(
    definition: Definition, count: int, after: datetime | None = None
) -> list[datetime]:
    """Return the next times of a schedule, aware UTC; none where there is no schedule."""
    if definition.schedule is None:
        return []
    schedule = Schedule.model_validate(definition.schedule)
    return list(islice(schedule.moments(after or utcnow(), zone_of(definition.company_id)), count))


def calendar(scope: Scope) -> bytes:
    """Return when the saved reports that the caller may see are due, as iCalendar (RFC 5545)."""
    # Half a second at the start of each process otherwise.
    from icalendar import Calendar, Event

    found = Calendar()
    found.add("prodid", "-//Partner Use Report//EN")
    found.add("version", "2.0")
    found.add("x-wr-calname", "Saved reports")
    wanted = visible(scope) & Definition.paused.is_(False) & Definition.next_run_at.is_not(None)
    for definition in db.session.scalars(select(Definition).where(wanted).order_by(Definition.id)):
        for moment in next_moments(definition, MOMENTS_IN_CALENDAR):
            event = Event()
            event.add("uid", f"{definition.id}-{moment:%Y%m%dT%H%M}@partner-use-report")
            event.add("dtstamp", utcnow())
            event.add("dtstart", moment)
            event.add("summary", f"{definition.name}: report")
            event.add("url", f"{public_url()}/saved/{definition.id}")
            found.add_component(event)
    ical: bytes = found.to_ical()
    return ical


def run_now(scope: Scope, definition: Definition, *, enqueue: bool = True) -> Report:
    """Make the report of a definition now, as the caller; commits. Raises as `start_report`."""
    kind = kind_named(definition.kind)
    run = DefinitionRun(definition_id=definition.id, due_at=utcnow(), status=MAKING)

    def keep_run(report: Report) -> None:
        run.report_id = report.id
        db.session.add(run)

    params = resolved(kind, definition.params)
    started = start_report(scope, definition.kind, params, enqueue=enqueue, along=keep_run)
    return started.report


def runs_of(definition: Definition, limit: int = 100) -> list[DefinitionRun]:
    """Return a definition's runs, newest first, each with its report while that is kept."""
    query = (
        select(DefinitionRun)
        .where(DefinitionRun.definition_id == definition.id)
        # The head of a result may be large and no list shows it.
        .options(joinedload(DefinitionRun.report).defer(Report.head))
        .order_by(DefinitionRun.created_at.desc(), DefinitionRun.id)
        .limit(limit)
    )
    return list(db.session.scalars(query))


def newest_result(definition: Definition) -> Report | None:
    """Return the newest report of a definition that has a result."""
    return db.session.scalar(
        select(Report)
        .join(DefinitionRun, DefinitionRun.report_id == Report.id)
        .where(DefinitionRun.definition_id == definition.id, Report.status.in_(WITH_RESULT))
        .order_by(Report.created_at.desc())
        .limit(1)
    )


def compare_results(
    scope: Scope, definition: Definition, before: str, after: str
) -> ComparisonAnswer:
    """Return how two results of a definition differ, by their reports' ids.

    before: `first` for each row as it was counted first
    Raises: InvalidParams, NotFound, Conflict
    """
    runs = [run for run in runs_of(definition, limit=1000) if run.report_id]
    given = {"from": before, "to": after}
    known = {run.report_id for run in runs}
    unknown = [
        name
        for name, value in given.items()
        if value not in known and not (name == "from" and value == FIRST)
    ]
    if unknown:
        raise InvalidParams(dict.fromkeys(unknown, "This report is of another definition."))
    newest = find_report(scope, after)
    if before != FIRST:
        return compare([find_report(scope, before)], newest)
    earlier = select(Report).where(
        Report.id.in_(known),
        Report.status.in_(WITH_RESULT),
        Report.created_at < newest.created_at,
        readable(scope),
    )
    return compare(db.session.scalars(earlier.order_by(Report.created_at)).all(), newest)


def resend(scope: Scope, delivery_id: str) -> Delivery:
    """Let a delivery be sent again at once; commits. Raises: NotFound, NotAllowed, Conflict"""
    found = db.session.scalar(
        select(Delivery).join(Delivery.definition).where(Delivery.id == delivery_id, visible(scope))
    )
    if found is None:
        raise NotFound("There is no such delivery.")
    check_may_change(scope, found.definition)
    if found.status in {WAITING, SENDING}:
        raise Conflict("It is being sent already.")
    found.status, found.next_try_at, found.failures = WAITING, utcnow(), 0
    audit(scope, "resent delivery", found.id)
    db.session.commit()
    return found


# The secrets that sign webhooks


def new_secret() -> dict[str, str]:
    """Return a fresh secret as Standard Webhooks writes it, and since when it holds."""
    secret = "whsec_" + b64encode(secrets.token_bytes(24)).decode()
    return {"secret": secret, "since": utcnow().isoformat()}


def signing_secrets(definition: Definition) -> list[str]:
    """Return the secrets that sign now: the newest, and the one before for a day."""
    kept: list[dict[str, str]] = json.loads(unseal(definition.sealed or ""))
    newest = kept[-1]
    is_fresh = datetime.fromisoformat(newest["since"]) > utcnow() - OLD_SECRET_SIGNS
    return [one["secret"] for one in (kept[-2:] if is_fresh else kept[-1:])]


def rotate_secret(scope: Scope, definition: Definition) -> str:
    """Give a definition a new secret, shown this once; the old one signs a day more. Commits."""
    check_may_change(scope, definition)
    kept: list[dict[str, str]] = json.loads(unseal(definition.sealed or ""))
    made = new_secret()
    definition.sealed = seal(json.dumps([kept[-1], made]))
    audit(scope, "rotated webhook secret", f"{definition.name} {definition.id}")
    db.session.commit()
    return made["secret"]
