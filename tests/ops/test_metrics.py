"""What operators are told in numbers: by each web process for all, without reading whole tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from rq import Worker

from sandbox.testing import RunningStandIn
from tests.conftest import SERVERS, Api, find_scope
from webapp import jobs
from webapp.counters import Counters
from webapp.engine import service
from webapp.engine.models import Report
from webapp.errors import ReportError
from webapp.extensions import db
from webapp.jobs import executor, janitor
from webapp.lib.moments import utcnow
from webapp.ops import processes
from webapp.version import VERSION

Params = Callable[..., dict[str, Any]]
Scrape = Callable[..., dict[str, float]]
NOWHERE = "redis://127.0.0.1:1/0"
MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"


@pytest.fixture
def scrape(app: Flask, api_for: Callable[[str], Api]) -> Scrape:
    """Return what reads the metrics, of this web process or another one, by line."""
    auth = api_for("operator").auth

    def read(web: Flask = app) -> dict[str, float]:
        answer = web.test_client().get("/metrics", auth=auth)
        assert answer.content_type.startswith("text/plain")
        lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (one.rsplit(" ", 1) for one in lines)}

    return read


def made(app: Flask, params: dict[str, Any]) -> str:
    with app.app_context():
        scope = find_scope(app, "owner")
        report = service.start_report(scope, "partner-use", params, enqueue=False).report
        jobs.run_queued(report.id)
        return db.session.get_one(Report, report.id, populate_existing=True).status


def test_they_are_for_operators_only(
    app: Flask, api_for: Callable[[str], Api], client_for: Callable[[str], FlaskClient]
) -> None:
    assert app.test_client().get("/metrics").status_code == 401
    owner = api_for("owner")
    assert owner.client.get("/metrics", auth=owner.auth).status_code == 403
    assert client_for("operator").get("/metrics").status_code == 200


def test_they_say_what_is_up_and_what_waits(
    scrape: Scrape, register_worker: Callable[..., Worker]
) -> None:
    register_worker()
    found = scrape()
    expected = {
        "reports_database_up": 1, "reports_redis_up": 1, "reports_janitor_up": 0,
        "reports_workers": 1,
        f'reports_build_info{{version="{VERSION}"}}': 1, "reports_queue_oldest_seconds": 0,
        'reports_jobs{status="queued",task="partner-use"}': 0, "reports_streams_open": 0,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert all(name.startswith("reports_") for name in found)


def test_they_say_what_is_away(make_app: Callable[..., Flask], scrape: Scrape) -> None:
    found = scrape(make_app(REDIS_URL=NOWHERE))
    assert found["reports_redis_up"] == 0
    assert "reports_workers" not in found


def test_failed_and_cancelled_jobs_are_told_apart(
    app: Flask, scrape: Scrape, partner_use: Params
) -> None:
    with app.app_context():
        scope = find_scope(app, "owner")
        cancelled = service.start_report(scope, "partner-use", partner_use()).report.id
        service.cancel_report(scope, cancelled)
    with pytest.raises(ReportError):
        made(app, partner_use(user_secret="d3Jvbmc="))
    assert made(app, partner_use()) == "done"
    found = scrape()
    ended = {
        status: found[f'reports_jobs_ended_total{{status="{status}",task="partner-use"}}']
        for status in ("done", "failed", "cancelled")
    }
    assert ended == {"done": 1, "failed": 1, "cancelled": 1}
    # One that never ran has no duration.
    assert found['reports_job_duration_seconds_count{task="partner-use"}'] == 2
    assert found['reports_job_duration_seconds_bucket{le="+Inf",task="partner-use"}'] == 2


def test_a_lost_worker_is_counted(app: Flask, scrape: Scrape, partner_use: Params) -> None:
    with app.app_context():
        scope = find_scope(app, "owner")
        report_id = service.start_report(scope, "partner-use", partner_use()).report.id
        assert executor.take(report_id) is not None
        janitor.sweep(utcnow().replace(year=2999))
    assert scrape()['reports_workers_lost_total{task="partner-use"}'] == 1


def test_partner_errors_and_calls_are_counted(
    app: Flask, scrape: Scrape, partner_use: Params, stand_in: RunningStandIn
) -> None:
    stand_in.faults(
        [
            {"fault": "error:500001", "method": "accounts.search", "times": 2},
            {"fault": "reset", "method": "accounts.search", "times": 1},
        ]
    )
    made(app, partner_use())
    found = scrape()
    assert found['reports_partner_errors_total{code="500001"}'] == 2
    assert found['reports_partner_errors_total{code="broken_off"}'] == 1
    assert found['reports_partner_calls_total{kind="partner-use",outcome="made"}'] > 0
    assert found["reports_partner_busy_seconds_total"] > 0


def test_months_used_from_the_store_are_counted_apart_from_those_counted_anew(
    app: Flask, scrape: Scrape, partner_use: Params
) -> None:
    span = {"mode": "monthly", "start": "2024-01", "end": "2024-03"}
    stored, anew = (
        f'reports_months_total{{kind="partner-use",source="{source}"}}'
        for source in ("stored", "counted")
    )
    assert made(app, partner_use(**span)) == "done"
    first = scrape()
    assert first[anew] > 0
    assert first.get(stored, 0) == 0
    assert made(app, partner_use(**span)) == "done"
    again = scrape()
    assert again[stored] == again[anew] == first[anew]


def test_counts_wait_for_a_redis_that_is_away(make_app: Callable[..., Flask]) -> None:
    nowhere = make_app(REDIS_URL=NOWHERE)
    waiting: Counters = nowhere.extensions["counters"]
    waiting.add("partner_errors", "timeout", by=3)
    waiting.flush()
    assert waiting._waiting["partner_errors", "timeout"] == 3


def test_open_streams_of_all_web_processes_are_told_by_each(
    app: Flask, make_app: Callable[..., Flask], scrape: Scrape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two applications stand for two processes, of machines of their own."""
    other = make_app(QUEUE=app.config["QUEUE"])
    listening = []
    for number, web in enumerate((app, other)):
        with web.app_context():
            listening += [jobs.Listening("any") for _ in range(number + 1)]
    with monkeypatch.context() as patch:
        patch.setattr("webapp.ops.processes.socket.gethostname", lambda: "other")
        processes.tell(other, "web")
    assert scrape()["reports_streams_open"] == 3
    with monkeypatch.context() as patch:
        patch.setattr("webapp.ops.processes.socket.gethostname", lambda: "ended")
        processes.tell(other, "web", believed_s=-1)
    found = scrape()
    assert found["reports_streams_open"] == 3
    assert [name for name in found if name.startswith("reports_process_resident_memory_bytes")]
    for one in listening:
        one.close()


def test_answers_are_counted_by_route_and_timed(app: Flask, scrape: Scrape) -> None:
    client = app.test_client()
    app.add_url_rule("/test/fail/<name>", view_func=lambda name: 1 / 0)
    for path in ("/healthz", "/healthz", "/test/fail/one", "/no/such/page"):
        client.get(path)
    client.open("/healthz", method="BREW")
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(
            "\n".join(f"{name} {value}" for name, value in scrape().items()) + "\n"
        )
        for sample in family.samples
    }

    def requests(**labels: str) -> float:
        return found["reports_http_requests_total", *sorted(labels.items())]

    assert requests(method="GET", route="/healthz", status="200") == 2
    assert requests(method="GET", route="/test/fail/<name>", status="500") == 1
    assert requests(method="GET", route="unknown", status="404") == 1
    assert requests(method="OTHER", route="unknown", status="405") == 1
    assert found["reports_http_request_duration_seconds_count", ("route", "/healthz")] == 2


@pytest.fixture
def statements(app: Flask) -> Iterator[list[tuple[str, Any]]]:
    found: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        found.append((statement, parameters))

    with app.app_context():
        engine = db.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    yield found
    sa.event.remove(engine, "before_cursor_execute", note)


@pytest.mark.skipif(SERVERS, reason="Postgres reads a small table from one end to the other")
def test_no_scrape_reads_a_whole_table(
    app: Flask, scrape: Scrape, statements: list[tuple[str, Any]]
) -> None:
    scrape()
    asked = [(text, values) for text, values in statements if text.startswith("SELECT")]
    assert len(asked) > 3
    with app.app_context(), db.engine.connect() as connection:
        for text, values in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)
            steps = [row[-1] for row in plan]
            assert not [step for step in steps if step.startswith("SCAN")], (text, steps)


# What an operator copies


def names_told(
    app: Flask, scrape: Scrape, partner_use: Params, stand_in: RunningStandIn
) -> set[str]:
    stand_in.faults([{"fault": "reset", "method": "accounts.search", "times": 1}])
    made(app, partner_use(mode="monthly", start="2024-01", end="2024-02"))
    made(app, partner_use(mode="monthly", start="2024-01", end="2024-02"))
    app.extensions["counters"].add("workers_lost", "partner-use")
    app.test_client().get("/healthz")
    return {re.sub(r"\{.*", "", name) for name in scrape()}


def test_alerts_and_dashboard_ask_for_metrics_that_are_told(
    app: Flask, scrape: Scrape, partner_use: Params, stand_in: RunningStandIn
) -> None:
    told = names_told(app, scrape, partner_use, stand_in)
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    panels = [target["expr"] for one in dashboard["panels"] for target in one.get("targets", ())]
    expressions = [rule["expr"] for rule in rules] + panels
    assert len(rules) >= 8
    assert len(panels) >= 10
    for rule in rules:
        assert rule["annotations"].keys() >= {"summary", "description"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
    for expression in expressions:
        used = set(re.findall(r"\breports_\w+", expression))
        assert used
        assert used <= told, expression
        assert expression.count("(") == expression.count(")")
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def test_the_scrape_config_asks_where_they_are(app: Flask) -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    assert config["rule_files"] == ["alerts.yml"]
    (job,) = config["scrape_configs"]
    assert job["metrics_path"] in {rule.rule for rule in app.url_map.iter_rules()}
    assert job["authorization"] == {"type": "Bearer", "credentials_file": "metrics_token"}


def test_every_metric_is_told_of_in_the_handbook(
    app: Flask, scrape: Scrape, partner_use: Params, stand_in: RunningStandIn
) -> None:
    page = (MONITORING.parent / "operations.md").read_text()
    for name in names_told(app, scrape, partner_use, stand_in):
        family = re.sub(r"_(bucket|count|sum)$", "", name)
        if not family.startswith("reports_process_"):
            assert f"`{family}" in page, family
