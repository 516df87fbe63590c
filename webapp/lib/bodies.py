"""JSON on the wire: what a request carries, read into pydantic models (a value, or a sentence per
field), and how an answer is written.

Every address that takes JSON reads it here, so that what one of them refuses no other one chokes
on; and every answer may quote what was sent, whatever that was. The same models are what
`lib/openapi.py` describes, and answers are written from models too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import isfinite
from typing import Annotated, Any, TypeVar

from flask import Response, jsonify, request
from flask.json.provider import DefaultJSONProvider
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema, to_jsonable_python
from werkzeug.datastructures import MultiDict

from webapp.errors import InvalidParams, TooLarge, Unreadable, UnsupportedType
from webapp.lib.moments import rfc3339
from webapp.lib.months import month_text, months_between, parse_month
from webapp.lib.texts import listed, storable

M = TypeVar("M", bound=BaseModel)

# No body of ours is deeper than a handful; beyond this, code that walks it would run out of stack.
MOST_NESTED = 50
UNREADABLE = "The body is not JSON that can be read."
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
MOST_BYTES = 1024 * 1024
MONTH_PATTERN = r"^(19[7-9]\d|[2-9]\d{3})-(0[1-9]|1[0-2])$"
LAST_BEFORE_FIRST = "The last month is before the first month."
EMPTY = "This is empty; write a value."
UNSTORABLE = "The text contains characters that cannot be stored."
# By pydantic's name of a finding, or by what that begins with.
SENTENCES = {
    "missing": "This field is required.",
    "bool": "Write true or false.",
    "string_type": "Send this as text.",
    "int": "Write a whole number.",
    "uuid": "This is not a valid ID.",
    "date": "Write the date as YYYY-MM-DD.",
    "date_from_datetime_inexact": "Write the day alone, as YYYY-MM-DD, without a time.",
    "dict_type": "Send a JSON object.",
    "model_type": "Send a JSON object.",
    "list_type": "Send a list.",
    "string_too_long": "Use at most {max_length} characters.",
    "string_too_short": "Use at least {min_length} characters.",
    "value_error": "{error}",
    "at_field": "{sentence}",
}


class WireJSON(DefaultJSONProvider):
    """Writes answers in UTF-8, members in their order; no text a caller sent can break one."""

    ensure_ascii = False
    sort_keys = False

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return the JSON text; half a character, which UTF-8 cannot hold, becomes a mark."""
        text = super().dumps(obj, **kwargs)
        return text if text.isascii() else LONE_SURROGATE.sub("\ufffd", text)


def json_body(
    *, most_bytes: int | None = None, parse_float: Callable[[str], Any] | None = None
) -> Any:
    """Return what the request's body holds, sent as JSON.

    parse_float: reads numbers with a point, for who needs all their digits
    Raises: Unreadable, UnsupportedType for another content type, TooLarge past `most_bytes`
    """
    raw = body_bytes(most_bytes)
    if not raw:
        raise Unreadable("There is no body; send JSON.")
    if not request.is_json:
        raise UnsupportedType("Send the body as JSON, with Content-Type: application/json.")
    return parse_json(raw, parse_float=parse_float)


def body_bytes(most: int | None = None) -> bytes:
    """Return the request's body; raises TooLarge past that many bytes, before more is read."""
    if most is None:
        return request.get_data()
    sentence = f"The body is larger than {most // 1024:,} KB."
    if (request.content_length or 0) > most:
        raise TooLarge(sentence)
    # A body that comes in chunks does not say how long it is.
    request.max_content_length = most + 1
    raw = request.get_data(cache=True)
    if len(raw) > most:
        raise TooLarge(sentence)
    return raw


def parse_json(raw: bytes, *, parse_float: Callable[[str], Any] | None = None) -> Any:
    """Return what a JSON text holds.

    Raises: Unreadable where it is broken, nested too deep, or has a number no float holds (1e400)
    """
    try:
        value = json.loads(raw, parse_float=parse_float or _finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        raise Unreadable(UNREADABLE) from None
    level = [value]
    for _ in range(MOST_NESTED + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    raise Unreadable(f"The body is nested more than {MOST_NESTED} deep.")


def _finite(text: str) -> float:
    if not isfinite(number := float(text)):
        raise ValueError(f"{text} is no number")
    return number


# Reading


def read_json(
    model: type[M],
    *,
    most_bytes: int | None = MOST_BYTES,
    optional: bool = False,
    strict: bool = False,
) -> M:
    """Return the request's JSON body as the model.

    optional: no body counts as an empty object
    strict:   what is no object is Unreadable (400), not InvalidParams (422)
    Raises:   InvalidParams with a sentence per field, and all that `json_body` raises
    """
    if optional and not body_bytes(most_bytes):
        return read_value(model, {})
    value = json_body(most_bytes=most_bytes)
    if strict and not isinstance(value, dict):
        raise Unreadable("Send the body as a JSON object.")
    return read_value(model, value)


def read_query(model: type[M]) -> M:
    """Return the query string as the model; an empty value counts as not given."""
    return read_value(model, _flat(model, request.args))


def read_form(model: type[M]) -> M:
    """Return the form that was sent as the model; raises UnsupportedType for another body."""
    if request.mimetype not in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        names = listed([field.alias or name for name, field in model.model_fields.items()])
        raise UnsupportedType(f"Send {names} as a form.")
    return read_value(model, _flat(model, request.form))


def _flat(model: type[BaseModel], given: MultiDict[str, str]) -> dict[str, Any]:
    """Return what was given, as lists where the model has a list."""
    lists = {
        field.alias or name
        for name, field in model.model_fields.items()
        if "list[" in str(field.annotation)
    }
    return {
        name: given.getlist(name) if name in lists else value
        for name, value in given.items()
        if value != ""
    }


def read_value(model: type[M], value: Any) -> M:
    """Return a value that was read before as the model; raises InvalidParams."""
    if not isinstance(value, Mapping):
        raise InvalidParams({"body": "Send a JSON object."})
    try:
        return model.model_validate(value)
    except ValidationError as error:
        names = [field.alias or name for name, field in model.model_fields.items()]
        raise InvalidParams(sentences(error, unknown=f"Use {listed(names)} only.")) from None


def sentences(
    error: ValidationError, *, unknown: str = "This report has no such parameter."
) -> dict[str, str]:
    """Return a sentence per field for what pydantic found; the first finding of a field counts."""
    found: dict[str, str] = {}
    for finding in error.errors(include_url=False, include_input=False):
        # A check over several fields names the one it is about.
        place = finding["loc"] or (finding.get("ctx", {}).get("field", "params"),)
        found.setdefault(".".join(str(part) for part in place), _finding_sentence(finding, unknown))
    return found


def _finding_sentence(finding: Any, unknown: str) -> str:
    kind, context = finding["type"], finding.get("ctx", {})
    # So pydantic calls a text that was checked by us before its length is.
    if kind in {"too_long", "too_short"} and context["field_type"] == "Value":
        kind = f"string_{kind}"
    if kind == "extra_forbidden":
        return unknown
    if kind in {"literal_error", "enum"}:
        return f"Choose one of {context['expected'].replace(' or ', ', ')}."
    if kind == "string_too_short" and context["min_length"] == 1:
        return EMPTY
    sentence = SENTENCES.get(kind) or SENTENCES.get(kind.partition("_")[0])
    return sentence.format(**context) if sentence else f"{finding['msg']}."


# Answering


def answer_json(value: BaseModel | Sequence[BaseModel], status: int = 200) -> Response:
    """Return a model, or a list of them, as the JSON its description promises."""
    response = jsonify(to_jsonable_python(value, by_alias=True))
    response.status_code = status
    return response


# Types of fields


def _storable(text: str) -> str:
    if not storable(text):
        raise ValueError(UNSTORABLE)
    return text


# The ID of a thing of ours, as answers show it.
Id = Annotated[str, Field(json_schema_extra={"format": "uuid"})]


def at_field(field: str, sentence: str) -> PydanticCustomError:
    """Return a finding about one field, raised where several fields are looked at together."""
    return PydanticCustomError("at_field", "{sentence}", {"field": field, "sentence": sentence})


def check_months(
    start: date, end: date, *, newest: date | None = None, most: int | None = None
) -> None:
    """Raise what is wrong with a range of months, both included, beside its field.

    newest: no month may be later; most: the range may have no more months
    """
    if end < start:
        raise at_field("end", LAST_BEFORE_FIRST)
    if newest is not None and end > newest:
        raise at_field("end", f"The last month can be {month_text(newest)} at the latest.")
    if most is not None and len(months_between(start, end)) > most:
        raise at_field("start", f"Ask for at most {most} months at once.")


# A text that both databases can store.
Text = Annotated[str, AfterValidator(_storable)]
Month = Annotated[
    date,
    # What is no text is no month either.
    BeforeValidator(lambda raw: raw if isinstance(raw, date) else parse_month(str(raw))),
    PlainSerializer(month_text, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": MONTH_PATTERN, "examples": ["2025-03"]}),
]
# A moment as answers show it: RFC 3339, UTC, milliseconds.
Moment = Annotated[
    datetime,
    PlainSerializer(lambda moment: rfc3339(moment, "milliseconds"), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class MonthSpan(BaseModel):
    """A span of months, `from` and `to`, both included; either may be left open."""

    start: Month | None = Field(None, alias="from", description="First month.")
    end: Month | None = Field(None, alias="to", description="Last month.")

    @field_validator("end")
    @classmethod
    def check_order(cls, end: date | None, info: ValidationInfo) -> date | None:
        """Refuse a last month before the first one."""
        start = info.data.get("start")
        if start and end and end < start:
            raise ValueError(LAST_BEFORE_FIRST)
        return end


@dataclass(frozen=True)
class OneOf:
    """Marks a text field that takes one of some choices: `Annotated[str, OneOf(STATUSES)]`."""

    choices: Sequence[str]

    def __get_pydantic_core_schema__(
        self, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        choices = core_schema.literal_schema(list(self.choices))
        return core_schema.no_info_before_validator_function(self._check, choices)

    def _check(self, value: Any) -> Any:
        if value not in self.choices:
            raise ValueError(f"Choose one of {', '.join(self.choices)}.")
        return value


@dataclass(frozen=True)
class WholeNumber:
    """Marks a whole number within bounds, written in a query: `Annotated[int, WholeNumber(1, 9)]`.

    With `clamp`, what is above the last bound counts as the bound.
    """

    low: int
    high: int
    clamp: bool = False

    def __get_pydantic_core_schema__(
        self, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        number = core_schema.int_schema(ge=self.low, le=self.high)
        return core_schema.no_info_before_validator_function(self._read, number)

    def _read(self, value: Any) -> int:
        text = str(value)
        if text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= self.low:
            if int(text) <= self.high:
                return int(text)
            if self.clamp:
                return self.high
        raise ValueError(f"Write a whole number from {self.low:,} to {self.high:,}.")
