"""The arithmetic of accounts agrees with the plain way: list them all and count."""

from __future__ import annotations

import pytest

from sandbox.growth import Growth, Store, accounts_in_month
from sandbox.moments import iso, month_number, month_start_ms, parse_iso, parse_month

END = "2026-11-15T00:00:00Z"
FIRST = month_number(2024, 1)


def listed(store: Store) -> list[int]:
    return [store.created_ms(position) for position in range(store.total)]


@pytest.mark.parametrize("shape", ["none", "quiet", "trickle", "steady", "import"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_counting_before_a_moment_equals_counting_a_list(shape: str, seed: int) -> None:
    store = Store(Growth(shape, FIRST), seed, parse_iso(END)[0])
    accounts = listed(store)
    assert accounts == sorted(accounts)
    edges = {start + gap for start in map(month_start_ms, range(FIRST - 1, FIRST + 38))
             for gap in (-1, 0, 1)}  # fmt: skip
    moments = edges | {moment + gap for moment in accounts[::7] for gap in (-1, 0, 1)}
    for moment in moments:
        expected = sum(created < moment for created in accounts)
        assert store.count_before(moment) == expected, iso(moment)


def test_months_hold_the_numbers_they_were_given() -> None:
    growth = Growth("bursts", FIRST)
    store = Store(growth, 5, parse_iso(END)[0])
    for month in range(FIRST, parse_month("2026-10") + 1):
        start, end = month_start_ms(month), month_start_ms(month + 1)
        gained = store.count_before(end) - store.count_before(start)
        assert gained == accounts_in_month(growth, 5, month)


def test_a_later_end_of_data_changes_nothing_before_it() -> None:
    early = Store(Growth("steady", FIRST), 1, parse_iso("2025-06-10T12:00:00Z")[0])
    late = Store(Growth("steady", FIRST), 1, parse_iso(END)[0])
    assert listed(early) == listed(late)[: early.total]
    assert early.total < late.total
    assert early.created_ms(early.total - 1) < early.end_ms


def test_some_months_begin_and_end_with_an_account_at_their_very_edge() -> None:
    accounts = set(listed(Store(Growth("steady", FIRST), 1, parse_iso(END)[0])))
    starts = [month_start_ms(month) for month in range(FIRST, FIRST + 34)]
    assert any(start in accounts for start in starts)
    assert any(start - 1 in accounts for start in starts)


def test_nobody_signs_in_before_joining_or_after_the_end() -> None:
    store = Store(Growth("steady", FIRST), 1, parse_iso(END)[0])
    logins = [store.login_ms(position) for position in range(store.total)]
    assert logins == sorted(logins)
    assert all(made <= login < store.end_ms
               for made, login in zip(listed(store), logins, strict=True))  # fmt: skip


def test_deletions_take_the_oldest_accounts() -> None:
    store = Store(Growth("steady", FIRST), 1, parse_iso(END)[0])
    before = listed(store)
    store.delete(10)
    assert listed(store) == before[10:]
    assert store.count_before(before[10]) == 0
    store.delete(10**9)
    assert store.total == 0


def test_dates_are_written_in_three_ways_and_read_in_all() -> None:
    moment = parse_iso("2024-02-29T12:34:56.120Z")[0]
    assert iso(moment) == "2024-02-29T12:34:56.120Z"
    assert iso(moment, "trimmed") == "2024-02-29T12:34:56.12Z"
    assert iso(moment, "seven") == "2024-02-29T12:34:56.1200000Z"
    assert {parse_iso(iso(moment, way))[0] for way in ("three", "trimmed", "seven")} == {moment}
    for bad in ("2024-1-31", "2024-13-01", "2023-02-29T00:00:00Z", "yesterday", "2024-01-01 00:00"):
        with pytest.raises(ValueError, match=r".+"):
            parse_iso(bad)


@pytest.mark.parametrize("shape", ["trickle", "steady", "bursts"])
def test_a_run_of_accounts_is_each_of_them(shape: str) -> None:
    store = Store(Growth(shape, FIRST - 9), 17, parse_iso("2024-07-09T00:00:00Z")[0])
    store.delete(3)
    total = store.total
    for first, last in ((0, 1), (0, min(total, 900)), (total - 2, total), (5, 5)):
        each = [store.created_ms(position) for position in range(first, last)]
        assert store.created_run(first, last) == each
        assert each == sorted(each)
