"""Pages of session activity: who is online now, use of rooms, logins and computers by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import partial
from hashlib import blake2b
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import (
    Blueprint,
    Response,
    current_app,
    flash,
    make_response,
    render_template,
    request,
    url_for,
)
from pydantic import ConfigDict, Field, model_validator

from webapp.accounts import current_scope, require, restrict
from webapp.accounts import zone_of as company_zone
from webapp.engine.export import csv_attachment
from webapp.engine.kind import Column, Sheet
from webapp.errors import InvalidParams, NotFound, ReportError
from webapp.extensions import db
from webapp.htmx import redirect_to, render, vary
from webapp.kinds.session_activity.aggregate import SESSION, Ping
from webapp.kinds.session_activity.bodies import (
    AccountChange,
    ComputerChange,
    LineOrEmpty,
    LoginChange,
    NamesQuery,
    SessionId,
    is_address,
)
from webapp.kinds.session_activity.clocks import corrected_computers
from webapp.kinds.session_activity.compute import ONE_DAY, day_of
from webapp.kinds.session_activity.ingest import intake, zone_of
from webapp.kinds.session_activity.models import Computer, Login
from webapp.kinds.session_activity.names import (
    Table,
    change_name,
    find_login,
    list_names,
    may_manage,
    may_see_all,
    settings_of,
)
from webapp.kinds.session_activity.params import check_dates
from webapp.kinds.session_activity.report import check_by
from webapp.kinds.session_activity.sessions import (
    Sort,
    ahead_of,
    board,
    credited_time,
    find_session,
)
from webapp.kinds.session_activity.use import Usage
from webapp.lib.bodies import WholeNumber, at_field, read_form, read_query, read_value
from webapp.lib.model import LazyModel
from webapp.lib.moments import rfc3339, utcnow

bp = Blueprint(
    "session_activity", __name__, url_prefix="/session-activity", template_folder="templates"
)
restrict(bp)

POLL_EVERY_S = 5
ROWS_PER_PAGE = 50
NAMES_PER_PAGE = 50
# A page counts while its reader waits; a report takes longer ranges and larger companies.
MOST_DAYS, MOST_COMPUTERS = 31, 500
# A clock ahead by less troubles nobody.
WORTH_SAYING = timedelta(seconds=10)
HEAT_LEVELS = 5
ONLINE = (
    Column("login", "Login"),
    Column("computer", "Computer"),
    Column("ip_addr", "Address"),
    Column("since", "Since", "datetime"),
    Column("hours", "For", "decimal", "hours"),
    Column("until", "Until", "datetime"),
)


class BoardQuery(LazyModel):
    """What of the board to show: a text in login, computer or address, its order, which page.

    seen: the mark of what the asker shows already
    """

    model_config = ConfigDict(str_strip_whitespace=True)

    search: Annotated[str, LineOrEmpty] = ""
    sort: Sort = "login"
    page: Annotated[int, WholeNumber(1, 1_000_000, clamp=True)] = 1
    seen: str = ""


@bp.get("")
def show_online() -> Response:
    """Show who is online where since when; the list asks for itself every few seconds.

    Where nothing of it has changed it is answered nothing (204).
    """
    now, scope, asked = utcnow(), current_scope(), read_query(BoardQuery)
    zone = company_zone(scope.company_id)
    found = board(db.session, scope, now, asked.search, asked.sort, asked.page, ROWS_PER_PAGE)
    page_count = max(-(-found.matching // ROWS_PER_PAGE), 1)
    asked.page = min(asked.page, page_count)
    numbers = [row.number for row in found.rows]
    ahead = ahead_of(db.session, numbers)
    parts: dict[str, Any] = {
        "found": found,
        "asked": asked,
        "place": asked.model_dump(exclude={"seen"}, exclude_defaults=True),
        "page_count": page_count,
        "zone": zone.key,
        "local": lambda moment: local_text(moment, now, zone),
        "credited": {
            number: length_text(length)
            for number, length in credited_time(db.session, numbers, now).items()
        },
        "ahead": {key: length_text(by) for key, by in ahead.items() if by >= WORTH_SAYING},
        "behind_text": lambda row: length_text(timedelta(seconds=row.lag_low_s)),
        "corrected": corrected_computers(scope.company_id),
        "may_correct": scope.may("expert"),
        "is_address": is_address,
        "every_s": POLL_EVERY_S,
        "now": now,
    }
    # All that is shown, but for the forms' tokens, which differ each time.
    shown = [
        local_text(now, now, zone),
        *found[1:],
        parts["credited"],
        parts["ahead"],
        parts["corrected"],
    ]
    shown += [(row.id, row.is_behind, local_text(row.ends_at, now, zone)) for row in found.rows]
    seen = blake2b(repr(shown).encode(), digest_size=8).hexdigest()
    if asked.seen == seen:
        return vary(Response(status=204))
    page = "session_activity/online.html"
    return render(page, "session_activity/_online.html", seen=seen, **parts)


@bp.get("/online.csv")
def download_online() -> Response:
    """Give everybody who is online, filtered and sorted as the board is."""
    now, asked = utcnow(), read_query(BoardQuery)
    found = board(db.session, current_scope(), now, asked.search, asked.sort)
    credited = credited_time(db.session, [row.number for row in found.rows], now)
    rows = (
        {
            "login": row.login,
            "computer": row.comp_name,
            "ip_addr": row.ip_addr,
            "since": rfc3339(row.started_at),
            "hours": round(credited.get(row.number, timedelta()) / timedelta(hours=1), 2),
            "until": rfc3339(row.ends_at),
        }
        for row in found.rows
    )
    return csv_attachment(Sheet("online", "Who is online", ONLINE, rows), "online.csv")


@bp.post("/end")
@require("expert")
def end_session() -> Response:
    """End a session now: what its last ping promised beyond is taken back."""
    now, scope = utcnow(), current_scope()
    found = find_session(db.session, scope.company_id, read_form(SessionId).session)
    if found is None or find_login(scope, found.login, managing=True) is None:
        raise NotFound("There is no such session.")
    db.session.remove()
    # Where its clock is behind it is over at the time that clock has now, as its pings are.
    lag_s = found.lag_low_s if found.is_behind else None
    at = now - timedelta(seconds=lag_s or 0)
    ping = Ping(scope.company_id, found.id, SESSION, found.login, at, 0, now, lag_s=lag_s)
    intake().take(db.engine, [ping])
    flash(f"The session of {found.login} at {found.comp_name} is over.")
    return back_to("session_activity.show_online")


@bp.post("/clock")
@require("expert")
def correct() -> Response:
    """Correct a computer's clock, or take that back."""
    wanted = read_form(ComputerChange)
    change_name(current_scope(), Computer, wanted.name, wanted.changes)
    return back_to("session_activity.show_online")


def back_to(endpoint: str, **values: Any) -> Response:
    """Go back to a page as it was: the form's address has its search, its order and its place."""
    query = urlencode(request.args)
    return redirect_to(url_for(endpoint, **values) + (query and f"?{query}"))


def length_text(length: timedelta) -> str:
    """Return a length of time in hours and minutes, below a minute in seconds."""
    seconds = max(int(length.total_seconds()), 0)
    minutes = seconds // 60
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def local_text(moment: datetime, now: datetime | None = None, zone: ZoneInfo | None = None) -> str:
    """Return a moment in a zone, with its day.

    now: where given, the day is left out where it is today there
    zone: that of the days hours are counted by where none is given
    """
    zone = zone or zone_of(current_app)
    local = moment.astimezone(zone)
    is_today = now is not None and day_of(now, zone) == local.date()
    return f"{local:%H:%M}" if is_today else f"{local:%Y-%m-%d %H:%M}"


# Logins and computers by name

TABLES: dict[str, tuple[Table, type[LoginChange]]] = {
    "users": (Login, AccountChange),
    "computers": (Computer, ComputerChange),
}


@bp.get("/names/<any(users, computers):which>")
def show_names(which: str) -> str:
    """Show logins or computers, found by a part of their name, with what may be changed."""
    return names_page(which, read_query(NamesQuery))


def names_page(
    which: str,
    asked: NamesQuery,
    typed: Any = None,
    errors: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
) -> str:
    """Return the page of names, as it was typed where something cannot be kept.

    typed, errors: of its settings; wrong: what is wrong with the change of a name
    """
    scope = current_scope()
    rows, more = list_names(TABLES[which][0], scope, asked.search, asked.after, NAMES_PER_PAGE)
    return render_template(
        "session_activity/names.html",
        which=which,
        place=asked.model_dump(exclude_defaults=True),
        search=asked.search,
        rows=rows,
        more=more,
        local=local_text,
        zone=zone_of(current_app).key,
        may_change=scope.may("expert") and (which == "computers" or may_manage(scope)),
        may_set=scope.may("admin"),
        sees=may_see_all(scope),
        settings=typed or settings_of(scope.company_id),
        errors=errors or {},
        wrong=wrong or {},
    )


@bp.post("/names/<any(users, computers):which>")
@require("expert")
def change(which: str) -> Response:
    """Rename, merge or switch a login or computer, or set a computer's room."""
    table, model = TABLES[which]
    given = {name: value for name, value in request.form.items() if name != "csrf_token"}

    try:
        wanted = read_value(model, given)
        change_name(current_scope(), table, wanted.name, wanted.changes)
    except ReportError as error:
        db.session.rollback()
        # Each form of the page changes one thing.
        wrong = {name: error.message for name in given if name != "Name"}
        page = names_page(which, read_query(NamesQuery), wrong=wrong or {"": error.message})
        return make_response(page, error.status)
    flash("Changed.")
    return back_to("session_activity.show_names", which=which)


# Use of rooms and computers


def _monday() -> date:
    today = day_of(utcnow(), zone_of(current_app))
    return today - ONE_DAY * today.weekday()


class UseQuery(LazyModel):
    """What to show the use of, and of which days: without any, this week up to today."""

    by: Literal["room", "computer"] = "room"
    from_date: date = Field(default_factory=_monday)
    to_date: date = Field(default_factory=lambda: day_of(utcnow(), zone_of(current_app)))

    @model_validator(mode="after")
    def _check(self) -> UseQuery:
        check_dates(self.from_date, self.to_date)
        if (self.to_date - self.from_date).days >= MOST_DAYS:
            sentence = f"This page shows {MOST_DAYS} days at most; a report shows more."
            raise at_field("to_date", sentence)
        return self


def _heat_level(hours: float, hottest: timedelta) -> int:
    """Return how warm hours are, from 0; they are rounded, so the hottest may pass itself."""
    warm = -(-HEAT_LEVELS * timedelta(hours=hours) // hottest) if hottest else 0
    return min(warm, HEAT_LEVELS)


@bp.get("/use")
def show_use() -> Response:
    """Show hours, share of opening hours, most at once and idle computers, and a heat map."""
    asked, problems, usage = UseQuery(), {}, None
    try:
        asked = read_query(UseQuery)
        check_by(current_scope(), asked.by)
        usage = Usage(current_scope(), asked.by, "month", zone_of(current_app))
        if len(usage.computers) <= MOST_COMPUTERS:
            usage.measure(None, SESSION, asked.from_date, asked.to_date, utcnow())
    except InvalidParams as error:
        problems = error.errors
    page = "session_activity/use.html"
    hottest = max(usage.by_hour.values(), default=timedelta()) if usage else timedelta()
    return render(
        page,
        page,
        status=422 if problems else 200,
        typed=asked.model_dump(mode="json") | request.args.to_dict(),
        errors=problems,
        usage=usage,
        is_large=usage is not None and len(usage.computers) > MOST_COMPUTERS,
        heat=partial(_heat_level, hottest=hottest),
        local=lambda text: local_text(datetime.fromisoformat(text)),
        zone=zone_of(current_app).key,
    )
