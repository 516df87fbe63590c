"""How a report ends: what a failed or cancelled retry leaves, and what the last line says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from tests.conftest import find_scope
from tests.engine.engine_helpers import begin, change, lines, make, row, rows_result, run, start
from webapp import jobs
from webapp.engine import service
from webapp.engine.kind import Result, Run
from webapp.engine.results import ReadResult
from webapp.errors import PartnerRefused
from webapp.extensions import db
from webapp.jobs import Checkpoint, janitor
from webapp.lib.moments import utcnow

HUSH = "hush-hush-canary-4711"


def test_a_secret_that_cannot_be_unsealed_fails_the_report_at_once(steps: Flask) -> None:
    report_id = start(steps, password=HUSH)
    change(steps, report_id, sealed="gAAAAA")
    report = run(steps, report_id)
    assert (report.status, report.sealed) == ("failed", None)
    assert "SECRET_KEY" in (report.error or "")
    assert "worker" not in (report.error or "")
    assert len(lines(steps, report_id)) == 1


# A retry of a report that has a result


def with_holes(app: Flask) -> str:
    """Make an incomplete report with one row and one checkpoint, and queue it again."""

    def work(run: Run) -> Result:
        run.save_checkpoints({"a": 1})
        return rows_result([{"name": "kept"}], complete=False)

    report_id = make(app, work).id
    retry(app, report_id)
    return report_id


def retry(app: Flask, report_id: str) -> None:
    with app.app_context():
        service.retry_report(find_scope(app, "owner"), report_id, {})


def refused(run: Run) -> Result:
    raise PartnerRefused("The partner said no.")


def fails(app: Flask, report_id: str) -> None:
    app.extensions["report_kinds"]["steps"].work = refused
    run(app, report_id)


def is_cancelled_in_the_queue(app: Flask, report_id: str) -> None:
    with app.app_context():
        service.cancel_report(find_scope(app, "owner"), report_id)


def is_cancelled_in_its_run(app: Flask, report_id: str) -> None:
    begin(app, report_id)
    is_cancelled_in_the_queue(app, report_id)


def loses_its_workers(app: Flask, report_id: str) -> None:
    change(app, report_id, lost=2)
    begin(app, report_id)
    with app.app_context():
        janitor.sweep(utcnow() + timedelta(seconds=60))


ENDS = {
    fails: "The partner said no.",
    is_cancelled_in_the_queue: "cancelled",
    is_cancelled_in_its_run: "cancelled",
    loses_its_workers: "The worker was lost 3 times",
}


@pytest.mark.parametrize("how", ENDS)
def test_a_retry_that_comes_to_nothing_leaves_the_result_as_it_was(
    steps: Flask, how: Callable[[Flask, str], None]
) -> None:
    report_id = with_holes(steps)
    how(steps, report_id)
    report = row(steps, report_id)
    assert report.status == "incomplete"
    assert ENDS[how] in (report.error or "")
    assert "The result from before is kept." in (report.error or "")
    assert (report.sealed, report.lease_until) == (None, None)
    with steps.app_context():
        assert [one["name"] for one in ReadResult(report).rows("rows")] == ["kept"]
        assert db.session.query(Checkpoint).count() == 1
    retry(steps, report_id)
    assert row(steps, report_id).error is None
    steps.extensions["report_kinds"]["steps"].work = lambda run: rows_result([{"name": "new"}])
    assert (run(steps, report_id).status, row(steps, report_id).error) == ("done", None)


@pytest.mark.parametrize("how", ENDS)
def test_its_listeners_hear_how_it_stands(steps: Flask, how: Callable[[Flask, str], None]) -> None:
    report_id = with_holes(steps)
    how(steps, report_id)
    with steps.app_context():
        events = [event for event in jobs.Listening(report_id) if event is not None]
    assert events[-1].data == {"status": "incomplete"}
    assert any(ENDS[how].lower() in event.data["text"].lower() for event in events[:-1])


def test_without_a_result_a_retry_ends_as_any_report_does(steps: Flask) -> None:
    report_id = make(steps, refused).id
    retry(steps, report_id)
    fails(steps, report_id)
    assert (row(steps, report_id).status, row(steps, report_id).error) == (
        "failed",
        "The partner said no.",
    )
    retry(steps, report_id)
    is_cancelled_in_the_queue(steps, report_id)
    assert row(steps, report_id).status == "cancelled"


# The last line


def test_a_done_report_has_all_its_steps_behind_it(steps: Flask) -> None:
    def work(run: Run) -> Result:
        run.set_total(10)
        run.advance("One of ten.")
        return rows_result()

    report = make(steps, work)
    assert (report.status, report.done, report.total) == ("done", 10, 10)
    assert lines(steps, report.id) == [(1, "One of ten."), (2, "The report is done.")]
    with steps.app_context():
        events = [event for event in jobs.Listening(report.id) if event is not None]
    assert (events[-2].data["done"], events[-2].data["total"]) == (10, 10)
    assert (events[-1].type, events[-1].seq) == ("end", 2)


def test_steps_that_were_too_many_to_be_told_are_told_at_the_end(steps: Flask) -> None:
    def work(run: Run) -> Result:
        run.set_total(100)
        for number in range(100):
            run.advance(f"Step {number}.")
        return rows_result()

    report = make(steps, work)
    assert lines(steps, report.id)[-1][1] == "The report is done."
    assert (report.done, report.total) == (100, 100)


def test_a_last_line_that_says_all_is_the_last_one(steps: Flask) -> None:
    def work(run: Run) -> Result:
        run.set_total(2)
        run.advance("One.")
        run.advance("Two.")
        return rows_result()

    assert lines(steps, make(steps, work).id) == [(1, "One."), (2, "Two.")]
    assert lines(steps, make(steps, lambda run: rows_result()).id) == []


def test_holes_leave_the_bar_where_it_was(steps: Flask) -> None:
    def work(run: Run) -> Result:
        run.set_total(10)
        run.advance("One of ten.")
        return rows_result(complete=False)

    report = make(steps, work)
    assert (report.status, report.done, report.total) == ("incomplete", 1, 10)
