"""What a user may see of storage, read from counters alone: no event is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, case, func, select

from webapp.accounts import Scope
from webapp.extensions import db
from webapp.kinds.project_storage.answers import auth_role
from webapp.kinds.project_storage.compute import COUNTED
from webapp.kinds.project_storage.models import (
    ADMIN,
    Counter,
    FileEvent,
    Permission,
    Project,
    Provider,
    UnplacedEvent,
)
from webapp.kinds.project_storage.projects import find_project
from webapp.lib.batches import batched
from webapp.lib.moments import rfc3339, utcnow

# Sums of 64-bit numbers pass 64 bits, which SQLite answers with an error: summed in two halves.
HALF = 2**32


@dataclass
class Item:
    """A project with the caller's role and what it holds, in sum and per provider."""

    project: Project
    role: str
    not_placed: int = 0
    providers: list[tuple[Provider, dict[str, int]]] = field(default_factory=list)

    @property
    def total(self) -> dict[str, int]:
        """Return the sums over the providers, by the names of COUNTED."""
        return {name: sum(numbers[name] for _, numbers in self.providers) for name in COUNTED}

    def as_json(self, now: datetime) -> dict[str, Any]:
        """Return the item as answers show it."""
        project = self.project
        waiting = [at for at in (project.waiting_since, project.due_at) if at and at <= now]
        return {
            "project": {"id": project.id, "name": project.name},
            "current_user_auth_role": auth_role(self.role),
            "stats": {
                **self.total,
                "not_placed": self.not_placed,
                "as_of": rfc3339(min(waiting, default=now), "milliseconds"),
                "by_storage_provider": [
                    {
                        "id": provider.id,
                        "name": provider.name,
                        "description": provider.description,
                        **numbers,
                    }
                    for provider, numbers in self.providers
                ],
            },
        }


def count_projects(scope: Scope) -> int:
    """Return how many projects the caller has a role in."""
    return int(db.session.scalar(select(func.count()).where(*role_of(scope))) or 0)


def role_of(scope: Scope) -> tuple[Any, ...]:
    """Return the conditions of the caller's roles."""
    return (Permission.company_id == scope.company_id, Permission.user_id == scope.user_id)


def list_items(scope: Scope, offset: int = 0, limit: int | None = None) -> list[Item]:
    """Return the projects the caller has a role in, oldest first, with what they hold."""
    query = (
        select(Project, Permission.auth_role)
        .join(Permission, Permission.project_key == Project.key)
        .where(*role_of(scope))
        .order_by(Permission.project_key)
    )
    rows = db.session.execute(query.offset(offset).limit(limit)).all()
    return _filled([Item(project, role) for project, role in rows])


def read_item(scope: Scope, project_id: str) -> Item:
    """Return one project with what it holds; raises NotFound, NotAllowed."""
    return item_of(*find_project(scope, project_id))


def item_of(project: Project, role: str) -> Item:
    """Return a project that was found with what it holds."""
    return _filled([Item(project, role)])[0]


def _filled(items: list[Item]) -> list[Item]:
    by_key = {item.project.key: item for item in items}
    columns = [getattr(Counter, name) for name in COUNTED]
    for keys in batched(by_key, 1000):
        query = (
            select(Counter.project_key, Provider, *columns)
            .join(Provider, Provider.key == Counter.provider_key)
            .where(Counter.project_key.in_(keys))
            .order_by(Counter.project_key, Counter.provider_key)
        )
        for key, provider, *numbers in db.session.execute(query):
            by_key[key].providers.append((provider, dict(zip(COUNTED, numbers, strict=True))))
        mine = UnplacedEvent.project_key.in_(keys)
        counted = select(UnplacedEvent.project_key, func.count()).where(mine)
        for key, number in db.session.execute(counted.group_by(UnplacedEvent.project_key)):
            by_key[key].not_placed = number
    return items


def user_stats(scope: Scope) -> dict[str, dict[str, Any]]:
    """Return sums over the caller's projects, by role. Shape: role → projects, COUNTED, as_of."""
    held = select(Permission.auth_role, *_sums()).join(
        Counter, Counter.project_key == Permission.project_key
    )
    held = held.where(*role_of(scope)).group_by(Permission.auth_role)
    by_role = {role: _wholes(halves) for role, *halves in db.session.execute(held)}
    due = func.min(case((Project.due_at <= utcnow(), Project.due_at)))
    waits = (func.min(Project.waiting_since), due)
    listed = select(Permission.auth_role, func.count(), *waits).join(
        Project, Project.key == Permission.project_key
    )
    return {
        role: {
            "projects": projects,
            **dict(zip(COUNTED, by_role.get(role, [0, 0, 0, 0]), strict=True)),
            "as_of": min((at for at in waiting if at), default=None),
        }
        for role, projects, *waiting in db.session.execute(
            listed.where(*role_of(scope)).group_by(Permission.auth_role)
        )
    }


def _sums() -> list[Any]:
    columns = [getattr(Counter, name) for name in COUNTED]
    return [func.sum(half) for column in columns for half in (column // HALF, column % HALF)]


def _wholes(halves: Sequence[Any]) -> list[int]:
    pairs = zip(halves[::2], halves[1::2], strict=True)
    return [int(high or 0) * HALF + int(low or 0) for high, low in pairs]


def summed(stats: dict[str, dict[str, Any]], *, admin_only: bool = False) -> dict[str, Any]:
    """Return one block of the user's sums: all roles, or the projects the user is admin of."""
    kept = [block for role, block in stats.items() if role == ADMIN or not admin_only]
    waiting = [block["as_of"] for block in kept if block["as_of"]]
    numbers = {name: sum(block[name] for block in kept) for name in ("projects", *COUNTED)}
    return numbers | {"as_of": rfc3339(min(waiting, default=utcnow()), "milliseconds")}


def unplaced_events(
    project: Project, offset: int, limit: int
) -> tuple[Sequence[Row[FileEvent, str]], int]:
    """Return a page of the events that have no place, newest first, with why; and how many."""
    mine = UnplacedEvent.project_key == project.key
    total = db.session.scalar(select(func.count()).where(mine)) or 0
    same = (FileEvent.project_key == UnplacedEvent.project_key) & (
        FileEvent.seq == UnplacedEvent.seq
    )
    query = select(FileEvent, UnplacedEvent.reason).join(UnplacedEvent, same).where(mine)
    query = query.order_by(FileEvent.seq.desc()).offset(offset).limit(limit)
    return db.session.execute(query).all(), total
