"""The six requests of the session manager, in its own envelope `{"message", "data"}`.

Two blueprints under one prefix: `taking` takes data in and lets keys pass that may only send;
`telling` reads, and is closed to them.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from flask import Blueprint, Response, current_app, g, jsonify
from pydantic import Field

from webapp.accounts import authenticate_ingest_key, current_scope, restrict, sender_scope
from webapp.error_pages import ErrorAnswer, envelope
from webapp.errors import InvalidParams, NotAllowed, NotFound
from webapp.extensions import db
from webapp.kinds.session_activity import bodies
from webapp.kinds.session_activity.aggregate import SESSION, Ping
from webapp.kinds.session_activity.answers import Dashboard, LoginActivity, PingVerdicts, Said
from webapp.kinds.session_activity.bodies import (
    HoursQuery,
    NewComputer,
    NewLogin,
    PingBody,
    SessionStart,
)
from webapp.kinds.session_activity.compute import Hours, by_period, corrected, day_of, in_hours
from webapp.kinds.session_activity.facts import login_days
from webapp.kinds.session_activity.ingest import Verdict, intake, zone_of
from webapp.kinds.session_activity.models import Computer, Login
from webapp.kinds.session_activity.names import (
    Table,
    add_names,
    find_login,
)
from webapp.kinds.session_activity.sessions import SessionTaken, begin, described, online
from webapp.lib.bodies import read_query, read_value
from webapp.lib.moments import utcnow
from webapp.lib.openapi import JSON, AnswerSpec, Describer

PREFIX = "/api/session-manager"
# What a database's whole numbers hold: a clock may be off by centuries.
LONGEST_LAG_S = 2**31 - 1
CREATED = b'{"message":"Created"}\n'
taking = Blueprint("session_activity_taking", __name__, url_prefix=PREFIX)
telling = restrict(Blueprint("session_activity_telling", __name__, url_prefix=PREFIX))
describe = Describer("Session activity", Said, JSON)


def _problem(problem: ErrorAnswer) -> Response:
    # The service whose addresses these are answers 400 to every value it cannot use.
    status = 400 if problem.status == 422 else problem.status
    data: Any = {"errors": problem.errors} if problem.errors else []
    message = bodies.in_words(problem.errors) if problem.errors else problem.detail
    response = jsonify({"message": message, "data": data})
    response.status_code = status
    return response


envelope(PREFIX + "/", _problem)


@taking.before_request
def close_taking() -> None:
    """Let experts' programs in, with keys that may only send too."""
    scope = authenticate_ingest_key() or sender_scope()
    if not scope.may("expert"):
        raise NotAllowed("Sending pings needs the role expert.")
    g.session_activity_scope = scope
    # The connection that looked the key up goes back: whoever writes needs one of the pool.
    db.session.remove()


@taking.errorhandler(SessionTaken)
def session_taken(error: SessionTaken) -> tuple[Response, int]:
    """Answer a conflict with the session that is in the way, as far as the sender may see it."""
    if find_login(g.session_activity_scope, error.data["login"]) is None:
        sentence = "This login is online elsewhere, or another session has this id already."
        return jsonify({"message": sentence, "data": {}}), error.status
    return jsonify({"message": error.message, "data": error.data}), error.status


@taking.post("/users")
@describe("Store logins", body=list[NewLogin], answer=Said, status=201)
def add_users() -> tuple[Response, int]:
    """Store logins; known ones are no error."""
    return _add(Login, NewLogin)


@taking.post("/computers")
@describe("Store computers", body=list[NewComputer], answer=Said, status=201)
def add_computers() -> tuple[Response, int]:
    """Store computers; known ones are no error."""
    return _add(Computer, NewComputer)


def _add(table: Table, model: type[NewLogin] | type[NewComputer]) -> tuple[Response, int]:
    named, bad = bodies.read_items(model, bodies.read_sent())
    if bad:
        raise InvalidParams(
            {
                f"{place}.{field.lower()}": sentence
                for place, error in bad.items()
                for field, sentence in error.errors.items()
            }
        )
    add_names(table, _company_id(), [one.name for one in named.values()])
    return _created()


@taking.post("/session")
@describe(
    "Begin a session",
    body=SessionStart,
    answer=Said,
    status=201,
    also={200: AnswerSpec("It was begun before.", {JSON: Said})},
    errors=(409,),
)
def begin_session() -> tuple[Response, int]:
    """Begin a session: 201; 200 where the very same was begun before."""
    start = read_value(SessionStart, bodies.read_sent())
    first = _ping(start, start.id, SESSION, utcnow())
    if begin(db.engine, first, start.comp_name, start.ip_addr, intake()):
        return _created()
    return jsonify({"message": "Success"}), 200


@taking.post("/activity")
@describe(
    "Take a ping, or a list of them with a verdict for each",
    body=PingBody | Annotated[list[PingBody], Field(max_length=bodies.MOST_ITEMS)],
    answer=PingVerdicts,
    status=201,
    also={207: AnswerSpec("Some pings were not accepted.", {JSON: PingVerdicts})},
    errors=(404,),
)
def take_pings() -> tuple[Response, int]:
    """Take a ping, or a list of them with a verdict for each: 201 all taken, 207 not all."""
    body = bodies.read_sent()
    if isinstance(body, list):
        return _take_list(body)
    g.is_routine = True
    ping = read_value(PingBody, body)
    sent = _ping(ping, ping.session_id, ping.session_type, utcnow())
    [verdict] = intake().take(db.engine, [sent])
    if verdict.status == 201:
        return _created()
    return jsonify({"message": verdict.message, "data": []}), verdict.status


def _ping(
    body: PingBody | SessionStart,
    session_id: str,
    event: str,
    now: datetime,
    *,
    is_single: bool = True,
) -> Ping:
    """Return a ping that has come in now, or the start of a session, which is its first one.

    The lag of a sender that tells its clock is that of a late ping, and says nothing of the clock.
    """
    said = body.date_time or now
    ping = Ping(_company_id(), session_id, event, body.login, said, body.next_ping_sec, now)
    if body.date_time and body.sent_at:
        ping.at = corrected(said, body.sent_at, now)
        ping.said_at = said if said != ping.at else None
    elif body.date_time and is_single:
        lag_s = int((now - said).total_seconds())
        ping.lag_s = max(-LONGEST_LAG_S, min(lag_s, LONGEST_LAG_S))
    return ping


def _take_list(body: list[Any]) -> tuple[Response, int]:
    now = utcnow()
    pings, bad = bodies.read_items(PingBody, body)
    verdicts = {place: Verdict(400, bodies.in_words(error.errors)) for place, error in bad.items()}
    # A list of one is what a program sends that only knows lists.
    is_single = len(body) == 1
    sent = [
        _ping(ping, ping.session_id, ping.session_type, now, is_single=is_single)
        for ping in pings.values()
    ]
    taken = intake().take(db.engine, sent)
    verdicts |= dict(zip(pings, taken, strict=True))
    data = [
        {
            "index": place,
            "session_id": pings[place].session_id if place in pings else None,
            "status": verdict.status,
            "message": verdict.message,
        }
        for place, verdict in sorted(verdicts.items())
    ]
    if all(verdict.status == 201 for verdict in verdicts.values()):
        return jsonify({"message": "Created", "data": data}), 201
    return jsonify({"message": "Some pings were not accepted.", "data": data}), 207


def _company_id() -> str:
    """Return the sender's company."""
    company_id: str = g.session_activity_scope.company_id
    return company_id


def _created() -> tuple[Response, int]:
    # Said hundreds of times a second, so it is not put into words anew each time.
    return Response(CREATED, mimetype="application/json"), 201


@telling.get("/dashboard")
@describe("Who is online", answer=Dashboard)
def show_dashboard() -> Response:
    """List the sessions whose end has not passed."""
    rows = online(db.session, current_scope(), utcnow())
    return jsonify({"message": "Success", "data": [described(row) for row in rows]})


@telling.get("/activity")
@describe(
    "Hours of a login by month, week or date",
    query=HoursQuery,
    answer=LoginActivity,
    errors=(400, 404),
)
def show_activity() -> Response:
    """Give the hours of a login by month or week, newest first, or by date, oldest first."""
    asked, zone = read_query(HoursQuery), zone_of(current_app)
    first, last = asked.days(day_of(utcnow(), zone))
    login = find_login(current_scope(), asked.login)
    if login is None:
        raise NotFound(f"There is no login {asked.login!r}.")
    days = login_days(login, asked.session_type, first, last, zone)
    whole = sum(days.values(), Hours())
    grouped = by_period(days, asked.group_by)
    if asked.group_by != "date":
        # Months and weeks the newest first.
        grouped = dict(reversed(grouped.items()))
    periods = [_period(period, asked.group_by) | _hours(one) for period, one in grouped.items()]
    data = {
        "id": login.name,
        "login": login.name,
        "total_hours": in_hours(whole.person, 2),
        "total_machine_hours": in_hours(whole.machine, 2),
        "user_activity": periods,
    }
    return jsonify({"message": "Success", "data": data})


def _period(period: date, group_by: str) -> dict[str, Any]:
    if group_by == "date":
        return {"date": f"{period.isoformat()}T00:00:00Z"}
    if group_by == "week":
        year, week, _ = period.isocalendar()
        return {"year": str(year), "week_num": str(week)}
    return {"year": str(period.year), "month_num": str(period.month)}


def _hours(hours: Hours) -> dict[str, float]:
    return {"hours": in_hours(hours.person), "machine_hours": in_hours(hours.machine)}
