"""The facts of growth: a user's projects, and the changes of their months.

This is all that the report knows of how events are kept and counted. The months are current as soon
as events are counted, so nothing of them is kept a second time among the engine's stored months: a
late event could only make such a copy wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select

from webapp.extensions import db
from webapp.kinds.project_storage import counting
from webapp.kinds.project_storage.compute import MONTHLY
from webapp.kinds.project_storage.models import Permission, Project, StorageMonth
from webapp.lib.moments import utcnow

Changes = dict[date, list[int]]


@dataclass(frozen=True)
class RoleProject:
    """A project in which a user has a role; `waits`: with events that are not counted yet."""

    key: int
    id: str
    name: str
    waits: bool


def projects_of(
    company_id: str, user_id: str, project_id: str | None = None, limit: int | None = None
) -> list[RoleProject]:
    """Return the projects in which a user has a role, or the one of that id, by name."""
    waits = Project.waiting_since.is_not(None) | (
        Project.due_at.is_not(None) & (Project.due_at <= utcnow())
    )
    query = (
        select(Project.key, Project.id, Project.name, waits)
        .join(Permission, Permission.project_key == Project.key)
        .where(Permission.company_id == company_id, Permission.user_id == user_id)
        .order_by(Project.name, Project.key)
        .limit(limit)
    )
    if project_id is not None:
        query = query.where(Project.id == project_id)
    return [RoleProject(*row[:3], bool(row[3])) for row in db.session.execute(query)]


def count_waiting(project: RoleProject) -> int:
    """Count a project's events that wait; return how many there were."""
    return counting.count_project(project.key)


def month_changes(
    keys: Sequence[int], first: date, last: date
) -> tuple[dict[int, list[int]], dict[int, Changes]]:
    """Return what projects held before the first month, and by how much months changed them.

    Shape: by project, in the order of COUNTED; by project and month, in the order of MONTHLY
    """
    columns = [getattr(StorageMonth, name) for name in MONTHLY]
    query = select(StorageMonth.project_key, StorageMonth.month, *columns).where(
        StorageMonth.project_key.in_(keys), StorageMonth.month <= last
    )
    openings = {key: [0, 0, 0, 0] for key in keys}
    changes: dict[int, Changes] = {key: {} for key in keys}
    for key, month, *change in db.session.execute(query):
        if month < first:
            openings[key] = [a + b for a, b in zip(openings[key], change, strict=False)]
        else:
            changes[key][month] = change
    # A report of many projects takes a while; no connection waits with it.
    db.session.remove()
    return openings, changes
