"""Months said relative to now: `last_closed`, `current`, `-11` (months before the last closed)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from webapp.lib.months import current_month, month_text, next_month, parse_month

BACK = re.compile(r"-([0-9]{1,3})")


def relative_month(text: Any, now: datetime) -> date | None:
    """Return the month a word means at this moment; None for what is no such word."""
    current = current_month(now)
    if text == "current":
        return current
    if text == "last_closed":
        return next_month(current, -1)
    back = BACK.fullmatch(text) if isinstance(text, str) else None
    return next_month(current, -1 - int(back[1])) if back else None


def relative_word(text: Any, now: datetime) -> str | None:
    """Return how a month written as `2025-03` is said relative to now; None for a later one."""
    try:
        month = parse_month(text)
    except (ValueError, AttributeError):
        return None
    current = current_month(now)
    back = (current.year - month.year) * 12 + current.month - month.month
    if back in {0, 1}:
        return ("current", "last_closed")[back]
    return f"-{back - 1}" if 1 < back <= 1000 else None


def relative_label(word: str) -> str:
    """Return what a relative month means, for people."""
    if word == "current":
        return "the running month"
    if word == "last_closed":
        return "the last closed month"
    count = int(word[1:])
    return f"{count} month{'s' * (count != 1)} before the last closed one"


def resolve(params: Mapping[str, Any], schema: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return parameters with fixed months and days in place of relative ones.

    schema: the kind's parameters as JSON Schema; only fields of months and days are looked at
    A day is the first of its month, or its last where the field says `to` or `end`.
    """
    return {name: _fixed(name, value, schema, now) for name, value in params.items()}


def _fixed(name: str, value: Any, schema: Mapping[str, Any], now: datetime) -> Any:
    field = schema.get("properties", {}).get(name, {})
    kinds = [field, *field.get("anyOf", [])]
    is_day = any(kind.get("format") == "date" for kind in kinds)
    is_month = any("(0[1-9]|1[0-2])" in kind.get("pattern", "") for kind in kinds)
    month = relative_month(value, now) if is_day or is_month else None
    if month is None:
        return value
    if is_month:
        return month_text(month)
    is_last = name.startswith(("to", "end"))
    day = next_month(month) - timedelta(days=1) if is_last else month
    return day.isoformat()
