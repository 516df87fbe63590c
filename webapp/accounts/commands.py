"""`flask user …` and `flask key …`: what the operator of an installation does for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any

import click
from flask.cli import AppGroup
from sqlalchemy import func, select

from webapp.accounts.audit_log import audit
from webapp.accounts.companies import named_company
from webapp.accounts.keys import create_key
from webapp.accounts.link_pages import RESET, make_link
from webapp.accounts.members import delete_user, switch_member
from webapp.accounts.models import DELETED, FULL, SEND, LoginSession, User
from webapp.accounts.people import accounts_of, confirm_address, create_user, find_user
from webapp.accounts.person import erase_person, export_person
from webapp.accounts.second_factor import drop_second_factor
from webapp.commands import handle_cli_errors, with_database
from webapp.errors import InvalidParams
from webapp.extensions import db, public_url
from webapp.lib.moments import rfc3339
from webapp.lib.settings import check_public_url

user = AppGroup("user", help="People who sign in.")
key = AppGroup("key", help="API keys of programs.")
of_company = click.option(
    "--company", help="The account's company, where an address has several accounts."
)


def _of_user(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the user its EMAIL names, with --company where an address has several."""

    @click.argument("email")
    @of_company
    @handle_cli_errors
    @with_database
    @wraps(command)
    def run(email: str, company: str | None, **options: Any) -> None:
        command(_named_user(email, company), **options)

    return run


@user.command("create")
@click.argument("email")
@click.option("--company", required=True, help="Created if it does not exist.")
@click.option(
    "--role",
    required=True,
    type=click.Choice(["operator", "admin", "expert", "viewer"]),
    help="What the user may do; an operator also operates the site.",
)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@handle_cli_errors
@with_database
def create(email: str, company: str, role: str, password_stdin: bool) -> None:
    """Create a user with a role in a company."""
    made = create_user(email, company, role, _password(password_stdin))
    click.echo(f"Made {made.email}, {role} of {company}.")


@user.command("list")
@handle_cli_errors
@with_database
def list_users() -> None:
    """Print a line of JSON for each user: address, state, roles, last seen."""
    last = select(LoginSession.user_id, func.max(LoginSession.seen_at).label("seen_at")).group_by(
        LoginSession.user_id
    )
    seen = {row.user_id: row.seen_at for row in db.session.execute(last)}
    for one in db.session.scalars(select(User).where(User.status != DELETED).order_by(User.email)):
        at = seen.get(one.id)
        line = {
            "email": one.email,
            "name": one.name,
            "status": one.status,
            "confirmed": one.confined_to is None,
            "operator": one.is_operator,
            "second_factor": one.second_factor is not None,
            "roles": {member.company.name: member.role for member in one.memberships},
            "last_seen": rfc3339(at) if at else None,
        }
        click.echo(json.dumps(line, ensure_ascii=False))


@user.command("disable")
@_of_user
def disable(found: User) -> None:
    """Keep a user from signing in; sessions end at once and keys stop working."""
    switch_member(found, on=False)
    _finish(found, "account switched off", f"{found.email} may not sign in any more.")


@user.command("enable")
@_of_user
def enable(found: User) -> None:
    """Let a user sign in again; their keys work as before."""
    switch_member(found, on=True)
    _finish(found, "account switched on", f"{found.email} may sign in.")


@user.command("confirm")
@_of_user
def confirm(found: User) -> None:
    """Confirm that an address is its user's, so that other companies can let them in."""
    confirm_address(found)
    _finish(found, "account confirmed", f"{found.email} is confirmed.")


@user.command("reset")
@_of_user
@click.option("--url", help="Where people reach the site; PUBLIC_URL if not given.")
def reset(found: User, url: str | None) -> None:
    """Print a link by which a user sets a new password; it works once, within a day."""
    try:
        here = public_url() if url is None else check_public_url(url).rstrip("/")
    except ValueError:
        sentence = "Write an address like https://reports.example.com."
        raise InvalidParams({"url": sentence}) from None
    link = f"{here}/reset/{make_link(RESET, found)}"
    _finish(found, "password link made", link)


@user.command("reset-second-factor")
@_of_user
def reset_second_factor(found: User) -> None:
    """Remove the second factor of a user who lost it; sessions end at once."""
    drop_second_factor(found)
    _finish(found, "second factor reset", f"{found.email} now signs in with the password only.")


@user.command("delete")
@_of_user
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(found: User, yes: bool) -> None:
    """Delete a user; reports and the audit log stay, under "a former member"."""
    if not yes:
        click.confirm(f"Delete the account of {found.email} for good?", abort=True, err=True)
    sentence = f"{found.email} is deleted."
    delete_user(found)
    _finish(found, "account deleted", sentence)


@user.command("export")
@_of_user
def export(found: User) -> None:
    """Write all data stored about a user as JSON, by table, without secrets."""
    rows = export_person(found)
    click.echo(json.dumps(rows, ensure_ascii=False, indent=2, default=_as_text))


@user.command("erase")
@_of_user
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(found: User, yes: bool) -> None:
    """Delete a user and remove their address from every stored text."""
    email = found.email
    if not yes:
        click.confirm(f"Erase {email} everywhere? It cannot be undone.", abort=True, err=True)
    erase_person(found)
    click.echo(f"{email} is erased. Backups keep the address until they are gone.")


def _as_text(value: Any) -> str:
    return rfc3339(value, "auto") if isinstance(value, datetime) else str(value)


@key.command("create")
@click.argument("email")
@of_company
@click.option("--label", default="", help="What the key is for.")
@click.option("--send-only", is_flag=True, help="It may send data but not read anything.")
@handle_cli_errors
@with_database
def create_api_key(email: str, company: str | None, label: str, send_only: bool) -> None:
    """Make an API key; its secret is printed only this once."""
    owner = _named_user(email, company)
    where = named_company(company) if company else None
    made, secret = create_key(
        owner, label, company_id=where.id if where else None, scope=SEND if send_only else FULL
    )
    click.echo(json.dumps({"api_key": made.key_id, "secret": secret}))


def _named_user(email: str, company_name: str | None) -> User:
    company = named_company(company_name) if company_name else None
    if company is None and len(accounts_of(email)) > 1:
        raise InvalidParams({"company": f"{email} has several accounts: name a company of one."})
    found = find_user(email, company)
    if found is None:
        raise InvalidParams({"email": f"There is no user {email}; make one with `user create`."})
    return found


def _finish(found: User, action: str, sentence: str) -> None:
    """Write the change down, in the user's home company, keep it and say so."""
    audit(found, action, "by the operator")
    db.session.commit()
    click.echo(sentence)


def _password(from_stdin: bool) -> str:
    """Return the password: one line of standard input, or typed unseen, twice."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InvalidParams({"password": "Send it on standard input with --password-stdin."})
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return typed
