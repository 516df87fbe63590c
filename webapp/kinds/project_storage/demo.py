"""A made-up company's projects: a year of uploads, of which some are thrown away and purged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from webapp.accounts import User, scope_of
from webapp.extensions import db
from webapp.kinds.project_storage.bodies import NewProject, NewProvider
from webapp.kinds.project_storage.counting import count_project
from webapp.kinds.project_storage.ingest import take_events
from webapp.kinds.project_storage.models import Project
from webapp.kinds.project_storage.projects import create_project, create_provider
from webapp.lib.moments import utcnow
from webapp.lib.months import current_month, month_end, next_month

MONTHS = 12
# Name, uploads a month, bytes of each, which share of them is thrown away (one in so many).
PROJECTS = (
    ("Harbour survey", 14, 48_300_000, 5),
    ("Bridge model", 6, 310_500_000, 3),
    ("Archive", 2, 1_250_000_000, 0),
)


def make_demo(company_id: str) -> int:
    """Store projects and their file events for a company that has none; return how many events."""
    if db.session.scalar(select(Project.key).where(Project.company_id == company_id).limit(1)):
        return 0
    user = db.session.scalar(
        select(User).where(User.home_company_id == company_id).order_by(User.created_at).limit(1)
    )
    scope = scope_of(user, company_id) if user else None
    if scope is None:
        return 0
    provider_id, taken = (
        create_provider(
            scope, NewProvider(name="Main storage", description="Made up for the demo")
        ).id,
        0,
    )
    for number, (name, *shape) in enumerate(PROJECTS, 1):
        project = create_project(scope, NewProject(name=name))
        project_key, verdicts = take_events(
            scope, project.id, list(_events(number, provider_id, *shape))
        )
        count_project(project_key)
        taken += len(verdicts)
    return taken


def _events(
    project: int, provider_id: str, uploads: int, size: int, trashed: int
) -> Iterator[dict[str, Any]]:
    """Yield a year of events up to now; what is trashed in one month is purged in the next."""
    now = utcnow()
    first = next_month(current_month(), 1 - MONTHS)
    for month in range(MONTHS):
        start = month_end(next_month(first, month - 1))
        for number in range(uploads + month % 4):
            at = start + timedelta(days=1 + number * 26 / (uploads + 4))
            version = f"demo-{project}-{month}-{number}"
            upload = {
                "bytes": size * (60 + (number * 37 + month * 11) % 80) // 100,
                "storage_provider_id": provider_id,
            }
            steps: list[tuple[str, datetime, dict[str, Any]]] = [("upload", at, upload)]
            if trashed and number % trashed == trashed - 1:
                steps.append(("trash", at + timedelta(days=9), {}))
                if number % 2:
                    steps.append(("purge", at + timedelta(days=39), {}))
            named = {"file_version_id": version}
            yield from (
                {"id": f"{version}-{kind}", "type": kind, "at": at.isoformat(), **named, **more}
                for kind, at, more in steps
                if at < now
            )
