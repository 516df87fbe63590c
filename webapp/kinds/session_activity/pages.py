"""Pages of session activity: who is online now, and the hours of one login by day and month."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Annotated, Any

from flask import Blueprint, Response, current_app, request, url_for
from pydantic import BaseModel, ConfigDict, Field, model_validator

from webapp.accounts import current_scope, require, restrict
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.htmx import redirect_to, render
from webapp.kinds.session_activity.bodies import Event, LineOrEmpty, is_address
from webapp.kinds.session_activity.clocks import correct_clock, corrected_computers
from webapp.kinds.session_activity.compute import (
    ONE_DAY,
    Hours,
    by_month,
    day_of,
    in_hours,
    is_steady,
    total,
)
from webapp.kinds.session_activity.directory import find_login, names_like
from webapp.kinds.session_activity.facts import login_days
from webapp.kinds.session_activity.ingest import zone_of
from webapp.kinds.session_activity.models import Login
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
    rows = newest_at_each_place(online(db.session, company_id, now))
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
            row.id: length_text(timedelta(seconds=row.lag_low_s))
            for row in rows
            if is_steady(row.lag_low_s, row.lag_high_s, row.lag_pings)
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


def newest_at_each_place(rows: Iterable[Any]) -> list[Any]:
    """Return the newest session of each login at each computer; a restart leaves older ones."""
    newest: dict[tuple[str, str], Any] = {}
    for row in rows:
        place = (row.login, row.comp_name)
        if place not in newest or newest[place].started_at < row.started_at:
            newest[place] = row
    return list(newest.values())


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
        names=names_like(company_id, "", NAMES_OFFERED),
        shown=shown,
        zone=zone_of(current_app).key,
    )


def _shown(login: Login, asked: LoginQuery) -> dict[str, Any]:
    """Return what the page shows of a login: totals, rows and charts by month and by day."""
    zone, first, end = zone_of(current_app), asked.start, last_day(asked.end)
    days = login_days(login, asked.session_type, first, end, zone)
    whole = total(days.values())
    months = {month: Hours() for month in months_between(first, asked.end)} | by_month(days)
    return {
        "hours": in_hours(whole.person, 2),
        "machine_hours": in_hours(whole.machine, 2),
        "days": [_row(day.isoformat(), hours) for day, hours in reversed(days.items())],
        "months": [_row(month_text(month), hours) for month, hours in months.items()],
        "charts": [
            _chart("Hours by month", {month_text(month): one for month, one in months.items()}),
            _chart("Hours by day", _every_day(days, first, min(end, _newest(days, zone)))),
        ],
    }


def _newest(days: Mapping[date, Hours], zone: Any) -> date:
    return max([day_of(utcnow(), zone), *days])


def _every_day(days: Mapping[date, Hours], first: date, last: date) -> dict[str, Hours]:
    """Return hours by date without gaps, so that a chart's days are evenly apart."""
    count = max((last - first).days + 1, 0)
    every = [first + ONE_DAY * number for number in range(count)]
    return {day.isoformat(): days.get(day, Hours()) for day in every}


def _row(period: str, hours: Hours) -> dict[str, Any]:
    return {
        "period": period,
        "hours": in_hours(hours.person, 2),
        "machine_hours": in_hours(hours.machine, 2),
    }


def _chart(title: str, hours: Mapping[str, Hours]) -> dict[str, Any]:
    """Return a chart as the script in the page draws it."""
    views = (("Person hours", "person"), ("Machine hours", "machine"))
    return {
        "title": title,
        "labels": list(hours),
        "views": [
            {
                "label": label,
                "name": name,
                "type": "bar",
                "values": [in_hours(getattr(one, name), 2) for one in hours.values()],
            }
            for label, name in views
        ],
    }
