"""session-activity as the engine sees it: parameters, tables, figures, charts, pages, run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
from webapp.errors import InvalidParams
from webapp.kinds.session_activity import api, demo, pages
from webapp.kinds.session_activity.directory import find_login
from webapp.kinds.session_activity.params import SessionActivityParams
from webapp.kinds.session_activity.report import HOURS, PERIODS, Report

if TYPE_CHECKING:
    from flask import Blueprint

    from webapp.accounts import Scope

LOGIN = Column("login", "Login")
CLOCKS = (
    Column("computer", "Computer"),
    LOGIN,
    Column("started_at", "Session since", "datetime"),
    Column("minutes_behind", "Behind", "decimal", "minutes"),
    Column("corrected", "Corrected"),
)


class SessionActivity(ReportKind):
    """Hours by login, by month or date."""

    slug = "session-activity"
    title = "Session activity"
    description = (
        "Hours of logins at their computers, by month or date, from the pings that came in."
    )
    Params = SessionActivityParams

    def resolve_secrets(
        self, params: SessionActivityParams, scope: Scope, secrets: dict[str, str]
    ) -> dict[str, str]:
        if params.login and find_login(scope.company_id, params.login) is None:
            raise InvalidParams({"login": "There is no such login; leave it empty for all."})
        return secrets

    def run(self, params: SessionActivityParams, run: Run, context: Context) -> Result:
        return Report(params, run, context).make()

    def describe(self, params: Mapping[str, Any]) -> str:
        who = params.get("login") or "all logins"
        what = f", {params['session_type']}" if params.get("session_type") else ""
        first = params.get("start") or params.get("from_date")
        last = params.get("end") or params.get("to_date")
        span = first if first == last else f"{first} to {last}"
        return f"{who}{what} by {params['group_by']} {span}"

    def tables(self, head: Mapping[str, Any]) -> tuple[Table, ...]:
        period = PERIODS[head["group_by"]]
        nothing = "No pings came in for this range."
        count = Column("logins", "Logins", "integer")
        title = f"Hours by {head['group_by']}"
        newest: Any = {"sort": period.name, "descending": True}
        return (
            Table("hours", "Hours by login", (LOGIN, period, *HOURS), nothing, **newest),
            Table("periods", title, (period, *HOURS, count), nothing, **newest),
            Table("logins", "Logins", (LOGIN, *HOURS), nothing, sort="hours", descending=True),
            Table("clocks", "Clocks behind", CLOCKS, "No clock was seen to be behind."),
        )

    def figures(self, head: Mapping[str, Any]) -> tuple[Figure, ...]:
        what = head["session_type"] or "whole sessions"
        return (
            Figure("Person hours", head["total_hours"], "decimal", what),
            Figure(
                "Machine hours", head["total_machine_hours"], "decimal", "summed over computers"
            ),
            Figure("Logins", head["login_count"], "integer"),
            Figure("First day", head["from_date"], "date", head["timezone"]),
            Figure("Last day", head["to_date"], "date", head["timezone"]),
        )

    def answer(self, result: StoredResult) -> Answer:
        head, figures = result.head, self.figures(result.head)
        span = f"from {head['from_date']} to {head['to_date']}"
        if not head["total_hours"]:
            return Answer(f"Nobody was active {span}.", figures)
        count = head["login_count"]
        text = f"{head['total_hours']:,.2f} person hours {span}"
        if count > 1:
            most = max(result.rows("logins"), key=lambda row: row["hours"])
            text += f", of {count:,} logins; the most {most['login']}, {most['hours']:,.2f} hours"
        return Answer(f"{text}.", figures)

    def total_row(self, table: str, result: StoredResult) -> Row | None:
        if table not in {"periods", "logins"}:
            return None
        head = result.head
        named = "login" if table == "logins" else head["group_by"]
        return {
            named: "Total",
            "hours": head["total_hours"],
            "machine_hours": head["total_machine_hours"],
        }

    def charts(self, head: Mapping[str, Any]) -> tuple[Chart, ...]:
        return (
            Chart(
                "periods",
                head["group_by"],
                (("Person hours", "hours", "bar"), ("Machine hours", "machine_hours", "bar")),
            ),
        )

    def chart_series(self, chart: Chart, result: StoredResult) -> tuple[ChartSeries, ...]:
        by = result.head["group_by"]
        return (split_by("By login", result.rows("hours"), "login", by, "hours", "hours", "bar"),)

    def seed_demo(self, company_id: str) -> str:
        begun = demo.make_demo(company_id)
        return f"{begun} sessions of three logins over two months, one online now." if begun else ""

    def blueprints(self) -> tuple[Blueprint, ...]:
        return (api.taking, api.telling, pages.bp)

    def links(self, scope: Scope) -> tuple[tuple[str, str], ...]:
        return (
            ("Who is online", "/session-activity"),
            ("Hours of a login", "/session-activity/login"),
        )
