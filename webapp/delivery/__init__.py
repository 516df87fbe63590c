"""Reports that come by themselves: what is saved, when it is made, who is told.

A **definition** is a saved report with a schedule and targets. `scheduler` is the janitor's part:
a period is written down once as a run, its report asked for by the engine, and when that has ended
each reader gets a delivery, which `sending` tries until it arrived or is given up. The pages are
`/saved`, the API `/api/v1/definitions` and `/api/v1/deliveries`.
"""

from __future__ import annotations

from flask import Flask

from webapp.delivery import api, commands, pages, scheduler
from webapp.delivery.definitions import find_definition, names_of, run_now
from webapp.delivery.home import open_alerts, stuck_runs
from webapp.delivery.sending import DELIVER
from webapp.engine import upkeep
from webapp.extensions import csrf
from webapp.jobs import add_task

__all__ = ["find_definition", "init_app", "run_now"]


def init_app(app: Flask) -> None:
    """Register the addresses, the task that sends, and what the janitor does for this room."""
    app.register_blueprint(api.bp)
    app.register_blueprint(pages.bp)
    # A mail program that takes its reader out has no form of ours.
    csrf.exempt(pages.leaving)
    app.register_blueprint(pages.leaving)
    # Home shows what holds now beside what failed; it knows nothing of this room.
    app.jinja_env.globals |= {"open_alerts": open_alerts, "stuck_runs": stuck_runs}
    app.extensions["names_of"] = [names_of]
    app.cli.add_command(commands.group)
    add_task(app, DELIVER)
    upkeep.add_maintenance(app, scheduler.run_maintenance)
    upkeep.add_nightly(app, scheduler.drop_old_runs)
