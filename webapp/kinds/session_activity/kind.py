"""session-activity as the engine sees it: parameters, tables, figures, charts, pages, run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, exists, null, true

from webapp.engine.kind import (
    Answer,
    Chart,
    ChartSeries,
    Column,
    Context,
    Figure,
    ReportKind,
    Result,
    Row,
    Run,
    StoredResult,
    Table,
    split_by,
)
from webapp.engine.run import REPORT
from webapp.errors import InvalidParams
from webapp.jobs import Job
from webapp.kinds.session_activity import api, commands, demo, names_api, privacy, privacy_pages
from webapp.kinds.session_activity.facts import check_kept, first_day
from webapp.kinds.session_activity.forgetting import forget_sessions
from webapp.kinds.session_activity.names import find_login, may_see_all
from webapp.kinds.session_activity.params import SessionActivityParams
from webapp.kinds.session_activity.report import GROUPS, PERIODS, Report, check_by, hours_columns
from webapp.kinds.session_activity.use import SUMMED
from webapp.lib.moments import utcnow
from webapp.lib.months import current_month, span_text
from webapp.lib.texts import counted

if TYPE_CHECKING:
    from flask import Blueprint
    from flask.cli import AppGroup

    from webapp.accounts import Scope

LOGIN = Column("login", "Login")
MOST = (
    Column("most_at_once", "Most at once", "integer"),
    Column("most_at", "First so at", "datetime"),
)
WEEK = (
    Column("weekday", "Day"),
    *(Column(f"{hour:02d}", f"{hour:02d}", "decimal", "hours") for hour in range(24)),
)
CLOCKS = (
    Column("computer", "Computer"),
    LOGIN,
    Column("started_at", "Session since", "datetime"),
    Column("minutes_behind", "Behind", "decimal", "minutes"),
    Column("corrected", "Corrected"),
)


class SessionActivity(ReportKind):
    """Hours by login, computer, room or event, by month, week or date."""

    slug = "session-activity"
    title = "Session activity"
    description = (
        "Hours of logins, computers, rooms or events, by month, week or date, from the pings "
        "that came in."
    )
    Params = SessionActivityParams
    kept_setting = "SESSIONS_KEPT_MONTHS"

    def resolve_secrets(
        self, params: SessionActivityParams, scope: Scope, secrets: dict[str, str]
    ) -> dict[str, str]:
        check_by(scope, params.by)
        if params.login and find_login(scope, params.login) is None:
            raise InvalidParams({"login": "There is no such login; leave it empty for all."})
        check_kept(params.first_day)
        return secrets

    def is_personal(self, scope: Scope) -> bool:
        return not may_see_all(scope)

    def readable(self, scope: Scope) -> ColumnElement[bool]:
        if may_see_all(scope):
            return true()
        # Their own may be of a time in which they saw everybody's hours.
        kept = REPORT.alias()
        is_own = kept.c.head.is_(null()) | (kept.c.head["whose"].as_string() == "own")
        mine = exists().where(kept.c.id == Job.id, is_own)
        return (Job.user_id == scope.user_id) & mine

    def data_span(self, scope: Scope) -> tuple[date, date] | None:
        day = first_day(scope.company_id) if may_see_all(scope) else None
        return (day.replace(day=1), current_month()) if day else None

    def run(self, params: SessionActivityParams, run: Run, context: Context) -> Result:
        return Report(params, run, context).make()

    def describe(self, params: Mapping[str, Any]) -> str:
        by = params.get("by", "login")
        who = params.get("login") or ("all logins" if by == "login" else f"each {by}")
        what = f", {params['session_type']}" if params.get("session_type") else ""
        first = params.get("start") or params.get("from_date", "")
        last = params.get("end") or params.get("to_date", "")
        return f"{who}{what} by {params['group_by']} {span_text(first, last)}"

    def tables(self, head: Mapping[str, Any]) -> tuple[Table, ...]:
        by, period = head.get("by", "login"), PERIODS[head["group_by"]]
        names, nothing = GROUPS[by][0], "No pings came in for this range."
        hours = hours_columns(by)
        more: tuple[Column, ...] = () if by == "login" else MOST
        if by in {"computer", "room"}:
            more = (Column("open_share", "Share of opening hours", "decimal", "%"), *MOST)
        count = Column(f"{by}s", f"{by.capitalize()}s", "integer")
        most: Any = {"sort": "hours", "descending": True, "opens_into": ("hours", names[0].name)}
        own = [Table(f"{by}s", f"{by.capitalize()}s", (*names, *hours, *more), nothing, **most)]
        if by != "login":
            own.append(Table("week", "Hours by day of the week and hour", WEEK))
        if by in {"computer", "room"}:
            idle = (*GROUPS["computer"][0], Column("last_seen", "Last seen", "datetime"))
            own.append(Table("idle", "Idle computers", idle, "Every computer was used."))
        newest: Any = {"sort": period.name, "descending": True}
        title = f"Hours by {head['group_by']}"
        return (
            Table("hours", f"Hours by {by}", (*names, period, *hours), nothing, **newest),
            Table("periods", title, (period, *hours, count), nothing, **newest),
            *own,
            Table("clocks", "Clocks behind", CLOCKS, "No clock is known to be behind."),
        )

    def figures(self, head: Mapping[str, Any]) -> tuple[Figure, ...]:
        by, what = head.get("by", "login"), head["session_type"] or "whole sessions"
        any_of, all_of = hours_columns(by)
        note = {"machine": "summed over computers", "person": "summed over people"}[SUMMED[by]]
        return (
            Figure(any_of.label, head["total_hours"], "decimal", what),
            Figure(all_of.label, head[f"total_{all_of.name}"], "decimal", note),
            Figure(f"{by.capitalize()}s", head[f"{by}_count"], "integer"),
            Figure("First day", head["from_date"], "date", head["timezone"]),
            Figure("Last day", head["to_date"], "date", head["timezone"]),
        )

    def answer(self, result: StoredResult) -> Answer:
        head, figures = result.head, self.figures(result.head)
        by, (first, last) = head.get("by", "login"), (head["from_date"], head["to_date"])
        span = f"on {first}" if first == last else f"from {first} to {last}"
        if not head["total_hours"]:
            return Answer(f"Nobody was active {span}.", figures)
        count, noun = head[f"{by}_count"], "person hours" if by == "login" else "hours"
        text = f"{head['total_hours']:,.2f} {noun} {span}"
        if count > 1:
            most = max(result.rows(f"{by}s"), key=lambda row: row["hours"])
            text += f", of {counted(count, by)}; the most {most[by]}, {most['hours']:,.2f} hours"
        return Answer(f"{text}.", figures)

    def total_row(self, table: str, result: StoredResult) -> Row | None:
        head = result.head
        by = head.get("by", "login")
        if table not in {"periods", f"{by}s"}:
            return None
        summed = hours_columns(by)[1].name
        return {
            by if table == f"{by}s" else head["group_by"]: "Total",
            "hours": head["total_hours"],
            summed: head[f"total_{summed}"],
        }

    def charts(self, head: Mapping[str, Any]) -> tuple[Chart, ...]:
        views: Any = tuple(
            (one.label, one.name, "bar") for one in hours_columns(head.get("by", "login"))
        )
        return (Chart("periods", head["group_by"], views),)

    def chart_series(self, chart: Chart, result: StoredResult) -> tuple[ChartSeries, ...]:
        by, period = result.head.get("by", "login"), result.head["group_by"]
        rows = result.rows("hours")
        return (split_by(f"By {by}", rows, by, period, "hours", "hours", "bar"),)

    def forget_before(self, month: date) -> Iterator[int]:
        return forget_sessions(month)

    def seed_demo(self, company_id: str) -> str:
        begun = demo.make_demo(company_id)
        return f"{begun} sessions of three logins over two months, one online now." if begun else ""

    def blueprints(self) -> tuple[Blueprint, ...]:
        return (api.taking, names_api.telling, privacy_pages.bp)

    def commands(self) -> tuple[AppGroup, ...]:
        return (commands.group,)

    def nightly(self) -> None:
        privacy.forget_old(utcnow())

    def links(self, scope: Scope) -> tuple[tuple[str, str], ...]:
        use = (("Use of rooms and computers", "/session-activity/use"),)
        return (
            ("Who is online", "/session-activity"),
            ("My hours", "/session-activity/me"),
            ("Hours of a login", "/session-activity/login"),
            *(use if may_see_all(scope) else ()),
            ("Logins and computers", "/session-activity/names/users"),
        )
