"""`/api/v1/inventory/…`: periods, units and entries, taken in by admins and read by all members."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import BaseModel, ValidationError

from webapp.accounts import audit, current_scope, require, restrict
from webapp.engine.params import sentences
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.json_wire import json_body
from webapp.kinds.inventory import entries, places
from webapp.kinds.inventory.bodies import PeriodIn, UnitIn, snake_keys
from webapp.kinds.inventory.models import Period, Unit
from webapp.lib.keyset import cut
from webapp.lib.texts import storable

PREFIX = "/api/v1/inventory"
MOST_PER_REQUEST = 10_000
PER_PAGE, MOST_PER_PAGE = 100, 1000
Body = TypeVar("Body", bound=BaseModel)

bp = Blueprint("inventory_data", __name__, url_prefix=PREFIX)
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
            errors |= {f"{name}.{place}.{key}": value for key, value in sentences(error).items()}
    ids = [str(one.id) for one in found if one.id]  # type: ignore[attr-defined]
    if len(set(ids)) < len(ids):
        errors.setdefault(name, "An id stands there twice.")
    if errors:
        raise InvalidParams(errors)
    return found


@bp.get("/periods")
def index_periods() -> Response:
    """Give the company's periods, the newest first."""
    periods = places.list_periods(current_scope().company_id)
    return jsonify(periods=[_period(one) for one in periods])


@bp.post("/periods")
@require("admin")
def put_periods() -> Response:
    """Make periods or change those whose id is known; `is_locked` keeps entries as they are."""
    scope, bodies = current_scope(), _read("periods", PeriodIn)
    for place, body in enumerate(bodies):
        if body.end_date < body.start_date:
            raise InvalidParams({f"periods.{place}.end_date": "The end is before the start."})
    try:
        found = places.put_periods(scope.company_id, bodies)
    except InvalidParams as error:
        raise _named("periods", error) from None
    audit(scope, "stored periods", ", ".join(one.short_name for one in found))
    db.session.commit()
    return jsonify(periods=[_period(one) for one in found])


@bp.get("/units")
def index_units() -> Response:
    """Give the company's units, parents before children."""
    tree = places.read_tree(current_scope().company_id)
    return jsonify(units=[_unit(unit, tree) for unit, _ in tree.walk()])


@bp.post("/units")
@require("admin")
def put_units() -> Response:
    """Make units or change those whose id is known; without a parent: below the root."""
    scope, bodies = current_scope(), _read("units", UnitIn)
    try:
        found = places.put_units(scope.company_id, bodies)
    except InvalidParams as error:
        raise _named("units", error) from None
    audit(scope, "stored units", ", ".join(one.name for one in found))
    db.session.commit()
    tree = places.read_tree(scope.company_id)
    return jsonify(units=[_unit(tree.by_key[one.key], tree) for one in found])


def _named(name: str, error: InvalidParams) -> InvalidParams:
    return InvalidParams({f"{name}.{key}": value for key, value in error.errors.items()})


@bp.get("/entries")
def index_entries() -> Response:
    """Give entries by id, a page at a time; `Link` names the next page."""
    company_id = current_scope().company_id
    wanted = request.args.get("period_id")
    period = places.find_period(company_id, wanted) if wanted else None
    limit = _limit()
    after = request.args.get("after") or None
    if after and not storable(after):
        raise InvalidParams({"after": "This is not an id."})
    found = entries.list_entries(company_id, period=period, after=after, limit=limit)
    shown, more = cut(found, limit)
    response = jsonify(entries=shown)
    if more:
        following = {"after": shown[-1]["id"], "limit": limit}
        if period:
            following["period_id"] = period.id
        response.headers["Link"] = f'<{url_for(".index_entries", **following)}>; rel="next"'
    return response


def _limit() -> int:
    asked = request.args.get("limit", str(PER_PAGE))
    if not (asked.isascii() and asked.isdigit() and 1 <= int(asked[:9]) <= MOST_PER_PAGE):
        raise InvalidParams({"limit": f"Write a whole number from 1 to {MOST_PER_PAGE:,}."})
    return int(asked)


@bp.post("/entries")
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
@require("admin")
def delete_entry(entry_id: str) -> Response:
    """Delete an entry."""
    scope = current_scope()
    entries.delete_entry(scope.company_id, entry_id)
    audit(scope, "deleted entry", entry_id)
    db.session.commit()
    return Response(status=204)


def _period(period: Period) -> dict[str, Any]:
    return {
        "id": period.id,
        "short_name": period.short_name,
        "description": period.description,
        "start_date": period.start_date.isoformat(),
        "end_date": period.end_date.isoformat(),
        "is_locked": period.is_locked,
    }


def _unit(unit: Unit, tree: places.Tree) -> dict[str, Any]:
    parent = tree.by_key.get(unit.parent_key or 0)
    return {
        "id": unit.id,
        "name": unit.name,
        "position": unit.position,
        "parent_id": parent.id if parent else None,
    }
