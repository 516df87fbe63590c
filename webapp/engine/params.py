"""From a form, a query string, a command line or JSON to typed parameters, or a sentence per field.

A kind's parameters are a pydantic model; this module turns pydantic's findings into sentences for
people, keeps secrets apart from everything that is stored in the clear, and describes the model as
JSON Schema and as form fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from webapp.accounts import Scope
from webapp.engine.kind import ReportKind
from webapp.errors import InvalidParams
from webapp.lib.bodies import MONTH_PATTERN, UNSTORABLE, Month, sentences
from webapp.lib.texts import storable

# The range of months that a kind's parameters ask for, `start` and `end`.
FIRST_MONTH = Field(title="First month", description="Included.")
LAST_MONTH = Field(title="Last month", description="Included. Not later than the current month.")
FirstMonth = Annotated[Month, FIRST_MONTH]
LastMonth = Annotated[Month, LAST_MONTH]
DIFFERS = "A retry keeps the parameters of the report; make a new report to change this."


@dataclass(frozen=True)
class Parsed:
    """Parameters as the kind reads them, as they may be stored, and the secrets apart."""

    params: BaseModel
    public: dict[str, Any]
    secrets: dict[str, str]


def read_params(kind: ReportKind, raw: Mapping[str, Any]) -> Parsed:
    """Return the parameters, or raise InvalidParams with a sentence per field.

    An empty text counts as not given, because a form cannot leave a field out.
    """
    if not isinstance(raw, Mapping):
        raise InvalidParams({"params": "Send the parameters as a JSON object."})
    given = {str(key): value for key, value in raw.items() if value is not None and value != ""}
    secrets = {key: given.pop(key) for key in kind.secret_params if key in given}
    errors = {}
    for key, value in secrets.items():
        if not isinstance(value, str):
            errors[key] = "Send this as text."
        elif len(value) > 4096 or not value.isprintable():
            errors[key] = (
                "The text is longer than 4,096 characters or has characters that cannot be sent."
            )
    unstorable = {
        name if storable(name) else "params": UNSTORABLE
        for name, value in given.items()
        if not (storable(name) and (not isinstance(value, str) or storable(value)))
    }
    if unstorable:
        raise InvalidParams(errors | unstorable)
    params: BaseModel | None = None
    try:
        params = kind.Params.model_validate(given)
    except ValidationError as error:
        errors |= sentences(error)
    # All that is wrong in one answer, so that nobody sends a form four times.
    present = given.keys() | {key for key, value in secrets.items() if str(value).strip()}
    for key, sentence in kind.missing_params(given, present).items():
        errors.setdefault(key, sentence)
    if errors or params is None:
        raise InvalidParams(errors)
    public = params.model_dump(mode="json", exclude_none=True)
    return Parsed(params, public, {key: value.strip() for key, value in secrets.items()})


def retried_params(
    kind: ReportKind, stored: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the parameters a report is tried again with, secrets among them.

    stored: the report's own, without secrets
    given:  what the retry sends: only a way in, or all that the report was asked with once more
    Raises: InvalidParams with a sentence per field that says something else than the report
    """
    sent = {name: value for name, value in given.items() if value is not None and value != ""}
    taken = [
        way for way in kind.credential_options if way & set(sent) and way <= set(sent) | set(stored)
    ]
    # The ways in that another one now replaces.
    left = set().union(*kind.credential_options).difference(*taken) if taken else set()
    again = {name: value for name, value in stored.items() if name not in left} | sent
    public = read_params(kind, again).public
    differing = [
        name
        for name in sent
        if name not in kind.retry_params and public.get(name) != stored.get(name)
    ]
    if differing:
        raise InvalidParams(dict.fromkeys(differing, DIFFERS))
    return again


def stored_params(kind: ReportKind, public: Mapping[str, Any]) -> Any:
    """Return the typed parameters of a stored report."""
    return kind.Params.model_validate(dict(public))


def json_schema(kind: ReportKind) -> dict[str, Any]:
    """Return the parameters as JSON Schema, secrets marked write-only, form hints left out."""
    schema = kind.Params.model_json_schema(mode="validation")
    for name, field in schema.get("properties", {}).items():
        field.pop("form", None)
        if name in kind.secret_params:
            field["writeOnly"] = True
    return schema


@dataclass(frozen=True)
class FormField:
    """One field of a kind's form, as the generic form template draws it.

    widget:  text, password, month, date, select, radio, checkbox, number; for a list checkboxes,
             or lines, a text a line
    choices: (value, label) of a select, a radio, or checkboxes (any number of them; a list)
    when:    (field, value): shown only while the other field has that value, or one of a|b
    months_ago: the month that stands in an empty form, this many before the current one
    """

    name: str
    label: str
    widget: str
    help: str = ""
    default: Any = None
    required: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    when: tuple[str, str] | None = None
    autocomplete: str = "off"
    months_ago: int | None = None

    @property
    def is_list(self) -> bool:
        """Return whether the field holds a list of values."""
        return self.widget in {"checkboxes", "lines"}


def form_fields(kind: ReportKind, scope: Scope | None = None) -> tuple[FormField, ...]:
    """Return the form of a kind, in the order its parameters are written.

    How a field is drawn follows from its type; it may say otherwise in
    `json_schema_extra={"form": {...}}`, keys as FormField. Secrets are declared in `Params` like
    all others and never come back filled in. Choices that depend on the company come from the
    kind; a select without any is left out.
    """
    own = kind.choices(scope) if scope else {}
    schemas = kind.Params.model_json_schema().get("properties", {})
    fields = []
    for name, info in kind.Params.model_fields.items():
        extra = info.json_schema_extra
        form = extra.get("form") if isinstance(extra, dict) else None
        hints: dict[str, Any] = dict(form) if isinstance(form, dict) else {}
        if hints.pop("hidden", False):
            continue
        drawn = _drawn("password" if name in kind.secret_params else "", schemas.get(name, {}))
        hints = drawn | hints
        choices = own.get(name, hints.pop("choices"))
        if hints.get("widget") == "select" and not choices:
            continue
        when = hints.pop("when", None)
        fields.append(
            FormField(
                name=name,
                label=info.title or name.replace("_", " ").capitalize(),
                help=info.description or "",
                default=None if info.is_required() else info.get_default(call_default_factory=True),
                required=hints.pop("required", info.is_required()),
                choices=tuple((str(value), str(label)) for value, label in choices),
                when=tuple(when) if when else None,
                **hints,
            )
        )
    return tuple(fields)


def _drawn(widget: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return widget and choices of a parameter by its JSON Schema."""
    shape = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
    is_list = shape.get("type") == "array"
    options = (shape.get("items", {}) if is_list else shape).get("enum", ())
    by_type = {"boolean": "checkbox", "integer": "number", "array": "lines"}
    if options:
        widget = widget or ("checkboxes" if is_list else "select")
    elif shape.get("pattern") == MONTH_PATTERN:
        widget = widget or "month"
    elif shape.get("format") == "date":
        widget = widget or "date"
    choices = tuple((option, str(option).replace("_", " ").capitalize()) for option in options)
    return {"widget": widget or by_type.get(shape.get("type", ""), "text"), "choices": choices}


def is_list(schema: Mapping[str, Any]) -> bool:
    """Return whether a parameter, by its JSON Schema, takes a list of values."""
    return any(one.get("type") == "array" for one in schema.get("anyOf", (schema,)))


def param_text(value: Any) -> str:
    """Return a stored parameter as people read it."""
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
