"""Errors as pages, partials and problem+json, from one place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, jsonify
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError
from tally import Tally

from tests.conftest import add_people
from webapp import error_pages
from webapp.errors import Conflict, InvalidParams, NotSignedIn, TooMany, Unavailable

pytestmark = pytest.mark.once

HTMX = {"HX-Request": "true"}
SECRET = "xyz-planted-secret-0815"

RAISED: dict[str, Callable[[], Exception]] = {
    "invalid": lambda: InvalidParams({"month": "Write the month as YYYY-MM."}),
    "conflict": lambda: Conflict("It is finished already."),
    "many": lambda: TooMany("Too many tries.", retry_after_s=42),
    "away": lambda: Unavailable("Redis is away.", retry_after_s=7),
    "stranger": lambda: NotSignedIn("Sign in first."),
    "database": lambda: OperationalError(f"SELECT {SECRET}", {}, Exception(SECRET)),
    "fault": lambda: RuntimeError(f"a fault with {SECRET} in it"),
}


def trouble(name: str) -> Blueprint:
    bp = Blueprint(name, __name__)

    @bp.route("/<what>", methods=["GET", "POST"])
    def raises(what: str) -> str:
        raise RAISED[what]()

    return bp


def own_words(problem: error_pages.Problem) -> Response:
    response = jsonify({"error": problem.detail})
    response.status_code = problem.status
    return response


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    app = make_app(report_kinds=[Tally()])
    app.register_blueprint(trouble("trouble_page"), url_prefix="/trouble")
    app.register_blueprint(trouble("trouble_api"), url_prefix="/api/trouble")
    app.register_blueprint(trouble("trouble_own"), url_prefix="/api/own")
    add_people(app)
    return app


@pytest.fixture
def own_envelope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_pages, "_envelopes", {})
    error_pages.envelope("trouble_own", own_words)
    error_pages.envelope("/api/own/", own_words)


def test_a_program_gets_problem_json(app: Flask) -> None:
    headers = {"X-Request-ID": "a-request-of-ours-1"}
    answer = app.test_client().get("/api/trouble/invalid", headers=headers)
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert answer.get_json(force=True) == {
        "type": "/api/errors/invalid-params",
        "title": "Some values cannot be used",
        "status": 422,
        "detail": "Write the month as YYYY-MM.",
        "instance": "/api/trouble/invalid",
        "errors": {"month": "Write the month as YYYY-MM."},
        "request_id": "a-request-of-ours-1",
    }


@pytest.mark.parametrize(("what", "wait"), [("many", "42"), ("away", "7"), ("database", "5")])
def test_what_passes_says_when_to_come_back(app: Flask, what: str, wait: str) -> None:
    for path in ("/api/trouble/", "/trouble/"):
        assert app.test_client().get(path + what).headers["Retry-After"] == wait


def test_a_program_without_credentials_is_told_how_to_sign_in(app: Flask) -> None:
    answer = app.test_client().get("/api/trouble/stranger")
    assert answer.status_code == 401
    assert "Basic" in answer.headers["WWW-Authenticate"]


def test_unknown_addresses_and_methods_answer_in_the_readers_form(app: Flask) -> None:
    client = app.test_client()
    for path, status in (("/api/nothing", 404), ("/api/v1/kinds", 405)):
        answer = client.post(path)
        assert answer.status_code == status
        assert answer.get_json(force=True)["status"] == status
    assert client.delete("/login").status_code == 405
    assert client.delete("/login").headers["Allow"]
    page = client.get("/nothing")
    assert page.status_code == 404
    assert "<h1>Not found</h1>" in page.text
    assert 'href="/"' in page.text


def test_a_person_gets_a_page_with_a_way_on(app: Flask) -> None:
    page = app.test_client().get("/trouble/conflict")
    assert page.status_code == 409
    assert "It is finished already." in page.text
    assert "Sign in" in page.text


def test_htmx_gets_the_sentence_where_messages_appear(app: Flask) -> None:
    answer = app.test_client().get("/trouble/conflict", headers=HTMX)
    assert answer.status_code == 409
    assert answer.headers["HX-Retarget"] == "#messages"
    assert "<html" not in answer.text
    assert "It is finished already." in answer.text


def test_a_stranger_on_a_page_goes_to_sign_in_and_comes_back(app: Flask) -> None:
    client = app.test_client()
    answer = client.get("/trouble/stranger?x=1")
    assert answer.status_code == 303
    assert answer.location == "/login?next=/trouble/stranger?x%3D1"
    partial = client.get("/trouble/stranger", headers=HTMX)
    assert partial.headers["HX-Redirect"].startswith("/login")


@pytest.mark.parametrize("prefix", ["/trouble", "/api/trouble"])
@pytest.mark.parametrize(("what", "status"), [("fault", 500), ("database", 503)])
def test_a_fault_tells_nothing_and_logs_no_secret(
    app: Flask, caplog: pytest.LogCaptureFixture, prefix: str, what: str, status: int
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = app.test_client().get(f"{prefix}/{what}")
    assert answer.status_code == status
    for text in (answer.text, caplog.text):
        assert SECRET not in text
    assert "Traceback" not in answer.text
    assert ("RuntimeError" if what == "fault" else "OperationalError") in caplog.text


def test_a_room_may_answer_errors_its_own_way(app: Flask, own_envelope: None) -> None:
    client = app.test_client()
    assert client.get("/api/own/conflict").get_json() == {"error": "It is finished already."}
    assert client.put("/api/own/conflict").get_json()["error"]
    assert client.get("/api/own/a/b/c").status_code == 404
    assert "error" in client.get("/api/own/a/b/c").get_json()
    assert client.get("/api/trouble/conflict").content_type == "application/problem+json"


def test_a_stale_form_is_a_sentence(client_for: Callable[[str], FlaskClient]) -> None:
    answer: Any = client_for("owner").post("/months/expire", data={"csrf_token": "old"})
    assert answer.status_code == 400
    assert "Reload the page" in answer.text
