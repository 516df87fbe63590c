"""Links to a result for people without an account: what they see, and when a link ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, select, update

from tests.conftest import Api, find_scope, form_token
from webapp.accounts import AuditEntry, Membership
from webapp.engine.shares import ShareLink
from webapp.extensions import db
from webapp.lib.moments import utcnow

KEY = "key-" + "0" * 58


@pytest.fixture
def share(app: Flask, api_for: Callable[[str], Api], run: Callable[..., str]) -> Any:
    """Return a maker of links: the path of the link, and what the API says of it."""

    def make(who: str = "owner", report_id: str = "", **wanted: Any) -> tuple[str, dict[str, Any]]:
        answer = api_for(who).post(f"/reports/{report_id or run()}/links", wanted)
        assert answer.status_code == 201, answer.text
        return "/shared/" + answer.json["url"].rpartition("/")[2], answer.json

    return make


def test_a_link_shows_the_result_without_an_account_and_without_keys(
    app: Flask, share: Any
) -> None:
    path, _made = share(note="Ms Lee")
    stranger = app.test_client()
    page = stranger.get(path)
    assert page.status_code == 200
    assert "Number 7" in page.text or "number 7" in page.text
    assert KEY not in page.text
    assert page.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert "Sign out" not in page.text
    assert "/explain" not in page.text
    # Nor can a key be found by asking for it.
    everything = f"{path}?all=1&where=key:has:key&q=key-0"
    assert KEY not in stranger.get(everything).text
    for addresses in re.findall(r'(?:href|hx-get)="(/[^"]*)"', page.text):
        assert addresses.startswith(("/static/", "/shared/", "/")), addresses
        assert not addresses.startswith(("/reports", "/api/v1")), addresses


def test_its_grids_are_sorted_searched_and_downloaded(app: Flask, share: Any) -> None:
    path, _ = share()
    stranger = app.test_client()
    grid = stranger.get(f"{path}?grid=things&q=number+11", headers={"HX-Request": "true"})
    assert grid.status_code == 200
    assert "<html" not in grid.text
    assert grid.headers["HX-Push-Url"].startswith(path)
    csv = stranger.get(f"{path}/grid/things.csv?all=1")
    lines = csv.text.lstrip("\ufeff").splitlines()
    assert len(lines) == 13
    assert "key" not in lines[0].split(",")
    assert KEY not in csv.text
    assert stranger.get(f"{path}/grid/none.csv").status_code == 404


def test_a_password_is_asked_for_and_tries_are_counted(app: Flask, share: Any) -> None:
    path, made = share(password="elderberry wine")
    assert made["has_password"] is True
    stranger = app.test_client()
    asked = stranger.get(path)
    assert asked.status_code == 403
    assert "number 7" not in asked.text.lower()
    assert stranger.get(f"{path}/grid/things.csv").status_code == 403
    token = form_token(stranger, path)
    wrong = stranger.post(path, data={"csrf_token": token, "password": "guess"})
    assert wrong.status_code == 403
    assert "not the password" in wrong.text
    right = stranger.post(path, data={"csrf_token": token, "password": "elderberry wine"})
    assert right.status_code == 303
    assert stranger.get(path).status_code == 200
    # The password of one link opens no other one.
    other, _ = share(password="another word")
    assert stranger.get(other).status_code == 403
    guesser = app.test_client()
    token = form_token(guesser, path)
    statuses = [
        guesser.post(path, data={"csrf_token": token, "password": str(number)}).status_code
        for number in range(12)
    ]
    assert statuses[0] == 403
    assert statuses[-1] == 429


@pytest.mark.parametrize("how", ["revoked", "expired", "deleted", "left"])
def test_a_link_ends(
    app: Flask, api_for: Callable[[str], Api], share: Any, run: Any, how: str
) -> None:
    report_id = run("colleague")
    path, made = share("colleague", report_id)
    stranger = app.test_client()
    assert stranger.get(path).status_code == 200
    api = api_for("owner")
    if how == "revoked":
        gone = api.client.delete(f"/api/v1/reports/{report_id}/links/{made['id']}", auth=api.auth)
        assert gone.status_code == 204
    elif how == "expired":
        with app.app_context():
            past = utcnow() - timedelta(seconds=1)
            db.session.execute(update(ShareLink).values(expires_at=past))
            db.session.commit()
    elif how == "deleted":
        assert api.client.delete(f"/api/v1/reports/{report_id}", auth=api.auth).status_code == 204
    else:
        user_id = find_scope(app, "colleague").user_id
        with app.app_context():
            db.session.execute(delete(Membership).where(Membership.user_id == user_id))
            db.session.commit()
    ended = stranger.get(path)
    assert ended.status_code == 404
    assert "does not work any more" in ended.text


def test_each_opening_is_counted_and_on_record(
    app: Flask, api_for: Callable[[str], Api], share: Any, run: Any
) -> None:
    report_id = run()
    path, _made = share(report_id=report_id)
    for _ in range(2):
        app.test_client().get(path)
    (link,) = api_for("owner").get(f"/reports/{report_id}/links").json
    assert (link["times_opened"], link["url"]) == (2, None)
    with app.app_context():
        query = select(AuditEntry).where(AuditEntry.action.in_(["shared", "opened link"]))
        found = list(db.session.scalars(query.order_by(AuditEntry.id)))
        assert [entry.action for entry in found] == ["shared", "opened link", "opened link"]
        assert {entry.address for entry in found} == {"127.0.0.1"}
        assert found[1].user_id is None
        kept = db.session.scalars(select(ShareLink)).one()
        assert path.rpartition("/")[2] not in (kept.token_hash, kept.note)


def test_who_may_make_and_see_links(api_for: Callable[[str], Api], run: Any, share: Any) -> None:
    report_id = run()
    address = f"/reports/{report_id}/links"
    assert api_for("viewer").post(address, {}).status_code == 403
    assert api_for("stranger").post(address, {}).status_code == 404
    colleague = api_for("colleague")
    _, made = share(report_id=report_id)
    gone = colleague.client.delete(f"/api/v1{address}/{made['id']}", auth=colleague.auth)
    assert gone.status_code == 403
    for wrong in ({"days": 0}, {"days": 366}, {"days": "x"}, {"password": "abc"}, {"kind": 1}):
        assert colleague.post(address, wrong).status_code == 422, wrong


def test_a_link_is_made_and_ended_on_its_page(owner: FlaskClient, app: Flask, run: Any) -> None:
    address = f"/reports/{run()}/links"
    token = form_token(owner, address)
    data = {"csrf_token": token, "days": "30", "note": "the auditor"}
    made = owner.post(address, data=data)
    assert made.status_code == 201
    found = re.search(r'id="link-address">http://localhost(/shared/[^<]+)<', made.text)
    assert found is not None
    assert app.test_client().get(found[1]).status_code == 200
    listed = owner.get(address).text
    assert "the auditor" in listed
    assert found[1] not in listed
    action = re.search(rf'action="({address}/[^"]+/revoke)"', listed)
    assert action is not None
    assert owner.post(action[1], data={"csrf_token": token}).status_code == 303
    assert app.test_client().get(found[1]).status_code == 404
    short = owner.post(address, data=data | {"password": "abc"})
    assert short.status_code == 422
    assert "at least 6" in short.text


def test_tokens_of_links_are_in_no_log(app: Flask, share: Any, caplog: Any) -> None:
    path, _ = share()
    with caplog.at_level("INFO"):
        app.test_client().get(path)
        app.test_client().get("/reset/canary-of-a-reset")
        app.test_client().get("/confirm/canary-of-a-reset")
    assert path.rpartition("/")[2] not in caplog.text
    assert "canary" not in caplog.text
