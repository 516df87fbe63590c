"""`flask backup` and `flask restore` on both databases: what was there is there again, no more."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask
from sqlalchemy import create_engine, make_url, text

from tests.conftest import SERVERS, add_people, find_scope
from webapp import accounts
from webapp.extensions import db

Run = Callable[..., Result]


@pytest.fixture
def app(make_app: Callable[..., Flask], database_url: str, tmp_path: Path) -> Any:
    """Return an application on a database of its own, which a restore may drop and make again."""
    if not SERVERS:
        app = make_app()
        add_people(app)
        yield app
        return
    name = f"restore_{tmp_path.name[-20:]}".lower().replace("-", "_")
    admin = create_engine(database_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    app = make_app(DATABASE_URL=make_url(database_url).set(database=name).render_as_string(False))
    run_in(app, "db", "upgrade")
    add_people(app)
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
    with admin.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()


def run_in(app: Flask, *argv: str, **more: Any) -> Result:
    result = app.test_cli_runner().invoke(args=argv, **more)
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
    return result


def everything(app: Flask) -> dict[str, list[str]]:
    """Return every row of every table."""
    with app.app_context():
        tables = db.metadata.sorted_tables
        found = {
            table.name: sorted(str(row) for row in db.session.execute(table.select()))
            for table in tables
        }
        db.session.remove()
        db.engine.dispose()
    return found


def test_what_was_there_is_there_again_and_nothing_newer(app: Flask, tmp_path: Path) -> None:
    kept = tmp_path / "kept.backup"
    # Streams, whose table is in parts on Postgres, rows that refer to each other, files, sums.
    company_id = find_scope(app, "owner").company_id
    with app.app_context():
        for kind in app.extensions["report_kinds"].values():
            kind.seed_demo(company_id)
        db.session.remove()
    before = everything(app)
    assert len(before["label_revenue_stream"]) == 8
    assert run_in(app, "backup", str(kept)).exit_code == 0
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    with app.app_context():
        accounts.create_user("new@example.com", "New", "admin", "correct horse battery")
        db.session.execute(text("CREATE TABLE of_a_newer_version (x INTEGER)"))
        db.session.commit()
    restored = run_in(app, "restore", str(kept))
    assert (restored.exit_code, restored.output) == (
        0, "The database is as it was, and up to date.\n",
    )  # fmt: skip
    assert everything(app) == before
    with app.app_context():
        assert "of_a_newer_version" not in sa.inspect(db.engine).get_table_names()
        assert accounts.find_user("owner@example.com")
        db.session.remove()
        db.engine.dispose()
    find_scope(app, "owner")


def test_a_backup_goes_through_a_pipe_and_needs_no_room_in_tmp(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "full"))
    before = everything(app)
    piped = run_in(app, "backup", "-")
    assert piped.exit_code == 0
    with app.app_context():
        db.session.execute(text("DELETE FROM membership"))
        db.session.commit()
    assert run_in(app, "restore", "-", input=piped.stdout_bytes).exit_code == 0
    assert everything(app) == before


def test_a_backup_replaces_no_file_and_a_restore_takes_no_other_file(
    app: Flask, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_text("something of mine")
    before = everything(app)
    refused = run_in(app, "backup", str(other))
    assert (refused.exit_code, "is there already" in refused.stderr) == (2, True)
    refused = run_in(app, "backup", str(tmp_path / "nowhere" / "file"))
    assert (refused.exit_code, "There is no folder" in refused.stderr) == (2, True)
    for path in (other, tmp_path / "none"):
        refused = run_in(app, "restore", str(path))
        assert (refused.exit_code, str(path) in refused.stderr) == (2, True)
    refused = run_in(app, "restore", "-", input=b"something of mine")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("file: What came in is no backup of a ")
    assert other.read_text() == "something of mine"
    assert everything(app) == before


def test_a_damaged_backup_leaves_the_database_as_it_is(app: Flask, tmp_path: Path) -> None:
    kept = tmp_path / "kept.backup"
    before = everything(app)
    assert run_in(app, "backup", str(kept)).exit_code == 0
    whole = kept.read_bytes()
    # In the middle of a table; at the end of a file stands what makes it look whole.
    middle = len(whole) // 2 if not SERVERS else whole.index(b"app_user") + 20
    kept.write_bytes(whole[:middle] + b"\xff" * 60 + whole[middle + 60 :])
    refused = run_in(app, "restore", str(kept))
    assert (refused.exit_code, "is damaged" in refused.stderr) == (2, True), refused.stderr
    assert everything(app) == before


@pytest.mark.parametrize("change", ["DELETE FROM alembic_version", "DROP TABLE alembic_version"])
def test_a_database_with_nothing_to_put_back_is_not_backed_up(
    app: Flask, tmp_path: Path, change: str
) -> None:
    with app.app_context():
        db.session.execute(text(change))
        db.session.commit()
    refused = run_in(app, "backup", str(tmp_path / "kept.backup"))
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "nothing was backed up. Do DATABASE_URL and DATA_DIR" in refused.stderr
    assert not list(tmp_path.glob("*kept*"))


@pytest.mark.skipif(SERVERS, reason="spoils a SQLite file")
def test_a_spoilt_sqlite_file_is_said_to_be_and_replaced_by_a_backup(
    app: Flask, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.backup"
    before = everything(app)
    assert run_in(app, "backup", str(kept)).exit_code == 0
    file = Path(make_url(app.config["DATABASE_URL"]).database or "")
    file.write_bytes(b"no database at all " * 999)
    for beside in file.parent.glob(f"{file.name}-*"):
        beside.unlink()
    for argv in (
        ("db", "upgrade"),
        ("user", "list"),
        ("backup", str(tmp_path / "another")),
        ("restore", str(kept)),
    ):
        refused = run_in(app, *argv)
        assert (argv, refused.exit_code) == (argv, 1)
        assert "is damaged, or is no SQLite database: move it away" in refused.output
    file.rename(tmp_path / "away")
    assert run_in(app, "restore", str(kept)).exit_code == 0
    assert everything(app) == before


def test_a_backup_of_a_newer_program_is_refused(app: Flask, tmp_path: Path) -> None:
    kept = tmp_path / "kept.backup"
    before = everything(app)
    if SERVERS:
        with ZipFile(kept, "w") as archive:
            archive.writestr("manifest.json", json.dumps({"revision": "9999", "tables": {}}))
    else:
        assert run_in(app, "backup", str(kept)).exit_code == 0
        newer = create_engine(f"sqlite:///{kept}")
        with newer.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        newer.dispose()
    refused = run_in(app, "restore", str(kept))
    assert refused.exit_code == 2
    assert "version 9999, which this program does not know" in refused.stderr
    assert everything(app) == before


def test_a_database_in_use_is_not_replaced(app: Flask, tmp_path: Path) -> None:
    kept = tmp_path / "kept.backup"
    assert run_in(app, "backup", str(kept)).exit_code == 0
    if SERVERS:
        user = create_engine(app.config["DATABASE_URL"])
        with user.connect():
            refused = run_in(app, "restore", str(kept))
        # Who leaves meanwhile is waited for.
        threading.Timer(0.5, user.dispose).start()
        assert run_in(app, "restore", str(kept)).exit_code == 0
        assert "stop web, workers and janitor first" in refused.stderr
    else:
        from webapp.ops.launcher import folder_lock

        with folder_lock(Path(app.config["DATA_DIR"])):
            refused = run_in(app, "restore", str(kept))
        assert "already runs on" in refused.stderr
    assert refused.exit_code == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DELETE FROM alembic_version", "but no version"),
        ("UPDATE alembic_version SET version_num = '9999'", "version 9999"),
    ],
)
def test_an_upgrade_of_a_half_made_database_says_what_it_found(
    app: Flask, change: str, words: str
) -> None:
    with app.app_context():
        db.session.execute(text(change))
        db.session.commit()
    before = everything(app)
    refused = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert refused.exit_code == 1
    assert words in refused.output
    assert "Nothing was changed" in refused.output
    assert everything(app) == before
