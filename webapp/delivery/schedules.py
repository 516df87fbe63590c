"""When a definition is due, the period each time is for, and months said relative to now.

Every schedule is a cron line in the end. Over a change of the clocks CronSim does what Debian's
cron does: a time that is skipped is made up for right after, one that comes twice counts once.
Months are `last_closed`, `current`, `-11` (months before the last closed).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from webapp.lib.bodies import MONTH_PATTERN
from webapp.lib.model import LazyModel
from webapp.lib.moments import rfc3339
from webapp.lib.months import current_month, month_text, next_month, parse_month

TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def check_time(text: str) -> str:
    """Return a time of day written as `07:00`."""
    if not TIME_OF_DAY.fullmatch(text):
        raise ValueError("Write the time as HH:MM, for example 07:00.")
    return text


def check_cron(text: str) -> str:
    """Return a cron line of five fields that names at least one moment."""
    line = " ".join(text.split())
    try:
        if len(line.split()) != 5:
            raise ValueError
        next(CronSim(line, datetime(2024, 1, 1, tzinfo=UTC)))
    except (CronSimError, ValueError, StopIteration):
        raise ValueError(
            "Write a cron line of five fields: minute, hour, day, month, weekday, "
            "for example 0 7 2 * *."
        ) from None
    return line


class Schedule(LazyModel):
    """When a report is made: every month, week or day, or by a cron line.

    grace_days: days after the month is over; 0 is the first of the next one
    weekday:    1 is Monday, 7 Sunday
    """

    model_config = ConfigDict(extra="forbid")

    every: Literal["month", "week", "day"] | None = None
    grace_days: int = Field(default=2, ge=0, le=27)
    at: Annotated[str, AfterValidator(check_time)] = "07:00"
    weekday: int = Field(default=1, ge=1, le=7)
    cron: Annotated[str, AfterValidator(check_cron)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Schedule:
        if (self.every is None) == (self.cron is None):
            raise ValueError("Give either every (month, week or day) or cron.")
        return self

    @property
    def line(self) -> str:
        """Return the schedule as a cron line."""
        if self.cron:
            return self.cron
        hour, minute = (int(part) for part in self.at.split(":"))
        day = str(1 + self.grace_days) if self.every == "month" else "*"
        weekday = str(self.weekday % 7) if self.every == "week" else "*"
        return f"{minute} {hour} {day} * {weekday}"

    def moments(self, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """Yield the moments that come after this one, aware UTC, the next first."""
        for moment in CronSim(self.line, after.astimezone(zone)):
            yield moment.astimezone(UTC)

    def period(self, due_at: datetime, zone: ZoneInfo) -> str:
        """Return what a run at this moment is for; two moments for the same are one run.

        A month: the one that is over (`2025-03`); a week or day: the one of the moment; a cron
        line has no period but its moment.
        """
        local = due_at.astimezone(zone)
        if self.every == "month":
            return month_text(next_month(local.date().replace(day=1), -1))
        if self.every == "week":
            year, week, _ = local.isocalendar()
            return f"{year}-W{week:02d}"
        return local.date().isoformat() if self.every == "day" else rfc3339(due_at)


def quiet_until(now: datetime, begin: str, end: str, zone: ZoneInfo) -> datetime:
    """Return when the hours of quiet that hold now are over, aware UTC; now where none do."""
    local = now.astimezone(zone)
    first, last = time.fromisoformat(begin), time.fromisoformat(end)
    clock = local.time()
    is_quiet = first <= clock < last if first < last else clock >= first or clock < last
    if not is_quiet:
        return now
    day = local.date() + timedelta(days=clock >= last)
    return datetime.combine(day, last, zone).astimezone(UTC)


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
    is_month = any(kind.get("pattern") == MONTH_PATTERN for kind in kinds)
    month = relative_month(value, now) if is_day or is_month else None
    if month is None:
        return value
    if is_month:
        return month_text(month)
    is_last = name.startswith(("to", "end"))
    day = next_month(month) - timedelta(days=1) if is_last else month
    return day.isoformat()
