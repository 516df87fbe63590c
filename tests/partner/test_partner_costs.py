"""What a search costs: of the pace where there is one, of rows and latency where there is none."""

from __future__ import annotations

import pytest

from webapp.partner import LocalRateLimiter
from webapp.partner.costs import SearchCosts


def measured(pace: float, *, empty_s: float, row_s: float, concurrency: int = 8) -> SearchCosts:
    costs = SearchCosts(LocalRateLimiter(pace), concurrency)
    for _ in range(60):
        costs.note(empty_s, 1)
        costs.note(empty_s + 2_000 * row_s, 2_000)
    return costs


def test_at_a_granted_pace_a_read_costs_its_place_only() -> None:
    costs = measured(10, empty_s=0.04, row_s=8e-6)
    assert costs.seconds(5_000) == costs.seconds(0) == pytest.approx(0.1026, abs=1e-3)
    assert costs.read_pays(5_000, 2)
    assert not costs.read_pays(1, 1)


def test_without_a_limit_rows_are_weighed_against_the_counts_they_save() -> None:
    costs = measured(0, empty_s=0.002, row_s=8e-6)
    assert costs.seconds(0) == pytest.approx(0.002 / 8, rel=0.05)
    assert costs.seconds(1_000) == pytest.approx(0.010 / 8, rel=0.05)
    assert costs.read_pays(100, 2)
    assert not costs.read_pays(5_000, 10)


def test_a_throttled_pace_makes_reads_pay_again() -> None:
    pace = LocalRateLimiter(400)
    costs = SearchCosts(pace, 1)
    for _ in range(60):
        costs.note(0.001, 1)
        costs.note(0.021, 2_000)
    assert not costs.read_pays(5_000, 5)
    for _ in range(2):
        pace.throttle(None)
    assert costs.seconds(0) == pytest.approx(2 / (400 * 0.975))
