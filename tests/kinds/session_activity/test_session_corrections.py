"""Mistakes undone: a session ended now, a stretch corrected or removed, and taken back."""

from __future__ import annotations

import itertools
import random
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text as text_of_sql
from sqlalchemy import update

from tests.conftest import form_token
from tests.kinds.session_activity.session_helpers import PREFIX, Sender, ping_body
from tests.kinds.session_activity.test_session_clocks import moment, seconds_of, text
from tests.kinds.session_activity.test_session_hours import alive_seconds
from webapp.extensions import db
from webapp.kinds.session_activity.models import Login

DAY = {"from_date": "2023-09-06", "to_date": "2023-09-06"}
NUMBERS = itertools.count()
EIGHT, NINE, TEN = (f"2023-09-06T{hour:02d}:00:00Z" for hour in (8, 9, 10))


def ago(**before: float) -> str:
    return text(datetime.now(UTC) - timedelta(**before))


@pytest.mark.parametrize("event", ["", "exam"])
def test_an_end_takes_back_what_was_promised_ahead_of_it(
    app: Flask, sender: Sender, event: str
) -> None:
    sender.begin("s1", text(moment(0)), next_ping_sec=600)
    sender.ping("s1", text(moment(60)), next_ping_sec=3600, session_type="exam")
    assert (
        sender.ping("s1", text(moment(90)), next_ping_sec=0, session_type=event).status_code == 201
    )
    assert seconds_of(app, "s1") == set(range(90))
    assert seconds_of(app, "s1", "exam") == set(range(60, 90))
    # What was said before comes again, and changes nothing.
    sender.ping("s1", text(moment(60)), next_ping_sec=3600, session_type="exam")
    assert seconds_of(app, "s1") == set(range(90))
    sender.ping("s1", text(moment(200)))
    assert seconds_of(app, "s1") == {*range(90), *range(200, 260)}


def test_who_ends_now_is_off_the_board_and_may_begin_elsewhere(sender: Sender) -> None:
    sender.begin("s1", ago(minutes=5), next_ping_sec=80_000)
    assert sender.begin("s2", None, comp_name="blue0002").status_code == 409
    assert sender.ping("s1", None, next_ping_sec=0).status_code == 201
    assert sender.get("/dashboard").json["data"] == []
    assert sender.begin("s2", None, comp_name="blue0002").status_code == 201


def test_an_end_at_the_very_moment_of_the_last_ping_ends_the_session(sender: Sender) -> None:
    now = ago(seconds=1)
    sender.begin("s1", now, next_ping_sec=3600)
    for promise in (0, 3600):
        # Whichever of them is heard last.
        again = [ping_body("s1", now, next_ping_sec=promise)] * 2
        assert sender.post("/activity", again).status_code == 201
        assert sender.get("/dashboard").json["data"] == []


def test_an_end_that_comes_after_a_later_ping_changes_nothing(app: Flask, sender: Sender) -> None:
    sender.begin("s1", text(moment(0)), next_ping_sec=100)
    sender.ping("s1", text(moment(100)), next_ping_sec=100)
    sender.ping("s1", text(moment(50)), next_ping_sec=0)
    assert seconds_of(app, "s1") == set(range(200))


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.tuples(st.integers(0, 600), st.integers(1, 300)), max_size=8),
    st.integers(0, 999),
)
def test_a_list_with_an_end_in_any_order_is_cut_at_the_end(
    app: Flask, sender: Sender, sent: list[tuple[int, int]], seed: int
) -> None:
    session, end = f"s{next(NUMBERS)}", 601
    sender.begin(session, text(moment(0)), next_ping_sec=1)
    bodies = [
        ping_body(session, text(moment(at)), next_ping_sec=promise)
        for at, promise in [*sent, (end, 0)]
    ]
    random.Random(seed).shuffle(bodies)
    assert sender.post("/activity", bodies).status_code == 201
    cut = [(at, min(promise, end - at)) for at, promise in [(0, 1), *sent]]
    # The end shows that somebody was there: within the grace of what was promised it is joined.
    alive = alive_seconds(cut)
    if max(alive) + 1 >= end - 10:
        alive |= set(range(max(alive), end))
    assert seconds_of(app, session) == alive


def test_a_session_is_ended_on_the_board(
    sender: Sender, client_for: Callable[[str], FlaskClient]
) -> None:
    sender.begin("s1", ago(minutes=5), next_ping_sec=80_000)
    expert, viewer = client_for("colleague"), client_for("viewer")
    assert "End now" not in viewer.get("/session-activity").text
    form = {"csrf_token": form_token(expert, "/session-activity"), "session": "s1"}
    page = expert.post("/session-activity/end", data=form, follow_redirects=True).text
    assert "The session of anna at pink0001 is over." in page
    assert "Nobody is online" in page
    assert expert.post("/session-activity/end", data=form | {"session": "x"}).status_code == 404
    assert viewer.post("/session-activity/end", data=form).status_code in {400, 403}


def test_forms_of_the_board_and_of_names_lead_back_to_where_they_were(
    sender: Sender, client_for: Callable[[str], FlaskClient]
) -> None:
    names = [f"guest & {number:03d}" for number in range(53)]
    sender.post("/users", [{"Name": name} for name in names])
    sender.post("/computers", [{"Name": "pc-" + name} for name in names])
    for name in names:
        sender.begin(name, None, login=name, comp_name="pc-" + name, next_ping_sec=3600)
    sender.client.patch(
        f"{PREFIX}/computers", json={"Name": "red0003", "corrects_clock": True}, auth=sender.auth
    )
    expert = client_for("colleague")
    board = "/session-activity?search=guest+%26&sort=computer&page=2"
    people = "/session-activity/names/users?search=guest&after=guest+%26+051"
    for address, deed, sent in (
        (board, "/end", {"session": names[-1]}),
        (board, "/clock", {"Name": "red0003", "corrects_clock": "false"}),
        (people, "/names/users", {"Name": names[-1], "new_name": "guest 99"}),
    ):
        page = expert.get(address).text
        action = re.search(rf'action="(/session-activity{deed}\?[^"]*)"', page)
        assert action, deed
        form = {"csrf_token": form_token(expert, address), **sent}
        answer = expert.post(unescape(action[1]), data=form)
        assert answer.status_code == 303
        assert urlsplit(answer.location).path == urlsplit(address).path
        assert parse_qs(urlsplit(answer.location).query) == parse_qs(urlsplit(address).query)


def post(sender: Sender, **body: Any) -> Any:
    whole = {"login": "anna", "comp_name": "pink0001", "start": EIGHT, "end": TEN}
    return sender.post("/corrections", whole | {"reason": "left the screen on"} | body)


def test_a_stretch_is_removed_corrected_and_taken_back_with_a_history(sender: Sender) -> None:
    sender.begin("s1", EIGHT, next_ping_sec=7200)
    sender.ping("s1", EIGHT, next_ping_sec=7200, session_type="exam")
    removed = post(sender)
    assert removed.status_code == 201
    assert sender.hours(**DAY)["total_hours"] == 0
    # The same ping again does not bring it back.
    sender.ping("s1", EIGHT, next_ping_sec=7200)
    assert sender.hours(**DAY)["total_hours"] == 0
    number = removed.json["data"]["id"]
    path = f"{PREFIX}/corrections/{number}"
    assert sender.client.delete(path, auth=sender.auth).status_code == 200
    assert sender.client.delete(path, auth=sender.auth).status_code == 404
    assert sender.hours(**DAY)["total_hours"] == 2.0
    assert post(sender, new_start=EIGHT, new_end=NINE, reason="went at nine").status_code == 201
    assert sender.hours(**DAY)["total_hours"] == 1.0
    assert sender.hours(session_type="exam", **DAY)["total_hours"] == 1.0
    newest, oldest = sender.get("/corrections", login="ANNA").json["data"]
    assert (newest["reason"], newest["new_end"], newest["taken_back_at"]) == (
        ("went at nine", NINE, None)
    )
    assert oldest["made_by"] == oldest["taken_back_by"] == "owner@example.com"


def test_a_correction_of_a_correction_counts_on_top_of_it(sender: Sender) -> None:
    sender.begin("s1", EIGHT, next_ping_sec=3600)
    post(sender, new_start=NINE, new_end="2023-09-06T11:00:00Z")
    post(sender, start=NINE, end="2023-09-06T11:00:00Z", new_start=NINE, new_end=TEN)
    assert sender.hours(**DAY)["total_hours"] == 1.0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"login": "nobody"}, "login"),
        ({"comp_name": "nothing"}, "comp_name"),
        ({"end": EIGHT}, "end"),
        ({"new_start": NINE}, "new_end"),
        ({"new_end": NINE}, "new_start"),
        ({"new_start": TEN, "new_end": NINE}, "new_end"),
        ({"new_start": NINE, "new_end": "2199-01-01"}, "new_end"),
        ({"reason": ""}, "reason"),
    ],
)
def test_a_correction_that_cannot_be_names_its_field(
    sender: Sender, change: dict[str, str], field: str
) -> None:
    answer = post(sender, **change)
    assert answer.status_code == 400
    assert list(answer.json["data"]["errors"]) == [field]


def test_stored_months_follow_an_end_and_a_correction(
    app: Flask, sender: Sender, report: Callable[..., Any]
) -> None:
    def hours() -> float:
        with app.app_context():
            # As if all that came in had come long before it was counted.
            db.session.execute(update(Login).values(late_at=None))
            db.session.commit()
        return float(report(login="anna", start="2023-09", end="2023-09")["total_hours"])

    sender.begin("s1", EIGHT, next_ping_sec=7200)
    assert hours() == 2.0
    sender.ping("s1", NINE, next_ping_sec=0)
    assert hours() == 1.0
    number = post(sender).json["data"]["id"]
    assert hours() == 0.0
    sender.client.delete(f"{PREFIX}/corrections/{number}", auth=sender.auth)
    assert hours() == 1.0


def test_only_experts_correct_hours_of_their_own_company(
    sender: Sender, sender_for: Callable[..., Sender]
) -> None:
    number = post(sender).json["data"]["id"]
    for name, status in (("viewer", 403), ("stranger", 400), ("colleague", 201)):
        assert post(sender_for(name)).status_code == status
    stranger = sender_for("stranger")
    assert stranger.get("/corrections").json["data"] == []
    path = f"{PREFIX}/corrections/{number}"
    assert stranger.client.delete(path, auth=stranger.auth).status_code == 404


def test_the_stretches_of_a_login_are_paged_and_searched(
    sender: Sender, client_for: Callable[[str], FlaskClient]
) -> None:
    for day in range(1, 26):
        sender.begin(f"s{day}", f"2023-09-{day:02d}T08:00:00Z", next_ping_sec=600)
    address = "/session-activity/login?login=anna&start=2023-09&end=2023-09"
    page = client_for("viewer").get(address).text
    assert page.count('data-label="Computer"') == 20
    assert "stretchespage=2" in page
    page = client_for("viewer").get(f"{address}&stretchespage=2").text
    assert page.count('data-label="Computer"') == 5
    page = client_for("viewer").get(f"{address}&stretchesq=09-07").text
    assert page.count('data-label="Computer"') == 1


def test_a_stretch_is_corrected_on_the_page_of_its_login(
    make_app: Callable[..., Flask], sender: Sender, client_for: Callable[[str], FlaskClient]
) -> None:
    sender.begin("s1", EIGHT, next_ping_sec=7200)
    address = "/session-activity/login?login=anna&start=2023-09&end=2023-09"
    expert, viewer = client_for("colleague"), client_for("viewer")
    assert "2023-09-06 10:00:00" in viewer.get(address).text
    assert "Correct" not in viewer.get(address).text
    form = {
        "csrf_token": form_token(expert, address),
        "login": "anna",
        "comp_name": "pink0001",
        "start": "2023-09-06T08:00:00+00:00",
        "end": "2023-09-06T10:00:00+00:00",
        "new_start": "2023-09-06T08:30:00",
        "new_end": "2023-09-06T09:00:00",
        "reason": "came late & left early",
    }
    page = expert.post(address, data=form, follow_redirects=True).text
    assert "The hours are corrected." in page
    assert sender.hours(**DAY)["total_hours"] == 0.5
    page = expert.get(address).text
    assert "came late &amp; left early" in page
    assert "counts as 2023-09-06 08:30:00 to 2023-09-06 09:00:00" in page
    back = re.search(r'action="([^"]*/take-back[^"]*)"', page)
    assert back
    answer = expert.post(unescape(back[1]), data=form)
    assert (answer.status_code, answer.location) == (303, address)
    assert sender.hours(**DAY)["total_hours"] == 2.0
    assert "taken back by colleague@example.com" in expert.get(address).text


def test_a_correction_that_is_refused_is_shown_as_it_was_typed(
    sender: Sender, client_for: Callable[[str], FlaskClient]
) -> None:
    for day in range(1, 26):
        sender.begin(f"s{day}", f"2023-09-{day:02d}T08:00:00Z", next_ping_sec=600)
    address = "/session-activity/login?login=anna&start=2023-09&end=2023-09&stretchespage=2"
    expert = client_for("colleague")
    form = {
        "csrf_token": form_token(expert, address),
        "login": "anna",
        "comp_name": "pink0001",
        "start": "2023-09-03T08:00:00+00:00",
        "end": "2023-09-03T08:10:00+00:00",
        "new_start": "2023-09-03T09:07:00",
        "new_end": "2023-09-03T09:01:00",
        "reason": "came late & left early",
    }
    answer = expert.post(address, data=form)
    assert answer.status_code == 422
    assert answer.text.count("<details open>") == 1
    for shown in (
        'id="new_end-problem">The end must be after the start.',
        'value="2023-09-03T09:07:00"',
        'value="2023-09-03T09:01:00"',
        'value="came late &amp; left early"',
        "2023-09-01 08:00:00",
    ):
        assert shown in answer.text, shown
    for name in ("new_start", "reason"):
        answer = expert.post(address, data=form | {name: ""})
        assert f'id="{name}-problem"' in answer.text
        assert not re.search(r">[^<]*new_start", answer.text)
    assert sender.get("/corrections").json["data"] == []
    # A stretch that is not on this page any more: what is wrong is said all the same.
    answer = expert.post(address, data=form | {"start": "2023-09-03T07:00:00+00:00"})
    assert answer.status_code == 422
    assert "The end must be after the start." in answer.text


LATE = "UPDATE session_activity_login SET late_at = now()"
SESSIONS = "SELECT 1 FROM session_activity_session FOR UPDATE"
LOGINS = "SELECT 1 FROM session_activity_login FOR NO KEY UPDATE"
CORRECTION = {"login": "anna", "comp_name": "pink0001", "start": EIGHT, "end": NINE, "reason": "x"}


@pytest.mark.parametrize(
    ("method", "path", "body", "other", "then"),
    [
        # A late ping of its session, and a merge or an erasure of its login.
        ("PATCH", "/users", {"name": "anna", "merge_into": "bela"}, SESSIONS, LATE),
        ("DELETE", "/users?login=anna", None, SESSIONS, LATE),
        # A session that begins, and a change of its computer.
        (
            *("PATCH", "/computers", {"name": "pink0001", "corrects_clock": True}, LOGINS),
            "SELECT 1 FROM session_activity_computer FOR KEY SHARE",
        ),
        # An erasure, and a correction that is made or taken back.
        (
            *("POST", "/corrections", CORRECTION, LOGINS),
            "SELECT 1 FROM session_activity_login FOR UPDATE",
        ),
        (
            *("DELETE", "/corrections/{}", None, LOGINS),
            "UPDATE session_activity_correction SET made_by = ''",
        ),
    ],
)
def test_two_who_change_hours_wait_in_one_order(
    app: Flask, sender: Sender, method: str, path: str, body: Any, other: str, then: str
) -> None:
    with app.app_context():
        engine = db.engine
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one writer")
    sender.begin("s1", EIGHT)
    made = sender.post("/corrections", CORRECTION).json["data"]["id"]
    answers: list[Any] = []

    def change() -> None:
        address = PREFIX + path.format(made)
        client = app.test_client()
        answers.append(client.open(address, method=method, json=body, auth=sender.auth))

    with engine.begin() as connection:
        connection.execute(text_of_sql(other))
        thread = threading.Thread(target=change)
        thread.start()
        thread.join(0.5)
        assert not answers
        connection.execute(text_of_sql(then))
    thread.join(30)
    assert answers[0].status_code < 300, answers[0].text
