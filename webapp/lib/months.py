"""The calendar of months: a month is a `date` on day 1, written `2025-03`, and ends in UTC."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta

from webapp.lib.moments import utcnow

MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
# The partner's index lags behind writes by up to 30 s, so a month that closed a moment ago may
# still gain accounts: it is stored only when it was counted this long after its end.
SETTLING = timedelta(seconds=60)


def parse_month(text: str) -> date:
    """Return the month written as `2025-03`; raises ValueError with a sentence otherwise."""
    match = MONTH.fullmatch(text.strip())
    if not match or int(match[1]) < 1970:
        raise ValueError("Write the month as YYYY-MM, for example 2025-03.")
    return date(int(match[1]), int(match[2]), 1)


def month_text(month: date) -> str:
    """Return a month as people and programs write it: `2025-03`."""
    return f"{month.year:04d}-{month.month:02d}"


def span_text(first: str, last: str) -> str:
    """Return the months (or days) of a span as people read them; a span of one names it once."""
    return first if first == last else f"{first} to {last}"


def next_month(month: date, by: int = 1) -> date:
    """Return the month `by` months later (earlier when negative)."""
    index = month.year * 12 + month.month - 1 + by
    return date(index // 12, index % 12 + 1, 1)


def months_between(start: date, end: date) -> list[date]:
    """Return the months from `start` to `end`, both included, oldest first."""
    count = (end.year - start.year) * 12 + end.month - start.month + 1
    return [next_month(start, by) for by in range(max(count, 0))]


def last_day(month: date) -> date:
    """Return the last day of a month."""
    return month.replace(day=monthrange(month.year, month.month)[1])


def month_end(month: date) -> datetime:
    """Return the first instant after the month, aware UTC: the bound that is excluded."""
    after = next_month(month)
    return datetime(after.year, after.month, 1, tzinfo=UTC)


def current_month(now: datetime | None = None) -> date:
    """Return the month that has not ended yet, UTC."""
    now = now or utcnow()
    return date(now.year, now.month, 1)


def is_closed(month: date, counted_at: datetime) -> bool:
    """Say whether a value counted at that moment may be stored for the month."""
    return counted_at >= month_end(month) + SETTLING
