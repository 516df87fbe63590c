"""`/project-storage`: a user's own storage, for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from flask import Blueprint, render_template, request
from sqlalchemy import select

from webapp.accounts import Scope, current_scope, restrict
from webapp.extensions import db
from webapp.kinds.project_storage.compute import moment_at, moment_us
from webapp.kinds.project_storage.models import (
    ROLES,
    Counter,
    FileEvent,
    Permission,
    Project,
    Provider,
)
from webapp.kinds.project_storage.stats import (
    count_projects,
    list_items,
    provider_shares,
    role_of,
    summed,
    user_stats,
)
from webapp.lib.moments import utcnow

PROJECTS_PER_PAGE = 50
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
    """Show the caller's projects, shares of providers, trash and newest events."""
    scope = current_scope()
    total = count_projects(scope)
    pages = max(-(-total // PROJECTS_PER_PAGE), 1)
    asked = request.args.get("page", "1")
    page = min(int(asked), pages) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 1
    page = max(page, 1)
    block = summed(user_stats(scope))
    return render_template(
        "project_storage/show_storage.html",
        scope=scope,
        block=block,
        items=list_items(scope, (page - 1) * PROJECTS_PER_PAGE, PROJECTS_PER_PAGE),
        providers=provider_shares(scope),
        trash=fullest_trash(scope),
        events=newest_events(scope),
        now_us=moment_us(utcnow()),
        moment_at=moment_at,
        roles=ROLES,
        page=page,
        page_count=pages,
        as_of=datetime.fromisoformat(block["as_of"]),
    )


def fullest_trash(scope: Scope, limit: int = 10) -> Sequence[Any]:
    """Return where most could be freed: project, provider, counter, the caller's role."""
    query = (
        select(Project, Provider, Counter, Permission.auth_role)
        .join(Counter, Counter.project_key == Project.key)
        .join(Provider, Provider.key == Counter.provider_key)
        .join(Permission, Permission.project_key == Project.key)
        .where(*role_of(scope), Counter.trash_file_versions > 0)
        .order_by(Counter.trash_bytes.desc(), Project.key)
        .limit(limit)
    )
    return db.session.execute(query).all()


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
