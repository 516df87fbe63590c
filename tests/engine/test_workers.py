"""Real workers (`worker.py`): a report end to end, cancelled half way, killed and begun anew."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from rq.job import Job
from rq.serializers import JSONSerializer

from sandbox import truth
from sandbox.testing import RunningStandIn
from tests.conftest import DEMO_SECRET, add_people, find_scope
from tests.engine.conftest import kill_group
from tests.engine.engine_helpers import lines, row
from tests.engine.test_status_lines import Listener
from tests.soon import until
from webapp.engine import service
from webapp.engine.models import Report
from webapp.engine.results import ReadResult
from webapp.extensions import db, redis_client
from webapp.jobs import janitor

StartWorker = Callable[..., subprocess.Popen[bytes]]
Params = Callable[..., dict[str, Any]]
SLOW = {"partner_id": "70000002", "mode": "monthly", "start": "2024-01", "end": "2024-06"}


@pytest.fixture
def app(make_app: Callable[..., Flask], stand_in: RunningStandIn) -> Flask:
    """Return an application whose leases are short and whose partner is slow."""
    stand_in.settings(latency_ms=30)
    app = make_app(PARTNER_API_URL=stand_in.url_template, LEASE_SECONDS=3.0, PARTNER_CONCURRENCY=4)
    add_people(app)
    return app


def ask(app: Flask, params: dict[str, Any]) -> str:
    with app.app_context():
        return service.start_report(find_scope(app, "owner"), "partner-use", params).report.id


def sweep(app: Flask) -> int:
    with app.app_context():
        return janitor.sweep()


def status(app: Flask, report_id: str) -> str:
    return row(app, report_id).status


def searching(stand_in: RunningStandIn, more_than: int = 0) -> Callable[[], bool]:
    return lambda: len(stand_in.searches()) > more_than


def searches_in(seconds: float, stand_in: RunningStandIn) -> int:
    before = len(stand_in.searches())
    time.sleep(seconds)
    return len(stand_in.searches()) - before


def test_a_worker_makes_a_report_and_its_lines_arrive_live(
    app: Flask, start_worker: StartWorker, partner_use: Params
) -> None:
    start_worker()
    report_id = ask(app, partner_use())
    listener = Listener(app, report_id)
    events = listener.ended()
    assert events[-1].data == {"status": "done"}
    assert listener.numbers == list(range(1, len(events)))
    with app.app_context():
        found = ReadResult(db.session.get_one(Report, report_id))
        right = truth.report(70000001)["summary"]
        # Beside the truth the report says of how many sites it is.
        assert {name: found.head["summary"][name] for name in right} == right
        job = Job.fetch(report_id, connection=redis_client(), serializer=JSONSerializer)
        assert list(job.args) == [report_id]
        assert until(lambda: job.get_status() == "finished")


def test_a_failing_report_is_shown_as_failed_by_rq_without_its_secret(
    app: Flask, start_worker: StartWorker, partner_use: Params, tmp_path: Path
) -> None:
    start_worker()
    report_id = ask(app, partner_use(user_secret="cGxhbnRlZC1jYW5hcnk="))
    assert until(lambda: status(app, report_id) == "failed")
    with app.app_context():
        job = Job.fetch(report_id, connection=redis_client(), serializer=JSONSerializer)
        assert until(lambda: job.get_status() == "failed")
        result = job.latest_result()
        shown = str(result.exc_string if result else "")
    assert "cGxhbnRlZC1jYW5hcnk=" not in shown
    assert "cGxhbnRlZC1jYW5hcnk=" not in (tmp_path / "worker-0.log").read_text()


def test_cancelling_stops_the_work_within_seconds_and_no_search_arrives_after(
    app: Flask, start_worker: StartWorker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    start_worker()
    report_id = ask(app, partner_use(**SLOW))
    assert until(searching(stand_in, 20))
    stand_in.settings(latency_ms=300)  # by itself it would go on for a minute and more
    with app.app_context():
        service.cancel_report(find_scope(app, "owner"), report_id)
    assert until(lambda: not searches_in(1, stand_in))
    assert not searches_in(1, stand_in)
    report = row(app, report_id)
    assert (report.status, report.sealed) == ("cancelled", None)
    assert lines(app, report_id)[-1][1] == "Cancelled on request."
    assert sweep(app) == 0


def test_the_worker_takes_the_next_report_after_a_cancelled_one(
    app: Flask, start_worker: StartWorker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    start_worker()
    first = ask(app, partner_use(**SLOW))
    assert until(searching(stand_in))
    with app.app_context():
        service.cancel_report(find_scope(app, "owner"), first)
    second = ask(app, partner_use())
    assert until(lambda: status(app, second) == "done")
    assert status(app, first) == "cancelled"


def test_a_killed_worker_is_noticed_and_the_report_ends_right(
    app: Flask, start_worker: StartWorker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    worker = start_worker()
    span = {"partner_id": "70000002", "mode": "monthly", "start": "2024-01", "end": "2024-03"}
    report_id = ask(app, partner_use(**span))
    listener = Listener(app, report_id)
    assert until(searching(stand_in, 120))
    kill_group(worker)
    asked = len(stand_in.searches())
    assert status(app, report_id) == "running"
    assert until(lambda: sweep(app) == 1)
    stand_in.settings(latency_ms=0)
    start_worker()
    assert until(lambda: status(app, report_id) == "done")
    report = row(app, report_id)
    assert (report.attempt, report.lost, report.sealed) == (2, 1, None)
    assert "The worker was lost; starting again, attempt 2 of 3." in [
        text for _, text in lines(app, report_id)
    ]
    right = truth.report(70000002, ("2024-01", "2024-03"))["months"]
    with app.app_context():
        rows = ReadResult(db.session.get_one(Report, report_id)).rows("months")
        assert [(row["month"], row["total_users"], row["delta"]) for row in rows] == [
            (row["month"], row["total_users"], row["delta"]) for row in right
        ]
    events = listener.ended()
    assert [event.type for event in events].count("end") == 1
    assert listener.numbers == list(range(1, len(events)))
    # What the first attempt had stored was not asked again.
    assert len(stand_in.searches()) < asked + report.total


@pytest.mark.faults
def test_a_killed_work_horse_alone_is_noticed_too(
    app: Flask, start_worker: StartWorker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    worker = start_worker()
    report_id = ask(app, partner_use(**SLOW))
    assert until(searching(stand_in))
    for child in children(worker.pid):
        os.kill(child, signal.SIGKILL)
    stand_in.settings(latency_ms=0)
    assert until(lambda: sweep(app) == 1)
    assert until(lambda: status(app, report_id) == "done")
    assert row(app, report_id).attempt == 2


def test_a_work_horse_does_not_outlive_its_worker(
    app: Flask, start_worker: StartWorker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    worker = start_worker()
    ask(app, partner_use(**SLOW))
    assert until(searching(stand_in))
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(60)
    stand_in.settings(latency_ms=300)
    assert until(lambda: not searches_in(1, stand_in))
    assert not searches_in(1, stand_in)


@pytest.mark.faults
def test_a_worker_that_stops_for_a_while_writes_nothing_after_it_was_given_up(
    app: Flask, start_worker: StartWorker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    worker = start_worker()
    report_id = ask(app, partner_use(**SLOW))
    assert until(searching(stand_in))
    horses = children(worker.pid)
    for pid in [worker.pid, *horses]:
        os.kill(pid, signal.SIGSTOP)
    assert until(lambda: sweep(app) == 1)
    stand_in.settings(latency_ms=0)
    start_worker()
    assert until(lambda: status(app, report_id) == "done")
    before = lines(app, report_id)
    for pid in [*horses, worker.pid]:
        os.kill(pid, signal.SIGCONT)
    time.sleep(2)
    report = row(app, report_id)
    assert (report.status, report.attempt) == ("done", 2)
    assert lines(app, report_id) == before


def test_two_reports_at_once_on_two_workers_both_end_right(
    app: Flask, start_worker: StartWorker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    stand_in.settings(latency_ms=0)
    start_worker()
    start_worker()
    span = {"mode": "monthly", "start": "2024-01", "end": "2024-06", "partner_id": "70000006"}
    made = [ask(app, partner_use(**span)) for _ in range(4)]
    ended = until(lambda: all(status(app, one) == "done" for one in made))
    assert ended, [(status(app, one), lines(app, one)) for one in made]
    right = [row["total_users"] for row in truth.report(70000006, ("2024-01", "2024-06"))["months"]]
    with app.app_context():
        for one in made:
            rows = ReadResult(db.session.get_one(Report, one)).rows("months")
            assert [row["total_users"] for row in rows] == right


def test_no_secret_is_among_a_workers_arguments_or_environment(
    app: Flask, start_worker: StartWorker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    worker = start_worker()
    ask(app, partner_use(**SLOW))
    assert until(searching(stand_in))
    for pid in [worker.pid, *children(worker.pid)]:
        for name in ("cmdline", "environ"):
            assert DEMO_SECRET.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]
