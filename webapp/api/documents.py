"""The OpenAPI 3.1 document of the API, and the same as a page for people.

Parameters of each kind come from the kind itself, so the document cannot fall behind them; a test
compares its addresses with the routes that exist.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, make_response, render_template

from webapp.accounts import openapi as account_openapi
from webapp.api.paths import paths
from webapp.engine.kind import ReportKind
from webapp.engine.models import STATUSES
from webapp.engine.params import json_schema
from webapp.engine.registry import kinds_paths

bp = Blueprint("api_documents", __name__)


@bp.get("/api/openapi.json")
def openapi_json() -> Response:
    """Return the document."""
    return jsonify(document())


@bp.get("/api/docs")
def read_docs() -> Response:
    """Show the document as a page that can be read and printed."""
    return make_response(render_template("api/docs.html", document=document()))


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of this installation."""
    kinds: dict[str, ReportKind] = current_app.extensions["report_kinds"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Partner Use Report",
            "version": "1",
            "description": (
                "Makes usage reports and shows them live. Sign in with HTTP Basic (API key and "
                "secret) or with a bearer token. Errors are problem+json (RFC 9457), but at "
                "addresses that other systems' clients know, which keep their own envelopes."
            ),
        },
        "servers": [{"url": "/"}],
        "security": [{"basic": []}, {"bearer": []}],
        "paths": paths(list(kinds)) | account_openapi.PATHS | kinds_paths(),
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
            "schemas": schemas(kinds),
        },
    }


def schemas(kinds: dict[str, ReportKind]) -> dict[str, Any]:
    """Return the shapes of the API: those of every report, and each kind's parameters."""
    named = {kind.slug: _component_name(kind.slug) for kind in kinds.values()}
    return {
        "Problem": _object(
            {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "errors": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            ["title", "status"],
        ),
        "Report": report_schema(list(kinds)),
        "NewReport": {
            "oneOf": [
                _object(
                    {
                        "kind": {"const": slug, "type": "string"},
                        "params": {"$ref": f"#/components/schemas/{name}"},
                    },
                    ["kind", "params"],
                    closed=True,
                )
                for slug, name in named.items()
            ]
        },
        "Estimate": _object(
            {
                "calls": {"type": "integer", "minimum": 0},
                "saved": {"type": "integer", "minimum": 0},
                "seconds": {"type": "number", "minimum": 0},
            },
            ["calls", "saved", "seconds"],
        ),
        "Kind": _object(
            {
                "kind": {"type": "string"},
                "title": {"type": "string"},
                "description": {"type": "string"},
                "params": {"type": "object"},
            },
            ["kind", "title", "params"],
        ),
    } | {named[slug]: json_schema(kind) for slug, kind in kinds.items()}


def report_schema(slugs: list[str]) -> dict[str, Any]:
    """Return the shape of a report as every address of the API shows it."""
    moment = {"type": ["string", "null"], "format": "date-time"}
    link = {"type": "string"}
    properties = {
        "id": {"type": "string", "format": "uuid"},
        "kind": {"type": "string", "enum": slugs},
        "status": {"type": "string", "enum": list(STATUSES)},
        "params": {"type": "object"},
        "progress": _object(
            {"done": {"type": "integer"}, "total": {"type": "integer"}}, ["done", "total"]
        ),
        "company": {"type": "string", "format": "uuid"},
        "requested_by": {"type": "string", "format": "uuid"},
        "created_at": {"type": "string", "format": "date-time"},
        "started_at": moment,
        "finished_at": moment,
        "error": {"type": ["string", "null"]},
        "links": _object(
            {"self": link, "events": link, "result": link}, ["self", "events", "result"]
        ),
    }
    return _object(properties, list(properties))


def _object(
    properties: dict[str, Any], required: list[str], *, closed: bool = False
) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    if closed:
        shape["additionalProperties"] = False
    return shape


def _component_name(slug: str) -> str:
    return "".join(word.capitalize() for word in slug.split("-")) + "Params"
