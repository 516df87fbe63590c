"""The six requests of the session manager, in its own envelope `{"message", "data"}`.

Two blueprints under one prefix: `taking` takes data in and lets keys pass that may only send;
`telling` reads, and is closed to them.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, request

from webapp.accounts import authenticate_ingest_key, current_scope, restrict, sender_scope
from webapp.error_pages import Problem, envelope
from webapp.errors import InvalidParams, NotAllowed, NotFound
from webapp.extensions import db
from webapp.json_wire import read_json
from webapp.kinds.session_activity import bodies
from webapp.kinds.session_activity.compute import Hours, by_month, day_of, in_hours, total
from webapp.kinds.session_activity.directory import add_names, find_login
from webapp.kinds.session_activity.history import login_days
from webapp.kinds.session_activity.ingest import SentPing, Verdict, intake, zone_of
from webapp.kinds.session_activity.models import COMPUTER_LENGTH, LOGIN_LENGTH, Computer, Login
from webapp.kinds.session_activity.moments import read_day
from webapp.kinds.session_activity.sessions import SessionTaken, begin, described, online
from webapp.lib.moments import utcnow

PREFIX = "/api/session-manager"
CREATED = b'{"message":"Created"}\n'
taking = Blueprint("session_activity_taking", __name__, url_prefix=PREFIX)
telling = restrict(Blueprint("session_activity_telling", __name__, url_prefix=PREFIX))


def _problem(problem: Problem) -> Response:
    # The service whose addresses these are answers 400 to every value it cannot use.
    status = 400 if problem.status == 422 else problem.status
    data: Any = {"errors": problem.errors} if problem.errors else []
    response = jsonify({"message": problem.detail, "data": data})
    response.status_code = status
    return response


envelope(PREFIX + "/", _problem)


@taking.before_request
def close_taking() -> None:
    """Let experts' programs in, with keys that may only send too."""
    scope = authenticate_ingest_key() or sender_scope()
    if not scope.may("expert"):
        raise NotAllowed("Sending pings needs the role expert.")
    g.session_activity_company_id = scope.company_id
    # The connection that looked the key up goes back: whoever writes needs one of the pool.
    db.session.remove()


@taking.errorhandler(SessionTaken)
def session_taken(error: SessionTaken) -> tuple[Response, int]:
    """Answer a conflict with the session that is in the way."""
    return jsonify({"message": error.message, "data": error.data}), error.status


@taking.post("/users")
def add_users() -> tuple[Response, int]:
    """Store logins; known ones are no error."""
    return _add(Login, LOGIN_LENGTH)


@taking.post("/computers")
def add_computers() -> tuple[Response, int]:
    """Store computers; known ones are no error."""
    return _add(Computer, COMPUTER_LENGTH)


def _add(table: type[Login] | type[Computer], longest: int) -> tuple[Response, int]:
    names = bodies.read_names(read_json(request.get_data()), longest)
    company_id = _company_id()
    add_names(table, company_id, names)
    return _created()


@taking.post("/session")
def begin_session() -> tuple[Response, int]:
    """Begin a session: 201; 200 where the very same was begun before."""
    sent = bodies.read_session(read_json(request.get_data()), _company_id(), utcnow())
    if begin(db.engine, sent, intake()):
        return _created()
    return jsonify({"message": "Success"}), 200


@taking.post("/activity")
def take_pings() -> tuple[Response, int]:
    """Take a ping, or a list of them with a verdict for each: 201 all taken, 207 not all."""
    body = read_json(request.get_data())
    company_id, now = _company_id(), utcnow()
    if isinstance(body, list):
        return _take_list(bodies.items(body), company_id)
    [verdict] = intake().take(db.engine, [bodies.read_ping(body, company_id, now)])
    if verdict.status == 201:
        return _created()
    return jsonify({"message": verdict.message, "data": []}), verdict.status


def _take_list(items: list[Any], company_id: str) -> tuple[Response, int]:
    now = utcnow()
    pings: dict[int, SentPing] = {}
    verdicts: dict[int, Verdict] = {}
    for number, item in enumerate(items):
        try:
            pings[number] = bodies.read_ping(item, company_id, now)
        except InvalidParams as error:
            verdicts[number] = Verdict(400, error.message)
    taken = intake().take(db.engine, list(pings.values()))
    verdicts |= dict(zip(pings, taken, strict=True))
    data = [
        {
            "index": number,
            "session_id": pings[number].session_id if number in pings else None,
            "status": verdicts[number].status,
            "message": verdicts[number].message,
        }
        for number in range(len(items))
    ]
    if all(verdict.status == 201 for verdict in verdicts.values()):
        return jsonify({"message": "Created", "data": data}), 201
    return jsonify({"message": "Some pings were not taken.", "data": data}), 207


def _company_id() -> str:
    """Return the sender's company."""
    company_id: str = g.session_activity_company_id
    return company_id


def _created() -> tuple[Response, int]:
    # Said hundreds of times a second, so it is not put into words anew each time.
    return Response(CREATED, mimetype="application/json"), 201


@telling.get("/dashboard")
def show_dashboard() -> Response:
    """List the sessions whose end has not passed."""
    rows = online(db.session, current_scope().company_id, utcnow())
    return jsonify({"message": "Success", "data": [described(row) for row in rows]})


@telling.get("/activity")
def show_activity() -> Response:
    """Give the hours of a login by month, newest first, or by date, oldest first."""
    query = {name.lower(): value for name, value in request.args.items()}
    zone = zone_of(current_app)
    group, first, last = read_query(query, day_of(utcnow(), zone))
    login = find_login(current_scope().company_id, query["login"].strip())
    if login is None:
        raise NotFound(f"There is no login {query['login'].strip()!r}.")
    event = query.get("session_type", "").strip()
    days = login_days(db.session, login, event, first, last, zone)
    whole = total(days.values())
    data = {
        "id": login.name,
        "login": login.name,
        "total_hours": in_hours(whole.person, 2),
        "total_machine_hours": in_hours(whole.machine, 2),
        "user_activity": _by_date(days) if group == "date" else _by_month(days),
    }
    return jsonify({"message": "Success", "data": data})


def read_query(query: dict[str, str], today: date) -> tuple[str, date, date]:
    """Return how to group, and the first and last day asked for; today where none is named.

    Raises: InvalidParams with a sentence per parameter
    """
    errors: dict[str, str] = {}
    if not query.get("login", "").strip():
        errors["login"] = "login is needed."
    group = query.get("group_by", "").strip() or "date"
    if group not in {"month", "date"}:
        errors["group_by"] = "group_by must be month or date."
    days: dict[str, date] = {}
    for name in ("from_date", "to_date"):
        try:
            if query.get(name, "").strip():
                days[name] = read_day(query[name])
        except ValueError as error:
            errors[name] = str(error)
    last = days.get("to_date", today)
    first = days.get("from_date", min(today, last))
    if not errors and last < first:
        if "to_date" in days:
            errors["to_date"] = "to_date is before from_date."
        else:
            errors["from_date"] = "from_date is after today; name a to_date too."
    if errors:
        raise InvalidParams(errors)
    return group, first, last


def _by_month(days: dict[date, Hours]) -> list[dict[str, Any]]:
    return [
        {"year": str(month.year), "month_num": str(month.month), **_hours(hours)}
        for month, hours in reversed(by_month(days).items())
    ]


def _by_date(days: dict[date, Hours]) -> list[dict[str, Any]]:
    return [
        {"date": f"{day.isoformat()}T00:00:00Z", **_hours(hours)} for day, hours in days.items()
    ]


def _hours(hours: Hours) -> dict[str, float]:
    return {"hours": in_hours(hours.person), "machine_hours": in_hours(hours.machine)}
