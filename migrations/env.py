"""Alembic's way into the application: the models' metadata and the application's engine."""

from __future__ import annotations

import logging
import sys

import sqlalchemy as sa
from alembic import context
from alembic.script import ScriptDirectory
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from webapp.databases import AWAY, trouble_of
from webapp.extensions import db

config = context.config
logging.getLogger("alembic").setLevel(logging.WARNING)


def run_migrations_offline() -> None:
    """Write the statements instead of running them."""
    url = current_app.config["SQLALCHEMY_DATABASE_URI"]
    context.configure(url=url, target_metadata=db.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_migrations_online() -> None:
    """Run on the application's database, in batch mode where SQLite cannot alter a table."""
    with db.engine.connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            compare_type=True,
            render_as_batch=is_sqlite,
            user_module_prefix="webapp.extensions.",
        )
        refuse_half_made(connection)
        if is_sqlite:
            # It copies a table to alter it, which rows that refer to it must not notice; it listens
            # only outside a transaction.
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.commit()
        try:
            with context.begin_transaction():
                context.run_migrations()
        finally:
            if is_sqlite:
                connection.exec_driver_sql("PRAGMA foreign_keys=ON")


def refuse_half_made(connection: sa.Connection) -> None:
    """Stop where tables stand without a version, or with one that this program does not know."""
    present = set(sa.inspect(connection).get_table_names()) - {"alembic_version"}
    version = context.get_context().get_current_revision()
    script = ScriptDirectory.from_config(config)
    known = {revision.revision for revision in script.walk_revisions()}
    connection.rollback()
    ours = sorted(present & set(db.metadata.tables))
    if version is None and ours:
        found = f"{len(ours)} tables ({', '.join(ours[:3])}, …) but no version"
    elif version is not None and version not in known:
        found = (
            f"version {version}, which this program does not know: it is older than the database"
        )
    else:
        return
    sys.exit(
        f"The database has {found}. Nothing was changed. Drop it and create it again, then run "
        "`flask db upgrade`, or put a backup back with `flask restore FILE`."
    )


if context.is_offline_mode():
    run_migrations_offline()
else:
    try:
        run_migrations_online()
    except SQLAlchemyError as error:
        trouble = trouble_of(error)
        if trouble is None:
            raise
        if trouble == AWAY:
            trouble = "Is DATABASE_URL right, and does the server answer?"
        sys.exit(
            f"The database could not be brought up to date ({type(error).__name__}). {trouble}"
        )
