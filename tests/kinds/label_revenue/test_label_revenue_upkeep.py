"""Uploads whose worker dies, whose job is lost, whose row never came: none of them is stuck."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from label_revenue_files import SAMPLE
from test_label_revenue_pages import send, upload

from tests.engine.conftest import kill_group, start_worker  # noqa: F401
from tests.soon import until
from webapp.extensions import db
from webapp.jobs.transport import forget as forget_job
from webapp.kinds.label_revenue import work
from webapp.kinds.label_revenue.models import Upload
from webapp.kinds.label_revenue.upkeep import ORPHANED, remove_orphans, run_maintenance
from webapp.lib.moments import utcnow

LATER = timedelta(minutes=2)


class SlowServer:
    """A server of tracks that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                outer.may_answer.wait(60)
                body = (SAMPLE / "tracks.json").read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    return

            def log_message(self, *_: object) -> None:
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/tracks.json"


@pytest.fixture
def slow_server() -> Iterator[SlowServer]:
    server = SlowServer()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.may_answer.set()
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def state(app: Flask, upload_id: str) -> Upload:
    with app.app_context():
        found = db.session.get_one(Upload, upload_id)
        db.session.expunge(found)
        return found


def tended(app: Flask, later: timedelta = timedelta()) -> int:
    with app.app_context():
        return run_maintenance(utcnow() + later)


def test_an_upload_whose_worker_is_killed_is_loaded_by_another(
    app: Flask,
    client_for: Any,
    api_for: Any,
    slow_server: SlowServer,
    start_worker: Callable[..., Any],  # noqa: F811
) -> None:
    app.config["FETCH_PRIVATE_ADDRESSES"] = True
    owner = client_for("owner")
    texts = {name: (SAMPLE / file).read_bytes() for name, file in
             (("users", "users.csv"), ("streams", "streaming.csv"))}  # fmt: skip
    files = {role: (io.BytesIO(text), f"{role}.csv") for role, text in texts.items()}
    path = send(owner, "/label-revenue/load", tracks_url=slow_server.url, **files).location
    upload_id = path.rsplit("/", 1)[1]
    assert send(owner, path).status_code == 303
    worker = start_worker(FETCH_PRIVATE_ADDRESSES="true")
    assert until(lambda: slow_server.asked == 1, 30)
    assert tended(app) == 0
    kill_group(worker)
    assert state(app, upload_id).status == "loading"
    assert send(owner, f"{path}/delete").status_code == 409
    assert tended(app) == 0
    assert tended(app, LATER) == 1
    again = state(app, upload_id)
    assert (again.status, again.sentence) == ("queued", "The worker was lost; loading again.")
    assert tended(app) == 0
    slow_server.may_answer.set()
    start_worker(FETCH_PRIVATE_ADDRESSES="true")
    assert until(lambda: state(app, upload_id).status == "loaded", 30)
    assert api_for("owner").get("/report").json["data"]["Quiet Street"] == 9.11


@pytest.fixture
def queued(client_for: Any) -> str:
    owner = client_for("owner")
    path = upload(owner, users=(SAMPLE / "users.csv").read_bytes()).location
    assert send(owner, path).status_code == 303
    return str(path.rsplit("/", 1)[1])


def test_a_queued_upload_that_redis_forgot_is_queued_again(app: Flask, queued: str) -> None:
    assert tended(app, LATER) == 0
    with app.app_context():
        forget_job(work.upload_job_id(queued))
    assert tended(app) == 1
    assert tended(app, LATER) == 0
    assert state(app, queued).status == "queued"


def test_files_that_cost_worker_after_worker_are_given_up(
    app: Flask, queued: str, client_for: Any
) -> None:
    for status in ("queued", "queued", "failed"):
        with app.app_context():
            forget_job(work.upload_job_id(queued))
            db.session.get_one(Upload, queued).status = "loading"
            db.session.commit()
        assert tended(app) == 1
        assert state(app, queued).status == status
    owner, path = client_for("owner"), f"/label-revenue/uploads/{queued}"
    assert "The worker was lost 3 times" in owner.get(path).text
    assert send(owner, path).status_code == 303
    with app.app_context():
        work.load_upload(queued)
    assert state(app, queued).status == "loaded"


def folders(app: Flask) -> list[Path]:
    return list(Path(app.config["DATA_DIR"], "label_revenue").glob("*/uploads/*"))


def test_a_refused_upload_leaves_no_files(app: Flask, client_for: Any) -> None:
    owner = client_for("owner")
    for url, role in (("ftp://a/b", "streams"), ("http://127.0.0.1/x", "tracks")):
        file = {role: (io.BytesIO(b"[]"), "some.file")}
        assert send(owner, "/label-revenue/load", tracks_url=url, **file).status_code == 422
    assert folders(app) == []


def test_folders_that_no_upload_knows_are_removed_at_night(app: Flask, queued: str) -> None:
    [kept] = folders(app)
    orphan = kept.with_name("7925abd7-d4d8-4824-b25d-95928f26f263")
    orphan.mkdir()
    with app.app_context():
        assert remove_orphans() == 0
        long_ago = (utcnow() - 2 * ORPHANED).timestamp()
        for folder in (kept, orphan):
            os.utime(folder, (long_ago, long_ago))
        assert remove_orphans() == 1
    assert folders(app) == [kept]
