"""The money, alone: it always adds up, each fee counts once, and rounding happens once."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.kinds.label_revenue.periods import amount_text, digits
from webapp.kinds.label_revenue.report.compute import (
    NO_LABEL,
    NO_STREAMS,
    Key,
    Pair,
    apportion,
    listener_payout,
    net_fee,
    pool_payout,
    rounded,
)

LABELS = [Key(True, name) for name in "ABCDE"] + [Key(False, NO_LABEL)]
FEES = st.decimals("0", "9999.99", places=2)
SHARES = st.sampled_from([Decimal("0.90"), Decimal("0.70"), Decimal("0.333"), Decimal(1)])
LISTENER = st.tuples(
    FEES, SHARES, st.dictionaries(st.sampled_from(LABELS), st.integers(1, 100_000), max_size=6)
)
quick = settings(max_examples=60)


def facts(listeners: Any, places: int) -> tuple[Fraction, Fraction, dict[Key, int], list[Pair]]:
    total, idle = Fraction(0), Fraction(0)
    seconds: dict[Key, int] = {}
    pairs = []
    for fee, share, heard in listeners:
        net = net_fee(fee, share, places)
        total += net
        idle += net if not heard else 0
        whole = sum(heard.values())
        for key, part in heard.items():
            seconds[key] = seconds.get(key, 0) + part
            pairs.append(Pair(net, whole, key, part))
    return total, idle, seconds, pairs


@quick
@given(st.lists(LISTENER, max_size=20), st.sampled_from([0, 2, 3]))
def test_labels_and_unallocated_equal_the_pool_by_both_methods(listeners: Any, places: int) -> None:
    total, idle, seconds, pairs = facts(listeners, places)
    for payout in (pool_payout(total, seconds), listener_payout(total, idle, lambda: pairs)):
        assert sum(line.minor for line in payout.lines) == payout.pool_minor == rounded(total)
        assert all(line.minor >= 0 for line in payout.lines)


@quick
@given(st.lists(LISTENER, min_size=1, max_size=20))
def test_no_line_is_a_whole_cent_away_from_its_exact_share(listeners: Any) -> None:
    total, idle, seconds, pairs = facts(listeners, 2)
    if not seconds:
        return
    whole = sum(seconds.values())
    for line in pool_payout(total, seconds).lines:
        assert abs(line.minor - total * seconds[line.key] / whole) < 1
    exact: dict[Key, Fraction] = {}
    for net, own, key, part in pairs:
        exact[key] = exact.get(key, Fraction(0)) + net * part / own
    for line in listener_payout(total, idle, lambda: pairs).lines:
        if line.key.name != NO_STREAMS:
            assert abs(line.minor - exact[line.key]) < 1


@quick
@given(st.lists(LISTENER, min_size=1, max_size=20))
def test_many_pairs_are_rounded_exactly_as_few_are(listeners: Any) -> None:
    total, idle, _, pairs = facts(listeners, 2)
    exact = listener_payout(total, idle, lambda: pairs)
    assert listener_payout(total, idle, lambda: pairs, exact_up_to=-1) == exact


@quick
@given(st.lists(st.tuples(FEES, SHARES, st.integers(1, 5000)), min_size=1, max_size=8))
def test_with_one_listener_a_label_both_methods_pay_the_same_in_all(rows: Any) -> None:
    listeners = [(fee, share, {LABELS[0]: seconds}) for fee, share, seconds in rows]
    total, idle, seconds, pairs = facts(listeners, 2)
    assert pool_payout(total, seconds) == listener_payout(total, idle, lambda: pairs)


def test_equal_remainders_go_by_label_name_and_unallocated_money_last() -> None:
    third = Fraction(10, 3)
    keys = [Key(False, "A reason"), Key(True, "B"), Key(True, "A")]
    assert apportion(dict.fromkeys(keys, third), Fraction(11)) == {
        Key(True, "A"): 4,
        Key(True, "B"): 4,
        Key(False, "A reason"): 3,
    }


def test_a_fee_counts_once_however_many_streams_it_has() -> None:
    # Counted per stream row these 3 listeners would pay out 5 fees.
    listeners = [
        (Decimal("9.99"), Decimal("0.90"), {LABELS[0]: 10 + 20 + 30}),
        (Decimal("7.99"), Decimal("0.70"), {LABELS[1]: 40}),
        (Decimal("4.99"), Decimal("0.90"), {LABELS[1]: 50}),
    ]
    total, _, seconds, _ = facts(listeners, 2)
    # 8.991 + 5.593 + 4.491 = 19.075: half a cent goes up.
    assert pool_payout(total, seconds).pool_minor == 1908


@pytest.mark.parametrize(
    ("currency", "places", "text"), [("JPY", 0, "1234"), ("EUR", 2, "12.34"), ("KWD", 3, "1.234")]
)
def test_amounts_have_the_digits_of_their_currency(currency: str, places: int, text: str) -> None:
    assert digits(currency) == places
    assert amount_text(1234, currency) == text


def test_a_pool_in_which_nothing_was_streamed_is_one_line_without_an_owner() -> None:
    payout = pool_payout(Fraction(719), {})
    assert [(line.key.owned, line.minor) for line in payout.lines] == [(False, 719)]
