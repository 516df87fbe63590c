"""Pages: who is online, a login's history, the form of a report."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, update

from tests.conftest import find_scope
from tests.kinds.session_activity.session_helpers import Sender
from webapp.accounts import Company
from webapp.extensions import db
from webapp.kinds.session_activity import pages
from webapp.kinds.session_activity.models import Login, Settings
from webapp.kinds.session_activity.names import settings_of
from webapp.kinds.session_activity.sessions import board

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


def test_the_board_is_paged_filtered_and_sorted_on_the_server(
    viewer: FlaskClient, sender: Sender
) -> None:
    names = [f"guest{number:03d}" for number in range(60)]
    sender.post("/users", [{"Name": name} for name in names])
    sender.post("/computers", [{"Name": f"pc-{name}"} for name in names])
    for name in names:
        sender.begin(name, None, login=name, comp_name=f"pc-{name}", ip_addr="10.0.0.7")

    def shown(query: str) -> list[str]:
        page = viewer.get(f"/session-activity?{query}", headers=HTMX).text
        return re.findall(r">(guest\d+)</a>", page)

    assert shown("") == names[:50]
    assert shown("page=2") == names[50:]
    assert shown("search=PC-guest01") == names[10:20]
    assert shown("sort=since")[0] == names[-1]
    assert shown("sort=until") == names[:50]
    # A page that emptied meanwhile leads to the last one there is.
    assert shown("page=9") == names[50:]
    page = viewer.get("/session-activity?search=zz").text
    assert "Nobody online matches." in page
    assert "60 logins at 60 computers," in viewer.get("/session-activity?page=2").text
    file = viewer.get("/session-activity/online.csv?search=guest00&sort=computer")
    assert file.text.splitlines()[0].lstrip("\ufeff") == "login,computer,ip_addr,since,hours,until"
    assert len(file.text.splitlines()) == 11


@pytest.mark.parametrize("seen_by", ["everybody", "oneself"])
def test_the_board_is_counted_without_its_names_where_none_is_searched(
    app: Flask, sender: Sender, seen_by: str
) -> None:
    sender.begin("s1", None)
    sender.begin("s2", None, login="bela")
    statements: list[str] = []
    scope = find_scope(app, "owner")
    with app.app_context():
        db.session.add(settings_of(scope.company_id))
        db.session.execute(update(Settings).values(hours_seen_by=seen_by))
        db.session.execute(update(Login).where(Login.name == "anna").values(user_id=scope.user_id))
        db.session.commit()
        event.listen(db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
        found = board(db.session, scope, datetime.now(UTC), "", "login")
    people = 2 if seen_by == "everybody" else 1
    assert (found.matching, found.people, found.computers) == (people, people, 1)
    [counting] = [one for one in statements if "count(DISTINCT" in one]
    assert "_computer " not in counting
    assert "session_activity_login" not in counting


def test_the_board_is_sent_again_only_when_something_of_it_changed(
    viewer: FlaskClient, sender: Sender
) -> None:
    sender.begin("s1", None, next_ping_sec=3600)

    def poll() -> tuple[str, int]:
        page = viewer.get("/session-activity", headers=HTMX).text
        address = re.findall(r'hx-get="([^"]*seen=[^"]*)"', page)[0].replace("&amp;", "&")
        return address, viewer.get(address, headers=HTMX).status_code

    # A minute may end between both.
    assert 204 in {poll()[1] for _ in range(2)}
    address, _ = poll()
    sender.begin("s2", None, login="bela", comp_name="blue0002")
    assert viewer.get(address, headers=HTMX).status_code == 200


def test_for_is_the_time_that_was_credited(viewer: FlaskClient, sender: Sender) -> None:
    now = datetime.now(UTC)
    for minutes in (180, 120):
        at = (now - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
        if minutes == 180:
            sender.begin("s1", at, next_ping_sec=600)
        else:
            sender.ping("s1", at, next_ping_sec=9000)
    # Ten minutes, an hour's gap that does not count, and two hours up to now.
    assert "2 h 10 min" in viewer.get("/session-activity", headers=HTMX).text


def test_times_are_of_the_companys_zone_with_the_day_where_it_is_not_today(
    app: Flask, viewer: FlaskClient, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context():
        db.session.execute(update(Company).values(timezone="Pacific/Auckland"))
        db.session.commit()
    zone, begun = ZoneInfo("Pacific/Auckland"), datetime.now(UTC)
    sender.begin("s1", None, next_ping_sec=86_400)
    assert "(Pacific/Auckland)" in viewer.get("/session-activity", headers=HTMX).text
    # Just before it is over it began yesterday, and ends today.
    later = begun + timedelta(hours=23, minutes=58)
    monkeypatch.setattr(pages, "utcnow", lambda: later)
    page = viewer.get("/session-activity", headers=HTMX).text
    since, until = re.findall(r'<time datetime="[^"]*">([^<]*)</time>', page)
    assert since.startswith(f"{begun.astimezone(zone):%Y-%m-%d} ")
    ends = begun.astimezone(zone) + timedelta(days=1)
    if ends.date() == later.astimezone(zone).date():
        assert re.fullmatch(r"\d\d:\d\d", until)


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
    sender.begin("s2", "2023-07-31T08:00:00Z", next_ping_sec=600)
    page = viewer.get("/session-activity/login?login=anna&start=2023-07&end=2023-09").text
    charts = [
        json.loads(text)
        for text in re.findall(r'<script type="application/json">(.*?)</script>', page)
    ]
    by_month, by_day = charts
    assert by_month["labels"] == ["2023-07", "2023-08", "2023-09"]
    assert by_month["views"][0]["series"][0]["values"] == [0.166667, 1.0, 1.0]
    assert len(by_day["labels"]) == 92
    assert "2023-08-31" in page
    # Rounded once: charts say the sum that stands at the head.
    assert set(re.findall(r"[\d.]+ hours in all", page)) == {"2.17 hours in all"}


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
