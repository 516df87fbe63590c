"""From facts to rows: pure, asks nobody, knows no clock.

A fact is what one search said of one site. What was not learned is a hole: None with a problem in
words, never 0. A total is of all sites or None: what is known of it stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from webapp.engine.shapes import Row
from webapp.lib.moments import rfc3339
from webapp.lib.months import month_text, months_between, next_month
from webapp.lib.texts import counted
from webapp.partner.searches import Count
from webapp.partner.sites import Site

AGES_DIFFER = timedelta(days=1)
# The partner's clock and ours: a moment is later than now only beyond this.
CLOCKS_DIFFER = timedelta(minutes=1)


@dataclass(frozen=True)
class SiteFacts:
    """What is known of one listed site before any search.

    site:    at the data centre that serves its searches
    counted: its accounts belong into totals (not a child, has an account store, could be sorted)
    hole:    something that should be counted could not be; makes the report incomplete
    problem: why there is a hole, or a note on the site; a sentence
    children: how many listed sites share its accounts
    services: which are on, see partner/sites.py; None where it is not known
    """

    site: Site
    is_child: bool = False
    parent_api_key: str | None = None
    counted: bool = True
    hole: bool = False
    problem: str | None = None
    children: int = 0
    services: tuple[str, ...] | None = None

    def row(self) -> Row:
        """Return what both modes say of a site."""
        return {
            "site_id": self.site.site_id,
            "name": self.site.name,
            "api_key": self.site.api_key,
            "is_child": self.is_child,
            "parent_api_key": self.parent_api_key,
            "children": self.children,
            "services": None if self.services is None else list(self.services),
        }


@dataclass
class Answers:
    """What a summary's three searches said of one site; a hole is None with its problem.

    is_open:  some of the three have no answer yet
    asked_at: when the accounts were counted
    """

    account_count: int | None = None
    last_login: datetime | None = None
    last_created: datetime | None = None
    problems: list[str] = field(default_factory=list)
    codes: set[int | None] = field(default_factory=set)
    hole: bool = False
    is_open: bool = True
    asked_at: datetime | None = None


Series = Mapping[date, Count]


def instant_text(moment: datetime | None) -> str | None:
    """Return a moment as RFC 3339 UTC with milliseconds and Z."""
    return rfc3339(moment, "milliseconds") if moment else None


def _joined(*sentences: str | None) -> str | None:
    return " ".join(dict.fromkeys(sentence for sentence in sentences if sentence)) or None


def known_text(figures: Mapping[str, Any]) -> str:
    """Return what is known of a total that has holes: `1,431 accounts at 3 of 6 sites`."""
    known = counted(figures["known_users"], "account")
    return f"{known} at {figures['sites_counted']:,} of {counted(figures['sites'], 'site')}"


def summary_row(facts: SiteFacts, answers: Answers | None, now: datetime) -> Row:
    """Return one site of a summary as it is stored and shown."""
    answers = answers or Answers()
    moments = {"last login": answers.last_login, "last creation": answers.last_created}
    later = [f"Its {name} is later than now." for name, at in moments.items() if _is_later(at, now)]
    return facts.row() | {
        "data_center": facts.site.data_center,
        "account_count": answers.account_count,
        "last_login": instant_text(answers.last_login),
        "last_created": instant_text(answers.last_created),
        "asked_at": instant_text(answers.asked_at),
        "problem": _joined(facts.problem, *answers.problems, *later),
    }


def summary_figures(
    sites: Sequence[SiteFacts], answers: Mapping[str, Answers], now: datetime
) -> dict[str, Any]:
    """Return the figures over all sites; children are listed and never counted.

    Shape: site_count, child_site_count, account_count, known_users, sites_counted, sites,
           last_login, last_created
    account_count is None where a site that should be counted could not be: what is known of it is
    in the three after it. A moment later than now is no newest one.
    """
    found = [answers.get(one.site.ref, Answers()) for one in sites if one.counted]
    counts = [one.account_count for one in found if one.account_count is not None]
    holes = any(site.hole for site in sites) or any(one.hole for one in found)
    without_store = sum(not one.hole and one.account_count is None for one in found)
    return {
        "site_count": len(sites),
        "child_site_count": sum(site.is_child for site in sites),
        "account_count": None if holes else sum(counts),
        "known_users": sum(counts),
        "sites_counted": len(counts),
        "sites": len(found) - without_store + sum(site.hole for site in sites),
        "last_login": _newest((one.last_login for one in found), now),
        "last_created": _newest((one.last_created for one in found), now),
    }


def mark_newest(rows: Iterable[Row], figures: Mapping[str, Any]) -> None:
    """Say in the rows of a summary which of them hold its newest login and newest creation."""
    named = {"login": "last_login", "creation": "last_created"}
    for row in rows:
        row["newest"] = [
            name
            for name, column in named.items()
            if row[column] is not None and row[column] == figures[column]
        ]


def _newest(moments: Iterable[datetime | None], now: datetime) -> str | None:
    past = (moment for moment in moments if moment and not _is_later(moment, now))
    return instant_text(max(past, default=None))


def _is_later(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment > now + CLOCKS_DIFFER


def month_rows(
    sites: Sequence[SiteFacts],
    series: Mapping[str, Series],
    start: date,
    end: date,
    running: date | None = None,
) -> list[Row]:
    """Return a row per month from `start` to `end`, summed over the counted sites by month.

    Shape:   month, total_users, delta, decreased, complete, running, known_users, sites_counted,
             sites, counted_at, mixed_ages
    running: the month that is not over
    A month in which some site is a hole has no total: what is known stands beside it. `delta` is
    None unless both its months have a total.
    """
    # A site that could not even be sorted is missing from every month.
    unsorted = sum(site.hole for site in sites)
    counted = [series.get(one.site.ref, {}) for one in sites if one.counted]
    return [
        _month_row(counted, month, unsorted) | {"running": month == running}
        for month in months_between(start, end)
    ]


def _month_row(counted: Sequence[Series], month: date, unsorted: int) -> Row:
    here = [one.get(month) for one in counted]
    there = [one.get(next_month(month, -1)) for one in counted]
    known = [count for count in here if count is not None]
    before = [count for count in there if count is not None]
    value = sum(count.value for count in known)
    total = None if unsorted or len(known) < len(counted) else value
    whole = total is not None and len(before) == len(counted)
    delta = value - sum(count.value for count in before) if whole else None
    ends = [(a, b) for a, b in zip(here, there, strict=True) if a is not None and b is not None]
    return {
        "month": month_text(month),
        "total_users": total,
        "delta": delta,
        "decreased": (delta or 0) < 0,
        "complete": whole,
        "known_users": value,
        "sites_counted": len(known),
        "sites": len(counted) + unsorted,
        "counted_at": instant_text(min((count.counted_at for count in known), default=None)),
        "mixed_ages": any(abs(a.counted_at - b.counted_at) > AGES_DIFFER for a, b in ends),
    }


def site_row(facts: SiteFacts, series: Series, start: date, end: date, problem: str | None) -> Row:
    """Return one site of a monthly report as it is stored: compact, totals from the baseline on.

    Shape: site_id, name, api_key, is_child, counted, problem, totals: one int or None per month
           from the month before `start` to `end`; empty for a site that is not counted;
           origins: [how, by, counted_at, is_stored] of the counts; origin: for each month the place
           of its origin
    """
    months = months_between(next_month(start, -1), end) if facts.counted else []
    counts = [series.get(month) for month in months]
    origins: dict[tuple[Any, ...], int] = {}
    for count in counts:
        if count is not None:
            origins.setdefault(_origin_of_count(count), len(origins))
    return facts.row() | {
        "counted": facts.counted,
        "problem": _joined(facts.problem, problem),
        "totals": [None if count is None else count.value for count in counts],
        "origin": [None if count is None else origins[_origin_of_count(count)] for count in counts],
        "origins": [list(origin) for origin in origins],
    }


def _origin_of_count(count: Count) -> tuple[Any, ...]:
    return count.how, count.by, instant_text(count.counted_at), count.is_stored


def site_months(row: Row, start: date, end: date) -> list[Row]:
    """Return the months of a stored site row. Shape: month, total_users, delta."""
    totals = row["totals"]
    return [
        {
            "month": month_text(month),
            "total_users": totals[index + 1],
            "delta": difference(totals[index + 1], totals[index]),
        }
        for index, month in enumerate(months_between(start, end) if totals else [])
    ]


def difference(later: int | None, earlier: int | None) -> int | None:
    """Return the growth, negative where accounts were deleted, None where an end is a hole."""
    return None if later is None or earlier is None else later - earlier
