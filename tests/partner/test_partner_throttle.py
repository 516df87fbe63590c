"""Slowed at each refusal, recovered step by step, the same for one process and for all of them."""

from __future__ import annotations

import time
import uuid

import pytest
import redis
from bad_server import answer, http, raw, refusal
from pace_helpers import Maker, go_on, reserved
from partner_helpers import Talk

from tests.soon import SOON_S
from webapp.partner.limits import Limits
from webapp.partner.pace import LocalRateLimiter, RedisRateLimiter, Throttle
from webapp.partner.searches import count_accounts
from webapp.partner.sites import Site, site_config

# -- the rule, by a clock of our own -------------------------------------------------------------


def test_each_further_refusal_halves_again_down_to_a_sixteenth() -> None:
    throttle = Throttle()
    factors = []
    for number in range(7):
        throttle = throttle.refused(100 + 3 * number, 0)
        factors.append(throttle.factor(100 + 3 * number))
    assert factors == [2, 4, 8, 16, 16, 16, 16]


def test_refusals_of_calls_that_were_under_way_do_not_count() -> None:
    throttle = Throttle()
    for tenth in range(20):
        throttle = throttle.refused(100 + tenth / 10, 0)
    assert throttle.at(102) == 1
    throttle = throttle.refused(102, 0)
    assert throttle.at(102) == 2


def test_it_recovers_by_a_step_after_each_quiet_minute() -> None:
    throttle = Throttle(slow_s=60)
    for second in (0, 3, 6):
        throttle = throttle.refused(second, 0)
    assert [throttle.factor(moment) for moment in (6, 65, 67, 125, 127, 185, 187, 9_999)] == [
        8, 8, 4, 4, 2, 2, 1, 1,
    ]  # fmt: skip


def test_a_refusal_begins_the_quiet_time_afresh_from_where_it_has_come_back_to() -> None:
    throttle = Throttle(slow_s=60)
    for second in (0, 3, 6):
        throttle = throttle.refused(second, 0)
    throttle = throttle.refused(70, 0)  # back to a fourth, and down again
    assert [throttle.factor(moment) for moment in (70, 129, 131)] == [8, 8, 4]


def test_a_later_refusal_ends_no_slow_time_earlier() -> None:
    throttle = Throttle(slow_s=60)
    throttle = throttle.refused(0, 120)
    throttle = throttle.refused(1, 0)
    assert throttle.ends == 180
    assert throttle.factor(179) == 2


def test_it_is_back_at_the_granted_rate_within_20_seconds_of_the_last_refusal() -> None:
    """Two seconds of refusals at 10 a second left a report near one a second for minutes."""
    for seconds in (2, 9, 60):
        throttle = Throttle()
        for tenth in range(10 * seconds):
            throttle = throttle.refused(100 + tenth / 10, 0)
        assert throttle.factor(100 + seconds + 20) == 1
        assert throttle.factor(100 + seconds) > 1


def test_refused_calls_of_one_sort_do_not_slow_the_other(talk: Talk, site: Site) -> None:
    session = talk.session(search_pace=LocalRateLimiter(500), call_pace=LocalRateLimiter(500))
    talk.server.plays(refusal(403048), answer({"dataCenter": "eu1"}))
    session.ask(site_config(site))
    assert (session.call_pace.throttled, session.search_pace.throttled) == (True, False)
    talk.server.plays(refusal(403048), answer({"results": [{"count(*)": 1}]}))
    other = talk.session(search_pace=LocalRateLimiter(500), call_pace=LocalRateLimiter(500))
    other.ask(count_accounts(site))
    assert (other.call_pace.throttled, other.search_pace.throttled) == (False, True)


def test_forty_bare_refusals_in_a_row_leave_no_hole_without_a_limit(
    talk: Talk, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.partner.pace.PAUSE_S", 0.001)
    limits = {"throttled_tries": Limits().throttled_tries}
    talk.server.plays(*[raw(http(b"", 429))] * 40, answer({"results": [{"count(*)": 1}]}))
    assert talk.session(limits=limits).ask(count_accounts(site)).value == 1
    assert talk.sent == 41


# -- the rule as the paces keep it ---------------------------------------------------------------


def gap(pace: LocalRateLimiter | RedisRateLimiter) -> float:
    first = reserved(pace)
    return reserved(pace) - first


def test_a_pace_slows_step_by_step_and_comes_back_the_same_way(make: Maker) -> None:
    pace = make(97.5, slow_s=1.5, again_s=0.03)
    rates = []
    for _ in range(5):
        pace.throttle(None)
        rates.append(97.5 / pace.rate)
        time.sleep(0.04)
    assert rates == [2, 4, 8, 16, 16]
    for _ in range(3):
        pace.reserve()  # a lead, so that a short pause of the machine is no gap
    assert gap(pace) == pytest.approx(16 / (97.5 * 0.975), rel=0.01)
    # By slots, which run ahead of the clock: 1.5 s of them are left at a sixteenth, then an eighth.
    gaps = [round(gap(pace) * 97.5 * 0.975) for _ in range(150)]
    assert gaps == sorted(gaps, reverse=True)
    assert set(gaps) == {16, 8, 4, 2, 1}


def test_refusals_at_once_are_one(make: Maker) -> None:
    pace = make(80)
    for _ in range(8):
        pace.throttle(None)
    assert pace.rate == 40


def test_a_refusal_without_a_wait_does_not_shorten_one_with(make: Maker) -> None:
    pace = make(50, slow_s=1.0)
    pace.throttle(8.0)
    pace.throttle(None)
    time.sleep(1.2)
    pace.reserve()
    assert pace.throttled
    assert pace.rate == 25


def test_without_a_limit_a_refusal_makes_a_small_pause() -> None:
    pace = LocalRateLimiter(0)
    started = time.monotonic()
    pace.throttle(None)
    assert pace.throttled
    pace.acquire(go_on)
    assert 0.45 <= time.monotonic() - started < SOON_S
    assert pace.rate == 0


def test_a_step_by_one_worker_is_seen_by_all(client: redis.Redis) -> None:
    key = uuid.uuid4().hex
    workers = [RedisRateLimiter(client, key, 100, again_s=0.02) for _ in range(2)]
    workers[0].throttle(None)
    time.sleep(0.03)
    workers[1].throttle(None)
    workers[0].reserve()
    assert [worker.rate for worker in workers] == [25, 25]


def test_an_entry_of_another_version_is_no_slowness(client: redis.Redis) -> None:
    key = uuid.uuid4().hex
    client.set(f"pace:{{{key}}}:throttle", int((time.time() + 60) * 1_000_000))
    pace = RedisRateLimiter(client, key, 10)
    pace.reserve()
    assert pace.rate == 10
