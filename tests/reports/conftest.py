"""An application whose one kind is the tally, and reports of it that have run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from reports_house import add_people, find_scope, form_token
from tally import Tally

from webapp.engine import jobs


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Iterator[Flask]:
    app = make_app(report_kinds=[Tally()])
    add_people(app)
    yield app
    # The hub ends a moment after its last listener; until then it reads from Redis.
    for thread in threading.enumerate():
        if thread.name == "line-hub":
            thread.join(5)


@pytest.fixture
def start(app: Flask) -> Callable[..., str]:
    """Return a maker of queued reports: `start(topic="x")` gives the id; `who` asks for it."""

    def make(who: str = "owner", **params: Any) -> str:
        scope = find_scope(app, who)
        with app.app_context():
            raw = {"topic": "apples"} | params
            return jobs.start_report(scope, "tally", raw, enqueue=False).report.id

    return make


@pytest.fixture
def run(app: Flask, start: Callable[..., str]) -> Callable[..., str]:
    """Return a maker of reports that have run to their end in this process."""

    def make(who: str = "owner", **params: Any) -> str:
        report_id = start(who, **params)
        with app.app_context():
            try:
                jobs.run_queued(report_id)
            except Exception:
                if not params.get("fails"):
                    raise
        return report_id

    return make


@pytest.fixture
def owner(client_for: Callable[[str], FlaskClient]) -> FlaskClient:
    """Return the owner's browser."""
    return client_for("owner")


@pytest.fixture
def post() -> Callable[..., Any]:
    """Return a sender of forms with the browser's own form token."""

    def send(client: FlaskClient, path: str, headers: Any = None, **fields: Any) -> Any:
        token = form_token(client)
        return client.post(path, data={"csrf_token": token, **fields}, headers=headers)

    return send
