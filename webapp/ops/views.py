"""The addresses of this room: `/healthz` and `/readyz` for anybody, `/metrics` and `/ops/sizes` for
operators.

Metrics have to be there when the database is not, so a scraper may have a token of its own.
"""

from __future__ import annotations

import hmac
import time

from flask import Blueprint, Response, current_app, flash, jsonify, render_template, request
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response as AnyResponse

from webapp.accounts import check_role, current_scope
from webapp.engine import upkeep
from webapp.errors import NotAllowed, NotSignedIn
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.lib.moments import utcnow
from webapp.ops import health, metrics
from webapp.ops.sizes import sizes
from webapp.security import fingerprint
from webapp.version import VERSION

REMEMBERED_S = 3600.0

bp = Blueprint("ops", __name__)


@bp.get("/healthz")
def show_health() -> Response:
    """Say that the process is up, and in which version; touches neither the database nor Redis."""
    return jsonify(status="ok", version=VERSION)


@bp.get("/readyz")
def show_readiness() -> tuple[Response, int, dict[str, str]]:
    """Say whether reports can be made now, and which part is away."""
    found = health.checks()
    document = health.as_json(found, health.queue())
    if document["status"] == "unavailable":
        return jsonify(document), 503, {"Retry-After": "5"}
    return jsonify(document), 200, {}


@bp.get("/metrics")
def show_metrics() -> Response:
    """Return the metrics in Prometheus' text format, to METRICS_TOKEN or an operator."""
    try:
        may_scrape = _has_token() or _is_operator()
    except NotSignedIn:
        realm = {"WWW-Authenticate": 'Basic realm="metrics", charset="UTF-8"'}
        return Response("Metrics need an operator's key, or METRICS_TOKEN.\n", 401, realm)
    if not may_scrape:
        raise NotAllowed("Metrics are for operators.")
    return Response(metrics.render(), content_type=CONTENT_TYPE_LATEST)


@bp.get("/ops/sizes")
def show_sizes() -> str:
    """Show how large each table was last night, how fast it grows, and what governs it."""
    check_role("operator")
    found = sizes()
    return render_template(
        "ops/sizes.html", sizes=found, total=sum(one.now.bytes or 0 for one in found)
    )


@bp.post("/ops/sizes")
def measure_now() -> AnyResponse:
    """Let a worker measure the tables now."""
    check_role("operator")
    upkeep.start_nightly(upkeep.ROOMS, utcnow().isoformat())
    db.session.commit()
    flash("A worker is measuring the tables. Reload this page in a moment.")
    return redirect_to("/ops/sizes")


def _has_token() -> bool:
    token = current_app.config["METRICS_TOKEN"]
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return bool(token) and hmac.compare_digest(given.encode(), token.encode())


def _is_operator() -> bool:
    """Say whether an operator asks; while the database is away, one that it knew lately."""
    seen: dict[str, float] = current_app.extensions.setdefault("metrics_readers", {})
    reader = fingerprint(request.headers.get("Authorization", ""))
    try:
        is_operator = current_scope().is_operator
    except SQLAlchemyError:
        db.session.rollback()
        if time.monotonic() - seen.get(reader, -REMEMBERED_S) < REMEMBERED_S:
            return True
        raise
    if is_operator and "Authorization" in request.headers:
        seen[reader] = time.monotonic()
    return is_operator
