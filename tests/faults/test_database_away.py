"""A database that is away for longer than a run waits: begun again, then ended with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError, ProgrammingError

from tests.conftest import add_people
from tests.engine.engine_helpers import Steps, lines, row, rows_result, run, start
from webapp.engine.kind import Result, Run
from webapp.engine.months import MonthStore
from webapp.extensions import db, report_queue
from webapp.jobs import janitor
from webapp.lib.moments import utcnow

CANARY = "planted-canary"


def gone(run: Run) -> Result:
    raise OperationalError("SELECT 1", {"a": CANARY}, Exception("server closed the connection"))


@pytest.fixture
def steps(make_app: Callable[..., Flask]) -> Flask:
    app = make_app(report_kinds=(Steps(gone),))
    add_people(app)
    return app


def test_a_report_whose_database_was_away_begins_again_and_ends_right(steps: Flask) -> None:
    report_id = start(steps, password=CANARY)
    assert run(steps, report_id).status == "queued"
    assert lines(steps, report_id) == [
        (1, "The database was away; starting again, attempt 2 of 3.")
    ]
    with steps.app_context():
        assert report_queue().get_job_ids() == []
        janitor.sweep(utcnow() + janitor.QUEUED_TOO_LONG * 2)
        assert report_queue().get_job_ids() == [report_id]
    steps.extensions["report_kinds"]["steps"].work = lambda run: rows_result()
    report = run(steps, report_id)
    assert (report.status, report.attempt, report.sealed) == ("done", 2, None)


def test_away_too_often_it_fails_with_the_reason_and_without_the_secret(steps: Flask) -> None:
    report_id = start(steps, password=CANARY)
    for _ in range(3):
        report = run(steps, report_id)
    assert (report.status, report.sealed) == ("failed", None)
    assert str(report.error).startswith("The database was away for too long")
    assert [seq for seq, _ in lines(steps, report_id)] == [1, 2, 3]
    assert CANARY not in str(lines(steps, report_id))


def test_a_fault_in_a_statement_is_not_an_outage(steps: Flask) -> None:
    def wrong(run: Run) -> Result:
        raise ProgrammingError("SELECT nothing", {"a": CANARY}, Exception("no such column"))

    steps.extensions["report_kinds"]["steps"].work = wrong
    report = run(steps, start(steps, password=CANARY))
    assert report.status == "failed"
    assert "ProgrammingError" in str(report.error)


def test_stored_months_are_read_and_saved_again_after_an_outage(steps: Flask) -> None:
    tries: list[str] = []

    def patiently(work: Callable[[], Any]) -> Any:
        tries.append("try")
        return work()

    with steps.app_context():
        stored = MonthStore(db.engine, row_company(steps), "steps", 30.0, retrying=patiently)
        from datetime import date

        month = date(2024, 1, 1)
        assert stored.save("p", [("a", month, 5, utcnow())]) == 1
        assert [one.value for one in stored.fresh("p", iter(["a"]), month, month).values()] == [5]
    assert tries == ["try", "try"]


def row_company(app: Flask) -> str:
    return row(app, start(app)).company_id
