"""Migrations lead to the models and back, on whichever database the tests run on."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask

from tests.conftest import SECRET_KEY
from webapp import create_app
from webapp.engine.models import Report, ResultRow
from webapp.extensions import db
from webapp.jobs import Checkpoint, StatusLine
from webapp.kinds.session_activity.models import Login, Segment, Session

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def app(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Flask]:
    """Return an application on a database of its own that holds nothing yet."""
    postgres: sa.Engine | None = request.getfixturevalue("_postgres")
    url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    admin = None
    if postgres is not None:
        name = f"pur_migrations_{secrets.token_hex(4)}"
        admin = postgres.execution_options(isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        url = postgres.url.set(database=name).render_as_string(hide_password=False)
    app = create_app(
        {
            "DATA_DIR": str(tmp_path / "var"),
            "DATABASE_URL": url,
            "SECRET_KEY": SECRET_KEY,
            "REDIS_URL": "redis://127.0.0.1:1/0",
        }
    )
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()
    if admin is not None:
        with admin.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


def differences() -> list[Any]:
    """Return what `flask db check` would complain of."""
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, db.metadata))


def tables() -> set[str]:
    return set(sa.inspect(db.engine).get_table_names()) - {"alembic_version"}


def revisions() -> list[str]:
    """Return all revisions, oldest first."""
    found = ScriptDirectory(str(ROOT / "migrations")).walk_revisions()
    return [script.revision for script in found][::-1]


def test_there_is_one_line_of_migrations() -> None:
    script = ScriptDirectory(str(ROOT / "migrations"))
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


def test_upgraded_it_is_what_the_models_say(app: Flask) -> None:
    flask_migrate.upgrade()
    assert differences() == []
    assert tables() == set(db.metadata.tables)


def test_down_to_nothing_and_up_again_it_is_the_same(app: Flask) -> None:
    flask_migrate.upgrade()
    flask_migrate.downgrade(revision="base")
    assert tables() == set()
    flask_migrate.upgrade()
    assert differences() == []


def test_every_single_step_goes_down_and_up_again(app: Flask) -> None:
    for revision in revisions():
        flask_migrate.upgrade(revision=revision)
        before = tables()
        flask_migrate.downgrade(revision="-1")
        flask_migrate.upgrade(revision=revision)
        assert tables() == before, revision


def test_upgrading_twice_changes_nothing(app: Flask) -> None:
    flask_migrate.upgrade()
    flask_migrate.upgrade()
    assert differences() == []


def test_dead_rows_of_a_deleted_report_go_with_it(app: Flask) -> None:
    """The database itself takes lines, rows and checkpoints along, on both kinds of database."""
    flask_migrate.upgrade()
    inspector = sa.inspect(db.engine)
    for table in ("status_line", "result_row", "checkpoint"):
        keys = inspector.get_foreign_keys(table)
        assert [key["options"].get("ondelete") for key in keys] == ["CASCADE"], table


def test_reports_from_before_jobs_keep_all_they_had_forth_and_back(app: Flask) -> None:
    flask_migrate.upgrade(revision="0007")
    company, user, report = (str(uuid4()) for _ in range(3))
    at = "2025-03-01 10:00:00.000000"
    known = {
        "company": {"id": company, "name": "A", "name_key": "a", "created_at": at},
        "app_user": {
            "id": user, "email": "a@example.com", "password_hash": "", "first_name": "",
            "last_name": "", "home_company_id": company, "is_operator": False, "session_epoch": 0,
            "status": "active", "created_at": at,
        },
        "report": {
            "id": report, "company_id": company, "requested_by": user, "kind": "partner-use",
            "label": "seven", "params": '{"partner_id": "7"}', "sealed": "token",
            "status": "running", "attempt": 2, "lost": 1, "lease_until": at, "done": 3, "total": 9,
            "calls_made": 5, "calls_saved": 4, "last_seq": 1, "created_at": at, "queued_at": at,
            "started_at": at, "idempotency_key": "k", "body_fingerprint": "f",
            "head": '{"complete": true}',
        },
        "status_line": {
            "report_id": report, "seq": 1, "at": at, "level": "info", "text": "one", "done": 3,
            "total": 9,
        },
        "checkpoint": {"report_id": report, "key": "a", "data": "[1]"},
        "result_row": {
            "report_id": report, "table_name": "sites", "position": 0,
            "data": '{"name": "s", "totals": [1, null, 4]}',
        },
    }  # fmt: skip
    for table, values in known.items():
        insert(table, values)
    before = {table: everything(table) for table in known}
    flask_migrate.upgrade()
    found = db.session.get_one(Report, report)
    assert (found.kind, found.task, found.type, found.requested_by) == (
        "partner-use", "partner-use", "report", user,
    )  # fmt: skip
    assert (found.status, found.attempt, found.lost, found.sealed) == ("running", 2, 1, "token")
    assert (found.params, found.head, found.payload) == (
        {"partner_id": "7"},
        {"complete": True},
        {},
    )
    assert (found.calls_made, found.calls_saved, found.done, found.total) == (5, 4, 3, 9)
    assert found.lease_until == found.created_at == datetime(2025, 3, 1, 10, tzinfo=UTC)
    assert db.session.scalars(sa.select(StatusLine.text)).all() == ["one"]
    assert db.session.scalars(sa.select(Checkpoint.data)).all() == [[1]]
    row = db.session.scalars(sa.select(ResultRow)).one()
    assert row.data == {"name": "s", "totals": [1, None, 4]}
    assert row.shown == {"name": "s", "before": 1, "after": 4, "growth": 3}
    db.session.remove()
    flask_migrate.downgrade(revision="0007")
    assert {table: everything(table) for table in known} == before


def insert(table: str, values: dict[str, Any]) -> None:
    """Store a row of a table as it was in an earlier version."""
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    # SQLite keeps an ID as its 32 digits.
    sqlite = db.engine.dialect.name == "sqlite"
    ids = [name for name in values if name.endswith(("id", "requested_by"))] if sqlite else []
    rows = values | {name: values[name].replace("-", "") for name in ids}
    with db.engine.begin() as connection:
        connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), rows)


def everything(table: str) -> list[dict[str, Any]]:
    """Return the rows of a table as they lie there, by the names of their columns."""
    with db.engine.connect() as connection:
        rows = connection.execute(sa.text(f"SELECT * FROM {table}"))
        return [dict(sorted(row._mapping.items())) for row in rows]


def test_logins_that_differ_by_case_alone_become_one_with_the_sessions_of_both(app: Flask) -> None:
    flask_migrate.upgrade(revision="0030")
    at, company = datetime(2025, 3, 1, tzinfo=UTC), str(uuid4())
    tables = sa.MetaData()
    tables.reflect(db.engine)

    def add(table: str, **values: Any) -> None:
        db.session.execute(sa.insert(tables.tables[table]).values(values))

    add("company", id=company, name="Lab", name_key="lab", created_at=at)
    named = {"company_id": company, "created_at": at}
    add("session_activity_computer", id=1, name="pc", corrects_clock=False, **named)
    for number, name in enumerate(("Anna", "bela", "anna"), start=1):
        add("session_activity_login", id=number, name=name, longest_days=number, **named)
        add(
            "session_activity_session",
            number=number,
            company_id=company,
            id=name,
            login_id=number,
            computer_id=1,
            ip_addr="",
            next_ping_sec=60,
            started_at=at,
            last_at=at,
            ends_at=at,
            ends_day=0,
            lag_pings=0,
        )
        segment = {"session_number": number, "event": "", "start_at": at, "end_at": at}
        add("session_activity_segment", login_id=number, **segment)
    db.session.commit()
    flask_migrate.upgrade()
    logins = db.session.execute(sa.select(Login.id, Login.key, Login.longest_days)).all()
    assert sorted(map(tuple, logins)) == [(1, "anna", 3), (2, "bela", 2)]
    for owner in (Session.login_id, Segment.login_id):
        assert sorted(db.session.scalars(sa.select(owner))) == [1, 1, 2]
