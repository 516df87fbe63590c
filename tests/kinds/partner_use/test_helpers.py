"""A large report is shared between workers: the same bytes, and no search is sent twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from flask import Flask
from partner_use_helpers import House, ago

from sandbox.testing import RunningStandIn
from tests.conftest import add_people
from webapp.engine import helpers
from webapp.engine.models import RUNNING, Report
from webapp.extensions import db, report_queue

Params = Callable[..., dict[str, Any]]


def help_the_running(app: Flask, done: list[str]) -> None:
    """Do what a second worker does: take the helper jobs of a running report."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not done:
        with app.app_context():
            job = next(iter(report_queue().jobs), None)
            report = db.session.query(Report).filter_by(status=RUNNING).first()
            if job is not None and report is not None:
                helpers.help_running(*job.args)
                done.append(job.id)
        time.sleep(0.01)


def test_two_workers_and_one_give_the_same_bytes_and_ask_nothing_twice(
    make_app: Callable[..., Flask], stand_in: RunningStandIn, partner_use: Params
) -> None:
    stand_in.settings(latency_ms=15)
    params = partner_use(
        partner_id="70000002", mode="monthly", start=ago(2), end=ago(0), refresh=True
    )
    alone = make_app(
        PARTNER_API_URL=stand_in.url_template, PARTNER_SPLIT_SITES=0, PARTNER_READ_LIMIT=50
    )
    add_people(alone)
    one = House(alone).make(params)
    plain_searches = len(stand_in.searches())
    stand_in.reset()
    shared = make_app(
        PARTNER_API_URL=stand_in.url_template,
        PARTNER_SPLIT_SITES=50,
        PARTNER_HELPERS=1,
        PARTNER_READ_LIMIT=50,
    )
    done: list[str] = []
    helper = threading.Thread(target=help_the_running, args=(shared, done))
    helper.start()
    two = House(shared).make(params)
    helper.join()
    assert done == [f"{two.id}_1_1"]
    assert two.csv(shared, "site") == one.csv(alone, "site")
    assert two.csv(shared) == one.csv(alone)
    assert stand_in.stats()["searches_repeated"] == 0
    assert len(stand_in.searches()) == plain_searches


def test_a_helper_of_a_report_that_has_ended_does_nothing(
    app: Flask, stand_in: RunningStandIn, partner_use: Params
) -> None:
    made = House(app).make(partner_use())
    before = stand_in.stats()["requests"]
    with app.app_context():
        helpers.help_running(made.id, 1, 1)
    assert stand_in.stats()["requests"] == before
