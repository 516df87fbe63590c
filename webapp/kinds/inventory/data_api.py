"""`/api/v1/inventory/…`: periods, units and entries, taken in by admins and read by all members."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar

from flask import Blueprint, Response, jsonify, url_for
from pydantic import ValidationError

from webapp.accounts import audit, current_scope, require, restrict
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.kinds.inventory import entries, places
from webapp.kinds.inventory.bodies import (
    EntryQuery,
    EntryRows,
    NewEntries,
    NewPeriods,
    NewUnits,
    PeriodIn,
    PeriodRow,
    PeriodRows,
    SettingsBody,
    Stored,
    UnitIn,
    UnitRow,
    UnitRows,
    snake_keys,
    wrong_in,
)
from webapp.lib.bodies import answer_json, json_body, read_json, read_query
from webapp.lib.keyset import cut
from webapp.lib.openapi import Describer

MOST_PER_REQUEST = 10_000
Body = TypeVar("Body", PeriodIn, UnitIn)

describe = Describer("Inventory")

bp = Blueprint("inventory_data", __name__, url_prefix="/api/v1/inventory")
restrict(bp)


def _list(name: str) -> list[Any]:
    """Return the list of the body, bare or under its name, numbers as Decimal."""
    body = json_body(parse_float=Decimal)
    found = body.get(name) if isinstance(body, dict) else body
    if not isinstance(found, list):
        raise InvalidParams({name: f'Send a list, or {{"{name}": […]}}.'})
    if len(found) > MOST_PER_REQUEST:
        raise InvalidParams({name: f"Send at most {MOST_PER_REQUEST:,} at a time."})
    return found


def _read(name: str, model: type[Body]) -> list[Body]:
    found: list[Body] = []
    errors: dict[str, str] = {}
    for place, body in enumerate(_list(name)):
        try:
            found.append(model.model_validate(snake_keys(body)))
        except ValidationError as error:
            errors |= {
                f"{name}.{place}.{key}": value for key, value in wrong_in(error, model).items()
            }
    ids = [one.id for one in found if one.id]
    if len(set(ids)) < len(ids):
        errors.setdefault(name, "An ID is given twice.")
    if errors:
        raise InvalidParams(errors)
    return found


@bp.get("/periods")
@describe("The company's periods, newest first", answer=PeriodRows)
def index_periods() -> Response:
    """Give the company's periods, the newest first."""
    periods = places.list_periods(current_scope().company_id)
    return answer_json(PeriodRows(periods=[PeriodRow.model_validate(one) for one in periods]))


@bp.post("/periods")
@describe(
    "Store periods by their id, all or none",
    body=NewPeriods,
    answer=PeriodRows,
    errors=(409, 422),
)
@require("admin")
def put_periods() -> Response:
    """Make periods or change those whose id is known; `is_locked` keeps entries as they are."""
    scope = current_scope()
    found = places.put_periods(scope.company_id, _read("periods", PeriodIn))
    audit(scope, "stored periods", ", ".join(one.short_name for one in found))
    db.session.commit()
    return answer_json(PeriodRows(periods=[PeriodRow.model_validate(one) for one in found]))


@bp.get("/settings")
@describe("What the company's statements say beside their figures", answer=SettingsBody)
def show_settings() -> Response:
    """Give what the company's statements say beside their figures."""
    return answer_json(places.settings_of(db.session, current_scope().company_id))


@bp.put("/settings")
@describe("Replace what statements say", body=SettingsBody, answer=SettingsBody, errors=(403, 422))
@require("admin")
def put_settings() -> Response:
    """Replace what the company's statements say; what is left out is empty."""
    scope, body = current_scope(), read_json(SettingsBody)
    places.put_settings(scope.company_id, body)
    audit(scope, "changed inventory settings", "")
    db.session.commit()
    return answer_json(body)


@bp.get("/units")
@describe("The company's units, parents before children", answer=UnitRows)
def index_units() -> Response:
    """Give the company's units, parents before children."""
    tree = places.read_tree(current_scope().company_id)
    return answer_json(UnitRows(units=[UnitRow.model_validate(unit) for unit, _ in tree.walk()]))


@bp.post("/units")
@describe("Store units by their id, all or none", body=NewUnits, answer=UnitRows, errors=(409, 422))
@require("admin")
def put_units() -> Response:
    """Make units or change those whose id is known; without a parent: below the root."""
    scope = current_scope()
    found = places.put_units(scope.company_id, _read("units", UnitIn))
    audit(scope, "stored units", ", ".join(one.name for one in found))
    db.session.commit()
    tree = places.read_tree(scope.company_id)
    changed = [tree.by_key[one.key] for one in found]
    return answer_json(UnitRows(units=[UnitRow.model_validate(unit) for unit in changed]))


@bp.get("/entries")
@describe("Entries by id", query=EntryQuery, answer=EntryRows, errors=(404, 422))
def index_entries() -> Response:
    """Give entries by id, a page at a time; `Link` names the next page."""
    company_id = current_scope().company_id
    query = read_query(EntryQuery)
    period = places.find_period(company_id, query.period_id) if query.period_id else None
    found = entries.read_entries(company_id, period=period, after=query.after, limit=query.limit)
    shown, more = cut(found, query.limit)
    for entry in shown:
        for name, value in entry.items():
            if isinstance(value, Decimal):
                entry[name] = int(value) if value == value.to_integral_value() else float(value)
    response = jsonify(entries=shown)
    if more:
        following = {"after": shown[-1]["id"], "limit": query.limit}
        if period:
            following["period_id"] = period.id
        response.headers["Link"] = f'<{url_for(".index_entries", **following)}>; rel="next"'
    return response


@bp.post("/entries")
@describe(
    "Store entries by their id, all or none", body=NewEntries, answer=Stored, errors=(409, 422)
)
@require("admin")
def put_entries() -> Response:
    """Store entries by their id, all or none; the same list again changes nothing."""
    scope = current_scope()
    rows = entries.check_all(scope.company_id, _list("entries"))
    counted = entries.store(scope.company_id, rows)
    audit(scope, "stored entries", f"{len(rows)} by a program")
    db.session.commit()
    return jsonify(counted)


@bp.delete("/entries/<entry_id>")
@describe("Delete an entry", status=204, errors=(403, 404, 409))
@require("admin")
def delete_entry(entry_id: str) -> Response:
    """Delete an entry."""
    scope = current_scope()
    entries.delete_entry(scope.company_id, entry_id)
    audit(scope, "deleted entry", entry_id)
    db.session.commit()
    return Response(status=204)
