"""The second factor: set up, asked for, lost; what a company asks of its people."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pyotp
import pytest
from accounts_helpers import PASSWORD, Browser, Program, email_of
from flask import Flask
from sqlalchemy import select, update

from webapp.accounts import AuditEntry, find_user
from webapp.accounts.models import SecondFactor
from webapp.extensions import db
from webapp.security import unseal

SignedIn = Callable[[str], Browser]
PAGE = "/account/second-factor"
CODES = f"{PAGE}/recovery-codes"
TOKENS = "/api/auth/token"


def code_of(secret: str, ahead: int = 0) -> str:
    return pyotp.TOTP(secret).at(int(time.time()) + 30 * ahead)


def set_up(browser: Browser) -> tuple[str, list[str]]:
    """Turn the second factor on; return the app's secret and the recovery codes."""
    found = re.search(r'id="totp-secret">([A-Z2-7]+)<', browser.get(PAGE).text)
    assert found
    answer, begun = None, 0
    # Once more where the half minute ended between the code and the look at it.
    while answer is None or (answer.status_code == 422 and begun != int(time.time()) // 30):
        begun = int(time.time()) // 30
        answer = browser.post(PAGE, {"code": code_of(found[1], -1)})
    assert answer.status_code == 201
    return found[1], re.findall(r"<li><code>([a-z2-9-]{19})</code>", answer.text)


def sign_in(app: Flask, who: str, code: str) -> tuple[Browser, int]:
    browser = Browser(app)
    assert browser.sign_in(email_of(who), next="/keys").location == "/login/code?next=/keys"
    return browser, browser.post("/login/code", {"code": code, "next": "/keys"}).status_code


def is_in(browser: Browser) -> bool:
    return browser.get("/account").status_code == 200


def actions(app: Flask) -> list[str]:
    with app.app_context():
        return list(db.session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))


def test_it_is_turned_on_by_a_code_of_the_secret_that_was_shown(
    app: Flask, signed_in: SignedIn
) -> None:
    browser, elsewhere = signed_in("viewer"), signed_in("viewer")
    page = browser.get(PAGE).text
    assert 'src="data:image/svg+xml' in page
    assert browser.post(PAGE, {"code": "000000"}).status_code == 422
    secret, codes = set_up(browser)
    assert secret in page, "a mistyped code does not change the secret the app has read"
    assert len(set(codes)) == 10
    assert is_in(browser)
    assert not is_in(elsewhere)
    later = browser.get(PAGE).text
    assert "10 recovery codes are left" in later
    assert not any(text in later for text in (secret, *codes))
    assert "second factor on" in actions(app)


def test_the_secret_is_sealed_and_recovery_codes_are_hashed(
    app: Flask, signed_in: SignedIn
) -> None:
    secret, codes = set_up(signed_in("viewer"))
    with app.app_context():
        kept = db.session.scalars(select(SecondFactor)).one()
        assert unseal(kept.sealed) == secret
        user = find_user(email_of("viewer"))
        assert user is not None
        stored = " ".join([kept.sealed, *(one.code_hash for one in user.recovery_codes)])
    assert not any(
        text in stored for text in (secret, *codes, *(c.replace("-", "") for c in codes))
    )


def test_the_password_alone_opens_nothing(app: Flask, signed_in: SignedIn) -> None:
    secret, _ = set_up(signed_in("viewer"))
    browser, status = sign_in(app, "viewer", "123456")
    assert status == 422
    assert not is_in(browser)
    assert browser.get("/api/v1/reports").status_code == 401
    answer = browser.post("/login/code", {"code": code_of(secret), "next": "//evil.example"})
    assert answer.location == "/"
    assert is_in(browser)
    assert "second factor failed" in actions(app)


def test_a_code_works_once(app: Flask, signed_in: SignedIn) -> None:
    secret, _ = set_up(signed_in("viewer"))
    code = code_of(secret)
    assert sign_in(app, "viewer", f" {code[:3]} {code[3:]} ")[1] == 303
    assert sign_in(app, "viewer", code)[1] == 422
    assert sign_in(app, "viewer", code_of(secret, -1))[1] == 422, "nor does an older one after it"
    assert sign_in(app, "viewer", code_of(secret, 9))[1] == 422


def test_a_recovery_code_works_once_and_new_ones_end_the_old(
    app: Flask, signed_in: SignedIn
) -> None:
    browser = signed_in("viewer")
    secret, codes = set_up(browser)
    assert sign_in(app, "viewer", codes[0].upper())[1] == 303
    assert sign_in(app, "viewer", codes[0])[1] == 422
    assert "9 recovery codes are left" in browser.get(PAGE).text
    assert browser.post(CODES, {"code": codes[0]}).status_code == 422
    answer = browser.post(CODES, {"code": code_of(secret)})
    assert answer.status_code == 201
    assert codes[1] not in answer.text
    assert sign_in(app, "viewer", codes[1])[1] == 422


def test_recovery_codes_work_where_the_key_of_the_secret_is_lost(
    app: Flask, signed_in: SignedIn
) -> None:
    _, codes = set_up(signed_in("viewer"))
    with app.app_context():
        db.session.execute(update(SecondFactor).values(sealed="under a key that is gone"))
        db.session.commit()
    assert sign_in(app, "viewer", "123456")[1] == 422
    assert sign_in(app, "viewer", codes[0])[1] == 303


def test_codes_cannot_be_guessed_from_many_addresses(app: Flask, signed_in: SignedIn) -> None:
    secret, _ = set_up(signed_in("viewer"))
    browser = Browser(app)
    browser.sign_in(email_of("viewer"))
    form = {"csrf_token": browser.form_token(), "code": "000000"}
    statuses = [
        browser.client.post(
            "/login/code", data=form, environ_overrides={"REMOTE_ADDR": f"10.0.{place}.1"}
        ).status_code
        for place in range(21)
    ]
    assert statuses == [422] * 20 + [429]
    answer = browser.post("/login/code", {"code": code_of(secret)})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 60


def test_the_first_half_of_a_sign_in_ends_with_the_password(
    app: Flask, signed_in: SignedIn
) -> None:
    owner = signed_in("viewer")
    secret, _ = set_up(owner)
    thief = Browser(app)
    thief.sign_in(email_of("viewer"))
    new = {"new_password": "another long phrase", "new_password_again": "another long phrase"}
    assert owner.post("/account/password", {"password": PASSWORD} | new).status_code == 303
    answer = thief.post("/login/code", {"code": code_of(secret), "next": "/keys"})
    assert answer.location == "/login?next=/keys"
    assert Browser(app).get("/login/code").location.startswith("/login")


def test_it_is_turned_off_by_a_code(app: Flask, signed_in: SignedIn) -> None:
    browser = signed_in("viewer")
    secret, _ = set_up(browser)
    assert browser.post(f"{PAGE}/off", {"code": "1"}).status_code == 422
    assert browser.post(f"{PAGE}/off", {"code": code_of(secret)}).status_code == 303
    assert "Set it up" in browser.get(PAGE).text
    assert Browser(app).sign_in(email_of("viewer")).location == "/"


def test_a_password_gives_tokens_only_with_a_code(app: Flask, signed_in: SignedIn) -> None:
    secret, _ = set_up(signed_in("expert"))
    form = {"username": email_of("expert"), "password": PASSWORD}
    client = app.test_client()
    assert client.post(TOKENS, data=form).status_code == 401
    with_code = form | {"code": code_of(secret)}
    assert client.post(TOKENS, data=with_code).status_code == 200
    assert client.post(TOKENS, data=with_code).status_code == 401


def test_a_company_may_ask_its_people_for_one(
    app: Flask, signed_in: SignedIn, program: Callable[..., Program]
) -> None:
    admin, browser, caller = signed_in("admin"), signed_in("expert"), program("expert")
    form = {"username": email_of("expert"), "password": PASSWORD}
    token = app.test_client().post(TOKENS, data=form).json["access_token"]
    assert admin.post("/members/second-factor", {"needed": "true"}).location == "/"
    for asked in (admin, browser):
        assert asked.get("/").location == PAGE
        assert asked.get("/account").location == PAGE
        assert asked.get("/api/v1/reports").status_code == 403
    assert "Your company requires a second factor" in browser.get(PAGE).text
    assert caller.get("/api/v1/reports", token).status_code == 403
    assert caller.client.get("/api/v1/reports", **caller.basic).status_code == 200
    set_up(admin)
    assert browser.get("/account").location == PAGE
    set_up(browser)
    assert is_in(browser)
    assert "no second factor yet" in admin.get("/members").text
    assert admin.post("/members/second-factor", {"needed": "false"}).location == "/members"
    assert "no second factor yet" not in admin.get("/members").text


def test_who_lacks_one_may_sign_out_and_work_elsewhere(
    signed_in: SignedIn, give: Callable[..., None], company_id: Callable[[str], str]
) -> None:
    give("expert", "Other", "viewer")
    browser = signed_in("expert")
    signed_in("admin").post("/members/second-factor", {"needed": "true"})
    assert browser.get("/keys").location == PAGE
    browser.post("/company", {"company_id": company_id("Other")})
    assert is_in(browser)


@pytest.mark.parametrize("by", ["admin", "operator"])
def test_a_lost_one_is_reset(app: Flask, signed_in: SignedIn, by: str) -> None:
    browser = signed_in("viewer")
    set_up(browser)
    with app.app_context():
        user = find_user(email_of("viewer"))
        assert user is not None
        path = f"/members/{user.id}/second-factor"
    assert signed_in("stranger").post(path).status_code == 404
    assert signed_in("expert").post(path).status_code == 403
    if by == "admin":
        assert signed_in("admin").post(path).status_code == 303
    else:
        done = app.test_cli_runner().invoke(
            args=["user", "reset-second-factor", email_of("viewer")]
        )
        assert done.exit_code == 0, done.output
    assert not is_in(browser)
    assert Browser(app).sign_in(email_of("viewer")).location == "/"
    assert "second factor reset" in actions(app)


def test_an_admin_resets_nobody_who_works_elsewhere(
    app: Flask, signed_in: SignedIn, give: Callable[..., None]
) -> None:
    give("viewer", "Other", "viewer")
    set_up(signed_in("viewer"))
    with app.app_context():
        user = find_user(email_of("viewer"))
        assert user is not None
        path = f"/members/{user.id}/second-factor"
    assert signed_in("admin").post(path).status_code == 409


def test_the_first_half_of_a_sign_in_lasts_ten_minutes(app: Flask, signed_in: SignedIn) -> None:
    secret, _ = set_up(signed_in("viewer"))
    browser = Browser(app)
    browser.sign_in(email_of("viewer"))
    with browser.client.session_transaction() as session:
        user_id, epoch, at = session["second_factor_pending"]
        session["second_factor_pending"] = (user_id, epoch, at - 601)
    assert browser.get("/login/code").location == "/login?next=/"
    assert browser.post("/login/code", {"code": code_of(secret)}).location == "/login?next=/"
    assert not is_in(browser)


def test_deleting_an_account_deletes_its_second_factor(app: Flask, signed_in: SignedIn) -> None:
    set_up(signed_in("viewer"))
    done = app.test_cli_runner().invoke(args=["user", "delete", email_of("viewer"), "--yes"])
    assert done.exit_code == 0, done.output
    with app.app_context():
        assert db.session.scalars(select(SecondFactor)).all() == []
