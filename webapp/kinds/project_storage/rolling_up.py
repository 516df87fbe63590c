"""Events of file versions that were purged long ago, rolled up into sums of their months.

Growth by month, provider and uploader stays what it was to the byte; what goes is the history of
versions that are no more. Events dated before the months that are kept are not taken any more, so
none can come in twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import case, delete, func, select

from webapp.extensions import db
from webapp.kinds.project_storage import counting
from webapp.kinds.project_storage.compute import PURGE, UPLOAD, Effects, moment_us
from webapp.kinds.project_storage.models import FileEvent, Project, UnplacedEvent

SLUG = "project-storage"
VERSIONS_PER_STEP = 500


def start_us(month: date) -> int:
    """Return the first moment of a month, UTC, in microseconds since 1970."""
    return moment_us(datetime(month.year, month.month, 1, tzinfo=UTC))


def roll_up(month: date) -> Iterator[int]:
    """Roll up versions without an event since a month; yield step by step, each committed."""
    alive = select(Project.key).where(Project.deleted_at.is_(None))
    for project_key in db.session.scalars(alive.order_by(Project.key)).all():
        counting.count_project(project_key)
        after = ""
        while versions := _roll_up_some(project_key, start_us(month), after):
            after = versions[-1]
            yield len(versions)


def _roll_up_some(project_key: int, before_us: int, after: str) -> list[str]:
    """Roll up the next versions of a project by their ids; return them."""
    place = counting.hold_project(project_key)
    versions = _ended_versions(project_key, before_us, after) if place else []
    if place and versions:
        theirs = (FileEvent.project_key == project_key) & FileEvent.version_id.in_(versions)
        effects = Effects(counting.in_place_providers(project_key))
        for version in counting.versions_of(project_key, place.counted_seq, theirs):
            effects.add(version.values())
        counting.ROLLED_UP.apply(project_key, effects.months)
        unplaced = UnplacedEvent.seq.in_(select(FileEvent.seq).where(theirs))
        of_project = UnplacedEvent.project_key == project_key
        db.session.execute(delete(UnplacedEvent).where(of_project, unplaced))
        db.session.execute(delete(FileEvent).where(theirs))
    db.session.commit()
    return versions


def _ended_versions(project_key: int, before_us: int, after: str) -> list[str]:
    """Return versions that were purged, or never came, and have no event since a moment."""

    def has(type_: str) -> Any:
        return func.max(case((FileEvent.type == type_, 1), else_=0)) == 1

    query = (
        select(FileEvent.version_id)
        .where(FileEvent.project_key == project_key, FileEvent.version_id > after)
        .group_by(FileEvent.version_id)
        .having(func.max(FileEvent.at_us) < before_us, has(PURGE) | ~has(UPLOAD))
        .order_by(FileEvent.version_id)
    )
    return list(db.session.scalars(query.limit(VERSIONS_PER_STEP)))
