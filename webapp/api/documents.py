"""The OpenAPI 3.1 document of the API, and the same as a page for people.

Addresses, bodies and answers come from the views themselves (`lib/openapi.py`), parameters of each
kind from the kind, so the document cannot fall behind them.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, make_response, render_template

from webapp.engine.kind import ReportKind
from webapp.engine.params import json_schema
from webapp.engine.registry import kinds
from webapp.lib.openapi import paths_and_schemas

bp = Blueprint("api_documents", __name__)

ABOUT = (
    "Makes usage reports and shows them live. Sign in with HTTP Basic (API key and secret) or with "
    "a bearer token. Errors are problem+json (RFC 9457), but at addresses that other systems' "
    "clients know, which keep their own envelopes."
)


@bp.get("/api/openapi.json")
def openapi_json() -> Response:
    """Return the document."""
    return jsonify(document())


@bp.get("/api/docs")
def read_docs() -> Response:
    """Show the document as a page that can be read and printed."""
    return make_response(render_template("api/docs.html", document=document()))


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of this installation; it is made once."""
    extensions: dict[str, dict[str, Any]] = current_app.extensions
    if "openapi_document" in extensions:
        return extensions["openapi_document"]
    paths, schemas = paths_and_schemas(current_app)
    made = extensions["openapi_document"] = {
        "openapi": "3.1.0",
        "info": {"title": "Partner Use Report", "version": "1", "description": ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"basic": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
            "schemas": schemas | kind_schemas(list(kinds().values())),
        },
    }
    return made


def kind_schemas(kinds: list[ReportKind]) -> dict[str, Any]:
    """Return each kind's parameters by name, and the body that makes a report of any of them."""
    names = {kind.slug: kind.slug.title().replace("-", "") + "Params" for kind in kinds}
    bodies = [
        {
            "type": "object",
            "properties": {
                "kind": {"const": slug, "type": "string"},
                "params": {"$ref": f"#/components/schemas/{name}"},
            },
            "required": ["kind", "params"],
            "additionalProperties": False,
        }
        for slug, name in names.items()
    ]
    return {"NewReport": {"oneOf": bodies}} | {
        names[kind.slug]: json_schema(kind) for kind in kinds
    }
