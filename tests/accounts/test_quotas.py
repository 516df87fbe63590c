"""Quotas: how much of what all share one user, or one company, may hold; each says so."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta

import pytest
from accounts_helpers import Browser, Program, email_of
from flask import Flask
from sqlalchemy import select, update

from tests.conftest import Person, add_people
from webapp.accounts import ApiKey
from webapp.extensions import db
from webapp.files import StoredFile
from webapp.intake.uploads import Upload
from webapp.lib.moments import utcnow

PEOPLE = (
    Person(email_of("admin"), "Acme", "admin"),
    Person(email_of("stranger"), "Other", "admin"),
)
PINGS = "/api/session-manager/activity"
CSV = b"user_id,name\n1,Ada\n"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    app = make_app(
        STREAMS_PER_USER_MOST=2,
        KEYS_PER_USER_MOST=2,
        COMPANY_UPLOADS_MOST=2,
        COMPANY_UPLOADS_MB=1,
    )
    add_people(app, PEOPLE)
    return app


def test_a_user_has_so_many_keys_that_work(app: Flask) -> None:
    browser = Browser(app)
    browser.sign_in(email_of("admin"))
    statuses = [browser.post("/keys", {"label": f"key {number}"}).status_code for number in "123"]
    assert statuses == [201, 201, 409]
    answer = browser.post("/keys", {"label": "typed before"})
    assert "2 keys work already" in answer.text
    assert 'value="typed before"' in answer.text
    done = app.test_cli_runner().invoke(args=["key", "create", email_of("admin")])
    assert done.exit_code == 1
    assert "revoke one first" in done.output
    with app.app_context():
        [first, second] = db.session.scalars(select(ApiKey.id))
        past = utcnow() - timedelta(1)
        db.session.execute(update(ApiKey).where(ApiKey.id == second).values(expires_at=past))
        db.session.commit()
    assert browser.post("/keys", {"label": "in place of one that expired"}).status_code == 201
    browser.post(f"/keys/{first}/revoke")
    assert browser.post("/keys", {"label": "in place of one revoked"}).status_code == 201


def test_a_user_has_so_many_streams_open(app: Flask, program: Callable[..., Program]) -> None:
    caller, stranger = program("admin"), program("stranger")
    body = {"kind": "session-activity", "params": {"start": "2024-01", "end": "2024-01"}}

    def stream_of(who: Program) -> str:
        made = who.client.post("/api/v1/reports", json=body, **who.basic)
        assert made.status_code == 202, made.text
        return made.json["links"]["events"]

    events = stream_of(caller)
    open_ones = [caller.client.get(events, buffered=False, **caller.basic) for _ in "12"]
    refused = caller.client.get(events, **caller.basic)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
    assert "2 live streams open" in refused.json["detail"]
    asked = {"Accept": "text/event-stream"}
    followed = caller.client.post("/api/v1/reports", json=body, headers=asked, **caller.basic)
    assert followed.status_code == 202, "the report is made all the same"
    other = stranger.client.get(stream_of(stranger), buffered=False, **stranger.basic)
    assert other.status_code == 200
    open_ones[0].close()
    again = caller.client.get(events, buffered=False, **caller.basic)
    assert again.status_code == 200
    for answer in (*open_ones[1:], other, again):
        answer.close()


def send(browser: Browser, content: bytes) -> tuple[int, str]:
    files = {"users": (io.BytesIO(content), "users.csv")}
    answer = browser.client.post(
        "/label-revenue/load",
        data={"csrf_token": browser.form_token(), **files},
        content_type="multipart/form-data",
    )
    return answer.status_code, answer.text


def test_a_company_keeps_so_many_uploads_of_such_a_size(app: Flask) -> None:
    browser = Browser(app)
    browser.sign_in(email_of("admin"))
    assert send(browser, CSV)[0] == 303
    with app.app_context():
        db.session.execute(update(StoredFile).values(size_bytes=1_000_000))
        db.session.commit()
    status, page = send(browser, CSV)
    assert status == 409
    assert "would exceed 1 MB" in page
    with app.app_context():
        db.session.execute(update(StoredFile).values(size_bytes=1_000))
        db.session.commit()
    assert send(browser, CSV)[0] == 303
    status, page = send(browser, CSV)
    assert status == 409
    assert "This company has 2 uploads" in page
    with app.app_context():
        db.session.execute(update(Upload).values(status="loaded"))
        db.session.commit()
    assert send(browser, CSV)[0] == 303
    other = Browser(app)
    other.sign_in(email_of("stranger"))
    assert send(other, CSV)[0] == 303


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 2_000_000 + b"{}]",
        b"[" + b"[]," * 2_000_000 + b"[]]",
        b"[" + b"0," * 9_000_000,
    ],
    ids=["objects", "lists", "numbers"],
)
def test_too_long_a_list_is_refused_before_it_is_read_whole(
    app: Flask, program: Callable[..., Program], body: bytes
) -> None:
    caller = program("admin")
    answer = caller.client.post(PINGS, data=body, content_type="application/json", **caller.basic)
    assert answer.status_code == 413
