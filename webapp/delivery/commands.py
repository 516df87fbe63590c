"""`flask definitions run ID`: a saved report made in this process, sent by the janitor."""

from __future__ import annotations

import json
from contextlib import suppress

import click
from flask.cli import AppGroup

from webapp import jobs
from webapp.accounts import User, scope_of
from webapp.commands import handle_cli_errors, with_database
from webapp.delivery.definitions import run_now
from webapp.delivery.models import Definition
from webapp.engine.models import Report
from webapp.errors import InvalidParams, NotAllowed, ReportError
from webapp.extensions import db
from webapp.lib.texts import lookup_id

group = AppGroup("definitions", help="Saved reports.")
EXIT_CODES = {"done": 0, "incomplete": 3}


@group.command("run")
@click.argument("definition_id", metavar="ID")
@handle_cli_errors
@with_database
def run(definition_id: str) -> None:
    """Make the report of a definition now, as its owner; exit 0 done, 3 incomplete, 1 failed."""
    definition = db.session.get(Definition, lookup_id(definition_id))
    if definition is None:
        raise InvalidParams({"ID": "There is no saved report of this ID."})
    owner = db.session.get_one(User, definition.user_id)
    scope = scope_of(owner, definition.company_id)
    if scope is None:
        raise NotAllowed("Its owner is no longer a member of the company.")
    report_id = run_now(scope, definition, enqueue=False).id
    with suppress(ReportError):
        jobs.run_queued(report_id)
    report = db.session.get_one(Report, report_id, populate_existing=True)
    click.echo(json.dumps({"report": report.id, "status": report.status, "error": report.error}))
    raise SystemExit(EXIT_CODES.get(report.status, 1))
