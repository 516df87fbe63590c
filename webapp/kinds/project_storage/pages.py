"""`/project-storage`: a user's own storage, for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, render_template, request
from sqlalchemy import select

from webapp.accounts import Scope, current_scope, restrict
from webapp.engine.export import csv_attachment
from webapp.engine.kind import Column, Sheet
from webapp.extensions import db
from webapp.kinds.project_storage.compute import COUNTED, moment_at, moment_us
from webapp.kinds.project_storage.models import (
    ROLES,
    FileEvent,
    Permission,
    Project,
    Provider,
)
from webapp.kinds.project_storage.overview import Overview, look_over, projects_seen
from webapp.kinds.project_storage.stats import role_of, summed, user_stats
from webapp.lib.moments import utcnow
from webapp.lib.months import current_month, months_between, next_month

PROJECTS_PER_PAGE = 50
TREND_MONTHS = 12
# What projects can be sorted by: its heading, and whether the largest comes first.
SORTS = {
    "project": ("Project", False),
    "held_bytes": ("Held", True),
    "active_bytes": ("Active", True),
    "trash_bytes": ("Trash", True),
    "oldest_trash": ("Oldest trash", False),
    "grown_bytes": ("Grown in a year", True),
    "quota_used": ("Quota used", True),
    "full_in": ("Full in", False),
}
FILE_COLUMNS = (
    Column("project", "Project"),
    Column("project_id", "Project ID", "id"),
    *(Column(name, name, "integer", "bytes") for name in ("held_bytes", *COUNTED, "grown_bytes")),
    Column("oldest_trash", "Oldest trash", "month"),
    Column("quota_bytes", "Quota", "integer", "bytes"),
    Column("quota_used", "Quota used", "decimal", "%"),
    Column("full_in", "Full in", "month"),
)
EVENTS_SHOWN = 10
SIZES = ("kB", "MB", "GB", "TB", "PB", "EB")

bp = Blueprint(
    "project_storage", __name__, url_prefix="/project-storage", template_folder="templates"
)
restrict(bp)


@bp.app_template_filter("storage_size")
def storage_size(size_bytes: int) -> str:
    """Return a size in the unit that leaves 1.00 to 999.99 of it: `1.02 MB`; MB is 1000 kB."""
    if size_bytes < 1000:
        return f"{size_bytes:,} B"
    # Rounded first: 999,999 bytes are 1.00 MB, and no size is 1,000.00 of its unit.
    sizes = [(round(Decimal(size_bytes) / 1000**n, 2), unit) for n, unit in enumerate(SIZES, 1)]
    size, unit = next((one for one in sizes if one[0] < 1000), sizes[-1])
    return f"{size:,.2f} {unit}"


@bp.get("")
def show_storage() -> str:
    """Show projects by what they hold, providers, uploaders, trash, trend and newest events."""
    scope = current_scope()
    whole, look = _overview(scope)
    pages = max(-(-len(look.projects) // PROJECTS_PER_PAGE), 1)
    asked = request.args.get("page", "1")
    page = min(int(asked), pages) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 1
    first = (max(page, 1) - 1) * PROJECTS_PER_PAGE
    block = summed(user_stats(scope))
    return render_template(
        "project_storage/show_storage.html",
        scope=scope,
        whole=whole,
        look=look,
        totals={name: sum(row[name] for row in look.projects) for name in COUNTED},
        shown=look.projects[first : first + PROJECTS_PER_PAGE],
        events=newest_events(scope),
        now_us=moment_us(utcnow()),
        moment_at=moment_at,
        roles=ROLES,
        sorts=SORTS,
        sort=_sort(),
        page=max(page, 1),
        page_count=pages,
        as_of=datetime.fromisoformat(block["as_of"]),
    )


@bp.get("/projects.csv")
def download_projects() -> Response:
    """Give the same projects as a file, in the same order."""
    _, look = _overview(current_scope())
    sheet = Sheet("projects", "Projects", FILE_COLUMNS, look.projects)
    return csv_attachment(sheet, "project-storage.csv")


def _overview(scope: Scope) -> tuple[bool, Overview]:
    """Return whether the whole company was asked for, which admins may, and what there is."""
    whole = request.args.get("whose") == "company" and scope.may("admin")
    found = projects_seen(scope.company_id, scope.user_id, whole=whole)
    months = months_between(next_month(current_month(), 1 - TREND_MONTHS), current_month())
    look = look_over(scope.company_id, found, months, whole=whole)
    by, down = _sort(), SORTS[_sort()][1]
    known = [row for row in look.projects if row[by] is not None]
    known.sort(key=lambda row: row[by], reverse=down)
    look.projects[:] = known + [row for row in look.projects if row[by] is None]
    return whole, look


def _sort() -> str:
    asked = request.args.get("sort", "")
    return asked if asked in SORTS else "held_bytes"


def newest_events(scope: Scope) -> Sequence[Any]:
    """Return the newest events of the caller's projects: event, project, provider, newest first."""
    # They are among those of the projects that had events last.
    lively = (
        select(Project.key)
        .join(Permission, Permission.project_key == Project.key)
        .where(*role_of(scope), Project.received_at.is_not(None))
        .order_by(Project.received_at.desc())
        .limit(EVENTS_SHOWN)
    )
    query = (
        select(FileEvent, Project, Provider)
        .join(Project, Project.key == FileEvent.project_key)
        .outerjoin(Provider, Provider.key == FileEvent.provider_key)
        .where(Project.key.in_(lively), FileEvent.seq > Project.last_seq - EVENTS_SHOWN)
        .order_by(FileEvent.received_at.desc(), FileEvent.project_key, FileEvent.seq.desc())
        .limit(EVENTS_SHOWN)
    )
    return db.session.execute(query).all()
