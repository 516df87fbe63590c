"""Migrations lead to the models and back, on whichever database the tests run on."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask

from tests.conftest import SECRET_KEY, SERVERS
from webapp import create_app
from webapp.extensions import db

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def app(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Flask]:
    """Return an application on a database of its own that holds nothing yet."""
    postgres: str | None = request.getfixturevalue("_postgres")
    url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    admin = None
    if SERVERS and postgres:
        name = f"pur_migrations_{secrets.token_hex(4)}"
        admin = sa.create_engine(postgres, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        url = sa.make_url(postgres).set(database=name).render_as_string(hide_password=False)
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
        admin.dispose()


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
