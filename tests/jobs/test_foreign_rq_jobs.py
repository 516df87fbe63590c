"""Who can write to Redis cannot run code: workers call one function and no callback of a job."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from rq import Queue
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from tests.conftest import find_scope
from tests.engine.conftest import start_worker
from tests.engine.engine_helpers import row
from tests.soon import until
from webapp.engine import service
from webapp.extensions import redis_client
from webapp.jobs import executor, transport

__all__ = ["start_worker"]
StartWorker = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def foreign(app: Flask) -> Queue:
    """Return the queue as somebody has it who can write to Redis and knows RQ."""
    name = app.config["QUEUE"]
    return Queue(name, connection=redis_client(app), serializer=JSONSerializer)


def status(app: Flask, job_id: str) -> JobStatus | None:
    connection = redis_client(app)
    return Job.fetch(job_id, connection=connection, serializer=JSONSerializer).get_status()


def put(queue: Queue, job_id: str, function: str, *args: Any, **more: Any) -> None:
    queue.enqueue_call(function, args=args, job_id=job_id, result_ttl=600, **more)


def test_a_worker_refuses_every_function_but_its_own_and_goes_on(
    app: Flask,
    foreign: Queue,
    start_worker: StartWorker,
    partner_use: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    add = tmp_path / "made"
    put(foreign, "one", "os.mkdir", str(add))
    put(foreign, "two", "subprocess.call", ["mkdir", str(add)])
    put(foreign, "three", transport.RUN, "another-id")
    put(foreign, "four", "webapp.engine.upkeep.run_nightly", None, {"kind": "inventory"})
    with app.app_context():
        ours = service.start_report(find_scope(app, "owner"), "partner-use", partner_use()).report
        report_id = ours.id
    start_worker()
    assert until(lambda: row(app, report_id).status == "done")
    assert [status(app, job_id) for job_id in ("one", "two", "three", "four")] == ["failed"] * 4
    assert not add.exists()
    log = (tmp_path / "worker-0.log").read_text()
    assert log.count("its function is not on the list") == 4


def test_no_callback_of_a_job_is_called(
    app: Flask, foreign: Queue, start_worker: StartWorker, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    job_id = str(uuid4())
    marker = f"import pathlib; pathlib.Path({str(made)!r}).touch()"
    (tmp_path / "callbacks.py").write_text(f"def call(*args, **more):\n    exec({marker!r})\n")
    put(foreign, job_id, transport.RUN, job_id)
    job = Job.fetch(job_id, connection=foreign.connection, serializer=JSONSerializer)
    for name in ("success_callback_name", "failure_callback_name", "stopped_callback_name"):
        foreign.connection.hset(job.key, name, "callbacks.call")
    start_worker(PYTHONPATH=str(tmp_path))
    assert until(lambda: status(app, job_id) == "finished")
    assert not made.exists()


def test_what_rq_would_call_at_an_end_is_nothing(app: Flask, foreign: Queue) -> None:
    put(foreign, "one", transport.RUN, "one")
    names = ("success_callback", "failure_callback", "stopped_callback")
    for name in names:
        foreign.connection.hset(Job.key_for("one"), f"{name}_name", "os.mkdir")
    plain, guarded = (
        kind.fetch("one", connection=foreign.connection, serializer=JSONSerializer)
        for kind in (Job, transport.GuardedJob)
    )
    assert [getattr(plain, name) for name in names] == [os.mkdir] * 3
    assert [getattr(guarded, name) for name in names] == [None] * 3


def test_a_guarded_job_calls_nothing_else(app: Flask, foreign: Queue) -> None:
    put(foreign, "one", "os.getcwd")
    put(foreign, "two", transport.RUN, "two", timeout=5)
    put(foreign, "three", transport.RUN, "three", "more")
    with app.app_context():
        found = [
            transport.GuardedJob.fetch(
                job_id, connection=foreign.connection, serializer=JSONSerializer
            )
            for job_id in ("one", "two", "three")
        ]
        assert [job.is_ours for job in found] == [False, True, False]
        with pytest.raises(transport.Refused):
            _ = found[0].func
        assert found[1].func is executor.run_job


def test_data_that_is_no_json_is_refused(app: Flask, foreign: Queue) -> None:
    put(foreign, "one", transport.RUN, "one")
    job = Job.fetch("one", connection=foreign.connection, serializer=JSONSerializer)
    foreign.connection.hset(job.key, "data", b"\x80\x04K\x01.")
    guarded = transport.GuardedJob.fetch(
        "one", connection=foreign.connection, serializer=JSONSerializer
    )
    assert not guarded.is_ours
