"""`flask session-activity erase`: somebody's name taken off their hours, for good."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from webapp.accounts import named_company
from webapp.commands import handle_cli_errors, with_database
from webapp.kinds.session_activity.privacy import erase

group = AppGroup("session-activity", help="Hours of logins at computers.")


@group.command("erase")
@click.argument("login")
@click.option("--company", required=True, help="Name of the company that has the login.")
@click.confirmation_option(prompt="Erase who this login is? This cannot be undone.")
@handle_cli_errors
@with_database
def erase_login(login: str, company: str) -> None:
    """Erase the names of a login; its hours are kept without a name."""
    erase(named_company(company).id, login, None)
    click.echo("Erased. Its hours are kept without a name.")
