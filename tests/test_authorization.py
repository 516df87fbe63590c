"""Every address, asked by every role: who is let in is what docs/security.md says.

`AUTHORIZATION=write .venv/bin/python -m pytest tests/test_authorization.py` writes its table anew.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import PASSWORD, Person, add_people
from tests.test_every_route import routes
from webapp.accounts import create_key, find_user, scope_of
from webapp.engine import service

PAGE = Path(__file__).resolve().parents[1] / "docs" / "security.md"
BEGIN, END = "<!-- written by tests/test_authorization.py -->\n", "<!-- end -->\n"
DASHBOARD = "/ops/rq/"
# From the least to the most: who is let in is written as the first of them.
ROLES = ("viewer", "expert", "admin", "operator")
PEOPLE = (
    *(Person(role, "Acme", role) for role in ("viewer", "expert", "admin")),
    Person("operator", "Operations", "operator"),
)
ANYBODY, HOLDER = "anybody", "who holds its secret"
SENDER = "send-only key"
REPORT: dict[str, Any] = {
    "kind": "partner-use",
    "params": {"partner_id": "1", "user_key": "k", "user_secret": "c2VjcmV0", "mode": "summary"},
}
# What is sent where a role is asked for only after the body was read.
BODIES = {
    "/api/v1/reports": REPORT,
    "/api/v1/reports/estimate": REPORT,
    "/api/v1/definitions": REPORT | {"name": "Monthly"},
}


@pytest.fixture
def app(make_app: Callable[..., Flask], stand_in: Any) -> Flask:
    """Return an application that asks no form token, so that the guards themselves are seen."""
    app = make_app(PARTNER_API_URL=stand_in.url_template, WTF_CSRF_ENABLED=False)
    add_people(app, PEOPLE)
    return app


class Caller:
    """Somebody who asks: by session on pages, by key under /api/, or not known at all."""

    def __init__(self, app: Flask, role: str) -> None:
        self.app, self.role = app, role
        self.email = f"{'expert' if role == SENDER else role}@example.com"
        self.auth: tuple[str, str] | None = None
        if role == ANYBODY:
            return
        with app.app_context():
            user = find_user(self.email)
            assert user is not None
            key, secret = create_key(user, scope="send" if role == SENDER else "full")
            self.auth = (key.key_id, secret)
        self.browser = self.signed_in() if role != SENDER else app.test_client()

    def queued_report(self) -> str:
        with self.app.app_context():
            owner = find_user("admin@example.com")
            assert owner is not None
            scope = scope_of(owner, owner.home_company_id)
            assert scope is not None
            return service.start_report(scope, REPORT["kind"], REPORT["params"]).report.id

    def signed_in(self) -> FlaskClient:
        client = self.app.test_client()
        answer = client.post("/login", data={"email": self.email, "password": PASSWORD})
        assert answer.status_code == 303
        return client

    def is_let_in(self, path: str, method: str) -> bool:
        if "{report}" in path:
            path = path.replace("{report}", self.queued_report())
        body = {"json": BODIES.get(path, {})} if method not in {"GET", "DELETE"} else {}
        if path.startswith("/api/"):
            answer = self.app.test_client().open(path, method=method, auth=self.auth, **body)
            return answer.status_code not in {401, 403}
        if self.role in {ANYBODY, SENDER}:
            answer = self.app.test_client().open(path, method=method)
        else:
            answer = self.browser.open(path, method=method)
            if "logout" in path or "sign-out" in path:
                self.browser = self.signed_in()
        to_login = answer.status_code in {302, 303} and "/login" in answer.headers["Location"]
        ends_there = path in {"/logout", "/account/sign-out-everywhere"} and self.role != ANYBODY
        # The dashboard does not tell others than operators that it is there.
        closed = {401, 403, 404} if path == DASHBOARD else {401, 403}
        return answer.status_code not in closed and (not to_login or ends_there)


def who_is_let_in(callers: dict[str, Caller], path: str, method: str) -> str:
    """Return the least role that is let in, after checking that each one above it is, too.

    A report is a new one of their company each time; other things are looked for in vain.
    """
    if "/reports/" in path and "inventory" not in path:
        path = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", lambda _: "{report}", path)
    if callers[ANYBODY].is_let_in(path, method):
        return ANYBODY
    let_in = [role for role in ROLES if callers[role].is_let_in(path, method)]
    if not let_in:
        return HOLDER
    least = let_in[0]
    assert let_in == list(ROLES[ROLES.index(least) :]), (path, method, let_in)
    takes_data = path.startswith("/api/") and callers[SENDER].is_let_in(path, method)
    return f"{least}, {SENDER}" if takes_data else least


def table(app: Flask) -> str:
    """Return who is let in at every address, as Markdown."""
    callers = {role: Caller(app, role) for role in (ANYBODY, SENDER, *ROLES)}
    found: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for rule, method, path in routes(app):
        if not rule.endpoint.startswith("rq_dashboard"):
            found[rule.rule][who_is_let_in(callers, path, method)].append(method)
    # The dashboard's own addresses have one guard for all of them.
    found["/ops/rq/…"][who_is_let_in(callers, DASHBOARD, "GET")].append("all")
    lines = ["| address | who | methods |\n", "| --- | --- | --- |\n"]
    for rule in sorted(found):
        for who, methods in sorted(found[rule].items()):
            # A pipe would end the cell, and an angle bracket begin a tag.
            lines.append(f"| `{rule.replace('|', '/')}` | {who} | {', '.join(sorted(methods))} |\n")
    return "".join(lines)


@pytest.mark.once
def test_who_is_let_in_is_what_the_page_says(app: Flask) -> None:
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    written, _, after = rest.partition(END)
    now = table(app)
    if os.environ.get("AUTHORIZATION") == "write":
        PAGE.write_text(f"{before}{BEGIN}{now}{END}{after}", "utf-8")
        return
    assert written == now
