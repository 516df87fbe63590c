"""Totals, tried with made-up inventories: whatever comes, all views of it agree."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.kinds.inventory.compute import (
    EXACT,
    ZERO,
    Totals,
    category_lines,
    change_percent,
    emissions_of,
    scope_lines,
    unit_lines,
)
from webapp.lib.texts import plain

LIMIT = Decimal(10) ** 18 - 1
numbers = st.decimals(-LIMIT, LIMIT, allow_nan=False, places=12)
lines = st.tuples(st.integers(1, 6), st.integers(1, 3), st.sampled_from("abcd"), numbers, numbers)
# Unit 1 is the root; every other one lies below one with a smaller key.
parents = st.tuples(*(st.integers(1, key - 1) for key in range(2, 7)))


def tree(chosen: tuple[int, ...]) -> list[tuple[int, str, str, int, int | None]]:
    found: list[tuple[int, str, str, int, int | None]] = [(1, "u1", "Unit 1", 0, None)]
    for key, parent in enumerate(chosen, start=2):
        depth = next(one[3] for one in found if one[0] == parent) + 1
        found.append((key, f"u{key}", f"Unit {key}", depth, parent))
    return found


def summed(entries: list[tuple[int, int, str, Decimal, Decimal]]) -> Totals:
    sums = Totals()
    for unit, scope, category, quantity, factor in entries:
        sums.add(unit, scope, category, emissions_of(quantity, factor))
    return sums


@settings(max_examples=25)
@given(st.lists(lines, max_size=12), st.lists(lines, max_size=12), parents)
def test_every_view_adds_up_to_the_same_total(now: list, base: list, chosen: tuple) -> None:
    ours, before = summed(now), summed(base)
    scopes = scope_lines(ours, before)
    categories = category_lines(ours, before)
    units = unit_lines(ours, before, tree(chosen))
    for name, total in (("emissions", ours.total), ("base", before.total)):
        assert scopes[-1][name] == total
        assert add(line[name] for line in scopes[:-1]) == total
        assert add(line[name] for line in categories) == total
        assert units[0][name] == total
    assert add(line["own"] for line in units) == ours.total
    assert add(line["change"] for line in scopes[:-1]) == scopes[-1]["change"]
    assert sum(line["rows"] for line in categories) == ours.rows == len(now)


def add(values: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for value in values:
        total = EXACT.add(total, value)
    return total


@settings(max_examples=60)
@given(numbers)
def test_a_number_is_written_without_loss(number: Decimal) -> None:
    text = plain(number)
    assert Decimal(text) == number
    assert "E" not in text
    assert not ("." in text and text.endswith(("0", ".")))


@pytest.mark.parametrize(
    ("now", "base", "percent"),
    [("110", "100", "10.00"), ("90", "-100", "190.00"), ("5", "0", None), ("0", "3", "-100.00")],
)
def test_a_change_in_percent(now: str, base: str, percent: str | None) -> None:
    expected = None if percent is None else Decimal(percent)
    assert change_percent(Decimal(now), Decimal(base)) == expected


def test_by_hand() -> None:
    sums = summed(
        [
            (1, 1, "Gas", Decimal("100"), Decimal("0.182")),
            (2, 1, "Gas", Decimal("10.5"), Decimal("0.2")),
            (2, 2, "Power", Decimal("3"), Decimal("-1")),
        ]
    )
    assert sums.by_scope == {1: Decimal("20.3"), 2: Decimal("-3"), 3: ZERO}
    root, below = unit_lines(sums, None, tree((1, 1, 1, 1, 1))[:2])
    assert (root["own"], root["emissions"], root["base"]) == (
        Decimal("18.2"),
        Decimal("17.3"),
        None,
    )
    assert (below["own"], below["scope_1"]) == (Decimal("-0.9"), Decimal("2.1"))
