"""Pings through the addresses into the database: any order, repeats, catching up, zones."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.kinds.session_activity.session_helpers import Sender, ping_body
from tests.kinds.session_activity.test_session_hours import alive_seconds
from webapp.extensions import db
from webapp.kinds.session_activity import SessionActivity
from webapp.kinds.session_activity.models import ClockAhead, Login, Segment
from webapp.kinds.session_activity.segments import ends_day
from webapp.lib.moments import utcnow

DAY = {"from_date": "2023-09-06", "to_date": "2023-09-06"}
START = datetime(2023, 9, 6, tzinfo=UTC)
Sent = tuple[int, int, str]
# Examples share a database, so each gets logins of its own.
NUMBERS = itertools.count()


def at(second: int) -> str:
    return (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")


def stored(app: Flask) -> list[Any]:
    with app.app_context():
        query = select(Segment.event, Segment.start_at, Segment.end_at)
        return sorted(tuple(row) for row in db.session.execute(query))


SENT = st.lists(
    st.tuples(st.integers(0, 600), st.integers(1, 90), st.sampled_from(["", "zero"])),
    min_size=1,
    max_size=12,
)


@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(SENT, st.integers(0, 999))
def test_any_shuffle_with_repeats_leaves_the_hours_of_the_ordered_run(
    sender: Sender, pings: list[Sent], seed: int
) -> None:
    shuffler = random.Random(seed)
    shuffled = [*pings, *shuffler.choices(pings, k=3)]
    shuffler.shuffle(shuffled)
    hours = {}
    for name, order in (("ordered", sorted(pings)), ("shuffled", shuffled)):
        login = f"{name}-{next(NUMBERS)}"
        sender.post("/users", [{"Name": login}])
        assert sender.begin(login, at(0), login=login, next_ping_sec=1).status_code == 201
        half = len(order) // 2
        bodies = [
            ping_body(login, at(second), login, next_ping_sec=promise, session_type=event)
            for second, promise, event in order
        ]
        for body in bodies[:half]:
            assert sender.post("/activity", body).status_code == 201
        assert sender.post("/activity", bodies[half:]).status_code == 201
        hours[name] = [
            sender.hours(login=login, session_type=event, **DAY)["user_activity"]
            for event in ("", "zero")
        ]
    assert hours["ordered"] == hours["shuffled"]
    every = alive_seconds([(0, 1), *((second, promise) for second, promise, _ in pings)])
    assert hours["ordered"][0][0]["hours"] == round(len(every) / 3600, 6)
    event = alive_seconds([(second, promise) for second, promise, name in pings if name])
    found = hours["ordered"][1]
    assert (found[0]["hours"] if found else 0) == round(len(event) / 3600, 6)


def test_pings_of_a_working_hour_are_one_segment(app: Flask, sender: Sender) -> None:
    sender.begin("s1", at(0))
    minutes = list(range(1, 60))
    random.Random(3).shuffle(minutes)
    assert (
        sender.post("/activity", [ping_body("s1", at(60 * m)) for m in minutes]).status_code == 201
    )
    assert stored(app) == [("", START, START + timedelta(hours=1))]
    assert sender.hours(**DAY)["total_hours"] == 1.0


def test_a_late_ping_closes_the_gap_between_two_segments(app: Flask, sender: Sender) -> None:
    sender.begin("s1", at(0))
    sender.ping("s1", at(120))
    assert len(stored(app)) == 2
    sender.ping("s1", at(60))
    assert stored(app) == [("", START, START + timedelta(seconds=180))]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("later", "count"), [(70, 1), (71, 2)])
def test_a_stored_gap_as_long_as_the_grace_is_closed_whichever_ping_comes_first(
    app: Flask, sender: Sender, later: int, count: int, backwards: bool
) -> None:
    sender.begin("s1", at(-7200))
    moments = [at(0), at(later)]
    for moment in reversed(moments) if backwards else moments:
        assert sender.ping("s1", moment).status_code == 201
    assert len(stored(app)) == 1 + count


def test_five_hours_asleep_count_for_nothing(sender: Sender) -> None:
    sender.begin("s1", at(0))
    sender.ping("s1", at(5 * 3600))
    assert sender.hours(**DAY)["total_hours"] == 0.03


def test_a_ping_of_an_event_counts_for_the_session_too(sender: Sender) -> None:
    sender.begin("s1", at(0))
    sender.ping("s1", at(60), session_type="platform zero", next_ping_sec=3540)
    assert sender.hours(**DAY)["total_hours"] == 1.0
    event = sender.hours(session_type="platform zero", **DAY)
    assert event["user_activity"][0]["hours"] == round(3540 / 3600, 6)
    assert sender.hours(session_type="another", **DAY)["user_activity"] == []


def test_hours_at_two_computers_are_united_and_their_sum_stands_beside(sender: Sender) -> None:
    sender.begin("s1", at(0), next_ping_sec=7200)
    sender.begin("s2", at(3600), comp_name="blue0002", next_ping_sec=7200)
    data = sender.hours(**DAY)
    assert (data["total_hours"], data["total_machine_hours"]) == (3.0, 4.0)


def test_a_session_longer_than_the_range_counts_with_its_part_inside(sender: Sender) -> None:
    sender.begin("s1", "2023-09-01T00:00:00Z", next_ping_sec=86_400)
    days = [f"2023-09-{day:02d}T00:00:00Z" for day in range(2, 11)]
    sender.post("/activity", [ping_body("s1", day, next_ping_sec=86_400) for day in days])
    assert sender.hours(**DAY)["total_hours"] == 24.0
    month = sender.hours(from_date="2023-09-05", to_date="2023-09-07", group_by="month")
    assert [row["hours"] for row in month["user_activity"]] == [72.0]


def test_a_clock_in_the_future_is_kept_and_not_believed(app: Flask, sender: Sender) -> None:
    sender.begin("s1", None)
    ahead = (utcnow() + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert sender.ping("s1", ahead).status_code == 201
    with app.app_context():
        kept = db.session.scalars(select(ClockAhead)).one()
        assert kept.at > kept.arrived_at
    tomorrow = (utcnow() + timedelta(days=1)).strftime("%Y-%m-%d")
    assert sender.hours(to_date=tomorrow)["total_hours"] == 0.02
    # And the session is still online, as its ping has just come.
    assert [row["id"] for row in sender.get("/dashboard").json["data"]] == ["s1"]


def test_days_begin_where_the_setting_says(make_app: Callable[..., Flask], sender: Sender) -> None:
    # The same database, read by an installation elsewhere: days are cut when they are read.
    app = make_app(report_kinds=(SessionActivity(),), SESSION_TIMEZONE="Europe/Berlin")
    sender.begin("s1", "2023-10-28T22:00:00Z", next_ping_sec=86_400)
    sender.ping("s1", "2023-10-29T22:00:00Z", next_ping_sec=7200)
    data = Sender(app.test_client(), sender.auth).hours(
        from_date="2023-10-28", to_date="2023-10-31"
    )
    assert [(row["date"][:10], row["hours"]) for row in data["user_activity"]] == [
        ("2023-10-29", 25.0),
        ("2023-10-30", 1.0),
    ]


@pytest.mark.parametrize("written", ["2023-09-06T10:00:00+02:00", "2023-09-06 08:00:00"])
def test_dates_are_read_in_every_spelling(app: Flask, sender: Sender, written: str) -> None:
    sender.begin("s1", written)
    assert stored(app)[0][1] == START + timedelta(hours=8)


def test_a_leap_second_is_the_second_before(app: Flask, sender: Sender) -> None:
    sender.begin("s1", "2016-12-31T23:59:60Z")
    assert stored(app)[0][1] == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert sender.begin("s2", "2016-12-31T23:59:61Z").status_code == 400


def test_many_programs_at_once_lose_no_ping(app: Flask, sender: Sender) -> None:
    names = [f"login{number}" for number in range(6)]
    sender.post("/users", [{"Name": name} for name in names])
    for name in names:
        sender.begin(name, at(0), login=name)

    def send(job: tuple[str, int]) -> int:
        program = Sender(app.test_client(), sender.auth)
        answer = program.ping(job[0], at(60 * job[1]), login=job[0])
        return int(answer.status_code)

    jobs = [(name, minute) for minute in range(1, 11) for name in names]
    random.Random(1).shuffle(jobs)
    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(send, jobs)) == {201}
    assert len(stored(app)) == len(names)
    for name in names:
        assert sender.hours(login=name, **DAY)["user_activity"][0]["hours"] == round(11 / 60, 6)


def test_one_login_at_two_computers_at_once_gets_one_session(app: Flask, sender: Sender) -> None:
    def begin(number: int) -> int:
        program = Sender(app.test_client(), sender.auth)
        computer = ("pink0001", "blue0002")[number % 2]
        return int(program.begin(f"s{number % 2}", None, comp_name=computer).status_code)

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(begin, range(6)))
    assert statuses == [200, 200, 201, 409, 409, 409]


@pytest.mark.parametrize("first", ["2023-09-06T08:00:00Z", None])
def test_each_login_whose_past_a_list_changes_is_marked_whatever_stands_before_it(
    app: Flask, sender: Sender, first: str | None
) -> None:
    # Bela's ping repeats what is known, or belongs to this month.
    sender.begin("b1", "2023-09-06T08:00:00Z", login="bela")
    sender.begin("a1", "2023-09-06T09:00:00Z")
    with app.app_context():
        before = {login.name: login.late_at for login in db.session.scalars(select(Login))}
    pings = [ping_body("b1", first, "bela"), ping_body("a1", "2023-09-06T10:00:00Z")]
    assert sender.post("/activity", pings).status_code == 201
    with app.app_context():
        after = {login.name: login.late_at for login in db.session.scalars(select(Login))}
    assert after["bela"] == before["bela"]
    assert after["anna"] > before["anna"]


def test_days_are_counted_from_1970() -> None:
    assert ends_day(datetime(1970, 1, 1, 23, 59, tzinfo=UTC)) == 0
    assert ends_day(datetime(1970, 1, 2, tzinfo=UTC)) == 1


def test_the_longest_segment_of_a_login_is_known(app: Flask, sender: Sender) -> None:
    sender.begin("s1", "2023-09-01T00:00:00Z", next_ping_sec=86_400)
    sender.ping("s1", "2023-09-02T00:00:00Z", next_ping_sec=86_400)
    sender.ping("s1", "2023-09-03T00:00:00Z", next_ping_sec=60)
    with app.app_context():
        login = db.session.scalars(select(Login).where(Login.name == "anna")).one()
        assert login.longest_days == 3
