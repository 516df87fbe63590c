"""Managers' questions: the largest projects, who grows them, what the trash holds, quotas.

What is held now comes from the counters, growth and the age of the trash from the months, which
both are kept by the same steps; no event is touched.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import func, select

from webapp.extensions import db
from webapp.kinds.project_storage.compute import COUNTED
from webapp.kinds.project_storage.models import (
    Counter,
    Permission,
    Project,
    StorageMonth,
)
from webapp.kinds.project_storage.projects import company_quota, providers_of
from webapp.lib.batches import batched
from webapp.lib.moments import utcnow
from webapp.lib.months import current_month, month_end, month_text, months_between, next_month

WARN_AT = 80
# Growth at a pace of almost nothing fills no quota within a lifetime, and the first days of a
# month tell no pace.
FARTHEST, LEAST_PACE = timedelta(days=36_525), timedelta(days=7)
Row = dict[str, Any]


@dataclass
class Overview:
    """What some projects hold and by how much they grew; sizes in bytes, months as text.

    projects:  a row each, the largest first; uploaders and providers: the largest growth first
    trash:     what lies there, by project and the month since which it does, the oldest first
    trend:     month, held_bytes at its end
    company:   held_bytes, quota_bytes, quota_used, full_in of all projects of the company, or {}
    """

    projects: list[Row]
    providers: list[Row]
    uploaders: list[Row]
    trash: list[Row]
    trend: list[Row]
    company: Row

    @property
    def warnings(self) -> list[str]:
        """Return a sentence for each quota that is used to 80 % or more, the fullest first."""
        rows = [
            *([{"project": "The company"} | self.company] if self.company else []),
            *self.projects,
        ]
        full = [row for row in rows if (row["quota_used"] or 0) >= WARN_AT]
        return [
            f"{row['project']} uses {row['quota_used']:.0f} % of its quota" + _filling(row)
            for row in sorted(full, key=lambda row: -row["quota_used"])
        ]


def _filling(row: Row) -> str:
    if row["quota_used"] >= 100:
        return ": it is full."
    return f" and is full in {row['full_in']} at this pace." if row["full_in"] else "."


def look_over(
    company_id: str, found: Sequence[Any], months: Sequence[date], *, whole: bool = False
) -> Overview:
    """Return the overview of projects; growth is that within the months.

    found: rows of `projects_seen`; whole: they are all of the company
    """
    named = {one.key: one for one in found}
    held = {key: dict.fromkeys(COUNTED, 0) for key in named}
    by_provider: dict[int, dict[str, int]] = {}
    for counter in _of_projects(Counter, named):
        at_provider = by_provider.setdefault(counter.provider_key, dict.fromkeys(COUNTED, 0))
        for name in COUNTED:
            held[counter.project_key][name] += getattr(counter, name)
            at_provider[name] += getattr(counter, name)
    lying: dict[tuple[date, int], list[int]] = {}
    changes = {key: Tally[date]() for key in named}
    provider, uploader, month = Tally[int](), Tally[str](), Tally[date]()
    is_wanted = (StorageMonth.month >= months[0]) | (StorageMonth.lying_file_versions > 0)
    for row in _of_projects(StorageMonth, named, is_wanted):
        if row.lying_file_versions:
            there = lying.setdefault((row.month, row.project_key), [0, 0])
            there[0] += row.lying_file_versions
            there[1] += row.lying_bytes
        change = row.active_bytes + row.trash_bytes
        if row.month >= months[0]:
            month[row.month] += change
            changes[row.project_key][row.month] += change
        if months[0] <= row.month <= months[-1]:
            provider[row.provider_key] += change
            uploader[row.uploader] += change
    now, quota = sum(map(_size, held.values())), company_quota(company_id) if whole else None
    return Overview(
        projects=_projects(named, held, changes, lying, months),
        providers=_providers(company_id, by_provider, provider),
        uploaders=[
            {"uploader": name or "not told", "grown_bytes": size}
            for name, size in uploader.most_common()
        ],
        trash=[
            {"project": named[key].name, "project_id": named[key].id, "role": named[key].role}
            | {
                "since": month_text(since),
                "months": len(months_between(since, current_month())) - 1,
            }
            | {"trash_file_versions": versions, "trash_bytes": size}
            for (since, key), (versions, size) in sorted(lying.items())
        ],
        trend=list(_trend(now, month, months[0])),
        company={} if quota is None else {"held_bytes": now} | _quota(now, quota, month, months),
    )


def _projects(
    named: dict[int, Any],
    held: dict[int, dict[str, int]],
    changes: dict[int, Tally[date]],
    lying: dict[tuple[date, int], list[int]],
    months: Sequence[date],
) -> list[Row]:
    # The oldest last, so that it stands.
    oldest = {key: month_text(since) for since, key in sorted(lying, reverse=True)}
    rows = [
        {"project": one.name, "project_id": one.id, "role": one.role, **held[key]}
        | {"retired": one.retired_at is not None, "oldest_trash": oldest.get(key)}
        | {"held_bytes": _size(held[key]), "grown_bytes": sum(changes[key][at] for at in months)}
        | _quota(_size(held[key]), one.quota_bytes, changes[key], months)
        for key, one in named.items()
    ]
    return sorted(rows, key=lambda row: (-row["held_bytes"], row["project"]))


def _providers(company_id: str, held: dict[int, dict[str, int]], grown: Tally[int]) -> list[Row]:
    active = sum(row["active_bytes"] for row in held.values())
    rows = [
        {"provider": one.name, **held[one.key], "grown_bytes": grown[one.key]}
        | {"share": 100 * held[one.key]["active_bytes"] / active if active else 0.0}
        for one in providers_of(company_id)
        if one.key in held
    ]
    return sorted(rows, key=lambda row: -row["active_bytes"])


def _trend(now: int, grown: Tally[date], first: date) -> Iterator[Row]:
    """Yield what was held at the end of each month, up to the running one."""
    held = now - grown.total()
    for month in months_between(first, current_month()):
        held += grown[month]
        yield {"month": month_text(month), "held_bytes": held}


def _of_projects(table: Any, keys: Iterable[int], *where: Any) -> Iterator[Any]:
    for some in batched(keys, 1000):
        mine = table.project_key.in_(some)
        yield from db.session.scalars(select(table).where(mine, *where))


def _size(held: Row) -> int:
    return int(held["active_bytes"] + held["trash_bytes"])


def _quota(held: int, quota: int | None, changes: Tally[date], months: Sequence[date]) -> Row:
    """Return how much of a quota is used, in percent, and the month in which it is full.

    changes: by month from the first of the months on. The month in which something came here first
             tells no pace: what it brought may have been there for years.
    """
    used, full_at, now = None, None, utcnow()
    if quota is not None:
        used = 100 * held / quota if quota else 100.0
        first = min(changes) if changes and held <= changes.total() else None
        counted = [month for month in months if first is None or month > first]
        grown = sum(changes[month] for month in counted)
        # Of the running month what is over.
        spans = ((month_end(next_month(one, -1)), min(month_end(one), now)) for one in counted)
        took = sum((end - start for start, end in spans), timedelta())
        if held >= quota:
            full_at = now
        elif grown > 0 and took >= LEAST_PACE and (quota - held) / grown <= FARTHEST / took:
            full_at = now + took * ((quota - held) / grown)
    text = month_text(current_month(full_at)) if full_at else None
    return {"quota_bytes": quota, "quota_used": used, "full_in": text}


def first_month(company_id: str, user_id: str, *, whole: bool) -> date | None:
    """Return the first month with a change in a project the user sees; `whole`: of the company."""
    query = select(func.min(StorageMonth.month)).join(Project)
    if not whole:
        query = query.join(Permission, Permission.project_key == Project.key)
        query = query.where(Permission.user_id == user_id)
    return db.session.scalar(query.where(Project.company_id == company_id))


def projects_seen(
    company_id: str,
    user_id: str,
    *,
    whole: bool = False,
    project_id: str | None = None,
    limit: int | None = None,
) -> Sequence[Any]:
    """Return the projects a user has a role in, or the whole company's, or one of them, by name.

    Shape: rows of key, id, name, role, quota_bytes, retired_at, waits (with events not counted yet)
    """
    is_due = Project.due_at.is_not(None) & (Project.due_at <= utcnow())
    waits = Project.waiting_since.is_not(None) | is_due
    role = Permission.auth_role.label("role")
    columns = (Project.key, Project.id, Project.name, role, Project.quota_bytes)
    roles = (Permission.project_key == Project.key) & (Permission.user_id == user_id)
    query = (
        select(*columns, Project.retired_at, waits.label("waits"))
        .join(Permission, roles, isouter=whole)
        .where(Project.company_id == company_id, Project.deleted_at.is_(None))
        .order_by(Project.name, Project.key)
        .limit(limit)
    )
    if project_id is not None:
        query = query.where(Project.id == project_id)
    return db.session.execute(query).all()
