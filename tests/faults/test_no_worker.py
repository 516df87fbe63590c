"""With no live worker the page and `/readyz` say so instead of spinning."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from rq.serializers import JSONSerializer

from tests.conftest import find_scope
from tests.engine.engine_helpers import change
from webapp.engine import service
from webapp.extensions import redis_client, report_queue
from webapp.lib.moments import utcnow
from webapp.ops.workers import ForkingWorker, live_workers, new_name

Params = Callable[..., dict[str, Any]]


def test_a_worker_that_redis_forgot_makes_itself_known_again(app: Flask) -> None:
    with app.app_context():
        queue = report_queue()
        worker = ForkingWorker(
            [queue], name=new_name(), connection=queue.connection, serializer=JSONSerializer
        )
        worker.register_birth()
        redis = redis_client()
        for key in redis.keys("rq:worker*"):
            if redis.type(key) == b"set":
                redis.srem(key, worker.key)
        redis.delete(worker.key)
        assert live_workers(redis, queue.name) == []
        worker.heartbeat()
        assert [one.name for one in live_workers(redis, queue.name)] == [worker.name]
        worker.register_death()


def test_a_waiting_report_says_that_no_worker_runs(
    app: Flask, client_for: Callable[[str], FlaskClient], partner_use: Params
) -> None:
    with app.app_context():
        report_id = service.start_report(
            find_scope(app, "owner"), "partner-use", partner_use()
        ).report.id
    change(app, report_id, queued_at=utcnow() - timedelta(seconds=30))
    page = client_for("owner").get(f"/reports/{report_id}").text
    assert "No worker is running, so the report waits." in page
    ready = app.test_client().get("/readyz")
    assert ready.status_code == 503
    assert ready.json is not None
    assert ready.json["status"] == "unavailable"
    assert "No worker is alive" in ready.json["checks"]["worker"]["detail"]
    assert ready.json["queue"]["waiting"] == 1
