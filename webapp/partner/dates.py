"""Moments as the partner writes them: ISO 8601 UTC, zero to seven fraction digits."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d{1,7})?(?:Z|\+00:00)", re.ASCII
)


def to_partner(moment: datetime) -> str:
    """Return an aware moment as `2024-01-01T00:00:00.000Z`; what is below a millisecond is cut."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone cannot be sent to the partner")
    utc = moment.astimezone(UTC)
    return (
        f"{utc.year:04}-{utc.month:02}-{utc.day:02}T{utc.hour:02}:{utc.minute:02}:{utc.second:02}"
        f".{utc.microsecond // 1000:03}Z"
    )


def from_partner(text: object) -> datetime | None:
    """Return the aware UTC moment, None when the value is not written as one."""
    if not isinstance(text, str) or _MOMENT.fullmatch(text) is None:
        return None
    try:
        # Written in C: a search may bring 5,000 dates. It cuts the seventh digit as we do.
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def is_never(value: object) -> bool:
    """Say whether a lastLogin means "never": missing, null, empty, year 1, or epoch 0.

    Source: partner guide, "Dates": imported accounts carry 0001-01-01T00:00:00Z and timestamp 0
    """
    if value is None or value == "" or (value == 0 and not isinstance(value, bool)):
        return True
    moment = from_partner(value)
    if moment is None:
        return isinstance(value, str) and value.startswith(("0000-", "0001-"))
    return moment.year <= 1 or moment == datetime(1970, 1, 1, tzinfo=UTC)
