"""The `flask` commands, thin: each calls a room. Bad input is one sentence on stderr, exit code 2.

`up`, `secrets`, `janitor` and more belong to ops, `user` and `key` to accounts, `report` and
`months` to the engine; commands of one kind of report come with the kind.

`flask report KIND` makes a report in the foreground, its bar on stderr, its result on stdout. Each
kind is a subcommand whose options come from the kind's own parameters. A secret need not be an
argument, which every user of the machine can read: leave it out and it is taken from the
environment (`PARTNER_USER_SECRET`), or asked for; the value `-` reads a line of standard input.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets as random_secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from flask import Flask, current_app
from flask.cli import AppGroup, ScriptInfo, with_appcontext
from sqlalchemy import func, select

from webapp import accounts, jobs, ops
from webapp.accounts import Company, Membership, Scope, User
from webapp.accounts.commands import key, user
from webapp.commands import handle_cli_errors, progress_bar, with_database
from webapp.engine import export, months, service
from webapp.engine.kind import ReportKind
from webapp.engine.models import DONE, INCOMPLETE, Report
from webapp.engine.params import is_list, json_schema
from webapp.engine.registry import kind_named, kinds
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.jobs import stream
from webapp.lib.bodies import MonthSpan, read_value


def init_app(app: Flask) -> None:
    """Register the commands."""
    migrations = MigrationGroup("db", help="Perform database migrations.")
    for command in (*ops.commands.COMMANDS, user, key, months_group, report, migrations):
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
    given = {"kind": kind, "subject": subject, "from": start, "to": end}
    said = {name: value for name, value in given.items() if value is not None}
    if empty := [name for name, value in said.items() if not value.strip()]:
        # A variable of a script that is not set must not mean all of them.
        sentence = "It is empty: write what is meant, or leave the option out."
        raise InvalidParams(dict.fromkeys(empty, sentence))
    if not (said or yes) and sys.stdin.isatty():
        click.confirm("All stored months, of every kind and company?", abort=True, err=True)
    if kind:
        kind_named(kind)
    span = read_value(MonthSpan, {name: said[name] for name in ("from", "to") if name in said})
    gone = months.expire(company_id=None, kind=kind, subject=subject, **span.model_dump())
    db.session.commit()
    click.echo(json.dumps({"expired": gone}))


EXIT_CODES = {DONE: 0, INCOMPLETE: 3}
LOCAL_USER = "command-line@localhost.localdomain"
LOCAL_COMPANY = "Command line"


class KindGroup(AppGroup):
    """One subcommand a kind, made from the kind when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(kinds(ctx.ensure_object(ScriptInfo).load_app()))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        kind = kinds(ctx.ensure_object(ScriptInfo).load_app()).get(cmd_name)
        return _command(kind) if kind else None


report = KindGroup(
    "report", help="Make a report and wait for it. Exit 0 done, 3 incomplete, 1 failed."
)


def _command(kind: ReportKind) -> click.Command:
    @with_appcontext
    @handle_cli_errors
    @with_database
    def run(**options: Any) -> None:
        _run_command(kind, options)

    params: list[click.Parameter] = [
        click.Option(
            ["--format", "fmt"],
            type=click.Choice(list(export.FORMATS)),
            help="Default: from the name of FILE.",
        ),
        click.Option(
            ["--output"],
            type=click.Path(dir_okay=False, path_type=Path),
            help="Default: standard output.",
        ),
        click.Option(["--by"], help="The table for a CSV."),
        click.Option(["--company"], help="The company; may be left out if there is only one."),
        click.Option(["--user"], help="Email of the user the report is made for."),
    ]
    taken = {option for param in params for option in param.opts}
    for name, field in json_schema(kind).get("properties", {}).items():
        params.append(_option(name, field, taken, is_secret=name in kind.secret_params))
    return click.Command(
        kind.slug, params=params, callback=run, help=kind.description or kind.title
    )


def _option(
    name: str, field: Mapping[str, Any], taken: set[str], *, is_secret: bool
) -> click.Option:
    """Return the option of one parameter; a yes-or-no one may stand without its value.

    One that is called as an option of every kind is `--param-NAME`.
    """
    help_text = field.get("description") or f"{field.get('title', name)}."
    if choices := field.get("enum"):
        help_text += f" One of {', '.join(choices)}."
    if is_secret:
        help_text = f"{help_text} Better in PARTNER_{name.upper()} than here.".strip()
    flag: dict[str, Any] = {}
    if field.get("type") == "boolean":
        flag = {"is_flag": False, "flag_value": "true"}
    elif is_list(field):
        flag = {"multiple": True}
        help_text = f"{help_text} May be given several times.".strip()
    dashed = f"--{name.replace('_', '-')}"
    names = dict.fromkeys([f"--param-{name}" if dashed in taken else dashed, f"--{name}"])
    names = dict.fromkeys(one for one in names if one not in taken)
    return click.Option([f"param_{name}", *names], help=help_text, metavar="VALUE", **flag)


def _run_command(kind: ReportKind, options: Mapping[str, Any]) -> None:
    output: Path | None = options["output"]
    suffix = output.suffix.removeprefix(".").lower() if output else ""
    fmt = options["fmt"] or (suffix if suffix in export.FORMATS else "csv")
    if output is None and fmt in {"xlsx", "pdf"} and sys.stdout.isatty():
        raise InvalidParams({"format": "Such a file is not for a terminal; name a file: --output."})
    if output is not None and not output.resolve().parent.is_dir():
        raise InvalidParams({"output": f"There is no folder {output.resolve().parent}."})
    scope = find_scope(options["company"], options["user"], kind.run_role)
    made = _run_asking(kind, scope, _raw_params(kind, options))
    if made.has_result:
        _write_result(kind, made, fmt, output, options["by"])
    if made.error:
        click.echo(made.error, err=True)
    click.echo(f"The report is {made.status}.", err=True)
    sys.exit(EXIT_CODES.get(made.status, 1))


def _raw_params(kind: ReportKind, options: Mapping[str, Any]) -> dict[str, Any]:
    given = {
        name.removeprefix("param_"): list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if name.startswith("param_") and value not in (None, ())
    }
    for name in kind.secret_params:
        if given.get(name) == "-":
            given[name] = sys.stdin.readline().strip()
        elif name not in given and (kept := os.environ.get(f"PARTNER_{name.upper()}")):
            given[name] = kept
    return given


def _run_asking(kind: ReportKind, scope: Scope, raw: dict[str, Any]) -> Report:
    """Run the report; a secret that turns out to be missing is asked for at a terminal, once."""
    try:
        return _run_with_bar(kind, scope, raw)
    except InvalidParams as error:
        missing = [
            name for name in error.errors if name in kind.secret_params and not raw.get(name)
        ]
        if not missing or set(error.errors) - set(missing) or not sys.stdin.isatty():
            raise
    for name in missing:
        raw[name] = click.prompt(name.replace("_", " ").capitalize(), hide_input=True, err=True)
    return _run_with_bar(kind, scope, raw)


def _run_with_bar(kind: ReportKind, scope: Scope, raw: dict[str, Any]) -> Report:
    # Without a Redis there is nobody to publish to, which is no trouble of who reads this bar.
    logging.getLogger(stream.__name__).setLevel(logging.ERROR)
    try:
        with progress_bar() as draw:
            return service.run_here(scope, kind.slug, raw, lambda event: _show_line(draw, event))
    except KeyboardInterrupt:
        click.echo("\nCancelled.", err=True)
        raise SystemExit(130) from None


def _show_line(draw: Callable[[int, int, str], None], event: jobs.Event) -> None:
    """Draw a status line; at a terminal a warning stays above the bar."""
    if event.type != "status":
        return
    data = event.data
    if data["level"] != "info" and sys.stderr.isatty():
        click.echo(f"\r\x1b[K{data['level']}: {data['text']}", err=True)
    draw(int(data["done"]), int(data["total"]), data["text"])


def _write_result(
    kind: ReportKind, made: Report, fmt: str, output: Path | None, by: str | None
) -> None:
    """Write the result; a file appears whole or not at all."""
    if output is None:
        with contextlib.suppress(BrokenPipeError):  # `| head` has seen enough
            export.write(kind, made, fmt, sys.stdout.buffer, by)
            sys.stdout.buffer.flush()
        return
    partial = output.with_name(f".{output.name}.{random_secrets.token_hex(4)}.part")
    try:
        with partial.open("wb") as file:
            export.write(kind, made, fmt, file, by)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def find_scope(company_name: str | None, email: str | None, role: str) -> Scope:
    """Return in whose name a command acts: as told, else the only company, else a local user.

    Raises: InvalidParams where the choice is not clear
    """
    if email is not None:
        return _scope_of_user(email, company_name)
    company = _company_or_only(company_name)
    if company is None:
        # Nobody exists yet: a local user, whose password nobody knows.
        password = random_secrets.token_urlsafe(24)
        made = accounts.create_user(LOCAL_USER, LOCAL_COMPANY, "admin", password)
        current_app.logger.info("made the local user %s", LOCAL_USER)
        return _scope_of_user(made.email, None)
    members = db.session.scalars(
        select(User)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.company_id == company.id)
        .order_by(User.created_at)
    )
    for member in members:
        scope = accounts.scope_of(member, company.id)
        if scope is not None and member.is_active and scope.may(role):
            return scope
    raise InvalidParams({"company": f"Nobody in {company.name} may make reports; name a --user."})


def _scope_of_user(email: str, company_name: str | None) -> Scope:
    user = accounts.find_user(email)
    if user is None or not user.is_active:
        raise InvalidParams({"user": f"There is no user {email}."})
    company = _company_or_only(company_name) if company_name else None
    scope = accounts.scope_of(user, company.id if company else user.home_company_id)
    if scope is None:
        raise InvalidParams({"company": f"{email} has no role there."})
    return scope


def _company_or_only(name: str | None) -> Company | None:
    """Return the named company, or the only one; None where there is none at all."""
    if name is not None:
        return accounts.named_company(name)
    count = db.session.scalar(select(func.count()).select_from(Company))
    if count and count > 1:
        raise InvalidParams({"company": "There are several companies; name one: --company."})
    return db.session.scalar(select(Company))
