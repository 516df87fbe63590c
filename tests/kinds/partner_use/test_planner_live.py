"""The planner over accounts that come and go between two searches: still never more searches than
months, and no number that was not true of some moment of the run."""

from __future__ import annotations

import bisect
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.kinds.partner_use.test_planner import NOW, Accounts, growths
from webapp.kinds.partner_use.planner import SitePlan
from webapp.kinds.partner_use.search import Search
from webapp.partner.searches import Count, Created


@dataclass
class LiveAccounts(Accounts):
    """A site whose accounts change before each search; its last month goes on.

    joins, leaves: most accounts that are made, or deleted, between two searches
    totals:        whether the partner says how many accounts fit a read
    """

    joins: int = 0
    leaves: int = 0
    totals: bool = True
    seed: int = 0
    flooded: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.now = self.ends[-1] - timedelta(days=2)
        self.dates = [made for made in self.dates if made < self.now]
        self.ever, self.always = list(self.dates), list(self.dates)
        self._chance = random.Random(self.seed)

    def change(self) -> None:
        for _ in range(self._chance.randint(0, self.leaves)):
            if self.dates:
                gone = self.dates.pop(self._chance.randrange(len(self.dates)))
                if gone in self.always:
                    self.always.remove(gone)
        for _ in range(self._chance.randint(0, self.joins)):
            self.now += timedelta(milliseconds=1)
            self.dates.append(self.now)
            self.ever.append(self.now)

    def answer(self, plan: SitePlan, limit: int) -> None:
        while (search := plan.next_search()) is not None:
            self.asked.append(search)
            self.change()
            if search.what == "count":
                plan.take_count(search, Count(self.count(search.end), self.now))
                continue
            total = self.count(search.end) - (self.count(search.start) if search.start else 0)
            whole = self.totals and total <= limit
            before = plan.unknown
            plan.take_dates(search, Created(self.read(search, limit), whole, self.now))
            if not search.gamble and total > limit and plan.unknown == before:
                self.flooded = True

    def check(self, plan: SitePlan) -> None:
        for index, end in enumerate(self.ends):
            value = plan.counts[self.months[index]].value
            low, high = bisect.bisect_left(self.always, end), bisect.bisect_left(self.ever, end)
            assert low <= value <= high, index


lives = st.fixed_dictionaries(
    {
        "base": st.integers(0, 60),
        "growth": growths,
        "joins": st.integers(0, 5),
        "seed": st.integers(),
    }
)
limits = st.sampled_from([0, 5, 20, 100])


@settings(max_examples=400)
@given(life=lives, leaves=st.integers(0, 5), limit=limits)
def test_accounts_that_come_and_go_cost_one_recount_at_most(
    life: dict[str, Any], leaves: int, limit: int
) -> None:
    accounts = LiveAccounts(**life, leaves=leaves)
    plan = accounts.plan(limit)
    accounts.answer(plan, limit)
    accounts.check(plan)
    assert plan.searches == len(accounts.asked) <= 2 * len(accounts.ends) + 1
    assert plan.finished


@settings(max_examples=300)
@given(life=lives, limit=limits)
def test_sign_ups_cost_no_more_where_the_partner_gives_no_totals(
    life: dict[str, Any], limit: int
) -> None:
    accounts = LiveAccounts(**life, totals=False)
    plan = accounts.plan(limit)
    accounts.answer(plan, limit)
    accounts.check(plan)
    assert len(accounts.asked) <= len(accounts.ends)


@settings(max_examples=400)
@given(
    life=lives,
    leaves=st.integers(0, 5),
    limit=limits,
    known=st.sets(st.integers(0, 40), max_size=6),
    since=st.integers(0, 10),
)
def test_months_stored_before_a_deletion_cost_one_recount_at_most(
    life: dict[str, Any], leaves: int, limit: int, known: set[int], since: int
) -> None:
    accounts = LiveAccounts(**life, leaves=leaves)
    known = {index for index in known if index < len(accounts.ends) - 1}
    plan = accounts.plan(limit, known)
    for _ in range(since):
        accounts.change()
    accounts.answer(plan, limit)
    # Deleted since the months were stored: so many that what was to fit one read does not by far.
    assume(not accounts.flooded)
    accounts.check(plan)
    assert len(accounts.asked) <= 2 * len(accounts.ends) + 1


def read_of(accounts: Accounts, limit: int) -> tuple[SitePlan, Search]:
    """Return a plan whose last month is counted, and the read it sends then."""
    plan = accounts.plan(limit)
    count = plan.next_search()
    assert count is not None
    plan.take_count(count, Count(accounts.count(count.end), NOW))
    read = plan.next_search()
    assert read is not None
    assert read.what == "read"
    return plan, read


@pytest.mark.parametrize("whole", [True, False])
def test_one_sign_up_after_the_count_costs_no_search_more(whole: bool) -> None:
    accounts = Accounts(7, [3] * 60)
    plan, read = read_of(accounts, 5000)
    now = accounts.ends[-1] - timedelta(hours=1)
    found = Created([*accounts.read(read, 5000), now], whole, now)
    plan.take_dates(read, found)
    if whole:  # newer than the count, and all there is
        accounts.dates.append(now)
    accounts.check(plan)
    assert plan.searches == 2
    assert plan.next_search() is None


def test_a_row_too_many_in_a_closed_month_is_not_believed_without_a_total() -> None:
    accounts = Accounts(7, [3] * 6)
    plan, read = read_of(accounts, 5000)
    rows = accounts.read(read, 5000)
    plan.take_dates(read, Created([*rows, rows[-1]], False, NOW))
    accounts.answer(plan, 5000)
    accounts.check(plan)
    assert {search.what for search in accounts.asked} == {"count"}


def test_a_whole_read_is_newer_than_the_count_before_it_and_wins() -> None:
    """A hundred accounts deleted in between were a growth of +110 in a month that had +10."""
    accounts = Accounts(100, [10, 10, 10])
    plan, read = read_of(accounts, 5000)
    del accounts.dates[:100]
    plan.take_dates(read, Created(accounts.read(read, 5000), True, NOW))
    assert plan.next_search() is None
    accounts.check(plan)


def test_a_whole_read_from_a_known_month_that_its_count_contradicts_is_counted_plainly() -> None:
    accounts = Accounts(9, [2] * 5)
    known = accounts.known({0: 12}, NOW - timedelta(days=20))
    plan = SitePlan(accounts.months, known, read_limit=100)
    count = plan.next_search()
    assert count is not None
    plan.take_count(count, Count(accounts.count(count.end), NOW))
    read = plan.next_search()
    assert read is not None
    plan.take_dates(read, Created(accounts.read(read, 100), True, NOW))
    accounts.answer(plan, 100)
    accounts.check(plan)
    assert [search.what for search in accounts.asked] == ["count"] * 6


def test_what_was_counted_before_a_deletion_is_not_believed_beyond_a_whole_read() -> None:
    """The count of the last month is of before the deletion, too: its growth would be too large."""
    accounts = Accounts(60, [30] * 6)
    plan = accounts.plan(100)
    for _ in range(2):
        count = plan.next_search()
        assert count is not None
        assert count.what == "count"
        plan.take_count(count, Count(accounts.count(count.end), NOW))
    del accounts.dates[:50]
    accounts.answer(plan, 100)
    accounts.check(plan)


def test_a_later_month_counted_lower_than_an_earlier_one_is_counted_again_once() -> None:
    accounts = Accounts(50, [1] * 4)
    plan = accounts.plan(0, plain=True)
    for _ in range(3):
        count = plan.next_search()
        assert count is not None
        plan.take_count(count, Count(accounts.count(count.end), NOW))
    del accounts.dates[:20]
    accounts.answer(plan, 0)
    accounts.check(plan)
    assert plan.searches == 10
    assert plan.is_settled


def test_what_contradicts_itself_twice_is_shown_but_not_settled() -> None:
    accounts = Accounts(50, [0] * 2)
    plan = accounts.plan(0, plain=True)
    while (search := plan.next_search()) is not None:
        plan.take_count(search, Count(accounts.count(search.end), NOW))
        del accounts.dates[:1]
    assert plan.finished
    assert not plan.is_settled
    assert plan.searches == 6


@pytest.mark.parametrize("exact", [True, False])
def test_accounts_older_than_any_calendar_are_counted_both_ways(exact: bool) -> None:
    accounts = Accounts(0, [1, 4])
    accounts.dates = [datetime(1, 1, 1, tzinfo=UTC)] * 4 + accounts.dates
    plan = accounts.plan(5000, plain=exact)
    accounts.answer(plan, 5000)
    assert [plan.counts[month].value for month in accounts.months] == [4, 5, 9]
