"""What the flow's client makes and changes: units and periods; and the tree of activities it reads.

Admins do. Names come in camelCase or snake_case, as the client sends either; answers are 200, which
is all it takes for good. What it asks for beyond that is answered 501 with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from flask import Blueprint, Response, jsonify
from pydantic import ValidationError

from webapp.accounts import audit, current_scope, require, restrict
from webapp.errors import InvalidParams, NotOffered
from webapp.extensions import db
from webapp.kinds.inventory import places
from webapp.kinds.inventory.answers import ActivityCategory, ActivityGroup
from webapp.kinds.inventory.bodies import (
    Deleted,
    FlowPeriod,
    FlowUnit,
    PeriodIn,
    UnitIn,
    snake_keys,
    wrong_in,
)
from webapp.kinds.inventory.models import Period, Unit
from webapp.kinds.inventory.standards import ACTIVITIES, GROUPS, activity_id
from webapp.lib.bodies import answer_json, json_body
from webapp.lib.openapi import Describer

UNITS = "/api/organizational-units/v1/organizational-units"
PERIODS = "/api/reporting-periods/v1/reporting-periods"
OLD_PERIODS = "/api/v1.0/reporting-periods"
FACTORS = "/api/emission-factors/v1"
# What the client asks for, and why it is not done here.
SEND_FILES = "Send files of entries on the page Upload entries; other documents are not kept."
NO_TAGS = "Entries have no tags; an entry has a category and a description."
NOT_OFFERED = (
    ("POST", "/api/accounts/v1/companies", "Companies are made by the operator."),
    ("POST", "/api/accounts/v1/users", "People are invited on the page Members."),
    ("PUT", "/api/accounts/v1/users/<any>/activate", "People activate their account themselves."),
    ("POST", "/api/keys/v1/redirect", "There are no sign-in links for others."),
    ("POST", "/api/activities/v1/activity-groups", "The groups of activities are fixed."),
    (
        "POST",
        "/api/activities/v1/activity-categories",
        "The tree of activities is fixed; entries sent to /api/v1/inventory/entries may name any "
        "category.",
    ),
    ("GET", "/api/results/v1/dashboard-data", "Make a report, and read its data."),
    ("GET", "/api/units/v1/units", "A unit of measure is any text."),
    ("GET", "/api/units/v1/unit-classes", "A unit of measure is any text."),
    ("GET", f"{FACTORS}/dataset-versions", "The company's factors have no versions."),
    ("PATCH", f"{FACTORS}/emission-factors/<any>/uncertainty", "Uncertainties are not kept."),
    (
        "PUT",
        f"{FACTORS}/emission-factors/<any>/regenerate-fingerprint",
        "A fingerprint is what a factor is called; it needs no making.",
    ),
    ("GET", "/api/measurements/v1/inventory-lines", "Use GET /api/v1/inventory/entries."),
    *(
        (method, "/api/measurements/v1/inventory-lines/<any>", "Use /api/v1/inventory/entries.")
        for method in ("GET", "PUT", "PATCH")
    ),
    ("POST", "/api/measurements/v1/measurement-ai-imports", SEND_FILES),
    ("GET", "/api/measurements/v1/measurement-ai-imports/<any>/status", SEND_FILES),
    ("POST", "/api/documents/v1/pre-signed-write", SEND_FILES),
    ("POST", "/api/comments/v1/free-fields", "There are no comments; an entry has a description."),
    ("GET", "/api/tags/v1/fields", NO_TAGS),
    ("POST", "/api/tags/v1/fields", NO_TAGS),
    ("GET", "/api/tags/v1/options", NO_TAGS),
    ("POST", "/api/tags/v1/options", NO_TAGS),
    ("PUT", "/api/tags/v1/options/<any>", NO_TAGS),
    ("POST", f"{FACTORS}/value-mappings", "The values of factors are not mapped."),
    ("PUT", f"{FACTORS}/value-mappings/<any>", "The values of factors are not mapped."),
    ("GET", "/api/uncertainties/v1/uncertainties", "Uncertainties are not kept."),
)
B = TypeVar("B", PeriodIn, UnitIn)
R = TypeVar("R", Period, Unit)

bp = Blueprint("inventory_client", __name__)
restrict(bp)
describe = Describer("Inventory")


# Units and periods


def _put(name: str, model: type[B], put: Callable[[str, Sequence[B]], list[R]], **more: Any) -> R:
    """Make or change what the body says, note it, and return its row."""
    scope, sent = current_scope(), json_body(parse_float=Decimal)
    if not isinstance(sent, dict):
        raise InvalidParams({"body": "Send a JSON object."})
    try:
        body = model.model_validate(snake_keys(sent) | more)
        [row] = put(scope.company_id, [body])
    except (ValidationError, InvalidParams) as error:
        errors = error.errors if isinstance(error, InvalidParams) else wrong_in(error, model)
        bare = {key.removeprefix(f"{name}.0."): sentence for key, sentence in errors.items()}
        raise InvalidParams(bare) from None
    audit(scope, f"stored {name}", row.id)
    db.session.commit()
    return row


@bp.post(UNITS)
@describe("Make a unit", body=UnitIn, answer=FlowUnit, errors=(403, 409, 422))
@require("admin")
def create_unit() -> Response:
    """Make a unit; without a parent it is directly below the root."""
    return answer_json(FlowUnit.model_validate(_put("units", UnitIn, places.put_units)))


@bp.put(f"{UNITS}/<unit_id>")
@describe("Change a unit", body=UnitIn, answer=FlowUnit, errors=(403, 404, 409, 422))
@require("admin")
def change_unit(unit_id: str) -> Response:
    """Change a unit's name, position or parent."""
    known = places.find_unit(current_scope().company_id, unit_id).id
    return answer_json(FlowUnit.model_validate(_put("units", UnitIn, places.put_units, id=known)))


@bp.delete(f"{UNITS}/<unit_id>")
@describe("Delete a unit that nothing uses", answer=Deleted, errors=(403, 404, 409))
@require("admin")
def delete_unit(unit_id: str) -> Response:
    """Delete a unit without entries and units below it."""
    scope = current_scope()
    unit = places.find_unit(scope.company_id, unit_id)
    unit_name, deleted = unit.name, Deleted(id=unit.id, msg="The unit is deleted.")
    places.delete_unit(unit)
    audit(scope, "deleted unit", f"{unit_name} {deleted.id}")
    db.session.commit()
    return answer_json(deleted)


@bp.post(PERIODS, endpoint="create_period")
@bp.post(OLD_PERIODS, endpoint="create_period_alias")
@describe("Make a reporting period", body=PeriodIn, answer=FlowPeriod, errors=(403, 409, 422))
@require("admin")
def create_period() -> Response:
    """Make a reporting period."""
    return answer_json(FlowPeriod.model_validate(_put("periods", PeriodIn, places.put_periods)))


@bp.put(f"{PERIODS}/<period_id>", endpoint="change_period")
@bp.put(f"{OLD_PERIODS}/<period_id>", endpoint="change_period_alias")
@describe("Change a period", body=PeriodIn, answer=FlowPeriod, errors=(403, 404, 409, 422))
@require("admin")
def change_period(period_id: str) -> Response:
    """Change a reporting period; with `isLocked` its entries stay as they are."""
    known = places.find_period(current_scope().company_id, period_id).id
    row = _put("periods", PeriodIn, places.put_periods, id=known)
    return answer_json(FlowPeriod.model_validate(row))


# The tree of activities


@bp.get("/api/activities/v1/activity-groups")
@describe("Groups of activities", answer=list[ActivityGroup])
def list_activity_groups() -> Response:
    """Give the four groups of activities."""
    groups = [
        {"id": activity_id(name), "name": name, "description": None, "position": position}
        for position, name in enumerate(GROUPS)
    ]
    return jsonify(groups)


@bp.get("/api/activities/v1/activity-categories")
@describe("Categories of activities", answer=list[ActivityCategory])
def list_activity_categories() -> Response:
    """Give the categories of all groups: those of scopes 1 and 2, and the fifteen of scope 3."""
    categories = [
        {
            "id": one.id,
            "name": one.category,
            "activityGroupId": activity_id(GROUPS[one.group]),
            "isUsed": True,
            "isDefault": True,
            "activityCategoryType": one.type,
            "description": f"Scope {one.scope}",
            "position": position,
        }
        for position, one in enumerate(ACTIVITIES)
    ]
    return jsonify(categories)


# The rest


def _refuse(sentence: str) -> Callable[..., Response]:
    def view(**_: str) -> Response:
        raise NotOffered(sentence)

    return view


for place, (method, rule, sentence) in enumerate(NOT_OFFERED):
    shown = describe(f"Not offered: {sentence}", errors=(501,))(_refuse(sentence))
    path = rule.replace("<any>", "<one_id>")
    bp.add_url_rule(path, f"not_offered_{place}", shown, methods=[method])
