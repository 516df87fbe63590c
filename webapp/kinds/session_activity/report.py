"""The run of a session-activity report: login by login, closed months from the store.

A stored month holds the hours of each of its days, so months and dates are both read from it. It is
used only where it was counted after the last late ping that changed a past month of its login.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any
from zoneinfo import ZoneInfo

from webapp.engine.kind import Column, Context, Result, Row, Run
from webapp.engine.spooled import SpooledRows
from webapp.kinds.session_activity.clocks import clocks_behind
from webapp.kinds.session_activity.compute import (
    ONE_DAY,
    Hours,
    by_month,
    day_end,
    day_of,
    day_start,
    hours_by_day,
    in_hours,
)
from webapp.kinds.session_activity.facts import find_logins, read_spans
from webapp.kinds.session_activity.models import Login
from webapp.kinds.session_activity.params import SessionActivityParams
from webapp.lib.moments import rfc3339
from webapp.lib.months import SETTLING, last_day, months_between, next_month
from webapp.lib.texts import counted

MICROSECOND = timedelta(microseconds=1)
LOGINS_AT_ONCE = 200
Days = dict[date, Hours]

PERIODS = {"month": Column("month", "Month", "month"), "date": Column("date", "Date", "date")}
HOURS = (
    Column("hours", "Person hours", "decimal", "hours"),
    Column("machine_hours", "Machine hours", "decimal", "hours"),
)


class Report:
    """One run: counts, keeps closed months, and gathers rows."""

    def __init__(self, params: SessionActivityParams, run: Run, context: Context) -> None:
        self._params, self._run, self._context = params, run, context
        self._zone = ZoneInfo(context.config["SESSION_TIMEZONE"])
        self._first, self._last = params.first_day, params.last_day
        self._months = months_between(self._first.replace(day=1), self._last.replace(day=1))
        # Another zone has other days, and each event hours of its own.
        what = f"event {params.event}" if params.event else "session time"
        self._subject = f"{what} ({self._zone.key})"
        self._rows = SpooledRows()
        self._logins: list[Row] = []
        self._periods: defaultdict[date, Hours] = defaultdict(Hours)
        self._present: Counter[date] = Counter()

    def make(self) -> Result:
        """Count all logins asked for and return the result."""
        run = self._run
        logins = find_logins(run.company_id, self._params.login)
        count = len(logins)
        run.set_total(count)
        span = f"{self._first.isoformat()} to {self._last.isoformat()}, days of {self._zone.key}"
        run.log(f"{counted(count, 'login')} to count, {span}.")
        for first in range(0, count, LOGINS_AT_ONCE):
            some = logins[first : first + LOGINS_AT_ONCE]
            self._take(some)
            run.advance(f"{some[-1].name}: counted.", by=len(some))
        result = self._result(count)
        hours, machine = result.head["total_hours"], result.head["total_machine_hours"]
        run.log(f"{hours:,.2f} hours of people, {machine:,.2f} hours of machines.")
        return result

    def _take(self, logins: list[Login]) -> None:
        """Count some logins: closed months from the store, the others from their spans."""
        found = self._stored(logins)
        counted_at = self._context.now()
        counted = self._count(logins, found)
        self._run.months.save(
            self._subject,
            [
                (name, month, _as_json(days), counted_at)
                for (name, month), days in counted.items()
                if counted_at >= day_start(next_month(month), self._zone) + SETTLING
            ],
        )
        found |= counted
        for login in logins:
            self._add(login.name, [found[login.name, month] for month in self._months])

    def _stored(self, logins: list[Login]) -> dict[tuple[str, date], Days]:
        """Return the stored months that are still right."""
        late = {login.name: login.late_at for login in logins}
        found = self._run.months.fresh(self._subject, late, self._months[0], self._months[-1])
        good: dict[tuple[str, date], Days] = {}
        for (name, month), value in found.items():
            since = late[name]
            if self._params.refresh and value.counted_at < self._run.asked_at:
                continue
            if since is None or value.counted_at > since + SETTLING:
                good[name, month] = _from_json(value.value)
        if good:
            self._run.calls(saved=len(good))
        return good

    def _count(self, logins: list[Login], stored: Container[Any]) -> dict[tuple[str, date], Days]:
        """Return the days of each login's months that are not stored."""
        missing = [
            (login, month)
            for login in logins
            for month in self._months
            if (login.name, month) not in stored
        ]
        if not missing:
            return {}
        months = [month for _, month in missing]
        spans = read_spans(
            list({login.id: login for login, _ in missing}.values()),
            self._params.event,
            min(months),
            last_day(max(months)),
            self._zone,
        )
        return {
            (login.name, month): hours_by_day(spans[login.id], month, last_day(month), self._zone)
            for login, month in missing
        }

    def _add(self, name: str, months: Iterable[Days]) -> None:
        found = sorted(chain.from_iterable(days.items() for days in months))
        inside = {day: hours for day, hours in found if self._first <= day <= self._last}
        group_by = self._params.group_by
        grouped = by_month(inside) if group_by == "month" else inside
        self._rows.extend(
            {"login": name, group_by: _period_text(period, group_by), **_hours(hours)}
            for period, hours in grouped.items()
        )
        for period, hours in grouped.items():
            self._periods[period] += hours
            self._present[period] += 1
        if grouped or self._params.login:
            self._logins.append({"login": name, **_hours(sum(grouped.values(), Hours()))})

    def _result(self, count: int) -> Result:
        whole, now = sum(self._periods.values(), Hours()), self._context.now()
        head = {
            "login": self._params.login,
            "session_type": self._params.event,
            "group_by": self._params.group_by,
            "from_date": self._first.isoformat(),
            "to_date": self._last.isoformat(),
            "timezone": self._zone.key,
            "generated_at": rfc3339(now, "auto"),
            "complete": True,
            "login_count": count,
            "total_hours": in_hours(whole.person, 2),
            "total_machine_hours": in_hours(whole.machine, 2),
        }
        start, end = day_start(self._first, self._zone), day_end(self._last, self._zone)
        group_by = self._params.group_by
        tables: dict[str, Iterable[Row]] = {
            "hours": self._rows,
            "periods": [
                {
                    group_by: _period_text(period, group_by),
                    **_hours(self._periods[period]),
                    "logins": self._present[period],
                }
                for period in self._all_periods(now)
            ],
            "logins": self._logins,
            "clocks": clocks_behind(self._run.company_id, self._params.login, start, end),
        }
        return Result(head, tables)

    def _all_periods(self, now: datetime) -> list[date]:
        """Return every month or date of the range up to now, and those that have hours anyway."""
        today = day_of(now, self._zone)
        if self._params.group_by == "month":
            periods = [month for month in self._months if month <= today]
        else:
            count = (min(self._last, today) - self._first).days + 1
            periods = [self._first + ONE_DAY * number for number in range(max(count, 0))]
        return sorted({*periods, *self._periods})


def _period_text(period: date, group_by: str) -> str:
    """Return a month or a date as tables write it."""
    return period.isoformat()[:7] if group_by == "month" else period.isoformat()


def _hours(hours: Hours) -> Row:
    return {"hours": in_hours(hours.person), "machine_hours": in_hours(hours.machine)}


def _as_json(days: Days) -> dict[str, list[int]]:
    return {
        day.isoformat(): [hours.person // MICROSECOND, hours.machine // MICROSECOND]
        for day, hours in days.items()
    }


def _from_json(value: Mapping[str, list[int]]) -> Days:
    return {
        date.fromisoformat(day): Hours(person * MICROSECOND, machine * MICROSECOND)
        for day, (person, machine) in value.items()
    }
