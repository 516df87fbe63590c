"""Schedules: the moments they name, also where clocks change, and what each is for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.conftest import Api, form_token
from tests.delivery.conftest import saved
from webapp.delivery.schedules import Schedule, relative_month, resolve

BERLIN = ZoneInfo("Europe/Berlin")
MOMENTS = st.datetimes(
    datetime(2024, 1, 1),  # noqa: DTZ001 - hypothesis wants the zone apart
    datetime(2027, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)


def first(schedule: Schedule, after: datetime, count: int, zone: ZoneInfo = BERLIN) -> list[str]:
    moments = schedule.moments(after, zone)
    return [next(moments).astimezone(zone).strftime("%Y-%m-%d %H:%M %Z") for _ in range(count)]


def test_a_month_is_made_its_days_of_grace_after_it_is_over() -> None:
    monthly = Schedule(every="month", grace_days=1, at="07:30")
    assert first(monthly, NOW, 2) == ["2025-04-02 07:30 CEST", "2025-05-02 07:30 CEST"]
    due = next(monthly.moments(NOW, BERLIN))
    assert monthly.period(due, BERLIN) == "2025-03"


def test_without_grace_it_is_the_first_of_the_next_month() -> None:
    assert first(Schedule(every="month", grace_days=0), NOW, 1) == ["2025-04-01 07:00 CEST"]


def test_a_week_is_made_on_its_weekday() -> None:
    sundays = Schedule(every="week", weekday=7, at="23:00")
    assert first(sundays, NOW, 2) == ["2025-03-16 23:00 CET", "2025-03-23 23:00 CET"]
    due = next(sundays.moments(NOW, BERLIN))
    assert sundays.period(due, BERLIN) == "2025-W11"


def test_a_time_that_spring_skips_is_made_up_for_the_same_day() -> None:
    daily = Schedule(every="day", at="02:30")
    after = datetime(2025, 3, 29, 12, tzinfo=BERLIN)
    days = [line[:10] for line in first(daily, after, 3)]
    assert days == ["2025-03-30", "2025-03-31", "2025-04-01"]


def test_a_time_that_autumn_brings_twice_counts_once() -> None:
    daily = Schedule(every="day", at="02:30")
    after = datetime(2025, 10, 25, 12, tzinfo=BERLIN)
    days = [line[:10] for line in first(daily, after, 3)]
    assert days == ["2025-10-26", "2025-10-27", "2025-10-28"]


@given(
    MOMENTS,
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    st.integers(0, 23),
    st.integers(0, 59),
)
def test_each_day_is_due_exactly_once_in_every_zone(
    start: datetime, name: str, hour: int, minute: int
) -> None:
    zone = ZoneInfo(name)
    daily = Schedule(every="day", at=f"{hour:02d}:{minute:02d}")
    moments = daily.moments(start, zone)
    periods = [daily.period(next(moments), zone) for _ in range(400)]
    days = [date.fromisoformat(period) for period in periods]
    assert days == [days[0] + timedelta(days=number) for number in range(400)]


@given(MOMENTS, st.integers(0, 27))
def test_each_month_is_due_exactly_once(start: datetime, grace_days: int) -> None:
    monthly = Schedule(every="month", grace_days=grace_days, at="02:30")
    moments = monthly.moments(start, BERLIN)
    periods = [monthly.period(next(moments), BERLIN) for _ in range(40)]
    assert len(set(periods)) == 40
    assert periods == sorted(periods)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"every": "month", "cron": "0 7 2 * *"},
        {"every": "year"},
        {"every": "month", "grace_days": 28},
        {"every": "week", "weekday": 0},
        {"every": "day", "at": "24:00"},
        {"every": "day", "at": "7"},
        {"cron": "0 7 2 *"},
        {"cron": "61 7 2 * *"},
        {"cron": "* * * * * *"},
        {"cron": "0 0 30 2 *"},
        {"every": "day", "often": True},
    ],
)
def test_what_names_no_moments_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Schedule.model_validate(wrong)


def test_months_said_relative_to_now() -> None:
    assert relative_month("last_closed", NOW) == date(2025, 2, 1)
    assert relative_month("current", NOW) == date(2025, 3, 1)
    assert relative_month("-11", NOW) == date(2024, 3, 1)
    assert relative_month("-0", NOW) == date(2025, 2, 1)
    others = ("11", "-1000", "2025-01", "", 5, None)
    assert [relative_month(word, NOW) for word in others] == [None] * 6


def test_only_fields_of_months_and_days_are_relative() -> None:
    month = {"pattern": "^(19[7-9]\\d|[2-9]\\d{3})-(0[1-9]|1[0-2])$"}
    schema = {
        "properties": {
            "start": {"anyOf": [month, {"type": "null"}]},
            "end": month,
            "from_date": {"format": "date"},
            "to_date": {"format": "date"},
            "name": {"type": "string"},
        }
    }
    given = {"start": "-11", "end": "last_closed", "from_date": "-1", "to_date": "last_closed"}
    assert resolve({**given, "name": "current", "other": "-3"}, schema, NOW) == {
        "start": "2024-03",
        "end": "2025-02",
        "from_date": "2025-01-01",
        "to_date": "2025-02-28",
        "name": "current",
        "other": "-3",
    }


def test_a_company_has_a_clock_of_its_own(
    api: Api, client_for: Callable[[str], FlaskClient]
) -> None:
    made = saved(api, schedule={"every": "month", "grace_days": 1, "at": "07:00"})
    browser = client_for("owner")
    form = {"csrf_token": form_token(browser, "/members"), "timezone": "Asia/Tokyo"}
    assert browser.post("/members/zone", data=form).status_code == 303
    moved = datetime.fromisoformat(api.get(f"/definitions/{made['id']}").json["next_run_at"])
    assert f"{moved.astimezone(ZoneInfo('Asia/Tokyo')):%d %H:%M}" == "02 07:00"
    assert "in Asia/Tokyo" in browser.get(f"/saved/{made['id']}").text
    wrong = browser.post("/members/zone", data=form | {"timezone": "Atlantis"})
    assert wrong.status_code == 422
    assert "Write a zone such as Europe/Berlin." in wrong.text
    assert browser.post("/members/zone", data=form | {"timezone": ""}).status_code == 303
    again = api.get(f"/definitions/{made['id']}").json["next_run_at"]
    assert again == made["next_run_at"]
