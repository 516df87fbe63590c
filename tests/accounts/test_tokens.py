"""Token routes as programs use them, and as attackers would."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from accounts_helpers import PASSWORD, SECRET_KEY, Browser, Program, bearer, email_of
from flask import Flask
from sqlalchemy import update

from webapp.accounts.models import ApiKey, LoginSession
from webapp.accounts.sessions import find_refresh_session
from webapp.extensions import db
from webapp.lib.moments import utcnow
from webapp.security import derived_key

COMPANIES = "/api/accounts/v1/companies"
REFRESH = "/api/auth/token/refresh"
MakeProgram = Callable[..., Program]


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, token_key(SECRET_KEY), algorithms=["HS256"])


def token_key(secret_key: str) -> bytes:
    return derived_key(secret_key, "access token")


def forged(claims: dict[str, Any], key: str | bytes | None = None, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, token_key(SECRET_KEY) if key is None else key, algorithm=algorithm)


def test_a_key_login_answers_in_camel_case(program: MakeProgram) -> None:
    answer = program("expert").log_in()
    assert set(answer) == {"accessToken", "tokenType", "refreshToken", "expiresIn"}
    assert answer["tokenType"] == "Bearer"
    assert answer["expiresIn"] == 5400


def test_a_password_login_answers_in_snake_case(app: Flask) -> None:
    form = {"username": email_of("expert"), "password": PASSWORD}
    answer = app.test_client().post("/api/auth/token", data=form)
    assert answer.status_code == 200
    assert set(answer.json) == {"access_token", "token_type", "refresh_token", "expires_in"}
    assert answer.json["expires_in"] == 5400
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_token_names_user_company_and_expiry(
    program: MakeProgram, company_id: Callable[[str], str]
) -> None:
    caller = program("expert")
    claims = claims_of(caller.log_in()["accessToken"])
    assert claims["userId"] == caller.user_id
    assert claims["com"] == company_id("Acme")
    assert claims["exp"] - claims["iat"] == 90 * 60
    assert isinstance(claims["exp"], int)


def test_the_client_finds_its_user_and_both_companies(
    program: MakeProgram, company_id: Callable[[str], str]
) -> None:
    caller = program("expert")
    token = caller.log_in()["accessToken"]
    user = caller.get(f"/api/accounts/v1/users/{caller.user_id}", token).json
    assert user == {
        "id": caller.user_id,
        "companyId": company_id("Acme"),
        "firstName": None,
        "lastName": None,
        "email": email_of("expert"),
        "isAdmin": False,
        "isReadonly": False,
        "isReadonlyLimited": False,
        "isConsultant": False,
        "status": "ACTIVE",
    }
    company = caller.get(f"{COMPANIES}/{company_id('Acme')}", token).json
    assert company["name"] == "Acme"
    assert len(company["createdAt"]) == 10
    assert set(company) == {
        "id",
        "name",
        "createdAt",
        "isConsultingCompany",
        "isDemoCompany",
        "availableClientCompanies",
    }


def test_the_list_of_companies_holds_those_one_may_switch_to(
    program: MakeProgram, give: Callable[..., None]
) -> None:
    caller = program("expert")
    give("expert", "Other", "viewer")
    names = [c["name"] for c in caller.client.get(COMPANIES, **caller.basic).json]
    assert names == ["Acme"]
    give("expert", "Other", "expert")
    names = [c["name"] for c in caller.client.get(COMPANIES, **caller.basic).json]
    assert names == ["Acme", "Other"]


def test_switching_gives_the_token_of_the_other_company(
    program: MakeProgram, give: Callable[..., None], company_id: Callable[[str], str]
) -> None:
    give("expert", "Other", "expert")
    caller = program("expert")
    answer = caller.switch(company_id("Other"), caller.log_in()["accessToken"])
    assert answer.status_code == 200
    assert set(answer.json) == {"access_token", "token_type"}
    assert claims_of(answer.json["access_token"])["com"] == company_id("Other")


@pytest.mark.parametrize("role", [None, "viewer"])
def test_switching_without_expert_access_is_refused(
    program: MakeProgram,
    give: Callable[..., None],
    company_id: Callable[[str], str],
    role: str | None,
) -> None:
    if role:
        give("expert", "Other", role)
    caller = program("expert")
    answer = caller.switch(company_id("Other"), caller.log_in()["accessToken"])
    assert answer.status_code == 403


def test_switching_to_an_unknown_company_looks_like_one_without_access(
    program: MakeProgram,
) -> None:
    caller = program("expert")
    answer = caller.switch("3c0ffe3a-0000-4000-8000-000000000000", caller.log_in()["accessToken"])
    assert answer.status_code == 403


@pytest.mark.parametrize("value", ["", "Other", 7, None, "\ud800"])
def test_a_company_id_that_is_none_is_bad_input(program: MakeProgram, value: object) -> None:
    caller = program("expert")
    body = json.dumps({"companyId": value})
    answer = caller.client.post(
        "/api/auth/token/switch", data=body, content_type="application/json", **caller.basic
    )
    assert answer.status_code == 422


def test_a_program_with_basic_may_switch_too(
    program: MakeProgram, give: Callable[..., None], company_id: Callable[[str], str]
) -> None:
    give("expert", "Other", "expert")
    caller = program("expert")
    body = {"companyId": company_id("Other")}
    answer = caller.client.post("/api/auth/token/switch", json=body, **caller.basic)
    token = answer.json["access_token"]
    assert caller.get(COMPANIES, token).status_code == 200


def test_a_refresh_stays_in_the_company_switched_to_and_keeps_its_token(
    program: MakeProgram, give: Callable[..., None], company_id: Callable[[str], str]
) -> None:
    give("expert", "Other", "expert")
    caller = program("expert")
    tokens = caller.log_in()
    caller.switch(company_id("Other"), tokens["accessToken"])
    for _ in range(2):
        answer = caller.get(REFRESH, tokens["refreshToken"])
        assert set(answer.json) == {"access_token", "token_type"}
        assert claims_of(answer.json["access_token"])["com"] == company_id("Other")


def test_two_programs_with_one_key_do_not_move_each_other(
    program: MakeProgram, give: Callable[..., None], company_id: Callable[[str], str]
) -> None:
    give("expert", "Other", "expert")
    caller = program("expert")
    first, second = caller.log_in(), caller.log_in()
    caller.switch(company_id("Other"), first["accessToken"])
    refreshed = caller.get(REFRESH, second["refreshToken"]).json["access_token"]
    assert claims_of(refreshed)["com"] == company_id("Acme")


def test_the_next_login_begins_in_the_company_used_last(
    program: MakeProgram, give: Callable[..., None], company_id: Callable[[str], str]
) -> None:
    give("expert", "Other", "expert")
    caller = program("expert")
    caller.switch(company_id("Other"), caller.log_in()["accessToken"])
    assert claims_of(caller.log_in()["accessToken"])["com"] == company_id("Other")


def test_basic_stays_in_the_company_its_key_was_made_for(
    program: MakeProgram, give: Callable[..., None], company_id: Callable[[str], str]
) -> None:
    give("expert", "Other", "expert")
    caller = program("expert")
    caller.switch(company_id("Other"), caller.log_in()["accessToken"])
    users = caller.client.get("/api/accounts/v1/users", **caller.basic).json
    assert email_of("admin") in [user["email"] for user in users]


@pytest.mark.parametrize("path", [COMPANIES, "/api/accounts/v1/users", REFRESH])
def test_nothing_is_answered_without_credentials(app: Flask, path: str) -> None:
    answer = app.test_client().get(path)
    assert answer.status_code == 401
    ways = answer.headers.getlist("WWW-Authenticate")
    assert any(way.startswith("Basic realm=") for way in ways)
    assert not any("invalid_token" in way for way in ways)


def test_a_stranger_sees_neither_company_nor_users(
    program: MakeProgram, company_id: Callable[[str], str]
) -> None:
    owner, stranger = program("expert"), program("stranger")
    for path in (f"{COMPANIES}/{company_id('Acme')}", f"/api/accounts/v1/users/{owner.user_id}"):
        assert stranger.client.get(path, **stranger.basic).status_code == 404
    emails = [
        u["email"] for u in stranger.client.get("/api/accounts/v1/users", **stranger.basic).json
    ]
    assert emails == [email_of("stranger")]


@pytest.mark.parametrize("path", [f"{COMPANIES}/nothing", "/api/accounts/v1/users/%00"])
def test_an_id_that_is_none_is_unknown(program: MakeProgram, path: str) -> None:
    caller = program("expert")
    assert caller.client.get(path, **caller.basic).status_code == 404


def test_unknown_key_and_wrong_secret_get_the_same_words(program: MakeProgram) -> None:
    caller = program("expert")
    answers = [
        caller.client.post("/api/keys/v1/api/auth", json={"apiKey": key_id, "secret": "wrong"})
        for key_id in (caller.key_id, "purk_unknown", "\x00")
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json["detail"] for answer in answers}) == 1


def test_unknown_user_and_wrong_password_get_the_same_words(app: Flask) -> None:
    client = app.test_client()
    answers = [
        client.post("/api/auth/token", data={"username": name, "password": "wrong"})
        for name in (email_of("expert"), "nobody@acme.example.com", "no email", "\x00")
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json["detail"] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("[]", 400),
        ("{}", 422),
        ('{"apiKey": 1, "secret": []}', 422),
        ('{"apiKey": "\\ud800", "secret": "\\ud800"}', 401),
    ],
)
def test_bodies_that_cannot_be_used_are_told_apart(app: Flask, body: str, status: int) -> None:
    answer = app.test_client().post(
        "/api/keys/v1/api/auth", data=body, content_type="application/json"
    )
    assert answer.status_code == status


def test_other_content_types_are_refused(app: Flask) -> None:
    client = app.test_client()
    assert client.post("/api/keys/v1/api/auth", data="apiKey=a").status_code == 415
    assert client.post("/api/auth/token", json={"username": "a"}).status_code == 415


def altered_payload(token: str, company: str) -> str:
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    text = json.dumps(claims | {"com": company}).encode()
    return ".".join([head, base64.urlsafe_b64encode(text).rstrip(b"=").decode(), signature])


@pytest.mark.parametrize(
    "attack",
    [
        "alg none",
        "other key",
        "other algorithm",
        "expired",
        "altered",
        "cut",
        "no expiry",
        "no sid",
    ],
)
def test_a_forged_token_opens_nothing(
    program: MakeProgram, company_id: Callable[[str], str], attack: str
) -> None:
    caller = program("expert")
    token = caller.log_in()["accessToken"]
    claims = claims_of(token)
    now = int(utcnow().timestamp())
    bad = {
        "alg none": lambda: forged(claims, "", "none"),
        "other key": lambda: forged(claims, "another key of thirty-two letters"),
        "other algorithm": lambda: forged(claims, SECRET_KEY * 2, "HS512"),
        "expired": lambda: forged(claims | {"exp": now - 1}),
        "altered": lambda: altered_payload(token, company_id("Other")),
        "cut": lambda: token[:-4],
        "no expiry": lambda: forged({k: v for k, v in claims.items() if k != "exp"}),
        "no sid": lambda: forged({k: v for k, v in claims.items() if k != "sid"}),
    }[attack]()
    assert caller.get(COMPANIES, token).status_code == 200
    answer = caller.get(COMPANIES, bad)
    assert answer.status_code == 401
    assert any("invalid_token" in way for way in answer.headers.getlist("WWW-Authenticate"))


def test_a_wellsigned_token_of_another_company_or_user_opens_nothing(
    program: MakeProgram, company_id: Callable[[str], str]
) -> None:
    caller, stranger = program("expert"), program("stranger")
    claims = claims_of(caller.log_in()["accessToken"])
    for change in ({"com": company_id("Other")}, {"userId": stranger.user_id}, {"com": "x"}):
        assert caller.get(COMPANIES, forged(claims | change)).status_code == 401


def test_refresh_and_access_tokens_do_not_stand_in_for_each_other(program: MakeProgram) -> None:
    caller = program("expert")
    tokens = caller.log_in()
    assert caller.get(REFRESH, tokens["accessToken"]).status_code == 401
    assert caller.get(COMPANIES, tokens["refreshToken"]).status_code == 401
    assert caller.client.get(REFRESH, **caller.basic).status_code == 401


def test_a_made_up_refresh_token_finds_no_session(app: Flask, program: MakeProgram) -> None:
    program("expert").log_in()
    with app.app_context():
        assert [find_refresh_session(f"purr_{number}") for number in range(30)] == [None] * 30


def test_a_token_may_stand_alone_in_its_header(program: MakeProgram) -> None:
    caller = program("expert")
    token = caller.log_in()["accessToken"]
    for header, status in ((token, 200), (f"bearer {token}", 200), (f"Other {token}", 401)):
        answer = caller.client.get(COMPANIES, headers={"Authorization": header})
        assert answer.status_code == status


def test_a_bad_header_is_not_saved_by_a_good_cookie(
    signed_in: Callable[[str], Browser],
) -> None:
    browser = signed_in("expert")
    assert browser.get(COMPANIES).status_code == 200
    assert browser.get(COMPANIES, headers=bearer("nonsense")).status_code == 401


def test_a_cookie_changes_nothing_under_api(
    signed_in: Callable[[str], Browser], company_id: Callable[[str], str]
) -> None:
    browser = signed_in("expert")
    answer = browser.client.post("/api/auth/token/switch", json={"companyId": company_id("Acme")})
    assert answer.status_code == 401


def test_a_revoked_key_stops_its_tokens_at_once(
    program: MakeProgram, signed_in: Callable[[str], Browser]
) -> None:
    caller = program("expert")
    tokens = caller.log_in()
    assert signed_in("expert").post(f"/keys/{caller.key_row}/revoke").status_code == 303
    assert caller.get(COMPANIES, tokens["accessToken"]).status_code == 401
    assert caller.get(REFRESH, tokens["refreshToken"]).status_code == 401
    assert caller.client.get(COMPANIES, **caller.basic).status_code == 401


def test_an_expired_key_stops_with_its_tokens(app: Flask, program: MakeProgram) -> None:
    caller = program("expert")
    token = caller.log_in()["accessToken"]
    with app.app_context():
        db.session.execute(update(ApiKey).values(expires_at=utcnow() - timedelta(seconds=1)))
        db.session.commit()
    assert caller.get(COMPANIES, token).status_code == 401
    assert caller.client.get(COMPANIES, **caller.basic).status_code == 401


def test_withdrawn_access_stops_a_token_for_good(
    program: MakeProgram,
    signed_in: Callable[[str], Browser],
    give: Callable[..., None],
    company_id: Callable[[str], str],
) -> None:
    give("expert", "Other", "expert")
    caller = program("expert")
    tokens = caller.log_in()
    token = caller.switch(company_id("Other"), tokens["accessToken"]).json["access_token"]
    signed_in("stranger").post(f"/members/{caller.user_id}/remove")
    assert caller.get(COMPANIES, token).status_code == 401
    assert caller.get(REFRESH, tokens["refreshToken"]).status_code == 401
    give("expert", "Other", "expert")
    assert caller.get(COMPANIES, token).status_code == 401


@pytest.mark.parametrize("by", ["a login", "Basic"])
def test_a_new_grant_revives_no_token_of_a_session_that_moved_on(
    program: MakeProgram,
    signed_in: Callable[[str], Browser],
    give: Callable[..., None],
    company_id: Callable[[str], str],
    by: str,
) -> None:
    give("expert", "Other", "expert")
    caller = program("expert")
    if by == "Basic":
        body = {"companyId": company_id("Other")}
        answer = caller.client.post("/api/auth/token/switch", json=body, **caller.basic)
    else:
        answer = caller.switch(company_id("Other"), caller.log_in()["accessToken"])
    token = answer.json["access_token"]
    back = caller.switch(company_id("Acme"), token).json["access_token"]
    signed_in("stranger").post(f"/members/{caller.user_id}/remove")
    give("expert", "Other", "expert")
    assert caller.get(COMPANIES, token).status_code == 401
    assert caller.get(COMPANIES, back).status_code == 200
    fresh = caller.switch(company_id("Other"), back).json["access_token"]
    assert caller.get(COMPANIES, fresh).status_code == 200


def test_another_role_ends_no_token(
    program: MakeProgram, give: Callable[..., None], company_id: Callable[[str], str]
) -> None:
    caller = program("expert")
    token = caller.log_in()["accessToken"]
    give("expert", "Acme", "viewer")
    assert caller.get(COMPANIES, token).status_code == 200


def test_a_changed_password_stops_tokens(
    program: MakeProgram, signed_in: Callable[[str], Browser]
) -> None:
    caller = program("expert")
    tokens = caller.log_in()
    new = "another long password"
    form = {"password": PASSWORD, "new_password": new, "new_password_again": new}
    assert signed_in("expert").post("/account/password", form).status_code == 303
    assert caller.get(COMPANIES, tokens["accessToken"]).status_code == 401
    assert caller.get(REFRESH, tokens["refreshToken"]).status_code == 401
    assert caller.client.get(COMPANIES, **caller.basic).status_code == 200


def test_an_idle_refresh_token_is_over(app: Flask, program: MakeProgram) -> None:
    caller = program("expert")
    tokens = caller.log_in()
    with app.app_context():
        db.session.execute(update(LoginSession).values(seen_at=utcnow() - timedelta(days=31)))
        db.session.commit()
    assert caller.get(REFRESH, tokens["refreshToken"]).status_code == 401


def test_tokens_of_the_previous_secret_key_work_while_it_is_kept(
    program: MakeProgram, make_app: Callable[..., Flask]
) -> None:
    caller = program("expert")
    tokens = caller.log_in()
    new_key = "the key that comes after, 0123456789"
    rotated = make_app(SECRET_KEY=new_key, SECRET_KEY_PREVIOUS=SECRET_KEY).test_client()
    old = bearer(tokens["accessToken"])
    assert rotated.get(COMPANIES, headers=old).status_code == 200
    fresh = rotated.get(REFRESH, headers=bearer(tokens["refreshToken"])).json["access_token"]
    assert jwt.decode(fresh, token_key(new_key), algorithms=["HS256"])["userId"] == caller.user_id
    done = make_app(SECRET_KEY=new_key, SECRET_KEY_PREVIOUS="").test_client()
    assert done.get(COMPANIES, headers=old).status_code == 401
    assert done.get(COMPANIES, headers=bearer(fresh)).status_code == 200
    assert done.get(COMPANIES, **caller.basic).status_code == 200
