"""The run of a session-activity report: login by login, closed months from the store.

A stored month holds the hours of each of its days, so months and dates are both read from it. It is
used only where it was counted after the last late ping that changed a past month of its login.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from itertools import chain
from zoneinfo import ZoneInfo

from webapp.engine.kind import Context, Result, Row, Run
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
    total,
)
from webapp.kinds.session_activity.facts import KnownLogin, count_logins, login_pages, read_spans
from webapp.kinds.session_activity.params import SessionActivityParams
from webapp.lib.moments import rfc3339
from webapp.lib.months import SETTLING, last_day, months_between, next_month

MICROSECOND = timedelta(microseconds=1)
Days = dict[date, Hours]


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
        self._periods: dict[date, Hours] = {}
        self._present: Counter[date] = Counter()

    def make(self) -> Result:
        """Count all logins asked for and return the result."""
        run, wanted = self._run, (self._run.company_id, self._params.login)
        count = count_logins(*wanted)
        run.set_total(count)
        span = f"{self._first.isoformat()} to {self._last.isoformat()}, days of {self._zone.key}"
        run.log(f"{count:,} login{'' if count == 1 else 's'} to count, {span}.")
        for logins in login_pages(*wanted):
            self._take(logins)
            run.advance(f"{logins[-1].name}: counted.", by=len(logins))
        result = self._result(count)
        hours, machine = result.head["total_hours"], result.head["total_machine_hours"]
        run.log(f"{hours:,.2f} hours of people, {machine:,.2f} hours of machines.")
        return result

    def _take(self, logins: list[KnownLogin]) -> None:
        """Count some logins: closed months from the store, the others from their spans."""
        stored = self._stored(logins)
        counted_at = self._context.now()
        missing = [
            (login, month)
            for login in logins
            for month in self._months
            if (login.name, month) not in stored
        ]
        counted = self._count(missing)
        self._run.months.save(
            self._subject,
            [
                (name, month, _as_json(days), counted_at)
                for (name, month), days in counted.items()
                if self._is_over(month, counted_at)
            ],
        )
        found = stored | counted
        for login in logins:
            days = [found[login.name, month] for month in self._months]
            self._add(login.name, dict(chain.from_iterable(one.items() for one in days)))

    def _stored(self, logins: list[KnownLogin]) -> dict[tuple[str, date], Days]:
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

    def _count(self, missing: list[tuple[KnownLogin, date]]) -> dict[tuple[str, date], Days]:
        if not missing:
            return {}
        logins = list({login.id: login for login, _ in missing}.values())
        months = [month for _, month in missing]
        event, zone = self._params.event, self._zone
        spans = read_spans(logins, event, min(months), last_day(max(months)), zone)
        return {
            (login.name, month): hours_by_day(spans[login.id], month, last_day(month), zone)
            for login, month in missing
        }

    def _is_over(self, month: date, counted_at: datetime) -> bool:
        return counted_at >= day_start(next_month(month), self._zone) + SETTLING

    def _add(self, name: str, days: Days) -> None:
        inside = {day: days[day] for day in sorted(days) if self._first <= day <= self._last}
        group_by = self._params.group_by
        grouped = by_month(inside) if group_by == "month" else inside
        self._rows.extend(
            {"login": name, group_by: _period_text(period, group_by), **_hours(hours)}
            for period, hours in grouped.items()
        )
        for period, hours in grouped.items():
            self._periods[period] = self._periods.get(period, Hours()) + hours
            self._present[period] += 1
        if grouped or self._params.login:
            self._logins.append({"login": name, **_hours(total(grouped.values()))})

    def _result(self, count: int) -> Result:
        whole = total(self._periods.values())
        now = self._context.now()
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
        periods = [self._period(period) for period in self._all_periods(now)]
        tables: dict[str, Iterable[Row]] = {
            "hours": self._rows,
            "periods": periods,
            "logins": self._logins,
            "clocks": self._clocks(),
        }
        return Result(head, tables)

    def _clocks(self) -> list[Row]:
        start, end = day_start(self._first, self._zone), day_end(self._last, self._zone)
        behind = clocks_behind(self._run.company_id, self._params.login, start, end)
        return [
            {
                "computer": one.computer,
                "login": one.login,
                "started_at": rfc3339(one.started_at),
                "minutes_behind": round(one.lag_s / 60, 1),
                "corrected": "yes" if one.is_corrected else "no",
            }
            for one in behind
        ]

    def _all_periods(self, now: datetime) -> list[date]:
        """Return every month or date of the range up to now, and those that have hours anyway."""
        today = day_of(now, self._zone)
        if self._params.group_by == "month":
            periods = [month for month in self._months if month <= today]
        else:
            count = (min(self._last, today) - self._first).days + 1
            periods = [self._first + ONE_DAY * number for number in range(max(count, 0))]
        return sorted({*periods, *self._periods})

    def _period(self, period: date) -> Row:
        return {
            self._params.group_by: _period_text(period, self._params.group_by),
            **_hours(self._periods.get(period, Hours())),
            "logins": self._present[period],
        }


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
