"""The reference page of the API, and a page a type of error: both from what the program says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from webapp.errors import ERROR_TYPES
from webapp.lib.openapi import JSON

MOST_DEPTH = 3


@dataclass(frozen=True)
class Field:
    """A member of a body or answer, or a parameter of an address."""

    name: str
    type: str
    text: str
    place: str = ""
    is_needed: bool = False


@dataclass(frozen=True)
class Entry:
    """One operation as the page shows it."""

    method: str
    path: str
    operation: dict[str, Any]
    parameters: list[Field]
    body: list[Field] = field(default_factory=list)
    body_type: str = ""
    body_example: str = ""
    answers: list[tuple[str, str, list[Field], str]] = field(default_factory=list)

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


def entries_by_tag(document: dict[str, Any]) -> Iterator[tuple[dict[str, str], list[Entry]]]:
    """Yield each heading with its operations, in the order of the document."""
    for tag in document["tags"]:
        yield (
            tag,
            [
                _entry(document, method, path, item)
                for path, item in document["paths"].items()
                for method, operation in item.items()
                if method != "parameters" and tag["name"] in operation["tags"]
            ],
        )


def _entry(document: dict[str, Any], method: str, path: str, item: dict[str, Any]) -> Entry:
    operation, schemas = item[method], document["components"]["schemas"]
    parameters = [
        Field(
            one["name"],
            _type_of(one["schema"], schemas),
            one.get("description", ""),
            one["in"],
            one.get("required", False),
        )
        for one in [*item.get("parameters", ()), *operation.get("parameters", ())]
    ]
    entry = Entry(method.upper(), path, operation, parameters)
    answers = []
    for status, answer in operation["responses"].items():
        content = answer.get("content", {}).get(JSON, {})
        # What stands in every problem is told once, on the pages of the errors.
        fields = list(_field_lines(content.get("schema", {}), schemas)) if status < "400" else []
        answers.append((status, answer["description"], fields, _shown(content)))
    body: dict[str, Any] = operation.get("requestBody", {}).get("content", {})
    for media, content in body.items():
        fields = list(_field_lines(content["schema"], schemas))
        return Entry(
            entry.method, path, operation, parameters, fields, media, _shown(content), answers
        )
    return Entry(entry.method, path, operation, parameters, answers=answers)


def _shown(content: dict[str, Any]) -> str:
    if "example" not in content:
        return ""
    return json.dumps(content["example"], ensure_ascii=False, indent=2)


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
    return str(found.get("format") or found.get("type", "any"))


def _field_lines(
    schema: dict[str, Any], schemas: dict[str, Any], prefix: str = "", depth: int = 0
) -> Iterator[Field]:
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
        needed = name in found.get("required", ())
        yield Field(prefix + name, _type_of(member, schemas), text, is_needed=needed)
        if depth < MOST_DEPTH:
            yield from _field_lines(told, schemas, f"{prefix}{name}.", depth + 1)


def error_types() -> list[dict[str, Any]]:
    """Return the types of errors, by status. Shape: slug, status, title, when, then."""
    found = [{"slug": slug, **vars(kind)} for slug, kind in ERROR_TYPES.items()]
    return sorted(found, key=lambda one: one["status"])
