"""Pieces of the OpenAPI document, for rooms and kinds that describe addresses of their own.

A room writes its addresses as data in its `openapi.py`; `webapp/api` puts all of them together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]
Paths = dict[str, dict[str, Any]]

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
PROBLEM: Schema = {"$ref": "#/components/schemas/Problem"}
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
ID: Schema = {"type": "string", "format": "uuid"}
DAY: Schema = {"type": "string", "format": "date"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
YES: Schema = {"type": "boolean"}

REASONS = {
    400: "The request could not be read or used.",
    401: "No credentials, or wrong ones.",
    403: "Not yours to do.",
    404: "Unknown, or not yours to see.",
    409: "Not in a state that allows this.",
    413: "The body is too large.",
    415: "Another content type than this address reads.",
    422: "Some values cannot be used.",
    429: "Too many tries; see Retry-After.",
    503: "A part of this installation is away; see Retry-After.",
}
ALWAYS = (401, 429, 503)
BODY = (400, 403, 413, 415)


def thing(needed: Mapping[str, Schema], **optional: Schema) -> Schema:
    """Return the schema of an object, by its members."""
    return {"type": "object", "properties": {**needed, **optional}, "required": list(needed)}


def listed(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def maybe(schema: Schema) -> Schema:
    """Return the schema of a value that may be null."""
    return schema | {"type": [schema["type"], "null"]}


def asked(name: str, description: str, schema: Schema = TEXT, *, needed: bool = False) -> Schema:
    """Return a parameter of the query."""
    found = {"name": name, "in": "query", "description": description, "schema": schema}
    return found | {"required": True} if needed else found


@dataclass(frozen=True)
class Describer:
    """Writes the operations of one room: the heading they stand under, and its errors' envelope."""

    tag: str
    error: Schema
    error_type: str = JSON

    def operation(
        self,
        summary: str,
        answer: Schema | None,
        *,
        status: int = 200,
        body: Schema | None = None,
        body_type: str = JSON,
        query: tuple[Schema, ...] = (),
        errors: tuple[int, ...] = (),
        **more: Any,
    ) -> Schema:
        """Return an operation; `more` are members OpenAPI has beside these."""
        done: Schema = {"description": "Done."}
        if answer is not None:
            done["content"] = {JSON: {"schema": answer}}
        codes = sorted({*errors, *ALWAYS, *(BODY if body else ())})
        content = {self.error_type: {"schema": self.error}}
        problems = {str(code): {"description": REASONS[code], "content": content} for code in codes}
        found: Schema = {"tags": [self.tag], "summary": summary}
        if query:
            found["parameters"] = list(query)
        if body is not None:
            found["requestBody"] = {"required": True, "content": {body_type: {"schema": body}}}
        return {**found, "responses": {str(status): done, **problems}, **more}


def with_ids(paths: Paths, schema: Schema = ID) -> Paths:
    """Return the paths with what stands in braces in an address declared, all of one schema."""
    return {path: _ids(path, schema) | item for path, item in paths.items()}


def _ids(path: str, schema: Schema) -> Schema:
    names = re.findall(r"{(\w+)}", path)
    declared = [{"name": name, "in": "path", "required": True, "schema": schema} for name in names]
    return {"parameters": declared} if declared else {}
