"""An application with this kind, its computers and logins, and programs that ping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.conftest import Api, add_people, find_scope
from tests.kinds.session_activity.session_helpers import COMPUTERS, LOGINS, Sender
from webapp import jobs
from webapp.accounts import create_key, find_user
from webapp.engine import service
from webapp.extensions import db
from webapp.kinds.session_activity import SessionActivity


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    app = make_app(report_kinds=(SessionActivity(),))
    add_people(app)
    return app


@pytest.fixture
def sender_for(app: Flask) -> Callable[..., Sender]:
    """Return a maker of programs: `sender_for("owner")`, `sender_for("owner", scope="send")`."""

    def make(name: str, scope: str = "full") -> Sender:
        with app.app_context():
            user = find_user(f"{name}@example.com")
            assert user is not None
            key, secret = create_key(user, "tests", scope=scope)
            return Sender(app.test_client(), (key.key_id, secret))

    return make


@pytest.fixture
def sender(sender_for: Callable[..., Sender]) -> Sender:
    """Return the owner's program, its logins and computers known."""
    sender = sender_for("owner")
    assert sender.post("/users", [{"Name": name} for name in LOGINS]).status_code == 201
    assert sender.post("/computers", [{"Name": name} for name in COMPUTERS]).status_code == 201
    return sender


@pytest.fixture
def report(app: Flask, api_for: Callable[[str], Api], sender: Sender) -> Callable[..., Any]:
    """Return a maker of finished reports: `report(login="anna")` gives its JSON document."""
    api = api_for("owner")

    def make(format: str = "json", **params: Any) -> Any:
        scope = find_scope(app, "owner")
        with app.app_context():
            made = service.start_report(scope, "session-activity", params, enqueue=False).report.id
            jobs.run_queued(made)
            db.session.remove()
        answer = api.get(f"/reports/{made}/result?format={format}")
        assert answer.status_code == 200, answer.text
        found = answer.json if format == "json" else answer.data
        answer.close()
        return found

    return make
