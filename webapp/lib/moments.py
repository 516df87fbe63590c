"""Moments: now, and as text. All are aware UTC; RFC 3339 with `Z` outside."""

from __future__ import annotations

from datetime import UTC, datetime


def utcnow() -> datetime:
    """Return the current moment, aware UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime, timespec: str = "seconds") -> str:
    """Return a moment as RFC 3339 in UTC: `2025-03-01T12:00:00Z`.

    timespec: as `datetime.isoformat`; "auto" shows microseconds where there are any
    """
    return moment.astimezone(UTC).isoformat(timespec=timespec).removesuffix("+00:00") + "Z"
