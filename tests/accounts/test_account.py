"""The own account: password, all sessions, the company worked in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from accounts_helpers import PASSWORD, Browser, email_of
from flask import Flask

SignedIn = Callable[[str], Browser]
NEW = "another long password"


def change(present: str = PASSWORD, new: str = NEW, again: str | None = None) -> dict[str, str]:
    return {
        "password": present,
        "new_password": new,
        "new_password_again": new if again is None else again,
    }


def test_a_changed_password_is_the_one_that_counts(app: Flask, signed_in: SignedIn) -> None:
    browser = signed_in("viewer")
    assert browser.post("/account/password", change()).status_code == 303
    assert "Your password is changed" in browser.get("/account").text
    assert Browser(app).sign_in(email_of("viewer")).status_code == 422
    assert Browser(app).sign_in(email_of("viewer"), NEW).status_code == 303


def test_a_changed_password_ends_the_other_sessions(signed_in: SignedIn) -> None:
    here, there = signed_in("viewer"), signed_in("viewer")
    here.post("/account/password", change())
    assert here.get("/account").status_code == 200
    assert there.get("/account").status_code == 303


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        (change(present="wrong password"), "not your present password"),
        (change(new="short"), "at least 10 characters"),
        (change(new="x" * 600), "at most 512 characters"),
        (change(again="something else"), "two new passwords differ"),
    ],
)
def test_a_bad_change_says_why_and_changes_nothing(
    app: Flask, signed_in: SignedIn, form: dict[str, str], sentence: str
) -> None:
    answer = signed_in("viewer").post("/account/password", form)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert Browser(app).sign_in(email_of("viewer")).status_code == 303


def test_guessing_the_present_password_is_limited(signed_in: SignedIn) -> None:
    browser = signed_in("viewer")
    for _ in range(10):
        assert browser.post("/account/password", change(present="wrong")).status_code == 422
    answer = browser.post("/account/password", change())
    assert answer.status_code == 429
    assert "Retry-After" in answer.headers


def test_signing_out_everywhere_ends_this_session_too(signed_in: SignedIn) -> None:
    here, there = signed_in("viewer"), signed_in("viewer")
    answer = here.post("/account/sign-out-everywhere")
    assert answer.location == "/login"
    assert "signed out everywhere" in here.get("/login").text
    assert here.get("/account").status_code == 303
    assert there.get("/account").status_code == 303


def test_the_header_offers_only_ones_own_companies(
    signed_in: SignedIn, give: Callable[..., None]
) -> None:
    assert "Other" not in signed_in("expert").get("/account").text
    give("expert", "Other", "viewer")
    page = signed_in("expert").get("/account").text
    assert 'action="/company"' in page
    assert ">Other</option>" in page


def test_switching_moves_this_browser_and_no_other(
    signed_in: SignedIn, give: Callable[..., None], company_id: Callable[[str], str]
) -> None:
    give("expert", "Other", "viewer")
    here, there = signed_in("expert"), signed_in("expert")
    answer = here.post("/company", {"company_id": company_id("Other")})
    assert answer.status_code == 303
    assert "<dd>Other</dd>" in here.get("/account").text
    assert "<dd>Acme</dd>" in there.get("/account").text
    assert "<dd>Other</dd>" in signed_in("expert").get("/account").text


def test_nobody_switches_to_a_company_without_a_role_there(
    signed_in: SignedIn, company_id: Callable[[str], str]
) -> None:
    browser = signed_in("expert")
    assert browser.post("/company", {"company_id": company_id("Other")}).status_code == 404
    assert browser.post("/company", {"company_id": "nonsense"}).status_code == 404
    assert "<dd>Acme</dd>" in browser.get("/account").text


def test_a_browser_whose_access_was_withdrawn_goes_on_at_home(
    app: Flask,
    signed_in: SignedIn,
    give: Callable[..., None],
    company_id: Callable[[str], str],
    program: Callable[..., object],
) -> None:
    give("expert", "Other", "expert")
    browser = signed_in("expert")
    browser.post("/company", {"company_id": company_id("Other")})
    user_id = program("expert").user_id  # type: ignore[attr-defined]
    assert signed_in("stranger").post(f"/members/{user_id}/remove").status_code == 303
    assert "<dd>Acme</dd>" in browser.get("/account").text
