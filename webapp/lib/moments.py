"""Moments: now, and as text. All are aware UTC; RFC 3339 with `Z` outside."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# RFC 3339, with a blank in place of the T; `:60` is a leap second.
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(?:[.,](\d+))?(?:([Zz])|([+-]\d\d:\d\d))?", re.ASCII
)


def utcnow() -> datetime:
    """Return the current moment, aware UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime, timespec: str = "seconds") -> str:
    """Return a moment as RFC 3339 in UTC: `2025-03-01T12:00:00Z`.

    timespec: as `datetime.isoformat`; "auto" shows microseconds where there are any
    """
    return moment.astimezone(UTC).isoformat(timespec=timespec).removesuffix("+00:00") + "Z"


def parse_rfc3339(text: str, *, needs_zone: bool = True) -> datetime:
    """Return the moment a text names, aware UTC; a leap second is the second before it.

    needs_zone: without a zone it is no moment; else it is one in UTC
    Raises: ValueError
    """
    found = _RFC3339.fullmatch(text)
    if found is None or (needs_zone and not found[5] and not found[6]):
        raise ValueError("no moment as RFC 3339 writes it")
    day, minute, second, fraction, _, offset = found.groups()
    second = "59" if second == "60" else second
    micros = (fraction or "")[:6].ljust(6, "0")
    written = f"{day}T{minute}:{second}.{micros}{offset or '+00:00'}"
    try:
        return datetime.fromisoformat(written).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None
