"""What the workers do for a kind's reports: its `run`, then the result, written with the end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from flask import current_app
from sqlalchemy import Connection, delete, insert, null, select, update

from webapp.engine.kind import ReportKind, Result, Row, Run, StoredResult
from webapp.engine.models import CANCELLED, DONE, FAILED, INCOMPLETE, ReportEntry, ResultRow
from webapp.engine.params import stored_params
from webapp.engine.registry import context, kind_named
from webapp.engine.results import replayable
from webapp.engine.run import REPORT
from webapp.errors import ReportError
from webapp.extensions import db
from webapp.jobs import Ending, Task
from webapp.lib.batches import batched
from webapp.lib.moments import rfc3339, utcnow
from webapp.lib.texts import made_storable

ROWS_PER_INSERT = 1000
MOST_OF_COURSE = 400
# In JSON, what Postgres keeps but does not look into: NUL and surrogates, whole pairs too.
ESCAPED = re.compile(r"\\u(0000|d[89a-f])")
RETRY_CANCELLED = "Trying again was cancelled."
KEPT = "The result from before is kept."


def task_of(kind: ReportKind) -> Task:
    """Return what workers do for the reports of a kind."""
    return Task(kind.slug, run=make, noun="report", in_turn=True, attempt=Run, on_end=keep_result)


def make(attempt: Run, _payload: dict[str, Any]) -> None:
    """Let the kind make a report, and store what it found out with the end."""
    kind = kind_named(attempt.task.name)
    store(attempt, kind.run(stored_params(kind, attempt.params), attempt, context()))


def store(attempt: Run, result: Result) -> None:
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

    entry = brief(kind, Unsaved(attempt.company_id, head, tables))
    # A kind may have looked something up; no connection waits for what is written now.
    db.session.rollback()

    def write(connection: Connection) -> None:
        connection.execute(delete(ResultRow).where(ResultRow.report_id == attempt.job_id))
        for table, rows in tables.items():
            for batch in batched(numbered(table, rows), ROWS_PER_INSERT):
                connection.execute(insert(ResultRow), batch)
        connection.execute(update(REPORT).where(REPORT.c.id == attempt.job_id).values(head=head))
        of_report = update(ReportEntry).where(ReportEntry.report_id == attempt.job_id)
        connection.execute(of_report.values(**entry))

    attempt.finish(DONE if result.complete else INCOMPLETE, write)


@dataclass
class Unsaved:
    """A result before it is stored, in the shape of one that was read back."""

    company_id: str
    head: dict[str, Any]
    tables: Mapping[str, Iterable[Row]]

    def rows(self, table: str) -> Iterator[Row]:
        return iter(self.tables.get(table, ()))


def brief(kind: ReportKind, result: StoredResult) -> dict[str, Any]:
    """Return what lists show of a result: its first figure, and its course over months or days."""
    figures = kind.answer(result).figures
    figure = course = None
    if figures:
        first = figures[0]
        value = as_json(first.value)
        figure = {"label": first.label, "value": value, "type": first.type, "note": first.note}
    types = {(t.name, c.name): c.type for t in kind.tables(result.head) for c in t.columns}
    for chart in kind.charts(result.head)[:1]:
        if types.get((chart.table, chart.x)) in {"month", "date"}:
            rows = islice(result.rows(chart.table), MOST_OF_COURSE)
            shown = (kind.grid_row(chart.table, row, result.head) for row in rows)
            course = [row.get(chart.views[0][1]) for row in shown]
    return {"figure": figure, "course": course}


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
