"""What every room may rely on of a job: stored with the caller's change, done, ended, told of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection, QueuePool, insert, select, text, update

from tests.conftest import add_people, find_scope
from tests.soon import until
from webapp import jobs
from webapp.accounts.audit_log import AuditEntry
from webapp.engine.kind import ReportKind
from webapp.errors import Conflict, NotFound, PartnerRefused, RunEnded
from webapp.extensions import db, report_queue
from webapp.jobs import executor, janitor, transitions
from webapp.lib.moments import utcnow

HUSH = "hush-hush-canary-4711"
Work = Callable[[jobs.Attempt, dict[str, Any]], None]


class Tasks(ReportKind):
    """A kind that has tasks and makes no reports; `work` is what its next jobs do."""

    slug = "tasks"
    title = "Tasks"

    def __init__(self) -> None:
        self.work: Work = lambda _attempt, _payload: None
        self.ended: list[tuple[str, str, str | None]] = []

    def tasks(self) -> tuple[jobs.Task, ...]:
        return (
            jobs.Task("load", self._run, noun="load", on_end=self._note),
            jobs.Task("passing", self._run, kept_s=0),
            jobs.Task("hour", self._run, kept_s=3600),
        )

    def _run(self, attempt: jobs.Attempt, payload: dict[str, Any]) -> None:
        self.work(attempt, payload)

    def _note(self, connection: Connection, job_id: str, ending: jobs.Ending) -> jobs.Ending:
        self.ended.append((job_id, ending.status, ending.error))
        return jobs.Ending("odd", "Because.") if ending.error == "Make it odd." else ending


@pytest.fixture
def kind() -> Tasks:
    return Tasks()


@pytest.fixture
def app(make_app: Callable[..., Flask], kind: Tasks) -> Flask:
    app = make_app(report_kinds=(kind,), MAX_ATTEMPTS=2)
    add_people(app)
    return app


def start(app: Flask, task: str = "load", commit: bool = True, **more: Any) -> str:
    """Start a job of the owner and return its id."""
    scope = find_scope(app, "owner")
    with app.app_context():
        given = {"payload": {}, "company_id": scope.company_id, "user_id": scope.user_id} | more
        job_id = jobs.start(task, **given).id
        if commit:
            db.session.commit()
        return job_id


def do(app: Flask, job_id: str) -> jobs.Job | None:
    """Do a job in this process and return its row, None where it is gone."""
    with app.app_context():
        jobs.run_queued(job_id)
        return row(app, job_id)


def row(app: Flask, job_id: str) -> jobs.Job | None:
    with app.app_context():
        return db.session.get(jobs.Job, job_id)


def in_rq(app: Flask) -> list[str]:
    with app.app_context():
        return report_queue().job_ids


# Starting


def test_a_job_is_stored_and_handed_over_with_its_callers_change_or_not_at_all(app: Flask) -> None:
    left = start(app, commit=False)
    assert (row(app, left), in_rq(app)) == (None, [])
    with app.app_context():
        scope = find_scope(app, "owner")
        mine = {"company_id": scope.company_id, "user_id": scope.user_id, "payload": {}}
        gone = jobs.start("load", **mine).id
        db.session.rollback()
        kept = jobs.start("load", **mine).id
        with db.session.begin_nested():
            db.session.execute(select(jobs.Job.id))
        assert report_queue().job_ids == []
        db.session.commit()
    assert in_rq(app) == [kept]
    assert row(app, gone) is None


def test_of_one_key_at_most_one_waits(app: Flask, kind: Tasks) -> None:
    first = start(app, key="a")
    assert start(app, key="a") == first
    assert len({first, start(app, key="b"), start(app, "hour", key="a"), start(app)}) == 4
    assert in_rq(app).count(first) == 1
    with app.app_context():
        assert executor.take(first) is not None
    # What runs may have passed what the second start is about.
    second = start(app, key="a")
    assert second != first
    assert start(app, key="a") == second


def test_a_lost_job_gives_way_to_one_of_its_key_that_waits(app: Flask) -> None:
    first = start(app, key="a")
    with app.app_context():
        assert executor.take(first) is not None
    second = start(app, key="a")
    with app.app_context():
        janitor.sweep(utcnow() + timedelta(seconds=60))
    given_way, waiting = row(app, first), row(app, second)
    assert given_way is not None
    assert waiting is not None
    assert (given_way.status, waiting.status) == ("cancelled", "queued")


# Doing


def test_a_long_transaction_keeps_the_lease_and_moves_the_bar(app: Flask, kind: Tasks) -> None:
    seen: list[int] = []

    def work(attempt: jobs.Attempt, _payload: dict[str, Any]) -> None:
        attempt.set_total(10)
        with attempt.fenced_commits():
            # From here on SQLite has no other writer; meanwhile the lease runs out.
            past = utcnow() - timedelta(seconds=1)
            db.session.execute(update(jobs.Job).values(lease_until=past))
            attempt.advance(by=4)
            with app.app_context():
                seen.append(jobs.live_permille(db.session.get_one(jobs.Job, attempt.job_id)))
            db.session.commit()
        assert janitor.sweep() == 0

    kind.work = work
    done = do(app, start(app))
    assert done is not None
    assert (done.status, done.attempt) == ("done", 1)
    assert seen == [400]


def test_what_a_lost_attempt_commits_is_refused(app: Flask, kind: Tasks) -> None:
    def work(attempt: jobs.Attempt, _payload: dict[str, Any]) -> None:
        jobs.cancel(attempt.job_id)
        with attempt.fenced_commits():
            db.session.add(jobs.Checkpoint(job_id=attempt.job_id, key="mine", data=1))
            db.session.commit()

    kind.work = work
    done = do(app, start(app))
    assert done is not None
    assert done.status == "cancelled"
    with app.app_context():
        # Nor does whoever has the connection after it.
        assert isinstance(db.engine.pool, QueuePool)
        for connection in [db.engine.connect() for _ in range(db.engine.pool.checkedin())]:
            connection.execute(text("SELECT 1"))
            connection.commit()
            connection.close()
        assert db.session.scalar(select(jobs.Checkpoint)) is None


def test_a_task_is_told_its_payload_and_secrets_and_is_done_when_it_returns(
    app: Flask, kind: Tasks
) -> None:
    told: list[Any] = []
    scope = find_scope(app, "owner")

    def work(attempt: jobs.Attempt, payload: dict[str, Any]) -> None:
        told.append((payload, attempt.secrets, attempt.number, attempt.company_id, attempt.user_id))

    kind.work = work
    done = do(app, start(app, payload={"upload": 7}, secrets={"password": HUSH}))
    assert told == [({"upload": 7}, {"password": HUSH}, 1, scope.company_id, scope.user_id)]
    assert done is not None
    assert (done.status, done.error, done.sealed, done.lease_until) == ("done", None, None, None)
    assert done.finished_at is not None
    assert kind.ended == [(done.id, "done", None)]


def test_what_is_found_out_and_the_end_are_one_transaction(app: Flask, kind: Tasks) -> None:
    scope = find_scope(app, "owner")
    entry = {"company_id": scope.company_id, "user_id": scope.user_id, "action": "loaded",
             "subject": "", "address": "", "at": utcnow()}  # fmt: skip

    def work(attempt: jobs.Attempt, _payload: dict[str, Any]) -> None:
        def write(connection: Connection) -> None:
            connection.execute(insert(AuditEntry), entry)
            raise PartnerRefused("Not so.")

        with pytest.raises(PartnerRefused):
            attempt.finish(write=write)
        attempt.finish("partly", write=lambda one: one.execute(insert(AuditEntry), entry))

    kind.work = work
    done = do(app, start(app))
    assert done is not None
    assert done.status == "partly"
    with app.app_context():
        found = db.session.scalars(select(AuditEntry.action).where(AuditEntry.action == "loaded"))
        assert list(found) == ["loaded"]


def test_a_finished_attempt_is_not_finished_again(app: Flask, kind: Tasks) -> None:
    def work(attempt: jobs.Attempt, _payload: dict[str, Any]) -> None:
        attempt.finish("partly")
        with pytest.raises(RunEnded):
            attempt.log("late")

    kind.work = work
    done = do(app, start(app))
    assert done is not None
    assert (done.status, [status for _, status, _ in kind.ended]) == ("partly", ["partly"])


def test_its_task_has_the_last_word_on_how_a_job_ends(app: Flask, kind: Tasks) -> None:
    def work(_attempt: jobs.Attempt, _payload: dict[str, Any]) -> None:
        raise PartnerRefused("Make it odd.")

    kind.work = work
    job_id = start(app)
    with app.app_context(), pytest.raises(PartnerRefused):
        jobs.run_queued(job_id)
    ended = row(app, job_id)
    assert ended is not None
    assert (ended.status, ended.error) == ("odd", "Because.")


def test_a_task_that_is_no_more_fails_with_a_sentence(app: Flask) -> None:
    job_id = start(app, "of-old")
    with app.app_context(), pytest.raises(Exception, match="no 'of-old' any more"):
        jobs.run_queued(job_id)
    ended = row(app, job_id)
    assert ended is not None
    assert (ended.status, "any more" in (ended.error or "")) == ("failed", True)


def test_a_task_says_how_often_its_jobs_are_begun(app: Flask, kind: Tasks) -> None:
    job_id = start(app)
    for _ in range(2):
        with app.app_context():
            assert executor.take(job_id) is not None
            janitor.sweep(utcnow() + timedelta(seconds=60))
    ended = row(app, job_id)
    assert ended is not None
    assert ended.status == "failed"
    assert (ended.error or "").startswith("The worker was lost 2 times over this load")
    assert kind.ended == [(job_id, "failed", ended.error)]


# What is kept


def test_jobs_are_kept_as_long_as_their_task_says(app: Flask, kind: Tasks) -> None:
    assert do(app, start(app, "passing")) is None
    hour, load = do(app, start(app, "hour")), do(app, start(app, "load"))
    waiting = start(app, "hour")
    assert hour is not None
    assert load is not None
    with app.app_context():
        assert janitor.drop_ended(utcnow() + timedelta(seconds=3590)) == 0
        assert janitor.drop_ended(utcnow() + timedelta(seconds=3610)) == 1
    assert (row(app, hour.id), row(app, waiting) is not None) == (None, True)
    with app.app_context():
        days = app.config["REPORTS_KEPT_DAYS"]
        assert janitor.drop_ended(utcnow() + timedelta(days=days - 1)) == 0
        assert janitor.drop_ended(utcnow() + timedelta(days=days + 1)) == 1


def test_a_failed_job_that_would_pass_without_a_trace_leaves_one(app: Flask, kind: Tasks) -> None:
    def work(_attempt: jobs.Attempt, _payload: dict[str, Any]) -> None:
        raise PartnerRefused("No.")

    kind.work = work
    job_id = start(app, "passing")
    with app.app_context(), pytest.raises(PartnerRefused):
        jobs.run_queued(job_id)
    ended = row(app, job_id)
    assert ended is not None
    assert ended.error == "No."


# Asked for by id


def test_a_job_is_found_by_its_own_company_only(app: Flask) -> None:
    job_id = start(app)
    with app.app_context():
        assert jobs.find(job_id, find_scope(app, "owner").company_id).id == job_id
        for company_id in (find_scope(app, "stranger").company_id, ""):
            with pytest.raises(NotFound):
                jobs.find(job_id, company_id)


def test_a_job_is_cancelled_once_and_deleted_when_it_has_ended(app: Flask, kind: Tasks) -> None:
    job_id = start(app)
    with app.app_context():
        assert jobs.delete(job_id) is False
        jobs.cancel(job_id, "Not wanted.")
        with pytest.raises(Conflict, match="load is cancelled already"):
            jobs.cancel(job_id)
        events, end = jobs.stored_events(job_id)
        assert [event.data["text"] for event in events] == ["Not wanted."]
        assert end is not None
        assert end.data == {"status": "cancelled"}
        assert in_rq(app) == []
        assert jobs.delete(job_id) is True
        assert jobs.stored_events(job_id)[1] is not None
    assert kind.ended == [(job_id, "cancelled", None)]
    assert row(app, job_id) is None


def test_a_job_that_changed_meanwhile_is_not_started_again(app: Flask) -> None:
    job_id = start(app)
    with app.app_context():
        jobs.cancel(job_id)
        job = db.session.get_one(jobs.Job, job_id)
        jobs.start_again(job, {"password": HUSH})
        db.session.commit()
        assert (job.status, job.sealed is not None) == ("queued", True)
        assert report_queue().job_ids == [job_id]
        stale = db.session.get_one(jobs.Job, job_id)
        assert executor.take(job_id) is not None
        stale.status = "cancelled"
        with pytest.raises(Conflict, match="retried already"), db.session.no_autoflush:
            jobs.start_again(stale, {})


def test_a_change_that_matches_nothing_says_so(app: Flask) -> None:
    with app.app_context(), db.engine.begin() as connection, pytest.raises(RunEnded):
        transitions.change(connection, jobs.Job.id == start(app, commit=False), {"done": 1})


def test_the_bar_never_turns_back(app: Flask, kind: Tasks) -> None:
    shown = []

    def work(attempt: jobs.Attempt, _payload: dict[str, Any]) -> None:
        def show() -> None:
            attempt.log("So far.")
            with app.app_context():
                shown.append(db.session.get_one(jobs.Job, attempt.job_id).permille)

        attempt.stage("Looking", upto=0.2)
        attempt.set_total(2)
        for total in (None, 12, 9, 20, None, 40):
            if total:
                attempt.set_total(total)
                attempt.stage("Counting")
            attempt.advance()
            show()
        attempt.advance(by=34)
        show()

    kind.work = work
    do(app, start(app))
    assert shown == sorted(shown)
    assert shown[0] == 100

    assert shown[-1] == 990
    assert len(set(shown)) > 4


def test_who_waits_hears_something_again_and_again(
    app: Flask, kind: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.jobs.attempt.SILENT_S", 0.1)

    def work(attempt: jobs.Attempt, _payload: dict[str, Any]) -> None:
        attempt.stage("Counting")
        attempt.hold_up = lambda: "waiting for the partner"
        attempt.set_total(2000)
        until(lambda: len(lines_of(app, attempt.job_id)) >= 2)

    kind.work = work
    job_id = start(app)
    do(app, job_id)
    assert "Counting; waiting for the partner, 0 of 2,000 steps." in lines_of(app, job_id)


def lines_of(app: Flask, job_id: str) -> list[str]:
    with app.app_context():
        query = select(jobs.StatusLine.text).where(jobs.StatusLine.job_id == job_id)
        return list(db.session.scalars(query.order_by(jobs.StatusLine.seq)))
