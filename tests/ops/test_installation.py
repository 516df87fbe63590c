"""What all processes of an installation agree on: one key, one janitor that works."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from rq import Worker

from tests.conftest import SECRET_KEY
from tests.servers import GUNICORN
from tests.soon import until
from webapp import installation
from webapp.config import BadSetting
from webapp.engine import upkeep
from webapp.extensions import db

ROOT = Path(__file__).parents[2]
OTHER_KEY = "another machine's own key, 0123456789"


def test_the_first_key_is_remembered_and_another_one_refused(app: Flask) -> None:
    with app.app_context():
        installation.check_key(db.engine, SECRET_KEY)
        installation.check_key(db.engine, SECRET_KEY)
        with pytest.raises(BadSetting, match="is not the key this database was used with"):
            installation.check_key(db.engine, OTHER_KEY)


def test_a_rotated_key_takes_over_and_the_old_one_alone_is_refused(app: Flask) -> None:
    with app.app_context():
        installation.check_key(db.engine, SECRET_KEY)
        installation.check_key(db.engine, OTHER_KEY, SECRET_KEY)
        installation.check_key(db.engine, OTHER_KEY)
        with pytest.raises(BadSetting):
            installation.check_key(db.engine, SECRET_KEY)


def test_the_key_itself_is_not_in_the_database(app: Flask) -> None:
    with app.app_context():
        installation.check_key(db.engine, SECRET_KEY)
        kept = db.session.scalars(db.select(installation.InstallationFact.value)).all()
    assert len(kept) == 1
    assert SECRET_KEY not in kept[0]


@pytest.mark.once
@pytest.mark.parametrize(
    "argv",
    [
        [sys.executable, "worker.py"],
        [sys.executable, "-m", "flask", "janitor"],
        [sys.executable, "-m", "flask", "key", "create", "owner@example.com"],
        GUNICORN,
    ],
    ids=["worker", "janitor", "command", "web"],
)
def test_every_process_with_another_key_ends_with_a_sentence(app: Flask, argv: list[str]) -> None:
    with app.app_context():
        installation.check_key(db.engine, SECRET_KEY)
    names = ("DATA_DIR", "DATABASE_URL", "REDIS_URL", "QUEUE")
    environ = os.environ | {name: str(app.config[name]) for name in names}
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=environ | {"SECRET_KEY": OTHER_KEY, "PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "SECRET_KEY: is not the key this database was used with" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.once
@pytest.mark.parametrize(
    ("argv", "code"),
    [
        ([sys.executable, "worker.py"], 2),
        ([sys.executable, "-m", "flask", "janitor"], 2),
        # Its pages say that the database is away. When it is ended it is started anew, and ends.
        (GUNICORN, 0),
    ],
    ids=["worker", "janitor", "web"],
)
def test_who_starts_before_the_database_says_so_and_compares_the_key_later(
    app: Flask, tmp_path: Path, argv: list[str], code: int
) -> None:
    made, later = tmp_path / "made", tmp_path / "later"
    made.mkdir()
    with closing(sqlite3.connect(made / "app.sqlite3")) as database:
        database.execute("CREATE TABLE installation_fact (name TEXT PRIMARY KEY, value, at)")
        database.execute("INSERT INTO installation_fact VALUES ('secret key', 'of another', '')")
        database.commit()
    settings = {
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": f"sqlite:///{later}/app.sqlite3",
        "REDIS_URL": str(app.config["REDIS_URL"]),
        "QUEUE": str(app.config["QUEUE"]),
        "SECRET_KEY": OTHER_KEY,
    }
    with subprocess.Popen(
        argv,
        cwd=ROOT,
        env=os.environ | settings | {"PORT": "0"},
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stderr is not None
        waits = started.stderr.readline()
        assert "waits for the database: The database's file cannot be opened" in waits
        made.rename(later)
        assert started.wait(60) == code
        assert "SECRET_KEY: is not the key this database was used with" in started.stderr.read()


def test_a_key_that_is_gone_can_be_given_up(app: Flask) -> None:
    with app.app_context():
        installation.check_key(db.engine, OTHER_KEY)
    done = app.test_cli_runner().invoke(args=["secrets", "adopt"])
    assert done.exit_code == 0
    with app.app_context():
        installation.check_key(db.engine, SECRET_KEY)


def test_of_two_janitors_one_works_until_it_is_silent_or_stops(app: Flask) -> None:
    turn = timedelta(hours=1)
    with app.app_context():
        assert installation.take_turn("janitor", "first", turn)
        assert not installation.take_turn("janitor", "second", turn)
        assert installation.take_turn("janitor", "first", turn)
        assert installation.take_turn("janitor", "second", timedelta(0))
        assert not installation.take_turn("janitor", "first", turn)
        installation.end_turn("janitor", "first")  # not its own
        assert not installation.take_turn("janitor", "first", turn)
        installation.end_turn("janitor", "second")
        assert installation.take_turn("janitor", "first", turn)


def test_a_janitor_says_that_it_works_and_leaves_its_turn(app: Flask) -> None:
    def is_heard() -> bool:
        with app.app_context():
            silence = installation.silence_of(upkeep.JANITOR)
            return silence is not None and silence < upkeep.SILENT_TOO_LONG

    stop = threading.Event()
    janitor = threading.Thread(target=upkeep.loop, args=(app, stop))
    janitor.start()
    try:
        assert until(is_heard)
    finally:
        stop.set()
        janitor.join(60)
    assert not is_heard()


def test_a_missing_janitor_is_said_and_reports_are_still_made(
    app: Flask, client_for: Callable[[str], FlaskClient], register_worker: Callable[..., Worker]
) -> None:
    register_worker()
    answer = app.test_client().get("/readyz")
    found: Any = answer.json
    assert (answer.status_code, found["status"]) == (200, "degraded")
    assert "janitor is not running" in found["checks"]["janitor"]["detail"]
    assert "janitor is not running" in client_for("operator").get("/").text
    assert "janitor is not running" not in client_for("owner").get("/").text
    with app.app_context():
        installation.take_turn(upkeep.JANITOR, "me", upkeep.TURN)
    assert "janitor is not running" not in client_for("operator").get("/").text


def test_health_is_a_command_for_containers(
    app: Flask, register_worker: Callable[..., Worker]
) -> None:
    run = app.test_cli_runner().invoke
    assert run(args=["health", "worker"]).exit_code == 1
    assert run(args=["health"]).exit_code == 1
    register_worker()
    assert run(args=["health", "worker"]).exit_code == 0
    assert run(args=["health"]).exit_code == 0
    without = run(args=["health", "janitor"])
    assert (without.exit_code, "AWAY" in without.output) == (1, True)
