"""The report: growth of a user's projects by month.

The months are current as soon as events are counted, so nothing of them is kept a second time among
the engine's stored months: a late event could only make such a copy wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from webapp.accounts import User, scope_of
from webapp.engine.kind import Context, Result, Row, Run
from webapp.engine.results import SpooledRows
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.kinds.project_storage import counting
from webapp.kinds.project_storage.compute import COUNTED, GROWTH, MONTHLY, moment_us, month_rows
from webapp.kinds.project_storage.models import StorageMonth
from webapp.kinds.project_storage.overview import look_over, projects_seen
from webapp.kinds.project_storage.params import UNITS, ProjectStorageParams
from webapp.lib.batches import batched
from webapp.lib.moments import rfc3339
from webapp.lib.months import month_text, months_between

PROJECTS_PER_STEP = 200
PLACES = Decimal("0.001")
WARNINGS_KEPT = 20
Changes = dict[date, list[int]]


def make_growth(params: ProjectStorageParams, run: Run, context: Context) -> Result:
    """Return the growth of the projects the asking user has a role in.

    Raises: NotFound where the one asked for is not among them
    """
    found = _counted_projects(run, params)
    months = months_between(params.start, params.end)
    run.set_total(len(found))
    run.log(f"{len(found):,} projects, {len(months):,} months.")
    now = context.now()
    sums = [(0,) * len(GROWTH) for _ in months]
    rows = SpooledRows()
    done = 0
    for step in batched(found, PROJECTS_PER_STEP):
        run.check()
        openings, changes = _month_changes([one.key for one in step], months[0], months[-1])
        for project in step:
            key, named = project.key, {"project_id": project.id, "project": project.name}
            made = month_rows(openings[key], changes[key], months, moment_us(now))
            rows.extend(
                _row(params, month, one, named) for month, one in zip(months, made, strict=True)
            )
            sums = [
                tuple(map(sum, zip(total, one, strict=True)))
                for total, one in zip(sums, made, strict=True)
            ]
        done += len(step)
        run.advance(f"{done:,} of {len(found):,} projects.", by=len(step))
    totals = [_row(params, month, total, {}) for month, total in zip(months, sums, strict=True)]
    last = totals[-1]
    run.log(
        f"{last['active_file_versions']:,} versions, {last['active_bytes']:,} bytes active at the "
        f"end; {last['trash_bytes']:,} bytes in the trash."
    )
    whole = params.whose == "company" and not params.project
    look = look_over(run.company_id, found, months, whole=whole)
    db.session.remove()
    head = {
        "project": str(params.project) if params.project else None,
        "start": month_text(params.start),
        "end": month_text(params.end),
        "unit": params.unit,
        "generated_at": rfc3339(now, "milliseconds"),
        "complete": True,
        "projects": len(found),
        "held": {name: last[name] for name in COUNTED},
        "whose": params.whose,
        "warnings": look.warnings[:WARNINGS_KEPT],
        "company": look.company,
        "frees": sum(row["trash_bytes"] for row in look.trash),
        "opening_active_bytes": totals[0]["active_bytes"] - totals[0]["active_bytes_delta"],
    }
    tables = {
        name: [_with_sizes(row, params.unit) for row in getattr(look, name)]
        for name in ("projects", "providers", "uploaders", "trash")
    }
    return Result(head, {"growth": rows, "months": totals, **tables})


def _counted_projects(run: Run, params: ProjectStorageParams) -> Sequence[Any]:
    """Return the report's projects by name, their waiting events counted first."""
    project_id = str(params.project) if params.project else None
    # The role that showed the whole company may have gone since the report was asked for.
    user = db.session.get(User, run.user_id)
    scope = scope_of(user, run.company_id) if user else None
    whole = params.whose == "company" and scope is not None and scope.may("admin")
    found = projects_seen(run.company_id, run.user_id, whole=whole, project_id=project_id)
    db.session.commit()
    if project_id and not found:
        raise NotFound("There is no such project among those you have a role in.")
    for project in found:
        if project.waits:
            counted = counting.count_project(project.key)
            run.log(f"{project.name}: {counted:,} waiting events counted first.")
    return found


def _month_changes(
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
            before = changes[key].get(month, [0] * len(MONTHLY))
            changes[key][month] = [a + b for a, b in zip(before, change, strict=True)]
    # A report of many projects takes a while; no connection waits with it.
    db.session.remove()
    return openings, changes


def _row(
    params: ProjectStorageParams, month: date, numbers: Sequence[int], named: dict[str, str]
) -> Row:
    row = dict(zip(GROWTH, numbers, strict=True))
    return {"month": month_text(month), **named, **_with_sizes(row, params.unit)}


def _with_sizes(row: Row, unit: str) -> Row:
    """Return a row with its bytes in a unit beside them."""
    sizes = {
        name.replace("_bytes", "_size"): None if value is None else in_unit(value, unit)
        for name, value in row.items()
        if name.endswith("_bytes")
    }
    return {**row, **sizes}


def in_unit(size_bytes: int, unit: str) -> float | int:
    """Return a size in a unit, rounded to three places.

    Beyond 2**53 it is a whole number: a float would lose digits, and is written with an exponent.
    """
    size = Decimal(size_bytes) / UNITS[unit]
    return int(size.to_integral_value()) if abs(size) >= 2**53 else float(size.quantize(PLACES))
