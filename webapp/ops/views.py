"""The addresses of this room: `/healthz` and `/readyz` for anybody, `/metrics` for operators."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST

from webapp.accounts import current_scope
from webapp.errors import NotAllowed
from webapp.ops import health, metrics

bp = Blueprint("ops", __name__)


@bp.get("/healthz")
def show_health() -> Response:
    """Say that the process is up; touches neither the database nor Redis."""
    return jsonify(status="ok")


@bp.get("/readyz")
def show_readiness() -> tuple[Response, int]:
    """Say whether reports can be made now, and which part is away."""
    found = health.checks()
    ready = all(check.ok for check in found)
    return jsonify(health.as_json(found, health.queue())), 200 if ready else 503


@bp.get("/metrics")
def show_metrics() -> Response:
    """Return the metrics in Prometheus' text format."""
    if not current_scope().is_operator:
        raise NotAllowed("Metrics are for operators.")
    return Response(metrics.render(), content_type=CONTENT_TYPE_LATEST)
