"""What is asked of accounts.search, and its answers, believed only when they are as documented.

A count that is no whole number, a row too many or a date out of range is an error, never a guess:
what comes from here ends up in stored months. Queries are constants but for dates written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webapp.partner.dates import from_partner, is_never, to_partner
from webapp.partner.session import Answer, PartnerSession
from webapp.partner.sites import Site, require_key

MOST_ROWS = 5_000


@dataclass(frozen=True)
class Count:
    """A number of accounts, and the aware UTC moment at which it was asked for."""

    value: int
    asked_at: datetime


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


def count_accounts(session: PartnerSession, site: Site, before: datetime | None = None) -> Count:
    """Return how many accounts a site has, or had been created before a moment (excluded).

    Raises: PartnerContract when the answer is anything but one whole number >= 0
    """
    where = f' WHERE created < "{to_partner(before)}"' if before else ""
    answer = _asked(session, site, f"SELECT count(*) FROM accounts{where}")  # noqa: S608
    rows = _rows(answer, 1)
    if len(rows) != 1:
        raise answer.unreadable("a count has no row")
    value = _whole(answer, rows[0].get("count(*)"), "the count")
    total = _total(answer)
    if total is not None and total != value:
        raise answer.unreadable("the count and totalCount differ")
    return Count(value, answer.asked_at)


def newest_account(session: PartnerSession, site: Site) -> Newest:
    """Return when a site's newest account was made, and how many there are by the same answer."""
    query = "SELECT UID, created FROM accounts ORDER BY created DESC LIMIT 1"
    answer = _asked(session, site, query)
    moments = _moments(answer, _rows(answer, 1))
    return Newest(moments[0] if moments else None, _total(answer), answer.asked_at)


def last_login(session: PartnerSession, site: Site) -> datetime | None:
    """Return a site's latest login (aware UTC), None when nobody ever signed in."""
    query = "SELECT UID, lastLogin FROM accounts ORDER BY lastLogin DESC LIMIT 1"
    answer = _asked(session, site, query)
    rows = _rows(answer, 1)
    value = rows[0].get("lastLogin") if rows else None
    if is_never(value):
        return None
    moment = from_partner(value)
    if moment is None:
        raise answer.unreadable("lastLogin is no date")
    return moment


def created_between(
    session: PartnerSession, site: Site, start: datetime, end: datetime, limit: int = MOST_ROWS
) -> Created:
    """Return the creation dates from `start` up to `end` (excluded).

    Shape:  at most `limit` dates (1 to 5,000)
    Raises: PartnerContract when rows are missing, out of range or out of order
    """
    if not 1 <= limit <= MOST_ROWS:
        raise ValueError(f"limit must be 1 to {MOST_ROWS}, not {limit}")
    first, last = to_partner(start), to_partner(end)
    query = (
        f'SELECT created FROM accounts WHERE created >= "{first}" AND created < "{last}"'  # noqa: S608
        f" ORDER BY created LIMIT {limit}"
    )
    answer = _asked(session, site, query)
    dates = _moments(answer, _rows(answer, limit), first, last)
    return Created(dates, _total(answer) == len(dates), answer.asked_at)


def _asked(session: PartnerSession, site: Site, query: str) -> Answer:
    require_key(site)
    return session.ask(
        "accounts.search",
        site.data_center,
        {"apiKey": site.api_key, "query": query},
        pace=session.search_pace,
        other_data_center=session.home_data_center,
    )


def _rows(answer: Answer, limit: int) -> list[dict[str, Any]]:
    """Return the rows: objects, no more than asked for, no fewer than totalCount promises."""
    rows = answer.body.get("results")
    total = _total(answer)
    if rows is None and not total:
        return []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise answer.unreadable("results is no list of rows")
    if len(rows) > limit:
        raise answer.unreadable(f"{len(rows)} rows came where at most {limit} were asked for")
    if total is not None and "count(*)" not in (rows[0] if rows else ()):
        promised = min(total, limit)
        if len(rows) < promised or total < len(rows):
            raise answer.unreadable(f"{len(rows)} rows came, totalCount says {total}")
    return rows


def _total(answer: Answer) -> int | None:
    value = answer.body.get("totalCount")
    return None if value is None else _whole(answer, value, "totalCount")


def _whole(answer: Answer, value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise answer.unreadable(f"{name} is no whole number of accounts")
    return value


def _moments(
    answer: Answer, rows: list[dict[str, Any]], first: str = "", last: str = ""
) -> list[datetime]:
    """Return the `created` of each row, checked against the range and the order asked for."""
    low = from_partner(first) or datetime(1900, 1, 1, tzinfo=UTC)
    high = from_partner(last)
    moments: list[datetime] = []
    for row in rows:
        moment = from_partner(row.get("created"))
        if moment is None:
            raise answer.unreadable("created is no date")
        if moment < low or (high is not None and moment >= high):
            raise answer.unreadable("created lies outside of what was asked for")
        low = moment
        moments.append(moment)
    return moments
