"""Pages: who is online, a login's history, the form of a report."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient

from tests.kinds.session_activity.session_helpers import Sender

HTMX = {"HX-Request": "true"}


@pytest.fixture
def viewer(client_for: Callable[[str], FlaskClient]) -> FlaskClient:
    return client_for("viewer")


def test_the_dashboard_says_when_nobody_is_online(viewer: FlaskClient) -> None:
    assert "Nobody is online" in viewer.get("/session-activity").text


def test_the_dashboard_shows_who_is_online_and_asks_for_itself(
    viewer: FlaskClient, sender: Sender
) -> None:
    start = datetime.now(UTC) - timedelta(hours=2, minutes=5)
    sender.begin("s1", start.strftime("%Y-%m-%dT%H:%M:%SZ"), next_ping_sec=8000)
    page = viewer.get("/session-activity")
    for text in ("anna", "pink0001", "192.168.1.100", "2 h 05 min", 'hx-trigger="every 5s"'):
        assert text in page.text
    partial = viewer.get("/session-activity", headers=HTMX)
    assert "anna" in partial.text
    assert "<html" not in partial.text
    assert "HX-Request" in partial.headers["Vary"]


def test_the_dashboard_marks_an_address_that_is_none(viewer: FlaskClient, sender: Sender) -> None:
    sender.begin("s1", None, ip_addr="10.0.0.1 172.17.0.1")
    sender.begin("s2", None, login="bela", comp_name="blue0002", ip_addr="fe80::1%en0")
    page = viewer.get("/session-activity", headers=HTMX).text
    assert "10.0.0.1 172.17.0.1" in page
    assert page.count("no IP address") == 1


def test_computers_are_counted_once_and_a_restart_leaves_one_row(
    viewer: FlaskClient, sender: Sender
) -> None:
    for minutes, key in ((-90, "before"), (-65, "after")):
        start = datetime.now(UTC) + timedelta(minutes=minutes)
        sender.begin(key, start.strftime("%Y-%m-%dT%H:%M:%SZ"), next_ping_sec=7200)
    sender.begin("s2", None, login="bela")
    page = viewer.get("/session-activity", headers=HTMX).text
    assert "2 logins at 1 computer," in page
    assert page.count("<tr>") == 1 + 2
    assert "1 h 05 min" in page
    assert "1 h 30 min" not in page
    # Programs still see each session.
    assert len(sender.get("/dashboard").json["data"]) == 3


def test_the_dashboard_says_whose_clock_is_ahead(viewer: FlaskClient, sender: Sender) -> None:
    now = datetime.now(UTC)
    ahead = (now + timedelta(minutes=5, seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    sender.begin("s1", ahead)
    sender.begin("s2", None, login="bela")
    page = viewer.get("/session-activity", headers=HTMX).text
    assert page.count("clock 5 min ahead") == page.count("ahead</span>") == 1
    sender.ping("s1", None)
    assert "ahead</span>" not in viewer.get("/session-activity", headers=HTMX).text


def test_a_login_drops_off_when_its_time_has_passed(viewer: FlaskClient, sender: Sender) -> None:
    sender.begin("s1", "2023-09-06T08:00:00Z")
    assert "anna" not in viewer.get("/session-activity", headers=HTMX).text


def test_another_companys_logins_are_not_shown(
    client_for: Callable[[str], FlaskClient], sender: Sender
) -> None:
    sender.begin("s1", None)
    stranger = client_for("stranger")
    assert "anna" not in stranger.get("/session-activity").text
    answer = stranger.get("/session-activity/login?login=anna")
    assert answer.status_code == 422
    assert "There is no such login." in answer.text


def test_a_logins_history_has_tables_and_charts_by_day_and_month(
    viewer: FlaskClient, sender: Sender
) -> None:
    sender.begin("s1", "2023-08-31T23:00:00Z", next_ping_sec=7200)
    page = viewer.get("/session-activity/login?login=anna&start=2023-07&end=2023-09").text
    charts = [
        json.loads(text)
        for text in re.findall(r'<script type="application/json">(.*?)</script>', page)
    ]
    by_month, by_day = charts
    assert by_month["labels"] == ["2023-07", "2023-08", "2023-09"]
    assert by_month["views"][0]["series"][0]["values"] == [0.0, 1.0, 1.0]
    assert len(by_day["labels"]) == 92
    assert "2023-08-31" in page
    assert "2.00" in page


def test_a_login_that_does_not_exist_keeps_the_form_as_typed(viewer: FlaskClient) -> None:
    answer = viewer.get("/session-activity/login?login=no%00body&start=2023-13")
    assert answer.status_code == 422
    assert "2023-13" in answer.text
    assert viewer.get("/session-activity/login").status_code == 200


def test_the_calendars_last_month_has_a_page(viewer: FlaskClient, sender: Sender) -> None:
    page = viewer.get("/session-activity/login?login=anna&start=9999-12&end=9999-12")
    assert page.status_code == 200
    assert "9999-12" in page.text


@pytest.mark.parametrize("event", ["no%00body", "x" * 51, "a%0Ab"])
def test_an_event_that_cannot_be_is_named_beside_its_field(
    viewer: FlaskClient, sender: Sender, event: str
) -> None:
    answer = viewer.get(f"/session-activity/login?login=anna&session_type={event}")
    assert answer.status_code == 422
    assert "An event has at most 50 letters" in answer.text


def test_names_are_escaped(viewer: FlaskClient, sender: Sender) -> None:
    sender.post("/users", [{"Name": "<b>x</b>"}])
    sender.begin("s1", None, login="<b>x</b>")
    assert "<b>x</b>" not in viewer.get("/session-activity").text


def test_strangers_are_sent_to_the_sign_in(app, sender: Sender) -> None:  # type: ignore[no-untyped-def]
    for path in ("/session-activity", "/session-activity/login"):
        answer = app.test_client().get(path)
        assert answer.status_code == 303
        assert "/login" in answer.location


def test_the_form_of_a_report_offers_every_parameter(
    client_for: Callable[[str], FlaskClient],
) -> None:
    page = client_for("colleague").get("/reports/new/session-activity").text
    for name in ("login", "session_type", "group_by", "range", "start", "end", "from_date"):
        assert f'name="{name}"' in page
