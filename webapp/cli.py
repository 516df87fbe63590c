"""The `flask` commands, thin: each calls a room. Bad input is one sentence on stderr, exit code 2.

`up`, `secrets`, `janitor` and more belong to ops, `user` and `key` to accounts, `report` and
`months` to the engine; commands of one kind of report come with the kind.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from flask import Flask
from flask.cli import AppGroup

from webapp import cli_report, ops
from webapp.accounts.commands import key, user
from webapp.commands import handle_cli_errors, with_database
from webapp.engine import months
from webapp.engine.registry import kind_named
from webapp.extensions import db
from webapp.lib.bodies import MonthSpan, read_value


def init_app(app: Flask) -> None:
    """Register the commands."""
    migrations = MigrationGroup("db", help="Perform database migrations.")
    for command in (*ops.commands.COMMANDS, user, key, months_group, cli_report.report, migrations):
        app.cli.add_command(command)


class MigrationGroup(click.Command):
    """Stands for Flask-Migrate's own commands until one is named: with Alembic it weighs 11 MB."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Return the context of the commands themselves, in which they run."""
        from flask_migrate.cli import db as commands

        made: click.Context = commands.make_context(*args, **extra)
        return made


months_group = AppGroup("months", help="Stored months.")


@months_group.command("expire")
@click.option("--kind", help="Only of this kind of report.")
@click.option("--subject", help="Only of this partner or site.")
@click.option("--from", "start", help="First month, YYYY-MM.")
@click.option("--to", "end", help="Last month, YYYY-MM.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@handle_cli_errors
@with_database
def expire_months(
    kind: str | None, subject: str | None, start: str | None, end: str | None, yes: bool
) -> None:
    """Expire stored months in every company; the next report counts them again."""
    if not (kind or subject or start or end or yes) and sys.stdin.isatty():
        click.confirm("All stored months, of every kind and company?", abort=True, err=True)
    if kind:
        kind_named(kind)
    given = {"from": start, "to": end}
    span = read_value(MonthSpan, {name: value for name, value in given.items() if value})
    gone = months.expire(company_id=None, kind=kind, subject=subject, **span.model_dump())
    db.session.commit()
    click.echo(json.dumps({"expired": gone}))
