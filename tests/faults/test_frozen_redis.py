"""A Redis that hangs: asking for work and taking it back do not wait for it, and it ends right."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.conftest import Api, add_people
from tests.engine.conftest import start_worker
from tests.engine.engine_helpers import Steps, row
from tests.faults.faults_helpers import OwnRedis
from tests.soon import soon, until
from webapp.accounts import create_key, find_user
from webapp.extensions import report_queue
from webapp.jobs import janitor
from webapp.lib.moments import utcnow
from webapp.ops.workers import SILENT_TOO_LONG

__all__ = ["start_worker"]


@pytest.fixture
def app(make_app: Callable[..., Flask], own_redis: OwnRedis) -> Flask:
    app = make_app(
        report_kinds=(Steps(),), REDIS_URL=own_redis.url, TRIES_STORAGE_URI=own_redis.url
    )
    add_people(app)
    return app


@pytest.fixture
def api(app: Flask) -> Api:
    with app.app_context():
        user = find_user("owner@example.com")
        assert user is not None
        key, secret = create_key(user, "tests")
        return Api(app.test_client(), (key.key_id, secret))


def test_a_report_is_asked_for_and_cancelled_while_redis_hangs(
    app: Flask, api: Api, own_redis: OwnRedis
) -> None:
    own_redis.freeze()
    with soon():
        made = api.post("/reports", {"kind": "steps", "params": {}})
    assert (made.status_code, made.json["status"]) == (202, "queued")
    kept = api.post("/reports", {"kind": "steps", "params": {}}).json["id"]
    with soon():
        gone = api.delete(f"/reports/{made.json['id']}")
    assert (gone.status_code, gone.json["status"]) == (202, "cancelled")
    own_redis.thaw()
    with app.app_context():
        assert until(lambda: janitor.sweep(utcnow().replace(year=2999)) == 1)
        assert report_queue().job_ids == [kept]
    assert row(app, made.json["id"]).status == "cancelled"


def test_one_without_memory_is_not_ready_and_said_to_be_full(
    app: Flask, own_redis: OwnRedis
) -> None:
    def check() -> Any:
        answer = app.test_client().get("/readyz").json
        assert answer is not None
        return answer["checks"]["redis"]

    own_redis.ask("CONFIG", "SET", "maxmemory", "1")
    assert (check()["ok"], "its memory or its disk is full" in check()["detail"]) == (False, True)
    own_redis.ask("CONFIG", "SET", "maxmemory", "0")
    assert check()["ok"]


@pytest.mark.faults
def test_after_it_the_workers_are_found_again(
    app: Flask, own_redis: OwnRedis, start_worker: Callable[..., subprocess.Popen[Any]]
) -> None:
    def worker_is_found() -> bool:
        answer = app.test_client().get("/readyz").json
        assert answer is not None
        return bool(answer["checks"]["worker"]["ok"])

    worker = start_worker()
    assert until(worker_is_found)
    own_redis.freeze()
    # Longer than the worker may be silent, and than its own patience with Redis.
    time.sleep(SILENT_TOO_LONG.total_seconds() + 5)
    own_redis.thaw()
    assert until(worker_is_found)
    assert worker.poll() is None
