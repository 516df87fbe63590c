"""Pages of session activity: who is online now, and the hours of one login by day and month."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from operator import attrgetter
from typing import Annotated, Any

from flask import Blueprint, Response, current_app, request, url_for
from pydantic import BaseModel, ConfigDict, Field, model_validator

from webapp.accounts import current_scope, require, restrict
from webapp.engine.charts import chart_of
from webapp.engine.kind import Chart, Table
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.htmx import redirect_to, render
from webapp.kinds.session_activity.bodies import Event, LineOrEmpty, is_address
from webapp.kinds.session_activity.clocks import correct_clock, corrected_computers
from webapp.kinds.session_activity.compute import ONE_DAY, Hours, by_month, day_of, in_hours
from webapp.kinds.session_activity.directory import find_login, login_names
from webapp.kinds.session_activity.facts import login_days
from webapp.kinds.session_activity.ingest import zone_of
from webapp.kinds.session_activity.models import Login
from webapp.kinds.session_activity.report import HOURS, PERIODS
from webapp.kinds.session_activity.segments import online_ahead
from webapp.kinds.session_activity.sessions import online
from webapp.lib.bodies import Month, at_field, check_months, read_query
from webapp.lib.moments import utcnow
from webapp.lib.months import last_day, month_text, months_between, next_month

bp = Blueprint(
    "session_activity", __name__, url_prefix="/session-activity", template_folder="templates"
)
restrict(bp)

POLL_EVERY_S = 5
NAMES_OFFERED = 50
MOST_MONTHS = 36
# A clock ahead by less troubles nobody.
WORTH_SAYING = timedelta(seconds=10)


@bp.get("")
def show_online() -> Response:
    """Show who is online where since when; the list asks for itself every few seconds."""
    now, company_id = utcnow(), current_scope().company_id
    # Of the sessions of a login at a computer the newest; a restart leaves older ones.
    started = sorted(online(db.session, company_id, now), key=attrgetter("started_at"))
    newest = {(row.login, row.comp_name): row for row in started}
    rows = [newest[place] for place in sorted(newest)]
    ahead = online_ahead(db.session, company_id, now)
    return render(
        "session_activity/online.html",
        "session_activity/_online.html",
        rows=rows,
        people=len({row.login for row in rows}),
        computers=len({row.comp_name for row in rows}),
        now=now,
        since={row.id: length_text(now - row.started_at) for row in rows},
        ahead={key: length_text(by) for key, by in ahead.items() if by >= WORTH_SAYING},
        behind={
            row.id: length_text(timedelta(seconds=row.lag_low_s)) for row in rows if row.is_behind
        },
        corrected=corrected_computers(company_id),
        may_correct=current_scope().may("expert"),
        is_address=is_address,
        every_s=POLL_EVERY_S,
    )


@bp.post("/clock")
@require("expert")
def correct() -> Response:
    """Correct a computer's clock, or take that back."""
    wanted = request.form.get("corrects_clock") == "true"
    correct_clock(current_scope(), request.form.get("computer", ""), wanted)
    return redirect_to(url_for("session_activity.show_online"))


def length_text(length: timedelta) -> str:
    """Return a length of time in hours and minutes, below a minute in seconds."""
    seconds = max(int(length.total_seconds()), 0)
    minutes = seconds // 60
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def _this_month() -> date:
    return day_of(utcnow(), zone_of(current_app)).replace(day=1)


class LoginQuery(BaseModel):
    """Which login's hours to show, of which event and months: this one and the two before."""

    model_config = ConfigDict(str_strip_whitespace=True)

    login: Annotated[str, LineOrEmpty] = ""
    session_type: Event = ""
    start: Month = Field(default_factory=lambda: next_month(_this_month(), -2))
    end: Month = Field(default_factory=_this_month)

    @model_validator(mode="after")
    def _check(self) -> LoginQuery:
        check_months(self.start, self.end)
        if len(months_between(self.start, self.end)) > MOST_MONTHS:
            sentence = f"This page shows {MOST_MONTHS} months at most; a report shows more."
            raise at_field("end", sentence)
        return self


@bp.get("/login")
def show_login() -> Response:
    """Show the hours of a login by day and month, or a form to choose one."""
    company_id, problems = current_scope().company_id, {}
    asked, shown = LoginQuery(), None
    try:
        asked = read_query(LoginQuery)
        if asked.login and (login := find_login(company_id, asked.login)):
            shown = _shown(login, asked)
        elif asked.login:
            problems = {"login": "There is no such login."}
    except InvalidParams as error:
        problems = error.errors
    return render(
        "session_activity/login.html",
        "session_activity/login.html",
        status=422 if problems else 200,
        typed=asked.model_dump(mode="json") | request.args.to_dict(),
        errors=problems,
        names=login_names(company_id, NAMES_OFFERED),
        shown=shown,
        zone=zone_of(current_app).key,
    )


def _shown(login: Login, asked: LoginQuery) -> dict[str, Any]:
    """Return what the page shows of a login: totals, rows and charts by month and by day."""
    zone, first, last = zone_of(current_app), asked.start, last_day(asked.end)
    days = login_days(login, asked.session_type, first, last, zone)
    whole = sum(days.values(), Hours())
    months = {month: Hours() for month in months_between(first, asked.end)} | by_month(days)
    by_month_text = {month_text(month): _in_hours(hours) for month, hours in months.items()}
    # A chart's days are evenly apart, up to today.
    count = max((min(last, max([day_of(utcnow(), zone), *days])) - first).days + 1, 0)
    every_day = (first + ONE_DAY * number for number in range(count))
    by_day = {day.isoformat(): _in_hours(days.get(day, Hours())) for day in every_day}
    return {
        **_in_hours(whole),
        "days": [{"period": str(day), **_in_hours(days[day])} for day in reversed(days)],
        "months": [{"period": month, **hours} for month, hours in by_month_text.items()],
        "charts": [_chart("month", by_month_text), _chart("date", by_day)],
    }


def _in_hours(hours: Hours) -> dict[str, float]:
    return {"hours": in_hours(hours.person, 2), "machine_hours": in_hours(hours.machine, 2)}


def _chart(by: str, rows: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Return the chart of hours by month or by date, as pages draw it."""
    table = Table(by, f"Hours by {'day' if by == 'date' else by}", (PERIODS[by], *HOURS))
    views: Any = (("Person hours", "hours", "bar"), ("Machine hours", "machine_hours", "bar"))
    drawn = [{by: period, **hours} for period, hours in rows.items()]
    return chart_of(table, table.title, drawn, Chart(by, by, views))
