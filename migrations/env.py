"""Alembic's way into the application: the models' metadata and the application's engine."""

from __future__ import annotations

import logging

from alembic import context
from flask import current_app

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
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            compare_type=True,
            render_as_batch=connection.dialect.name == "sqlite",
            user_module_prefix="webapp.extensions.",
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
