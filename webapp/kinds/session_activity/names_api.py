"""Logins and computers by name, and corrections of hours, for programs: see `api.py`."""

from __future__ import annotations

from datetime import datetime

from flask import Response, jsonify

from webapp.accounts import current_scope, require
from webapp.kinds.session_activity import bodies
from webapp.kinds.session_activity.answers import Corrections, Held, Names, Said
from webapp.kinds.session_activity.api import describe, telling
from webapp.kinds.session_activity.corrections import correct, list_corrections, take_back
from webapp.kinds.session_activity.models import Computer, Login
from webapp.kinds.session_activity.names import Table, change_name, list_names
from webapp.kinds.session_activity.privacy import erase, held, wanted_logins
from webapp.lib.bodies import read_query, read_value
from webapp.lib.moments import rfc3339

__all__ = ["telling"]


@telling.get("/users")
@describe("List logins", query=bodies.NamesQuery, answer=Names, errors=(400,))
def list_users() -> Response:
    """List logins by name."""
    return _names(Login)


@telling.get("/computers")
@describe("List computers", query=bodies.NamesQuery, answer=Names, errors=(400,))
def list_computers() -> Response:
    """List computers by name."""
    return _names(Computer)


def _names(table: Table) -> Response:
    asked = read_query(bodies.NamesQuery)
    rows, more = list_names(table, current_scope(), asked.search, asked.after, asked.limit)
    data = [
        {"Name": name, **row, "last_seen": seen and rfc3339(seen)}
        for row in rows
        for name, seen in [(row.pop("name"), row.pop("last_seen"))]
    ]
    after = data[-1]["Name"] if more else None
    return jsonify({"message": "Success", "data": data, "next": after})


@telling.delete("/users")
@require("admin")
@describe("Erase a login", query=bodies.LoginQuery, answer=Said, errors=(404,))
def erase_user() -> Response:
    """Erase the names of a login; its hours are kept without a name."""
    scope = current_scope()
    erase(scope.company_id, read_query(bodies.LoginQuery).login, scope)
    return jsonify({"message": "Success"})


@telling.get("/held")
@describe("All data stored about a login", query=bodies.LoginOrAllQuery, answer=Held, errors=(404,))
def show_held() -> Response:
    """Give all rows about a login, or about each of the caller's own."""
    asked = read_query(bodies.LoginOrAllQuery)
    data = [held(login) for login in wanted_logins(current_scope(), asked.login)]
    return jsonify({"message": "Success", "data": data})


@telling.patch("/users")
@require("expert")
@describe(
    "Rename, merge or switch off a login, say whose account it is",
    body=bodies.AccountChange,
    answer=Said,
    errors=(404, 409),
)
def change_user() -> Response:
    """Rename a login, merge it into another one, or switch it off or on."""
    return _change(Login, bodies.AccountChange)


@telling.patch("/computers")
@require("expert")
@describe(
    "Rename, merge or switch off a computer, set its room, correct its clock",
    body=bodies.ComputerChange,
    answer=Said,
    errors=(404, 409),
)
def change_computer() -> Response:
    """Rename a computer, merge it into another one, switch it, or set its room or its clock."""
    return _change(Computer, bodies.ComputerChange)


def _change(table: Table, model: type[bodies.LoginChange]) -> Response:
    wanted = read_value(model, bodies.read_sent())
    change_name(current_scope(), table, wanted.name, wanted.changes)
    return jsonify({"message": "Success"})


@telling.post("/corrections")
@require("expert")
@describe(
    "Correct or remove a stretch of a login's time",
    body=bodies.NewCorrection,
    answer=Said,
    status=201,
)
def add_correction() -> tuple[Response, int]:
    """Let a stretch not count, or another one in its place; what was sent is not changed."""
    number = correct(current_scope(), read_value(bodies.NewCorrection, bodies.read_sent()))
    return jsonify({"message": "Created", "data": {"id": number}}), 201


@telling.get("/corrections")
@describe("List corrections", query=bodies.LoginOrAllQuery, answer=Corrections)
def index_corrections() -> Response:
    """List corrections, those that were taken back too, the newest first."""
    asked = read_query(bodies.LoginOrAllQuery)
    data = [
        {
            name: rfc3339(value) if isinstance(value, datetime) else value
            for name, value in row._mapping.items()
        }
        for row in list_corrections(current_scope(), asked.login)
    ]
    return jsonify({"message": "Success", "data": data})


@telling.delete("/corrections/<int:number>")
@require("expert")
@describe("Take a correction back", answer=Said, errors=(404,))
def delete_correction(number: int) -> Response:
    """Let a correction count no more; it stays in the history."""
    take_back(current_scope(), number)
    return jsonify({"message": "Success"})
