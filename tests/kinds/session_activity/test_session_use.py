"""Use of computers, rooms and events: hours, share of opening hours, most at once, idle ones."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import find_scope
from tests.kinds.session_activity.session_helpers import COMPUTERS, PREFIX, Sender
from tests.kinds.session_activity.test_session_hours import START, at, joined, seconds_of
from webapp.kinds.session_activity.compute import (
    hours_of_week,
    most_at_once,
    overlap,
    period_of,
    period_text,
)
from webapp.kinds.session_activity.names import change_settings
from webapp.kinds.session_activity.use import open_spans, read_opening, read_rooms

# 2023-09-06 was a Wednesday.
DAY = {"range": "dates", "from_date": "2023-09-06", "to_date": "2023-09-06"}
BERLIN = ZoneInfo("Europe/Berlin")
SENT = st.lists(st.tuples(st.integers(0, 900), st.integers(1, 120)), max_size=12)


@settings(max_examples=60)
@given(st.lists(SENT, max_size=4))
def test_most_at_once_and_overlap_are_those_of_the_plain_model(units: list[Any]) -> None:
    spans = [joined(pings) for pings in units]
    seconds = [seconds_of(one) for one in spans]
    counts = {s: sum(s in one for one in seconds) for one in seconds for s in one}
    most, when = most_at_once(spans)
    assert most == max(counts.values(), default=0)
    if most:
        assert when == at(min(s for s, count in counts.items() if count == most))
    if len(spans) > 1:
        both = overlap(spans[0], spans[1]) / timedelta(seconds=1)
        assert both == len(seconds[0] & seconds[1])


@settings(max_examples=40)
@given(SENT, st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]))
def test_hours_of_the_week_are_the_seconds_of_each(pings: list[Any], name: str) -> None:
    # An hour or so around the night in which clocks are set back.
    spans = joined([(second * 30, promise) for second, promise in pings])
    expected: dict[tuple[int, int], int] = {}
    for second in seconds_of(spans):
        local = (START + timedelta(seconds=second)).astimezone(ZoneInfo(name))
        place = local.weekday(), local.hour
        expected[place] = expected.get(place, 0) + 1
    found = hours_of_week(spans, ZoneInfo(name))
    assert {place: one / timedelta(seconds=1) for place, one in found.items()} == expected


def test_opening_hours_are_read_as_people_write_them() -> None:
    opening = read_opening("Mo-Fr 08:00-12:00; Mo-Fr 13:00-18:00; Sa-Su 22:00-24:00")
    week = open_spans(opening, date(2023, 10, 23), date(2023, 10, 29), BERLIN)
    hours = sum((span.end - span.start for span in week), timedelta()) / timedelta(hours=1)
    assert hours == 5 * 9 + 2 * 2
    # A night over the turn of the week, and the day that has 25 hours where none are set.
    assert sorted(read_opening("Sa-Mo 10:00-11:00")) == [0, 5, 6]
    [always] = open_spans({}, date(2023, 10, 29), date(2023, 10, 29), BERLIN)
    assert always.end - always.start == timedelta(hours=25)
    for wrong in ("always", "Mo 18:00-08:00", "Mo-Xx 08:00-09:00", "Mo 25:00-26:00"):
        with pytest.raises(ValueError, match="pening hours"):
            read_opening(wrong)
    assert read_rooms("Pink* = Pink room\n\n* = Hall") == [("pink*", "Pink room"), ("*", "Hall")]
    with pytest.raises(ValueError, match="a line for each"):
        read_rooms("pink*")


def test_weeks_are_those_of_iso() -> None:
    for day, text in (("2023-01-01", "2022-W52"), ("2025-12-29", "2026-W01")):
        week = period_of(date.fromisoformat(day), "week")
        assert period_text(week, "week") == text


@pytest.fixture
def worked(app: Flask, sender: Sender) -> Sender:
    """Two people at two computers of a room, a third computer elsewhere that nobody uses."""
    with app.app_context():
        values = {"opening_hours": "Mo-Fr 08:00-12:00", "rooms": "pink* = Lab\nblue* = Lab"}
        change_settings(find_scope(app, "owner"), values)
    sender.begin("s1", "2023-09-06T08:00:00Z", next_ping_sec=7200)
    sender.begin("s2", "2023-09-06T09:00:00Z", login="bela", comp_name="blue0002")
    sender.ping("s2", "2023-09-06T09:01:00Z", login="bela", next_ping_sec=3540, session_type="exam")
    sender.begin("s3", "2023-09-06T13:00:00Z", login="bela", next_ping_sec=3600)
    return sender


def test_a_computer_that_was_switched_off_since_counts_where_it_was_used(
    worked: Sender, report: Callable[..., Any]
) -> None:
    def share() -> float:
        [lab] = [row for row in report(by="room", **DAY)["rooms"] if row["room"] == "Lab"]
        return float(lab["open_share"])

    # Of twice four hours two, and one.
    assert share() == 37.5
    for name in COMPUTERS:
        off = {"Name": name, "is_off": True}
        changed = worked.client.patch(f"{PREFIX}/computers", json=off, auth=worked.auth)
        assert changed.status_code == 200
    assert share() == 37.5


def test_a_computer_is_idle_where_its_time_was_taken_away_or_is_of_other_days(
    worked: Sender, report: Callable[..., Any]
) -> None:
    times = {"start": "2023-09-06T09:00:00Z", "end": "2023-09-06T10:00:00Z"}
    wrong = {"login": "bela", "comp_name": "blue0002", **times, "reason": "Wrong card"}
    assert worked.post("/corrections", wrong).status_code == 201
    # Single pings, each about as late: those of a clock that is behind, of today.
    begun = datetime.now(UTC) - timedelta(minutes=20)
    worked.begin("behind", begun.isoformat(), comp_name="red0003")
    for second in range(1, 4):
        worked.ping("behind", (begun + timedelta(seconds=second)).isoformat())
    right = {"Name": "red0003", "corrects_clock": True}
    worked.client.patch(f"{PREFIX}/computers", json=right, auth=worked.auth)
    for by in ("computer", "room"):
        idle = [row["computer"] for row in report(by=by, **DAY)["idle"]]
        assert sorted(idle) == ["blue0002", "red0003"], by


def test_hours_by_computer(worked: Sender, report: Callable[..., Any]) -> None:
    result = report(by="computer", group_by="date", **DAY)
    assert result["hours"] == [
        {"computer": name, "room": "Lab", "date": "2023-09-06", "hours": h, "person_hours": h}
        for name, h in (("blue0002", 1.0), ("pink0001", 3.0))
    ]
    share = {row["computer"]: row["open_share"] for row in result["computers"]}
    assert share == {"blue0002": 25.0, "pink0001": 50.0, "red0003": 0.0}
    assert [row["computer"] for row in result["idle"]] == ["red0003"]
    assert (result["total_hours"], result["computer_count"]) == (4.0, 3)
    wednesday = result["week"][2]
    assert {hour: h for hour, h in wednesday.items() if h and hour != "weekday"} == {
        "08": 1.0,
        "09": 2.0,
        "13": 1.0,
    }
    rows = list(csv.DictReader(io.StringIO(report("csv", by="computer", **DAY).decode())))
    assert list(rows[0]) == ["computer", "room", "month", "hours", "person_hours"]
    assert report("xlsx", by="computer", **DAY).startswith(b"PK")


def test_hours_by_room_count_how_many_are_in_use_at_once(
    worked: Sender, report: Callable[..., Any]
) -> None:
    result = report(by="room", group_by="week", **DAY)
    assert result["hours"] == [
        {"room": "Lab", "week": "2023-W36", "hours": 3.0, "machine_hours": 4.0}
    ]
    empty, lab = result["rooms"]
    assert (empty["room"], empty["hours"], empty["open_share"]) == ("(no room)", 0.0, 0.0)
    # Three of the eight hours that its two computers were open.
    assert lab["open_share"] == 37.5
    assert (lab["most_at_once"], lab["most_at"]) == (2, "2023-09-06T09:00:00Z")
    assert [row["computer"] for row in result["idle"]] == ["red0003"]


def test_hours_by_event(worked: Sender, report: Callable[..., Any]) -> None:
    result = report(by="event", group_by="date", **DAY)
    assert [(row["event"], row["hours"]) for row in result["hours"]] == [("exam", 0.983333)]
    assert result["events"][0]["most_at_once"] == 1
    assert "idle" not in result


def test_hours_by_computer_of_one_login_in_any_spelling(
    worked: Sender, report: Callable[..., Any]
) -> None:
    result = report(by="computer", login="BELA", **DAY)
    assert [(row["computer"], row["hours"]) for row in result["hours"]] == [
        ("blue0002", 1.0),
        ("pink0001", 1.0),
    ]
    assert report(login="BELA", **DAY)["total_hours"] == 2.0


def test_a_range_of_weeks_gives_the_sums_of_its_days(
    worked: Sender, report: Callable[..., Any]
) -> None:
    whole = {"range": "months", "start": "2023-08", "end": "2023-09"}
    for by in ("computer", "room", "event"):
        days = report(by=by, group_by="date", **whole)
        for group_by in ("week", "month"):
            sums = report(by=by, group_by=group_by, **whole)
            assert sums["total_hours"] == days["total_hours"]
            assert [row["hours"] for row in sums[f"{by}s"]] == [
                row["hours"] for row in days[f"{by}s"]
            ]


def test_a_computer_that_is_off_is_neither_idle_nor_open(
    worked: Sender, report: Callable[..., Any]
) -> None:
    body = {"Name": "red0003", "is_off": True}
    worked.client.patch(PREFIX + "/computers", json=body, auth=worked.auth)
    assert report(by="room", **DAY)["idle"] == []


def test_a_logins_hours_by_week(worked: Sender) -> None:
    data = worked.hours(group_by="week", from_date="2023-08-01", to_date="2023-09-30")
    assert data["user_activity"] == [
        {"year": "2023", "week_num": "36", "hours": 2.0, "machine_hours": 2.0}
    ]


@pytest.mark.parametrize("by", ["room", "computer"])
def test_the_page_shows_use_heat_and_idle_computers(
    worked: Sender, client_for: Callable[[str], FlaskClient], by: str
) -> None:
    days = "from_date=2023-09-06&to_date=2023-09-06"
    page = client_for("viewer").get(f"/session-activity/use?by={by}&{days}").text
    for text in ("Lab", "red0003", "never seen", "is-heat-5"):
        assert text in page
    assert {"room": "37.50 %", "computer": "50.00 %"}[by] in page
    heat = re.findall(r'<tr><th scope="row">We</th>(.*?)</tr>', page)
    assert heat[0].count("<td") == 24
    # 0.17 hours are shown for ten minutes, and are no warmer than the hottest.
    worked.begin("s9", "2023-09-13T08:00:00Z", next_ping_sec=600)
    days = "from_date=2023-09-13&to_date=2023-09-13"
    page = client_for("viewer").get(f"/session-activity/use?by={by}&{days}").text
    assert re.findall(r"is-heat-[1-9]", page) == ["is-heat-5"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("from_date=2023-09-01&to_date=2023-12-01", "31 days at most"),
        ("from_date=2023-09-02&to_date=2023-09-01", "before the first date"),
        ("from_date=yesterday", "YYYY-MM-DD"),
        ("from_date=0001-01-01&to_date=0001-01-02", "cannot be right"),
    ],
)
def test_days_that_cannot_be_shown_are_named_beside_their_field(
    sender: Sender, client_for: Callable[[str], FlaskClient], query: str, sentence: str
) -> None:
    answer = client_for("viewer").get(f"/session-activity/use?{query}")
    assert answer.status_code == 422
    assert sentence in answer.text


def test_without_computers_the_page_says_so(client_for: Callable[[str], FlaskClient]) -> None:
    assert "No computers are known yet" in client_for("viewer").get("/session-activity/use").text


def test_what_lies_ahead_is_not_open_yet(sender: Sender, report: Callable[..., Any]) -> None:
    today = datetime.now(UTC).date().isoformat()
    sender.begin("s1", None, next_ping_sec=60)
    [pink] = [
        row
        for row in report(by="computer", range="dates", from_date=today, to_date=today)["computers"]
        if row["computer"] == "pink0001"
    ]
    assert pink["hours"] > 0
