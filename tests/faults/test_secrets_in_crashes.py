"""A planted secret goes through every way a run can end, and is then looked for everywhere."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from redis import Redis

from sandbox.testing import RunningStandIn
from tests.conftest import add_people
from tests.engine.engine_helpers import Steps, run, start
from tests.faults.faults_helpers import OwnRedis, RunningStack, Stream, running_stack, until
from tests.servers import kill
from webapp.engine.kind import Result, Run

CANARY = "cGxhbnRlZC1jYW5hcnktaW4tY3Jhc2hlcw=="
SLOW = {"partner_id": "70000002", "mode": "monthly", "start": "2024-01", "end": "2024-06"}


def holds(folder: Path, secret: str) -> list[str]:
    """Return the files below a folder that hold the secret as it is."""
    mark = secret.encode()
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [str(path) for path in files if mark in path.read_bytes()]


def redis_text(url: str) -> str:
    """Return everything a Redis holds, as text."""
    told: list[str] = []
    with Redis.from_url(url) as client:
        for key in client.scan_iter("*"):
            raw = client.dump(key)
            told.append(repr(key) + repr(raw))
            if client.type(key) == b"hash":
                # RQ keeps results and tracebacks compressed.
                import zlib

                for value in client.hgetall(key).values():
                    told.append(repr(value))
                    if value[:1] == b"x":
                        told.append(repr(zlib.decompress(value)))
            if client.type(key) == b"stream":
                told.append(repr(client.xrange(key)))
    return "\n".join(told)


def test_an_exception_that_names_a_secret_is_told_without_it(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    def work(run: Run) -> Result:
        try:
            raise ValueError(f"cannot use {run.secrets['password']}")
        except ValueError as error:
            raise RuntimeError("no luck") from error

    app = make_app(report_kinds=(Steps(work),))
    add_people(app)
    caplog.set_level("DEBUG")
    report = run(app, start(app, password=CANARY))
    assert (report.status, report.sealed) == ("failed", None)
    assert CANARY not in str(report.error)
    assert CANARY not in caplog.text


@pytest.mark.faults
def test_a_planted_secret_is_nowhere_after_crashes(
    tmp_path: Path, own_redis: OwnRedis, stand_in: RunningStandIn, partner_use: Callable[..., Any]
) -> None:
    stand_in.settings(latency_ms=100)
    with running_stack(
        tmp_path / "stack",
        own_redis.url,
        stand_in.url_template,
        LEASE_SECONDS="2",
        LOG_LEVEL="debug",
        PARTNER_CONCURRENCY="2",
        WORKERS="2",
    ) as found:
        secret = "ZGVtby1zZWNyZXQ="
        # Killed in the middle, worker and work-horse, and made by another one.
        killed = found.ask(**partner_use(**SLOW))
        stream = Stream(found, killed)
        until(lambda: len(stream.numbers) > 2, 60, lambda: found.printed)
        for pid, line in found.processes().items():
            assert secret not in line
            with contextlib.suppress(OSError):  # it has ended meanwhile
                assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        at_work = horses(found)
        assert at_work, found.printed
        kill(*at_work)
        stand_in.settings(latency_ms=0)
        assert stream.ended(60) == {"status": "done"}
        # Refused by the partner; the secret is wrong and planted.
        refused = found.ask(**partner_use(user_secret=CANARY))
        assert Stream(found, refused).ended(60) == {"status": "failed"}
        # Typed into the wrong places, answered with 4xx.
        for body in (
            {"kind": CANARY, "params": {}},
            {"kind": "partner-use", "params": partner_use(user_secret=CANARY, mode=CANARY)},
            {"kind": "partner-use", "params": partner_use(user_secret=CANARY, partner_id="x")},
        ):
            answer = requests.post(
                f"{found.address}/api/v1/reports", json=body, auth=found.auth, timeout=20
            )
            assert answer.status_code == 422
        requests.get(f"{found.address}/login?secret={CANARY}", timeout=60)
        requests.get(f"{found.address}/invite/{CANARY}", timeout=60)
        requests.get(f"{found.address}/api/v1/reports", auth=("purk_x", CANARY), timeout=60)
        pages = [
            found.get(f"/api/v1/reports/{one}{tail}").text
            for one in (killed, refused)
            for tail in ("", "/events", "/result", "/result?format=csv")
        ]
        pages.append(operator_pages(found))
        assert refused in pages[-1], "the dashboard shows its failed job"
        told = "\n".join([*pages, found.printed, redis_text(own_redis.url)])
        for planted in (CANARY, secret, found.auth[1]):
            assert planted not in told
    assert all(line.startswith("{") for line in found.lines), "one JSON line a record"
    with sqlite3.connect(tmp_path / "stack" / "app.sqlite3") as database:
        dump = "\n".join(database.iterdump())
        assert (
            database.execute("SELECT count(*) FROM job WHERE sealed IS NOT NULL").fetchone()[0] == 0
        )
    database.close()
    for planted in (CANARY, secret, found.auth[1]):
        assert planted not in dump
        assert holds(tmp_path, planted) == []


def horses(found: RunningStack) -> list[int]:
    """Return the workers that are at work, and their work-horses."""
    both: list[int] = []
    for pid in found.numbers_of("worker.py"):
        children = subprocess.run(
            ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        if children:
            both += [pid, *map(int, children)]
    return both


def operator_pages(found: RunningStack) -> str:
    """Return what the RQ dashboard and the metrics show an operator."""
    queue = "reports"
    told = []
    paths = ["/metrics", "/ops/rq/", "/ops/rq/0/data/queues.json"]
    paths += [
        f"/ops/rq/0/data/jobs/{queue}/{registry}/20/asc/1.json"
        for registry in ("failed", "finished", "started", "queued")
    ]
    for path in paths:
        answer = requests.get(f"{found.address}{path}", auth=found.operator_auth, timeout=60)
        told.append(answer.text)
    with Redis.from_url(found.settings["REDIS_URL"]) as client:
        ids = [key.decode().rpartition(":")[2] for key in client.scan_iter("rq:job:*")]
    for job_id in ids:
        answer = requests.get(
            f"{found.address}/ops/rq/0/data/job/{job_id}.json",
            auth=found.operator_auth,
            timeout=60,
        )
        told.append(answer.text)
    return "\n".join(told)
