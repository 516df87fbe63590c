"""A kind of report whose work is handed in by the test, and short ways to make and read reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date
from typing import Any, Literal

from flask import Flask
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select, update

from tests.conftest import find_scope
from webapp import jobs
from webapp.engine import service
from webapp.engine.kind import Column, ReportKind, Result, Row, Run, Table
from webapp.engine.models import RUNNING, Report
from webapp.engine.registry import kinds
from webapp.extensions import db
from webapp.jobs import Job, StatusLine, executor
from webapp.lib.bodies import Month

COLUMNS = (
    Column("name", "Name"),
    Column("code", "Code", "id"),
    Column("count", "Count", "integer"),
    Column("share", "Share", "decimal", "percent"),
    Column("month", "Month", "month"),
    Column("day", "Day", "date"),
    Column("at", "At", "datetime"),
    Column("open", "Open", "boolean"),
)


def widget(name: str) -> dict[str, Any]:
    return {"form": {"widget": name}}


class StepParams(BaseModel):
    """Parameters of every type a form can have."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field("steps", max_length=20, json_schema_extra=widget("text"))
    many: int = Field(1, ge=1, le=1000, json_schema_extra=widget("number"))
    exact: bool = Field(False, json_schema_extra=widget("checkbox"))
    pick: Literal["one", "two"] = Field(
        "one",
        json_schema_extra={"form": {"widget": "radio", "choices": [["one", "1"], ["two", "2"]]}},
    )
    month: Month | None = Field(None, json_schema_extra=widget("month"))
    day: date | None = Field(None, json_schema_extra=widget("date"))
    password: str | None = Field(None, json_schema_extra=widget("password"))


Work = Callable[[Run], Result]


def rows_result(rows: Iterable[Row] = (), complete: bool = True) -> Result:
    return Result({"note": "made", "complete": complete}, {"rows": list(rows)}, complete)


class Steps(ReportKind):
    """A kind of the tests; `work` is what its next runs do."""

    slug = "steps"
    title = "Steps"
    Params = StepParams
    secret_params = frozenset({"password"})

    def __init__(self, work: Work = lambda run: rows_result()) -> None:
        self.work = work

    def run(self, params: Any, run: Run, context: Any) -> Result:
        return self.work(run)

    def describe(self, params: Any) -> str:
        return str(params.get("title", ""))

    def tables(self, head: Any) -> tuple[Table, ...]:
        return (Table("rows", "Rows", COLUMNS),)


def start(app: Flask, who: str = "owner", **params: Any) -> str:
    """Make a queued report that no worker is told of; return its id."""
    with app.app_context():
        scope = find_scope(app, who)
        slug = next(iter(kinds()))
        return service.start_report(scope, slug, params, enqueue=False).report.id


def run(app: Flask, report_id: str) -> Report:
    """Run a queued report in this process and return its row."""
    with app.app_context():
        with suppress(Exception):
            jobs.run_queued(report_id)
        return row(app, report_id)


def make(app: Flask, work: Work, who: str = "owner", **params: Any) -> Report:
    """Make and run a report whose work this is."""
    app.extensions["report_kinds"]["steps"].work = work
    return run(app, start(app, who, **params))


def row(app: Flask, report_id: str) -> Report:
    """Return a report's row, detached."""
    with app.app_context():
        report = db.session.get_one(Report, report_id)
        db.session.refresh(report)
        db.session.expunge(report)
        return report


def lines(app: Flask, report_id: str) -> list[tuple[int, str]]:
    """Return a report's status lines in their order."""
    with app.app_context():
        found = db.session.execute(
            select(StatusLine.seq, StatusLine.text)
            .where(StatusLine.job_id == report_id)
            .order_by(StatusLine.seq)
        )
        return [(seq, text) for seq, text in found]


def change(app: Flask, report_id: str, **values: Any) -> None:
    """Change the row of a report's job behind everybody's back."""
    with app.app_context():
        db.session.execute(update(Job).where(Job.id == report_id).values(**values))
        db.session.commit()


def begin(app: Flask, report_id: str, **secrets: str) -> Run:
    """Take a queued report as a worker does and return its run, without doing any work."""
    with app.app_context():
        report = executor.take(report_id)
        assert report is not None
        assert report.status == RUNNING
        attempt = executor.attempt_at(report, secrets)
        assert isinstance(attempt, Run)
        return attempt
