"""API keys: the page, the format, who may see and revoke which."""

from __future__ import annotations

import re
import zlib
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from accounts_helpers import Browser, Program, email_of
from flask import Flask
from sqlalchemy import event, select, update

from tests.soon import until
from webapp.accounts import (
    ApiKey,
    Membership,
    Scope,
    User,
    authenticate_ingest_key,
    create_key,
    find_user,
    sender_scope,
)
from webapp.accounts.keys import ALPHABET, hash_secret, new_secret, revoke_key
from webapp.errors import InvalidParams, NotSignedIn
from webapp.extensions import db
from webapp.lib.moments import utcnow

SignedIn = Callable[[str], Browser]
USERS = "/api/accounts/v1/users"


def made_on(page: str) -> tuple[str, str]:
    key_id = re.search(r'id="new-api-key">([^<]+)<', page)
    secret = re.search(r'id="new-secret">([^<]+)<', page)
    assert key_id
    assert secret
    return key_id[1], secret[1]


def test_a_secret_can_be_found_by_scanners() -> None:
    secrets = {new_secret() for _ in range(200)}
    assert len(secrets) == 200
    for secret in secrets:
        assert re.fullmatch(r"pur_[0-9A-Za-z]{38}", secret)
        checksum = 0
        for letter in secret[-6:]:
            checksum = checksum * 62 + ALPHABET.index(letter)
        assert checksum == zlib.crc32(secret[:-6].encode())


def test_a_new_key_works_and_its_secret_is_shown_once(app: Flask, signed_in: SignedIn) -> None:
    browser = signed_in("viewer")
    answer = browser.post("/keys", {"label": "nightly <b>", "expires": ""})
    assert answer.status_code == 201
    key_id, secret = made_on(answer.text)
    assert "nightly &lt;b&gt;" in answer.text
    assert app.test_client().get(USERS, auth=(key_id, secret)).status_code == 200
    later = browser.get("/keys").text
    assert key_id in later
    assert secret not in later
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_page_says_how_far_a_key_reaches(signed_in: SignedIn) -> None:
    page = signed_in("viewer").get("/keys").text
    assert "With HTTP Basic it works in Acme, with your role there." in page
    assert "can switch to every company where you are an expert" in page


def test_the_secret_itself_is_not_stored(app: Flask) -> None:
    with app.app_context():
        user = find_user(email_of("viewer"))
        assert user is not None
        key, secret = create_key(user, "x")
        assert key.secret_hash == hash_secret(secret)
        stored = [getattr(key, column.name) for column in ApiKey.__table__.columns]
        assert not any(secret in str(value) for value in stored)


def test_last_use_is_shown(
    app: Flask, signed_in: SignedIn, program: Callable[..., Program]
) -> None:
    caller = program("viewer")
    with app.app_context():
        assert db.session.scalar(select(ApiKey.last_used_at)) is None
    caller.client.get(USERS, **caller.basic)
    with app.app_context():
        used_at = db.session.scalar(select(ApiKey.last_used_at))
    assert used_at is not None
    assert utcnow() - used_at < timedelta(minutes=1)
    assert used_at.strftime("%Y-%m-%dT%H:%M") in signed_in("viewer").get("/keys").text


def test_an_expiry_is_kept_to_the_end_of_its_day(app: Flask, signed_in: SignedIn) -> None:
    today = utcnow().date().isoformat()
    assert signed_in("viewer").post("/keys", {"expires": today}).status_code == 201
    with app.app_context():
        key = db.session.scalar(select(ApiKey))
        assert key is not None
        assert key.works_at(utcnow())
        assert not key.works_at(utcnow() + timedelta(days=1))


@pytest.mark.parametrize(
    "form",
    [
        {"expires": "2020-01-01"},
        {"expires": "soon"},
        {"expires": "9999-12-31"},
        {"label": "x" * 101},
        {"label": "\x00"},
    ],
)
def test_a_bad_form_says_why_and_makes_no_key(
    app: Flask, signed_in: SignedIn, form: dict[str, str]
) -> None:
    answer = signed_in("viewer").post("/keys", form)
    assert answer.status_code == 422
    assert "field-error" in answer.text
    with app.app_context():
        assert db.session.scalar(select(ApiKey)) is None


def test_a_key_cannot_be_made_to_expire_in_the_past(app: Flask) -> None:
    with app.app_context():
        user = find_user(email_of("viewer"))
        assert user is not None
        with pytest.raises(InvalidParams):
            create_key(user, "x", expires_at=utcnow())


def test_everybody_sees_own_keys_and_an_admin_all(
    signed_in: SignedIn, program: Callable[..., Program]
) -> None:
    mine, theirs = program("expert"), program("viewer")
    page = signed_in("expert").get("/keys").text
    assert mine.key_id in page
    assert theirs.key_id not in page
    page = signed_in("admin").get("/keys").text
    assert mine.key_id in page
    assert theirs.key_id in page
    assert mine.key_id not in signed_in("stranger").get("/keys").text


@pytest.mark.parametrize(
    ("who", "status"), [("viewer", 404), ("stranger", 404), ("expert", 303), ("admin", 303)]
)
def test_a_key_is_revoked_by_its_owner_or_an_admin(
    signed_in: SignedIn, program: Callable[..., Program], who: str, status: int
) -> None:
    caller = program("expert")
    assert signed_in(who).post(f"/keys/{caller.key_row}/revoke").status_code == status
    works = caller.client.get(USERS, **caller.basic).status_code
    assert works == (200 if status == 404 else 401)


@pytest.mark.parametrize("key_row", ["nonsense", "3c0ffe3a-0000-4000-8000-000000000000"])
def test_an_unknown_key_is_not_found(signed_in: SignedIn, key_row: str) -> None:
    assert signed_in("admin").post(f"/keys/{key_row}/revoke").status_code == 404


def test_a_key_never_reaches_further_than_its_user(
    program: Callable[..., Program], give: Callable[..., None]
) -> None:
    caller = program("admin")
    me = caller.client.get(f"{USERS}/{caller.user_id}", **caller.basic).json
    assert me["isAdmin"] is True
    give("expert", "Acme", "admin")
    give("admin", "Acme", "viewer")
    me = caller.client.get(f"{USERS}/{caller.user_id}", **caller.basic).json
    assert (me["isAdmin"], me["isReadonly"]) == (False, True)


def test_a_key_that_may_only_send_opens_nothing_else(app: Flask) -> None:
    with app.app_context():
        user = find_user(email_of("admin"))
        assert user is not None
        key, secret = create_key(user, "counter", scope="send")
        key_id = key.key_id
    client = app.test_client()
    assert client.get(USERS, auth=(key_id, secret)).status_code == 403
    login = client.post("/api/keys/v1/api/auth", json={"apiKey": key_id, "secret": secret})
    assert login.status_code == 403
    with app.test_request_context("/api/x", headers=basic(key_id, secret)):
        assert sender_scope().email == email_of("admin")


@pytest.fixture
def sender(app: Flask) -> tuple[str, str]:
    """Return a send-only key of the expert and its secret."""
    with app.app_context():
        user = find_user(email_of("expert"))
        assert user is not None
        key, secret = create_key(user, "counter", scope="send")
        return key.key_id, secret


def quick_scope(app: Flask, key_id: str, secret: str) -> Scope | None:
    """Return what an address that only takes data in makes of a key."""
    with app.test_request_context("/api/x", headers=basic(key_id, secret)):
        return authenticate_ingest_key()


def change(app: Flask, table: type[ApiKey | User | Membership], **values: object) -> None:
    with app.app_context():
        db.session.execute(update(table).values(**values))
        db.session.commit()


def test_a_send_only_key_says_whose_it_is(app: Flask, sender: tuple[str, str]) -> None:
    found = quick_scope(app, *sender)
    assert found is not None
    assert (found.email, found.company_name, found.role) == (email_of("expert"), "Acme", "expert")
    assert not found.is_operator


def test_a_key_has_the_role_and_the_company_of_its_own_user(
    app: Flask, program: Callable[[str], Program]
) -> None:
    """Others have other roles beside it, and there is another company."""
    for who, company, role in (("viewer", "Acme", "viewer"), ("stranger", "Other", "admin")):
        caller = program(who)
        found = quick_scope(app, caller.key_id, caller.secret)
        assert found is not None
        assert (found.user_id, found.company_name, found.role) == (caller.user_id, company, role)


def test_a_revoked_key_ends_the_programs_of_no_other_key(
    app: Flask, program: Callable[[str], Program]
) -> None:
    for revoked in (0, 1):
        # In the order of their ids, each of the two once.
        pair = sorted((program("expert"), program("expert")), key=lambda one: one.key_row)
        tokens = [one.log_in()["accessToken"] for one in pair]
        with app.app_context():
            revoke_key(db.session.get_one(ApiKey, pair[revoked].key_row))
            db.session.commit()
        answers = [one.get(USERS, token) for one, token in zip(pair, tokens, strict=True)]
        assert answers[revoked].status_code == 401
        assert answers[1 - revoked].status_code == 200


def test_a_send_only_key_needs_its_own_secret(app: Flask, sender: tuple[str, str]) -> None:
    key_id, secret = sender
    assert quick_scope(app, key_id, new_secret()) is None
    assert quick_scope(app, key_id, "") is None
    assert quick_scope(app, key_id + "\x00", secret) is None
    assert quick_scope(app, "purk_of_nobody", secret) is None


def test_a_key_ends_at_the_moment_it_expires(app: Flask, sender: tuple[str, str]) -> None:
    with app.app_context():
        user = find_user(email_of("expert"))
        assert user is not None
        key, secret = create_key(user, "report")
        full = (key.key_id, secret)
    client = app.test_client()
    change(app, ApiKey, expires_at=utcnow() + timedelta(hours=1))
    assert quick_scope(app, *sender) is not None
    assert client.get(USERS, auth=full).status_code == 200
    change(app, ApiKey, expires_at=utcnow())
    assert quick_scope(app, *sender) is None
    assert client.get(USERS, auth=full).status_code == 401
    login = client.post("/api/keys/v1/api/auth", json={"apiKey": full[0], "secret": full[1]})
    assert login.status_code == 401


def test_a_revoked_send_only_key_opens_nothing(app: Flask, sender: tuple[str, str]) -> None:
    change(app, ApiKey, revoked_at=utcnow())
    assert quick_scope(app, *sender) is None
    with app.test_request_context("/api/x", headers=basic(*sender)), pytest.raises(NotSignedIn):
        sender_scope()


def test_keys_of_a_switched_off_user_open_nothing(
    app: Flask, sender: tuple[str, str], program: Callable[..., Program]
) -> None:
    caller = program("expert")
    token = caller.log_in()["accessToken"]
    change(app, User, status="DISABLED")
    assert caller.client.get(USERS, **caller.basic).status_code == 401
    assert caller.get(USERS, token).status_code == 401
    body = {"apiKey": caller.key_id, "secret": caller.secret}
    assert caller.client.post("/api/keys/v1/api/auth", json=body).status_code == 401
    assert quick_scope(app, *sender) is None
    change(app, User, status="ACTIVE")
    assert caller.client.get(USERS, **caller.basic).status_code == 200
    assert quick_scope(app, *sender) is not None


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (ApiKey, {"revoked_at": utcnow()}),
        (User, {"status": "DISABLED"}),
        (Membership, {"role": "viewer"}),
    ],
    ids=["key", "user", "role"],
)
def test_what_is_withdrawn_from_a_key_in_use_ends_within_five_seconds(
    app: Flask,
    sender: tuple[str, str],
    table: type[ApiKey | User | Membership],
    values: dict[str, object],
) -> None:
    def may_send() -> bool:
        scope = quick_scope(app, *sender)
        return scope is not None and scope.may("expert")

    assert app.config["KEYS_KEPT_S"] < 5
    app.config["KEYS_KEPT_S"] = 0.3
    assert [may_send() for _ in range(3)] == [True, True, True]
    change(app, table, **values)
    assert until(lambda: not may_send())


def test_a_key_in_use_is_not_looked_up_each_time_and_its_secret_is_compared(
    app: Flask, sender: tuple[str, str]
) -> None:
    asked: list[str] = []
    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    # The first use is written down, and what was seen before that is not kept.
    found = [quick_scope(app, *sender) for _ in range(9)]
    assert None not in found
    assert len(asked) <= 4
    assert quick_scope(app, sender[0], new_secret()) is None
    with app.app_context():
        user = find_user(email_of("admin"))
        assert user is not None
        key, secret = create_key(user, "another", scope="send")
        another = key.key_id, secret
    assert quick_scope(app, *another) is not None
    assert quick_scope(app, sender[0], secret) is None


def test_last_use_is_kept_to_the_minute(app: Flask, sender: tuple[str, str]) -> None:
    def used_at() -> datetime | None:
        with app.app_context():
            return db.session.scalar(select(ApiKey.last_used_at))

    quick_scope(app, *sender)
    first = used_at()
    assert first is not None
    quick_scope(app, *sender)
    assert used_at() == first
    app.config["KEYS_KEPT_S"] = 0
    change(app, ApiKey, last_used_at=first - timedelta(minutes=1))
    quick_scope(app, *sender)
    assert (used_at() or first) >= first


def basic(key_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{key_id}:{secret}'.encode()).decode()}"}
