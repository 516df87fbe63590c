"""An attempt at a report: a job's attempt, and what a kind may call beside it.

`task_of` is what the workers do for a kind's reports: its `run`, then the result written in the
transaction that ends the report.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from flask import Flask, current_app
from sqlalchemy import Connection, delete, insert, null, select, update

from webapp.counters import counters
from webapp.engine.kind import ReportKind, Result, Row
from webapp.engine.models import CANCELLED, DONE, FAILED, INCOMPLETE, Report, ResultRow
from webapp.engine.months import CompanyMonths
from webapp.engine.params import stored_params
from webapp.engine.registry import context, kind_named
from webapp.engine.spooled import replayable
from webapp.errors import ReportError
from webapp.extensions import Base
from webapp.jobs import Attempt, Ending, Job, Task
from webapp.lib.moments import rfc3339, utcnow
from webapp.lib.texts import made_storable

ROWS_PER_INSERT = 1000
# In JSON, what Postgres keeps but does not look into: NUL and surrogates, whole pairs too.
ESCAPED = re.compile(r"\\u(0000|d[89a-f])")
# The table of a report's own columns, without those of its job.
REPORT = Base.metadata.tables["report"]
RETRY_CANCELLED = "Trying again was cancelled."
KEPT = "The result from before is kept."


class ReportAttempt(Attempt):
    """The `Run` of engine/kind.py over the database. Thread-safe."""

    def __init__(self, app: Flask, task: Task, job: Job, secrets: dict[str, str]) -> None:
        super().__init__(app, task, job, secrets)
        assert isinstance(job, Report)
        self.report_id, self.attempt = self.job_id, self.number
        self.params = dict(job.params)
        self._made, self._saved = self._written = job.calls_made, job.calls_saved
        self.months = CompanyMonths(
            self._engine,
            job.company_id,
            job.kind,
            app.config["MONTHS_KEPT_DAYS"],
            self.fenced,
            self.retry_while_database_is_down,
            partial(counters(app).add, "months", job.kind),
        )

    def calls(self, *, made: int = 0, saved: int = 0) -> None:
        """Count calls to the partner, and calls that stored values made unnecessary."""
        with self._lock:
            self._made += made
            self._saved += saved

    @property
    def calls_made(self) -> int:
        return self._made

    @property
    def calls_saved(self) -> int:
        return self._saved

    def write_along(self, connection: Connection) -> None:
        """Write the calls counted so far, where there are new ones."""
        counted = self._made, self._saved
        if counted != self._written:
            connection.execute(
                update(REPORT)
                .where(REPORT.c.id == self.job_id)
                .values(calls_made=counted[0], calls_saved=counted[1])
            )
            self._written = counted


def task_of(kind: ReportKind) -> Task:
    """Return what workers do for the reports of a kind."""
    return Task(
        kind.slug, run=make, noun="report", in_turn=True, attempt=ReportAttempt, on_end=keep_result
    )


def make(attempt: ReportAttempt, _payload: dict[str, Any]) -> None:
    """Let the kind make a report, and store what it found out with the end."""
    kind = kind_named(attempt.task.name)
    try:
        result = kind.run(stored_params(kind, attempt.params), attempt, context())
        store(attempt, result)
    finally:
        counters().flush()


def store(attempt: ReportAttempt, result: Result) -> None:
    """Write a result and the end of its report in one transaction."""
    tables = {name: replayable(rows) for name, rows in result.tables.items()}
    # What every result says; a kind that knows it better has said so.
    said = {"generated_at": rfc3339(utcnow()), "complete": result.complete}
    head = result.head | {name: value for name, value in said.items() if name not in result.head}

    kind = kind_named(attempt.task.name)
    columns = {table.name: table.columns for table in kind.tables(head)}
    most = current_app.config["RESULT_ROWS_MOST"]

    def numbered(table: str, rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
        for position, row in enumerate(rows):
            if position >= most:
                raise ReportError(
                    f"The result has more than {most:,} rows, which is as many as are kept. Ask "
                    "for fewer months, or for less at a time."
                )
            # Beside it, so that the database can sort and search what a grid shows.
            shown = kind.grid_row(table, row, head)
            beside = None
            if shown is not row or ESCAPED.search(json.dumps(row)):
                names = [column.name for column in columns.get(table, ())]
                beside = {name: as_json(shown.get(name)) for name in names}
            yield {
                "report_id": attempt.job_id,
                "table_name": table,
                "position": position,
                "data": row,
                "shown": beside,
            }

    def write(connection: Connection) -> None:
        connection.execute(delete(ResultRow).where(ResultRow.report_id == attempt.job_id))
        for table, rows in tables.items():
            lines = numbered(table, rows)
            while batch := list(islice(lines, ROWS_PER_INSERT)):
                connection.execute(insert(ResultRow), batch)
        connection.execute(update(REPORT).where(REPORT.c.id == attempt.job_id).values(head=head))

    attempt.finish(DONE if result.complete else INCOMPLETE, write)


def as_json(value: Any) -> Any:
    """Return what a grid shows in a cell as JSON that both databases can look into."""
    if isinstance(value, int | float | None):
        return value
    return made_storable(str(value))


def keep_result(connection: Connection, report_id: str, ending: Ending) -> Ending:
    """Return how a report ends: one that has a result already keeps it.

    Where its retry fails or is cancelled it is incomplete again, its error says what the retry met,
    and it may be tried again.
    """
    has_result = select(REPORT.c.head.is_not(null())).where(REPORT.c.id == report_id)
    if ending.status in {FAILED, CANCELLED} and connection.execute(has_result).scalar_one():
        return Ending(INCOMPLETE, f"{ending.error or RETRY_CANCELLED} {KEPT}")
    return ending
