"""JSON on the wire: how a request's body is read, and how an answer is written.

Every address that takes JSON reads it here, so that what one of them refuses no other one chokes
on; and every answer may quote what was sent, whatever that was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from flask import Flask, request
from flask.json.provider import DefaultJSONProvider

from webapp.errors import TooLarge, Unreadable, UnsupportedType

# No body of ours is deeper than a handful; beyond this, code that walks it would run out of stack.
MOST_NESTED = 50
UNREADABLE = "The body is not JSON that can be read."
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class WireJSON(DefaultJSONProvider):
    """Writes answers in UTF-8, members in their order; no text a caller sent can break one."""

    ensure_ascii = False
    sort_keys = False

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return the JSON text; half a character, which UTF-8 cannot hold, becomes a mark."""
        text = super().dumps(obj, **kwargs)
        return text if text.isascii() else LONE_SURROGATE.sub("\ufffd", text)


def init_app(app: Flask) -> None:
    """Let every answer be written this way."""
    app.json = WireJSON(app)


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

    Raises: Unreadable where it is broken, nested too deeply, or has numbers JSON has not (NaN)
    """

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no JSON")

    try:
        value = json.loads(raw, parse_float=parse_float, parse_constant=refuse)
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
