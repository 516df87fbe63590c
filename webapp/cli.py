"""The `flask` commands, thin: each calls a room. Bad input is one sentence on stderr, exit code 2.

`up`, `demo` and `secrets` belong to ops, `user` and `key` to accounts, `report`, `months` and
`janitor` to the engine; commands of one kind of report come with the kind.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

import click
from flask import Flask, current_app
from flask.cli import AppGroup, with_appcontext

from webapp import cli_report
from webapp.accounts.commands import key, user
from webapp.commands import handle_cli_errors, with_database
from webapp.engine import months, upkeep
from webapp.engine.registry import kind_named
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.lib.months import parse_month
from webapp.version import VERSION


def init_app(app: Flask) -> None:
    """Register the commands."""
    commands = (
        version,
        up,
        demo,
        user,
        key,
        secrets,
        months_group,
        janitor_command,
        cli_report.report,
    )
    for command in commands:
        app.cli.add_command(command)


@click.command("version")
def version() -> None:
    """Print the version of the program."""
    click.echo(f"Partner Use Report {VERSION}")


@click.command("up")
@click.option("--host", help="Address to listen on; HOST in the environment.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes any free one.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--no-sandbox", is_flag=True, help="Ask the real partner: start no stand-in.")
@click.option("--demo", is_flag=True, help="Make a demo company and two reports.")
@click.option("--with-parent", is_flag=True, hidden=True)
@with_appcontext
@handle_cli_errors
def up(
    host: str | None,
    port: int | None,
    workers: int,
    no_sandbox: bool,
    demo: bool,
    with_parent: bool,
) -> None:
    """Run all processes of one machine until Ctrl-C."""
    from webapp.ops.launcher import LocalStack, Plan
    from webapp.ops.parent_death import end_with_parent

    if with_parent:
        end_with_parent(os.getppid(), signal.SIGTERM)
    plan = Plan(
        host=host or current_app.config["HOST"],
        port=current_app.config["PORT"] if port is None else port,
        workers=workers,
        sandbox=not no_sandbox,
        demo=demo,
    )
    sys.exit(LocalStack(_app(), plan).run())


@click.command("demo", hidden=True)
@click.option("--url", required=True)
@with_appcontext
@handle_cli_errors
def demo(url: str) -> None:
    """Make the demo company and run two reports through the API; `flask up --demo` calls this."""
    from webapp.ops.demo import run_demo

    run_demo(url, click.echo)


secrets = AppGroup("secrets", help="What is kept sealed under SECRET_KEY.")
months_group = AppGroup("months", help="Stored months.")


@secrets.command("reseal")
@handle_cli_errors
@with_database
def reseal() -> None:
    """Seal all that is stored under the newest SECRET_KEY; run twice, nothing changes."""
    from webapp.ops.resealing import reseal_everything

    done = reseal_everything()
    for name in done.broken:
        click.echo(f"The secret of the {name} cannot be read: it must be entered again.", err=True)
    click.echo(f"Sealed anew: {done.renewed}. Already under the newest key: {done.unchanged}.")
    if done.broken:
        click.echo("Is the key it was sealed under in SECRET_KEY_PREVIOUS?", err=True)
        raise SystemExit(1)


@months_group.command("expire")
@click.option("--kind", help="Of this kind of report only.")
@click.option("--subject", help="Of this partner, or this site, only.")
@click.option("--from", "start", help="First month, YYYY-MM.")
@click.option("--to", "end", help="Last month, YYYY-MM.")
@handle_cli_errors
@with_database
def expire_months(
    kind: str | None, subject: str | None, start: str | None, end: str | None
) -> None:
    """Force stored months to expire, in every company: the next report counts them anew."""
    if kind:
        kind_named(kind)
    first, last = _month("from", start), _month("to", end)
    if first and last and last < first:
        raise InvalidParams({"to": "The last month is before the first."})
    gone = months.expire(company_id=None, kind=kind, subject=subject, start=first, end=last)
    db.session.commit()
    click.echo(json.dumps({"expired": gone}))


@click.command("janitor")
@with_appcontext
@handle_cli_errors
def janitor_command() -> None:
    """Look after reports whose worker was lost, until told to stop."""
    from webapp.ops import logs

    logs.set_up("janitor", current_app.config["LOG_FORMAT"], current_app.config["LOG_LEVEL"])
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    upkeep.loop(_app(), stop)


def _month(name: str, text: str | None) -> Any:
    if text is None:
        return None
    try:
        return parse_month(text)
    except ValueError as error:
        raise InvalidParams({name: str(error)}) from None


def _app() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined]
