"""What programs send and are answered: periods, units, entries, reports; a sentence per field.

Sent names may be in snake_case or camelCase. Numbers stay decimals from the first character on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from webapp.errors import InvalidParams
from webapp.intake import round_places
from webapp.kinds.inventory.models import PLACES, WHOLE_DIGITS
from webapp.kinds.inventory.params import MADE, REPORT_TYPES
from webapp.lib.bodies import UNSTORABLE, Id, OneOf, Text, WholeNumber, at_field, sentences
from webapp.lib.model import LazyModel
from webapp.lib.texts import storable


@lru_cache(maxsize=256)
def snake(name: str) -> str:
    """Return a name in snake_case: `startDate` and `Start date` are both `start_date`."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[\s\-_]+", "_", apart).strip("_").lower()


def snake_keys(body: Any) -> Any:
    """Return an object with its names in snake_case; anything else as it is."""
    if not isinstance(body, Mapping):
        return body
    return {snake(str(key)): value for key, value in body.items()}


def _number(value: Any) -> Decimal:
    """Return a number as it was written, rounded to the places that are kept.

    A comma is refused, because it may mean two things.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("Write a number.")
    try:
        number = Decimal(value.strip() if isinstance(value, str) else str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise ValueError("Write a number like 1234.5, without thousands separators.")
    return round_places(number, WHOLE_DIGITS, PLACES)


def _scope(value: Any) -> int:
    text = str(value).strip().lower().removeprefix("scope").strip().removesuffix(".0")
    if text not in {"1", "2", "3"}:
        raise ValueError("Write the scope: 1, 2 or 3.")
    return int(text)


def _basis(value: Any) -> str:
    text = str(value or "").strip().lower().removesuffix("-based").removesuffix(" based")
    if text not in {"", "location", "market"}:
        raise ValueError("Write location or market; leave it empty where both are the same.")
    return text


def _text(value: Any) -> Any:
    if isinstance(value, str) and not storable(value):
        raise ValueError(UNSTORABLE)
    return str(value) if type(value) is int else value


def _trimmed(least: int, most: int) -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=least, max_length=most)


# IDs and names may be sent as whole numbers.
AS_TEXT = BeforeValidator(_text)
_YES = dict.fromkeys(("x", "ja", "oui", "sí", "si", "wahr", "vrai", "waar", "verdadero"), True)
_NO = dict.fromkeys(("", "nein", "nee", "non", "falsch", "faux", "onwaar", "falso"), False)
_FLAGS = BeforeValidator(lambda one: (_YES | _NO).get(str(one).strip().casefold(), one))
Name = Annotated[str, _trimmed(1, 200), AS_TEXT]
Note = Annotated[str, _trimmed(0, 2000), AS_TEXT]
Number = Annotated[Decimal, BeforeValidator(_number)]
Day = Annotated[
    date, BeforeValidator(lambda value: value.strip() if isinstance(value, str) else value)
]


class PeriodIn(LazyModel):
    """A reporting period as it is sent."""

    model_config = ConfigDict(extra="forbid")

    id: UUID | None = None
    short_name: Annotated[str, _trimmed(1, 100), AS_TEXT]
    description: Note | None = None
    start_date: Day
    end_date: Day
    is_locked: bool = False

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.end_date < self.start_date:
            raise at_field("end_date", "The end is before the start.")
        return self


class UnitIn(LazyModel):
    """An organizational unit as it is sent."""

    model_config = ConfigDict(extra="forbid")

    id: UUID | None = None
    name: Name
    position: int = Field(0, ge=0, le=1_000_000)
    parent_id: UUID | None = None


class EntryIn(LazyModel):
    """An inventory entry as it is sent; period and unit by id or by name."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, _trimmed(1, 64), AS_TEXT]
    period_id: Name
    unit_id: Name
    scope: Annotated[int, BeforeValidator(_scope)]
    category: Name
    description: Note = ""
    quantity: Number
    unit_of_measure: Annotated[str, _trimmed(1, 50), AS_TEXT]
    emission_factor: Number
    factor_source: Annotated[str, _trimmed(0, 500), AS_TEXT] = ""
    gas: Annotated[str, _trimmed(0, 40), AS_TEXT] = ""
    warming_potential: Number | None = None
    basis: Annotated[str, BeforeValidator(_basis)] = ""
    is_biogenic: Annotated[bool, _FLAGS] = False
    start_date: Day | None = None
    end_date: Day | None = None


def read_entry(raw: Any) -> tuple[EntryIn, dict[str, str]]:
    """Return an entry, and a sentence for each of its values that cannot be used, which are None.

    Raises: InvalidParams for what is no object
    """
    body = snake_keys(raw)
    try:
        return EntryIn.model_validate(body), {}
    except ValidationError as error:
        errors = wrong_in(error, EntryIn)
    if not isinstance(body, Mapping):
        raise InvalidParams(errors)
    # The rest is checked all the same.
    part = EntryIn.model_construct(**dict.fromkeys(EntryIn.model_fields))
    for name in (EntryIn.model_fields.keys() & body.keys()) - errors.keys():
        EntryIn.__pydantic_validator__.validate_assignment(part, name, body[name])
    return part, errors


class SettingsBody(LazyModel):
    """What the company's statements say beside its figures; texts may be empty."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    responsible: Annotated[str, _trimmed(0, 200), AS_TEXT] = ""
    boundaries: Annotated[str, _trimmed(0, 10_000), AS_TEXT] = ""
    methods: Annotated[str, _trimmed(0, 10_000), AS_TEXT] = ""
    factor_sources: Annotated[str, _trimmed(0, 10_000), AS_TEXT] = ""
    paper: Annotated[str, OneOf(["a4", "us-letter"])] = "a4"


def wrong_in(error: ValidationError, model: type[BaseModel]) -> dict[str, str]:
    """Return a sentence per field of what was sent as a model and cannot be used."""
    return sentences(error, unknown=f"There is no such field; use {', '.join(model.model_fields)}.")


class NewPeriods(LazyModel):
    """Periods to make or change; a bare list is taken too."""

    periods: list[PeriodIn]


class NewUnits(LazyModel):
    """Units to make or change; a bare list is taken too."""

    units: list[UnitIn]


class NewEntries(LazyModel):
    """Entries to store; a bare list is taken too."""

    entries: list[EntryIn]


class EntryQuery(LazyModel):
    """Which entries a list shows."""

    period_id: str | None = Field(None, description="Of this period only.")
    after: Text | None = Field(None, description="Only ids after this one.")
    limit: Annotated[int, WholeNumber(1, 1000)] = Field(100, description="How many.")


class PeriodRow(LazyModel):
    """A reporting period."""

    model_config = ConfigDict(from_attributes=True)

    id: Id
    short_name: str
    description: str | None
    start_date: date
    end_date: date
    is_locked: bool


class UnitRow(LazyModel):
    """An organizational unit; the root alone has no parent."""

    model_config = ConfigDict(from_attributes=True)

    id: Id
    name: str
    position: int
    parent_id: Id | None


class EntryRow(LazyModel):
    """An inventory entry as it is kept; emissions are in kg CO2e."""

    id: str
    period_id: Id
    unit_id: Id
    scope: int
    category: str
    description: str
    quantity: int | float
    unit_of_measure: str
    emission_factor: int | float
    factor_source: str
    gas: str
    warming_potential: int | float | None
    basis: str
    is_biogenic: bool
    emissions: int | float
    start_date: date
    end_date: date


class PeriodRows(LazyModel):
    """The company's periods."""

    periods: list[PeriodRow]


class UnitRows(LazyModel):
    """The company's units."""

    units: list[UnitRow]


class EntryRows(LazyModel):
    """A page of the company's entries."""

    entries: list[EntryRow]


class Stored(LazyModel):
    """What became of the entries that were sent."""

    created: int
    updated: int
    unchanged: int


class Flow(LazyModel):
    """What the export flow sends and answers: camelCase outside."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


def _not_empty(value: Any) -> str:
    if value is None or value == "":
        raise ValueError("This is missing.")
    return str(value)


Wanted = Annotated[str, BeforeValidator(_not_empty)]


class NewFlowReport(Flow):
    """A report to make; one makes every file, whatever its type."""

    name: Annotated[Text, Field(max_length=200)] | None = None
    reporting_period_id: Wanted
    base_reporting_period_id: str | None = None
    organization_unit_id: Wanted
    report_type: Annotated[str, OneOf(REPORT_TYPES)] | None = None


class FileQuery(Flow):
    """Which of a report's files."""

    report_type: Annotated[str, OneOf([*MADE])] = Field(description="Which file.")
    file_type: Annotated[str, OneOf(sorted({*MADE.values()}))] = Field(description="Its format.")


class FlowPeriod(Flow, PeriodRow):
    """A reporting period as clients of the flow read it."""


class FlowUnit(Flow, UnitRow):
    """An organizational unit as clients of the flow read it."""


State = Literal["PROCESSING", "DONE", "FAILED"]


class FlowReport(Flow):
    """A report, and how many of its files are ready."""

    id: Id
    name: str
    json_version: int = 1
    created_on: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    report_status: State
    report_file_status: State
    done_report_files: int
    count_report_files: int


class Deleted(LazyModel):
    """A report that is gone."""

    id: Id
    msg: str
