"""File events taken in: read one by one, stored in the same transaction as the answer.

Counting is somebody else's: `counting` brings counters up to date afterwards. Writers of one
project take turns, so its events are numbered without gaps and nothing committed is skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import case, insert, select, update

from webapp.accounts import Scope
from webapp.engine import retention
from webapp.errors import Conflict, InvalidParams, NotAllowed, NotFound, TooLarge
from webapp.extensions import db
from webapp.kinds.project_storage import counting, tasks
from webapp.kinds.project_storage.answers import Verdict
from webapp.kinds.project_storage.bodies import EVENTS_PER_LIST, EventBody
from webapp.kinds.project_storage.compute import EVENT_TYPES, UPLOAD
from webapp.kinds.project_storage.models import MAY_REPORT, FileEvent, Project, Provider
from webapp.kinds.project_storage.projects import find_project, providers_of
from webapp.kinds.project_storage.rolling_up import SLUG, start_us
from webapp.lib.batches import batched
from webapp.lib.bodies import read_value
from webapp.lib.moments import utcnow
from webapp.lib.months import month_text

CONTENT = ("type", "version_id", "at_us", "bytes", "provider_key")


def take_events(
    scope: Scope,
    project_id: str,
    body: Any,
    *,
    feeds: bool = False,
    content: tuple[str, ...] = CONTENT,
) -> tuple[int, list[Verdict]]:
    """Store the events of a list that are new and sound; return project key and a verdict each.

    feeds:   by a key that only sends, for every project of its company
    content: what makes an event another one, though it comes under the same id
    Raises: NotFound, NotAllowed, Conflict for a retired project, InvalidParams where it is no list,
            TooLarge
    """
    project, role = find_project(scope, project_id, any_of=feeds)
    allowed = frozenset(EVENT_TYPES) if feeds else MAY_REPORT.get(role, frozenset())
    if not allowed or (feeds and not scope.may("expert")):
        raise NotAllowed("Your role in this project may not report file events.")
    if project.retired_at is not None:
        raise Conflict("This project is retired and accepts no more events.")
    if not isinstance(body, list):
        raise InvalidParams({"file_events": "Send a list of file events."})
    if len(body) > EVENTS_PER_LIST:
        raise TooLarge(f"Send at most {EVENTS_PER_LIST:,} events in one list.")
    providers = {one.id: one for one in providers_of(scope.company_id)}
    sender = "" if feeds else scope.email
    read = [_read_event(raw, allowed, providers, sender) for raw in body]
    key = project.key
    place = counting.hold_project(key)
    if place is None:
        db.session.rollback()
        raise NotFound("There is no such project.")
    known = _known_contents(key, [row["event_id"] for row, _ in read if row], content)
    rolled_up = retention.kept_from(SLUG)
    verdicts, rows = [], []
    for row, refusal in read:
        verdict = refusal or _verdict(row, tuple(map(row.get, content)), known, rolled_up)
        verdicts.append(verdict)
        if verdict["verdict"] == "accepted":
            rows.append(row)
    if rows:
        _store(key, place.last_seq, rows)
        tasks.start(tasks.COUNT, scope, key)
    db.session.commit()
    return key, verdicts


def _read_event(
    raw: Any, allowed: frozenset[str], providers: Mapping[str, Provider], sender: str
) -> tuple[dict[str, Any], Verdict | None]:
    """Return an event as its row, or the verdict on one that cannot be taken."""
    try:
        event = read_value(EventBody, raw)
        errors = _what_is_wrong(event, allowed, providers)
    except InvalidParams as error:
        errors = error.errors
    if errors:
        event_id = raw.get("id") if isinstance(raw, dict) else None
        shown = event_id if isinstance(event_id, str) and len(event_id) <= 64 else None
        reason = " ".join(f"{name}: {sentence}" for name, sentence in errors.items())
        return {}, {"id": shown, "verdict": "rejected", "reason": reason}
    provider = providers.get(str(event.storage_provider_id))
    return {
        "event_id": event.id,
        "type": event.type,
        "version_id": event.file_version_id,
        "bytes": event.bytes,
        "provider_key": provider.key if provider else None,
        "uploader": (event.uploader or sender) if event.type == UPLOAD else "",
        "at_us": event.at,
    }, None


def _what_is_wrong(
    event: EventBody, allowed: frozenset[str], providers: Mapping[str, Provider]
) -> dict[str, str]:
    errors = {}
    if event.type not in allowed:
        errors["type"] = f"Your role in this project may not report {event.type} events."
    if event.type == UPLOAD and event.bytes is None:
        errors["bytes"] = "An upload says how many bytes it has."
    provider = providers.get(str(event.storage_provider_id))
    if (event.storage_provider_id or event.type == UPLOAD) and provider is None:
        errors["storage_provider_id"] = "There is no such storage provider."
    elif event.type == UPLOAD and provider and provider.retired_at is not None:
        errors["storage_provider_id"] = "This storage provider is retired and accepts no uploads."
    return errors


def _known_contents(
    project_key: int, ids: list[str], content: tuple[str, ...]
) -> dict[str, tuple[Any, ...]]:
    """Return what is stored under the ids of a list."""
    known: dict[str, tuple[Any, ...]] = {}
    columns = [getattr(FileEvent, name) for name in content]
    for some in batched(ids):
        query = select(FileEvent.event_id, *columns).where(
            FileEvent.project_key == project_key, FileEvent.event_id.in_(some)
        )
        known |= {row[0]: tuple(row[1:]) for row in db.session.execute(query)}
    return known


def _verdict(
    row: Mapping[str, Any],
    content: tuple[Any, ...],
    known: dict[str, tuple[Any, ...]],
    rolled_up: date,
) -> Verdict:
    """Return the verdict on a sound event, which is known from then on.

    rolled_up: months before this one take no event that is not known
    """
    event_id = row["event_id"]
    if event_id not in known and row["at_us"] < start_us(rolled_up):
        reason = f"Events before {month_text(rolled_up)} are rolled up; no more are accepted."
        return {"id": event_id, "verdict": "rejected", "reason": reason}
    before = known.setdefault(event_id, content)
    if before is content:
        return {"id": event_id, "verdict": "accepted"}
    if before == content:
        return {"id": event_id, "verdict": "duplicate"}
    reason = "Another event with this ID was received before; the first one is kept."
    return {"id": event_id, "verdict": "rejected", "reason": reason}


def _store(project_key: int, last_seq: int, rows: list[dict[str, Any]]) -> None:
    now = utcnow()
    for seq, row in enumerate(rows, start=last_seq + 1):
        row |= {"project_key": project_key, "seq": seq, "received_at": now}
    db.session.execute(insert(FileEvent), rows)
    # A project whose events were all counted until now begins to wait.
    waiting = case((Project.waiting_since.is_(None), now), else_=Project.waiting_since)
    db.session.execute(
        update(Project)
        .where(Project.key == project_key)
        .values(last_seq=last_seq + len(rows), received_at=now, waiting_since=waiting)
        .execution_options(synchronize_session=False)
    )
