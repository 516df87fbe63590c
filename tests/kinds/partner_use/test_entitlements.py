"""Accounts bought for a partner: the share used, and the month in which the rest is gone."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import DEMO_KEY, DEMO_SECRET, Api, form_token
from tests.kinds.partner_use.partner_use_helpers import Maker
from tests.kinds.partner_use.test_answer import month
from webapp.delivery.bodies import Alert
from webapp.delivery.results import find
from webapp.engine.models import Report
from webapp.extensions import db
from webapp.kinds.partner_use.entitlements import Entitlement, share_of, usage


def bought(accounts: int, since: str) -> Entitlement:
    return Entitlement(accounts=accounts, since=date.fromisoformat(since))


def grown(*deltas: int, start: int = 1000) -> list[dict[str, Any]]:
    """Return months from 2025-01 on that grew so."""
    rows, total = [], start
    for number, delta in enumerate(deltas, start=1):
        total += delta
        rows.append(month(f"2025-{number:02d}", total, delta))
    return rows


def test_even_growth_crosses_in_one_month() -> None:
    found = usage([bought(1500, "2024-01-01")], grown(100, 100, 100))
    assert found is not None
    assert (found.used, round(found.percent, 1)) == (1300, 86.7)
    assert found.crossed == found.earliest == found.latest == date(2025, 5, 1)
    assert found.words() == ("of 1,500 bought; full in 2025-05 (2025-05) at the present growth")


def test_uneven_growth_has_a_range_and_may_have_no_end() -> None:
    found = usage([bought(2000, "2024-01-01")], grown(60, 140, 80, 120, 100, 100))
    assert found is not None
    assert found.crossed == date(2025, 10, 1)
    assert found.earliest is not None
    assert found.latest is not None
    assert found.earliest <= found.crossed < found.latest
    wild = usage([bought(5000, "2024-01-01")], grown(400, -390, 20))
    assert wild is not None
    assert wild.latest is None
    assert "to never" in wild.words()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (grown(300, 300, 300), "of 1,500 bought: 400 over"),
        (grown(10, -20, 5), "of 1,500 bought; not full in sight at the present growth"),
        (grown(10, 10), "of 1,500 bought; not full in sight at the present growth"),
        (grown(500), "of 1,500 bought: 0 over"),
    ],
)
def test_what_is_over_or_out_of_sight_is_said(rows: list[dict[str, Any]], words: str) -> None:
    (figure,) = share_of([bought(1500, "2024-01-01")], rows)
    assert figure.note == words


def test_what_held_at_the_end_of_the_month_counts() -> None:
    steps = [bought(1000, "2024-01-01"), bought(2600, "2025-03-31"), bought(9000, "2025-04-01")]
    found = usage(steps, grown(100, 100, 100))
    assert found is not None
    assert found.accounts == 2600
    assert usage([bought(9000, "2025-04-01")], grown(100, 100, 100)) is None
    assert usage(steps, [month("2025-01", None, None)]) is None


def test_a_result_by_month_says_the_share(
    app: Flask,
    api_for: Callable[[str], Api],
    client_for: Callable[[str], FlaskClient],
    maker: Maker,
) -> None:
    api = api_for("owner")
    params = {
        "partner_id": "70000001",
        "user_key": DEMO_KEY,
        "user_secret": DEMO_SECRET,
        "mode": "monthly",
        "start": "2025-01",
        "end": "2025-06",
    }
    body = {"partner_id": "70000001", "since": "2020-01-01", "accounts": 1_000_000}
    assert api.post("/entitlements", body).status_code == 201
    report_id = maker.make(params).id
    page = client_for("owner").get(f"/reports/{report_id}").text
    assert "Share of what is bought" in page
    assert "of 1,000,000 bought" in page
    assert "of 1,000,000 bought" in client_for("viewer").get("/").text
    watched = {"figure": "Share of what is bought", "name": "Full", "when": "above", "limit": 80}
    with app.app_context():
        found = find(Alert(**watched), db.session.get_one(Report, report_id), None, [])
    assert re.fullmatch(r"Share of .* is [0-9.]+ %; the limit is 80 %\.", found.sentence)
    # Another company's are its own.
    assert "bought" not in client_for("stranger").get("/").text
    assert api_for("stranger").get("/entitlements").json == []


def test_they_are_stored_replaced_and_deleted(api_for: Callable[[str], Api]) -> None:
    api = api_for("colleague")
    first = {"partner_id": "1", "since": "2025-01-01", "accounts": 100, "note": "contract 7"}
    made = api.post("/entitlements", first).json
    again = api.post("/entitlements", first | {"accounts": 200}).json
    assert again["id"] == made["id"]
    assert [one["accounts"] for one in api.get("/entitlements?partner_id=1").json] == [200]
    assert api.get("/entitlements?partner_id=2").json == []
    for wrong in ({"accounts": 0}, {"accounts": "many"}, {"since": "soon"}, {"partner_id": "x y"}):
        assert api.post("/entitlements", first | wrong).status_code == 422, wrong
    assert api_for("viewer").post("/entitlements", first).status_code == 403
    stranger = api_for("stranger")
    path = f"/api/v1/entitlements/{made['id']}"
    assert stranger.client.delete(path, auth=stranger.auth).status_code == 404
    assert api.client.delete(path, auth=api.auth).status_code == 204
    assert api.get("/entitlements").json == []


def test_they_are_entered_on_their_page(client_for: Callable[[str], FlaskClient]) -> None:
    browser = client_for("owner")
    form = {
        "csrf_token": form_token(browser, "/entitlements"),
        "partner_id": "70000001",
        "accounts": "25,000",
        "since": "2025-01-01",
    }
    assert browser.post("/entitlements", data=form).status_code == 303
    assert "25,000" in browser.get("/entitlements").text
    wrong = browser.post("/entitlements", data=form | {"accounts": "lots"})
    assert wrong.status_code == 422
    assert "Write a whole number" in wrong.text
    assert "Delete" not in client_for("viewer").get("/entitlements").text.partition("<main")[2]
