"""The report: growth of a user's projects by month, from what `facts` knows of them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from webapp.engine.kind import Context, Result, Row, Run
from webapp.engine.spooled import SpooledRows
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.kinds.project_storage.compute import COUNTED, MonthRow, moment_us, month_rows
from webapp.kinds.project_storage.facts import (
    RoleProject,
    count_waiting,
    month_changes,
    projects_of,
)
from webapp.kinds.project_storage.params import UNITS, ProjectStorageParams
from webapp.lib.moments import rfc3339
from webapp.lib.months import month_text, months_between

PROJECTS_PER_STEP = 200
PLACES = Decimal("0.001")


def make_growth(params: ProjectStorageParams, run: Run, context: Context) -> Result:
    """Return the growth of the projects the asking user has a role in.

    Raises: NotFound where the one asked for is not among them
    """
    found = _counted_projects(run, params)
    months = months_between(params.start, params.end)
    run.set_total(len(found))
    run.log(f"{len(found):,} projects, {len(months):,} months.")
    now = context.now()
    sums: list[list[int]] = [[0] * 10 for _ in months]
    rows = SpooledRows()
    for first in range(0, len(found), PROJECTS_PER_STEP):
        run.check()
        step = found[first : first + PROJECTS_PER_STEP]
        openings, changes = month_changes([one.key for one in step], months[0], months[-1])
        for project in step:
            key = project.key
            made = month_rows(openings[key], changes[key], months, moment_us(now))
            rows.extend(_row(params, one, project) for one in made)
            sums = [_added(total, one) for total, one in zip(sums, made, strict=True)]
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
        "generated_at": rfc3339(now, "milliseconds"),
        "complete": True,
        "projects": len(found),
        "held": {name: last[name] for name in COUNTED},
        "opening_active_bytes": totals[0]["active_bytes"] - totals[0]["active_bytes_delta"],
    }
    return Result(head, {"growth": rows, "months": totals})


def _counted_projects(run: Run, params: ProjectStorageParams) -> list[RoleProject]:
    """Return the report's projects by name, their waiting events counted first."""
    project_id = str(params.project) if params.project else None
    found = projects_of(run.company_id, run.user_id, project_id)
    db.session.commit()
    if project_id and not found:
        raise NotFound("There is no such project among those you have a role in.")
    for project in found:
        if project.waits:
            counted = count_waiting(project)
            run.log(f"{project.name}: {counted:,} waiting events counted first.")
    return found


def _added(total: list[int], one: MonthRow) -> list[int]:
    numbers = (*one.held, *one.grown, one.active_byte_months, one.trash_byte_months)
    return [old + new for old, new in zip(total, numbers, strict=True)]


def _total(params: ProjectStorageParams, month: date, total: list[int]) -> Row:
    one = MonthRow(month, tuple(total[:4]), tuple(total[4:8]), total[8], total[9])
    return _row(params, one, None)


def _row(params: ProjectStorageParams, one: MonthRow, project: RoleProject | None) -> Row:
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


def in_unit(size_bytes: int, unit: str) -> float | int:
    """Return a size in a unit, rounded to three places.

    Beyond 2**53 it is a whole number: a float would lose digits, and is written with an exponent.
    """
    size = Decimal(size_bytes) / UNITS[unit]
    return int(size.to_integral_value()) if abs(size) >= 2**53 else float(size.quantize(PLACES))
