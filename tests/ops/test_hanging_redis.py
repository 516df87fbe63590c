"""A Redis that takes connections and answers nothing: nobody waits for it for long."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from tests.conftest import PASSWORD, Api, form_token
from tests.soon import soon
from webapp.extensions import db
from webapp.jobs import janitor, transport
from webapp.jobs.models import Job
from webapp.lib.moments import utcnow


@pytest.fixture
def hanging(app: Flask, make_app: Callable[..., Flask]) -> Iterator[Flask]:
    """Return an application beside the one with people, whose Redis hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        yield make_app(REDIS_URL=url, TRIES_STORAGE_URI=url)


def test_a_report_is_stored_and_cancelled_at_once(
    hanging: Flask, api_for: Callable[[str], Api], partner_use: Callable[..., dict[str, Any]]
) -> None:
    body = {"kind": "partner-use", "params": partner_use()}
    api = Api(hanging.test_client(), api_for("owner").auth)
    with soon():
        made = [api.post("/reports", body) for _ in range(3)]
        assert [answer.status_code for answer in made] == [202] * 3
        gone = [api.delete(f"/reports/{answer.json['id']}") for answer in made[:2]]
        assert [answer.status_code for answer in gone] == [202, 202]
        assert hanging.test_client().get("/readyz").status_code == 503
    with hanging.app_context():
        assert db.session.get_one(Job, made[2].json["id"]).status == "queued"


def test_signing_in_goes_on(hanging: Flask) -> None:
    client = hanging.test_client()
    with soon():
        form = {"csrf_token": form_token(client, "/login"), "email": "owner@example.com"}
        assert client.post("/login", data=form | {"password": PASSWORD}).status_code == 303
        assert client.get("/ops/rq/").status_code == 404


def test_the_janitor_hands_over_what_waited(
    hanging: Flask,
    make_app: Callable[..., Flask],
    partner_use: Callable[..., dict[str, Any]],
    api_for: Callable[[str], Api],
) -> None:
    body = {"kind": "partner-use", "params": partner_use()}
    made = Api(hanging.test_client(), api_for("owner").auth).post("/reports", body)
    again = make_app()
    with again.app_context():
        assert janitor.sweep(utcnow() + 2 * janitor.QUEUED_TOO_LONG) == 1
        assert transport.is_waiting(made.json["id"])
