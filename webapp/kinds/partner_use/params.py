"""What a partner-use report is asked with."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from webapp.engine.params import FIRST_MONTH, LAST_MONTH
from webapp.lib.bodies import Month, at_field, check_months
from webapp.lib.model import LazyModel
from webapp.lib.months import current_month

CREDENTIALS: dict[str, JsonValue] = {"when": ["connection", ""]}
MONTHLY: dict[str, JsonValue] = {"when": ["mode", "monthly|both"]}
NEEDED_MONTHS = {
    "start": "A report month by month needs its first month, as YYYY-MM.",
    "end": "A report month by month needs its last month, as YYYY-MM.",
}


def _partner_id(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,15}", value.strip()):
        raise ValueError("Write the partner ID as digits, for example 70000001.")
    return value.strip()


def _user_key(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    key = value.strip()
    if not key or not key.isprintable():
        raise ValueError("Write the user key as the console shows it, in one line.")
    return key


class PartnerUseParams(LazyModel):
    """Parameters of a partner-use report; `user_secret` is taken out before they are stored."""

    model_config = ConfigDict(extra="forbid")

    connection: UUID | None = Field(
        None,
        title="Stored connection",
        description="Credentials stored under Connections, with the partner and its key.",
        json_schema_extra={"form": {"widget": "select"}},
    )
    partner_id: Annotated[
        str,
        BeforeValidator(_partner_id),
        Field(
            title="Partner ID",
            pattern=r"^[0-9]{1,15}$",
            description="The number of the partner in SAP Customer Data Cloud.",
            json_schema_extra={"form": {"widget": "text"}, "examples": ["70000001"]},
        ),
    ]
    user_key: Annotated[str, BeforeValidator(_user_key), Field(max_length=200)] | None = Field(
        None,
        title="User key",
        description="User key or application key of the console.",
        json_schema_extra={"form": {"widget": "text", **CREDENTIALS}},
    )
    user_secret: Annotated[str, Field(max_length=4096)] | None = Field(
        None,
        title="User secret",
        description="Stored encrypted while the report runs, erased when it ends.",
        json_schema_extra={"form": {"widget": "password", **CREDENTIALS}},
    )
    mode: Literal["summary", "monthly", "both"] = Field(
        "summary",
        title="Mode",
        json_schema_extra={
            "form": {
                "widget": "radio",
                "choices": [
                    ["summary", "Summary: accounts, last login and last creation per site"],
                    ["monthly", "Month by month: users and growth between two months"],
                    ["both", "Both in one report"],
                ],
            }
        },
    )
    start: Annotated[Month | None, FIRST_MONTH] = Field(
        None, json_schema_extra={"form": {"months_ago": 12, **MONTHLY}}
    )
    end: Annotated[Month | None, LAST_MONTH] = Field(
        None, json_schema_extra={"form": {"months_ago": 1, **MONTHLY}}
    )
    refresh: bool = Field(
        False,
        title="Count again",
        description="Ignore stored data (months, configuration of sites) and replace it.",
        json_schema_extra={"form": {"widget": "checkbox"}},
    )

    exact: bool = Field(
        False,
        title="Count every month",
        description="Search for each month, even if it follows from others. Slower.",
        json_schema_extra={"form": {"widget": "checkbox", **MONTHLY}},
    )

    @model_validator(mode="after")
    def _settle(self) -> PartnerUseParams:
        if self.mode == "summary":
            self.start = self.end = None
            return self
        for name, sentence in NEEDED_MONTHS.items():
            if getattr(self, name) is None:
                raise at_field(name, sentence)
        check_months(self.first_month, self.last_month, newest=current_month())
        return self

    @property
    def first_month(self) -> date:
        """Return the first month of a monthly report."""
        assert self.start is not None, "a summary has no months"
        return self.start

    @property
    def last_month(self) -> date:
        """Return the last month of a monthly report."""
        assert self.end is not None, "a summary has no months"
        return self.end
