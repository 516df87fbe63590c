"""A small kind of report for the pages' tests: every widget, a chart, holes, hostile words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from webapp.engine.kind import (
    Chart,
    Column,
    Context,
    Estimate,
    Figure,
    MonthStore,
    ReportKind,
    Result,
    Row,
    Run,
    Sheet,
    StoredResult,
    Table,
)
from webapp.errors import InvalidParams, PartnerUnavailable
from webapp.lib.bodies import Month
from webapp.lib.months import month_text, months_between

HOSTILE = "<script>alert('line')</script> & <img src=x onerror=alert(1)>"
ONLY_LONG = {"when": ("mode", "long|longer")}


class TallyParams(BaseModel):
    model_config = ConfigDict(extra="forbid")

    topic: str = Field(title="Topic", max_length=40, json_schema_extra={"form": {"widget": "text"}})
    secret: str | None = Field(
        None,
        title="Secret",
        description="Erased when the report ends.",
        json_schema_extra={"form": {"widget": "password"}},
    )
    mode: Literal["short", "long"] = Field(
        "short",
        title="Mode",
        json_schema_extra={
            "form": {
                "widget": "radio",
                "choices": (("short", "Short: things only"), ("long", "Long: month by month")),
            }
        },
    )
    start: Month | None = Field(
        None, title="First month", json_schema_extra={"form": {"widget": "month", **ONLY_LONG}}
    )
    end: Month | None = Field(
        None, title="Last month", json_schema_extra={"form": {"widget": "month", **ONLY_LONG}}
    )
    again: bool = Field(
        False, title="Count again", json_schema_extra={"form": {"widget": "checkbox", **ONLY_LONG}}
    )
    colour: Literal["red", "blue"] = Field(
        "red",
        title="Colour",
        json_schema_extra={
            "form": {"widget": "select", "choices": (("red", "Red"), ("blue", "Blue"))}
        },
    )
    things: int = Field(12, title="Things", json_schema_extra={"form": {"widget": "number"}})
    pause_ms: int = Field(0, json_schema_extra={"form": {"hidden": True}})
    holes: bool = Field(False, json_schema_extra={"form": {"hidden": True}})
    fails: bool = Field(False, json_schema_extra={"form": {"hidden": True}})


THINGS = Table(
    "things",
    "Things",
    (
        Column("number", "Number", "id"),
        Column("name", "Name"),
        Column("weight", "Weight", "integer", "kg"),
        Column("share", "Share", "decimal"),
        Column("is_child", "Child", "boolean"),
        Column("seen", "Last seen", "datetime"),
        Column("key", "Key", is_internal=True),
        Column("problem", "Problem"),
    ),
    "There is no thing.",
)
MONTHS = Table(
    "months",
    "Months",
    (
        Column("month", "Month", "month"),
        Column("total", "Total", "integer", "people"),
        Column("delta", "Delta", "integer", "people"),
    ),
)


class Tally(ReportKind):
    """Counts imaginary things."""

    slug = "tally"
    title = "Tally"
    description = "Counts imaginary things, at once or month by month."
    Params = TallyParams
    secret_params = frozenset({"secret"})

    def resolve_secrets(
        self, params: TallyParams, scope: object, secrets: dict[str, str]
    ) -> dict[str, str]:
        if params.topic == "locked" and not secrets.get("secret"):
            raise InvalidParams({"secret": "This topic needs its secret."})
        return secrets

    def estimate(
        self,
        params: TallyParams,
        scope: object,
        context: Context,
        months: MonthStore,
        secrets: dict[str, str],
    ) -> Estimate:
        if params.topic == "away":
            raise PartnerUnavailable("The partner does not answer at the moment.")
        return Estimate(calls=1234, saved=240, seconds=125)

    def run(self, params: TallyParams, run: Run, context: Context) -> Result:
        run.set_total(params.things)
        run.log(f"Counting {params.topic}: {HOSTILE}")
        rows = []
        pause_s = params.pause_ms / 1000 or (0.08 if params.topic == "slow" else 0)
        for number in range(1, params.things + 1):
            time.sleep(pause_s)
            run.calls(made=1, saved=2)
            run.advance(f"Thing {number} of {params.things} is counted.")
            rows.append(_thing(number, params.holes and number % 5 == 0))
        if params.fails:
            raise PartnerUnavailable(f"The partner went away, saying {HOSTILE}.")
        if params.holes:
            run.log("Some things could not be counted.", level="warn")
        head: dict[str, Any] = {"mode": params.mode, "topic": params.topic, "count": len(rows)}
        tables: dict[str, list[Row]] = {"things": rows}
        if params.start and params.end:
            tables["months"] = _months(params.start, params.end)
        return Result(head, tables, complete=not params.holes)

    def describe(self, params: Mapping[str, Any]) -> str:
        return f"{params['topic']} {params['mode']}"

    def tables(self, head: Mapping[str, Any]) -> tuple[Table, ...]:
        return (MONTHS, THINGS) if head["mode"] == "long" else (THINGS,)

    def figures(self, head: Mapping[str, Any]) -> tuple[Figure, ...]:
        return (
            Figure("Things", head["count"], "integer", "all of them"),
            Figure("Topic", head["topic"], "text"),
            Figure("Newest", "2025-03-31T10:20:30Z", "datetime"),
            Figure("Never", None, "datetime"),
        )

    def charts(self, head: Mapping[str, Any]) -> tuple[Chart, ...]:
        if head["mode"] != "long":
            return ()
        return (
            Chart("months", "month", (("Overall", "total", "line"), ("Delta", "delta", "bar"))),
        )

    def sheets(self, result: StoredResult) -> tuple[Sheet, ...]:
        named = {"things": "thing", "months": "month"}
        return tuple(
            Sheet(named[table.name], table.title, table.columns, result.rows(table.name))
            for table in self.tables(result.head)
        )


def _thing(number: int, is_hole: bool) -> Row:
    return {
        "number": str(1_000_000 + number),
        "name": HOSTILE if number == 3 else f"Thing number {number}",
        "weight": None if is_hole else number * 1111 % 5000,
        "share": None if is_hole else f"{number}.5",
        "is_child": number % 4 == 0,
        "seen": None if number % 3 else "2025-02-03T04:05:06Z",
        "key": f"key-{number:060d}",
        "problem": "The scales were broken." if is_hole else None,
    }


def _months(start: date, end: date) -> list[Row]:
    months = months_between(start, end)
    return [
        {
            "month": month_text(month),
            "total": 1000 + 37 * index,
            "delta": 37 - 50 * (index % 4 == 3),
        }
        for index, month in enumerate(months)
    ]
