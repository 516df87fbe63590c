"""From facts to rows: pure, asks nobody, knows no clock.

A fact is what one search said of one site. What was not learned is a hole: None with a problem in
words, never 0. Totals are sums over the sites that are known; a row says whether all of them are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from webapp.engine.kind import Row
from webapp.lib.moments import rfc3339
from webapp.lib.months import month_text, months_between, next_month
from webapp.partner import Count, Site

AGES_DIFFER = timedelta(days=1)


@dataclass(frozen=True)
class SiteFacts:
    """What is known of one listed site before any search.

    site:    at the data centre that serves its searches
    counted: its accounts belong into totals (not a child, has an account store, could be sorted)
    hole:    something that should be counted could not be; makes the report incomplete
    problem: why there is a hole, or a note on the site; a sentence
    """

    site: Site
    is_child: bool = False
    parent_api_key: str | None = None
    counted: bool = True
    hole: bool = False
    problem: str | None = None


@dataclass
class Answers:
    """What a summary's three searches said of one site; a hole is None with its problem."""

    account_count: int | None = None
    last_login: datetime | None = None
    last_created: datetime | None = None
    problems: list[str] = field(default_factory=list)
    codes: set[int | None] = field(default_factory=set)
    hole: bool = False


Series = Mapping[date, Count]


def instant_text(moment: datetime | None) -> str | None:
    """Return a moment as RFC 3339 UTC with milliseconds and Z."""
    return rfc3339(moment, "milliseconds") if moment else None


def _joined(*sentences: str | None) -> str | None:
    return " ".join(dict.fromkeys(sentence for sentence in sentences if sentence)) or None


def summary_row(facts: SiteFacts, answers: Answers | None) -> Row:
    """Return one site of a summary as it is stored and shown."""
    answers = answers or Answers()
    return {
        "site_id": facts.site.site_id,
        "name": facts.site.name,
        "api_key": facts.site.api_key,
        "data_center": facts.site.data_center,
        "is_child": facts.is_child,
        "parent_api_key": facts.parent_api_key,
        "account_count": answers.account_count,
        "last_login": instant_text(answers.last_login),
        "last_created": instant_text(answers.last_created),
        "problem": _joined(facts.problem, *answers.problems),
    }


def summary_figures(sites: Sequence[SiteFacts], answers: Mapping[str, Answers]) -> dict[str, Any]:
    """Return the figures over all sites; children are listed and never counted.

    Shape: site_count, child_site_count, account_count, last_login, last_created
    account_count is None where sites should be counted and not one of them could be
    """
    known = [answers[one.site.ref] for one in sites if one.counted and one.site.ref in answers]
    counts = [one.account_count for one in known if one.account_count is not None]
    holes = any(site.hole for site in sites) or any(one.hole for one in known)
    return {
        "site_count": len(sites),
        "child_site_count": sum(site.is_child for site in sites),
        "account_count": sum(counts) if counts or not holes else None,
        "last_login": _newest(one.last_login for one in known),
        "last_created": _newest(one.last_created for one in known),
    }


def _newest(moments: Iterable[datetime | None]) -> str | None:
    return instant_text(max((moment for moment in moments if moment), default=None))


def month_rows(
    sites: Sequence[SiteFacts], series: Mapping[str, Series], start: date, end: date
) -> list[Row]:
    """Return a row per month from `start` to `end`, summed over the counted sites by month.

    Shape:  month, total_users, delta, complete, counted_at, mixed_ages
    A month in which some site is a hole is not `complete`: its total is the sum of the others, and
    None where nothing is known. `delta` is None unless both its months know the same sites.
    """
    # A site that could not even be sorted is missing from every month.
    unsorted_hole = any(site.hole for site in sites)
    counted = [series.get(one.site.ref, {}) for one in sites if one.counted]
    return [_month_row(counted, month, unsorted_hole) for month in months_between(start, end)]


def _month_row(counted: Sequence[Series], month: date, unsorted_hole: bool) -> Row:
    before = next_month(month, -1)
    here = [one.get(month) for one in counted]
    there = [one.get(before) for one in counted]
    cells = [cell for cell in here if cell is not None]
    holes = unsorted_hole or len(cells) < len(counted)
    total = sum(cell.value for cell in cells) if cells or not holes else None
    same_sites = all((a is None) == (b is None) for a, b in zip(here, there, strict=True))
    delta = None
    if total is not None and same_sites:
        delta = total - sum(cell.value for cell in there if cell is not None)
    ends = [(a, b) for a, b in zip(here, there, strict=True) if a is not None and b is not None]
    ages = [cell.counted_at for cell in cells]
    return {
        "month": month_text(month),
        "total_users": total,
        "delta": delta,
        "complete": not holes and same_sites,
        "counted_at": instant_text(min(ages)) if ages else None,
        "mixed_ages": any(abs(a.counted_at - b.counted_at) > AGES_DIFFER for a, b in ends),
    }


def site_row(facts: SiteFacts, series: Series, start: date, end: date, problem: str | None) -> Row:
    """Return one site of a monthly report as it is stored: compact, totals from the baseline on.

    Shape: site_id, name, is_child, counted, problem, totals: one int or None per month from the
           month before `start` to `end`; empty for a site that is not counted
    """
    months = months_between(next_month(start, -1), end) if facts.counted else []
    cells = [series.get(month) for month in months]
    return {
        "site_id": facts.site.site_id,
        "name": facts.site.name,
        "is_child": facts.is_child,
        "counted": facts.counted,
        "problem": _joined(facts.problem, problem),
        "totals": [None if cell is None else cell.value for cell in cells],
    }


def site_months(row: Row, start: date, end: date) -> list[Row]:
    """Return the months of a stored site row. Shape: month, total_users, delta."""
    totals = row["totals"]
    return [
        {
            "month": month_text(month),
            "total_users": totals[index + 1],
            "delta": _difference(totals[index + 1], totals[index]),
        }
        for index, month in enumerate(months_between(start, end) if totals else [])
    ]


def _difference(later: int | None, earlier: int | None) -> int | None:
    """Return the growth, negative where accounts were deleted, None where an end is a hole."""
    return None if later is None or earlier is None else later - earlier
