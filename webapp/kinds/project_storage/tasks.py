"""What workers do for project storage: count a project's events, remove what is left of one.

Each is a job that is stored with the events, or with the deletion, it is about.
"""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from typing import Any

from sqlalchemy import delete, func, select

from webapp import jobs
from webapp.accounts import Scope
from webapp.extensions import db
from webapp.kinds.project_storage import counting
from webapp.kinds.project_storage.models import FileEvent, Project

EVENTS_PER_DELETE = 20_000
LONGEST_S = 3600
WAITED_LONG = timedelta(seconds=10)


def _count(attempt: jobs.Attempt, payload: dict[str, Any]) -> None:
    while counting.count_step(payload["project"]):
        attempt.check()


def _purge(attempt: jobs.Attempt, payload: dict[str, Any]) -> None:
    while not purge(payload["project"]):
        attempt.check()


def _recount(_attempt: jobs.Attempt, payload: dict[str, Any]) -> None:
    counting.recount(payload["project"])


# Counting takes moments; it need not wait behind reports that take hours.
COUNT = jobs.Task(
    "project-storage-count", _count, "count", timeout_s=LONGEST_S, kept_s=0, at_front=True
)
PURGE = jobs.Task("project-storage-purge", _purge, "purge", timeout_s=LONGEST_S, kept_s=0)
RECOUNT = jobs.Task("project-storage-recount", _recount, "recount", timeout_s=LONGEST_S, kept_s=0)


def start(task: jobs.Task, scope: Scope, project_key: int) -> None:
    """Add a project's job to the session; of each task one may wait at a time."""
    jobs.start(
        task.name,
        company_id=scope.company_id,
        user_id=scope.user_id,
        payload={"project": project_key},
        key=str(project_key),
    )


def purge(project_key: int) -> bool:
    """Remove some of a deleted project's events, at the end the project; say whether all is gone.

    A project that is not deleted is left alone. Commits.
    """
    project = db.session.get(Project, project_key, populate_existing=True)
    if project is None or project.deleted_at is None:
        return True
    events = FileEvent.project_key == project_key
    first = db.session.scalar(select(func.min(FileEvent.seq)).where(events))
    if first is None:
        db.session.execute(delete(Project).where(Project.key == project_key))
    else:
        step = delete(FileEvent).where(events, FileEvent.seq < first + EVENTS_PER_DELETE)
        db.session.execute(step)
    db.session.commit()
    return first is None


def count_overdue(budget_s: float = 1.0, longer_than: timedelta = WAITED_LONG) -> int:
    """Count, for about so long, what waits behind long reports; return how many steps were done.

    So the stats are current to some seconds while all workers are busy.
    """
    until = monotonic() + budget_s
    steps = 0
    for key in counting.waiting_projects(longer_than=longer_than):
        while monotonic() < until and counting.count_step(key):
            steps += 1
    return steps
