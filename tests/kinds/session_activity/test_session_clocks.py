"""Clocks ahead of ours: believed up to the arrival plus the promise, however often they repeat."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.conftest import find_scope
from tests.kinds.session_activity.session_helpers import Sender
from tests.kinds.session_activity.test_session_hours import alive_seconds
from webapp.extensions import db
from webapp.kinds.session_activity.aggregate import Ping
from webapp.kinds.session_activity.ingest import Verdict, intake
from webapp.kinds.session_activity.models import ClockAhead, Login, Segment, Session

START = datetime(2023, 9, 6, 8, tzinfo=UTC)
# Examples share a database, so each gets a session of its own.
NUMBERS = itertools.count()


def moment(second: int) -> datetime:
    return START + timedelta(seconds=second)


def text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def soon(seconds: int) -> str:
    return text(datetime.now(UTC) + timedelta(seconds=seconds))


@pytest.fixture
def arrive(app: Flask, sender: Sender) -> Callable[..., None]:
    """Return a way to let pings arrive when told: `arrive("s1", [(at, promise, event)], when)`."""
    company_id = find_scope(app, "owner").company_id

    def take(session: str, pings: list[tuple[int, int, str]], when: int) -> None:
        with app.app_context():
            sent = [
                Ping(company_id, session, event, "anna", moment(at), promise, moment(when))
                for at, promise, event in pings
            ]
            assert set(intake().take(db.engine, sent)) <= {Verdict(201, "Created")}

    return take


def seconds_of(app: Flask, session: str, event: str = "") -> set[int]:
    with app.app_context():
        query = select(Segment.start_at, Segment.end_at).join(Session)
        rows = db.session.execute(query.where(Session.id == session, Segment.event == event))
        found: set[int] = set()
        for start, end in rows:
            first, last = ((one - START) // timedelta(seconds=1) for one in (start, end))
            found |= set(range(first, last))
        return found


@pytest.mark.parametrize("ahead", [1, 20, 60, 7200])
def test_the_hours_of_a_clock_that_is_always_ahead_are_all_there(
    app: Flask, sender: Sender, arrive: Callable[..., None], ahead: int
) -> None:
    sender.begin("s1", text(START))
    for minute in range(1, 60):
        arrive("s1", [(60 * minute + ahead, 60, "")], 60 * minute)
    assert seconds_of(app, "s1") == set(range(3600))


Sent = tuple[int, int, int, str]
CLOCKS = st.lists(
    # arrival, by how much the clock is ahead, promise, event
    st.tuples(
        st.integers(0, 600),
        st.sampled_from([-90, -1, 0, 1, 20, 60, 300]),
        st.integers(1, 90),
        st.sampled_from(["", "zero"]),
    ),
    min_size=1,
    max_size=10,
)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(CLOCKS, st.integers(0, 999))
def test_what_counts_are_the_seconds_of_the_plain_model_repeats_or_not(
    app: Flask, sender: Sender, arrive: Callable[..., None], sent: list[Sent], seed: int
) -> None:
    chance = random.Random(seed)
    session = f"s{next(NUMBERS)}"
    sender.begin(session, text(moment(-300)), next_ping_sec=1)
    arrivals = [(when, (when + ahead, promise, event)) for when, ahead, promise, event in sent]
    # Any of them comes again, some when their time has come by our clock.
    again = [(when + chance.randint(0, 900), ping) for when, ping in chance.choices(arrivals, k=5)]
    # The model: a time a clock has said stands for its first arrival, whatever it promises.
    first: dict[tuple[int, str], int] = {}
    for when, (at, _, event) in arrivals:
        if at > when:
            first[at, event] = min(when, first.get((at, event), when))
    credits = {
        (min(at, first.get((at, event), at)), promise, event)
        for _, (at, promise, event) in arrivals
    }
    for when, ping in sorted(arrivals + again):
        arrive(session, [ping], when)
    both = [(-300, 1), *((start, promise) for start, promise, _ in credits)]
    assert seconds_of(app, session) == alive_seconds(both)
    event = [(start, promise) for start, promise, name in credits if name]
    assert seconds_of(app, session, "zero") == alive_seconds(event)


def test_a_repeat_in_one_transaction_with_the_first_counts_once(
    app: Flask, sender: Sender, arrive: Callable[..., None]
) -> None:
    sender.begin("s1", text(START))
    arrive("s1", [(90, 60, ""), (90, 60, "")], 60)
    assert seconds_of(app, "s1") == set(range(120))
    with app.app_context():
        assert db.session.scalars(select(ClockAhead)).one().arrived_at == moment(60)


def test_a_repeat_does_not_make_a_late_change_look_old(
    app: Flask, sender: Sender, arrive: Callable[..., None]
) -> None:
    month = 86_400 * 30
    sender.begin("s1", text(START))
    arrive("s1", [(600, 60, "")], 300)
    # Two months later the same again, with a ping that was never taken.
    arrive("s1", [(600, 60, ""), (3600, 60, "")], 2 * month)
    with app.app_context():
        login = db.session.scalars(select(Login).where(Login.name == "anna")).one()
        assert login.late_at == moment(2 * month)


def test_a_start_of_a_clock_ahead_begins_when_it_arrives(app: Flask, sender: Sender) -> None:
    start = soon(7200)
    assert sender.begin("s1", start).status_code == 201
    [row] = sender.get("/dashboard").json["data"]
    assert row["start_date_time"] < row["end_date_time"]
    assert row["start_date_time"] < soon(1)
    # The very same again is known by the time it was sent with; another time is another session.
    assert sender.begin("s1", start).status_code == 200
    assert sender.begin("s1", None).status_code == 200
    assert sender.begin("s1", soon(7205)).status_code == 409


def test_a_clock_ahead_does_not_hide_that_a_login_is_online(sender: Sender) -> None:
    sender.begin("s1", soon(7200))
    answer = sender.begin("s2", None, comp_name="blue0002")
    assert answer.status_code == 409
    assert answer.json["data"]["id"] == "s1"
