"""Counting by workers: a lost job or a crash loses nothing; drift is found and put right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pytest
from flask import Flask
from rq import SimpleWorker
from rq.serializers import JSONSerializer
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from tests.kinds.project_storage.storage_helpers import Storage, project_key, rows_of
from webapp.engine import retention, service
from webapp.extensions import db, redis_client, report_queue
from webapp.jobs import janitor
from webapp.kinds.project_storage import counting, tasks
from webapp.kinds.project_storage.models import Counter, FileEvent, Project, StorageMonth
from webapp.lib.moments import utcnow

DAY_US = 86_400_000_000


def test_a_worker_counts_what_came_in(app: Flask, owner: Storage) -> None:
    owner.send([owner.event("upload", "v1", "2025-01-01T00:00:00Z")])
    with app.app_context():
        assert len(report_queue()) == 1
    owner.send([owner.event("upload", "v2", "2025-01-01T00:00:00Z")])
    with app.app_context():
        assert len(report_queue()) == 1, "one job on its way is enough"
        work()
    assert owner.held() == (2, 200, 0, 0)
    owner.send([owner.event("upload", "v3", "2025-01-01T00:00:00Z")])
    with app.app_context():
        work()
    assert owner.held() == (3, 300, 0, 0)


def work() -> None:
    """Work until the queue is empty, in this process: a job lets go of connections it inherits."""
    queue = report_queue()
    while len(queue):
        db.session.remove()
        db.engine.dispose()
        worker = SimpleWorker([queue], connection=queue.connection, serializer=JSONSerializer)
        worker.work(burst=True, max_jobs=1, logging_level="WARNING")


def test_events_whose_job_was_lost_are_found_again(app: Flask, owner: Storage) -> None:
    owner.send([owner.event("upload", "v1", "2025-01-01T00:00:00Z")])
    with app.app_context():
        report_queue().empty()
        janitor.sweep(utcnow() + timedelta(minutes=5))
        work()
    assert owner.held() == (1, 100, 0, 0)


def test_events_that_wait_behind_long_reports_are_counted_without_a_worker(
    app: Flask, owner: Storage
) -> None:
    owner.send([owner.event("upload", "v1", "2025-01-01T00:00:00Z")])
    with app.app_context():
        assert tasks.count_overdue() == 0, "a worker is given some time first"
        assert tasks.count_overdue(longer_than=timedelta(0)) == 1
    assert owner.held() == (1, 100, 0, 0)


def test_events_are_taken_in_while_redis_is_away(
    app: Flask, owner: Storage, count: Callable[[], int]
) -> None:
    away = redis_client(app)
    app.extensions["redis_client"] = type(away).from_url("redis://127.0.0.1:1/0")
    try:
        sent = owner.send([owner.event("upload", "v1", "2025-01-01T00:00:00Z")])
    finally:
        app.extensions["redis_client"].close()
        app.extensions["redis_client"] = away
    assert sent[0]["verdict"] == "accepted"
    assert count() == 1
    assert owner.held() == (1, 100, 0, 0)


def test_a_step_that_breaks_off_leaves_nothing_half_counted(
    app: Flask, owner: Storage, count: Callable[[], int]
) -> None:
    owner.send([owner.event("upload", f"v{n}", "2025-01-01T00:00:00Z") for n in range(5)])
    with app.app_context():
        key = project_key(owner.project)
        with broken_off(), pytest.raises(DBAPIError, match="broken off"):
            counting.count_step(key)
        db.session.rollback()
        assert rows_of(Counter, key) == []
        assert db.session.get(Project, key).counted_seq == 0
    assert count() == 5
    assert owner.held() == (5, 500, 0, 0)


@contextmanager
def broken_off() -> Iterator[None]:
    """Make the last statement of a step fail, the way a lost database would."""
    if db.engine.dialect.name == "sqlite":
        made, gone = SQLITE_BREAK, ("DROP TRIGGER break_off",)
    else:
        made, gone = (
            POSTGRES_BREAK,
            (
                "DROP TRIGGER break_off ON project_storage_project",
                "DROP FUNCTION break_off",
            ),
        )
    for statement in made:
        db.session.execute(db.text(statement))
    db.session.commit()
    yield
    db.session.rollback()
    for statement in gone:
        db.session.execute(db.text(statement))
    db.session.commit()


SQLITE_BREAK = (
    "CREATE TRIGGER break_off BEFORE UPDATE OF waiting_since ON project_storage_project "
    "BEGIN SELECT RAISE(ABORT, 'broken off'); END",
)
POSTGRES_BREAK = (
    "CREATE FUNCTION break_off() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'broken off'; END $$",
    "CREATE TRIGGER break_off BEFORE UPDATE OF waiting_since ON project_storage_project "
    "FOR EACH ROW EXECUTE FUNCTION break_off()",
)


def test_long_lists_are_counted_in_steps(
    app: Flask, owner: Storage, count: Callable[[], int], monkeypatch: Any
) -> None:
    monkeypatch.setattr(counting, "EVENTS_PER_STEP", 7)
    events = [owner.event("upload", f"v{n % 5}", "2025-01-01T00:00:00Z") for n in range(30)]
    owner.send(events)
    with app.app_context():
        key = project_key(owner.project)
        assert counting.count_step(key) == 7
        assert db.session.get(Project, key).waiting_since is not None
    assert count() == 23
    assert owner.held() == (5, 500, 0, 0)


@pytest.mark.parametrize("per_step", [1, 2, 3])
def test_one_versions_events_split_over_steps_count_once(
    app: Flask, owner: Storage, count: Callable[[], int], monkeypatch: Any, per_step: int
) -> None:
    monkeypatch.setattr(counting, "EVENTS_PER_STEP", per_step)
    days = iter(range(1, 9))
    kinds = ("upload", "trash", "restore", "trash", "upload")
    owner.send([owner.event(kind, "v", f"2025-01-{next(days):02d}T00:00:00Z") for kind in kinds])
    assert count() == 5
    assert owner.held() == (1, 100, 0, 0)
    owner.send([owner.event("purge", "v", f"2025-01-{next(days):02d}T00:00:00Z")])
    assert count() == 1
    assert owner.held() == (0, 0, 0, 0)
    with app.app_context():
        key = project_key(owner.project)
        # The second column is the provider's number, which the database gives.
        (row,) = rows_of(StorageMonth, key)
        assert (row[0], *row[2:]) == (
            date(2025, 1, 1),
            "owner@example.com",
            *(0, 0, 0, 0),
            3 * 100 * DAY_US,
            2 * 100 * DAY_US,
            *(0, 0),
        )
        assert counting.recount(key, repair=False) == []


def test_recount_shows_drift_and_puts_it_right(app: Flask, owner: Storage) -> None:
    owner.send([owner.event("upload", "v1", "2025-01-01T00:00:00Z")])
    runner = app.test_cli_runner()
    clean = runner.invoke(args=["project-storage", "recount"])
    assert (clean.exit_code, clean.output.splitlines()[-1]) == (
        0,
        "1 projects compared; 0 numbers differed and were corrected.",
    )
    with app.app_context():
        db.session.execute(update(Counter).values(active_bytes=170))
        db.session.execute(update(StorageMonth).values(trash_file_versions=3))
        db.session.commit()
    check = runner.invoke(args=["project-storage", "recount", "--check"])
    assert check.exit_code == 1
    assert "active_bytes at swift was 170, events say 100 (drift +70)." in check.output
    assert "trash_file_versions in 2025-01 was 3, events say 0 (drift +3)." in check.output
    assert owner.held() == (1, 170, 0, 0)
    mended = runner.invoke(args=["project-storage", "recount"])
    assert mended.exit_code == 0
    assert "2 numbers differed" in mended.output
    assert owner.held() == (1, 100, 0, 0)
    assert runner.invoke(args=["project-storage", "recount", "--check"]).exit_code == 0


def test_the_nightly_run_puts_drift_right_by_itself(
    app: Flask, owner: Storage, count: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    owner.send([owner.event("upload", "v1", "2025-01-01T00:00:00Z")])
    count()
    with app.app_context():
        db.session.execute(update(Counter).values(active_file_versions=9))
        db.session.commit()
        service.kinds()["project-storage"].nightly()
    assert "active_file_versions at swift was 9, events say 1" in caplog.text
    assert owner.held() == (1, 100, 0, 0)


@pytest.mark.parametrize("job_is_lost", [False, True])
def test_the_purge_of_a_large_project_goes_on_without_the_request(
    app: Flask, owner: Storage, monkeypatch: Any, job_is_lost: bool
) -> None:
    monkeypatch.setattr("webapp.kinds.project_storage.tasks.EVENTS_PER_DELETE", 3)
    owner.send([owner.event("upload", f"v{n}", "2025-01-01T00:00:00Z") for n in range(20)])
    assert owner.api.delete(f"/projects/{owner.project}").status_code == 204
    assert owner.api.get(f"/projects/{owner.project}/stats").status_code == 404
    # Its id is free at once, though its rows are not gone yet.
    again = owner.api.post("/projects", {"id": owner.project, "name": "Again"})
    assert again.status_code == 201
    assert owner.held() == (0, 0, 0, 0)
    assert owner.api.delete(f"/projects/{owner.project}").status_code == 204
    with app.app_context():
        assert db.session.scalar(select(Project.key)) is not None
        if job_is_lost:
            report_queue().empty()
            janitor.sweep(utcnow() + timedelta(minutes=5))
        work()
        assert db.session.scalar(select(Project.key)) is None
        assert db.session.scalar(select(FileEvent.seq)) is None


def test_what_was_purged_long_ago_is_rolled_up_and_every_month_stays_what_it_was(
    app: Flask, owner: Storage, count: Callable[[], int]
) -> None:
    owner.send(
        [
            owner.event("upload", "gone", "2024-01-10T00:00:00Z", bytes=300, uploader="anna"),
            owner.event("trash", "gone", "2024-02-10T00:00:00Z"),
            owner.event("purge", "gone", "2024-03-10T00:00:00Z"),
            owner.event("trash", "never", "2024-03-10T00:00:00Z"),
            owner.event("upload", "stays", "2024-01-10T00:00:00Z"),
        ]
    )
    count()
    with app.app_context():
        key = project_key(owner.project)
        before = rows_of(StorageMonth, key), rows_of(Counter, key)
        app.config["STORAGE_EVENTS_KEPT_MONTHS"] = 12
        retention.forget(service.kinds()["project-storage"], lambda: None)
        assert db.session.scalars(select(FileEvent.version_id)).all() == ["stays"]
        assert counting.recount(key) == []
        assert (rows_of(StorageMonth, key), rows_of(Counter, key)) == before
    late = owner.send([owner.event("upload", "late", "2024-01-10T00:00:00Z")])
    assert "no more are accepted" in late[0]["reason"]
