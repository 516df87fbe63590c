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

from webapp.accounts import Scope, User, scope_of
from webapp.engine.kind import Column, Context, Result, Row, Run
from webapp.engine.results import SpooledRows
from webapp.errors import InvalidParams, NotAllowed
from webapp.extensions import db
from webapp.kinds.session_activity.clocks import clocks_behind
from webapp.kinds.session_activity.compute import (
    ONE_DAY,
    Hours,
    by_period,
    day_end,
    day_of,
    day_start,
    hours_by_day,
    in_hours,
    period_of,
    period_text,
)
from webapp.kinds.session_activity.facts import find_logins, read_spans
from webapp.kinds.session_activity.models import Login
from webapp.kinds.session_activity.names import may_see_all
from webapp.kinds.session_activity.params import SessionActivityParams
from webapp.kinds.session_activity.use import (
    DAYS_AT_ONCE,
    LOGINS_AT_ONCE,
    SUMMED,
    By,
    Usage,
    summed,
)
from webapp.lib.batches import batched
from webapp.lib.moments import rfc3339
from webapp.lib.months import SETTLING, last_day, months_between, span_text
from webapp.lib.texts import counted

MICROSECOND = timedelta(microseconds=1)
Days = dict[date, Hours]

ONCE = "Time at two places at once counts once."
SUMMED_UP = "The same time added up over all of them: at two at once it counts twice."
PERIODS = {
    "month": Column("month", "Month", "month"),
    "week": Column("week", "Week"),
    "date": Column("date", "Date", "date"),
}
ROOM = Column("room", "Room")
# What hours are counted of, what the hours of one are called, and their sum over its units.
GROUPS = {
    "login": ((Column("login", "Login"),), "Person hours", "Machine hours"),
    "computer": ((Column("computer", "Computer"), ROOM), "In use", "Person hours"),
    "room": ((ROOM,), "In use by anybody", "Machine hours"),
    "event": ((Column("event", "Event"),), "Going on", "Person hours"),
}


def hours_columns(by: str) -> tuple[Column, Column]:
    """Return the two columns of hours: of a group, and summed over its units."""
    _, any_of, all_of = GROUPS[by]
    return (
        Column("hours", any_of, "decimal", "hours", help=ONCE),
        Column(f"{SUMMED[by]}_hours", all_of, "decimal", "hours", help=SUMMED_UP),
    )


def check_by(scope: Scope, by: str) -> None:
    """Raise InvalidParams for what is counted of everybody, by who may see their own hours only."""
    if by != "login" and not may_see_all(scope):
        sentence = "You may see your own hours only: choose login."
        raise InvalidParams({"by": sentence})


class Report:
    """One run: counts, keeps closed months, and gathers rows."""

    def __init__(self, params: SessionActivityParams, run: Run, context: Context) -> None:
        self._params, self._run, self._context = params, run, context
        user = db.session.get(User, run.user_id)
        scope = scope_of(user, run.company_id) if user else None
        if scope is None:
            raise NotAllowed("The person who asked for this report left the company.")
        check_by(scope, params.by)
        self._scope = scope
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
        """Count all that is asked for and return the result."""
        run, by = self._run, self._params.by
        span = span_text(self._first.isoformat(), self._last.isoformat())
        span = f"{span}, days of {self._zone.key}"
        if by == "login":
            logins = find_logins(self._scope, self._params.login, self._first, self._last)
            run.set_total(len(logins))
            run.log(f"{counted(len(logins), 'login')} to count, {span}.")
            done = 0
            for some in batched(logins, LOGINS_AT_ONCE):
                self._take(some)
                done += len(some)
                run.advance(f"{done:,} of {len(logins):,} counted.", by=len(some))
            result = self._result(len(logins), {"logins": self._logins})
        else:
            run.set_total((self._last - self._first).days // DAYS_AT_ONCE + 1)
            run.log(f"Hours by {by}, {span}.")
            result = self._measure(by)
        head = result.head
        summed_hours = head[f"total_{SUMMED[by]}_hours"]
        run.log(f"{head['total_hours']:,.2f} hours, {summed_hours:,.2f} hours summed.")
        return result

    def _measure(self, by: By) -> Result:
        """Count the use of computers, rooms or events; nothing of it is stored."""
        params, group_by = self._params, self._params.group_by
        usage = Usage(self._scope, by, group_by, self._zone).measure(
            params.login,
            params.event,
            self._first,
            self._last,
            self._context.now(),
            on_week=lambda day: self._run.advance(f"Up to {day.isoformat()}: counted."),
        )
        for group in usage.groups.values():
            for period in sorted(group.hours):
                hours = group.hours[period]
                row = {group_by: period_text(period, group_by), **summed(hours, by)}
                self._rows.extend([group.labels | row])
                self._periods[period] += hours
                self._present[period] += 1
        tables: dict[str, Iterable[Row]] = {f"{by}s": list(usage.rows()), "week": usage.week()}
        if by != "event":
            tables["idle"] = usage.idle()
        return self._result(len(usage.groups), tables)

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
                if counted_at - SETTLING >= day_end(last_day(month), self._zone)
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
        grouped = by_period(inside, group_by)
        self._rows.extend(
            {"login": name, group_by: period_text(period, group_by), **summed(hours, "login")}
            for period, hours in grouped.items()
        )
        for period, hours in grouped.items():
            self._periods[period] += hours
            self._present[period] += 1
        if grouped or self._params.login:
            self._logins.append({"login": name, **summed(sum(grouped.values(), Hours()), "login")})

    def _result(self, count: int, own: dict[str, Iterable[Row]]) -> Result:
        """Return the result, with the tables of its own that go by what it counts."""
        whole, now = sum(self._periods.values(), Hours()), self._context.now()
        params, by, group_by = self._params, self._params.by, self._params.group_by
        head = {
            "by": by,
            "whose": "all" if may_see_all(self._scope) else "own",
            "login": params.login,
            "session_type": params.event,
            "group_by": group_by,
            "from_date": self._first.isoformat(),
            "to_date": self._last.isoformat(),
            "timezone": self._zone.key,
            "generated_at": rfc3339(now, "auto"),
            "complete": True,
            f"{by}_count": count,
            "total_hours": in_hours(whole.person, 2),
            f"total_{SUMMED[by]}_hours": in_hours(whole.machine, 2),
        }
        start, end = day_start(self._first, self._zone), day_end(self._last, self._zone)
        periods = [
            {
                group_by: period_text(period, group_by),
                **summed(self._periods[period], by),
                f"{by}s": self._present[period],
            }
            for period in self._all_periods(now)
        ]
        clocks = clocks_behind(self._scope, params.login, start, end)
        return Result(head, {"hours": self._rows, "periods": periods, **own, "clocks": clocks})

    def _all_periods(self, now: datetime) -> list[date]:
        """Return every month or date of the range up to now, and those that have hours anyway."""
        last = min(self._last, day_of(now, self._zone))
        days = (self._first + ONE_DAY * by for by in range((last - self._first).days + 1))
        return sorted({*(period_of(day, self._params.group_by) for day in days), *self._periods})


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
