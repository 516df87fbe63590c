"""`flask inventory demo`: made-up periods, units and entries for a company."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from webapp.accounts import find_or_make_company
from webapp.commands import handle_cli_errors, with_database
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.kinds.inventory.demo import make_demo
from webapp.lib.texts import counted

group = AppGroup("inventory", help="Greenhouse gas inventories.")


@group.command("demo")
@click.option("--company", required=True, help="Created if it does not exist.")
@handle_cli_errors
@with_database
def demo(company: str) -> None:
    """Make two periods, a tree of units and entries; a second time adds nothing."""
    if not company.strip() or len(company) > 200:
        raise InvalidParams({"company": "Write a company name of 1 to 200 characters."})
    found = find_or_make_company(company)
    db.session.commit()
    stored = make_demo(found.id)
    click.echo(
        f"{found.name}: {counted(stored['created'], 'entry')} made, {stored['updated']} changed, "
        f"{stored['unchanged']} there already."
    )
