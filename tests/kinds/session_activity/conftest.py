"""A house that knows this kind, its computers and logins, and programs that send pings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import add_people
from webapp.accounts import create_key, find_user
from webapp.kinds.session_activity import SessionActivity

PREFIX = "/api/session-manager"
LOGINS, COMPUTERS = ("anna", "bela"), ("pink0001", "blue0002", "red0003")


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    app = make_app(report_kinds=(SessionActivity(),))
    add_people(app)
    return app


@dataclass
class Sender:
    """A program that speaks to the session manager with an API key."""

    client: FlaskClient
    auth: tuple[str, str]

    def get(self, path: str, **query: str) -> Any:
        return self.client.get(PREFIX + path, query_string=query, auth=self.auth)

    def post(self, path: str, json: Any = None, **more: Any) -> Any:
        return self.client.post(PREFIX + path, json=json, auth=self.auth, **more)

    def begin(self, key: str, at: str | None, login: str = "anna", **more: Any) -> Any:
        body = {
            "id": key,
            "comp_name": "pink0001",
            "ip_addr": "192.168.1.100",
            "login": login,
            "next_ping_sec": 60,
            "date_time": at,
        }
        return self.post("/session", body | more)

    def ping(self, id: str, at: str | None, login: str = "anna", **more: Any) -> Any:
        return self.post("/activity", ping_body(id, at, login, **more))

    def hours(self, **query: str) -> Any:
        answer = self.get("/activity", **({"login": "anna"} | query))
        assert answer.status_code == 200, answer.text
        return answer.json["data"]


def ping_body(id: str, at: str | None, login: str = "anna", **more: Any) -> dict[str, Any]:
    body = {"session_id": id, "session_type": "", "login": login, "next_ping_sec": 60}
    return body | {"date_time": at} | more


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
