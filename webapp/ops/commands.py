"""The commands of this room: all processes of one machine, the janitor, keys, health."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from webapp.commands import handle_cli_errors, with_database
from webapp.engine import upkeep
from webapp.extensions import this_app
from webapp.installation import adopt_key, wait_for_key
from webapp.ops import health, logs, processes
from webapp.ops.demo import run_demo
from webapp.ops.launcher import LocalStack, Plan
from webapp.ops.resealing import reseal_everything
from webapp.ops.supervisor import end_with_parent
from webapp.version import VERSION

log = logging.getLogger(__name__)


@click.command("version")
def version() -> None:
    """Print the version of the program."""
    click.echo(f"Partner Use Report {VERSION}")


@click.command("up")
@click.option("--host", help="Address to listen on; HOST in the environment.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes any free one.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="How many reports run at the same time.",
)
@click.option("--no-sandbox", is_flag=True, help="Use the real partner API, not the stand-in.")
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
    if with_parent:
        end_with_parent(os.getppid(), signal.SIGTERM)
    plan = Plan(
        host=host or current_app.config["HOST"],
        port=current_app.config["PORT"] if port is None else port,
        workers=workers,
        sandbox=not no_sandbox,
        demo=demo,
    )
    sys.exit(LocalStack(this_app(), plan).run())


@click.command("demo", hidden=True)
@click.option("--url", required=True, help="The address of the running site.")
@with_appcontext
@handle_cli_errors
def demo(url: str) -> None:
    """Make the demo company and run two reports through the API; `flask up --demo` calls this."""
    run_demo(url, click.echo)


secrets = AppGroup("secrets", help="Stored secrets, encrypted with SECRET_KEY.")


@secrets.command("reseal")
@handle_cli_errors
@with_database
def reseal() -> None:
    """Encrypt stored secrets again with the newest SECRET_KEY; safe to repeat."""
    done = reseal_everything()
    for name in done.broken:
        click.echo(f"The secret of the {name} cannot be read: it must be entered again.", err=True)
    click.echo(f"Sealed again: {done.renewed}. Already under the newest key: {done.unchanged}.")
    if done.broken:
        click.echo("Is the key it was sealed under in SECRET_KEY_PREVIOUS?", err=True)
        raise SystemExit(1)


@secrets.command("adopt")
@handle_cli_errors
@with_appcontext
def adopt() -> None:
    """Use this SECRET_KEY when the old one is lost, with the secrets stored under it."""
    adopt_key(current_app.config["SECRET_KEY"])
    click.echo("The database now uses this SECRET_KEY. Enter the stored secrets again.")


@click.command("janitor")
@with_appcontext
@handle_cli_errors
def janitor_command() -> None:
    """Restart lost reports, run schedules and delete expired data, until stopped."""
    logs.set_up("janitor", current_app.config["LOG_FORMAT"], current_app.config["LOG_LEVEL"])
    wait_for_key("janitor")
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    log.info("the janitor starts")
    upkeep.add_maintenance(this_app(), lambda: processes.tell(this_app(), "janitor"))
    upkeep.loop(this_app(), stop)
    log.info("the janitor has stopped")


def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for a whole database: in containers, /tmp is memory."""
    return tempfile.TemporaryDirectory(prefix="backup-", dir=current_app.config["DATA_DIR"])


@click.command("backup")
@click.argument("file")
@with_appcontext
@handle_cli_errors
def backup_command(file: str) -> None:
    """Back up the database to FILE while everything runs; - is standard output."""
    # Here, as it loads Alembic, which nothing else needs.
    from webapp.ops import backup

    if file != "-":
        backup.back_up(Path(file))
        click.echo(f"The database is in {file}. Also keep SECRET_KEY, in another place.")
        return
    with _scratch_folder() as folder:
        path = Path(folder) / "backup"
        backup.back_up(path)
        with path.open("rb") as made:
            shutil.copyfileobj(made, sys.stdout.buffer)


@click.command("restore")
@click.argument("file")
@with_appcontext
@handle_cli_errors
def restore_command(file: str) -> None:
    """Replace the whole database with FILE (- is standard input); stop the rest first."""
    # Here, as it loads Alembic, which nothing else needs.
    from webapp.ops import backup

    with _scratch_folder() as folder:
        path = Path(file)
        if file == "-":
            path = Path(folder) / "backup"
            with path.open("wb") as given:
                shutil.copyfileobj(sys.stdin.buffer, given)
        backup.restore(path, "What came in" if file == "-" else file)
    click.echo("The database is as it was, and up to date.")


@click.command("health")
@click.argument("part", required=False, type=click.Choice(["worker", "janitor"]))
@with_appcontext
def health_command(part: str | None) -> None:
    """Show which parts work; exit 1 if PART, or anything reports need, does not."""
    # One part alone: a container's check need not wait for a database that hangs.
    if part == "worker":
        found = [health.worker_of_this_machine()]
    else:
        found = [health.janitor()] if part else health.checks()
    for check in found:
        click.echo(f"{'ok' if check.ok else 'AWAY':<5}{check.name:<11}{check.detail}")
    is_enough = {"ok"} if part else {"ok", "degraded"}
    sys.exit(0 if health.status_of(found) in is_enough else 1)


COMMANDS = (
    version,
    up,
    demo,
    secrets,
    janitor_command,
    backup_command,
    restore_command,
    health_command,
)
