"""The planner against a plain count of made-up accounts: the same numbers, never more searches."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.kinds.partner_use.planner import SitePlan
from webapp.kinds.partner_use.search import Economy, Search
from webapp.lib.months import month_end, months_between, next_month
from webapp.partner.searches import Count, Created

NOW = datetime(2026, 11, 22, tzinfo=UTC)
START = date(2021, 1, 1)


@dataclass
class Accounts:
    """A site's accounts, asked as the partner would be."""

    base: int
    growth: list[int]
    asked: list[Search] = field(default_factory=list)

    def __post_init__(self) -> None:
        last = next_month(START, len(self.growth) - 1)
        self.months = months_between(next_month(START, -1), last)
        self.ends = [month_end(month) for month in self.months]
        long_ago = datetime(2015, 1, 1, tzinfo=UTC)
        self.dates = [long_ago + timedelta(seconds=number) for number in range(self.base)]
        for begin, number in zip(self.ends, self.growth, strict=False):
            # The first account of a month on its first instant shows whether ends are excluded.
            step = timedelta(days=27) / max(number, 1)
            self.dates += [begin + step * place for place in range(number)]

    def count(self, end: datetime) -> int:
        return bisect.bisect_left(self.dates, end)

    def read(self, search: Search, limit: int) -> list[datetime]:
        first = self.count(search.start) if search.start else 0
        return self.dates[first : self.count(search.end)][:limit]

    def known(self, values: dict[int, int], at: datetime = NOW) -> dict[date, Count]:
        """Return counts by month, of values by the month's place."""
        return {self.months[index]: Count(value, at) for index, value in values.items()}

    def plan(self, limit: int, known: set[int] = frozenset(), **more: Any) -> SitePlan:  # type: ignore[assignment]
        counts = self.known({index: self.count(self.ends[index]) for index in known})
        return SitePlan(self.months, counts, read_limit=limit, **more)

    def answer(self, plan: SitePlan, limit: int) -> None:
        """Answer the plan's searches one by one until it has no more."""
        while (search := plan.next_search()) is not None:
            self.asked.append(search)
            if search.what == "count":
                plan.take_count(search, Count(self.count(search.end), NOW))
            else:
                plan.take_dates(search, Created(self.read(search, limit), False, NOW))

    def check(self, plan: SitePlan) -> None:
        found = [plan.counts[month].value for month in self.months]
        assert found == [self.count(end) for end in self.ends]


growths = st.lists(st.one_of(st.just(0), st.integers(0, 40)), min_size=1, max_size=40)


@settings(max_examples=300)
@given(
    base=st.integers(0, 60),
    growth=growths,
    limit=st.sampled_from([0, 5, 20, 100]),
    known=st.sets(st.integers(0, 40), max_size=6),
)
def test_all_months_are_right_and_never_cost_more_than_asking_each(
    base: int, growth: list[int], limit: int, known: set[int]
) -> None:
    accounts = Accounts(base, growth)
    known = {index for index in known if index < len(accounts.ends)}
    plan = accounts.plan(limit, known)
    accounts.answer(plan, limit)
    accounts.check(plan)
    assert plan.searches == len(accounts.asked) <= len(accounts.ends) - len(known)


@settings(max_examples=100)
@given(base=st.integers(0, 60), growth=growths, limit=st.sampled_from([5, 20, 100]))
def test_no_search_is_sent_twice(base: int, growth: list[int], limit: int) -> None:
    accounts = Accounts(base, growth)
    accounts.answer(accounts.plan(limit), limit)
    sent = [(search.what, search.start, search.end) for search in accounts.asked]
    assert len(sent) == len(set(sent))


def test_a_site_without_accounts_costs_one_search() -> None:
    accounts = Accounts(0, [0] * 60)
    accounts.answer(accounts.plan(5000), 5000)
    assert len(accounts.asked) == 1


def test_a_dormant_site_costs_two_searches() -> None:
    accounts = Accounts(20_000, [0] * 60)
    accounts.answer(accounts.plan(5000), 5000)
    assert len(accounts.asked) == 2


def test_a_small_site_costs_a_count_and_a_read() -> None:
    accounts = Accounts(10, [1, 0, 3] * 20)
    accounts.answer(accounts.plan(5000), 5000)
    assert [search.what for search in accounts.asked] == ["count", "read"]


def test_a_site_busy_every_month_costs_exactly_the_plain_way() -> None:
    accounts = Accounts(5_000, [500] * 60)
    accounts.answer(accounts.plan(50), 50)
    assert len(accounts.asked) == 61
    assert {search.what for search in accounts.asked} == {"count"}


def test_growth_in_a_fifth_of_the_months_costs_less_than_a_third() -> None:
    growth = [0] * 60
    for place in range(3, 60, 5):
        growth[place] = 300
    accounts = Accounts(3_000, growth)
    plan = accounts.plan(500)
    accounts.answer(plan, 500)
    accounts.check(plan)
    assert len(accounts.asked) <= 0.3 * 61


def test_known_ends_with_the_same_count_leave_nothing_to_ask() -> None:
    accounts = Accounts(7, [0] * 12)
    plan = accounts.plan(5000, {0, 12})
    assert plan.next_search() is None
    accounts.check(plan)


def test_plainly_every_month_is_asked_by_a_count_of_its_own() -> None:
    accounts = Accounts(10, [0] * 12)
    plan = accounts.plan(5000, plain=True)
    accounts.answer(plan, 5000)
    accounts.check(plan)
    assert len(accounts.asked) == 13


def test_a_later_count_below_an_earlier_one_makes_the_stretch_be_asked_plainly() -> None:
    accounts = Accounts(10, [0] * 6)
    plan = SitePlan(accounts.months, accounts.known({0: 12, 6: 10}), read_limit=100)
    accounts.answer(plan, 100)
    assert [search.what for search in accounts.asked] == ["count"] * 5
    assert [plan.counts[month].value for month in accounts.months] == [12] + [10] * 6


def test_fewer_dates_than_counted_make_the_stretch_be_asked_plainly() -> None:
    accounts = Accounts(0, [3] * 6)
    plan = accounts.plan(100)
    count = plan.next_search()
    assert count is not None
    plan.take_count(count, Count(accounts.count(count.end), NOW))
    read = plan.next_search()
    assert read is not None
    assert read.what == "read"
    plan.take_dates(read, Created(accounts.read(read, 100)[1:], False, NOW))
    accounts.answer(plan, 100)
    accounts.check(plan)
    assert {search.what for search in accounts.asked} == {"count"}


def test_a_refused_read_falls_back_to_counts() -> None:
    accounts = Accounts(0, [3] * 6)
    plan = accounts.plan(100)
    count = plan.next_search()
    assert count is not None
    plan.take_count(count, Count(accounts.count(count.end), NOW))
    read = plan.next_search()
    assert read is not None
    plan.take_failure(read, "refused", final=True)
    plan.without_reads()
    accounts.answer(plan, 100)
    accounts.check(plan)
    assert plan.problem is None


def test_a_refusal_ends_the_asking_of_a_site_and_names_it() -> None:
    plan = Accounts(9, [4] * 6).plan(0)
    search = plan.next_search()
    assert search is not None
    plan.take_failure(search, "not permitted", final=True)
    assert plan.next_search() is None
    assert plan.unknown == 7
    assert plan.problem == "not permitted"


def test_one_failed_count_leaves_one_hole_where_nothing_else_tells_it() -> None:
    accounts = Accounts(9, [4] * 6)
    plan = accounts.plan(0)
    failed = False
    while (search := plan.next_search()) is not None:
        if search.at == 3 and not failed:
            failed = True
            plan.take_failure(search, "timeout", final=False)
        else:
            plan.take_count(search, Count(accounts.count(search.end), NOW))
    assert failed
    assert set(accounts.months) - plan.counts.keys() == {accounts.months[3]}


def test_an_implied_month_is_as_old_as_the_older_of_what_implied_it() -> None:
    old = NOW - timedelta(days=20)
    accounts = Accounts(1, [0] * 4)
    known = accounts.known({0: 5}, old) | accounts.known({4: 5})
    plan = SitePlan(accounts.months, known, read_limit=0)
    assert [plan.counts[month].counted_at for month in accounts.months[1:4]] == [old] * 3


@pytest.mark.parametrize("limit", [0, 5000])
def test_two_months_alone_are_counted_not_read(limit: int) -> None:
    accounts = Accounts(40, [3])
    accounts.answer(accounts.plan(limit), limit)
    assert len(accounts.asked) <= 2


@pytest.mark.parametrize("plain", [True, False])
def test_a_site_is_finished_when_no_answer_and_no_search_is_left(plain: bool) -> None:
    """With one failed month it was given back to other reports while it was still being asked."""
    accounts = Accounts(9, [4] * 6)
    plan = accounts.plan(0, plain=plain)
    failed = False
    while (search := plan.next_search()) is not None:
        assert not plan.finished
        if search.at == 3 and not failed:
            failed = True
            plan.take_failure(search, "timeout", final=False)
            assert not plan.finished
        else:
            plan.take_count(search, Count(accounts.count(search.end), NOW))
    assert plan.finished
    assert plan.unknown == 1


def test_a_site_that_was_given_up_is_finished_with_its_last_answer() -> None:
    accounts = Accounts(9, [4] * 6)
    plan = accounts.plan(0, plain=True)
    first, second = plan.next_search(), plan.next_search()
    assert first is not None
    assert second is not None
    plan.take_failure(first, "not permitted", final=True)
    assert plan.next_search() is None
    assert not plan.finished
    plan.take_count(second, Count(9, NOW))
    assert plan.finished


# -- what reads cost -----------------------------------------------------------------------------


def small_sites(**more: Any) -> Economy:
    """Return the economy of a report most of whose sites were small so far."""
    economy = Economy(**more)
    for _ in range(8):
        economy.note_site(small=True)
    return economy


@settings(max_examples=300)
@given(
    base=st.integers(0, 60),
    growth=growths,
    limit=st.sampled_from([0, 5, 20, 100]),
    row_cost=st.sampled_from([0.0, 0.01, 0.1, 1.0, 100.0]),
    small=st.booleans(),
)
def test_all_months_are_right_whatever_reads_cost(
    base: int, growth: list[int], limit: int, row_cost: float, small: bool
) -> None:
    def read_pays(rows: int, counts: float) -> bool:
        return 1 + rows * row_cost <= counts

    economy = small_sites(read_pays=read_pays) if small else Economy(read_pays)
    accounts = Accounts(base, growth)
    plan = accounts.plan(limit, economy=economy)
    accounts.answer(plan, limit)
    accounts.check(plan)
    # Where most sites are small, one read may be tried on a large one.
    assert len(accounts.asked) <= len(accounts.ends) + small


def test_where_dates_are_dear_every_month_is_counted() -> None:
    accounts = Accounts(100, [50] * 12)
    accounts.answer(accounts.plan(5000, economy=Economy(lambda _rows, _counts: False)), 5000)
    assert {search.what for search in accounts.asked} == {"count"}


def test_among_small_sites_a_site_is_read_at_once() -> None:
    accounts = Accounts(10, [1, 0, 3] * 20)
    plan = accounts.plan(5000, economy=small_sites())
    while (search := plan.next_search()) is not None:
        accounts.asked.append(search)
        plan.take_dates(search, Created(accounts.read(search, 5000), True, NOW))
    accounts.check(plan)
    assert [search.what for search in accounts.asked] == ["read"]


def test_a_large_site_among_small_ones_is_counted_after_one_read() -> None:
    accounts = Accounts(30, [30] * 12)
    plan = accounts.plan(100, economy=small_sites())
    read = plan.next_search()
    assert read is not None
    assert (read.what, read.start, read.at) == ("read", None, 12)
    plan.take_dates(read, Created(accounts.read(read, 100), False, NOW))
    assert [count.value for count in plan.counts.values()] == [30, 60, 90]
    accounts.answer(plan, 100)
    accounts.check(plan)


def test_a_first_read_that_fails_is_made_up_for_by_a_count() -> None:
    accounts = Accounts(3, [3] * 6)
    plan = accounts.plan(100, economy=small_sites())
    read = plan.next_search()
    assert read is not None
    plan.take_failure(read, "timeout", final=False)
    accounts.answer(plan, 100)
    accounts.check(plan)
    assert plan.problem is None
    assert [search.what for search in accounts.asked] == ["count", "read"]


def test_few_or_large_sites_are_counted_first() -> None:
    economy = Economy()
    for _ in range(7):
        economy.note_site(small=True)
    assert not economy.read_first_pays(5000)
    for _ in range(5):
        economy.note_site(small=False)
    assert not economy.read_first_pays(5000)
    for _ in range(3):
        economy.note_site(small=True)
    assert economy.read_first_pays(5000)


@pytest.mark.parametrize(
    ("base", "growth", "limit", "searches"),
    [
        (0, [0] * 60, 100, 1),
        (500, [0] * 60, 100, 2),
        (50, [1] * 48, 100, 2),
        (500, [1] * 48, 100, 3),
        (500, [5] * 48, 100, 6),
        (500, [30] * 48, 100, 19),
        (500, [60] * 48, 100, 49),
        (500, [90] * 48, 100, 49),
        (500, [0, 0, 0, 250] * 12, 300, 14),
        (500, [0] * 24 + [40] * 12 + [0] * 12, 100, 9),
        (90, [300] + [0] * 47, 100, 5),
        (500, [3] * 30 + [200] * 18, 100, 23),
    ],
)
def test_what_the_shapes_of_growth_cost(
    base: int, growth: list[int], limit: int, searches: int
) -> None:
    """Exact numbers: a planner that asks more, or less, is to be looked at."""
    accounts = Accounts(base, growth)
    accounts.answer(accounts.plan(limit), limit)
    assert len(accounts.asked) == searches


def economy_of_small_sites() -> Economy:
    economy = Economy()
    for _ in range(8):
        economy.note_site(small=True)
    return economy


def test_the_count_of_the_last_month_says_whether_a_site_is_small() -> None:
    economy = Economy()
    for _ in range(8):
        plan = Accounts(3, [0] * 6).plan(10, economy=economy)
        search = plan.next_search()
        assert search is not None
        plan.take_count(search, Count(3, NOW))
    assert economy.read_first_pays(10)


def test_a_site_of_two_months_is_counted_however_small_the_others_are() -> None:
    search = Accounts(3, [1]).plan(10, economy=economy_of_small_sites()).next_search()
    assert search is not None
    assert search.what == "count"


def test_one_search_at_a_time_is_under_way_in_a_stretch() -> None:
    plan = Accounts(30, [10] * 8).plan(0, {8})
    assert plan.next_search() is not None
    assert plan.next_search() is None


@pytest.mark.parametrize("gone", [0, 1])
def test_all_of_a_site_wins_over_an_older_count_where_they_differ(gone: int) -> None:
    """Accounts that went since they were counted may have gone from the months beyond, too."""
    accounts = Accounts(4, [0] * 10 + [50] * 10)
    plan = accounts.plan(5, {5, 20})
    search = plan.next_search()
    assert search == Search("read", 5, accounts.ends[5])
    plan.take_dates(search, Created(accounts.dates[: 4 - gone], True, NOW))
    assert plan.counts[accounts.months[5]].value == 4 - gone
    assert (accounts.months[20] in plan.counts) == (gone == 0)


def read_of(plan: SitePlan) -> Search:
    search = plan.next_search()
    assert search is not None
    assert search.what == "read"
    return search


def test_one_date_more_than_counted_tells_the_months_before_the_last_date() -> None:
    accounts = Accounts(4, [0, 0, 1, 0, 0])
    plan = SitePlan(accounts.months, accounts.known({5: 4}), read_limit=5)
    plan.take_dates(read_of(plan), Created(accounts.dates, False, NOW))
    assert [plan.counts[month].value for month in accounts.months[:3]] == [4, 4, 4]
    assert accounts.months[3] not in plan.counts


def test_who_signed_up_after_the_count_of_the_running_month_changes_no_month_before_it() -> None:
    months = months_between(date(2026, 9, 1), date(2026, 11, 1))
    plan = SitePlan(months, {months[2]: Count(3, NOW)}, read_limit=5)
    dates = [*Accounts(3, []).dates, NOW - timedelta(days=1)]
    plan.take_dates(read_of(plan), Created(dates, False, NOW))
    assert [plan.counts[month].value for month in months] == [3, 3, 3]


def test_what_stored_months_implied_goes_with_them_when_they_are_contradicted() -> None:
    accounts = Accounts(10, [0] * 20)
    stored = {index: Count(10, NOW, is_stored=True) for index in (0, 10)}
    known = {accounts.months[index]: count for index, count in stored.items()}
    plan = SitePlan(accounts.months, known, read_limit=0)
    search = plan.next_search()
    assert search is not None
    plan.take_count(search, Count(5, NOW))
    assert {month: one.value for month, one in plan.counts.items()} == {accounts.months[20]: 5}


def test_beside_a_count_that_failed_the_nearest_month_is_counted() -> None:
    accounts = Accounts(0, [10] * 16)
    plan = accounts.plan(0, {0, 16})
    middle = plan.next_search()
    assert middle is not None
    plan.take_failure(middle, "It failed.", final=False)
    beside = plan.next_search()
    assert beside is not None
    assert (middle.at, beside.at) == (8, 7)


def test_where_the_last_month_cannot_be_counted_the_others_are_one_by_one() -> None:
    plan = Accounts(30, [10] * 8).plan(5, {0})
    last = plan.next_search()
    assert last is not None
    plan.take_failure(last, "It failed.", final=False)
    asked = [plan.next_search(), plan.next_search()]
    assert [one and (one.what, one.at) for one in asked] == [("count", 1), None]
