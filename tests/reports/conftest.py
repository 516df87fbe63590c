"""An application whose one kind is the tally, and reports of it that have run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from running_site import Site, running
from tally import Tally

from tests.conftest import add_people, find_scope, form_token
from webapp import jobs
from webapp.engine import service


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Iterator[Flask]:
    app = make_app(report_kinds=[Tally()])
    add_people(app)
    yield app
    # The hub ends a moment after its last listener; until then it reads from Redis.
    for thread in threading.enumerate():
        if thread.name == "line-hub":
            thread.join(60)


@pytest.fixture
def start(app: Flask) -> Callable[..., str]:
    """Return a maker of queued reports: `start(topic="x")` gives the id; `who` asks for it."""

    def make(who: str = "owner", **params: Any) -> str:
        scope = find_scope(app, who)
        with app.app_context():
            raw = {"topic": "apples"} | params
            return service.start_report(scope, "tally", raw, enqueue=False).report.id

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


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Site]:
    """Return a real site: gunicorn, a worker, a Redis, people who may sign in."""
    with running(tmp_path_factory.mktemp("site"), redis_url) as site:
        yield site


@pytest.fixture(scope="session")
def polling_site(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Site]:
    """Return a real site whose pages poll."""
    with running(tmp_path_factory.mktemp("polling"), redis_url, STREAMING="false") as site:
        yield site


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
