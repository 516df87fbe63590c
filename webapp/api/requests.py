"""What the API reads out of a request: a JSON object, a report's body, what the caller accepts."""

from __future__ import annotations

import json
from typing import Any

from flask import request

from webapp.engine.export import FORMATS
from webapp.engine.months import parse_month
from webapp.errors import InvalidParams, TooLarge, Unreadable, UnsupportedType

MAX_BODY_BYTES = 1024 * 1024


def json_object(*, optional: bool = False) -> dict[str, Any]:
    """Return the body as a JSON object.

    Raises: Unreadable for broken JSON, UnsupportedType for another type, TooLarge past 1 MB,
            InvalidParams where the JSON is not an object
    """
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise TooLarge("The body is larger than 1 MB.")
    # A body that comes in chunks does not say how long it is.
    request.max_content_length = MAX_BODY_BYTES + 1
    raw = request.get_data(cache=True)
    if len(raw) > MAX_BODY_BYTES:
        raise TooLarge("The body is larger than 1 MB.")
    if not raw:
        if optional:
            return {}
        raise Unreadable("Send a JSON object in the body.")
    if not request.is_json:
        raise UnsupportedType("Send the body as JSON, with Content-Type: application/json.")
    try:
        value = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Unreadable("The body is not JSON that can be read.") from None
    if not isinstance(value, dict):
        raise InvalidParams({"body": "Send a JSON object."})
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def report_body() -> tuple[Any, dict[str, Any]]:
    """Return kind and parameters of `{"kind": …, "params": {…}}`."""
    body = json_object()
    unknown = sorted(set(body) - {"kind", "params"})
    if unknown:
        raise InvalidParams(dict.fromkeys(unknown, "A report's body has kind and params only."))
    params = body.get("params", {})
    if not isinstance(params, dict):
        raise InvalidParams({"params": "Send the parameters as a JSON object."})
    if "kind" not in body:
        raise InvalidParams({"kind": "This is needed."})
    return body["kind"], params


def wants_events() -> bool:
    """Say whether the caller asks for the event stream rather than JSON."""
    accepted = request.accept_mimetypes
    return accepted["text/event-stream"] > 0 and accepted.best == "text/event-stream"


def result_format() -> str:
    """Return json, csv or xlsx: `?format=` first, then `Accept`."""
    named = request.args.get("format")
    if named is not None:
        if named not in FORMATS:
            raise InvalidParams({"format": f"Choose one of {', '.join(FORMATS)}."})
        return named
    by_type = {media.partition(";")[0]: fmt for fmt, media in FORMATS.items()}
    best = request.accept_mimetypes.best_match(list(by_type), default="application/json")
    return by_type[best]


def whole_number(name: str, default: int, low: int, high: int) -> int:
    """Return a query parameter as a whole number within its bounds."""
    raw = request.args.get(name)
    if raw is None or raw == "":
        return default
    sentence = f"Write a whole number from {low} to {high}."
    if not raw.isascii() or not raw.isdigit() or len(raw) > 9:
        raise InvalidParams({name: sentence})
    value = int(raw)
    if not low <= value <= high:
        raise InvalidParams({name: sentence})
    return value


def month_argument(name: str) -> Any:
    """Return a query parameter as a month, or None where it is not given."""
    raw = request.args.get(name)
    if not raw:
        return None
    try:
        return parse_month(raw)
    except ValueError as error:
        raise InvalidParams({name: str(error)}) from None
