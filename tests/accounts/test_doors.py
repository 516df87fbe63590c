"""What another site, a crowd or a machine without manners could do, and does not get to do."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from accounts_helpers import PASSWORD, Browser, Program, bearer, email_of
from flask import Flask

from webapp.accounts import limits, passwords
from webapp.accounts.passwords import HASHES_AT_ONCE, password_matches, password_problem

SignedIn = Callable[[str], Browser]
MakeProgram = Callable[..., Program]
USERS = "/api/accounts/v1/users"
REPORTS = "/api/v1/reports"
FORM = "application/x-www-form-urlencoded"


# Basic credentials a browser remembers


@pytest.mark.parametrize("kind", [FORM, "multipart/form-data", "text/plain"])
def test_no_form_is_taken_with_basic(program: MakeProgram, kind: str) -> None:
    caller = program("expert")
    for path in (REPORTS, "/api/session-manager/session", "/api/v1/streams", "/api/v1/projects"):
        answer = caller.client.post(path, data=b'{"a": 1}', content_type=kind, **caller.basic)
        assert answer.status_code == 415, path


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_nothing_another_site_sends_is_taken_with_basic(
    program: MakeProgram, headers: dict[str, str]
) -> None:
    caller = program("expert")
    for sent in ({"json": {"kind": "nothing"}}, {}):
        answer = caller.client.post(REPORTS, headers=headers, **sent, **caller.basic)
        assert answer.status_code == 403
    assert caller.client.get(USERS, headers=headers, **caller.basic).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "none"}]
)
def test_programs_go_on_as_they_did(program: MakeProgram, headers: dict[str, str]) -> None:
    caller = program("expert")
    answer = caller.client.post(REPORTS, json={}, headers=headers, **caller.basic)
    assert answer.status_code == 422
    token = caller.log_in()["accessToken"]
    form = {"username": email_of("expert"), "password": PASSWORD}
    assert caller.client.post("/api/auth/token", data=form, **caller.basic).status_code == 200
    answer = caller.client.post(REPORTS, data={"kind": "x"}, headers=bearer(token) | headers)
    assert answer.status_code == 415  # this address wants JSON, whoever asks


@pytest.mark.parametrize(
    "headers", [{"Accept": "text/html,*/*;q=0.8"}, {"Sec-Fetch-Mode": "navigate"}]
)
def test_a_browser_is_never_asked_for_basic(app: Flask, headers: dict[str, str]) -> None:
    answer = app.test_client().get(USERS, headers=headers)
    assert answer.status_code == 401
    assert all("Basic" not in one for one in answer.headers.getlist("WWW-Authenticate"))
    plain = app.test_client().get(USERS)
    assert any("Basic" in one for one in plain.headers.getlist("WWW-Authenticate"))


def test_a_bad_key_on_a_page_is_said_to_be_bad(app: Flask) -> None:
    client = app.test_client()
    statuses = [client.get("/account", auth=("purk_x", "wrong")).status_code for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    refused = client.get("/account", auth=("purk_x", "wrong"))
    assert "Too many tries" in refused.text
    assert client.get("/account", headers=bearer("a.b.c")).status_code == 401
    assert client.get("/account").location.startswith("/login")


def test_what_escapes_is_logged_without_its_address(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(PROPAGATE_EXCEPTIONS=False)

    @app.after_request
    def break_it(_response: Any) -> Any:
        raise RuntimeError("with words of its own")

    with caplog.at_level(logging.DEBUG):
        answer = app.test_client().get("/invite/the-secret-of-a-link")
    assert answer.status_code == 500
    assert "RuntimeError" in caplog.text
    assert "the-secret-of-a-link" not in caplog.text


# Names of this site


def test_a_foreign_host_is_refused(make_app: Callable[..., Flask]) -> None:
    client = make_app().test_client()
    for host, status in (("localhost", 200), ("127.0.0.1:8000", 200), ("[::1]:5000", 200)):
        assert client.get("/login", headers={"Host": host}).status_code == status
    for path in ("/login", "/forgot", "/api/openapi.json"):
        assert client.get(path, headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/healthz", headers={"Host": "10.0.0.7:5000"}).status_code == 200


def test_names_of_the_site_are_a_setting(make_app: Callable[..., Flask]) -> None:
    client = make_app(ALLOWED_HOSTS="reports.example.com, .internal.example").test_client()
    for host in ("reports.example.com", "REPORTS.example.com:443", "a.internal.example"):
        assert client.get("/login", headers={"Host": host}).status_code == 200, host
    for host in ("localhost", "example.com", "reports.example.com.evil.example"):
        assert client.get("/login", headers={"Host": host}).status_code == 400, host


def test_behind_a_proxy_the_name_is_the_one_it_was_asked_for(
    make_app: Callable[..., Flask],
) -> None:
    client = make_app(BEHIND_PROXIES=1, ALLOWED_HOSTS="reports.example.com").test_client()
    for name, status in (("reports.example.com", 200), ("evil.example", 400), ("127.0.0.1", 400)):
        headers = {"Host": "127.0.0.1:8000", "X-Forwarded-Host": name}
        assert client.get("/login", headers=headers).status_code == status, name


# Crowds


def test_no_more_than_four_passwords_are_hashed_at_a_time(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing, most, lock = 0, 0, threading.Lock()
    four = threading.Barrier(HASHES_AT_ONCE, timeout=60)
    password_matches(None, "warm up")

    class Slow:
        """Stands in for the hasher: it ends when four are at it, and counts how many are."""

        def verify(self, _stored: str, _password: bytes) -> None:
            nonlocal hashing, most
            with lock:
                hashing += 1
                most = max(most, hashing)
            four.wait()
            with lock:
                hashing -= 1

    stored = passwords.hash_password(PASSWORD)
    monkeypatch.setattr(passwords, "_hasher", Slow())
    right: list[bool] = []
    threads = [
        threading.Thread(target=lambda: right.append(password_matches(stored, PASSWORD)))
        for _ in range(3 * HASHES_AT_ONCE)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert right == [True] * 12
    assert most == HASHES_AT_ONCE


def test_forms_of_strangers_are_small(app: Flask, signed_in: SignedIn) -> None:
    visitor, browser = Browser(app), signed_in("admin")
    for path in ("/login", "/forgot"):
        form = {"email": "x" * 70_000}
        assert visitor.post(path, form).status_code == 413, path
        assert visitor.post(path, {"email": "x" * 60_000}).status_code != 413, path
    upload = {"csrf_token": visitor.form_token(), "file": (io.BytesIO(b"x" * 70_000), "a.csv")}
    assert visitor.client.post("/login", data=upload).status_code == 413
    form = {"username": "x" * 70_000, "password": "x"}
    assert app.test_client().post("/api/auth/token", data=form).status_code == 413
    assert browser.post("/members/invite", {"email": "x" * 70_000}).status_code == 422


def test_addresses_of_one_customer_are_one(make_app: Callable[..., Flask]) -> None:
    client = make_app(SIGN_IN_TRIES="2 per minute").test_client()
    form = {"username": "target@acme.example.com", "password": "wrong password"}

    def status(address: str) -> int:
        where = {"REMOTE_ADDR": address}
        return client.post("/api/auth/token", data=form, environ_base=where).status_code

    near = [status(f"2001:db8:1:2::{number:x}") for number in range(1, 4)]
    assert near == [401, 401, 429]
    assert status("2001:db8:1:3::1") == 401
    assert [status("::ffff:198.51.100.7") for _ in range(2)] == [401, 401]
    assert status("198.51.100.7") == 429


def test_who_signed_in_here_before_is_not_locked_out_by_others(
    app: Flask, signed_in: SignedIn
) -> None:
    app.config["SIGN_IN_TRIES"] = "1 per minute"
    known = signed_in("viewer")
    known.post("/logout")
    for number in range(12):
        where = {"REMOTE_ADDR": f"198.51.100.{number}"}
        form = {"username": email_of("viewer"), "password": "wrong password"}
        app.test_client().post("/api/auth/token", data=form, environ_base=where)
    stranger = Browser(app)
    assert stranger.sign_in(email_of("viewer")).status_code == 429
    assert known.sign_in(email_of("viewer")).status_code == 303
    # It is known for that account alone, and what it tries is counted all the same.
    known.post("/logout")
    assert known.sign_in(email_of("expert"), "wrong password").status_code == 422
    assert known.sign_in(email_of("viewer"), "wrong password").status_code == 422
    assert known.sign_in(email_of("viewer")).status_code == 429


def test_a_made_up_device_is_no_known_one(app: Flask, signed_in: SignedIn) -> None:
    cookie = signed_in("viewer").client.get_cookie(limits.DEVICE_COOKIE, path="/login")
    assert cookie is not None
    assert cookie.http_only
    assert cookie.same_site == "Lax"
    app.config["SIGN_IN_TRIES"] = "1 per minute"
    visitor = Browser(app)
    visitor.client.set_cookie(limits.DEVICE_COOKIE, cookie.value[:-2] + "xx", path="/login")
    assert visitor.sign_in(email_of("viewer"), "wrong password").status_code == 422
    assert visitor.sign_in(email_of("viewer")).status_code == 429


# Passwords


@pytest.mark.parametrize(
    "password",
    [
        "password123",
        "1234567890",
        "qwertyuiop12",
        "iloveyou1234",
        "aaaaaaaaaaaa",
        email_of("viewer"),
    ],
)
def test_what_is_guessed_first_is_refused(password: str) -> None:
    problem = password_problem(password, email_of("viewer"))
    assert problem is not None
    assert "first to be guessed" in problem


@pytest.mark.parametrize("password", [PASSWORD, "Tr0ub4dor&3x", "zwölf Boxkämpfer jagen"])
def test_what_is_not_is_taken(password: str) -> None:
    assert password_problem(password, email_of("viewer")) is None
