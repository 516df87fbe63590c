"""Clocks that are off: known by what senders tell of them, or by the lag of their pings."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.conftest import Api, form_token
from tests.kinds.session_activity.session_helpers import Sender, ping_body
from tests.kinds.session_activity.test_session_clocks import seconds_of
from tests.kinds.session_activity.test_session_hours import alive_seconds
from webapp.engine import jobs
from webapp.extensions import db
from webapp.kinds.session_activity import api, pages
from webapp.kinds.session_activity.models import ClockOffset, Login

START = datetime(2023, 9, 6, 8, tzinfo=UTC)
DAY = {"from_date": "2023-09-06", "to_date": "2023-09-06"}
HTMX = {"HX-Request": "true"}
# Examples share a database, so each gets a session of its own.
NUMBERS = itertools.count()
Sends = Callable[..., Any]


def text(second: float) -> str:
    return (START + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a way to set the server's clock: `at(60)` is a minute after the start."""
    now = START

    def set_clock(second: float) -> None:
        nonlocal now
        now = START + timedelta(seconds=second)

    for module in (api, pages):
        monkeypatch.setattr(module, "utcnow", lambda: now)
    return set_clock


MADE = st.lists(
    # When it was made, how much later it was sent, by how much the clock is off then and when sent.
    st.tuples(
        st.integers(0, 900),
        st.sampled_from([0, 0, 1, 30, 300]),
        st.sampled_from([-7200, -120, -61, -59, 0, 20, 59, 61, 300, 86_400]),
        st.sampled_from([0, 0, 0, 3600, -3600]),
    ),
    min_size=1,
    max_size=8,
)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(MADE, st.booleans())
def test_hours_are_where_the_senders_own_clock_puts_them(
    app: Flask, sender: Sender, at: Callable[[float], None], made: list[Any], again: bool
) -> None:
    # The plain model: what is known to be off by more than a minute is put right, and what is ahead
    # of its arrival counts from there. Times said twice are another test's.
    model = []
    for when, later, off, change in made:
        arrival, said = when + later, when + off
        offset = -(off + change)
        model.append((arrival, said, said + offset if abs(offset) > 60 else said, offset))
    assume(
        len({put for _, _, put, _ in model} | {said for _, said, _, _ in model})
        == len([1 for _, said, put, _ in model for _ in {said, put}])
    )
    session = f"s{next(NUMBERS)}"
    at(-300)
    assert sender.begin(session, text(-300), next_ping_sec=1).status_code == 201
    for arrival, said, _, offset in sorted(model):
        at(arrival)
        body = ping_body(session, text(said), sent_at=text(arrival - offset))
        for sent in [body, [body]] if again else [body]:
            assert sender.post("/activity", sent).status_code == 201
    credits = [(-300, 1), *((min(put, arrival), 60) for arrival, _, put, _ in model)]
    assert seconds_of(app, session) == alive_seconds(credits)


@pytest.mark.parametrize("off", [-120, -3600, -86_400 * 365 * 23, 300])
def test_a_clock_that_is_off_loses_no_minute_where_its_sender_tells_it(
    app: Flask, sender: Sender, at: Callable[[float], None], off: int
) -> None:
    at(0)
    sender.begin("s1", text(off), sent_at=text(off))
    for minute in range(1, 30):
        at(60 * minute)
        # From the tenth minute on the clock is set back by another hour.
        now = 60 * minute + off - (3600 if minute > 10 else 0)
        assert sender.ping("s1", text(now), sent_at=text(now)).status_code == 201
    assert seconds_of(app, "s1") == set(range(1800))
    assert sender.get("/dashboard").json["data"][0]["start_date_time"] == text(0)
    with app.app_context():
        kept = db.session.scalars(select(ClockOffset).order_by(ClockOffset.corrected_at)).all()
        assert kept[0].said_at == START + timedelta(seconds=off)
        assert kept[0].corrected_at == START


def test_what_is_sent_again_counts_where_the_first_one_put_it(
    app: Flask, sender: Sender, at: Callable[[float], None]
) -> None:
    at(0)
    assert sender.begin("s1", text(-200), sent_at=text(-200)).status_code == 201
    at(0.4)
    assert sender.begin("s1", text(-200), sent_at=text(-199)).status_code == 200
    for arrival, told in ((60, -140), (300.7, 100)):
        at(arrival)
        body = ping_body("s1", text(-140), sent_at=text(told))
        assert sender.post("/activity", [body, body]).status_code == 201
    assert seconds_of(app, "s1") == set(range(120))


def test_a_sender_whose_clock_is_centuries_ahead_corrects_nothing(
    app: Flask, sender: Sender, at: Callable[[float], None]
) -> None:
    at(120)
    for told in ("4500-01-01T00:00:00Z", "9000-12-31T00:00:00Z"):
        assert sender.begin(f"s{told[0]}", text(0), sent_at=told).status_code == 201
        body = ping_body(f"s{told[0]}", text(60), sent_at=told)
        assert sender.post("/activity", [body]).status_code == 201
        assert seconds_of(app, f"s{told[0]}") == set(range(120))


def slow(sender: Sender, at: Callable[[float], None], minutes: int, behind: int = 120) -> None:
    """Let anna sit at a computer whose clock is behind, pinging each minute."""
    at(0)
    assert sender.begin("s1", text(-behind)).status_code == 201
    for minute in range(1, minutes):
        at(60 * minute)
        assert sender.ping("s1", text(60 * minute - behind)).status_code == 201


def test_a_slow_clock_that_pings_regularly_is_online_and_nobody_begins_elsewhere(
    sender: Sender, at: Callable[[float], None]
) -> None:
    slow(sender, at, 2)
    assert [row["id"] for row in sender.get("/dashboard").json["data"]] == ["s1"]
    at(110)
    assert sender.begin("s2", text(110), comp_name="blue0002").status_code == 409
    at(121)
    assert sender.get("/dashboard").json["data"] == []
    assert sender.begin("s2", text(121), comp_name="blue0002").status_code == 201


def test_late_pings_are_not_online_whether_sent_one_by_one_or_together(
    sender: Sender, at: Callable[[float], None]
) -> None:
    at(3600)
    sender.begin("s1", text(0))
    for minute in range(1, 5):
        sender.ping("s1", text(60 * minute))
    sender.post("/activity", [ping_body("s1", text(60 * minute)) for minute in (5, 6)])
    # The same one again, or at the same time for an event, has its lag and tells nothing.
    for event in ("", "", "exam"):
        sender.ping("s1", text(420), session_type=event)
    assert sender.get("/dashboard").json["data"] == []


def test_the_board_says_whose_clock_is_behind_and_a_switch_corrects_it_and_is_taken_back(
    app: Flask,
    sender: Sender,
    at: Callable[[float], None],
    client_for: Callable[[str], FlaskClient],
) -> None:
    slow(sender, at, 2)
    browser = client_for("colleague")
    assert "behind" not in browser.get("/session-activity", headers=HTMX).text
    slow_pings = 30
    for minute in range(2, slow_pings):
        at(60 * minute)
        sender.ping("s1", text(60 * minute - 120))
    page = browser.get("/session-activity", headers=HTMX).text
    assert "clock about 2 min behind" in page
    assert "Correct it" in page
    assert "Correct it" not in client_for("viewer").get("/session-activity", headers=HTMX).text

    def switch(wanted: str) -> int:
        form = {
            "csrf_token": form_token(browser, "/session-activity"),
            "Name": "pink0001",
            "corrects_clock": wanted,
        }
        return int(browser.post("/session-activity/clock", data=form).status_code)

    hour = {"from_date": "2023-09-06", "to_date": "2023-09-06"}
    assert seconds_of(app, "s1") == set(range(-120, 60 * slow_pings - 120))
    assert switch("true") == 303
    page = browser.get("/session-activity", headers=HTMX).text
    assert "behind, corrected" in page
    assert "Take back" in page
    assert sender.hours(**hour)["total_hours"] == 0.5
    assert switch("false") == 303
    assert "Take back" not in browser.get("/session-activity", headers=HTMX).text
    # Ended now, it is over by its own clock as well, whatever it had promised.
    sender.ping("s1", text(60 * slow_pings - 180), next_ping_sec=3600)
    at(60 * slow_pings)
    form = {"csrf_token": form_token(browser, "/session-activity"), "session": "s1"}
    assert browser.post("/session-activity/end", data=form).status_code == 303
    assert seconds_of(app, "s1") == set(range(-120, 60 * slow_pings - 120))
    assert sender.get("/dashboard").json["data"] == []
    # The same ping again, at once or later, counts no more and brings nobody back.
    for later in (1, 500):
        at(60 * slow_pings + later)
        for said in (60 * slow_pings - 180, 60 * slow_pings - 125):
            sender.ping("s1", text(said), next_ping_sec=3600)
        assert sender.get("/dashboard").json["data"] == []
    assert seconds_of(app, "s1") == set(range(-120, 60 * slow_pings - 120))


def test_a_corrected_clock_moves_hours_to_another_day_and_stored_months_follow(
    app: Flask, sender: Sender, at: Callable[[float], None], api_for: Callable[[str], Api]
) -> None:
    # A quarter past midnight on the first of September by the right clock.
    shift = -86_400 * 5 - 3600 * 8 + 900
    at(shift)
    sender.begin("s1", text(shift - 1800))
    for minute in range(1, 10):
        at(shift + 60 * minute)
        sender.ping("s1", text(shift + 60 * minute - 1800), session_type="exam")
    params = {"start": "2023-08", "end": "2023-09", "login": "anna"}

    def report(**more: str) -> Any:
        program = api_for("owner")
        body = {"kind": "session-activity", "params": params | more}
        made = program.post("/reports", body).json["id"]
        with app.app_context():
            jobs.run_queued(made)
            db.session.remove()
        with program.get(f"/reports/{made}/result?format=json") as answer:
            return answer.json

    with app.app_context():
        login = db.session.scalars(select(Login).where(Login.name == "anna")).one()
        login.late_at = None
        db.session.commit()
    before = report()
    assert [row["hours"] for row in before["periods"]] == [round(10 / 60, 6), 0.0]
    assert before["clocks"] == [
        {
            "computer": "pink0001",
            "login": "anna",
            "started_at": "2023-08-31T23:45:00Z",
            "minutes_behind": 30.0,
            "corrected": "no",
        }
    ]
    for wanted, hours in ((True, [0.0, round(10 / 60, 6)]), (False, [round(10 / 60, 6), 0.0])):
        body = {"Name": "pink0001", "corrects_clock": wanted}
        path = "/api/session-manager/computers"
        answer = sender.client.patch(path, json=body, auth=sender.auth)
        assert answer.status_code == 200, answer.text
        after = report()
        assert [row["hours"] for row in after["periods"]] == hours
        events = report(by="event", start="2023-09")["hours"]
        assert [row["hours"] for row in events] == ([round(9 / 60, 6)] if wanted else [])
        assert after["clocks"][0]["corrected"] == ("yes" if wanted else "no")


def test_stored_months_follow_a_lag_that_becomes_steady_changes_and_is_broken(
    sender: Sender, at: Callable[[float], None], report: Callable[..., Any]
) -> None:
    month = {"login": "anna", "start": "2023-08", "end": "2023-08"}
    body = {"Name": "pink0001", "corrects_clock": True}
    sender.client.patch("/api/session-manager/computers", json=body, auth=sender.auth)
    # From ten minutes before September on, by a clock that is twenty minutes behind.
    midnight, lag = -86_400 * 5 - 3600 * 8, 1200
    at(midnight - 600)
    sender.begin("s1", text(midnight - 600 - lag), next_ping_sec=1200)
    august = []
    for minute, lag in ((21, 1200), (22, 1200), (23, 1190), (24, 1190), (60, 100)):
        # These pings are of September; hours of August change with the correction alone.
        at(midnight + 60 * minute)
        assert sender.ping("s1", text(midnight + 60 * minute - lag)).status_code == 201
        august.append(report(**month)["periods"][0]["hours"])
    assert [round(hours * 3600) for hours in august] == [1200, 600, 610, 610, 1200]


def test_only_experts_correct_a_clock_of_their_own_company(
    sender: Sender, sender_for: Callable[..., Sender]
) -> None:
    body = {"name": "pink0001", "corrects_clock": True}
    path = "/api/session-manager/computers"
    for name, status in (("viewer", 403), ("stranger", 404), ("colleague", 200)):
        who = sender_for(name)
        assert who.client.patch(path, json=body, auth=who.auth).status_code == status
    limited = sender_for("colleague", scope="send")
    assert limited.client.patch(path, json=body, auth=limited.auth).status_code == 403
    wrong = sender.client.patch(path, json={"name": "pink0001"}, auth=sender.auth)
    assert list(wrong.json["data"]["errors"]) == ["changes"]
