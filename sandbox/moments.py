"""Moments as whole milliseconds since 1970 (UTC), months as a running number, and their texts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

MS_A_DAY = 86_400_000
NEVER = "0001-01-01T00:00:00Z"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,7}))?)?(?:Z|\+00:00)?)?"
)


def month_number(year: int, month: int) -> int:
    """Return the running number of a month: twelve a year, so that the next month is one more."""
    return year * 12 + month - 1


def parse_month(text: str) -> int:
    """Return the running number of `YYYY-MM`. Raises ValueError for anything else."""
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
        raise ValueError(f"{text!r} is not a month like 2024-01")
    return month_number(int(text[:4]), int(text[5:]))


def month_text(number: int) -> str:
    """Return `YYYY-MM` of a running number."""
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


@lru_cache(maxsize=4096)
def month_start_ms(number: int) -> int:
    """Return the first instant of a month."""
    return to_ms(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC))


def month_of(moment_ms: int) -> int:
    """Return the running number of the month a moment lies in."""
    moment = from_ms(moment_ms)
    return month_number(moment.year, moment.month)


def to_ms(moment: datetime) -> int:
    """Return an aware datetime in milliseconds, rounded down."""
    gap = moment - _EPOCH
    return (gap.days * 86_400 + gap.seconds) * 1000 + gap.microseconds // 1000


def from_ms(moment_ms: int) -> datetime:
    """Return milliseconds as an aware datetime."""
    moment = datetime.fromtimestamp(moment_ms // 1000, UTC)
    return moment.replace(microsecond=moment_ms % 1000 * 1000)


def iso(moment_ms: int, digits: str = "three") -> str:
    """Return a moment in one of the three ways the partner writes its fraction.

    digits: `three` as documented, `trimmed` without trailing zeros, `seven` as .NET writes it
    """
    days, rest = divmod(moment_ms, MS_A_DAY)
    seconds, fraction_ms = divmod(rest, 1000)
    minutes, second = divmod(seconds, 60)
    whole = f"{_day_text(days)}T{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}"
    fraction = f"{fraction_ms:03d}"
    if digits == "trimmed":
        fraction = fraction.rstrip("0")
        return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"
    return f"{whole}.{fraction}{'0000' if digits == 'seven' else ''}Z"


@lru_cache(maxsize=20_000)
def _day_text(days: int) -> str:
    return f"{_EPOCH + timedelta(days=days):%Y-%m-%d}"


def parse_iso(text: str) -> tuple[int, bool]:
    """Return (milliseconds rounded down, whether something below a millisecond was cut).

    Raises: ValueError when the text is no padded ISO 8601 moment in UTC
    """
    found = _ISO.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not an ISO 8601 moment in UTC")
    year, month, day, hour, minute, second, fraction = found.groups()
    whole = datetime(
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
        tzinfo=UTC,
    )  # fmt: skip
    tail = (fraction or "").ljust(7, "0")
    return to_ms(whole) + int(tail[:3]), tail[3:] != "0000"
