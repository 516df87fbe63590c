"""The example client against a real server: it keeps what it cannot send, and catches up."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select
from werkzeug.serving import make_server

from tests.kinds.session_activity.session_helpers import Sender
from tests.servers import free_port
from tests.soon import until
from webapp.extensions import db
from webapp.kinds.session_activity.models import Segment, Session

CLIENT = Path(__file__).parents[3] / "docs" / "examples" / "session_ping.py"

_spec = importlib.util.spec_from_file_location("session_ping", CLIENT)
assert _spec is not None
assert _spec.loader is not None
client_code: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(client_code)


@contextmanager
def serving(app: Flask, port: int) -> Iterator[None]:
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def pinging(
    port: int, auth: tuple[str, str], spool: Path, *more: str
) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, str(CLIENT), "--url", f"http://127.0.0.1:{port}", "--login", "anna"]
    argv += ["--computer", "pink0001", "--every", "1", "--spool", str(spool), *more]
    keys = {"SESSION_API_KEY": auth[0], "SESSION_API_SECRET": auth[1]}
    client = subprocess.Popen(
        argv, env=os.environ | keys, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield client
    finally:
        client.terminate()
        client.wait(60)
        assert client.stdout is not None
        client.stdout.close()


def lines_of(spool: Path) -> int:
    return len(spool.read_text().splitlines()) if spool.exists() else 0


def test_the_client_keeps_pings_through_an_outage_and_catches_up(
    app: Flask, sender: Sender, sender_for: Callable[..., Sender], tmp_path: Path
) -> None:
    limited = sender_for("colleague", scope="send")
    port, spool = free_port(), tmp_path / "pings.jsonl"
    with pinging(port, limited.auth, spool) as client:
        # Nobody answers yet: a session and two pings are kept.
        assert until(lambda: lines_of(spool) >= 3)
        with serving(app, port):
            assert until(lambda: lines_of(spool) == 0)
        assert client.poll() is None
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(Session)) == 1
        [segment] = db.session.scalars(select(Segment))
        assert 3 <= (segment.end_at - segment.start_at).total_seconds() < 30


def test_a_client_that_is_stopped_ends_its_session(
    app: Flask, sender: Sender, tmp_path: Path
) -> None:
    port = free_port()
    with serving(app, port):
        with pinging(port, sender.auth, tmp_path / "pings.jsonl", "--every", "3000"):
            assert until(lambda: bool(sender.get("/dashboard").json["data"]))
        assert sender.get("/dashboard").json["data"] == []


def test_the_client_says_when_its_key_is_refused(
    app: Flask, sender: Sender, tmp_path: Path
) -> None:
    port = free_port()
    with (
        serving(app, port),
        pinging(port, ("purk_nobody", "pur_wrong"), tmp_path / "pings.jsonl") as client,
    ):
        assert client.wait(60) == 1
        assert client.stdout is not None
        said = client.stdout.read()
    assert "refuses this key" in said
    assert "pur_wrong" not in said


class ScriptedServer:
    """Answers starts as told, session by session, and takes every ping of a session it knows."""

    def __init__(self, starts: dict[str, list[Exception | None]]) -> None:
        self.starts, self.known = starts, set[str]()
        self.taken: list[str] = []

    def post(self, path: str, body: Any) -> Any:
        if path == "/session":
            answers = self.starts.get(body["id"], [])
            if answers and (refusal := answers.pop(0)) is not None:
                raise refusal
            self.known.add(body["id"])
            return {"message": "Created"}
        verdicts = [201 if ping["session_id"] in self.known else 404 for ping in body]
        self.taken += [
            ping["date_time"] for ping, status in zip(body, verdicts, strict=True) if status == 201
        ]
        return {"data": [{"status": status, "message": "."} for status in verdicts]}


def start_of(session: str) -> dict[str, Any]:
    return {"id": session, "comp_name": "pink0001", "login": "anna", "date_time": "start"}


def ping_of(session: str, at: str) -> dict[str, Any]:
    return {"session_id": session, "login": "anna", "date_time": at}


ELSEWHERE = {"id": "another", "comp_name": "blue0002"}


@pytest.mark.parametrize(
    "refusal",
    [
        client_code.Refused(409, "anna is online at blue0002 already.", ELSEWHERE),
        client_code.Refused(400, "Unknown.", {"errors": {"login": "This login is not known."}}),
        client_code.Refused(400, "Unknown.", {"errors": {"login": "?", "comp_name": "?"}}),
        client_code.Refused(400, "Bad.", {"errors": {"next_ping_sec": "must be 1 to 86400."}}),
    ],
)
def test_a_start_that_may_be_taken_later_waits_with_its_pings(
    tmp_path: Path, refusal: Exception
) -> None:
    spool = client_code.Spool(tmp_path / "pings.jsonl")
    for ping in (start_of("a"), ping_of("a", "a1"), start_of("b"), ping_of("b", "b1")):
        spool.add(ping)
    server = ScriptedServer({"a": [refusal, refusal]})
    assert client_code.catch_up(server, spool) == 2
    assert server.taken == ["b1"]
    spool.add(ping_of("a", "a2"))
    assert client_code.catch_up(server, spool) == 0
    # As a restart finds it.
    spool = client_code.Spool(tmp_path / "pings.jsonl")
    assert [ping["date_time"] for ping in spool.pings] == ["start", "a1", "a2"]
    assert client_code.catch_up(server, spool) == 3
    assert server.taken == ["b1", "a1", "a2"]
    assert lines_of(tmp_path / "pings.jsonl") == 0


@pytest.mark.parametrize(
    "refusal",
    [
        client_code.Refused(409, "Another session has this id already.", {"id": "a"}),
        client_code.Refused(400, "Bad.", []),
    ],
)
def test_what_can_never_be_taken_is_dropped(tmp_path: Path, refusal: Exception) -> None:
    spool = client_code.Spool(tmp_path / "pings.jsonl")
    for ping in (start_of("a"), ping_of("a", "a1"), start_of("b")):
        spool.add(ping)
    assert client_code.catch_up(ScriptedServer({"a": [refusal]}), spool) == 1
    assert spool.pings == []


def test_a_session_refused_while_its_login_is_elsewhere_is_told_later(
    app: Flask, sender: Sender, tmp_path: Path
) -> None:
    sender.begin("elsewhere", None, comp_name="blue0002", next_ping_sec=8)
    port, spool = free_port(), tmp_path / "pings.jsonl"
    with serving(app, port), pinging(port, sender.auth, spool):
        assert until(lambda: lines_of(spool) >= 2)
        assert until(lambda: lines_of(spool) == 0)
    with app.app_context():
        [segment] = db.session.scalars(
            select(Segment).join(Session, Session.number == Segment.session_number)
            .where(Session.id != "elsewhere")
        )  # fmt: skip
        # Its first second too, which the server refused at the time.
        assert (segment.end_at - segment.start_at).total_seconds() >= 3


@pytest.mark.parametrize("address", ["10.0.0.1 172.17.0.1", "lab-7.example.org", "10.0.0.1:5000"])
def test_an_address_that_is_none_costs_no_ping(
    app: Flask, sender: Sender, tmp_path: Path, address: str
) -> None:
    port, spool = free_port(), tmp_path / "pings.jsonl"
    with serving(app, port), pinging(port, sender.auth, spool, "--address", address) as client:
        assert until(lambda: stored_address(app) == address)
        assert until(lambda: lines_of(spool) == 0)
        assert client.poll() is None


def stored_address(app: Flask) -> str | None:
    with app.app_context():
        return db.session.scalar(select(Session.ip_addr))


def test_a_fault_of_what_may_be_left_out_costs_no_ping(
    app: Flask, sender: Sender, tmp_path: Path
) -> None:
    server = HttpServer(sender)
    spool = client_code.Spool(tmp_path / "pings.jsonl")
    common = {"login": "anna", "next_ping_sec": 60}
    spool.add(start_of("a") | common | {"ip_addr": "x" * 65, "date_time": "2023-09-06T08:00:00Z"})
    for minute, event in ((1, "x" * 51), (2, "exam")):
        at = f"2023-09-06T08:0{minute}:00Z"
        spool.add(ping_of("a", at) | common | {"session_type": event})
    assert client_code.catch_up(server, spool) == 3
    assert spool.pings == []
    with app.app_context():
        found = {
            one.event: one.end_at - one.start_at for one in db.session.scalars(select(Segment))
        }
    assert found == {"": timedelta(minutes=3), "exam": timedelta(minutes=1)}


class HttpServer:
    """The real addresses, as the client's `Server` reaches them."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender

    def post(self, path: str, body: Any) -> Any:
        answer = self.sender.post(path, body)
        if answer.status_code == 400:
            raise client_code.Refused(400, answer.json["message"], answer.json["data"])
        return answer.json


def test_a_line_written_by_half_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "pings.jsonl"
    client_code.Spool(path).add(ping_of("a", "a1"))
    with path.open("a") as file:
        file.write('{"session_id": "a", "date_')
    client_code.Spool(path).add(ping_of("a", "a2"))
    found = client_code.Spool(path).pings
    assert [ping["date_time"] for ping in found] == ["a1", "a2"]


class SlowServer:
    """Takes its time and then answers nothing."""

    def post(self, path: str, body: Any) -> Any:
        time.sleep(0.6)
        raise client_code.Away("timed out")


def test_pings_are_made_at_fixed_times_however_long_sending_takes(tmp_path: Path) -> None:
    path, stop = tmp_path / "pings.jsonl", threading.Event()
    options = argparse.Namespace(
        spool=path, login="anna", computer="pink0001", address="", event="", every=1
    )
    thread = threading.Thread(target=client_code.run, args=(options, SlowServer(), stop))
    thread.start()
    assert until(lambda: lines_of(path) >= 6)
    stop.set()
    thread.join()
    made = [datetime.fromisoformat(ping["date_time"]) for ping in client_code.Spool(path).pings]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(made)]
    assert median(gaps) < 1.5  # 1.6, were the sending on top of each second


def test_sending_what_was_kept_stops_for_a_ping_that_is_due(tmp_path: Path) -> None:
    spool = client_code.Spool(tmp_path / "pings.jsonl")
    spool.add(start_of("a"))
    assert client_code.catch_up(ScriptedServer({}), spool, time.monotonic() - 1) == 0
    assert len(spool.pings) == 1
