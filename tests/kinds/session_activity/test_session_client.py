"""The example client against a real server: it keeps what it cannot send, and catches up."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from sqlalchemy import func, select
from werkzeug.serving import make_server

from tests.kinds.session_activity.session_house import Sender
from webapp.extensions import db
from webapp.kinds.session_activity.models import Segment, Session

CLIENT = Path(__file__).parents[3] / "docs" / "examples" / "session_ping.py"


@contextmanager
def serving(app: Flask, port: int) -> Iterator[None]:
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def pinging(port: int, auth: tuple[str, str], spool: Path) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, str(CLIENT), "--url", f"http://127.0.0.1:{port}", "--login", "anna"]
    argv += ["--computer", "pink0001", "--every", "1", "--spool", str(spool)]
    keys = {"SESSION_API_KEY": auth[0], "SESSION_API_SECRET": auth[1]}
    client = subprocess.Popen(
        argv, env=os.environ | keys, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield client
    finally:
        client.terminate()
        client.wait(10)
        assert client.stdout is not None
        client.stdout.close()


def wait_for(happened: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lines_of(spool: Path) -> int:
    return len(spool.read_text().splitlines()) if spool.exists() else 0


def test_the_client_keeps_pings_through_an_outage_and_catches_up(
    app: Flask, sender: Sender, sender_for: Callable[..., Sender], tmp_path: Path
) -> None:
    limited = sender_for("colleague", scope="send")
    port, spool = free_port(), tmp_path / "pings.jsonl"
    with pinging(port, limited.auth, spool) as client:
        # Nobody answers yet: a session and two pings are kept.
        wait_for(lambda: lines_of(spool) >= 3)
        with serving(app, port):
            wait_for(lambda: lines_of(spool) == 0)
        assert client.poll() is None
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(Session)) == 1
        [segment] = db.session.scalars(select(Segment))
        assert 3 <= (segment.end_at - segment.start_at).total_seconds() < 30


def test_the_client_says_when_its_key_is_refused(
    app: Flask, sender: Sender, tmp_path: Path
) -> None:
    port = free_port()
    with (
        serving(app, port),
        pinging(port, ("purk_nobody", "pur_wrong"), tmp_path / "pings.jsonl") as client,
    ):
        assert client.wait(15) == 1
        assert client.stdout is not None
        said = client.stdout.read()
    assert "refuses this key" in said
    assert "pur_wrong" not in said
