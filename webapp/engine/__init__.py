"""The life every report shares: parameters, job, status lines, stored months, result, export.

The engine is handed the kinds by `create_app` and names none of them. Pages and the API use
`jobs` (start, find, cancel, retry, delete, estimate), `progress` (listen), `results` and `export`
(read back), `months` (expire, overview) and `params` (JSON Schema, form fields). A kind uses
`kind` (the contract), the calendar of `months` and `packed` (rows of large tables).
"""

from __future__ import annotations

from collections.abc import Iterable

from flask import Flask

from webapp.engine import counters, progress
from webapp.engine.kind import ReportKind


def init_app(app: Flask, report_kinds: Iterable[ReportKind]) -> None:
    """Hand the application its kinds and start-up state; slugs are unique."""
    by_slug = {kind.slug: kind for kind in report_kinds}
    app.extensions["report_kinds"] = by_slug
    progress.init_app(app)
    counters.init_app(app)
    for kind in by_slug.values():
        for blueprint in kind.blueprints():
            app.register_blueprint(blueprint)
        for group in kind.commands():
            app.cli.add_command(group)
