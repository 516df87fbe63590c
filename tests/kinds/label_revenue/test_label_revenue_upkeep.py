"""Uploads whose worker dies, whose job is lost, whose row never came: none of them is stuck."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from label_revenue_files import FILES, SAMPLE
from sqlalchemy import select, update
from test_label_revenue_pages import send, state, upload

from tests.engine.conftest import kill_group, start_worker  # noqa: F401
from tests.job_helpers import run_jobs
from tests.soon import until
from webapp.errors import Conflict
from webapp.extensions import db
from webapp.files import StoredFile
from webapp.intake import drop_expired_uploads
from webapp.intake.uploads import Upload, forget_upload
from webapp.jobs import janitor
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


def swept(app: Flask, later: timedelta = timedelta()) -> int:
    with app.app_context():
        return janitor.sweep(utcnow() + later)


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
    run_jobs(app)
    assert send(owner, path).status_code == 303
    worker = start_worker(FETCH_PRIVATE_ADDRESSES="true")
    assert until(lambda: slow_server.asked == 1, 30)
    assert swept(app) == 0
    kill_group(worker)
    assert state(app, path).status == "loading"
    assert send(owner, f"{path}/delete").status_code == 409
    assert swept(app, LATER) == 1
    assert state(app, path).status == "loading"
    slow_server.may_answer.set()
    start_worker(FETCH_PRIVATE_ADDRESSES="true")
    assert until(lambda: state(app, path).status == "loaded", 30)
    assert api_for("owner").get("/report").json["data"]["Quiet Street"] == 9.11


def test_web_and_worker_need_no_folder_in_common(
    app: Flask,
    client_for: Any,
    api_for: Any,
    tmp_path: Path,
    start_worker: Callable[..., Any],  # noqa: F811
) -> None:
    """The worker has a data directory of its own, as on another machine."""
    owner = client_for("owner")
    path = upload(
        owner, **{role: (SAMPLE / name).read_bytes() for role, name in FILES.items()}
    ).location
    start_worker(DATA_DIR=str(tmp_path / "elsewhere"))
    assert until(lambda: state(app, path).status == "ready", 30)
    assert send(owner, path).status_code == 303
    assert until(lambda: state(app, path).status == "loaded", 30)
    assert api_for("owner").get("/report").json["data"]["Quiet Street"] == 9.11


def test_a_refused_upload_leaves_no_files(app: Flask, client_for: Any) -> None:
    owner = client_for("owner")
    for url, role in (("ftp://a/b", "streams"), ("http://127.0.0.1/x", "tracks")):
        file = {role: (io.BytesIO(b"[]"), "some.file")}
        assert send(owner, "/label-revenue/load", tracks_url=url, **file).status_code == 422
    with app.app_context():
        assert list(db.session.scalars(select(StoredFile))) == []


def test_an_upload_that_nobody_loads_expires_with_its_files(app: Flask, client_for: Any) -> None:
    path = upload(client_for("owner"), users=(SAMPLE / "users.csv").read_bytes()).location
    with app.app_context():
        drop_expired_uploads(utcnow() + timedelta(days=30))
    assert client_for("owner").get(path).status_code == 200
    run_jobs(app)
    with app.app_context():
        drop_expired_uploads(utcnow() + timedelta(days=6))
        assert len(list(db.session.scalars(select(StoredFile)))) == 1
        # Another tab begins to load what this one has found at rest.
        [found] = db.session.scalars(select(Upload))
        with db.engine.begin() as other:
            other.execute(update(Upload).values(status="loading"))
        with pytest.raises(Conflict):
            forget_upload(found.id)
        assert len(list(db.session.scalars(select(StoredFile)))) == 1
        db.session.execute(update(Upload).values(status="ready"))
        drop_expired_uploads(utcnow() + timedelta(days=8))
        assert list(db.session.scalars(select(StoredFile))) == []
    assert client_for("owner").get(path).status_code == 404
