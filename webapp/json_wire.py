"""JSON on the wire: how an answer is written; how a body is read is in `lib/bodies.py`."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask
from flask.json.provider import DefaultJSONProvider

from webapp.lib.bodies import json_body
from webapp.lib.bodies import parse_json as read_json

__all__ = ["init_app", "json_body", "read_json"]

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
