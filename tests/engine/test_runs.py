"""One report's life in one process: taken, fenced, leased, ended once; the janitor's part in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from flask import Flask
from psycopg.errors import DiskFull
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import OperationalError

from tests.conftest import add_people, find_scope
from tests.engine.engine_helpers import (
    Steps,
    begin,
    change,
    lines,
    make,
    row,
    rows_result,
    run,
    start,
)
from tests.soon import until
from webapp import jobs
from webapp.engine import attempt, service, upkeep
from webapp.engine.kind import Result, Run
from webapp.engine.models import CANCELLED, Report, ResultRow, StoredMonth
from webapp.errors import Conflict, NotFound, PartnerRefused, RunEnded
from webapp.extensions import db, redis_client, report_queue
from webapp.jobs import Checkpoint, StatusLine, executor, janitor, transport
from webapp.jobs import attempt as attempt_of_job
from webapp.lib.moments import utcnow

NOWHERE = "redis://127.0.0.1:1/0"
HUSH = "hush-hush-canary-4711"


def later(seconds: float) -> Any:
    return utcnow() + timedelta(seconds=seconds)


def sweep(app: Flask, seconds: float = 0) -> int:
    """Let a janitor look, so many seconds from now."""
    with app.app_context():
        return janitor.sweep(later(seconds))


def count(app: Flask, model: Any) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(model)) or 0


# Ends


def test_a_run_ends_done_with_its_rows_in_order(steps: Flask) -> None:
    rows = [{"name": f"row {number}"} for number in range(2500)]
    report = make(steps, lambda run: rows_result(rows))
    assert (report.status, report.error) == ("done", None)
    with steps.app_context():
        found = db.session.scalars(
            select(ResultRow.data)
            .where(ResultRow.report_id == report.id)
            .order_by(ResultRow.position)
        )
        assert list(found) == rows


def test_rows_of_a_generator_survive_a_database_whose_disk_is_full_for_a_moment(
    steps: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"name": f"row {number}"} for number in range(1200)]
    with steps.app_context():
        engine = db.engine
    failed: list[str] = []

    def fail_once(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "INSERT INTO result_row" in statement and not failed:
            failed.append(statement)
            raise OperationalError(None, None, DiskFull())

    event.listen(engine, "before_cursor_execute", fail_once)
    report = make(steps, lambda run: Result({}, {"rows": iter(rows)}))
    event.remove(engine, "before_cursor_execute", fail_once)
    assert failed
    told = f"{report.id} waits for the database: The disk of the database is full"
    assert told in caplog.text
    assert report.status == "done"
    with steps.app_context():
        query = select(ResultRow.data).where(ResultRow.report_id == report.id)
        assert list(db.session.scalars(query.order_by(ResultRow.position))) == rows


def test_a_run_with_holes_ends_incomplete(steps: Flask) -> None:
    assert make(steps, lambda run: rows_result([], complete=False)).status == "incomplete"


def test_a_sentence_of_ours_is_the_error_of_a_failed_report(steps: Flask) -> None:
    def work(run: Run) -> Result:
        raise PartnerRefused("The partner said no.")

    report = make(steps, work)
    assert (report.status, report.error) == ("failed", "The partner said no.")
    assert lines(steps, report.id) == [(1, "The partner said no.")]


def test_a_fault_of_the_program_is_told_without_its_words(steps: Flask) -> None:
    def work(run: Run) -> Result:
        raise ZeroDivisionError("secret details")

    report = make(steps, work)
    assert report.status == "failed"
    assert "ZeroDivisionError" in (report.error or "")
    assert report.id in (report.error or "")
    assert "secret details" not in (report.error or "")


def test_a_failure_is_raised_again_so_that_rq_shows_it(steps: Flask) -> None:
    def work(run: Run) -> Result:
        raise ZeroDivisionError("details")

    steps.extensions["report_kinds"]["steps"].work = work
    report_id = start(steps)
    with steps.app_context(), pytest.raises(ZeroDivisionError):
        jobs.run_queued(report_id)


@pytest.mark.parametrize("how", ["done", "incomplete", "failed", "cancelled", "lost"])
def test_the_secret_is_erased_whatever_the_end(steps: Flask, how: str) -> None:
    def work(run: Run) -> Result:
        assert run.secrets == {"password": HUSH}
        if how == "failed":
            raise PartnerRefused("No.")
        return rows_result([], complete=how == "done")

    steps.extensions["report_kinds"]["steps"].work = work
    report_id = start(steps, password=HUSH)
    assert row(steps, report_id).sealed
    if how == "cancelled":
        with steps.app_context():
            service.cancel_report(find_scope(steps, "owner"), report_id)
    elif how == "lost":
        change(steps, report_id, lost=2)
        begin(steps, report_id)
        sweep(steps, 60)
    else:
        run(steps, report_id)
    ended = row(steps, report_id)
    assert (ended.sealed, ended.lease_until) == (None, None)
    assert ended.status == ("failed" if how == "lost" else how)


def test_a_secret_in_an_errors_words_reaches_neither_the_row_nor_rq(steps: Flask) -> None:
    def work(run: Run) -> Result:
        raise PartnerRefused(f"The secret {HUSH} is wrong.")

    steps.extensions["report_kinds"]["steps"].work = work
    report_id = start(steps, password=HUSH)
    with steps.app_context(), pytest.raises(RuntimeError) as caught:
        jobs.run_queued(report_id)
    assert HUSH not in str(caught.value)
    assert caught.value.__suppress_context__
    assert HUSH not in (row(steps, report_id).error or "")
    assert HUSH not in str(lines(steps, report_id))


def test_checkpoints_are_erased_when_the_report_is_done_and_kept_while_it_is_not(
    steps: Flask,
) -> None:
    def work(run: Run) -> Result:
        run.save_checkpoints({"a": 1})
        return rows_result([], complete=False)

    make(steps, work)
    assert count(steps, Checkpoint) == 1

    def whole(run: Run) -> Result:
        run.save_checkpoints({"a": 1})
        return rows_result()

    make(steps, whole)
    assert count(steps, Checkpoint) == 1


def test_a_job_delivered_twice_runs_once(steps: Flask) -> None:
    ran: list[int] = []

    def work(run: Run) -> Result:
        ran.append(run.attempt)
        return rows_result()

    steps.extensions["report_kinds"]["steps"].work = work
    report_id = start(steps)
    run(steps, report_id)
    run(steps, report_id)
    assert ran == [1]


def test_two_workers_that_get_the_same_job_run_it_once(steps: Flask) -> None:
    ran: list[int] = []

    def work(run: Run) -> Result:
        ran.append(run.attempt)
        time.sleep(0.2)
        return rows_result()

    steps.extensions["report_kinds"]["steps"].work = work
    report_id = start(steps)
    threads = [threading.Thread(target=run, args=(steps, report_id)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ran == [1]
    assert row(steps, report_id).status == "done"


# The fence


def given_up(steps: Flask) -> Any:
    """Return the run of an attempt whose report a second worker has taken over."""
    report_id = start(steps)
    first = begin(steps, report_id)
    sweep(steps, 60)
    begin(steps, report_id)
    return first


@pytest.mark.parametrize("what", ["say", "remember", "save", "finish", "fail"])
def test_an_attempt_that_was_given_up_writes_nothing(steps: Flask, what: str) -> None:
    first = given_up(steps)
    before = lines(steps, first.report_id)
    month = ("a", date(2024, 1, 1), 5, utcnow())
    with steps.app_context():
        if what == "fail":
            executor.fail(first, ZeroDivisionError())
        else:
            with pytest.raises(RunEnded):
                {
                    "say": lambda: first.log("late"),
                    "remember": lambda: first.save_checkpoints({"late": 1}),
                    "save": lambda: first.months.save("p", [month]),
                    "finish": lambda: attempt.store(first, rows_result([{"name": "late"}])),
                }[what]()
    assert lines(steps, first.report_id) == before
    assert [count(steps, model) for model in (Checkpoint, StoredMonth, ResultRow)] == [0, 0, 0]
    now = row(steps, first.report_id)
    assert (now.status, now.attempt, now.head) == ("running", 2, None)


def test_after_one_refused_write_every_call_says_so(steps: Flask) -> None:
    first = given_up(steps)
    with pytest.raises(RunEnded):
        first.log("late")
    for call in (first.check, first.advance, lambda: first.log("x")):
        with pytest.raises(RunEnded):
            call()


def test_the_second_attempt_writes_on_where_the_first_one_was(steps: Flask) -> None:
    report_id = start(steps)
    first = begin(steps, report_id)
    with steps.app_context():
        first.log("one")
        first.save_checkpoints({"a": 1})
    sweep(steps, 60)
    second = begin(steps, report_id)
    with steps.app_context():
        second.log("three")
    assert second.load_checkpoints() == {"a": 1}
    assert lines(steps, report_id) == [
        (1, "one"),
        (2, "The worker was lost; starting again, attempt 2 of 3."),
        (3, "three"),
    ]


def test_a_finished_report_cannot_be_finished_again(steps: Flask) -> None:
    report_id = start(steps)
    taken = begin(steps, report_id)
    with steps.app_context():
        attempt.store(taken, rows_result([{"name": "first"}]))
        with pytest.raises(RunEnded):
            attempt.store(taken, rows_result([{"name": "second"}]))
    assert count(steps, ResultRow) == 1


def test_a_run_that_is_cancelled_meanwhile_ends_cancelled(steps: Flask) -> None:
    def work(run: Run) -> Result:
        with steps.app_context():
            service.cancel_report(find_scope(steps, "owner"), run.report_id)
        return rows_result([{"name": "late"}])

    report = make(steps, work)
    assert (report.status, report.head) == ("cancelled", None)
    assert lines(steps, report.id) == [(1, "Cancelled on request.")]
    assert count(steps, ResultRow) == 0


def test_a_report_deleted_during_its_run_leaves_nothing(steps: Flask) -> None:
    def work(run: Run) -> Result:
        scope = find_scope(steps, "owner")
        with steps.app_context():
            service.cancel_report(scope, run.report_id)
            service.delete_report(scope, run.report_id)
        run.log("late")
        return rows_result()

    steps.extensions["report_kinds"]["steps"].work = work
    report_id = start(steps)
    with steps.app_context():
        jobs.run_queued(report_id)
    assert [count(steps, model) for model in (Report, StatusLine)] == [0, 0]


# The lease


def test_the_lease_is_renewed_while_the_work_lasts(make_app: Callable[..., Flask]) -> None:
    app = make_app(report_kinds=(Steps(),), LEASE_SECONDS=3.0)
    add_people(app)
    swept: list[int] = []
    leases: list[Any] = []

    def seen(report_id: str) -> int:
        leases.append(row(app, report_id).lease_until)
        swept.append(sweep(app))
        return len(set(leases))

    def work(run: Run) -> Result:
        # The last of them more than a lease after the first.
        assert until(lambda: seen(run.report_id) >= 6)
        return rows_result()

    report = make(app, work)
    assert (report.status, report.attempt, set(swept)) == ("done", 1, {0})
    assert leases == sorted(leases)


def test_the_bar_moves_with_the_lease_when_nothing_is_said(make_app: Callable[..., Flask]) -> None:
    app = make_app(report_kinds=(Steps(),), LEASE_SECONDS=1.0)
    add_people(app)

    def work(run: Run) -> Result:
        run.set_total(10)
        run.advance(by=4)
        assert until(lambda: row(app, run.report_id).done == 4)
        assert row(app, run.report_id).total == 10
        return rows_result()

    assert make(app, work).status == "done"


def test_a_database_that_refuses_at_once_is_asked_for_the_lease_now_and_then(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(report_kinds=(Steps(),), LEASE_SECONDS=2.0)
    add_people(app)

    def rename(before: str, after: str) -> None:
        with app.app_context(), db.engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {before} RENAME TO {after}"))

    def waits() -> int:
        return sum("the lease of" in record.message for record in caplog.records)

    def work(run: Run) -> Result:
        rename("job", "elsewhere")
        began = time.monotonic()
        try:
            assert until(lambda: waits() >= 3)
            assert waits() <= (time.monotonic() - began) / attempt_of_job.RENEW_AGAIN_S + 1
        finally:
            rename("elsewhere", "job")
        # And it is renewed again, in time for nobody to take it over.
        lease = row(app, run.report_id).lease_until
        assert until(lambda: row(app, run.report_id).lease_until > lease)
        return rows_result()

    report = make(app, work)
    assert (report.status, report.attempt) == ("done", 1)


def test_an_attempt_notices_at_its_next_renewal_that_it_was_given_up(
    make_app: Callable[..., Flask],
) -> None:
    app = make_app(report_kinds=(Steps(),), LEASE_SECONDS=1.0)
    add_people(app)

    def work(run: Run) -> Result:
        change(app, run.report_id, status=CANCELLED)
        for _ in range(1_000):
            time.sleep(0.02)
            run.check()
        raise AssertionError("it was not noticed")

    assert make(app, work).status == "cancelled"


# The janitor


def test_a_lost_worker_is_told_of_and_the_report_starts_again(steps: Flask) -> None:
    report_id = start(steps)
    begin(steps, report_id)
    assert sweep(steps, 60) == 1
    report = row(steps, report_id)
    assert (report.status, report.lost, report.lease_until) == ("queued", 1, None)
    assert lines(steps, report_id) == [(1, "The worker was lost; starting again, attempt 2 of 3.")]
    with steps.app_context():
        assert report_queue().job_ids == [report_id]


def test_after_the_last_attempt_it_ends_failed_with_a_sentence(steps: Flask) -> None:
    report_id = start(steps, password=HUSH)
    for _ in range(3):
        begin(steps, report_id)
        assert sweep(steps, 60) == 1
    report = row(steps, report_id)
    assert (report.status, report.attempt, report.sealed) == ("failed", 3, None)
    assert (report.error or "").startswith("The worker was lost 3 times")
    assert [text for _, text in lines(steps, report_id)] == [
        "The worker was lost; starting again, attempt 2 of 3.",
        "The worker was lost; starting again, attempt 3 of 3.",
        report.error,
    ]
    assert sweep(steps, 120) == 0


def test_a_retry_has_all_its_attempts_again(steps: Flask) -> None:
    report_id = start(steps)
    for _ in range(3):
        begin(steps, report_id)
        sweep(steps, 60)
    with steps.app_context():
        service.retry_report(find_scope(steps, "owner"), report_id, {})
    begin(steps, report_id)
    sweep(steps, 60)
    assert lines(steps, report_id)[-1][1].endswith("attempt 2 of 3.")


def test_what_is_alive_is_not_touched(steps: Flask) -> None:
    running, ended = start(steps), start(steps)
    begin(steps, running)
    run(steps, ended)
    assert sweep(steps) == 0
    assert row(steps, running).status == "running"
    assert row(steps, ended).status == "done"


def test_two_janitors_start_a_lost_report_again_once(steps: Flask) -> None:
    report_id = start(steps)
    begin(steps, report_id)
    change(steps, report_id, lease_until=utcnow() - timedelta(seconds=1))
    touched: list[int] = []
    threads = [threading.Thread(target=lambda: touched.append(sweep(steps))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(touched) == 1
    assert (row(steps, report_id).lost, len(lines(steps, report_id))) == (1, 1)


def test_a_lease_renewed_while_the_janitor_looks_is_left_alone(steps: Flask) -> None:
    report_id = start(steps, password=HUSH)
    begin(steps, report_id)
    with steps.app_context():
        engine = db.engine
    renewed: list[str] = []

    def renew(_: Any, __: Any, statement: str, *___: Any) -> None:
        # The janitor has just found it among those whose lease is over.
        if statement.startswith("SELECT") and "lease_until <" in statement and not renewed:
            renewed.append(statement)
            change(steps, report_id, lease_until=later(30))

    change(steps, report_id, lease_until=later(-1))
    event.listen(engine, "after_cursor_execute", renew)
    assert sweep(steps) == 0
    event.remove(engine, "after_cursor_execute", renew)
    assert renewed
    report = row(steps, report_id)
    assert (report.status, report.attempt, report.lost) == ("running", 1, 0)
    assert report.sealed
    assert lines(steps, report_id) == []


def test_a_report_that_was_queued_again_while_the_janitor_looks_is_left_alone(
    steps: Flask,
) -> None:
    report_id = start(steps)
    with steps.app_context():
        engine = db.engine
    claimed: list[str] = []

    def claim(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith("SELECT") and "handed_at <" in statement and not claimed:
            claimed.append(statement)
            change(steps, report_id, handed_at=later(0))

    change(steps, report_id, handed_at=later(-11))
    event.listen(engine, "after_cursor_execute", claim)
    assert sweep(steps) == 0
    event.remove(engine, "after_cursor_execute", claim)
    assert claimed
    with steps.app_context():
        assert report_queue().job_ids == []


def test_a_queued_report_that_redis_forgot_is_queued_again(steps: Flask) -> None:
    report_id = start(steps)
    assert sweep(steps) == 0
    assert sweep(steps, 11) == 1
    with steps.app_context():
        assert report_queue().job_ids == [report_id]


def test_a_queued_report_that_waits_its_turn_is_left_alone(steps: Flask) -> None:
    report_id = start(steps)
    with steps.app_context():
        transport.enqueue(report_id, "steps")
    assert sweep(steps, 3600) == 0
    with steps.app_context():
        assert report_queue().job_ids == [report_id]


def test_a_job_that_rq_holds_for_dead_is_queued_again(steps: Flask) -> None:
    """RQ knows the job, but no queue holds it: its worker died before it took the row."""
    report_id = start(steps)
    with steps.app_context():
        transport.enqueue(report_id, "steps")
        report_queue().remove(report_id)
        assert sweep(steps, 11) == 1
        assert report_queue().job_ids == [report_id]


def test_a_report_made_while_redis_is_away_is_queued_and_waits(
    make_app: Callable[..., Flask],
) -> None:
    app = make_app(report_kinds=(Steps(),), REDIS_URL=NOWHERE)
    add_people(app)
    with app.app_context():
        report = service.start_report(find_scope(app, "owner"), "steps", {}).report
        assert report.status == "queued"
        assert janitor.sweep(later(60)) == 0


def test_a_run_without_redis_ends_right(make_app: Callable[..., Flask]) -> None:
    app = make_app(report_kinds=(Steps(),), REDIS_URL=NOWHERE)
    add_people(app)

    def work(run: Run) -> Result:
        run.log("one")
        run.log("two")
        return rows_result()

    report = make(app, work)
    assert report.status == "done"
    assert lines(app, report.id) == [(1, "one"), (2, "two")]


def test_old_reports_are_tidied_away_and_active_ones_never(steps: Flask) -> None:
    old, new, active = start(steps), start(steps), start(steps)
    run(steps, old)
    run(steps, new)
    change(steps, old, finished_at=utcnow() - timedelta(days=400))
    change(steps, active, created_at=utcnow() - timedelta(days=400))
    with steps.app_context():
        upkeep.tidy()
        assert set(db.session.scalars(select(Report.id))) == {new, active}


# What Redis is told


def test_the_job_carries_the_id_and_nothing_else(steps: Flask) -> None:
    with steps.app_context():
        scope = find_scope(steps, "owner")
        report = service.start_report(
            scope, "steps", {"password": HUSH, "title": "odd title"}
        ).report
        job = Job.fetch(report.id, connection=redis_client(), serializer=JSONSerializer)
        assert (list(job.args), job.kwargs, job.id) == ([report.id], {}, report.id)
        assert job.description == "steps report"
        stored = everything(redis_client())
    assert HUSH.encode() not in stored
    assert b"odd title" not in stored


def everything(redis: Redis) -> bytes:
    """Return all keys and values of a Redis as they lie there."""
    return b"\n".join(key + b" " + (redis.dump(key) or b"") for key in redis.scan_iter("*"))


# Its owner's part


def test_a_queued_report_is_cancelled_and_leaves_the_queue(steps: Flask) -> None:
    with steps.app_context():
        scope = find_scope(steps, "owner")
        report = service.start_report(scope, "steps", {}).report
        service.cancel_report(scope, report.id)
        assert report.status == "cancelled"
        assert report_queue().job_ids == []
    assert lines(steps, report.id) == [(1, "Cancelled on request.")]


def test_a_cancelled_report_is_not_run_when_its_job_comes_after_all(steps: Flask) -> None:
    report_id = start(steps)
    with steps.app_context():
        service.cancel_report(find_scope(steps, "owner"), report_id)
    assert run(steps, report_id).status == "cancelled"


def test_only_an_active_report_is_cancelled_and_only_an_ended_one_deleted(steps: Flask) -> None:
    ended, active = start(steps), start(steps)
    run(steps, ended)
    with steps.app_context():
        scope = find_scope(steps, "owner")
        with pytest.raises(Conflict):
            service.cancel_report(scope, ended)
        with pytest.raises(Conflict):
            service.delete_report(scope, active)
        service.delete_report(scope, ended)
        with pytest.raises(NotFound):
            service.find_report(scope, ended)


def test_deleting_takes_lines_rows_and_checkpoints_along(steps: Flask) -> None:
    def work(run: Run) -> Result:
        run.log("one")
        run.save_checkpoints({"a": 1})
        return rows_result([{"name": "a"}], complete=False)

    report = make(steps, work)
    with steps.app_context():
        service.delete_report(find_scope(steps, "owner"), report.id)
    tables = (Report, StatusLine, ResultRow, Checkpoint)
    assert [count(steps, model) for model in tables] == [0, 0, 0, 0]


def test_a_retried_run_sees_what_was_remembered(steps: Flask) -> None:
    seen: list[dict[str, Any]] = []

    def work(run: Run) -> Result:
        seen.append(run.load_checkpoints("site:"))
        run.save_checkpoints({"site:a": [1, None], "other": 2})
        return rows_result([], complete=False)

    report = make(steps, work)
    with steps.app_context():
        service.retry_report(find_scope(steps, "owner"), report.id, {})
    run(steps, report.id)
    assert seen == [{}, {"site:a": [1, None]}]


def test_two_retries_at_once_start_it_once(steps: Flask) -> None:
    report = make(steps, lambda run: rows_result([], complete=False))
    said: list[str] = []

    def retry() -> None:
        with steps.app_context():
            try:
                service.retry_report(find_scope(steps, "owner"), report.id, {})
                said.append("started")
            except Conflict:
                said.append("conflict")

    threads = [threading.Thread(target=retry) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(said) == ["conflict"] * 3 + ["started"]


def test_a_line_with_characters_no_database_takes_is_stored_without_them(steps: Flask) -> None:
    def work(run: Run) -> Result:
        run.log("a\x00b \ud800 " + "x" * 5000)
        return rows_result()

    text = lines(steps, make(steps, work).id)[0][1]
    assert text.startswith("ab ? xxx")
    assert len(text) == 2000


def test_routine_lines_are_limited_and_the_bar_still_counts_every_step(steps: Flask) -> None:
    def work(run: Run) -> Result:
        run.set_total(500)
        for number in range(500):
            run.advance(f"step {number}")
        return rows_result()

    report = make(steps, work)
    assert 5 <= len(lines(steps, report.id)) <= 60
    assert (report.done, report.total) == (500, 500)
