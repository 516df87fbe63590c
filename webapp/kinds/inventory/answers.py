"""What the addresses of the inventory answer."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from webapp.kinds.inventory.bodies import Flow
from webapp.lib.bodies import Id


class PeriodRow(BaseModel):
    """A reporting period."""

    model_config = ConfigDict(from_attributes=True)

    id: Id
    short_name: str
    description: str | None
    start_date: date
    end_date: date
    is_locked: bool


class UnitRow(BaseModel):
    """An organizational unit; the root alone has no parent."""

    id: Id
    name: str
    position: int
    parent_id: Id | None


class EntryRow(BaseModel):
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
    emissions: int | float
    start_date: date
    end_date: date


class PeriodRows(BaseModel):
    """The company's periods."""

    periods: list[PeriodRow]


class UnitRows(BaseModel):
    """The company's units."""

    units: list[UnitRow]


class EntryRows(BaseModel):
    """A page of the company's entries."""

    entries: list[EntryRow]


class Stored(BaseModel):
    """What became of the entries that were sent."""

    created: int
    updated: int
    unchanged: int


State = Literal["PROCESSING", "DONE", "FAILED"]


class SignedUrl(BaseModel):
    """An address good for five minutes."""

    url: str


class Deleted(BaseModel):
    """A report that is gone."""

    id: Id
    msg: str


class FlowPeriod(Flow):
    """A reporting period as clients of the flow read it."""

    id: Id
    short_name: str
    description: str | None
    start_date: date
    end_date: date
    is_locked: bool


class FlowUnit(Flow):
    """An organizational unit as clients of the flow read it."""

    id: Id
    name: str
    position: int
    parent_id: Id | None


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
