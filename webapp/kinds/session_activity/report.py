"""The run of a session-activity report: login by login, closed months from the store.

A stored month holds the hours of each of its days, so months and dates are both read from it. It is
used only where it was counted after the last late ping that changed a past month of its login.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from webapp.engine.kind import Context, Result, Row, Run
from webapp.engine.packed import PackedRows
from webapp.extensions import db
from webapp.kinds.session_activity.compute import (
    ONE_DAY,
    Hours,
    by_month,
    day_of,
    day_start,
    hours_by_day,
    in_hours,
    total,
)
from webapp.kinds.session_activity.history import Spans, read_spans
from webapp.kinds.session_activity.models import Login
from webapp.kinds.session_activity.moments import moment_text
from webapp.kinds.session_activity.params import SessionActivityParams
from webapp.lib.months import SETTLING, months_between, next_month

LOGINS_AT_ONCE = 200
MICROSECOND = timedelta(microseconds=1)
Days = dict[date, Hours]


def period_text(period: date, group_by: str) -> str:
    """Return a month or a date as tables write it."""
    return period.isoformat()[:7] if group_by == "month" else period.isoformat()


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
        self._rows = PackedRows()
        self._logins: list[Row] = []
        self._periods: dict[date, Hours] = {}
        self._present: Counter[date] = Counter()

    def make(self) -> Result:
        """Count all logins asked for and return the result."""
        count = self._count()
        self._run.set_total(count)
        self._run.log(f"{count:,} login{'' if count == 1 else 's'} to count, {self._span()}.")
        for logins in self._chunks():
            self._take(logins)
            self._run.advance(f"{logins[-1].name}: counted.", by=len(logins))
        result = self._result(count)
        hours, machine = result.head["total_hours"], result.head["total_machine_hours"]
        self._run.log(f"{hours:,.2f} hours of people, {machine:,.2f} hours of machines.")
        return result

    def _span(self) -> str:
        return f"{self._first.isoformat()} to {self._last.isoformat()}, days of {self._zone.key}"

    def _mine(self) -> Any:
        mine = Login.company_id == self._run.company_id
        return mine & (Login.name == self._params.login) if self._params.login else mine

    def _count(self) -> int:
        with db.engine.connect() as connection:
            query = select(func.count()).select_from(Login).where(self._mine())
            return int(connection.execute(query).scalar_one())

    def _chunks(self) -> Iterator[list[Any]]:
        """Yield the logins in the order of their names, some hundred at a time."""
        after = ""
        while True:
            with db.engine.connect() as connection:
                query = (
                    select(Login.id, Login.name, Login.longest_days, Login.late_at)
                    .where(self._mine(), Login.name > after)
                    .order_by(Login.name)
                    .limit(LOGINS_AT_ONCE)
                )
                logins = list(connection.execute(query))
            if logins:
                yield logins
                after = logins[-1].name
            if len(logins) < LOGINS_AT_ONCE:
                return

    def _take(self, logins: list[Any]) -> None:
        stored = self._stored(logins)
        missing = {
            login.id: [month for month in self._months if (login.name, month) not in stored]
            for login in logins
        }
        counted_at = self._context.now()
        spans = self._read([login for login in logins if missing[login.id]], missing)
        kept: list[tuple[str, date, Any, datetime]] = []
        for login in logins:
            days: Days = {}
            for month in self._months:
                found = stored.get((login.name, month))
                if found is None:
                    found = self._count_month(spans[login.id], month)
                    if self._is_over(month, counted_at):
                        kept.append((login.name, month, _as_json(found), counted_at))
                days |= found
            self._add(login.name, days)
        self._run.months.save(self._subject, kept)

    def _stored(self, logins: list[Any]) -> dict[tuple[str, date], Days]:
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

    def _read(self, logins: list[Any], missing: Mapping[int, list[date]]) -> Spans:
        wanted = sorted(month for months in missing.values() for month in months)
        if not wanted:
            return {}
        last = next_month(wanted[-1]) - ONE_DAY
        with db.engine.connect() as connection:
            return read_spans(connection, logins, self._params.event, wanted[0], last, self._zone)

    def _count_month(self, spans: Any, month: date) -> Days:
        return hours_by_day(spans, month, next_month(month) - ONE_DAY, self._zone)

    def _is_over(self, month: date, counted_at: datetime) -> bool:
        return counted_at >= day_start(next_month(month), self._zone) + SETTLING

    def _add(self, name: str, days: Days) -> None:
        inside = {day: days[day] for day in sorted(days) if self._first <= day <= self._last}
        group_by = self._params.group_by
        grouped = by_month(inside) if group_by == "month" else inside
        self._rows.extend(
            {"login": name, group_by: period_text(period, group_by), **_hours(hours)}
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
            "generated_at": moment_text(now),
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

    def _period(self, period: date) -> Row:
        return {
            self._params.group_by: period_text(period, self._params.group_by),
            **_hours(self._periods.get(period, Hours())),
            "logins": self._present[period],
        }


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
