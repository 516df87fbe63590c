"""What a project-storage report is asked with."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from webapp.engine.params import FirstMonth, LastMonth
from webapp.lib.bodies import check_months
from webapp.lib.model import LazyModel
from webapp.lib.months import current_month

# kB is 1000 bytes, KiB is 1024; so on upwards.
UNITS = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
Unit = Literal["B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"]
MOST_MONTHS = 600


class ProjectStorageParams(LazyModel):
    """Parameters of a project-storage report."""

    model_config = ConfigDict(extra="forbid")

    project: UUID | None = Field(
        None,
        title="Project",
        description="Leave empty for all projects you have a role in.",
        json_schema_extra={"form": {"widget": "select"}},
    )
    whose: Literal["mine", "company"] = Field(
        "mine",
        title="Whose projects",
        description="Admins of the company may report on all its projects.",
        json_schema_extra={
            "form": {
                "widget": "select",
                "choices": [["mine", "Those I have a role in"], ["company", "All of the company"]],
            }
        },
    )
    start: FirstMonth = Field(json_schema_extra={"form": {"months_ago": 11}})
    end: LastMonth = Field(
        description="Included. Not later than the current month, which counts up to now.",
        json_schema_extra={"form": {"months_ago": 0}},
    )
    unit: Unit = Field(
        "GB",
        title="Unit of sizes",
        description="Shown beside the exact bytes. kB is 1000 bytes, KiB is 1024.",
        json_schema_extra={
            "form": {
                "widget": "select",
                "choices": [[unit, f"{unit} ({size:,} bytes)"] for unit, size in UNITS.items()],
            }
        },
    )

    @model_validator(mode="after")
    def _settle(self) -> ProjectStorageParams:
        check_months(self.start, self.end, newest=current_month(), most=MOST_MONTHS)
        return self
