"""The same thing asked twice at the same moment has one answer; wherever it is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, insert, select

from sandbox.testing import RunningStandIn
from tests.conftest import Api, add_people, find_scope
from tests.engine.engine_helpers import Steps, begin, change, lines, row, rows_result, start
from webapp import jobs
from webapp.engine import attempt, months, service
from webapp.engine.kind import Result, Run
from webapp.engine.models import Report
from webapp.errors import Conflict
from webapp.extensions import db, report_queue
from webapp.jobs import janitor
from webapp.kinds.project_storage.models import CompanyQuota
from webapp.lib.moments import utcnow

Params = Callable[..., dict[str, Any]]


def side_by_side(work: Callable[[int], Any], many: int) -> list[Any]:
    """Return what each of many threads got, started as close together as threads can be."""
    found: list[Any] = [None] * many
    gate = threading.Barrier(many)

    def one(number: int) -> None:
        gate.wait(60)
        try:
            found[number] = work(number)
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


@pytest.fixture
def steps(make_app: Callable[..., Flask]) -> Flask:
    app = make_app(report_kinds=(Steps(),), LEASE_SECONDS=2.0)
    add_people(app)
    return app


def test_one_idempotency_key_sent_eight_times_at_once_makes_one_report(
    app: Flask, api_for: Callable[[str], Api], partner_use: Params
) -> None:
    api = api_for("owner")
    body = {"kind": "partner-use", "params": partner_use()}

    def post(_: int) -> Any:
        return app.test_client().post(
            "/api/v1/reports", json=body, auth=api.auth, headers={"Idempotency-Key": "one-truth"}
        )

    answers = side_by_side(post, 8)
    assert {answer.status_code for answer in answers} == {202}, answers
    assert len({answer.json["id"] for answer in answers}) == 1
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(Report)) == 1
        assert report_queue().get_job_ids() == [answers[0].json["id"]]


def test_a_job_delivered_to_four_workers_is_run_once(steps: Flask) -> None:
    runs: list[str] = []

    def work(run: Run) -> Result:
        runs.append(run.report_id)
        run.log("at work")
        return rows_result([{"name": "one"}])

    steps.extensions["report_kinds"]["steps"].work = work
    report_id = start(steps)

    def deliver(_: int) -> None:
        with steps.app_context():
            jobs.run_queued(report_id)

    assert side_by_side(deliver, 4) == [None] * 4
    assert runs == [report_id]
    assert (row(steps, report_id).status, row(steps, report_id).attempt) == ("done", 1)
    assert [seq for seq, _ in lines(steps, report_id)] == [1]


def test_four_janitors_start_a_lost_report_again_once(steps: Flask) -> None:
    report_id = start(steps)
    begin(steps, report_id)
    change(steps, report_id, lease_until=utcnow() - timedelta(seconds=1))

    def sweep(_: int) -> int:
        with steps.app_context():
            return janitor.sweep()

    assert sorted(side_by_side(sweep, 4)) == [0, 0, 0, 1]
    report = row(steps, report_id)
    assert (report.status, report.lost) == ("queued", 1)
    assert len(lines(steps, report_id)) == 1
    with steps.app_context():
        assert report_queue().get_job_ids() == [report_id]


def test_four_janitors_end_a_report_that_was_lost_too_often_once(steps: Flask) -> None:
    report_id = start(steps)
    begin(steps, report_id)
    change(steps, report_id, lease_until=utcnow() - timedelta(seconds=1), lost=2)

    def sweep(_: int) -> int:
        with steps.app_context():
            return janitor.sweep()

    assert sorted(side_by_side(sweep, 4)) == [0, 0, 0, 1]
    assert row(steps, report_id).status == "failed"
    assert len(lines(steps, report_id)) == 1


def test_cancelled_by_four_at_once_it_is_cancelled_once(steps: Flask) -> None:
    report_id = start(steps)
    begin(steps, report_id)

    def cancel(_: int) -> str:
        with steps.app_context():
            return service.cancel_report(find_scope(steps, "owner"), report_id).status

    found = side_by_side(cancel, 4)
    assert [one for one in found if isinstance(one, str)] == ["cancelled"]
    assert sum(isinstance(one, Conflict) for one in found) == 3
    assert len(lines(steps, report_id)) == 1


def test_retried_by_four_at_once_it_is_queued_once(steps: Flask) -> None:
    report_id = start(steps)
    change(steps, report_id, status="failed", finished_at=utcnow())

    def retry(_: int) -> str:
        with steps.app_context():
            return service.retry_report(find_scope(steps, "owner"), report_id, {}).status

    found = side_by_side(retry, 4)
    assert [one for one in found if isinstance(one, str)] == ["queued"], found
    with steps.app_context():
        assert report_queue().get_job_ids() == [report_id]


def test_a_running_report_cannot_be_deleted(steps: Flask) -> None:
    report_id = start(steps)
    run = begin(steps, report_id)
    with steps.app_context(), pytest.raises(Conflict, match="cancel it first"):
        service.delete_report(find_scope(steps, "owner"), report_id)
    run.log("still here")
    assert lines(steps, report_id) == [(1, "still here")]


def test_ended_and_deleted_at_once_leaves_no_half(steps: Flask) -> None:
    report_id = start(steps)
    run = begin(steps, report_id)

    def either(number: int) -> None:
        with steps.app_context():
            if number:
                attempt.store(run, rows_result([{"name": "one"}]))
            else:
                service.delete_report(find_scope(steps, "owner"), report_id)

    found = side_by_side(either, 2)
    assert found[1] is None
    with steps.app_context():
        left = db.session.get(Report, report_id)
        assert (left is None) == (found[0] is None)
        assert isinstance(found[0], Conflict | None)


def test_months_expired_during_a_run_are_counted_anew_by_the_next(
    app: Flask, partner_use: Params, stand_in: RunningStandIn
) -> None:
    params = partner_use(mode="monthly", start="2024-01", end="2024-03")
    stand_in.settings(latency_ms=20)

    def expire(_: int) -> int:
        with app.app_context():
            company = find_scope(app, "owner").company_id
            return sum(
                months.expire(company_id=company, kind=None, subject=None, start=None, end=None)
                for _ in range(20)
            )

    def make(_: int) -> tuple[str, list[Any]]:
        with app.app_context():
            report = service.start_report(
                find_scope(app, "owner"), "partner-use", params, enqueue=False
            ).report
            report_id = report.id
            jobs.run_queued(report_id)
            from webapp.engine.results import ReadResult

            report = db.session.get_one(Report, report_id, populate_existing=True)
            totals = [one["total_users"] for one in ReadResult(report).rows("months")]
            return report.status, totals

    first, _expired, second = side_by_side(lambda n: expire(n) if n == 1 else make(n), 3)
    assert first == second
    assert first[0] == "done"
    again = make(0)
    assert again == first


def test_what_another_one_stores_at_that_moment_is_a_conflict(
    app: Flask, api_for: Callable[[str], Api]
) -> None:
    api, answers = api_for("owner"), list[Any]()
    company_id = find_scope(app, "owner").company_id

    def put() -> None:
        path = "/api/v1/storage_quota"
        answers.append(app.test_client().put(path, json={"quota_bytes": 2}, auth=api.auth))

    with app.app_context():
        engine = db.engine
    with engine.begin() as connection:
        connection.execute(insert(CompanyQuota).values(company_id=company_id, quota_bytes=1))
        thread = threading.Thread(target=put)
        thread.start()
        thread.join(0.5)
    thread.join(30)
    # SQLite has one writer: there it comes after the other one.
    assert answers[0].status_code in {200, 409}, answers[0].text
