"""What the API reads out of a request: a JSON object, a report's body, what the caller accepts."""

from __future__ import annotations

from typing import Any

from flask import request

from webapp.engine.export import FORMATS
from webapp.errors import InvalidParams
from webapp.json_wire import body_bytes, json_body
from webapp.lib.months import parse_month

MAX_BODY_BYTES = 1024 * 1024


def json_object(*, optional: bool = False) -> dict[str, Any]:
    """Return the body as a JSON object.

    Raises: Unreadable for broken JSON, UnsupportedType for another type, TooLarge past 1 MB,
            InvalidParams where the JSON is not an object
    """
    if optional and not body_bytes(MAX_BODY_BYTES):
        return {}
    value = json_body(most_bytes=MAX_BODY_BYTES)
    if not isinstance(value, dict):
        raise InvalidParams({"body": "Send a JSON object."})
    return value


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


def retry_body() -> tuple[Any, dict[str, Any]]:
    """Return kind, or None, and parameters of a retry: a report's body, or its parameters bare."""
    body = json_object(optional=True)
    kind = body.pop("kind", None)
    params = body.pop("params", None)
    if params is None:
        return kind, body
    if not isinstance(params, dict):
        raise InvalidParams({"params": "Send the parameters as a JSON object."})
    if body:
        raise InvalidParams(dict.fromkeys(sorted(body), "Send this inside of params."))
    return kind, params


def wants_events() -> bool:
    """Say whether the caller asks for the event stream rather than JSON."""
    accepted = request.accept_mimetypes
    return accepted["text/event-stream"] > 0 and accepted.best == "text/event-stream"


def last_event_id() -> tuple[int, bool]:
    """Return the number of the last line the caller has, 0 for none; and whether it heard the end.

    From `Last-Event-ID`, or `?after=` for who cannot send headers. See `engine.hub.Event` for how
    the end's number differs from its line's.
    """
    for raw in (request.headers.get("Last-Event-ID", ""), request.args.get("after", "")):
        if raw.isascii() and raw.isdigit() and len(raw) <= 10:
            return int(raw), len(raw) > 1 and raw.startswith("0")
    return 0, False


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
