"""What is asked of accounts.search, and its answers, believed only when they are as documented.

A count that is no whole number, a row too many or a date out of range is an error, never a guess:
what comes from here ends up in stored months. Queries are constants but for dates written here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise, starmap
from operator import le
from typing import Any, TypeGuard, TypeVar

from webapp.partner.session import PartnerAnswer, PartnerQuestion
from webapp.partner.sites import Site, require_key
from webapp.partner.values import created_moments, from_partner, is_never, to_partner

MOST_ROWS = 5_000
# More than any database of the partner can hold, and what ours take.
MOST_ACCOUNTS = 2**63
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Count:
    """A number of accounts, the aware UTC moment it was asked for, and where it comes from.

    One value from the partner's answer to the stored month.

    how: "count" asked it, "read" took it from creation dates, "newest" from a summary's answer;
         "implied" by other counts
    by:  JSON values: the months between which a read was made (None: the beginning) and its limit;
         the months that imply it; empty otherwise
    """

    value: int
    counted_at: datetime
    how: str = "count"
    by: tuple[str | int | None, ...] = ()
    is_stored: bool = False


@dataclass(frozen=True)
class Newest:
    """What one answer says of a site's newest account.

    created:  when it was made (aware UTC), None without accounts
    total:    how many accounts there are, None where the answer does not say
    asked_at: the aware UTC moment at which it was asked for
    """

    created: datetime | None
    total: int | None
    asked_at: datetime


@dataclass(frozen=True)
class Created:
    """Creation dates, oldest first, and the aware UTC moment at which they were asked for.

    whole: the partner's own total says that these are all there are; False where it says that
           there are more, and where it says nothing
    """

    dates: list[datetime]
    whole: bool
    asked_at: datetime


def count_accounts(site: Site, before: datetime | None = None) -> PartnerQuestion[Count]:
    """Return the question how many accounts a site has, or had before a moment (excluded).

    Its answer is read as a Count; anything but one whole number >= 0 is a PartnerContract
    """

    def read(answer: PartnerAnswer) -> Count:
        rows = _rows_of_answer(answer, 1)
        if len(rows) != 1:
            raise answer.unreadable("a count has no row")
        value = rows[0].get("count(*)")
        if not _is_amount(value):
            raise answer.unreadable("the count is no whole number of accounts")
        if _total_count(answer) not in {None, value}:
            _distrust_totals(answer)
        return Count(value, answer.asked_at)

    where = f' WHERE created < "{to_partner(before)}"' if before else ""
    return _search(site, f"SELECT count(*) FROM accounts{where}", read)  # noqa: S608


def newest_account(site: Site) -> PartnerQuestion[Newest]:
    """Return the question when a site's newest account was made, and how many there are then."""

    def read(answer: PartnerAnswer) -> Newest:
        moments = _creations(answer, _rows_of_answer(answer, 1))
        return Newest(moments[0] if moments else None, _total_count(answer), answer.asked_at)

    return _search(site, "SELECT UID, created FROM accounts ORDER BY created DESC LIMIT 1", read)


def last_login(site: Site) -> PartnerQuestion[datetime | None]:
    """Return the question for a site's latest login (aware UTC), None: nobody ever signed in."""

    def read(answer: PartnerAnswer) -> datetime | None:
        rows = _rows_of_answer(answer, 1)
        value = rows[0].get("lastLogin") if rows else None
        if is_never(value):
            return None
        moment = from_partner(value)
        if moment is None:
            raise answer.unreadable("lastLogin is no date")
        return moment

    query = "SELECT UID, lastLogin FROM accounts ORDER BY lastLogin DESC LIMIT 1"
    return _search(site, query, read)


def created_between(
    site: Site, start: datetime | None, end: datetime, limit: int = MOST_ROWS
) -> PartnerQuestion[Created]:
    """Return the question for the creation dates from `start` up to `end` (excluded).

    Without a start it is all before the end: imported accounts may be older than any calendar.

    Its answer is read as at most `limit` dates (1 to 5,000); rows that are missing, out of range
    or out of order are a PartnerContract
    """
    if not 1 <= limit <= MOST_ROWS:
        raise ValueError(f"limit must be 1 to {MOST_ROWS}, not {limit}")
    since = f'created >= "{to_partner(start)}" AND ' if start else ""

    def read(answer: PartnerAnswer) -> Created:
        dates = _creations(answer, _rows_of_answer(answer, limit), start, end)
        return Created(dates, _total_count(answer) == len(dates), answer.asked_at)

    query = (
        f'SELECT created FROM accounts WHERE {since}created < "{to_partner(end)}"'  # noqa: S608
        f" ORDER BY created LIMIT {limit}"
    )
    return _search(site, query, read)


def _search(site: Site, query: str, read: Callable[[PartnerAnswer], T]) -> PartnerQuestion[T]:
    require_key(site)
    params = {"apiKey": site.api_key, "query": query}
    return PartnerQuestion("accounts.search", site.data_center, params, read, or_home=True)


def _rows_of_answer(answer: PartnerAnswer, limit: int) -> list[dict[str, Any]]:
    """Return the rows: objects, no more than asked for, no fewer than totalCount promises."""
    rows = answer.body.get("results")
    total = _total_count(answer)
    if rows is None and not total:
        return []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise answer.unreadable("results is no list of rows")
    if len(rows) > limit:
        raise answer.unreadable(f"{len(rows)} rows came where at most {limit} were asked for")
    if total is not None and "count(*)" not in (rows[0] if rows else ()):
        if len(rows) < min(total, limit):
            raise answer.unreadable(f"{len(rows)} rows came, totalCount says {total}")
        if total < len(rows):
            _distrust_totals(answer)
    return rows


def _distrust_totals(answer: PartnerAnswer) -> None:
    """Use totalCount no more: a cross-check that contradicts what it is to check tells nothing."""
    answer.session.trusts_totals = False
    answer.session.warn_once(
        "The partner's totalCount contradicts what it counts; it is not used in this report."
    )


def _total_count(answer: PartnerAnswer) -> int | None:
    """Return how many accounts match by the answer's totalCount, None where it does not tell."""
    value = answer.body.get("totalCount")
    if value is not None and not _is_amount(value):
        _distrust_totals(answer)
    return value if _is_amount(value) and answer.session.trusts_totals else None


def _is_amount(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < MOST_ACCOUNTS


def _creations(
    answer: PartnerAnswer,
    rows: list[dict[str, Any]],
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[datetime]:
    """Return the `created` of each row, checked against the range and the order asked for."""
    moments = created_moments([row.get("created") for row in rows])
    if moments is None:
        raise answer.unreadable("created is no date")
    in_order = all(starmap(le, pairwise([start, *moments] if start else moments)))
    if not in_order or (moments and end is not None and moments[-1] >= end):
        raise answer.unreadable("created lies outside of what was asked for")
    return moments
