"""Jobs done in the test's own process, one after the other, as a worker would."""

from __future__ import annotations

from contextlib import suppress

from flask import Flask
from sqlalchemy import select

from webapp import jobs
from webapp.errors import ReportError
from webapp.extensions import db


def run_jobs(app: Flask) -> None:
    """Do every job that is queued, and those they ask for, until none is left."""
    with app.app_context():
        waiting = select(jobs.Job.id).where(jobs.Job.status == jobs.QUEUED)
        while found := list(db.session.scalars(waiting)):
            db.session.rollback()
            for job_id in found:
                with suppress(ReportError):
                    jobs.run_queued(job_id)
        db.session.rollback()
