"""The addresses of label revenue, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any

from webapp.kinds.label_revenue.report.compute import METHODS
from webapp.openapi import (
    DAY,
    ID,
    NUMBER,
    TEXT,
    Describer,
    Paths,
    Schema,
    asked,
    listed,
    maybe,
    thing,
    with_ids,
)

_operation = Describer("Label revenue", thing({"error": TEXT})).operation

_MONTH = TEXT | {"examples": ["2025-03"]}
_MONTHS = (
    asked("month", "One month.", _MONTH),
    asked("from", "The first month.", _MONTH),
    asked("to", "The last month.", _MONTH),
)
_FIELDS: dict[str, Schema] = {
    "date": DAY,
    "user_id": NUMBER,
    "region": TEXT,
    "track_id": TEXT,
    "seconds": NUMBER | {"minimum": 0},
}
_STREAM = thing({"id": ID, **_FIELDS, "label": maybe(TEXT)})
_NEW = thing(_FIELDS)
_SOME = thing({}, **_FIELDS)


def _answer(data: Schema) -> Schema:
    return thing({"message": TEXT, "data": data})


def _one(summary: str, *errors: int, **more: Any) -> Schema:
    return _operation(summary, _answer(_STREAM), errors=(404, *errors), **more)


_ONE = {
    "get": _one("One stream"),
    "put": _one("Replace a stream", 409, body=_NEW),
    "patch": _one("Change fields of a stream", 409, body=_SOME),
    "delete": _one("Remove a stream", 403, 409),
}

PATHS: Paths = with_ids(
    {
        "/api/v1/report": {
            "get": _operation(
                "What each label is owed",
                _answer({"type": "object", "additionalProperties": {"type": "number"}}),
                query=(
                    *_MONTHS,
                    asked("method", "How a month is shared.", TEXT | {"enum": list(METHODS)}),
                ),
                errors=(400,),
            )
        },
        "/api/v1/users/{user_id}": {
            "get": _operation(
                "A listener's seconds by label",
                _answer(
                    thing(
                        {
                            "user_id": NUMBER,
                            "total_seconds": NUMBER,
                            "by_label": listed(thing({"label": maybe(TEXT), "seconds": NUMBER})),
                        }
                    )
                ),
                query=_MONTHS,
                errors=(400, 404),
            )
        },
        "/api/v1/streams": {
            "get": _operation(
                "Streams, newest first; Link: rel=next where there are more",
                _answer(listed(_STREAM)),
                query=(
                    asked("from", "The first day.", DAY),
                    asked("to", "The last day.", DAY),
                    asked("user_id", "Of this listener only.", NUMBER),
                    asked("label", "Of this label only."),
                    asked("limit", "How many.", NUMBER | {"minimum": 1, "maximum": 500}),
                    asked("cursor", "From the Link header."),
                ),
                errors=(400,),
            ),
            "post": _operation(
                "Store one stream or a list of them, all or none",
                _answer(listed(_STREAM)),
                status=201,
                body={"oneOf": [_NEW, listed(_NEW) | {"minItems": 1, "maxItems": 10_000}]},
                errors=(409,),
            ),
        },
        "/api/v1/stream/{stream_id}": _ONE,
        "/api/v1/streams/{stream_id}": _ONE,
    },
    TEXT,
)
