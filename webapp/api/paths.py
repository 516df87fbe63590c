"""The addresses of the API as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from webapp.engine.models import STATUSES

PROBLEMS = {
    400: "The request could not be read.",
    401: "No credentials, or wrong ones.",
    403: "Not yours to do.",
    404: "Unknown, or not yours to see.",
    409: "Not in a state that allows this.",
    413: "The body is too large.",
    415: "Send JSON.",
    422: "Some values cannot be used: a sentence per field.",
    429: "Too many tries; see Retry-After.",
    502: "The partner's API did not answer as hoped.",
    503: "A part of this installation is away.",
}
ALWAYS = (401, 429, 503)


def _problems(*codes: int) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        str(code): {"description": PROBLEMS[code], "content": content}
        for code in sorted({*codes, *ALWAYS})
    }


def _json(description: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}, **more}


def _component(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": schema}


EVENTS = {"text/event-stream": {"schema": {"type": "string"}}}
NEW_REPORT = {
    "required": True,
    "content": {"application/json": {"schema": _component("NewReport")}},
}
MONTH = {"type": "string", "pattern": r"^(19[7-9]\d|[2-9]\d{3})-(0[1-9]|1[0-2])$"}
REPORT_ID = {
    "name": "report_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}


def paths(slugs: list[str]) -> dict[str, Any]:
    """Return all addresses; `slugs` are the kinds of this installation."""
    return {
        "/api/v1/reports": {"post": _create(), "get": _index(slugs)},
        "/api/v1/reports/estimate": {"post": _estimate()},
        "/api/v1/reports/{report_id}": {
            "parameters": [REPORT_ID],
            "get": _show(),
            "delete": _delete(),
        },
        "/api/v1/reports/{report_id}/events": {"parameters": [REPORT_ID], "get": _events()},
        "/api/v1/reports/{report_id}/result": {"parameters": [REPORT_ID], "get": _result()},
        "/api/v1/reports/{report_id}/retry": {"parameters": [REPORT_ID], "post": _retry()},
        "/api/v1/kinds": {"get": _kinds()},
        "/api/v1/months": {"delete": _months(slugs)},
    }


def _create() -> dict[str, Any]:
    key = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
    started = _json("The report, queued.", _component("Report"))
    started["headers"] = {"Location": {"schema": {"type": "string"}}}
    return {
        "summary": "Make a report",
        "description": "With Accept: text/event-stream the answer is the report's event stream.",
        "parameters": [
            _header("Idempotency-Key", "The same key and body give the same report.", key)
        ],
        "requestBody": NEW_REPORT,
        "responses": {
            "202": started,
            "200": {"description": "The event stream of the new report.", "content": EVENTS},
            **_problems(400, 403, 413, 415, 422),
        },
    }


def _index(slugs: list[str]) -> dict[str, Any]:
    reports = {"type": "array", "items": _component("Report")}
    return {
        "summary": "List reports, newest first",
        "parameters": [
            _query("kind", "Only this kind.", {"type": "string", "enum": slugs}),
            _query("status", "Only this status.", {"type": "string", "enum": list(STATUSES)}),
            _query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 100}),
            _query("cursor", "From the Link header.", {"type": "string"}),
        ],
        "responses": {
            "200": _json("Reports; Link: rel=next where there are more.", reports),
            "304": {"description": "Not changed since the given ETag."},
            **_problems(422),
        },
    }


def _estimate() -> dict[str, Any]:
    return {
        "summary": "About how many calls a report needs, and how long",
        "requestBody": NEW_REPORT,
        "responses": {
            "200": _json("The estimate.", _component("Estimate")),
            **_problems(400, 403, 413, 415, 422, 502),
        },
    }


def _show() -> dict[str, Any]:
    return {
        "summary": "One report",
        "responses": {
            "200": _json("The report.", _component("Report")),
            "304": {"description": "Not changed since the given ETag."},
            **_problems(404),
        },
    }


def _delete() -> dict[str, Any]:
    return {
        "summary": "Cancel a queued or running report, delete a finished one",
        "responses": {
            "202": _json("Cancelled.", _component("Report")),
            "204": {"description": "Deleted."},
            **_problems(403, 404, 409),
        },
    }


def _events() -> dict[str, Any]:
    return {
        "summary": "Status lines, from the first to the end",
        "description": (
            "`event: status` with `id: <seq>` and data `{seq, at, level, text, done, total}`; last "
            "`event: end` with data `{status}`. Comments keep a quiet stream open."
        ),
        "parameters": [
            _header("Last-Event-ID", "Only lines after this number.", {"type": "string"}),
            _query("after", "The same, for who cannot send the header.", {"type": "string"}),
        ],
        "responses": {
            "200": {"description": "Server-Sent Events.", "content": EVENTS},
            "204": {"description": "The report has ended, and the caller has heard the end."},
            **_problems(404),
        },
    }


def _result() -> dict[str, Any]:
    anything = {"type": "object"}
    xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    return {
        "summary": "The result as JSON, CSV or XLSX",
        "parameters": [
            _query(
                "format", "Wins over Accept.", {"type": "string", "enum": ["json", "csv", "xlsx"]}
            ),
            _query("by", "Another table of the CSV, e.g. site.", {"type": "string"}),
            _query("raw", "1: no text of the CSV is guarded.", {"type": "string", "enum": ["1"]}),
        ],
        "responses": {
            "200": {
                "description": "The result.",
                "content": {
                    "application/json": {"schema": anything},
                    "text/csv": {"schema": {"type": "string"}},
                    xlsx: {"schema": {"type": "string", "format": "binary"}},
                },
            },
            "304": {"description": "Not changed since the given ETag."},
            **_problems(404, 409, 422),
        },
    }


def _retry() -> dict[str, Any]:
    body = {
        "required": False,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
    return {
        "summary": "Try again only what failed",
        "description": (
            "For incomplete and failed reports. Secrets are erased when a report ends: send them "
            'again as `{"params": {…}}`, unless the report uses a stored connection. The body the '
            "report was made with will do, and other credentials may take the place of the first."
        ),
        "requestBody": body,
        "responses": {
            "202": _json("The report, queued again.", _component("Report")),
            **_problems(400, 403, 404, 409, 413, 415, 422),
        },
    }


def _kinds() -> dict[str, Any]:
    kinds = {"type": "array", "items": _component("Kind")}
    return {
        "summary": "The kinds of report and their parameters",
        "responses": {"200": _json("Kinds, with parameters as JSON Schema.", kinds), **_problems()},
    }


def _months(slugs: list[str]) -> dict[str, Any]:
    expired = {
        "type": "object",
        "properties": {"expired": {"type": "integer", "minimum": 0}},
        "required": ["expired"],
    }
    return {
        "summary": "Force stored months to expire",
        "parameters": [
            _query("kind", "Only this kind.", {"type": "string", "enum": slugs}),
            _query("subject", "A partner ID or the ID of one of its sites.", {"type": "string"}),
            _query("from", "First month.", MONTH),
            _query("to", "Last month.", MONTH),
        ],
        "responses": {"200": _json("How many expired.", expired), **_problems(403, 422)},
    }
