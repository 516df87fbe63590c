"""Emission factors of a company's own, as the flow's client makes, values and finds them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from flask import Blueprint, Response, jsonify
from pydantic import Field, field_validator
from sqlalchemy import Update, select, update

from webapp.accounts import Company, audit, current_scope, require, restrict
from webapp.errors import Conflict, InvalidParams, NotFound
from webapp.extensions import db
from webapp.kinds.inventory.answers import (
    Dataset,
    EmissionFactor,
    EmissionFactors,
    EmissionFactorValue,
    FactorsQuery,
    FactorValuesQuery,
    MadeFactor,
)
from webapp.kinds.inventory.bodies import Flow, Name, Note, Number
from webapp.kinds.inventory.compute import NO_FACTOR
from webapp.kinds.inventory.models import Entry, Factor, Period
from webapp.lib.bodies import Text, read_json, read_query
from webapp.lib.openapi import Describer
from webapp.lib.texts import lookup_id

FACTORS = "/api/emission-factors/v1"

bp = Blueprint("inventory_factors", __name__)
restrict(bp)
describe = Describer("Inventory")


class FactorChange(Flow):
    """A factor as the client changes it; what it does not say stays, and so does the unit."""

    keyword: Name | None = None
    attribute: Annotated[Text, Field(max_length=200)] | None = None
    unit: Annotated[Text, Field(max_length=50)] | None = None
    description: Note | None = None
    value_co2eq_aggregated: Number | None = Field(None, alias="valueCo2eqAggregated")

    @field_validator("unit", "attribute")
    @classmethod
    def _trim(cls, text: str | None) -> str | None:
        return text.strip() if text else text


class FactorIn(FactorChange):
    """A factor as the client sends it: what it is called, and its value where it is known."""

    keyword: Name
    unit: Annotated[Text, Field(min_length=1, max_length=50)]


class FactorValueIn(Flow):
    """A factor's value, in kg CO2e per unit."""

    value_co2eq_aggregated: Number = Field(alias="valueCo2eqAggregated")


def source_of(keyword: str, attribute: str) -> str:
    """Return what entries call a factor's source: it is read back as keyword and attribute."""
    return f"{keyword} / {attribute}" if attribute else keyword


def find_factor(factor_id: str) -> Factor:
    """Return a factor of the caller's company. Raises: NotFound"""
    factor = db.session.get(Factor, lookup_id(factor_id))
    if factor is None or factor.company_id != current_scope().company_id:
        raise NotFound("There is no such factor.")
    return factor


def factor_named(company_id: str, keyword: str, attribute: str, unit: str) -> Factor | None:
    """Return the company's factor of these words."""
    named = select(Factor).where(
        Factor.company_id == company_id,
        Factor.keyword == keyword,
        Factor.attribute == attribute,
        Factor.unit == unit,
    )
    return db.session.scalar(named)


def _factor_answer(factor: Factor) -> dict[str, Any]:
    return {
        "id": factor.id,
        "description": factor.description,
        "datasetId": factor.company_id,
        "companyId": factor.company_id,
        "stageDetail": "NO_DETAIL",
        "reportingSplit": "DEFAULT",
        "keyword": factor.keyword,
        "attribute": factor.attribute or None,
        "unitId": None,
        "unit": factor.unit,
        "fingerprint": "|".join((factor.keyword, factor.attribute, factor.unit)),
    }


def _value_answer(factor: Factor) -> dict[str, Any]:
    value = None if factor.value is None else float(factor.value)
    gases = ("CO2EQ", "CO2", "CH4", "N2O", "HFCS", "PFCS", "SF6", "NF3", "OTHERS", "BIOGENIC")
    split = {gas: {"factor": None, "value": value if gas == "CO2EQ" else None} for gas in gases}
    return {
        "id": factor.id,
        "emissionFactorId": factor.id,
        "referringEmissionFactorId": None,
        "unit": factor.unit,
        "valueCo2eqAggregated": value,
        "greenhouseGases": split,
        "supplementEmissions": {"generation": None, "transmissionAndDistribution": None},
        "validFrom": "1970-01-01",
        "validTo": "9999-12-31",
        "stage": "PRINCIPAL",
        "emissionCalculationType": "DEFAULT",
    }


def _set_value(factor: Factor, value: Decimal) -> None:
    """Set a factor's value, also in entries of open periods that name it."""
    named = source_of(factor.keyword, factor.attribute)
    factor.value = value
    mine = _open_entries(factor, named, f"{NO_FACTOR}{named}")
    db.session.execute(mine.values(factor=value, factor_source=named))


def _open_entries(factor: Factor, *sources: str) -> Update:
    """Return the update of a factor's entries by these sources, in periods that are open."""
    company_id = factor.company_id
    is_open = select(Period.key).where(Period.company_id == company_id, Period.is_locked.is_(False))
    return update(Entry).where(
        Entry.company_id == company_id,
        Entry.factor_source.in_(sources),
        Entry.unit_of_measure == factor.unit,
        Entry.period_key.in_(is_open),
    )


def _rename(factor: Factor, keyword: str, attribute: str) -> None:
    """Call a factor by other words, also in entries of open periods. Raises: Conflict"""
    other = factor_named(factor.company_id, keyword, attribute, factor.unit)
    if other is not None and other is not factor:
        raise Conflict("Another factor has this keyword, attribute and unit.")
    before, named = source_of(factor.keyword, factor.attribute), source_of(keyword, attribute)
    factor.keyword, factor.attribute = keyword, attribute
    for mark in ("", NO_FACTOR):
        mine = _open_entries(factor, f"{mark}{before}")
        db.session.execute(mine.values(factor_source=f"{mark}{named}"))


def _commit(factor: Factor) -> None:
    """Commit a change of a factor, with a line in the audit log."""
    named = source_of(factor.keyword, factor.attribute)
    audit(current_scope(), "stored factor", f"{named}, {factor.unit}")
    db.session.commit()


@bp.get(f"{FACTORS}/datasets")
@describe("The company's list of factors", answer=list[Dataset])
def list_datasets() -> Response:
    """Give the one list of factors there is: the company's own."""
    company = db.session.get_one(Company, current_scope().company_id)
    dataset = {
        "id": company.id,
        "name": f"Factors of {company.name}",
        "shortName": "Custom",
        "isDefault": True,
        "isSelected": True,
        "isIntegrated": False,
        "isShared": True,
        "datasetType": "CUSTOM",
        "companyId": company.id,
        "companyName": company.name,
    }
    return jsonify([dataset])


@bp.get(f"{FACTORS}/emission-factors")
@describe("Factors of the company's own", query=FactorsQuery, answer=EmissionFactors)
def list_factors() -> Response:
    """Give the company's factors; `emissionFactorId_eq` and `fingerprint_contains` pick some."""
    asked = read_query(FactorsQuery)
    query = select(Factor).where(Factor.company_id == current_scope().company_id)
    if asked.factor_id:
        query = query.where(Factor.id == lookup_id(asked.factor_id))
    found = map(_factor_answer, db.session.scalars(query.order_by(Factor.keyword, Factor.id)))
    return jsonify(emissionFactors=[one for one in found if asked.part in one["fingerprint"]])


@bp.post(f"{FACTORS}/emission-factors")
@describe("Make a factor", body=FactorIn, answer=MadeFactor, errors=(403, 422))
@require("admin")
def create_factor() -> Response:
    """Make a factor, or return the one of this keyword, attribute and unit."""
    scope, body = current_scope(), read_json(FactorIn)
    attribute = body.attribute or ""
    factor = factor_named(scope.company_id, body.keyword, attribute, body.unit)
    if factor is None:
        factor = Factor(
            company_id=scope.company_id, keyword=body.keyword, attribute=attribute, unit=body.unit
        )
        db.session.add(factor)
    factor.description = body.description or ""
    db.session.flush()
    if body.value_co2eq_aggregated is not None:
        _set_value(factor, body.value_co2eq_aggregated)
    _commit(factor)
    return jsonify(emissionFactor=_factor_answer(factor))


@bp.put(f"{FACTORS}/emission-factors/<factor_id>")
@describe("Change a factor", body=FactorChange, answer=EmissionFactor, errors=(403, 404, 409, 422))
@require("admin")
def change_factor(factor_id: str) -> Response:
    """Change what a factor is called; entries of open periods that name it follow."""
    factor, body = find_factor(factor_id), read_json(FactorChange)
    if body.unit not in {None, factor.unit}:
        raise InvalidParams({"unit": "The unit of a factor stays; make another factor."})
    attribute = factor.attribute if body.attribute is None else body.attribute
    _rename(factor, body.keyword or factor.keyword, attribute)
    if body.description is not None:
        factor.description = body.description
    value = body.value_co2eq_aggregated
    if (value := factor.value if value is None else value) is not None:
        _set_value(factor, value)
    _commit(factor)
    return jsonify(_factor_answer(factor))


@bp.get(f"{FACTORS}/emission-factor-values")
@describe(
    "Values of the company's factors", query=FactorValuesQuery, answer=list[EmissionFactorValue]
)
def list_factor_values() -> Response:
    """Give the values of factors, those of `emissionFactorId_equals` where it is given."""
    asked = read_query(FactorValuesQuery)
    query = select(Factor).where(Factor.company_id == current_scope().company_id)
    if asked.factor_id:
        query = query.where(Factor.id == lookup_id(asked.factor_id))
    return jsonify([_value_answer(one) for one in db.session.scalars(query.order_by(Factor.id))])


@bp.put(f"{FACTORS}/emission-factor-values/<factor_id>")
@describe(
    "Set a factor's value", body=FactorValueIn, answer=EmissionFactorValue, errors=(403, 404, 422)
)
@require("admin")
def change_factor_value(factor_id: str) -> Response:
    """Set a factor's value; entries of open periods that name it take it over."""
    factor = find_factor(factor_id)
    _set_value(factor, read_json(FactorValueIn).value_co2eq_aggregated)
    _commit(factor)
    return jsonify(_value_answer(factor))
