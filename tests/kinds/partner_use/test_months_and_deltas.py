"""What holds for months and deltas whatever the partner says: properties of `compute`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.kinds.partner_use import PartnerUse
from webapp.kinds.partner_use.compute import (
    Answers,
    SiteFacts,
    instant_text,
    month_rows,
    site_months,
    site_row,
    summary_figures,
    summary_row,
)
from webapp.lib.months import month_text, months_between, next_month
from webapp.partner.searches import Count
from webapp.partner.sites import Site

START = date(2023, 11, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
few = settings(max_examples=60)

Seen = tuple[SiteFacts, dict[date, Count]]


def site(number: int, **facts: Any) -> SiteFacts:
    return SiteFacts(Site(f"{number}", f"3_{number}", f"site {number}", "us1"), **facts)


@st.composite
def cells(draw: st.DrawFn, holes: bool = True) -> Count | None:
    if holes and draw(st.integers(0, 5)) == 0:
        return None
    age = timedelta(hours=draw(st.integers(0, 72)))
    return Count(draw(st.integers(0, 10**7)), NOON - age)


@st.composite
def worlds(draw: st.DrawFn, holes: bool = True) -> tuple[list[Seen], date]:
    """Return counted sites with their months from the one before START, and the last month."""
    end = next_month(START, draw(st.integers(0, 13)))
    span = months_between(next_month(START, -1), end)
    sites = []
    for number in range(draw(st.integers(1, 5))):
        series = {month: draw(cells(holes)) for month in span}
        sites.append(
            (site(number), {month: cell for month, cell in series.items() if cell is not None})
        )
    return sites, end


def rows_of(sites: list[Seen], end: date) -> list[dict[str, Any]]:
    series = {facts.site.ref: months for facts, months in sites}
    return month_rows([facts for facts, _ in sites], series, START, end)


@few
@given(worlds())
def test_there_is_a_row_for_every_month_in_order(world: tuple[list[Seen], date]) -> None:
    sites, end = world
    wanted = [month_text(month) for month in months_between(START, end)]
    assert [row["month"] for row in rows_of(sites, end)] == wanted


@few
@given(worlds())
def test_a_total_is_the_sum_of_that_months_sites_by_label(
    world: tuple[list[Seen], date],
) -> None:
    sites, end = world
    for row, month in zip(rows_of(sites, end), months_between(START, end), strict=True):
        known = [months[month].value for _, months in sites if month in months]
        assert row["total_users"] == (sum(known) if len(known) == len(sites) else None)
        assert (row["known_users"], row["sites_counted"], row["sites"]) == (
            sum(known),
            len(known),
            len(sites),
        )


@few
@given(worlds())
def test_a_month_is_complete_only_when_both_its_ends_are_known_everywhere(
    world: tuple[list[Seen], date],
) -> None:
    sites, end = world
    for row, month in zip(rows_of(sites, end), months_between(START, end), strict=True):
        here = all(month in months for _, months in sites)
        there = all(next_month(month, -1) in months for _, months in sites)
        assert row["complete"] == (here and there)


@few
@given(worlds(holes=False))
def test_without_holes_the_deltas_add_up_to_the_growth(world: tuple[list[Seen], date]) -> None:
    sites, end = world
    rows = rows_of(sites, end)
    before = sum(months[next_month(START, -1)].value for _, months in sites)
    assert sum(row["delta"] for row in rows) == rows[-1]["total_users"] - before


@few
@given(worlds(holes=False))
def test_a_delta_is_the_difference_to_the_month_before(world: tuple[list[Seen], date]) -> None:
    sites, end = world
    rows = rows_of(sites, end)
    for before, row in pairwise(rows):
        assert row["delta"] == row["total_users"] - before["total_users"]


@few
@given(worlds())
def test_a_delta_needs_both_its_months_whole(world: tuple[list[Seen], date]) -> None:
    sites, end = world
    for row, month in zip(rows_of(sites, end), months_between(START, end), strict=True):
        before = next_month(month, -1)
        whole = all(month in months and before in months for _, months in sites)
        assert (row["delta"] is not None) == whole


@few
@given(worlds(holes=False))
def test_the_deltas_of_the_sites_add_up_to_the_delta_of_the_month(
    world: tuple[list[Seen], date],
) -> None:
    sites, end = world
    by_site = [
        site_months(site_row(facts, months, START, end, None), START, end)
        for facts, months in sites
    ]
    for place, row in enumerate(rows_of(sites, end)):
        assert row["delta"] == sum(months[place]["delta"] for months in by_site)
        assert row["total_users"] == sum(months[place]["total_users"] for months in by_site)


@few
@given(worlds())
def test_a_hole_of_a_site_is_null_in_its_month_and_in_both_deltas(
    world: tuple[list[Seen], date],
) -> None:
    sites, end = world
    for facts, months in sites:
        rows = site_months(site_row(facts, months, START, end, None), START, end)
        for row, month in zip(rows, months_between(START, end), strict=True):
            before = next_month(month, -1)
            assert (row["total_users"] is None) == (month not in months)
            assert (row["delta"] is None) == (month not in months or before not in months)


@few
@given(worlds())
def test_the_order_of_the_sites_changes_nothing(world: tuple[list[Seen], date]) -> None:
    sites, end = world
    assert rows_of(sites, end) == rows_of(sites[::-1], end)


@few
@given(worlds(), st.integers(0, 10**6))
def test_a_child_changes_no_total_and_no_delta(world: tuple[list[Seen], date], value: int) -> None:
    sites, end = world
    child = site(99, is_child=True, parent_api_key="3_0", counted=False)
    months = {m: Count(value, NOON) for m in months_between(next_month(START, -1), end)}
    assert rows_of([*sites, (child, months)], end) == rows_of(sites, end)


@few
@given(worlds())
def test_mixed_ages_says_that_two_ends_were_counted_a_day_apart(
    world: tuple[list[Seen], date],
) -> None:
    sites, end = world
    for row, month in zip(rows_of(sites, end), months_between(START, end), strict=True):
        before = next_month(month, -1)
        apart = [
            abs(months[month].counted_at - months[before].counted_at)
            for _, months in sites
            if month in months and before in months
        ]
        assert row["mixed_ages"] == any(age > timedelta(days=1) for age in apart)


@few
@given(worlds())
def test_counted_at_is_the_oldest_count_of_the_row(world: tuple[list[Seen], date]) -> None:
    sites, end = world
    for row, month in zip(rows_of(sites, end), months_between(START, end), strict=True):
        ages = [months[month].counted_at for _, months in sites if month in months]
        said = row["counted_at"]
        assert (datetime.fromisoformat(said) if said else None) == min(ages, default=None)


@few
@given(worlds(holes=False))
def test_a_site_that_could_not_be_sorted_makes_every_month_incomplete(
    world: tuple[list[Seen], date],
) -> None:
    sites, end = world
    unsorted = replace(site(99), counted=False, hole=True, problem="No configuration.")
    rows = rows_of([*sites, (unsorted, {})], end)
    assert not any(row["complete"] for row in rows)
    assert {row["total_users"] for row in rows} == {None}
    assert [row["known_users"] for row in rows] == [
        row["total_users"] for row in rows_of(sites, end)
    ]
    assert {row["sites"] for row in rows} == {len(sites) + 1}


def test_a_negative_delta_is_shown_as_it_is() -> None:
    months = {next_month(START, -1): Count(100, NOON), START: Count(40, NOON)}
    (month,) = rows_of([(site(1), months)], START)
    assert (month["delta"], month["decreased"]) == (-60, True)
    row = site_row(site(1), months, START, START, None)
    assert site_months(row, START, START)[0]["delta"] == -60


@pytest.mark.parametrize("value", [100, 40])
def test_a_negative_delta_is_marked_wherever_it_stands(value: int) -> None:
    months = {next_month(START, -1): Count(100, NOON), START: Count(value, NOON)}
    head = {"mode": "monthly", "start": month_text(START), "end": month_text(START)}
    head["generated_at"] = "2100-01-01T00:00:00Z"
    stored = {
        "months": rows_of([(site(1), months)], START),
        "sites": [site_row(site(1), months, START, START, None)],
    }
    result = SimpleNamespace(head=head, rows=lambda table: iter(stored[table]))
    kind: Any = PartnerUse()
    by_month, by_site = kind.sheets(result)
    marked = value < 100
    assert ("decreased" in [column.name for column in by_month.beside]) == marked
    assert ("decreased" in [column.name for column in by_site.columns]) == marked
    assert [row["decreased"] for row in by_site.rows] == [marked]
    (own,) = kind.row_detail("sites", stored["sites"][0], head).rows
    for shown in (kind.grid_row("months", stored["months"][0], head), own):
        assert ("fewer" in (shown["note"] or "")) == marked


def test_the_sum_goes_by_month_not_by_place() -> None:
    """Two sites that know different months must not be added up shifted."""
    end = next_month(START)
    early = {next_month(START, -1): Count(1, NOON), START: Count(2, NOON)}
    late = {START: Count(10, NOON), end: Count(20, NOON)}
    rows = rows_of([(site(1), early), (site(2), late)], end)
    assert [row["total_users"] for row in rows] == [12, None]
    assert [row["known_users"] for row in rows] == [12, 20]
    assert [row["delta"] for row in rows] == [None, None]


def test_where_nothing_is_known_the_total_is_null_not_zero() -> None:
    row = rows_of([(site(1), {}), (site(2), {})], START)[0]
    assert (row["total_users"], row["delta"], row["complete"]) == (None, None, False)


def test_a_partner_without_sites_has_zero_users_not_a_hole() -> None:
    row = rows_of([], START)[0]
    assert (row["total_users"], row["delta"], row["complete"]) == (0, 0, True)


@st.composite
def answers(draw: st.DrawFn) -> Answers:
    if draw(st.booleans()):
        return Answers(problems=["Refused."], hole=True, is_open=False)
    moment = st.datetimes(datetime(2020, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
    return Answers(draw(st.integers(0, 10**6)), draw(st.none() | moment), draw(st.none() | moment))


@few
@given(st.lists(answers(), max_size=6), st.integers(0, 3))
def test_the_figures_of_a_summary_are_sums_and_newest_moments(
    found: list[Answers], children: int
) -> None:
    sites = [site(number) for number in range(len(found))]
    listed = sites + [
        site(100 + number, is_child=True, counted=False) for number in range(children)
    ]
    by_site = {one.site.ref: answer for one, answer in zip(sites, found, strict=True)}
    figures = summary_figures(listed, by_site, NOON)
    counts = [answer.account_count for answer in found if answer.account_count is not None]
    assert figures["site_count"] == len(listed)
    assert figures["child_site_count"] == children
    assert figures["account_count"] == (sum(counts) if len(counts) == len(found) else None)
    assert (figures["known_users"], figures["sites_counted"], figures["sites"]) == (
        sum(counts),
        len(counts),
        len(found),
    )
    newest = max((a.last_login for a in found if a.last_login), default=None)
    said = figures["last_login"]
    assert (said is None) == (newest is None)
    if newest:
        assert abs(datetime.fromisoformat(said) - newest) < timedelta(milliseconds=1)


def test_a_site_nobody_answered_for_is_all_holes() -> None:
    row = summary_row(site(1, counted=False, hole=True, problem="Refused."), None, NOON)
    assert (row["account_count"], row["last_login"], row["last_created"]) == (None, None, None)
    assert row["problem"] == "Refused."


def test_what_is_later_than_now_is_shown_and_no_newest() -> None:
    later, before = NOON + timedelta(days=1), NOON - timedelta(days=1)
    sites = [site(1), site(2)]
    found = {
        sites[0].site.ref: Answers(1, last_login=later, last_created=before, is_open=False),
        sites[1].site.ref: Answers(1, last_login=before, last_created=later, is_open=False),
    }
    figures = summary_figures(sites, found, NOON)
    assert figures["last_login"] == figures["last_created"] == instant_text(before)
    row = summary_row(sites[0], found[sites[0].site.ref], NOON)
    assert row["last_login"] == instant_text(later)
    assert row["problem"] == "Its last login is later than now."


def test_the_month_that_is_not_over_is_marked() -> None:
    end = next_month(START)
    months = {next_month(START, -1): Count(1, NOON), START: Count(2, NOON), end: Count(3, NOON)}
    one = site(1)
    rows = month_rows([one], {one.site.ref: months}, START, end, running=end)
    assert [row["running"] for row in rows] == [False, True]
