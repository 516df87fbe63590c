"""A Redis that takes connections and answers nothing: nobody waits for it for long.

And one that refuses the password: that is said each time, also while it rests from asking.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
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


def test_a_redis_that_refuses_the_password_is_said_to_each_time(
    make_app: Callable[..., Flask],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            with suppress(OSError):
                while True:
                    with server.accept()[0] as connection:
                        connection.recv(4096)
                        connection.sendall(b"-WRONGPASS invalid username-password pair\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        url = f"redis://:wrong@127.0.0.1:{server.getsockname()[1]}/0"
        client = make_app(REDIS_URL=url).test_client()
        for _ in range(3):
            check = client.get("/readyz").json["checks"]["redis"]
            assert (check["ok"], "REDIS_URL has a wrong user or password" in check["detail"]) == (
                False, True,
            )  # fmt: skip


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
