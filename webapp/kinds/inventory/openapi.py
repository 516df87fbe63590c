"""The addresses of the inventory, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any

from webapp.kinds.inventory.files import MADE
from webapp.openapi import (
    DAY,
    ID,
    MOMENT,
    NUMBER,
    PROBLEM,
    PROBLEM_JSON,
    TEXT,
    YES,
    Describer,
    Paths,
    Schema,
    asked,
    listed,
    maybe,
    thing,
    with_ids,
)

_operation = Describer("Inventory", PROBLEM, PROBLEM_JSON).operation

_PERIOD = thing(
    {
        "id": ID,
        "shortName": TEXT,
        "description": maybe(TEXT),
        "startDate": DAY,
        "endDate": DAY,
        "isLocked": YES,
    }
)
_UNIT = thing({"id": ID, "name": TEXT, "position": NUMBER, "parentId": maybe(ID)})
_STATE = TEXT | {"enum": ["PROCESSING", "DONE", "FAILED"]}
_REPORT = thing(
    {
        "id": ID,
        "name": TEXT,
        "jsonVersion": NUMBER,
        "createdOn": MOMENT,
        "reportStatus": _STATE,
        "reportFileStatus": _STATE,
        "doneReportFiles": NUMBER,
        "countReportFiles": NUMBER,
    }
)
_NEW_REPORT = thing(
    {"reportingPeriodId": ID, "organizationUnitId": ID},
    baseReportingPeriodId=maybe(ID),
    name=maybe(TEXT | {"maxLength": 200}),
    reportType=maybe(TEXT),
)
_FILE = (
    asked("reportType", "Which file.", TEXT | {"enum": list(MADE)}, needed=True),
    asked("fileType", "Its format.", TEXT | {"enum": sorted({*MADE.values()})}, needed=True),
)

# The data behind the reports, in snake_case as all that is new here.
_PERIOD_ROW = thing(
    {"short_name": TEXT, "start_date": DAY, "end_date": DAY},
    id=maybe(ID),
    description=maybe(TEXT),
    is_locked=YES,
)
_UNIT_ROW = thing({"name": TEXT}, id=maybe(ID), position=NUMBER, parent_id=maybe(ID))
_AMOUNT: Schema = {"type": ["number", "string"]}
_ENTRY_ROW = thing(
    {"id": TEXT, "scope": {"type": ["integer", "string"]}, "quantity": _AMOUNT},
    category=TEXT,
    description=maybe(TEXT),
    unit_of_measure=TEXT,
    emission_factor=_AMOUNT,
    factor_source=maybe(TEXT),
    start_date=DAY,
    end_date=DAY,
)


def _rows(name: str, row: Schema, **more: Any) -> dict[str, Schema]:
    """Return the two operations on a list: read it, and store some of it."""
    found = thing({name: listed(row)})
    answer = more.pop("answer", found)
    return {
        "get": _operation(f"The company's {name}", found, **more),
        "post": _operation(
            f"Store {name} by their id, all or none", answer, body=found, errors=(409, 422)
        ),
    }


_PERIODS = {"get": _operation("Reporting periods, newest first", listed(_PERIOD))}

PATHS: Paths = with_ids(
    {
        "/api/reporting-periods/v1/reporting-periods": _PERIODS,
        "/api/v1.0/reporting-periods": _PERIODS,
        "/api/reporting-periods/v1/reporting-periods/{period_id}": {
            "get": _operation("One reporting period", _PERIOD, errors=(404,))
        },
        "/api/organizational-units/v1/organizational-units": {
            "get": _operation("Units, parents before children", listed(_UNIT))
        },
        "/api/organizational-units/v1/organizational-units/{unit_id}": {
            "get": _operation("One unit", _UNIT, errors=(404,))
        },
        "/api/reports/v1/reports": {
            "get": _operation("Inventory reports, newest first", listed(_REPORT), errors=(403,)),
            "post": _operation(
                "Start one report that makes every file",
                _REPORT,
                body=_NEW_REPORT,
                errors=(404, 422),
            ),
        },
        "/api/reports/v1/reports/{report_id}": {
            "get": _operation(
                "One report, and how many of its files are ready", _REPORT, errors=(403, 404)
            ),
            "delete": _operation(
                "Delete a report and its files",
                thing({"id": ID, "msg": TEXT}),
                errors=(403, 404, 409),
            ),
        },
        "/api/reports/v1/reports/{report_id}/presigned-url": {
            "get": _operation(
                "An address of one file, good for five minutes",
                thing({"url": TEXT}),
                query=_FILE,
                errors=(403, 404, 409, 422),
            )
        },
        "/api/v1/inventory/periods": _rows("periods", _PERIOD_ROW),
        "/api/v1/inventory/units": _rows("units", _UNIT_ROW),
        "/api/v1/inventory/entries": _rows(
            "entries",
            _ENTRY_ROW,
            answer=thing({"created": NUMBER, "updated": NUMBER, "unchanged": NUMBER}),
            query=(
                asked("period_id", "Of this period only.", ID),
                asked("after", "Only ids after this one."),
                asked("limit", "How many.", NUMBER | {"minimum": 1, "maximum": 1000}),
            ),
            errors=(404, 422),
        ),
        "/api/v1/inventory/entries/{entry_id}": {
            "delete": _operation("Delete an entry", None, status=204, errors=(403, 404, 409))
        },
    },
    TEXT,
)
