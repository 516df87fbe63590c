"""What an inventory report is asked with."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import ConfigDict, Field, field_validator

from webapp.lib.model import LazyModel

# What is made here: report type → its one file type.
MADE = {
    "DATA_DUMP": "XLSX",
    "GHG_PROTOCOL": "XLSX",
    "ISO14064": "PDF",
    "REPORT_DATA": "JSON",
}
TYPES = tuple(MADE)
# Clients know these too; asking for one starts all that are made.
REPORT_TYPES = (*TYPES, "CARBON_ALT_DELETE")
LABELS = {
    "DATA_DUMP": "Inventory, all entries (XLSX)",
    "GHG_PROTOCOL": "Scopes against the base period, after the GHG Protocol (XLSX)",
    "ISO14064": "Statement, organised after ISO 14064-1 (PDF)",
    "REPORT_DATA": "Report data (JSON)",
}


class InventoryParams(LazyModel):
    """Parameters of an inventory report. The company is the caller's."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        "Inventory report",
        title="Name",
        description="What lists and files call the report.",
        min_length=1,
        max_length=200,
        json_schema_extra={"form": {"widget": "text"}},
    )
    period: UUID = Field(
        title="Reporting period",
        json_schema_extra={"form": {"widget": "select"}},
    )
    base_period: UUID | None = Field(
        None,
        title="Base period",
        description="What the reporting period is compared with.",
        json_schema_extra={"form": {"widget": "select"}},
    )
    unit: UUID | None = Field(
        None,
        title="Organizational unit",
        description="Covers the unit and everything below it.",
        json_schema_extra={"form": {"widget": "select"}},
    )
    types: list[str] = Field(
        list(TYPES),
        title="Files",
        description="All of them agree.",
        json_schema_extra={"form": {"widget": "checkboxes"}},
    )

    @field_validator("types", mode="before")
    @classmethod
    def _read_types(cls, value: Any) -> list[str]:
        """Return the types in their order; a text names several with commas in between."""
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or not all(isinstance(one, str) for one in names):
            raise ValueError(f"Choose any of {', '.join(TYPES)}.")
        chosen = {one.strip().upper() for one in names}
        if not chosen or chosen - set(TYPES):
            raise ValueError(f"Choose any of {', '.join(TYPES)}.")
        return [one for one in TYPES if one in chosen]
