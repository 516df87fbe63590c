"""What a running report may use: its job's attempt, stored months, a count of calls."""

from __future__ import annotations

from functools import partial

from flask import Flask
from sqlalchemy import Connection, update

from webapp.counters import counters
from webapp.engine.models import Report
from webapp.engine.months import MonthStore
from webapp.extensions import Base
from webapp.jobs import Attempt, Job, Task

# The columns of a report alone, without those of its job.
REPORT = Base.metadata.tables["report"]


class Run(Attempt):
    """One attempt at a report; a kind may call it from the threads of its own pool."""

    def __init__(self, app: Flask, task: Task, job: Job, secrets: dict[str, str]) -> None:
        super().__init__(app, task, job, secrets)
        assert isinstance(job, Report)
        self.report_id, self.attempt = self.job_id, self.number
        self.params = dict(job.params)
        self.calls_made, self.calls_saved = self._written = job.calls_made, job.calls_saved
        self.months = MonthStore(
            self._engine,
            job.company_id,
            job.kind,
            app.config["MONTHS_KEPT_DAYS"],
            self.fenced,
            self.retry_while_database_is_down,
            partial(counters(app).add, "months", job.kind),
        )
        self._count_calls = partial(counters(app).add, "partner_calls", job.kind)

    def calls(self, *, made: int = 0, saved: int = 0) -> None:
        """Count calls to the partner, and calls that stored values made unnecessary."""
        with self._lock:
            self.calls_made += made
            self.calls_saved += saved
        for outcome, by in (("made", made), ("saved", saved)):
            if by:
                self._count_calls(outcome, by=by)

    def write_along(self, connection: Connection) -> None:
        counted = self.calls_made, self.calls_saved
        if counted != self._written:
            report = update(REPORT).where(REPORT.c.id == self.job_id)
            connection.execute(report.values(calls_made=counted[0], calls_saved=counted[1]))
            self._written = counted
