"""What an operator needs: health, metrics, the queue's dashboard, the processes of one machine.

Health and readiness are open to anybody, for load balancers; all else is for operators alone.
`init_app` adds the addresses; `launcher` starts the processes of `flask up`, `worker.py` one more.
"""

from __future__ import annotations

from flask import Flask

from webapp.engine import upkeep
from webapp.ops import commands, dashboard, health, logs, metrics, views
from webapp.ops.launcher import is_stand_in
from webapp.ops.sizes import measure
from webapp.ops.workers import live_workers
from webapp.version import VERSION


def init_app(app: Flask) -> None:
    """Add this room's addresses and measuring at night; lend others the list of live workers."""
    app.extensions["live_workers"] = live_workers
    app.context_processor(
        lambda: {
            "version": VERSION,
            "janitor_is_away": lambda: not health.janitor().ok,
            "partner_is_made_up": is_stand_in(app.config["PARTNER_API_URL"]),
        }
    )
    app.register_blueprint(views.bp)
    upkeep.add_nightly(app, measure)
    logs.init_app(app)
    metrics.init_app(app)
    dashboard.init_app(app)


__all__ = ["commands", "init_app"]
