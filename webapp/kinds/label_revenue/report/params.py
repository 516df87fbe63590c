"""What a label-revenue report is asked with."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from webapp.lib.bodies import Month
from webapp.lib.months import current_month, month_text, months_between

MOST_MONTHS = 240


class LabelRevenueParams(BaseModel):
    """Parameters of a label-revenue report."""

    model_config = ConfigDict(extra="forbid")

    start: Month = Field(
        title="First month",
        description="Included.",
        json_schema_extra={"form": {"widget": "month"}},
    )
    end: Month = Field(
        title="Last month",
        description="Included; the current month at the latest.",
        json_schema_extra={"form": {"widget": "month"}},
    )
    method: Literal["pool", "listener"] = Field(
        "pool",
        title="Method",
        json_schema_extra={
            "form": {
                "widget": "radio",
                "choices": [
                    ["pool", "Pool: all net fees of a month, shared by seconds streamed"],
                    ["listener", "Listener: each net fee, shared by that listener's own seconds"],
                ],
            }
        },
    )
    refresh: bool = Field(
        False,
        title="Compute again",
        description="Ignore stored months and replace them.",
        json_schema_extra={"form": {"widget": "checkbox"}},
    )

    @model_validator(mode="after")
    def _settle(self) -> LabelRevenueParams:
        if self.end < self.start:
            raise _at("end", "The last month is before the first month.")
        if len(months_between(self.start, self.end)) > MOST_MONTHS:
            raise _at("end", f"Ask for at most {MOST_MONTHS} months at once.")
        newest = current_month()
        if self.end > newest:
            raise _at("end", f"The last month can be {month_text(newest)} at the latest.")
        return self


def _at(field: str, sentence: str) -> PydanticCustomError:
    return PydanticCustomError("at_field", "{sentence}", {"field": field, "sentence": sentence})
