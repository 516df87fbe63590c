"""The OpenAPI 3.1 document of the API, and the same as a page for people.

Addresses, bodies and answers come from the views themselves (`lib/openapi.py`), parameters of each
kind from the kind, so the document cannot fall behind them.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, render_template

from webapp.api.examples import add_examples
from webapp.api.reference import entries_by_tag, error_types
from webapp.engine.kind import ReportKind
from webapp.engine.params import json_schema
from webapp.engine.registry import kinds
from webapp.errors import NotFound
from webapp.lib.openapi import paths_and_schemas

bp = Blueprint("api_documents", __name__)

ABOUT = (
    "Makes usage reports and shows them live. Sign in with HTTP Basic (API key and secret) or with "
    "a bearer token. Errors are problem+json (RFC 9457), but at addresses that other systems' "
    "clients know, which keep their own envelopes."
)


TAGS = {
    "Reports": "Make a report of any kind, follow it, fetch its result.",
    "Saved reports": "Reports with a name: by schedule, sent, compared.",
    "Signing in": "API keys and passwords changed into tokens.",
    "Companies and users": "Who may see what, as the clients of the inventory know it.",
    "Label revenue": "What labels are owed, and the streams it follows from.",
    "Inventory": "Greenhouse gas entries, periods and units, and the files made of them.",
    "Project storage": "What projects store, kept current by file events.",
    "Projects": "Projects, their people and providers, and the events of their files.",
    "Entitlements": "Accounts bought for a partner, against which its use is held.",
    "Session activity": "Hours at computers, from pings.",
}
# What the stand-in partner of `make run` knows; public.
NEW_REPORT = {
    "kind": "partner-use",
    "params": {
        "partner_id": "70000001",
        "user_key": "demo-user-key",
        "user_secret": "ZGVtby1zZWNyZXQ=",
        "mode": "monthly",
        "start": "2024-01",
        "end": "2024-06",
    },
}


@bp.get("/api/openapi.json")
def openapi_json() -> Response:
    """Return the document."""
    return jsonify(document())


@bp.get("/api/docs")
def read_docs() -> str:
    """Show the document as a page: contents, search, each address with fields, examples, a try."""
    made = document()
    return render_template("api/docs.html", document=made, groups=list(entries_by_tag(made)))


@bp.get("/api/errors")
def read_errors() -> str:
    """Show every type of error."""
    return render_template("api/errors.html", types=error_types())


@bp.get("/api/errors/<slug>")
def read_error(slug: str) -> str:
    """Show one type of error: what an error's `type` leads to."""
    types = [one for one in error_types() if one["slug"] == slug]
    if not types:
        raise NotFound("There is no such type of error.")
    return render_template("api/errors.html", types=types)


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
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
            "schemas": schemas | kind_schemas(list(kinds().values())),
        },
    }
    add_examples(made)
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
    return {"NewReport": {"oneOf": bodies, "examples": [NEW_REPORT]}} | {
        names[kind.slug]: json_schema(kind) for kind in kinds
    }
