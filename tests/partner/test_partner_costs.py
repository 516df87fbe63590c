"""What a search costs: of the pace where there is one, of rows and latency where there is none."""

from __future__ import annotations

import pytest

from webapp.partner.pace import LocalRateLimiter, SearchCosts


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def measured(
    pace: float,
    *,
    search_s: float,
    row_s: float,
    queue_s: float = 0.0,
    rows: int = 2_000,
    limiter: LocalRateLimiter | None = None,
) -> SearchCosts:
    """Return what is learned of answers that come one after the other, at most as the pace allows.

    queue_s: how much longer each takes than its own work, because it waits for others
    """
    clock = Clock()
    costs = SearchCosts(limiter or LocalRateLimiter(pace), 8, clock)
    for turn in range(60):
        for _ in range(16):
            brought = rows if turn % 2 else 1
            own_s = search_s + (brought * row_s if brought > 1 else 0)
            clock.now += max(own_s, 1 / pace / 0.975 if pace else 0)
            costs.note(8 * search_s + (queue_s if turn else 0), brought)
    return costs


def test_at_a_granted_pace_a_read_costs_its_place_only() -> None:
    costs = measured(10, search_s=0.005, row_s=8e-6)
    assert costs.seconds(5_000) == costs.seconds(0) == pytest.approx(0.1026, abs=1e-3)
    assert costs.read_pays(5_000, 2)
    assert not costs.read_pays(1, 1)


@pytest.mark.parametrize("queue_s", [0.0, 0.5])
def test_without_a_limit_rows_are_weighed_against_the_counts_they_save(queue_s: float) -> None:
    """Also where each count waits behind large reads: that is the rows' cost, not the counts'."""
    costs = measured(0, search_s=0.00125, row_s=8e-6, queue_s=queue_s)
    assert costs.seconds(0) == pytest.approx(0.00125, rel=0.7)
    assert costs.seconds(1_000) == pytest.approx(0.00925, rel=0.2)
    assert costs.read_pays(100, 2)
    assert not costs.read_pays(5_000, 15)


def test_answers_with_next_to_no_rows_say_nothing_of_rows() -> None:
    costs = measured(0, search_s=0.005, row_s=1.0, rows=20)
    assert costs.read_pays(2_000, 4)


def test_a_throttled_pace_makes_reads_pay_again() -> None:
    pace = LocalRateLimiter(400, again_s=0)
    costs = measured(400, search_s=0.001, row_s=10e-6, limiter=pace)
    assert not costs.read_pays(5_000, 5)
    for _ in range(4):
        pace.throttle(None)
    assert pace.throttled
    assert costs.read_pays(5_000, 5)
