"""Health and readiness."""

from __future__ import annotations

import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from rq import Worker
from sqlalchemy import text

from tests.conftest import SERVERS, Api
from webapp import installation
from webapp.engine import upkeep
from webapp.engine.models import Report
from webapp.extensions import db, redis_client
from webapp.lib.moments import utcnow
from webapp.ops import health
from webapp.ops.workers import SILENT_TOO_LONG, live_workers
from webapp.version import VERSION

Register = Callable[..., Worker]
NOWHERE = "redis://127.0.0.1:1/0"


def readiness(app: Flask) -> tuple[int, dict[str, Any]]:
    answer = app.test_client().get("/readyz")
    assert answer.json is not None
    return answer.status_code, answer.json


def test_health_needs_neither_database_nor_redis(make_app: Callable[..., Flask]) -> None:
    app = make_app(REDIS_URL=NOWHERE, DATABASE_URL="sqlite:////nowhere/at/all.sqlite3")
    answer = app.test_client().get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok", "version": VERSION})


def test_it_is_ready_with_a_live_worker(app: Flask, register_worker: Register) -> None:
    register_worker()
    with app.app_context():
        assert installation.take_turn(upkeep.JANITOR, "me", upkeep.TURN)
    status, found = readiness(app)
    assert (status, found["status"]) == (200, "ok")
    assert [name for name, check in found["checks"].items() if check["ok"]] == [
        "database",
        "disk",
        "migrations",
        "redis",
        "worker",
        "janitor",
    ]
    assert found["queue"] == {"waiting": 0, "oldest_s": 0.0}


def test_without_a_worker_it_is_not_ready_and_says_so(app: Flask) -> None:
    status, found = readiness(app)
    assert (status, found["status"]) == (503, "unavailable")
    assert "No worker is alive" in found["checks"]["worker"]["detail"]


def test_without_redis_the_other_checks_are_still_told(make_app: Callable[..., Flask]) -> None:
    status, found = readiness(make_app(REDIS_URL=NOWHERE))
    assert status == 503
    assert found["checks"]["database"]["ok"]
    assert not found["checks"]["redis"]["ok"]


@pytest.mark.skipif(not SERVERS, reason="fills what Postgres may write")
def test_a_server_that_answers_and_cannot_write_to_its_disk_is_not_ready(app: Flask) -> None:
    with app.app_context():
        assert health.checks()[0].ok
        db.session.execute(text("SET LOCAL temp_file_limit = 0"))
        assert not health.checks()[0].ok


@pytest.mark.skipif(SERVERS, reason="looks at a disk of its own")
def test_a_full_disk_of_a_sqlite_file_is_not_ready(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(app.config["DATA_DIR"])._replace(free=0)
    monkeypatch.setattr("webapp.ops.health.shutil.disk_usage", lambda _: usage)
    assert "disk of the database is full" in readiness(app)[1]["checks"]["database"]["detail"]


def test_a_redis_that_is_full_is_said_to_be_so(make_app: Callable[..., Flask]) -> None:
    """As the embedded one is when the disk of its folder is full."""
    with socketserver.TCPServer(("127.0.0.1", 0), _FullRedis) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        app = make_app(REDIS_URL=f"redis://127.0.0.1:{server.server_address[1]}/0")
        checks = readiness(app)[1]["checks"]
        server.shutdown()
    assert "its memory or its disk is full" in checks["redis"]["detail"]


class _FullRedis(socketserver.StreamRequestHandler):
    """What answers every command as Redis does when it cannot save."""

    def handle(self) -> None:
        while self.rfile.readline().startswith(b"*"):
            self.wfile.write(b"-MISCONF Redis is configured to save, but it cannot.\r\n")


@pytest.mark.skipif(SERVERS, reason="takes a SQLite file away")
def test_a_database_or_folder_that_cannot_be_written_is_not_ready(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the tests may be root, who may write everywhere, so the system is asked less."""
    app = make_app()
    monkeypatch.setattr("webapp.ops.health.os.access", lambda *_: False)
    checks = readiness(app)[1]["checks"]
    assert checks["database"]["detail"].startswith("The database cannot be written")
    assert checks["disk"]["detail"].startswith("DATA_DIR cannot be written")


def test_a_full_disk_is_not_ready(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.ops.health.LEAST_FREE_BYTES", 2**70)
    status, found = readiness(make_app())
    assert (status, found["checks"]["disk"]["ok"]) == (503, False)
    assert "is full" in found["checks"]["disk"]["detail"]


def test_a_database_without_tables_is_not_ready(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    status, found = readiness(make_app(DATABASE_URL=f"sqlite:///{tmp_path}/empty.sqlite3"))
    assert status == 503
    assert "flask db upgrade" in found["checks"]["migrations"]["detail"]
    assert found["queue"] is None


def test_a_worker_whose_process_is_gone_is_not_alive(app: Flask, register_worker: Register) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    register_worker(pid=gone.pid)
    assert live_workers(redis_client(app), app.config["QUEUE"]) == []


def test_a_silent_worker_is_not_alive(app: Flask, register_worker: Register) -> None:
    register_worker()
    queue = app.config["QUEUE"]
    assert len(live_workers(redis_client(app), queue)) == 1
    later = utcnow() + SILENT_TOO_LONG + timedelta(seconds=1)
    assert live_workers(redis_client(app), queue, later) == []


def test_a_worker_of_another_queue_does_not_count(
    make_app: Callable[..., Flask], app: Flask, register_worker: Register
) -> None:
    register_worker()
    status, _ = readiness(make_app())
    assert status == 503


def test_readiness_tells_how_long_the_oldest_report_waits(
    app: Flask, api_for: Callable[[str], Api], partner_use: Callable[..., dict[str, Any]]
) -> None:
    made = api_for("owner").post("/reports", {"kind": "partner-use", "params": partner_use()})
    with app.app_context():
        report = db.session.get(Report, made.json["id"])
        assert report is not None
        report.queued_at = utcnow() - timedelta(seconds=90)
        db.session.commit()
    waiting = readiness(app)[1]["queue"]
    assert waiting["waiting"] == 1
    assert 90 <= waiting["oldest_s"] < 120
