"""`/reports/<id>/events`: a report's lines as rendered partials, for the page's own listener.

Programs read the same lines as JSON from the API; this stream is HTML, so that what a partner wrote
is escaped by the same templates as everywhere. It goes on after `Last-Event-ID`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from uuid import UUID

from flask import Flask, Response, current_app, request

from webapp import jobs
from webapp.accounts import access_ended, current_scope
from webapp.engine import service
from webapp.engine.models import Report
from webapp.errors import Unavailable
from webapp.extensions import db, this_app
from webapp.jobs import stream
from webapp.reports.blueprint import bp
from webapp.reports.preferences import Preferences, liked, preferences
from webapp.reports.view import meters

METERS_EVERY_S = 0.5


@bp.get("/reports/<uuid:report_id>/events")
def listen_report(report_id: UUID) -> Response:
    """Stream the lines after `Last-Event-ID`, or after the last one on the page, up to the end."""
    scope = current_scope()
    report = service.find_report(scope, str(report_id))
    if not current_app.config["STREAMING"]:
        raise Unavailable("Live updates are switched off; the page reloads the lines instead.")
    app = this_app()
    after = _seq(request.headers.get("Last-Event-ID")) or _seq(request.args.get("after")) or 0
    left, ended = jobs.reader_gone(request.environ), access_ended()
    listening = jobs.Listening(
        report.id, after, gone=lambda: left() or ended(), reader=scope.user_id
    )
    messages = _messages(app, report.id, listening, preferences())
    # A stream lasts for hours; it must not sit on a database connection.
    db.session.remove()
    response = Response(messages, mimetype="text/event-stream")
    response.headers["Cache-Control"] = "private, no-cache, no-transform"
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(listening.close)
    return response


def _seq(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


def _messages(
    app: Flask, report_id: str, listening: stream.Listening, by: Preferences
) -> Iterator[str]:
    shown_at = float("-inf")
    for event in listening:
        if event is None:
            yield ": still here\n\n"
            html, number = "", ""
        elif event.type == "end":
            yield f"event: end\nid: {event.seq}\ndata: {event.data['status']}\n\n"
            return
        else:
            with liked(by):
                html = app.jinja_env.get_template("reports/_line.html").render(line=event.data)
            number = f"id: {event.seq}\n"
        if time.monotonic() - shown_at >= METERS_EVERY_S:
            with liked(by):
                html += _meters(app, report_id)
            shown_at = time.monotonic()
        if html:
            # One unnamed event, which is what hx-sse swaps in.
            lines = "".join(f"data: {line}\n" for line in html.splitlines() if line.strip())
            yield f"{number}{lines}\n"


def _meters(app: Flask, report_id: str) -> str:
    with app.app_context():
        report = db.session.get(Report, report_id)
        if report is None:
            return ""
        template = app.jinja_env.get_template("reports/_meters_partial.html")
        return template.render(**meters(report))
