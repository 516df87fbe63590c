"""The page of one login: hours by month and day, its stretches of time, and what was corrected."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from operator import itemgetter
from typing import Annotated, Any

from flask import Response, current_app, flash, request
from pydantic import ConfigDict, Field, model_validator

from webapp.accounts import current_scope, require
from webapp.engine.charts import chart_of
from webapp.engine.kind import Chart, Table
from webapp.errors import InvalidParams, NotFound
from webapp.extensions import db
from webapp.htmx import render
from webapp.kinds.session_activity.bodies import Event, LineOrEmpty, NewCorrection
from webapp.kinds.session_activity.compute import (
    ONE_DAY,
    Hours,
    Span,
    by_period,
    clipped,
    day_end,
    day_of,
    day_start,
    hours_by_day,
    in_hours,
    united,
)
from webapp.kinds.session_activity.corrections import correct, list_corrections, take_back
from webapp.kinds.session_activity.facts import read_spans
from webapp.kinds.session_activity.ingest import zone_of
from webapp.kinds.session_activity.models import Computer
from webapp.kinds.session_activity.names import find_login, login_names, names_by_id
from webapp.kinds.session_activity.pages import back_to, bp
from webapp.kinds.session_activity.report import PERIODS, hours_columns
from webapp.lib.bodies import Month, at_field, check_months, read_query, read_value
from webapp.lib.model import LazyModel
from webapp.lib.moments import rfc3339, utcnow
from webapp.lib.months import last_day, month_text, months_between, next_month
from webapp.lib.shown_lists import shown_list

__all__ = ["bp"]
NAMES_OFFERED = 50
MOST_MONTHS = 36
# A stretch is four lines on a phone.
ROWS_SHOWN = 20


def _this_month() -> date:
    return day_of(utcnow(), zone_of(current_app)).replace(day=1)


class LoginQuery(LazyModel):
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
    return _login_page({})


def _login_page(wrong: Mapping[str, str]) -> Response:
    """Return the page, with the correction as it was typed where something of it is wrong."""
    scope, problems = current_scope(), {}
    asked, shown = LoginQuery(), None
    try:
        asked = read_query(LoginQuery)
        if asked.login and (login := find_login(scope, asked.login)):
            shown = _shown(login, asked)
        elif asked.login:
            problems = {"login": "There is no such login."}
    except InvalidParams as error:
        problems = error.errors
    return render(
        "session_activity/login.html",
        "session_activity/login.html",
        status=422 if problems or wrong else 200,
        typed=asked.model_dump(mode="json") | request.args.to_dict(),
        errors=problems,
        wrong=wrong,
        names=login_names(scope, NAMES_OFFERED),
        shown=shown,
        may_correct=scope.may("expert"),
        zone=zone_of(current_app).key,
    )


def _shown(login: Any, asked: LoginQuery) -> dict[str, Any]:
    """Return what the page shows of a login: totals, rows and charts by month and by day."""
    zone, first, last = zone_of(current_app), asked.start, last_day(asked.end)
    spans_of = read_spans([login], asked.session_type, first, last, zone)[login.id]
    days = hours_by_day(spans_of, first, last, zone)
    whole = sum(days.values(), Hours())
    months = {month: Hours() for month in months_between(first, asked.end)} | by_period(
        days, "month"
    )
    by_month = {month_text(month): hours for month, hours in months.items()}
    # A chart's days are evenly apart, up to today.
    count = max((min(last, max([day_of(utcnow(), zone), *days])) - first).days + 1, 0)
    every_day = (first + ONE_DAY * number for number in range(count))

    def local(moment: datetime) -> str:
        return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"

    by_day = {day.isoformat(): days.get(day, Hours()) for day in every_day}
    return {
        **_in_hours(whole),
        "days": shown_list(
            [{"period": str(day), **_in_hours(days[day])} for day in reversed(days)],
            itemgetter("period"),
            "days",
            ROWS_SHOWN,
        ),
        "months": [{"period": month, **_in_hours(hours)} for month, hours in by_month.items()],
        "charts": [_chart("month", by_month), _chart("date", by_day)],
        "stretches": shown_list(
            _stretches(spans_of, first, last),
            lambda one: f"{local(one['start'])} {one['computer']}",
            "stretches",
            ROWS_SHOWN,
        ),
        "corrections": list_corrections(current_scope(), login.name),
        "local": local,
    }


def _stretches(spans_of: Mapping[int, list[Span]], first: date, last: date) -> list[dict[str, Any]]:
    """Return the stretches of time at each computer, the newest first."""
    zone, names = zone_of(current_app), names_by_id(Computer, spans_of)
    bounds = day_start(first, zone), day_end(last, zone)
    found = (
        {"computer": names[number], "start": span.start, "end": span.end}
        for number, spans in spans_of.items()
        for span in united(clipped(spans, *bounds))
    )
    return sorted(found, key=itemgetter("start"), reverse=True)


def _in_hours(hours: Hours, places: int = 2) -> dict[str, float]:
    person, machine = (in_hours(one, places) for one in (hours.person, hours.machine))
    return {"hours": person, "machine_hours": machine}


def _chart(by: str, rows: Mapping[str, Hours]) -> dict[str, Any]:
    """Return the chart of hours by month or by date, as pages draw it; it says their sum too."""
    hours = hours_columns("login")
    table = Table(by, f"Hours by {'day' if by == 'date' else by}", (PERIODS[by], *hours))
    views: Any = tuple((one.label, one.name, "bar") for one in hours)
    drawn = [{by: period, **_in_hours(hours, 6)} for period, hours in rows.items()]
    return chart_of(table, table.title, drawn, Chart(by, by, views))


@bp.post("/login")
@require("expert")
def correct_stretch() -> Response:
    """Put a stretch of a login's time elsewhere, or remove it, with a reason."""
    form = request.form.to_dict()
    for name in ("new_start", "new_end"):
        form[name] = _moment_text(form.get(name, ""))
    try:
        correct(current_scope(), read_value(NewCorrection, form))
    except InvalidParams as error:
        return _login_page(error.errors)
    flash("The hours are corrected.")
    return back_to("session_activity.show_login")


def _moment_text(text: str) -> str:
    """Return a moment that a form has in the zone of the days as programs write it."""
    try:
        return rfc3339(datetime.fromisoformat(text).replace(tzinfo=zone_of(current_app)))
    except ValueError:
        return text


@bp.post("/corrections/<int:number>/take-back")
@require("expert")
def take_correction_back(number: int) -> Response:
    """Let a correction count no more."""
    try:
        take_back(current_scope(), number)
    except NotFound as error:
        db.session.rollback()
        flash(error.message)
    else:
        flash("The correction is taken back.")
    return back_to("session_activity.show_login")
