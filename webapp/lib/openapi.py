"""The OpenAPI description of views: written at the view, gathered by walking the URL map.

A room makes one `Describer` (its heading, the envelope of its errors) and decorates its views:

    describe = Describer("Reports", Problem, "application/problem+json")

    @bp.post("/reports")
    @describe(body=NewReport, answer=ReportAnswer, status=202, errors=(422,))
    def create_report() -> Response: ...

The first line of a view's docstring is its summary there, what stands below it the description.
Bodies, queries, headers and answers are pydantic models or other types pydantic knows; what they
are called and say there is what the document shows.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from flask import Flask
from pydantic import BaseModel, Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from werkzeug.routing import Rule

from webapp.lib.model import LazyModel

Schema = dict[str, Any]
View = TypeVar("View", bound=Callable[..., Any])

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
FORM = "application/x-www-form-urlencoded"
REFERENCE = "#/components/schemas/{model}"
# The attribute of a view that holds its description.
DESCRIPTION = "openapi_operation"
TEXT: Schema = {"type": "string"}
ID: Schema = {"type": "string", "format": "uuid"}

REASONS = {
    400: "The request could not be read or used.",
    401: "No credentials, or wrong ones.",
    403: "The caller's role does not allow this.",
    404: "It does not exist, or belongs to another company.",
    409: "The state of the resource does not allow this.",
    413: "The body is too large.",
    415: "This address does not accept the Content-Type of the body.",
    422: "Some values cannot be used; `errors` says why for each field.",
    429: "Too many tries; see Retry-After.",
    501: "Not offered here; `detail` says what to do instead.",
    502: "The partner's API did not answer as expected.",
    503: "A part of this installation is unavailable; see Retry-After.",
}
# A key that may only send is refused everywhere else, so 403 is among them.
ALWAYS = (401, 403, 429, 503)
BODY = (400, 413, 415)


class Problem(LazyModel):
    """An error as RFC 9457 writes it; `errors` holds a sentence per field."""

    type: str = Field(description="The address of the page about errors of this type.")
    title: str
    status: int
    detail: str = ""
    instance: str = ""
    request_id: str = ""
    errors: dict[str, str] = {}


@dataclass(frozen=True)
class Ref:
    """A schema of the document by its name, where no one model can say it."""

    name: str


@dataclass(frozen=True)
class AnswerSpec:
    """An answer: what it means, its content by media type, the names of its headers."""

    text: str
    content: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """A view's description, its types not yet turned into schemas."""

    members: Schema
    parameters: tuple[tuple[str, type[BaseModel]], ...]
    body: AnswerSpec | None
    is_body_needed: bool
    answers: Mapping[int, AnswerSpec]
    path_schema: Schema | None


@dataclass(frozen=True)
class Describer:
    """Describes the views of one room: their heading, and the envelope of their errors.

    path_schema: what stands in braces in an address, where its converter does not say enough
    """

    tag: str
    error: Any = Problem
    error_type: str = PROBLEM_JSON
    path_schema: Schema | None = None

    def __call__(
        self,
        summary: str = "",
        *,
        body: Any = None,
        body_type: str = JSON,
        body_needed: bool = True,
        query: type[BaseModel] | None = None,
        headers: type[BaseModel] | None = None,
        answer: Any = None,
        status: int = 200,
        also: Mapping[int, AnswerSpec] | None = None,
        errors: Iterable[int] = (),
        **members: Any,
    ) -> Callable[[View], View]:
        """Return the decorator of a view.

        summary: the first line of the view's docstring and, below it, the description, if empty
        answer:  a type, answered as JSON; an `AnswerSpec` where there is more to say
        also:    other good answers by their status
        members: members of OpenAPI's operation, as `description`, `deprecated`, `security`
        """
        if not isinstance(answer, AnswerSpec):
            answer = AnswerSpec("Done.", {JSON: answer} if answer is not None else {})
        # A NUL in a query is refused by all; who has an envelope of its own has no 422.
        refused = 422 if self.error is Problem else 400
        codes = {*errors, *ALWAYS, refused, *(BODY if body is not None else ())}
        problems = {
            code: AnswerSpec(REASONS[code], {self.error_type: self.error}) for code in sorted(codes)
        }
        operation = Operation(
            members={"tags": [self.tag], **members},
            parameters=tuple(
                (place, model) for place, model in (("query", query), ("header", headers)) if model
            ),
            body=AnswerSpec("", {body_type: body}) if body is not None else None,
            is_body_needed=body_needed,
            answers={status: answer, **(also or {}), **problems},
            path_schema=self.path_schema,
        )

        def decorate(view: View) -> View:
            head, _, below = (inspect.getdoc(view) or "").partition("\n\n")
            said = {"summary": summary or head.rstrip(".")}
            if below and not summary:
                said["description"] = " ".join(below.split())
            setattr(view, DESCRIPTION, replace(operation, members=operation.members | said))
            return view

        return decorate


def described(app: Flask) -> Iterator[tuple[Rule, str, Operation]]:
    """Yield each rule whose view is described, with each of its methods, by address."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda one: one.rule):
        operation = getattr(app.view_functions[rule.endpoint], DESCRIPTION, None)
        if operation is not None:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method.lower(), operation


def paths_and_schemas(app: Flask) -> tuple[dict[str, Any], dict[str, Schema]]:
    """Return OpenAPI's paths, and the schemas they refer to, of all described views.

    A model `ReportAnswer` is called `Report` there: outside nothing else has that name.
    """
    views = list(described(app))
    schemas = _Schemas(operation for _, _, operation in views)
    paths: dict[str, Any] = {}
    names: set[str] = set()
    for rule, method, operation in views:
        path = re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", rule.rule)
        item = paths.setdefault(path, {})
        if rule.arguments:
            item["parameters"] = _path_parameters(rule, operation.path_schema)
        item[method] = {"operationId": _operation_id(rule, method, names)}
        item[method] |= schemas.operation(operation)
    used = set(re.findall(r"'#/components/schemas/([^']+)'", str([paths, schemas.components])))
    components = {name: one for name, one in schemas.components.items() if name in used}
    return _renamed(paths, components)


def _operation_id(rule: Rule, method: str, taken: set[str]) -> str:
    """Return the view's name behind its blueprint's, but `api`; method and number where needed."""
    blueprint, _, view = rule.endpoint.rpartition(".")
    name = "_".join(one for one in (blueprint.removesuffix("api").strip("_"), view) if one)
    names = [name, f"{method}_{name}", *(f"{method}_{name}_{number}" for number in range(2, 9))]
    found = next(one for one in names if one not in taken)
    taken.add(found)
    return found


def _renamed(paths: Schema, components: Schema) -> tuple[Schema, Schema]:
    text = json.dumps([paths, components])
    for name in components:
        short = name.removesuffix("Answer")
        if short not in components:
            text = text.replace(f'"{name}"', f'"{short}"').replace(f'/{name}"', f'/{short}"')
    paths, components = json.loads(text)
    return paths, components


def _path_parameters(rule: Rule, schema: Schema | None) -> list[Schema]:
    by_converter = {"UUIDConverter": ID, "IntegerConverter": {"type": "integer", "minimum": 0}}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": by_converter.get(type(converter).__name__, schema or TEXT),
        }
        for name, converter in rule._converters.items()
    ]


class _Generate(GenerateJsonSchema):
    """Pydantic's JSON Schema without a title for each field, which says its name again.

    And without a default of null, which only says that the field may be left out.
    """

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> Schema:
        made = super().default_schema(schema)
        return {key: value for key, value in made.items() if key != "default" or value is not None}


class _Schemas:
    """The schemas of all types that operations name, made at once so that names are settled."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        wanted: list[tuple[Any, JsonSchemaMode]] = []
        for operation in operations:
            wanted += [(model, "validation") for _, model in operation.parameters]
            if operation.body is not None:
                wanted += [(kind, "validation") for kind in operation.body.content.values()]
            for answer in operation.answers.values():
                wanted += [(kind, "serialization") for kind in answer.content.values()]
        types = ((kind, mode) for kind, mode in wanted if not isinstance(kind, Ref | dict))
        self._types = list(dict.fromkeys(types))
        inputs = [
            (number, mode, TypeAdapter(kind)) for number, (kind, mode) in enumerate(self._types)
        ]
        self._made, definitions = TypeAdapter.json_schemas(
            inputs, ref_template=REFERENCE, schema_generator=_Generate
        )
        self.components: dict[str, Schema] = definitions.get("$defs", {})

    def schema(self, kind: Any, mode: JsonSchemaMode) -> Schema:
        """Return a type's schema, or the reference to it."""
        if isinstance(kind, Ref):
            return {"$ref": REFERENCE.format(model=kind.name)}
        if isinstance(kind, dict):
            return kind
        return self._made[(self._types.index((kind, mode)), mode)]

    def operation(self, operation: Operation) -> Schema:
        """Return an operation as OpenAPI writes it."""
        found = dict(operation.members)
        parameters = [
            one for place, model in operation.parameters for one in self._parameters(place, model)
        ]
        if parameters:
            found["parameters"] = parameters
        if operation.body is not None:
            content = self._content(operation.body, "validation")
            found["requestBody"] = {"required": operation.is_body_needed, "content": content}
        found["responses"] = {
            str(status): self._response(answer) for status, answer in operation.answers.items()
        }
        return found

    def _parameters(self, place: str, model: type[BaseModel]) -> Iterator[Schema]:
        schema = self.schema(model, "validation")
        model_schema = self.components[schema["$ref"].rpartition("/")[2]]
        for name, shape in model_schema["properties"].items():
            # What may be left out need not be allowed to be null as well.
            [*shapes] = [one for one in shape.get("anyOf", [shape]) if one != {"type": "null"}]
            parameter = {"name": name, "in": place, "description": shape.get("description", "")}
            if name in model_schema.get("required", []):
                parameter["required"] = True
            rest = {
                key: value for key, value in shape.items() if key not in ("description", "anyOf")
            }
            yield parameter | {"schema": rest | (shapes[0] if "anyOf" in shape else {})}

    def _response(self, answer: AnswerSpec) -> Schema:
        found: Schema = {"description": answer.text}
        if answer.content:
            found["content"] = self._content(answer, "serialization")
        if answer.headers:
            found["headers"] = {name: {"schema": TEXT} for name in answer.headers}
        return found

    def _content(self, answer: AnswerSpec, mode: JsonSchemaMode) -> Schema:
        return {
            media: {"schema": self.schema(kind, mode)} for media, kind in answer.content.items()
        }
