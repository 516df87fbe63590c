"""Two reports that want the same site: one asks, the other waits, and neither waits for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from uuid import uuid4

import pytest
from flask import Flask
from redis import Redis

from webapp.extensions import redis_client
from webapp.kinds.partner_use import counts
from webapp.kinds.partner_use.counts import SiteLocks
from webapp.lib.moments import utcnow
from webapp.partner.searches import Count

LocksOf = Callable[[str], SiteLocks]


@pytest.fixture
def locks_of(app: Flask) -> Iterator[LocksOf]:
    """Return a maker of a report's locks over one partner of one company."""
    company = str(uuid4())
    made: list[SiteLocks] = []

    def make(report: str) -> SiteLocks:
        made.append(SiteLocks(redis_client(app), company, "1", report))
        return made[-1]

    yield make
    for locks in made:
        locks.release_all()


def test_a_site_is_locked_by_one_report_at_a_time(locks_of: LocksOf) -> None:
    one, two = locks_of("one"), locks_of("two")
    assert one.acquire("a")
    assert not two.acquire("a")
    assert two.acquire("b")
    one.release("a", {})
    assert two.acquire("a")


def test_what_was_released_is_not_held_again(locks_of: LocksOf) -> None:
    """Two reports that took back what they had released waited for each other for ever."""
    one, two = locks_of("one"), locks_of("two")
    one.acquire("a")
    one.release("a", {})
    assert one.acquire("a")
    assert two.acquire("a")


def test_the_next_attempt_of_a_report_takes_over_what_its_lost_worker_held(
    locks_of: LocksOf,
) -> None:
    assert locks_of("one").acquire("a")
    assert locks_of("one").acquire("a")
    assert not locks_of("two").acquire("a")


def test_what_the_store_does_not_take_is_left_for_who_waited(locks_of: LocksOf) -> None:
    one, two = locks_of("one"), locks_of("two")
    count = Count(7, utcnow(), "read", (None, "2026-01", 5000))
    one.acquire("a")
    one.release("a", {date(2026, 1, 1): count})
    assert two.found("a") == {date(2026, 1, 1): count}
    assert not two.found("b")


def test_releasing_gives_nothing_of_another_report_back(locks_of: LocksOf) -> None:
    one, two, three = (locks_of(name) for name in ("one", "two", "three"))
    one.acquire("a")
    two.release("a", {})
    assert not three.acquire("a")


def test_all_that_is_held_is_given_back_at_the_end(locks_of: LocksOf) -> None:
    one, two = locks_of("one"), locks_of("two")
    for site in "abc":
        one.acquire(site)
    one.release_all()
    assert all(two.acquire(site) for site in "abc")


def test_a_lock_lasts_as_long_as_it_is_renewed(
    app: Flask, locks_of: LocksOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "RENEW_EVERY_S", 0.0)
    one = locks_of("one")
    one.acquire("a")
    (key,) = redis_client(app).keys("site:*:1:a")
    redis_client(app).pexpire(key, 5_000)
    one.renew()
    assert redis_client(app).pttl(key) > 20_000


def test_without_redis_every_report_asks_for_itself() -> None:
    away = Redis.from_url("redis://127.0.0.1:1/0")
    one, two = SiteLocks(away, "c", "1", "one"), SiteLocks(away, "c", "1", "two")
    assert one.acquire("a")
    assert two.acquire("a")
    one.release("a", {})
    assert not two.found("a")
    one.release_all()
    away.close()
