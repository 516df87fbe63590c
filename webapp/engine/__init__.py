"""What every kind of report shares on top of a job: parameters, stored months, result, export.

The engine is handed the kinds by `create_app` and names none of them. Pages and the API use
`service` (start, find, cancel, retry, delete, estimate), `listing`, `results` and `export` (read
back, a page of a grid, a file), `months` (expire, overview) and `params` (JSON Schema, form
fields); status lines come from `jobs`. A kind uses `kind` (the contract), `shapes` and
`results.SpooledRows` (rows of large tables).
"""

from __future__ import annotations

from collections.abc import Iterable

from flask import Flask

from webapp import jobs
from webapp.engine.attempt import task_of
from webapp.engine.kind import ReportKind
from webapp.engine.upkeep import NIGHTLY


def init_app(app: Flask, report_kinds: Iterable[ReportKind]) -> None:
    """Hand the application its kinds and their tasks; slugs are unique."""
    by_slug = {kind.slug: kind for kind in report_kinds}
    app.extensions["report_kinds"] = by_slug
    jobs.init_app(
        app,
        [NIGHTLY, *(one for kind in by_slug.values() for one in (task_of(kind), *kind.tasks()))],
    )
    for kind in by_slug.values():
        for blueprint in kind.blueprints():
            app.register_blueprint(blueprint)
        for group in kind.commands():
            app.cli.add_command(group)
