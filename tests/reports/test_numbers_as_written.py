"""Numbers as people read them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from webapp.engine.kind import Estimate
from webapp.reports.filters import elapsed, format_estimate, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (1234.5, "1,234.50"),
        (Decimal("1234.60"), "1,234.60"),
        (Decimal("20.903"), "20.903"),
        (Decimal("1234"), "1,234"),
    ],
)
def test_a_decimal_keeps_its_digits_and_other_numbers_have_two(value: Any, text: str) -> None:
    assert number(value) == text


def test_an_estimate_without_calls_names_no_pace() -> None:
    none = Estimate(calls=0, saved=0, seconds=0.2)
    assert format_estimate(none) == "No calls to a partner are needed: about a second."
    spared = Estimate(calls=0, saved=3, seconds=0.2)
    assert "3 saved by stored months" in format_estimate(spared)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "under 1 s"),
        (0.99, "under 1 s"),
        (1.2, "1 s"),
        (74, "1 min 14 s"),
        (3900, "1 h 5 min"),
    ],
)
def test_what_is_over_before_a_second_took_no_nought_seconds(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text
