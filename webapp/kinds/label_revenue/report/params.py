"""What a label-revenue report is asked with."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from webapp.kinds.label_revenue.report.compute import METHODS
from webapp.lib.bodies import Month, check_months
from webapp.lib.months import current_month

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
            "form": {"widget": "radio", "choices": [list(one) for one in METHODS.items()]}
        },
    )
    details: bool = Field(
        False,
        title="By track, territory and product type, too",
        description="Reads every stream of the months, so it takes longer.",
        json_schema_extra={"form": {"widget": "checkbox"}},
    )
    refresh: bool = Field(
        False,
        title="Compute again",
        description="Ignore stored months and replace them.",
        json_schema_extra={"form": {"widget": "checkbox"}},
    )

    @model_validator(mode="after")
    def _settle(self) -> LabelRevenueParams:
        check_months(self.start, self.end, newest=current_month(), most=MOST_MONTHS)
        return self
