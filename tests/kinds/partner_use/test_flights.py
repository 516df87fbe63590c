"""Two reports that want the same site: one asks, the other waits, and neither waits for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from uuid import uuid4

import pytest
from flask import Flask
from redis import Redis

from webapp.extensions import redis_client
from webapp.kinds.partner_use.compute import Cell
from webapp.kinds.partner_use.flights import Flights, Found
from webapp.lib.moments import utcnow

FlightsOf = Callable[[str], Flights]


@pytest.fixture
def flights_of(app: Flask) -> Iterator[FlightsOf]:
    """Return a maker of a report's flights over one partner of one company."""
    company = str(uuid4())
    made: list[Flights] = []

    def make(report: str) -> Flights:
        made.append(Flights(redis_client(app), company, "1", report))
        return made[-1]

    yield make
    for flights in made:
        flights.land_all()


def test_a_site_is_taken_by_one_report_at_a_time(flights_of: FlightsOf) -> None:
    one, two = flights_of("one"), flights_of("two")
    assert one.take("a")
    assert not two.take("a")
    assert two.take("b")
    one.land("a", {})
    assert two.take("a")


def test_what_has_landed_is_not_held_again(flights_of: FlightsOf) -> None:
    """Two reports that took back what they had landed waited for each other for ever."""
    one, two = flights_of("one"), flights_of("two")
    one.take("a")
    one.land("a", {})
    assert one.take("a")
    assert two.take("a")


def test_the_next_attempt_of_a_report_takes_over_what_its_lost_worker_held(
    flights_of: FlightsOf,
) -> None:
    assert flights_of("one").take("a")
    assert flights_of("one").take("a")
    assert not flights_of("two").take("a")


def test_what_the_store_does_not_take_is_left_for_who_waited(flights_of: FlightsOf) -> None:
    one, two = flights_of("one"), flights_of("two")
    cell = Cell(7, utcnow())
    one.take("a")
    one.land("a", {date(2026, 1, 1): cell})
    assert two.found("a") == Found({date(2026, 1, 1): cell}, None)
    assert not two.found("b")


def test_landing_gives_nothing_of_another_report_back(flights_of: FlightsOf) -> None:
    one, two, three = (flights_of(name) for name in ("one", "two", "three"))
    one.take("a")
    two.land("a", {})
    assert not three.take("a")


def test_all_that_is_held_is_given_back_at_the_end(flights_of: FlightsOf) -> None:
    one, two = flights_of("one"), flights_of("two")
    for site in "abc":
        one.take(site)
    one.land_all()
    assert all(two.take(site) for site in "abc")


def test_without_redis_every_report_asks_for_itself() -> None:
    away = Redis.from_url("redis://127.0.0.1:1/0")
    one, two = Flights(away, "c", "1", "one"), Flights(away, "c", "1", "two")
    assert one.take("a")
    assert two.take("a")
    one.land("a", {})
    assert not two.found("a")
    one.land_all()
    away.close()


def test_a_helper_leaves_its_run_what_its_searches_cost(app: Flask) -> None:
    company = str(uuid4())
    run = Flights(redis_client(app), company, "1", "one")
    helper = Flights(redis_client(app), company, "1", "one", helper=1)
    assert helper.take("a")
    assert not run.take("a")
    helper.land("a", {}, searches=3)
    assert run.take("a")
    assert run.found("a") == Found({}, 3)
    run.land_all()
