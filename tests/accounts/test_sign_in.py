"""Signing in and out with a browser: words, limits, where it leads, what the cookie is worth."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from accounts_helpers import PASSWORD, Browser, Program, email_of
from flask import Flask
from flask_login import current_user
from sqlalchemy import select, update

from webapp.accounts import AuditEntry, create_key, create_user, find_user
from webapp.accounts.models import LoginSession, Membership, User
from webapp.accounts.passwords import password_matches
from webapp.extensions import db
from webapp.lib.moments import utcnow
from webapp.lib.texts import local_path

SignedIn = Callable[[str], Browser]


def test_the_right_password_opens_the_site(browser: Browser) -> None:
    answer = browser.sign_in(email_of("viewer"))
    assert answer.status_code == 303
    assert answer.location == "/"
    assert browser.get("/account").status_code == 200


def test_the_email_may_be_typed_in_any_case(browser: Browser) -> None:
    assert browser.sign_in(f" {email_of('viewer').upper()} ").status_code == 303


def test_a_visitor_is_led_to_the_sign_in_page_and_back(browser: Browser) -> None:
    answer = browser.get("/audit?before=7")
    assert answer.status_code == 303
    assert answer.location == "/login?next=/audit?before%3D7"
    page = browser.get(answer.location)
    assert 'name="next" value="/audit?before=7"' in page.text
    assert browser.sign_in(email_of("admin"), next="/audit?before=7").location == "/audit?before=7"


def test_a_lost_sign_in_is_a_client_redirect_to_the_page_one_was_on(browser: Browser) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://localhost/keys?x=1"}
    answer = browser.get("/account", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["HX-Redirect"] == "/login?next=/keys?x%3D1"
    assert "HX-Request" in answer.headers["Vary"]


def test_wrong_password_and_unknown_email_look_the_same(browser: Browser) -> None:
    pages = []
    for email in (email_of("viewer"), "nobody@acme.example.com"):
        answer = browser.sign_in(email, "wrong password")
        assert answer.status_code == 422
        assert f'value="{email}"' in answer.text
        assert "wrong password" not in answer.text.replace("Email or password is wrong", "")
        token = answer.text.split('name="csrf_token" value="')[1].split('"')[0]
        pages.append(answer.text.replace(email, "").replace(token, ""))
    assert pages[0] == pages[1]


def test_an_unknown_user_costs_as_much_work_as_a_known_one(app: Flask) -> None:
    with app.app_context():
        user = find_user(email_of("viewer"))
        assert user is not None
        stored = user.password_hash
    password_matches(None, "warm up")

    def seconds(known: str | None) -> float:
        # Of this thread's own work: how busy the machine is says nothing.
        began = time.thread_time()
        password_matches(known, "wrong password")
        return time.thread_time() - began

    known = min(seconds(stored) for _ in range(5))
    unknown = min(seconds(None) for _ in range(5))
    assert unknown > known / 3


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "evil.example",
        "http:evil.example",
        "",
    ],
)
def test_signing_in_never_leads_off_the_site(browser: Browser, target: str) -> None:
    assert local_path(target) == "/"
    assert browser.sign_in(email_of("viewer"), next=target).location == "/"
    again = browser.get("/login", query_string={"next": target})
    assert again.location == "/"


def test_a_form_without_its_token_is_refused(app: Flask) -> None:
    form = {"email": email_of("viewer"), "password": PASSWORD}
    assert app.test_client().post("/login", data=form).status_code == 400


def test_a_form_token_of_another_session_is_refused(app: Flask, signed_in: SignedIn) -> None:
    foreign = Browser(app).form_token()
    browser = signed_in("viewer")
    assert browser.client.post("/logout", data={"csrf_token": foreign}).status_code == 400
    assert browser.client.post("/logout", headers={"X-CSRFToken": foreign}).status_code == 400
    headers = {"X-CSRFToken": browser.form_token()}
    assert browser.client.post("/logout", headers=headers).status_code == 303


def cookie_of(browser: Browser) -> str:
    cookie = browser.client.get_cookie("session")
    assert cookie is not None
    return cookie.value


def test_nothing_of_the_session_before_is_taken_over_at_sign_in(browser: Browser) -> None:
    with browser.client.session_transaction() as session:
        session["planted"] = "by an attacker"
        session["sid"] = "11111111-1111-4111-8111-111111111111"
    token_before, before = browser.form_token(), cookie_of(browser)
    browser.sign_in(email_of("viewer"))
    assert cookie_of(browser) != before
    with browser.client.session_transaction() as session:
        assert "planted" not in session
        assert session["sid"] != "11111111-1111-4111-8111-111111111111"
    assert browser.client.post("/logout", data={"csrf_token": token_before}).status_code == 400


def test_a_copied_cookie_is_worthless_after_signing_out(app: Flask, signed_in: SignedIn) -> None:
    browser = signed_in("viewer")
    copy = cookie_of(browser)
    assert browser.post("/logout").location == "/login"
    thief = app.test_client()
    thief.set_cookie("session", copy)
    assert thief.get("/account").status_code == 303


def test_an_altered_cookie_opens_nothing(app: Flask, signed_in: SignedIn) -> None:
    copy = cookie_of(signed_in("viewer"))
    thief = app.test_client()
    thief.set_cookie("session", copy[:-3] + "abc")
    assert thief.get("/account").status_code == 303


def test_the_cookie_is_kept_from_scripts_and_other_sites(
    app: Flask, make_app: Callable[..., Flask]
) -> None:
    browser = Browser(app)
    cookie = browser.sign_in(email_of("viewer")).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert make_app(COOKIE_SECURE=True).config["SESSION_COOKIE_SECURE"] is True


def test_signing_out_needs_a_form(signed_in: SignedIn) -> None:
    browser = signed_in("viewer")
    assert browser.get("/logout").status_code == 405
    assert browser.get("/account").status_code == 200


def test_the_eleventh_try_in_a_minute_is_refused_even_if_right(browser: Browser) -> None:
    for _ in range(10):
        assert browser.sign_in(email_of("viewer"), "wrong password").status_code == 422
    answer = browser.sign_in(email_of("viewer"))
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 61
    assert "Too many tries" in answer.text
    assert browser.sign_in(email_of("expert")).status_code == 303


def test_another_address_may_still_sign_in(browser: Browser) -> None:
    for _ in range(11):
        browser.sign_in(email_of("viewer"), "wrong password")
    form = {"email": email_of("viewer"), "password": PASSWORD, "csrf_token": browser.form_token()}
    elsewhere = {"REMOTE_ADDR": "198.51.100.7"}
    answer = browser.client.post("/login", data=form, environ_base=elsewhere)
    assert answer.status_code == 303


def test_a_right_password_clears_the_tries(app: Flask) -> None:
    for _ in range(3):
        browser = Browser(app)
        for _ in range(5):
            browser.sign_in(email_of("viewer"), "wrong password")
        assert browser.sign_in(email_of("viewer")).status_code == 303


def test_tries_at_one_account_from_many_addresses_are_limited(
    make_app: Callable[..., Flask],
) -> None:
    client = make_app(SIGN_IN_TRIES="1 per minute").test_client()
    statuses = []
    for number in range(12):
        form = {"username": "target@acme.example.com", "password": "wrong password"}
        address = {"REMOTE_ADDR": f"198.51.100.{number}"}
        statuses.append(client.post("/api/auth/token", data=form, environ_base=address).status_code)
    assert statuses == [401] * 10 + [429] * 2


def test_tries_at_many_accounts_from_one_address_are_limited(
    make_app: Callable[..., Flask],
) -> None:
    client = make_app(SIGN_IN_TRIES="1 per minute").test_client()
    statuses = []
    for number in range(32):
        form = {"username": f"user{number}@acme.example.com", "password": "wrong password"}
        statuses.append(client.post("/api/auth/token", data=form).status_code)
    assert statuses == [401] * 30 + [429] * 2


def test_wrong_keys_are_limited_and_the_right_one_never(
    app: Flask, program: Callable[..., Program]
) -> None:
    caller = program("expert")
    body = {"apiKey": caller.key_id, "secret": "wrong"}
    answers = [caller.client.post("/api/keys/v1/api/auth", json=body) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert answers[-1].headers["RateLimit-Policy"] == '"tries";q=10;w=60'
    assert answers[-1].headers["RateLimit"].startswith('"tries";r=0;t=')
    basic = caller.client.get("/api/accounts/v1/users", auth=(caller.key_id, "wrong"))
    assert basic.status_code == 429
    assert caller.log_in()


def test_ever_new_keys_from_one_address_are_limited_too(
    make_app: Callable[..., Flask],
) -> None:
    app = make_app(SIGN_IN_TRIES="1 per minute")
    with app.app_context():
        user = create_user("ours@acme.example.com", "Acme", "viewer", PASSWORD)
        key, secret = create_key(user, "tests")
        right = (key.key_id, secret)
    client = app.test_client()
    statuses = [
        client.get("/api/v1/reports", auth=(f"purk_{number}", "wrong")).status_code
        for number in range(20)
    ]
    for number in range(20, 32):
        body = {"apiKey": f"purk_{number}", "secret": "wrong"}
        statuses.append(client.post("/api/keys/v1/api/auth", json=body).status_code)
    assert statuses == [401] * 30 + [429] * 2
    assert client.get("/api/v1/reports", auth=right).status_code == 200
    form = {"username": "ours@acme.example.com", "password": PASSWORD}
    assert client.post("/api/auth/token", data=form).status_code == 200
    elsewhere = {"REMOTE_ADDR": "198.51.100.1"}
    answer = client.get("/api/v1/reports", auth=("purk_x", "wrong"), environ_base=elsewhere)
    assert answer.status_code == 401


def test_tries_are_counted_while_redis_is_away(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    app = make_app(TRIES_STORAGE_URI=f"redis+unix://{tmp_path}/no.sock")
    with app.app_context():
        create_user("redis-away@acme.example.com", "Acme", "viewer", PASSWORD)
    browser = Browser(app)
    statuses = [
        browser.sign_in("redis-away@acme.example.com", "wrong").status_code for _ in range(11)
    ]
    assert statuses == [422] * 10 + [429]


def test_a_user_who_may_not_sign_in_gets_the_usual_words(app: Flask, browser: Browser) -> None:
    with app.app_context():
        db.session.execute(
            update(User).where(User.email == email_of("viewer")).values(status="NO_ACCESS")
        )
        db.session.commit()
    answer = browser.sign_in(email_of("viewer"))
    assert answer.status_code == 422
    assert "Email or password is wrong" in answer.text


def test_blocking_a_user_ends_the_session_at_once(app: Flask, signed_in: SignedIn) -> None:
    browser = signed_in("viewer")
    with app.app_context():
        db.session.execute(
            update(User).where(User.email == email_of("viewer")).values(status="NO_ACCESS")
        )
        db.session.commit()
    assert browser.get("/account").status_code == 303


def test_a_user_without_a_company_is_told_so(app: Flask, browser: Browser) -> None:
    with app.app_context():
        user = find_user(email_of("viewer"))
        assert user is not None
        db.session.delete(db.session.get(Membership, (user.id, user.home_company_id)))
        db.session.commit()
    assert browser.sign_in(email_of("viewer")).location == "/"
    for path in ("/", "/account", "/keys", "/members"):
        assert browser.get(path).location.startswith("/login"), path
    assert browser.get("/login").location == "/invitations"
    page = browser.get("/invitations").text
    assert "no company at the moment" in page
    assert f"There is no invitation for {email_of('viewer')}" in page
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token is not None
    form = {"csrf_token": token[1]}
    assert browser.client.post("/logout", data=form).location == "/login"
    assert browser.get("/invitations").location.startswith("/login")


def test_a_session_left_alone_for_a_month_is_over(app: Flask, signed_in: SignedIn) -> None:
    browser = signed_in("viewer")
    with app.app_context():
        db.session.execute(update(LoginSession).values(seen_at=utcnow().replace(year=2020)))
        db.session.commit()
    assert browser.get("/account").status_code == 303


def test_failed_and_good_sign_ins_are_written_down(app: Flask, browser: Browser) -> None:
    browser.sign_in(email_of("viewer"), "wrong password")
    browser.sign_in(email_of("viewer"))
    browser.post("/logout")
    with app.app_context():
        entries = db.session.scalars(select(AuditEntry).order_by(AuditEntry.id))
        rows = [entry.action for entry in entries if entry.address == "127.0.0.1"]
    assert rows == ["sign-in failed", "signed in", "signed out"]


@pytest.mark.parametrize("email", ["\x00@acme.example.com", "a" * 5000, "ä@é.example.com", ""])
def test_no_text_breaks_the_sign_in_page(browser: Browser, email: str) -> None:
    assert browser.sign_in(email).status_code == 422


def test_the_cookie_is_sent_again_only_now_and_then(app: Flask, signed_in: SignedIn) -> None:
    browser = signed_in("viewer")
    browser.get("/account")
    for path in ("/account", "/static/css/base.css"):
        with browser.get(path) as answer:
            assert "Set-Cookie" not in answer.headers
    with app.app_context():
        db.session.execute(update(LoginSession).values(seen_at=utcnow() - timedelta(hours=2)))
        db.session.commit()
    assert "Expires=" in browser.get("/account").headers["Set-Cookie"]


def test_flask_login_knows_the_user(app: Flask, signed_in: SignedIn) -> None:
    browser = signed_in("viewer")
    with browser.client:
        browser.get("/account")
        assert current_user.email == email_of("viewer")
