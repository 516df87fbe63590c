"""What operators are told in numbers: partner errors by code, months from the store, streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask

from sandbox.testing import RunningStandIn
from tests.conftest import Api, find_scope
from webapp import jobs
from webapp.counters import Counters
from webapp.engine import service
from webapp.engine.models import Report
from webapp.extensions import db, redis_client

Params = Callable[..., dict[str, Any]]


def metrics(api_for: Callable[[str], Api]) -> list[str]:
    operator = api_for("operator")
    found: list[str] = operator.client.get("/metrics", auth=operator.auth).text.splitlines()
    return found


def made(app: Flask, params: dict[str, Any]) -> str:
    with app.app_context():
        scope = find_scope(app, "owner")
        report = service.start_report(scope, "partner-use", params, enqueue=False).report
        jobs.run_queued(report.id)
        return db.session.get_one(Report, report.id, populate_existing=True).status


def test_partner_errors_are_counted_by_code(
    app: Flask, api_for: Callable[[str], Api], partner_use: Params, stand_in: RunningStandIn
) -> None:
    stand_in.faults(
        [
            {"fault": "error:500001", "method": "accounts.search", "times": 2},
            {"fault": "reset", "method": "accounts.search", "times": 1},
        ]
    )
    made(app, partner_use())
    found = metrics(api_for)
    assert 'partner_errors_total{code="500001"} 2.0' in found
    assert 'partner_errors_total{code="broken_off"} 1.0' in found


def test_months_used_from_the_store_are_counted_apart_from_those_counted_anew(
    app: Flask, api_for: Callable[[str], Api], partner_use: Params
) -> None:
    span = {"mode": "monthly", "start": "2024-01", "end": "2024-03"}
    assert made(app, partner_use(**span)) == "done"
    anew = tallied(app, "months", "partner-use", "counted")
    assert anew > 0
    assert tallied(app, "months", "partner-use", "stored") == 0
    assert made(app, partner_use(**span)) == "done"
    assert tallied(app, "months", "partner-use", "counted") == anew
    assert tallied(app, "months", "partner-use", "stored") == anew
    line = f'report_months_total{{kind="partner-use",source="stored"}} {float(anew)}'
    assert line in metrics(api_for)


def tallied(app: Flask, *key: str) -> int:
    counters: Counters = app.extensions["counters"]
    return counters.read(redis_client(app)).get(key, 0)


def test_counts_wait_for_a_redis_that_is_away(make_app: Callable[..., Flask]) -> None:
    nowhere = make_app(REDIS_URL="redis://127.0.0.1:1/0")
    waiting: Counters = nowhere.extensions["counters"]
    waiting.add("partner_errors", "timeout", by=3)
    waiting.flush()
    assert waiting._waiting["partner_errors", "timeout"] == 3


def test_open_streams_are_counted(
    app: Flask, api_for: Callable[[str], Api], partner_use: Params
) -> None:
    with app.app_context():
        report = service.start_report(find_scope(app, "owner"), "partner-use", partner_use()).report
        listening = jobs.Listening(report.id)
    assert "report_streams_open 1.0" in metrics(api_for)
    listening.close()
    assert "report_streams_open 0.0" in metrics(api_for)
