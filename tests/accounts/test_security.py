"""Headers of every answer, sealing, and that no secret ends where it could be read."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from accounts_helpers import SECRET_KEY, Browser, Program, email_of
from flask import Flask

from webapp.security import SealBroken, fingerprint, seal, unseal

pytestmark = pytest.mark.once

SignedIn = Callable[[str], Browser]
CANARY = "canary-7f3a-password-or-secret"


def test_every_answer_tells_the_browser_to_be_careful(app: Flask) -> None:
    client = app.test_client()
    for path in ("/login", "/nowhere", "/api/accounts/v1/users", "/static/css/base.css"):
        with client.get(path) as answer:
            headers = answer.headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "Permissions-Policy" in headers
        assert "Strict-Transport-Security" not in headers


def test_only_the_dashboard_has_a_looser_policy(app: Flask) -> None:
    client = app.test_client()
    for path, loose in (("/ops/rq", True), ("/ops/rq/x", True), ("/ops/rqx", False)):
        policy = client.get(path).headers["Content-Security-Policy"]
        assert ("'unsafe-eval'" in policy) is loose
        assert "frame-ancestors 'none'" in policy


def test_https_is_remembered_where_cookies_are_secure(make_app: Callable[..., Flask]) -> None:
    headers = make_app(COOKIE_SECURE=True).test_client().get("/login").headers
    assert "max-age" in headers["Strict-Transport-Security"]


def test_pages_of_the_signed_in_are_not_kept_by_caches(signed_in: SignedIn) -> None:
    browser = signed_in("admin")
    for path in ("/account", "/keys", "/members", "/audit"):
        assert browser.get(path).headers["Cache-Control"] == "no-store"


def test_what_was_sealed_is_read_back_and_never_the_same_twice(app: Flask) -> None:
    with app.app_context():
        first, second = seal("secret é"), seal("secret é")
        assert first != second
        assert "secret" not in first
        assert unseal(first) == unseal(second) == "secret é"


@pytest.mark.parametrize("damage", [lambda t: t[:-6] + "AAAAAA", lambda t: "", lambda t: "é" + t])
def test_a_damaged_seal_is_said_in_a_sentence(app: Flask, damage: Callable[[str], str]) -> None:
    with app.app_context(), pytest.raises(SealBroken, match="Enter them again") as caught:
        unseal(damage(seal("secret")))
    assert caught.value.__cause__ is None


def test_the_previous_key_still_opens_what_it_sealed(make_app: Callable[..., Flask]) -> None:
    with make_app().app_context():
        token = seal("secret")
    new_key = "the key that comes after, 0123456789"
    with make_app(SECRET_KEY=new_key, SECRET_KEY_PREVIOUS=SECRET_KEY).app_context():
        assert unseal(token) == "secret"
        fresh = seal("secret")
    with make_app(SECRET_KEY=new_key, SECRET_KEY_PREVIOUS="").app_context():
        assert unseal(fresh) == "secret"
        with pytest.raises(SealBroken):
            unseal(token)


def test_a_fingerprint_depends_on_the_text_and_the_key(make_app: Callable[..., Flask]) -> None:
    with make_app().app_context():
        first = fingerprint("text")
        assert first == fingerprint("text") != fingerprint("Text")
        assert len(first) == 64
    with make_app(SECRET_KEY="another key, thirty-two characters").app_context():
        assert fingerprint("text") != first


def test_a_session_survives_a_change_of_the_secret_key(
    signed_in: SignedIn, make_app: Callable[..., Flask]
) -> None:
    cookie = signed_in("viewer").client.get_cookie("session")
    assert cookie is not None
    new_key = "the key that comes after, 0123456789"
    for previous, status in ((SECRET_KEY, 200), ("", 303)):
        client = make_app(SECRET_KEY=new_key, SECRET_KEY_PREVIOUS=previous).test_client()
        client.set_cookie("session", cookie.value)
        assert client.get("/account").status_code == status


def test_no_secret_is_left_where_it_could_be_read(
    app: Flask, program: Callable[..., Program], tmp_path: Path
) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    pages: list[str] = []
    try:
        browser = Browser(app)
        pages.append(browser.sign_in(email_of("viewer"), CANARY).text)
        browser.sign_in(email_of("viewer"))
        form = {"password": CANARY, "new_password": CANARY, "new_password_again": "x"}
        pages.append(browser.post("/account/password", form).text)
        caller = program("expert")
        secret, tokens = caller.secret, caller.log_in()
        body = {"apiKey": caller.key_id, "secret": CANARY}
        pages.append(caller.client.post("/api/keys/v1/api/auth", json=body).text)
        login = {"username": CANARY, "password": CANARY}
        pages.append(caller.client.post("/api/auth/token", data=login).text)
        pages.append(caller.client.get("/api/accounts/v1/users", auth=(CANARY, CANARY)).text)
        pages.append(caller.get("/api/accounts/v1/users", CANARY).text)
    finally:
        logging.getLogger().removeHandler(handler)
        logging.getLogger().setLevel(logging.WARNING)
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for hidden in (CANARY, secret, tokens["refreshToken"], tokens["accessToken"]):
        assert hidden not in written.getvalue()
        assert hidden.encode() not in files
        assert not any(hidden in page for page in pages)
