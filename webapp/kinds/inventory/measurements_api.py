"""Entries as the flow's client makes and changes them; it calls them measurements.

A factor is found by keyword, attribute and unit among the company's own; without one the entry
waits for it, and counts as nothing until then.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

from flask import Blueprint, Response, jsonify
from pydantic import Field

from webapp.accounts import audit, current_scope, require, restrict
from webapp.errors import InvalidParams, NotFound, NotOffered
from webapp.extensions import db
from webapp.kinds.inventory import entries
from webapp.kinds.inventory.answers import Formula, FormulaTermValue
from webapp.kinds.inventory.bodies import Day, Flow, Note, Number
from webapp.kinds.inventory.compute import NO_FACTOR
from webapp.kinds.inventory.factors_api import factor_named, find_factor, source_of
from webapp.kinds.inventory.models import Factor
from webapp.kinds.inventory.standards import ACTIVITIES, Activity
from webapp.lib.bodies import Id, Text, answer_json, read_json
from webapp.lib.openapi import Describer

MEASUREMENTS = "/api/v1.0/measurements"

bp = Blueprint("inventory_measurements", __name__)
restrict(bp)
describe = Describer("Inventory")


class MeasurementIn(Flow):
    """An entry as the client sends it; its factor is found by keyword, attribute and unit."""

    description: Note | None = None
    keyword: Note | None = None
    attribute: Note | None = None
    consumption: Number | None = None
    unit: Annotated[Text, Field(max_length=50)] | None = None
    activity_category_id: UUID | None = None
    reporting_period_id: UUID
    organizational_unit_id: UUID
    traded_from_organizational_unit_id: UUID | None = None
    start_date: Day
    end_date: Day
    emission_factor_id: UUID | None = None


class Measurement(Flow):
    """An entry as the client reads it; emissions are null until there is a factor."""

    id: Id
    description: str | None
    input_type: None = None
    keyword: str | None
    attribute: str | None
    activity_category_id: Id | None
    reporting_period_id: Id
    organizational_unit_id: Id
    traded_from_organizational_unit_id: None = None
    date_granularity: str = "DAY"
    show_as_range: bool = False
    start_date: str
    end_date: str
    dataset_id: Id | None
    dataset_version_id: None = None
    emission_factor_id: Id | None
    volume: float
    unit: str
    emissions: float | None


class FormulaTermValueIn(Flow):
    """The quantity of an entry."""

    value: Number


def _activity(activity_category_id: UUID | None) -> Activity:
    for one in ACTIVITIES:
        if one.id == str(activity_category_id):
            return one
    raise InvalidParams({"activityCategoryId": "Choose one of the tree of activities."})


def _known(entry_id: str) -> dict[str, Any]:
    """Return an entry; an ID that was made of a row is 32 digits, and the client's a UUID."""
    company_id, bare = current_scope().company_id, entry_id.replace("-", "")
    try:
        return entries.find_entry(company_id, entry_id)
    except NotFound:
        if bare == entry_id:
            raise
        return entries.find_entry(company_id, bare)


def _measurement(entry_id: str) -> Measurement:
    """Return an entry as the client reads it."""
    company_id = current_scope().company_id
    entry = _known(entry_id)
    source = str(entry["factor_source"])
    keyword, _, attribute = source.removeprefix(NO_FACTOR).partition(" / ")
    factor = factor_named(company_id, keyword, attribute, entry["unit_of_measure"])
    known = [
        one
        for one in ACTIVITIES
        if (one.scope, one.category) == (entry["scope"], entry["category"])
    ]
    has_factor = not source.startswith(NO_FACTOR)
    return Measurement(
        **{name: entry[name] for name in ("id", "description", "start_date", "end_date")},
        keyword=keyword or None,
        attribute=attribute or None,
        activity_category_id=known[0].id if known else None,
        reporting_period_id=entry["period_id"],
        organizational_unit_id=entry["unit_id"],
        dataset_id=company_id if factor else None,
        emission_factor_id=factor.id if factor else None,
        volume=float(entry["quantity"]),
        unit=entry["unit_of_measure"],
        emissions=float(entry["emissions"]) if has_factor else None,
    )


def _store(entry: dict[str, Any]) -> Response:
    """Store an entry as a program would send it, and answer it."""
    scope = current_scope()
    try:
        rows = entries.check_all(scope.company_id, [entry])
    except InvalidParams as error:
        bare = {key.removeprefix("entries.0."): one for key, one in error.errors.items()}
        raise InvalidParams(bare) from None
    entries.store(scope.company_id, rows)
    audit(scope, "stored entries", f"{entry['id']} by a client")
    db.session.commit()
    return answer_json(_measurement(entry["id"]))


def _entry_of(body: MeasurementIn, before: dict[str, Any]) -> dict[str, Any]:
    """Return the entry a measurement is; what it does not say stays as it was before."""
    company_id = current_scope().company_id
    if body.traded_from_organizational_unit_id:
        raise NotOffered("Trades between units are not kept; leave tradedFrom… empty.")
    entry = {name: value for name, value in before.items() if name != "emissions"}
    if body.activity_category_id or not before.get("category"):
        activity = _activity(body.activity_category_id)
        entry |= {"scope": activity.scope, "category": activity.category}
    unit = body.unit or before.get("unit_of_measure") or ""
    keyword, attribute = body.keyword or "", body.attribute or ""
    factor: Factor | None
    if body.emission_factor_id:
        factor = found = find_factor(str(body.emission_factor_id))
        keyword, attribute, unit = found.keyword, found.attribute, found.unit
    else:
        factor = factor_named(company_id, keyword, attribute, unit)
    named = source_of(keyword, attribute)
    if factor is not None and factor.value is not None:
        entry |= {"emission_factor": factor.value, "factor_source": named}
    elif named != before.get("factor_source") or unit != before.get("unit_of_measure"):
        # A factor that came with the entry's file stays while the entry names it.
        entry |= {"emission_factor": 0, "factor_source": f"{NO_FACTOR}{named}"}
    if body.consumption is not None or "quantity" not in entry:
        entry["quantity"] = body.consumption or 0
    return entry | {
        "period_id": str(body.reporting_period_id),
        "unit_id": str(body.organizational_unit_id),
        "description": body.description or "",
        "unit_of_measure": unit,
        "start_date": body.start_date,
        "end_date": body.end_date,
    }


@bp.post(f"{MEASUREMENTS}/v2")
@describe("Make an entry", body=MeasurementIn, answer=Measurement, errors=(403, 409, 422, 501))
@require("admin")
def create_measurement() -> Response:
    """Make an entry; without a factor of that keyword, attribute and unit it waits for one."""
    return _store(_entry_of(read_json(MeasurementIn), {"id": str(uuid4())}))


@bp.get(f"{MEASUREMENTS}/v2/<entry_id>")
@describe("One entry", answer=Measurement, errors=(404,))
def show_measurement(entry_id: str) -> Response:
    """Give one entry."""
    return answer_json(_measurement(entry_id))


@bp.put(f"{MEASUREMENTS}/v2/<entry_id>")
@describe(
    "Change an entry", body=MeasurementIn, answer=Measurement, errors=(403, 404, 409, 422, 501)
)
@require("admin")
def change_measurement(entry_id: str) -> Response:
    """Change an entry; its quantity stays where none is sent."""
    before = _known(entry_id)
    return _store(_entry_of(read_json(MeasurementIn), before))


def _part_id(entry_id: str, part: str) -> str:
    return str(uuid5(NAMESPACE_OID, f"{entry_id} {part}"))


def _term_value(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": _part_id(entry["id"], "value"),
        "formulaTermId": _part_id(entry["id"], "consumption"),
        "value": float(entry["quantity"]),
        "unit": entry["unit_of_measure"],
        "measurementId": entry["id"],
    }


@bp.get(f"{MEASUREMENTS}/<entry_id>/formula")
@describe("The quantity of an entry, as a formula", answer=Formula, errors=(404,))
def show_formula(entry_id: str) -> Response:
    """Give the formula of an entry: it has one term, its consumption."""
    entry = _known(entry_id)
    term = {
        "id": _part_id(entry["id"], "consumption"),
        "formulaId": _part_id(entry["id"], "formula"),
        "name": "consumption",
    }
    return jsonify(formulaTerms=[term], formulaTermValues=[_term_value(entry)])


@bp.put(f"{MEASUREMENTS}/<entry_id>/formula-term-value/<value_id>")
@describe(
    "Set an entry's quantity",
    body=FormulaTermValueIn,
    answer=FormulaTermValue,
    errors=(403, 404, 409, 422),
)
@require("admin")
def change_formula_value(entry_id: str, value_id: str) -> Response:
    """Set the quantity of an entry."""
    before = _known(entry_id)
    if value_id != _part_id(before["id"], "value"):
        raise NotFound("The entry has no such term.")
    body = read_json(FormulaTermValueIn)
    del before["emissions"]
    _store(before | {"quantity": body.value})
    return jsonify(_term_value(_known(before["id"])))
