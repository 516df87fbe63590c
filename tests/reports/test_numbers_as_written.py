"""Numbers as people read them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from webapp.reports.filters import number


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
