"""An example for each JSON body and answer of the document, which its schema allows."""

from __future__ import annotations

from typing import Any

from webapp.lib.openapi import JSON, Schema

# Examples of texts, by their format or by the name of their field.
STRINGS = {
    "uuid": "683a0f3e-eba0-4031-b068-397d5fb27ac7",
    "date-time": "2026-11-22T02:40:18.422Z",
    "date": "2026-11-22",
    "month": "2026-10",
    "email": "ada@example.com",
}


def add_examples(document: dict[str, Any]) -> None:
    """Give each JSON body and good answer of a document an example that its schema allows."""
    schemas = document["components"]["schemas"]
    for item in document["paths"].values():
        for operation in (one for method, one in item.items() if method != "parameters"):
            answers = (one for status, one in operation["responses"].items() if status < "400")
            for part in (operation.get("requestBody", {}), *answers):
                if content := part.get("content", {}).get(JSON):
                    content.setdefault("example", _example_of(content["schema"], schemas))


def _example_of(schema: Schema, schemas: dict[str, Schema], name: str = "", depth: int = 0) -> Any:
    """Return a value that a schema allows, from its own examples where it has any."""
    if "$ref" in schema:
        return _example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas, name, depth)
    for given in ("examples", "enum"):
        if given in schema:
            return schema[given][0]
    if "const" in schema or schema.get("default") is not None:
        return schema.get("const", schema.get("default"))
    for choices in ("oneOf", "anyOf", "allOf"):
        if choices in schema:
            return _example_of(schema[choices][0], schemas, name, depth)
    match schema.get("type"):
        case "object":
            members = schema.get("properties", {})
            # What need not be sent may exclude something else.
            shown = schema.get("required", ()) if depth or "required" in schema else members
            return {one: _example_of(members[one], schemas, one, depth + 1) for one in shown}
        case "array":
            return [_example_of(schema.get("items", {}), schemas, name, depth + 1)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "string":
            by_name = STRINGS.get(name, f"a {name.replace('_', ' ')}".strip())
            return STRINGS.get(schema.get("format", ""), by_name)
    return None
