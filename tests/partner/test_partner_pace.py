"""Slots: evenly spaced, never too many in a second, shared, slowed and recovered."""

from __future__ import annotations

import threading
import time
import uuid
from itertools import pairwise
from pathlib import Path
from statistics import median, mode

import pytest
import redis
from pace_helpers import Maker, go_on, reserved, running_redis

from tests.soon import soon
from webapp.errors import RunEnded
from webapp.partner.pace import LocalRateLimiter, RedisRateLimiter


def most_in_a_second(slots: list[float]) -> int:
    return max(sum(1 for other in slots if slot <= other < slot + 1) for slot in slots)


def used(slots: list[float]) -> float:
    """Return the calls a second that slots in a row make; a pause of the machine is no gap."""
    return 1 / median(later - earlier for earlier, later in pairwise(slots))


@pytest.mark.parametrize("rate", [1, 5, 10, 50, 333.3])
def test_no_second_has_too_many_slots_and_few_are_wasted(make: Maker, rate: float) -> None:
    pace = make(rate)
    slots = [reserved(pace) for _ in range(int(rate * 6))]
    # Slots late by up to 20 ms must not make it one too many either.
    shaken = [slot + (0.02 if index % 2 else 0) for index, slot in enumerate(slots)]
    assert most_in_a_second(slots) <= rate
    assert most_in_a_second(shaken) <= rate
    assert 0.97 * rate <= used(slots) <= rate


def test_an_idle_time_is_not_saved_up_for_a_burst(make: Maker) -> None:
    pace = make(20)
    reserved(pace)
    time.sleep(0.3)
    slots = [reserved(pace) for _ in range(40)]
    assert most_in_a_second(slots) <= 20


def test_slowing_down_halves_the_rate_once_and_it_recovers_by_itself(make: Maker) -> None:
    pace = make(100, slow_s=1.5)
    for _ in range(8):
        pace.throttle(None)
    assert pace.throttled
    assert pace.rate == 50
    slots = [reserved(pace) for _ in range(150)]
    gaps = [round((later - earlier) * 97.5, 1) for earlier, later in pairwise(slots)]
    assert mode(gaps[:50]) == 2
    assert mode(gaps[-50:]) == 1
    time.sleep(1.51)
    assert pace.rate == 100
    assert not pace.throttled


def test_a_wait_the_partner_asks_for_is_kept_by_those_already_waiting(make: Maker) -> None:
    pace = make(2)
    for _ in range(4):
        pace.reserve()
    held: list[float] = []

    def slow_down_once() -> None:  # asked while the slot, two seconds away, is waited for
        if not held:
            held.append(time.monotonic())
            pace.throttle(3)

    pace.acquire(slow_down_once)
    assert time.monotonic() - held[0] >= 3


def test_waiting_is_given_up_when_the_run_ends(make: Maker) -> None:
    pace = make(0.05)
    pace.acquire(go_on)
    ends = time.monotonic() + 0.1

    def stop() -> None:
        if time.monotonic() > ends:
            raise RunEnded("cancelled")

    pace.reserve()  # the slot after it is 40 s away
    with soon(), pytest.raises(RunEnded):
        pace.acquire(stop)


def test_no_limit_is_no_wait_unless_the_partner_asks_for_one() -> None:
    pace = LocalRateLimiter(0)
    with soon():
        for _ in range(300):
            pace.acquire(go_on)
    assert pace.rate == 0
    held = time.monotonic()
    pace.throttle(0.2)
    assert pace.throttled
    pace.acquire(go_on)
    assert time.monotonic() - held >= 0.19


# -- shared --------------------------------------------------------------------------------------


def test_all_workers_stand_in_one_line(client: redis.Redis) -> None:
    key = uuid.uuid4().hex
    workers = [RedisRateLimiter(client, key, 50) for _ in range(4)]
    slots = sorted(reserved(worker) for _ in range(30) for worker in workers)
    assert most_in_a_second(slots) <= 50
    assert used(slots) >= 0.97 * 50


def test_threads_of_two_workers_leave_at_the_granted_rate(client: redis.Redis) -> None:
    key = uuid.uuid4().hex
    left: list[float] = []
    ends = time.monotonic() + 1.6

    def work(pace: RedisRateLimiter) -> None:
        while time.monotonic() < ends:
            pace.acquire(go_on)
            left.append(time.monotonic())

    threads = [
        threading.Thread(target=work, args=(pace,))
        for pace in (RedisRateLimiter(client, key, 40), RedisRateLimiter(client, key, 40))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left.sort()
    # What a sleep makes of a slot is the machine's affair: after a pause of it all eight leave.
    assert most_in_a_second(left) <= 40 + 8
    assert (len(left) - 1) / (left[-1] - left[0]) >= 0.25 * 40


def test_one_worker_that_is_told_to_slow_down_slows_all(client: redis.Redis) -> None:
    key = uuid.uuid4().hex
    told, other = RedisRateLimiter(client, key, 100), RedisRateLimiter(client, key, 100)
    told.throttle(30)
    wait_s, held = other.reserve()
    assert held
    assert 20 < wait_s <= 30.01
    assert other.rate == 50
    assert other.throttled


def test_a_clock_that_was_set_back_stops_nobody(client: redis.Redis) -> None:
    key = uuid.uuid4().hex
    future = time.time() + 86_400
    client.set(f"pace:{{{key}}}:slot", int(future * 1_000_000))
    client.set(f"pace:{{{key}}}:throttle", f"2:{future}:{future}:{future}")
    pace = RedisRateLimiter(client, key, 10)
    assert pace.reserve() == (pytest.approx(0, abs=0.01), False)
    assert not pace.throttled


def test_keys_of_a_pace_expire(client: redis.Redis) -> None:
    key = uuid.uuid4().hex
    pace = RedisRateLimiter(client, key, 10, slow_s=1)
    pace.throttle(5)
    pace.reserve()
    names = list(client.scan_iter(f"pace:*{key}*"))
    assert len(names) == 2
    assert all(0 < client.pttl(name) < 10_000 for name in names)


def test_without_redis_each_process_keeps_the_pace_alone(tmp_path: Path) -> None:
    away = redis.Redis(unix_socket_path=str(tmp_path / "none.sock"))
    pace = RedisRateLimiter(away, "k", 50)
    left = []
    for _ in range(20):
        pace.acquire(go_on)
        left.append(time.monotonic())
    assert 40 < used(left) <= 52
    assert len(left) / (left[-1] - left[0]) <= 55
    pace.throttle(None)
    assert pace.rate == 25
    away.close()


def test_redis_that_comes_back_empty_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.partner.pace.AWAY_S", 0.05)
    server = running_redis(tmp_path / "r.sock", tmp_path)
    pace = RedisRateLimiter(server.client, "k", 100)
    for _ in range(2):
        pace.reserve()
        assert pace._is_away
        time.sleep(0.06)
        with server:
            pace.reserve()
            assert not pace._is_away
