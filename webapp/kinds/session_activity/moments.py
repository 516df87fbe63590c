"""Dates as computers send them: RFC 3339, `YYYY-MM-DD HH:MM:SS`, `YYYY-MM-DD`; and as we answer."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

_WRITTEN = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d+))?(?:([Zz])|([+-]\d\d:\d\d))?)?",
    re.ASCII,
)
SENTENCE = "Write the date as 2023-09-06T12:30:00Z, 2023-09-06 12:30:00 or 2023-09-06."


def read_moment(text: str) -> datetime:
    """Return the moment a text names, aware UTC; one without a zone is UTC.

    Raises: ValueError with a sentence
    """
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise ValueError(SENTENCE)
    day, clock, fraction, _, offset = found.groups()
    # A leap second, which RFC 3339 may write and no calendar here has.
    clock = re.sub(":60$", ":59", clock or "00:00:00")
    micros = (fraction or "")[:6].ljust(6, "0")
    try:
        written = f"{day}T{clock}.{micros}{offset or '+00:00'}"
        moment = datetime.fromisoformat(written).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(SENTENCE) from None
    if not 1970 <= moment.year <= 9000:
        raise ValueError("The year of the date cannot be right.")
    return moment


def read_day(text: str) -> date:
    """Return the day a text names, as it is written: its time of day and its zone say nothing.

    Raises: ValueError with a sentence
    """
    read_moment(text)
    return date.fromisoformat(text.strip()[:10])


def moment_text(moment: datetime) -> str:
    """Return a moment as RFC 3339 in UTC, with a fraction only where there is one."""
    text = moment.astimezone(UTC).isoformat().removesuffix("+00:00")
    return f"{text}Z"
