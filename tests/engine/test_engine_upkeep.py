"""What a kind may do beside reports: small upkeep, large upkeep at night, reports of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from pydantic import BaseModel
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from tests.conftest import add_people, find_scope
from webapp.engine import service, upkeep
from webapp.engine.kind import Context, ReportKind, Result, Run, Table
from webapp.engine.listing import list_reports
from webapp.engine.shapes import Estimate
from webapp.errors import NotFound
from webapp.extensions import db, report_queue

NIGHT = datetime(2025, 3, 1, 4, tzinfo=UTC)


class Nothing(BaseModel):
    """No parameters at all."""


class Busy(ReportKind):
    """A kind with upkeep, whose reports are their maker's alone."""

    slug = "busy"
    title = "Busy"
    Params = Nothing
    personal = True

    def __init__(self) -> None:
        self.done: list[str] = []

    def run(self, params: Any, run: Run, context: Context) -> Result:
        return Result({}, {})

    def tables(self, head: Mapping[str, Any]) -> tuple[Table, ...]:
        return ()

    def run_maintenance(self) -> None:
        self.done.append("tended")

    def nightly(self) -> None:
        self.done.append("nightly")


class Idle(Busy):
    """A kind without upkeep, whose reports the company shares."""

    slug = "idle"
    personal = False
    run_maintenance = ReportKind.run_maintenance
    nightly = ReportKind.nightly


@pytest.fixture
def busy() -> Busy:
    return Busy()


@pytest.fixture
def app(make_app: Callable[..., Flask], busy: Busy) -> Flask:
    app = make_app(report_kinds=(busy, Idle()))
    add_people(app)
    return app


def test_a_kind_is_tended_each_time(app: Flask, busy: Busy) -> None:
    with app.app_context():
        upkeep.run_maintenance()
        upkeep.run_maintenance()
    assert busy.done == ["tended", "tended"]


def test_nightly_upkeep_runs_once_a_night_in_a_worker(app: Flask, busy: Busy) -> None:
    with app.app_context():
        assert upkeep.ask_nightly(NIGHT.replace(hour=1)) == []
        assert upkeep.ask_nightly(NIGHT) == ["busy", "rooms"]
        assert upkeep.ask_nightly(NIGHT) == []
        queue = report_queue()
        worker = SimpleWorker([queue], connection=queue.connection, serializer=JSONSerializer)
        for _ in range(2):
            # Each job begins with none of the connections of the process that it is forked from.
            db.engine.dispose()
            worker.work(burst=True, max_jobs=1, logging_level="WARNING")
        assert busy.done == ["nightly"]
        assert "busy" in upkeep.ask_nightly(NIGHT.replace(day=2))


def test_a_personal_report_is_found_by_its_maker_only(app: Flask) -> None:
    owner, colleague = find_scope(app, "owner"), find_scope(app, "colleague")
    with app.app_context():
        mine = service.start_report(owner, "busy", {}, enqueue=False).report
        shared = service.start_report(owner, "idle", {}, enqueue=False).report
        assert service.find_report(owner, mine.id).id == mine.id
        assert service.find_report(colleague, shared.id).id == shared.id
        with pytest.raises(NotFound):
            service.find_report(colleague, mine.id)
        assert {one.id for one in list_reports(owner).reports} == {mine.id, shared.id}
        assert [one.id for one in list_reports(colleague).reports] == [shared.id]


def test_a_report_that_asks_nobody_costs_no_call_and_no_time(app: Flask) -> None:
    owner = find_scope(app, "owner")
    with app.app_context():
        assert service.estimate_report(owner, "idle", {}) == Estimate(0, 0, 0.0)
