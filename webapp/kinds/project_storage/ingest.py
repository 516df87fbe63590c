"""File events taken in: read one by one, stored in the same transaction as the answer.

Counting is somebody else's: `counting` brings counters up to date afterwards. Writers of one
project take turns, so its events are numbered without gaps and nothing committed is skipped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import case, func, insert, select, update

from webapp.accounts import Scope
from webapp.errors import InvalidParams, NotAllowed, NotFound, TooLarge
from webapp.extensions import db
from webapp.kinds.project_storage.access import MAY_REPORT, find_project
from webapp.kinds.project_storage.compute import EVENT_TYPES, LARGEST, UPLOAD, moment_us
from webapp.kinds.project_storage.models import FileEvent, Project, Provider
from webapp.lib.moments import utcnow

EVENTS_PER_LIST = 10_000
IDS_PER_QUERY = 500
AHEAD = timedelta(days=1)
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


@dataclass
class Verdict:
    """What became of one event of a list: accepted, duplicate or rejected, and why."""

    id: str | None
    verdict: str
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as the answer shows it."""
        plain = {"id": self.id, "verdict": self.verdict}
        return plain | {"reason": self.reason} if self.reason else plain


class _Bad(ValueError):
    """An event that cannot be taken, in a sentence."""


def take_events(scope: Scope, project_id: str, body: Any) -> tuple[int, list[Verdict]]:
    """Store the events of a list that are new and sound; return project key and a verdict each.

    Raises: NotFound, NotAllowed, InvalidParams where it is no list, TooLarge
    """
    project, role = find_project(scope, project_id)
    allowed = MAY_REPORT.get(role, frozenset())
    if not allowed:
        raise NotAllowed("Your role in this project may not report file events.")
    if not isinstance(body, list):
        raise InvalidParams({"file_events": "Send a list of file events."})
    if len(body) > EVENTS_PER_LIST:
        raise TooLarge(f"Send at most {EVENTS_PER_LIST:,} events in one list.")
    providers = _providers(scope.company_id)
    latest_us = moment_us(utcnow() + AHEAD)
    read = [_read(raw, allowed, providers, latest_us) for raw in body]
    key = project.key
    last_seq = _lock(key)
    verdicts, rows = _sorted_out(read, _known(key, read))
    if rows:
        _store(key, last_seq, rows)
    db.session.commit()
    return key, verdicts


def _providers(company_id: str) -> dict[str, int]:
    query = select(Provider.id, Provider.key).where(Provider.company_id == company_id)
    return {row.id: row.key for row in db.session.execute(query)}


def _lock(project_key: int) -> int:
    """Make other writers of the project wait; return the number of its newest event."""
    last_seq = db.session.execute(
        update(Project)
        .where(Project.key == project_key, Project.deleted_at.is_(None))
        .values(last_seq=Project.last_seq)
        .returning(Project.last_seq)
        .execution_options(synchronize_session=False)
    ).scalar()
    if last_seq is None:
        db.session.rollback()
        raise NotFound("There is no such project.")
    return last_seq


def _known(project_key: int, read: list[Any]) -> dict[str, tuple[Any, ...]]:
    """Return what is stored under the ids of a list."""
    ids = [row["event_id"] for row in read if isinstance(row, dict)]
    known: dict[str, tuple[Any, ...]] = {}
    for first in range(0, len(ids), IDS_PER_QUERY):
        query = select(
            FileEvent.event_id,
            FileEvent.type,
            FileEvent.version_id,
            FileEvent.at_us,
            FileEvent.bytes,
            FileEvent.provider_key,
        ).where(
            FileEvent.project_key == project_key,
            FileEvent.event_id.in_(ids[first : first + IDS_PER_QUERY]),
        )
        known |= {row[0]: tuple(row[1:]) for row in db.session.execute(query)}
    return known


def _sorted_out(
    read: list[Any], known: dict[str, tuple[Any, ...]]
) -> tuple[list[Verdict], list[dict[str, Any]]]:
    verdicts, rows = [], []
    for row in read:
        if isinstance(row, Verdict):
            verdicts.append(row)
            continue
        event_id = row["event_id"]
        content = tuple(
            row[name] for name in ("type", "version_id", "at_us", "bytes", "provider_key")
        )
        before = known.get(event_id)
        if before is None:
            known[event_id] = content
            rows.append(row)
            verdicts.append(Verdict(event_id, "accepted"))
        elif before == content:
            verdicts.append(Verdict(event_id, "duplicate"))
        else:
            reason = "Another event came in under this id; the first one stands."
            verdicts.append(Verdict(event_id, "rejected", reason))
    return verdicts, rows


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


def _read(
    raw: Any, allowed: frozenset[str], providers: dict[str, int], latest_us: int
) -> dict[str, Any] | Verdict:
    """Return an event as its row, or the verdict on one that cannot be taken."""
    event_id = raw.get("id") if isinstance(raw, dict) else None
    shown = event_id if isinstance(event_id, str) and len(event_id) <= 64 else None
    try:
        return _row(raw, allowed, providers, latest_us)
    except _Bad as error:
        return Verdict(shown, "rejected", str(error))


def _row(
    raw: Any, allowed: frozenset[str], providers: dict[str, int], latest_us: int
) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise _Bad("Send each event as a JSON object.")
    kind = raw.get("type")
    if not isinstance(kind, str) or kind not in EVENT_TYPES:
        raise _Bad(f"type: choose one of {', '.join(EVENT_TYPES)}.")
    if kind not in allowed:
        raise _Bad(f"type: your role in this project may not report {kind} events.")
    at_us = _moment(raw.get("at"), latest_us)
    is_upload = kind == UPLOAD
    return {
        "event_id": _id(raw, "id"),
        "type": kind,
        "version_id": _id(raw, "file_version_id"),
        "bytes": _bytes(raw.get("bytes"), needed=is_upload),
        "provider_key": _provider(raw.get("storage_provider_id"), providers, needed=is_upload),
        "at_us": at_us,
    }


def _id(raw: dict[str, Any], name: str) -> str:
    """Return an id in its one spelling: UUIDs in lower case, others as they are."""
    value = raw.get(name)
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise _Bad(f"{name}: write an id of at most 64 letters, digits and . _ : -")
    try:
        return str(UUID(value)) if len(value) == 36 else value
    except ValueError:
        return value


def _moment(value: Any, latest_us: int) -> int:
    if not isinstance(value, str) or not MOMENT.fullmatch(value):
        raise _Bad("at: write the time with its zone, for example 2025-03-01T12:00:00Z.")
    try:
        at_us = moment_us(datetime.fromisoformat(value.upper()))
    except (ValueError, OverflowError):
        raise _Bad("at: there is no such time.") from None
    if at_us < 0:
        raise _Bad("at: times before 1970 are not taken.")
    if at_us > latest_us:
        raise _Bad("at: this is more than a day ahead of now.")
    return at_us


def _bytes(value: Any, *, needed: bool) -> int | None:
    if value is None and not needed:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise _Bad(f"bytes: write a whole number from 0 to {LARGEST}.")
    return value


def _provider(value: Any, providers: dict[str, int], *, needed: bool) -> int | None:
    if value is None and not needed:
        return None
    key = providers.get(value.lower()) if isinstance(value, str) else None
    if key is None:
        raise _Bad("storage_provider_id: there is no such storage provider.")
    return key


def newest_events(project_keys: list[int], limit: int) -> list[Any]:
    """Return the newest events of some projects as (event, project, provider), newest first."""
    query = (
        select(FileEvent, Project, Provider)
        .join(Project, Project.key == FileEvent.project_key)
        .outerjoin(Provider, Provider.key == FileEvent.provider_key)
        .where(
            FileEvent.project_key.in_(project_keys),
            FileEvent.seq > func.coalesce(Project.last_seq, 0) - limit,
        )
        .order_by(FileEvent.received_at.desc(), FileEvent.project_key, FileEvent.seq.desc())
        .limit(limit)
    )
    return list(db.session.execute(query))
