"""What programs and files send: periods, units and entries, read strictly, a sentence per field.

Names may come in snake_case or camelCase. Numbers stay decimals from the first character on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    create_model,
)
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from webapp.errors import InvalidParams
from webapp.intake import round_places
from webapp.kinds.inventory.models import PLACES, WHOLE_DIGITS
from webapp.kinds.inventory.params import MADE, REPORT_TYPES
from webapp.lib.bodies import OneOf, Text, WholeNumber, sentences
from webapp.lib.texts import storable

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def snake(name: str) -> str:
    """Return a name in snake_case: `startDate` and `Start date` are both `start_date`."""
    return re.sub(r"[\s\-_]+", "_", _HUMP.sub("_", name.strip())).strip("_").lower()


def snake_keys(body: Any) -> Any:
    """Return an object with its names in snake_case; anything else as it is."""
    return {snake(str(key)): value for key, value in body.items()} if _is_object(body) else body


def _is_object(body: Any) -> bool:
    return isinstance(body, Mapping)


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not storable(value):
        raise ValueError("The text holds characters that cannot be stored.")
    return value


def _number(value: Any) -> Decimal:
    """Return a number as it was written, rounded to the places that are kept.

    A comma is refused, because it may mean two things.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("Write a number.")
    try:
        number = Decimal(value.strip() if isinstance(value, str) else str(value))
    except InvalidOperation:
        raise ValueError("Write a number like 1234.5, without thousands separators.") from None
    if not number.is_finite():
        raise ValueError("Write a number like 1234.5, without thousands separators.")
    return round_places(number, WHOLE_DIGITS, PLACES)


def _date(value: Any) -> Any:
    # A workbook's dates are times at midnight.
    if isinstance(value, datetime):
        return value.date()
    return value.strip() if isinstance(value, str) else value


def _scope(value: Any) -> int:
    text = str(value).strip().lower().removeprefix("scope").strip().removesuffix(".0")
    if isinstance(value, bool) or text not in {"1", "2", "3"}:
        raise ValueError("Write the scope: 1, 2 or 3.")
    return int(text)


def _text_of(value: Any) -> Any:
    """Return ids and names as text: a spreadsheet makes numbers of those that look like one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _text(value)


def _trimmed(least: int, most: int, before: Any = _text) -> Any:
    limits = StringConstraints(strip_whitespace=True, min_length=least, max_length=most)
    return Annotated[str, limits, BeforeValidator(before)]


Number = Annotated[Decimal, BeforeValidator(_number)]
Day = Annotated[date, BeforeValidator(_date)]


class PeriodIn(BaseModel):
    """A reporting period as it is sent."""

    model_config = ConfigDict(extra="forbid")

    id: UUID | None = None
    short_name: _trimmed(1, 100)  # type: ignore[valid-type]
    description: _trimmed(0, 2000) | None = None  # type: ignore[valid-type]
    start_date: Day
    end_date: Day
    is_locked: bool = False


class UnitIn(BaseModel):
    """An organizational unit as it is sent."""

    model_config = ConfigDict(extra="forbid")

    id: UUID | None = None
    name: _trimmed(1, 200)  # type: ignore[valid-type]
    position: int = Field(0, ge=0, le=1_000_000)
    parent_id: UUID | None = None


class EntryIn(BaseModel):
    """An inventory entry as it is sent; period and unit by id or by name."""

    model_config = ConfigDict(extra="forbid")

    id: _trimmed(1, 64, _text_of)  # type: ignore[valid-type]
    period_id: _trimmed(1, 200, _text_of)  # type: ignore[valid-type]
    unit_id: _trimmed(1, 200, _text_of)  # type: ignore[valid-type]
    scope: Annotated[int, BeforeValidator(_scope)]
    category: _trimmed(1, 200, _text_of)  # type: ignore[valid-type]
    description: _trimmed(0, 2000, _text_of) = ""  # type: ignore[valid-type]
    quantity: Number
    unit_of_measure: _trimmed(1, 50, _text_of)  # type: ignore[valid-type]
    emission_factor: Number
    factor_source: _trimmed(0, 500, _text_of) = ""  # type: ignore[valid-type]
    start_date: Day | None = None
    end_date: Day | None = None


# What is left of an entry when some of its values cannot be used: the rest is checked all the same.
_PartOfEntry = create_model(
    "_PartOfEntry",
    __base__=EntryIn,
    **{
        name: (field.annotation, FieldInfo.merge_field_infos(field, default=None))
        for name, field in EntryIn.model_fields.items()
    },  # type: ignore[call-overload]
)


def read_entry(raw: Any) -> tuple[EntryIn, dict[str, str]]:
    """Return an entry, and a sentence for each of its values that cannot be used, which are None.

    Raises: InvalidParams for what is no object
    """
    body = snake_keys(raw)
    try:
        return EntryIn.model_validate(body), {}
    except ValidationError as error:
        errors = sentences(error)
    if not _is_object(body):
        raise InvalidParams(errors)
    names = set(EntryIn.model_fields) - set(errors)
    rest = {name: value for name, value in body.items() if name in names}
    return _PartOfEntry.model_validate(rest), errors


class NewPeriods(BaseModel):
    """Periods to make or change; a bare list is taken too."""

    periods: list[PeriodIn]


class NewUnits(BaseModel):
    """Units to make or change; a bare list is taken too."""

    units: list[UnitIn]


class NewEntries(BaseModel):
    """Entries to store; a bare list is taken too."""

    entries: list[EntryIn]


class EntryQuery(BaseModel):
    """Which entries a list shows."""

    period_id: str | None = Field(None, description="Of this period only.")
    after: Text | None = Field(None, description="Only ids after this one.")
    limit: Annotated[int, WholeNumber(1, 1000)] = Field(100, description="How many.")


class Flow(BaseModel):
    """What the export flow sends and answers: camelCase outside."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


def _not_empty(value: Any) -> Any:
    if value is None or value == "":
        raise ValueError("This is missing.")
    return value if isinstance(value, str) else str(value)


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
