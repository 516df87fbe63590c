"""`flask project-storage recount`: counters compared with events, drift shown and put right."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from webapp.commands import handle_cli_errors, with_database
from webapp.extensions import db
from webapp.kinds.project_storage import counting
from webapp.kinds.project_storage.models import Project, Provider

group = AppGroup("project-storage", help="Storage of projects.")


@group.command("recount")
@click.option("--check", is_flag=True, help="Only compare; exit 1 if anything differs.")
@handle_cli_errors
@with_database
def recount(check: bool) -> None:
    """Compare all counters with the events; list and correct what differs."""
    projects = numbers = 0
    for key, drift in counting.recount_all(repair=not check):
        projects += 1
        numbers += len(drift)
        for one in drift:
            click.echo(sentence(key, one))
    done = "differ" if check else "differed and were corrected"
    click.echo(f"{projects:,} projects compared; {numbers:,} numbers {done}.")
    if check and numbers:
        raise SystemExit(1)


def sentence(project_key: int, drift: counting.Drift) -> str:
    """Return one drift as people read it."""
    project = db.session.get(Project, project_key)
    if len(drift.where) == 1:
        provider = db.session.get(Provider, drift.where[0])
        where = f"at {provider.name}" if provider else "at an unknown provider"
    else:
        where = f"in {drift.where[0]:%Y-%m}"
    name = f"{project.name} ({project.id})" if project else f"project {project_key}"
    return (
        f"{name}: {drift.name} {where} was {drift.stored:,}, events say {drift.counted:,} "
        f"(drift {drift.stored - drift.counted:+,})."
    )
