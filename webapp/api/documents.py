"""The OpenAPI 3.1 document of the API, and the same as a page for people.

Addresses, bodies and answers come from the views themselves (`lib/openapi.py`), parameters of each
kind from the kind, so the document cannot fall behind them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, current_app, jsonify, render_template
from markupsafe import Markup, escape

from webapp.api.examples import NEW_REPORT, add_examples
from webapp.engine.kind import ReportKind
from webapp.engine.params import json_schema
from webapp.engine.registry import kinds
from webapp.errors import ERROR_TYPES, NotFound
from webapp.lib.openapi import JSON, paths_and_schemas

bp = Blueprint("api_documents", __name__)

ABOUT = (
    "Makes usage reports and shows them live. Sign in with HTTP Basic (API key and secret) or with "
    "a bearer token. Errors are problem+json (RFC 9457), except at the addresses that clients of "
    "other systems use, which keep their own envelopes."
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
    "Entitlements": "Accounts bought for a partner, with which its use is compared.",
    "Session activity": "Hours at computers, from pings.",
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


@bp.app_template_filter("with_code")
def with_code(text: str) -> Markup:
    """Return a text in which what stands between backticks is shown as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


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


# The page: each operation with its fields


MOST_DEPTH = 3
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class ShownField:
    """A member of a body or answer, or a parameter of an address."""

    name: str
    type: str
    text: str
    place: str = ""
    is_needed: bool = False


@dataclass(frozen=True)
class ShownOperation:
    """One operation as the page shows it."""

    method: str
    path: str
    operation: dict[str, Any]
    parameters: list[ShownField]
    body: list[ShownField]
    body_type: str
    body_example: str
    answers: list[tuple[str, str, list[ShownField], list[str]]]

    @property
    def id(self) -> str:
        """Return the anchor of the entry."""
        return str(self.operation["operationId"])

    @property
    def curl(self) -> str:
        """Return a command that asks for it, for a shell."""
        verb = "" if self.method == "GET" else f" -X {self.method}"
        sent = ""
        if self.body_example:
            sent = f" -H 'Content-Type: {self.body_type}' -d '{self.body_example}'"
        return f'curl -u "$API_KEY:$API_SECRET"{verb} "$REPORTS_URL{self.path}"{sent}'


def entries_by_tag(
    document: dict[str, Any],
) -> Iterator[tuple[dict[str, str], list[ShownOperation]]]:
    """Yield each heading with its operations, in the order of the document."""
    for tag in document["tags"]:
        yield (
            tag,
            [
                _shown_operation(document, method, path, item)
                for path, item in document["paths"].items()
                for method, operation in item.items()
                if method != "parameters" and tag["name"] in operation["tags"]
            ],
        )


def _shown_operation(
    document: dict[str, Any], method: str, path: str, item: dict[str, Any]
) -> ShownOperation:
    operation, schemas = item[method], document["components"]["schemas"]
    parameters = [
        ShownField(
            one["name"],
            _type_of(one["schema"], schemas),
            one.get("description", ""),
            one["in"],
            one.get("required", False),
        )
        for one in [*item.get("parameters", ()), *operation.get("parameters", ())]
    ]
    answers = []
    for status, answer in operation["responses"].items():
        # What stands in every problem is told once, on the pages of the errors.
        contents = answer.get("content", {}) if status < "400" else {}
        fields = list(_field_lines(contents.get(JSON, {}).get("schema", {}), schemas))
        examples = [_example(media, one) for media, one in contents.items() if "example" in one]
        answers.append((status, answer["description"], fields, examples))
    bodies: dict[str, Any] = operation.get("requestBody", {}).get("content", {})
    media = next(iter(bodies), "")
    content = bodies.get(media, {})
    return ShownOperation(
        method.upper(),
        path,
        operation,
        parameters,
        body=list(_field_lines(content.get("schema", {}), schemas)),
        body_type=media,
        body_example=_example(media, content),
        answers=answers,
    )


def _example(media: str, content: dict[str, Any]) -> str:
    found = content.get("example", "")
    if media == FORM:
        return urlencode(found)
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, indent=2)


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without references, and without the null beside it."""
    while True:
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema and len(schema["anyOf"]) == 2:
            beside = {key: value for key, value in schema.items() if key != "anyOf"}
            schema = next(one for one in schema["anyOf"] if one != {"type": "null"}) | beside
        else:
            return schema


def _type_of(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    found = _resolved(schema, schemas)
    if "enum" in found or "const" in found:
        return " | ".join(str(one) for one in found.get("enum", [found.get("const")]))
    if found.get("type") == "array":
        return f"list of {_type_of(found.get('items', {}), schemas)}"
    # A month is a text of a pattern that its example says better.
    such_as = (
        f", such as {found['examples'][0]}" if found.get("pattern") and "examples" in found else ""
    )
    return str(found.get("format") or found.get("type", "any")) + such_as


def _field_lines(
    schema: dict[str, Any], schemas: dict[str, Any], prefix: str = "", depth: int = 0
) -> Iterator[ShownField]:
    """Yield the members of an object, of the objects in a list, and of each choice."""
    found = _resolved(schema, schemas)
    if found.get("type") == "array":
        found = _resolved(found.get("items", {}), schemas)
    for choice in found.get("oneOf", found.get("anyOf", ())):
        shape = _resolved(choice, schemas)
        name = shape.get("properties", {}).get("kind", {}).get("const") or shape.get("title", "")
        yield from _field_lines(choice, schemas, f"{prefix}({name}) " if name else prefix, depth)
    for name, member in found.get("properties", {}).items():
        told = _resolved(member, schemas)
        text = member.get("description") or told.get("description", "")
        if "title" in member and member["title"].casefold().replace(" ", "_") != name:
            text = f"{member['title']}. {text}".strip()
        if member.get("default") not in (None, "", False):
            text = f"{text} Default: `{member['default']}`.".strip()
        needed = name in found.get("required", ())
        yield ShownField(prefix + name, _type_of(member, schemas), text, is_needed=needed)
        if depth < MOST_DEPTH:
            yield from _field_lines(told, schemas, f"{prefix}{name}.", depth + 1)


def error_types() -> list[dict[str, Any]]:
    """Return the types of errors, by status. Shape: slug, status, title, when, then."""
    found = [{"slug": slug, **vars(kind)} for slug, kind in ERROR_TYPES.items()]
    return sorted(found, key=lambda one: one["status"])
