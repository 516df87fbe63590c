"""From pings to hours, against a plain model that looks at every second."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.kinds.session_activity.compute import (
    ONE_DAY,
    Hours,
    Span,
    by_period,
    changed,
    credited,
    day_start,
    hours_by_day,
    in_hours,
    join,
    united,
)

START = datetime(2023, 10, 28, 20, tzinfo=UTC)
GRACE = timedelta(seconds=10)
BERLIN = ZoneInfo("Europe/Berlin")
Sent = tuple[int, int]


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


def joined(pings: list[Sent]) -> list[Span]:
    spans: list[Span] = []
    for second, promise in pings:
        spans = join(spans, Span(at(second), at(second + promise)), GRACE)
    return spans


def alive_seconds(pings: list[Sent], grace: int = 10) -> set[int]:
    """The plain model: the seconds that count, looked at one by one."""
    if not pings:
        return set()
    promised = {s for second, promise in pings for s in range(second, second + promise)}
    alive, silent = set(), []
    for second in range(min(promised), max(promised) + 1):
        if second in promised:
            # A silence that was short enough is time at the computer after all.
            alive |= set(silent) if len(silent) <= grace else set()
            alive.add(second)
            silent = []
        else:
            silent.append(second)
    return alive


def seconds_of(spans: list[Span]) -> set[int]:
    found: set[int] = set()
    for span in spans:
        first, last = ((one - START) // timedelta(seconds=1) for one in span)
        found |= set(range(first, last))
    return found


SENT = st.lists(st.tuples(st.integers(0, 900), st.integers(1, 120)), max_size=25)


@settings(max_examples=150)
@given(SENT)
def test_joined_pings_are_the_seconds_of_the_plain_model(pings: list[Sent]) -> None:
    assert seconds_of(joined(pings)) == alive_seconds(pings)


@settings(max_examples=100)
@given(SENT, st.randoms(use_true_random=False))
def test_no_order_and_no_repeat_of_pings_changes_the_spans(pings: list[Sent], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = pings + random.choices(pings, k=5) if pings else []
    random.shuffle(shuffled)
    assert joined(shuffled) == joined(sorted(pings))


@settings(max_examples=60)
@given(st.lists(SENT, min_size=1, max_size=3), st.sampled_from(["UTC", "Europe/Berlin"]))
def test_hours_by_day_are_the_seconds_that_fall_on_each_day(
    computers: list[list[Sent]], name: str
) -> None:
    # Pings some minutes apart, around two midnights, one of them of a day of 25 hours.
    zone = ZoneInfo(name)
    apart = [[(second * 180, promise) for second, promise in pings] for pings in computers]
    alive = [alive_seconds(pings) for pings in apart]
    person: dict[date, int] = {}
    machine: dict[date, int] = {}
    for one in alive:
        for second in one:
            day = at(second).astimezone(zone).date()
            machine[day] = machine.get(day, 0) + 1
    for second in set().union(*alive):
        day = at(second).astimezone(zone).date()
        person[day] = person.get(day, 0) + 1
    spans = {number: joined(pings) for number, pings in enumerate(apart)}
    found = hours_by_day(spans, date(2023, 10, 28), date(2023, 10, 31), zone)
    second = timedelta(seconds=1)
    assert {day: hours.person // second for day, hours in found.items()} == person
    assert {day: hours.machine // second for day, hours in found.items()} == machine


@settings(max_examples=100)
@given(SENT, SENT)
def test_what_was_added_lies_between_its_ends(before: list[Sent], more: list[Sent]) -> None:
    old, new = joined(before), joined(before + more)
    change = changed(old, new)
    gained = seconds_of(new) - seconds_of(old)
    if not gained:
        assert change is None
        return
    assert change == (at(min(gained)), at(max(gained) + 1))


def test_five_hours_of_sleep_are_no_work() -> None:
    spans = joined([(0, 60), (60, 60), (18_060, 60)])
    assert spans == [Span(at(0), at(120)), Span(at(18_060), at(18_120))]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_gap_as_long_as_the_grace_is_closed_and_a_longer_one_is_not(backwards: bool) -> None:
    for later, count in ((70, 1), (71, 2)):
        pings = [(0, 60), (later, 60)]
        assert len(joined(pings[::-1] if backwards else pings)) == count


def test_a_clock_in_the_future_is_credited_from_the_arrival_up_to_its_promise() -> None:
    minute = timedelta(minutes=1)
    for ahead in (0, 20, 60, 9000):
        assert credited(at(ahead), minute, at(0)) == Span(at(0), at(60))
    assert credited(at(-500), minute, at(0)) == Span(at(-500), at(-440))


def test_days_have_23_and_25_hours_where_clocks_are_changed() -> None:
    for day, hours in ((date(2023, 3, 26), 23), (date(2023, 10, 29), 25)):
        whole = Span(day_start(day, BERLIN), day_start(day + ONE_DAY, BERLIN))
        long = Span(whole.start - ONE_DAY * 3, whole.end + ONE_DAY * 3)
        assert hours_by_day({1: [long]}, day, day, BERLIN)[day].person == timedelta(hours=hours)


def test_a_month_that_loses_an_hour_says_so() -> None:
    long = Span(datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 12, 31, tzinfo=UTC))
    days = hours_by_day({1: [long]}, date(2023, 3, 1), date(2023, 3, 31), BERLIN)
    assert by_period(days, "month") == {
        date(2023, 3, 1): Hours(timedelta(hours=31 * 24 - 1), timedelta(hours=31 * 24 - 1))
    }


def sum_of(spans: dict[int, list[Span]], last: date) -> Hours:
    return sum(hours_by_day(spans, date(2023, 10, 28), last, BERLIN).values(), Hours())


def test_person_hours_are_the_union_and_machine_hours_the_sum() -> None:
    spans = {1: [Span(at(0), at(7200))], 2: [Span(at(3600), at(10_800))]}
    whole = sum_of(spans, date(2023, 10, 28))
    assert (in_hours(whole.person), in_hours(whole.machine)) == (2.0, 3.0)
    whole = sum_of(spans, date(2023, 10, 29))
    assert (in_hours(whole.person), in_hours(whole.machine)) == (3.0, 4.0)


def test_two_sessions_at_one_computer_do_not_count_twice() -> None:
    assert united([Span(at(0), at(60)), Span(at(30), at(90))]) == [Span(at(0), at(90))]
    spans = {1: [Span(at(0), at(60)), Span(at(30), at(90))]}
    [hours] = hours_by_day(spans, date(2023, 10, 28), date(2023, 10, 28), BERLIN).values()
    assert hours == Hours(timedelta(seconds=90), timedelta(seconds=90))
