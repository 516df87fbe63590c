"""The planner over accounts that come and go between two searches: still never more searches than
months, and no number that was not true of some moment of the run."""

from __future__ import annotations

import bisect
import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.kinds.partner_use.test_planner import NOW, Accounts, growths
from webapp.kinds.partner_use.compute import Cell
from webapp.kinds.partner_use.planner import Search, SitePlan


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
                plan.take_count(search, Cell(self.count(search.end), self.now))
                continue
            total = self.count(search.end) - self.count(search.start)
            whole = self.totals and total <= limit
            before = plan.unknown
            plan.take_dates(search, self.read(search, limit), self.now, whole=whole)
            if not search.gamble and total > limit and plan.unknown == before:
                self.flooded = True

    def check(self, plan: SitePlan) -> None:
        for index, end in enumerate(self.ends):
            value = plan.cells[index].value
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


@settings(derandomize=True, max_examples=400, deadline=None)
@given(life=lives, leaves=st.integers(0, 5), limit=limits)
def test_accounts_that_come_and_go_cost_no_more_than_asking_each_month(
    life: dict[str, Any], leaves: int, limit: int
) -> None:
    accounts = LiveAccounts(**life, leaves=leaves)
    plan = accounts.plan(limit)
    accounts.answer(plan, limit)
    accounts.check(plan)
    assert plan.searches == len(accounts.asked) <= len(accounts.ends)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(life=lives, limit=limits)
def test_sign_ups_cost_no_more_where_the_partner_gives_no_totals(
    life: dict[str, Any], limit: int
) -> None:
    accounts = LiveAccounts(**life, totals=False)
    plan = accounts.plan(limit)
    accounts.answer(plan, limit)
    accounts.check(plan)
    assert len(accounts.asked) <= len(accounts.ends)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(
    life=lives,
    leaves=st.integers(0, 5),
    limit=limits,
    known=st.sets(st.integers(0, 40), max_size=6),
    since=st.integers(0, 10),
)
def test_months_stored_before_a_deletion_cost_no_more_either(
    life: dict[str, Any], leaves: int, limit: int, known: set[int], since: int
) -> None:
    accounts = LiveAccounts(**life, leaves=leaves)
    known = {index for index in known if index < len(accounts.ends) - 1}
    plan = accounts.plan(limit, known)
    for _ in range(since):
        accounts.change()
    wanted = plan.unknown
    accounts.answer(plan, limit)
    # Deleted since the months were stored: so many that what was to fit one read does not by far.
    assume(not accounts.flooded)
    accounts.check(plan)
    assert len(accounts.asked) <= wanted


def read_of(accounts: Accounts, limit: int) -> tuple[SitePlan, Search]:
    """Return a plan whose last month is counted, and the read it sends then."""
    plan = accounts.plan(limit)
    count = plan.next_search()
    assert count is not None
    plan.take_count(count, Cell(accounts.count(count.end), NOW))
    read = plan.next_search()
    assert read is not None
    assert read.what == "read"
    return plan, read


@pytest.mark.parametrize("whole", [True, False])
def test_one_sign_up_after_the_count_costs_no_search_more(whole: bool) -> None:
    accounts = Accounts(7, [3] * 60)
    plan, read = read_of(accounts, 5000)
    now = accounts.ends[-1] - timedelta(hours=1)
    plan.take_dates(read, [*accounts.read(read, 5000), now], now, whole=whole)
    accounts.check(plan)
    assert plan.searches == 2
    assert plan.next_search() is None


def test_a_row_too_many_in_a_closed_month_is_not_believed_without_a_total() -> None:
    accounts = Accounts(7, [3] * 6)
    plan, read = read_of(accounts, 5000)
    rows = accounts.read(read, 5000)
    plan.take_dates(read, [*rows, rows[-1]], NOW)
    accounts.answer(plan, 5000)
    accounts.check(plan)
    assert {search.what for search in accounts.asked} == {"count"}


def test_one_deletion_after_the_count_costs_no_search_more() -> None:
    accounts = Accounts(7, [3] * 60)
    plan, read = read_of(accounts, 5000)
    counted = plan.cells[60]
    del accounts.dates[0]
    plan.take_dates(read, accounts.read(read, 5000), NOW, whole=True)
    assert plan.next_search() is None
    assert plan.cells[60] == counted
    assert [plan.cells[at].value for at in range(60)] == [
        accounts.count(end) for end in accounts.ends[:60]
    ]


def test_what_a_whole_read_resolves_is_as_old_as_the_month_it_starts_from() -> None:
    old = NOW - timedelta(days=20)
    accounts = Accounts(9, [2] * 5)
    plan = SitePlan(accounts.ends, {0: Cell(12, old)}, read_limit=100)
    count = plan.next_search()
    assert count is not None
    plan.take_count(count, Cell(accounts.count(count.end), NOW))
    read = plan.next_search()
    assert read is not None
    plan.take_dates(read, accounts.read(read, 100), NOW, whole=True)
    assert [plan.cells[at] for at in range(5)] == [Cell(12 + 2 * at, old) for at in range(5)]
    assert plan.cells[5] == Cell(19, NOW)
