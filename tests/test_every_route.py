"""Walks the map of addresses: who gets in without signing in, and that nothing breaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from tests.conftest import add_people

# Who needs no sign-in, and why: signing in itself, health for load balancers, the API's own
# description, files, invitations and other links whose address is the secret, a forgotten password.
OPEN = {
    "static",
    "send_asset",
    "accounts.login",
    "accounts.sign_in",
    "oidc.begin",
    "oidc.finish",
    "accounts.logout",
    "tokens.password_login",
    "tokens.key_login",
    "links.show_invite",
    "links.show_forgotten",
    "links.ask_for_password",
    "links.show_reset",
    "links.confirm",
    "links.accept_invite",
    "ops.show_health",
    "ops.show_readiness",
    "api_documents.openapi_json",
    "api_documents.read_docs",
    "api_documents.read_error",
    "api_documents.read_errors",
    "inventory_files.fetch_file",
    "project_storage_tokens.agent_token",
    "leaving.unsubscribe",
    "shared.show_shared",
    "shared.open_shared",
    "shared.download_shared",
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def app(make_app: Callable[..., Flask], stand_in: Any) -> Flask:
    """Return an application that asks no form token, so that the guard itself is seen."""
    app = make_app(PARTNER_API_URL=stand_in.url_template, WTF_CSRF_ENABLED=False)
    add_people(app)
    return app


def routes(app: Flask) -> Iterator[tuple[Rule, str, str]]:
    """Yield each rule with a method it takes and an address that fits it."""
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        values: dict[str, Any] = {name: _value(rule, name) for name in rule._converters}
        path = adapter.build(rule.endpoint, values, append_unknown=False)
        for method in METHODS:
            if method in (rule.methods or set()):
                yield rule, method, path


def _value(rule: Rule, name: str) -> Any:
    converter = rule._converters[name]
    kind = type(converter).__name__
    if kind == "UUIDConverter":
        return uuid4()
    if kind == "IntegerConverter":
        return 0
    if kind == "AnyConverter":
        return min(converter.items)  # type: ignore[attr-defined]
    return "partner-use" if name == "slug" else "nothing"


def is_closed(path: str, status: int, location: str) -> bool:
    if path.startswith("/api/") or path == "/metrics":
        return status in {401, 403}
    if path.startswith("/ops/"):
        return status in {401, 403, 404} or "/login" in location
    return status in {302, 303} and "/login" in location


def test_an_anonymous_visitor_gets_in_only_where_the_list_says_so(app: Flask) -> None:
    wrong = []
    for rule, method, path in routes(app):
        if rule.endpoint in OPEN or rule.endpoint.endswith("static"):
            continue
        answer = app.test_client().open(path, method=method, json={} if method != "GET" else None)
        if not is_closed(path, answer.status_code, answer.headers.get("Location", "")):
            wrong.append((rule.endpoint, method, path, answer.status_code))
    assert wrong == []


def test_every_name_on_the_list_is_a_route(app: Flask) -> None:
    assert set(app.view_functions) >= OPEN


def test_wrong_credentials_open_nothing_that_none_do_not(app: Flask) -> None:
    wrong = []
    for rule, method, path in routes(app):
        if rule.endpoint in OPEN or not path.startswith("/api/"):
            continue
        # A client each, and few tries in all: the limit on guesses is another test's.
        for headers in ({"Authorization": "Bearer x.y.z"},):
            answer = app.test_client().open(path, method=method, headers=headers, json={})
            if answer.status_code not in {401, 403, 429}:
                wrong.append((rule.endpoint, method, answer.status_code))
    assert wrong == []


@pytest.mark.parametrize("who", ["owner", "viewer", "operator"])
def test_no_page_breaks_for_whoever_asks_for_it(
    app: Flask, client_for: Callable[[str], FlaskClient], who: str
) -> None:
    client = client_for(who)
    broken = []
    for rule, method, path in routes(app):
        if method != "GET" or rule.endpoint.startswith("rq_dashboard") or "logout" in path:
            continue
        answer = client.get(path)
        answer.get_data()
        # 501: what another system's clients ask for and is not done here.
        may_fail = rule.endpoint == "ops.show_readiness" or answer.status_code == 501
        if answer.status_code >= 500 and not may_fail:
            broken.append((rule.endpoint, path, answer.status_code))
    assert broken == []


@pytest.mark.parametrize("who", ["owner", "viewer"])
def test_no_empty_or_odd_form_breaks_an_address(
    app: Flask, client_for: Callable[[str], FlaskClient], who: str
) -> None:
    broken = []
    for rule, method, path in routes(app):
        if method == "GET" or rule.endpoint.startswith(("rq_dashboard", "accounts.", "tokens.")):
            continue
        client = client_for(who) if method == "POST" and rule.endpoint == "" else app.test_client()
        for body in ({"data": {}}, {"data": b"\xff", "content_type": "application/json"},
                     {"json": []}, {"json": {"x": "\x00"}}):  # fmt: skip
            answer = client.open(path, method=method, **body)
            if answer.status_code >= 500:
                broken.append((rule.endpoint, path, answer.status_code))
    assert broken == []


FIELD = re.compile(r'\bname="([a-zA-Z_]\w*)"|field\(\w+, "(\w+)"')
# What programs ask for by the query; and fields whose names are put together in templates.
MORE_FIELDS = {"seen", "after", "login", "whose", "cursor", "role", "id"}


def fields() -> set[str]:
    """Return the names of all fields that templates have."""
    names = set(MORE_FIELDS)
    for path in Path("webapp").rglob("*.html"):
        for pair in FIELD.findall(path.read_text("utf-8")):
            names |= set(filter(None, pair))
    assert len(names) > 80
    return names - {"csrf_token"}


@pytest.mark.parametrize("value", ["a\x00", "nonsense", "9" * 30])
def test_no_field_of_a_page_breaks_it(
    app: Flask, client_for: Callable[[str], FlaskClient], value: str
) -> None:
    given, broken = dict.fromkeys(sorted(fields()), value), []
    client = client_for("owner")
    for rule, method, path in routes(app):
        if path.startswith("/api/") or rule.endpoint.startswith("rq_dashboard"):
            continue
        if rule.endpoint.startswith("accounts.") or method not in {"GET", "POST"}:
            continue
        more = {"query_string": given} if method == "GET" else {"data": given}
        answer = client.open(path, method=method, **more)
        answer.get_data()
        if answer.status_code >= 500 and rule.endpoint != "ops.show_readiness":
            broken.append((rule.endpoint, method, answer.status_code))
    assert client.get("/").status_code == 200
    assert broken == []


def test_every_answer_has_the_headers_that_protect_it(app: Flask) -> None:
    for path in ("/login", "/", "/api/v1/reports", "/nothing", "/healthz"):
        headers = app.test_client().get(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"


def test_a_form_without_its_token_changes_nothing(
    make_app: Callable[..., Flask], stand_in: Any
) -> None:
    app = make_app(PARTNER_API_URL=stand_in.url_template)
    wrong = []
    for rule, method, path in routes(app):
        if method != "POST" or path.startswith("/api/"):
            continue
        answer = app.test_client().post(path, data={"a": "b"})
        if answer.status_code not in {400, 404, 405} and "/login" not in answer.headers.get(
            "Location", ""
        ):
            wrong.append((rule.endpoint, answer.status_code))
    assert wrong == []
