"""What the flow's client is answered about activities, factors and quantities, as it reads them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from webapp.kinds.inventory.bodies import Flow
from webapp.lib.bodies import Id


class ActivityGroup(Flow):
    """A group of activities; there are four."""

    id: Id
    name: str
    description: None
    position: int = Field(ge=0)


class ActivityCategory(Flow):
    """A category of activities: of scope 1 or 2, or one of the fifteen of scope 3."""

    id: Id
    name: str
    activity_group_id: Id
    is_used: bool
    is_default: bool
    activity_category_type: str
    description: str
    position: int = Field(ge=0)


class Dataset(Flow):
    """A list of factors: the company's own."""

    id: Id
    name: str
    short_name: str
    is_default: bool
    is_selected: bool
    is_integrated: bool
    is_shared: bool
    dataset_type: Literal["CUSTOM"]
    company_id: Id
    company_name: str


class EmissionFactor(Flow):
    """What a factor is called."""

    id: Id
    description: str
    dataset_id: Id
    company_id: Id
    stage_detail: str
    reporting_split: str
    keyword: str
    attribute: str | None
    unit_id: None
    unit: str
    fingerprint: str = Field(description="Keyword, attribute and unit, with bars between them.")


class EmissionFactors(Flow):
    """Factors of the company's own."""

    emission_factors: list[EmissionFactor]


class MadeFactor(Flow):
    """The factor that was made or found."""

    emission_factor: EmissionFactor


class GasShare(Flow):
    """What a gas adds to a factor; null where the factor is known as a whole alone."""

    factor: float | None
    value: float | None


class EmissionFactorValue(Flow):
    """The value of a factor, in kg CO2e per unit."""

    id: Id
    emission_factor_id: Id
    referring_emission_factor_id: None
    unit: str
    value_co2eq_aggregated: float | None = Field(alias="valueCo2eqAggregated")
    greenhouse_gases: dict[str, GasShare]
    supplement_emissions: dict[str, None]
    valid_from: str
    valid_to: str
    stage: str
    emission_calculation_type: str


class FormulaTermValue(Flow):
    """The quantity of an entry."""

    id: Id
    formula_term_id: Id
    value: float
    unit: str
    measurement_id: str


class FormulaTerm(Flow):
    """The one term of an entry's formula."""

    id: Id
    formula_id: Id
    name: Literal["consumption"]


class Formula(Flow):
    """The formula of an entry."""

    formula_terms: list[FormulaTerm]
    formula_term_values: list[FormulaTermValue]


class FactorsQuery(Flow):
    """Which factors."""

    factor_id: str | None = Field(
        None, alias="emissionFactorId_eq", description="Only the factor with this ID."
    )
    part: str = Field(
        "", alias="fingerprint_contains", description="Only factors whose fingerprint has this."
    )


class FactorValuesQuery(Flow):
    """Whose values."""

    factor_id: str | None = Field(
        None, alias="emissionFactorId_equals", description="Only of the factor with this ID."
    )
