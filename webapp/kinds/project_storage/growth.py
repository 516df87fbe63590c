"""Growth by month: a report made from the months that counting keeps, no event touched.

The months are current as soon as events are counted, so nothing of them is kept a second time among
the engine's stored months: a late event could only make such a copy wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from webapp.engine.kind import Context, Result, Row, Run
from webapp.engine.packed import PackedRows
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.kinds.project_storage import counting
from webapp.kinds.project_storage.compute import (
    COUNTED,
    MONTHLY,
    MonthRow,
    moment_us,
    month_rows,
)
from webapp.kinds.project_storage.models import Permission, Project, StorageMonth
from webapp.kinds.project_storage.params import UNITS, ProjectStorageParams
from webapp.kinds.project_storage.stats import moment_text
from webapp.lib.months import month_text, months_between

PROJECTS_PER_STEP = 200
PLACES = Decimal("0.001")


@dataclass(frozen=True)
class Known:
    """A project of the report."""

    key: int
    id: str
    name: str


def make_growth(params: ProjectStorageParams, run: Run, context: Context) -> Result:
    """Return the growth of the projects the asking user has a role in.

    Raises: NotFound where the one asked for is not among them
    """
    found = _projects(run, params)
    months = months_between(params.start, params.end)
    run.set_total(len(found))
    run.log(f"{len(found):,} projects, {len(months):,} months.")
    now = context.now()
    sums: list[list[int]] = [[0] * 10 for _ in months]
    rows = PackedRows()
    for first in range(0, len(found), PROJECTS_PER_STEP):
        run.check()
        step = found[first : first + PROJECTS_PER_STEP]
        for project, made in _rows_of(step, months, moment_us(now)):
            rows.extend(_row(params, one, project) for one in made)
            for total, one in zip(sums, made, strict=True):
                _add(total, one)
        run.advance(f"{first + len(step):,} of {len(found):,} projects.", by=len(step))
    totals = [_total(params, month, total) for month, total in zip(months, sums, strict=True)]
    last = totals[-1]
    run.log(
        f"{last['active_file_versions']:,} versions, {last['active_bytes']:,} bytes active at the "
        f"end; {last['trash_bytes']:,} bytes in the trash."
    )
    head = {
        "project": str(params.project) if params.project else None,
        "start": month_text(params.start),
        "end": month_text(params.end),
        "unit": params.unit,
        "generated_at": moment_text(now),
        "complete": True,
        "projects": len(found),
        "held": {name: last[name] for name in COUNTED},
        "opening_active_bytes": totals[0]["active_bytes"] - totals[0]["active_bytes_delta"],
    }
    return Result(head, {"growth": rows, "months": totals})


def _projects(run: Run, params: ProjectStorageParams) -> list[Known]:
    """Return the report's projects by name, their waiting events counted first."""
    query = (
        select(Project.key, Project.id, Project.name, Project.waiting_since)
        .join(Permission, Permission.project_key == Project.key)
        .where(Permission.company_id == run.company_id, Permission.user_id == run.user_id)
    )
    if params.project:
        query = query.where(Project.id == str(params.project))
    rows = db.session.execute(query.order_by(Project.name, Project.key)).all()
    db.session.commit()
    if params.project and not rows:
        raise NotFound("There is no such project among those you have a role in.")
    for key, _, name, waiting_since in rows:
        if waiting_since is not None:
            counted = counting.count_project(key)
            run.log(f"{name}: {counted:,} waiting events counted first.")
    return [Known(key, project_id, name) for key, project_id, name, _ in rows]


def _rows_of(
    projects: Sequence[Known], months: list[date], now_us: int
) -> Iterator[tuple[Known, list[MonthRow]]]:
    columns = [getattr(StorageMonth, name) for name in MONTHLY]
    query = select(StorageMonth.project_key, StorageMonth.month, *columns).where(
        StorageMonth.project_key.in_([project.key for project in projects]),
        StorageMonth.month <= months[-1],
    )
    changes: dict[int, dict[date, list[int]]] = {project.key: {} for project in projects}
    openings = {project.key: [0, 0, 0, 0] for project in projects}
    for key, month, *change in db.session.execute(query):
        if month < months[0]:
            openings[key] = [a + b for a, b in zip(openings[key], change, strict=False)]
        else:
            changes[key][month] = change
    # A report of many projects takes a while; no connection waits with it.
    db.session.remove()
    for project in projects:
        yield project, month_rows(openings[project.key], changes[project.key], months, now_us)


def _add(total: list[int], one: MonthRow) -> None:
    numbers = (*one.held, *one.grown, one.active_byte_months, one.trash_byte_months)
    for index, number in enumerate(numbers):
        total[index] += number


def _total(params: ProjectStorageParams, month: date, total: list[int]) -> Row:
    one = MonthRow(month, tuple(total[:4]), tuple(total[4:8]), total[8], total[9])
    return _row(params, one, None)


def _row(params: ProjectStorageParams, one: MonthRow, project: Known | None) -> Row:
    row: dict[str, Any] = {"month": month_text(one.month)}
    if project is not None:
        row |= {"project_id": project.id, "project": project.name}
    row |= dict(zip(COUNTED, one.held, strict=True))
    row |= {f"{name}_delta": number for name, number in zip(COUNTED, one.grown, strict=True)}
    row["active_byte_months"] = one.active_byte_months
    row["trash_byte_months"] = one.trash_byte_months
    row["active_size"] = in_unit(one.held[1], params.unit)
    row["trash_size"] = in_unit(one.held[3], params.unit)
    return row


def in_unit(size_bytes: int, unit: str) -> float:
    """Return a size in a unit, rounded to three places."""
    return float((Decimal(size_bytes) / UNITS[unit]).quantize(PLACES))
