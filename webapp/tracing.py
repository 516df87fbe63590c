"""The number of a request: taken from `X-Request-ID` where it is well-formed, else made.

It is echoed in the answer and in problem+json, stands in every log line of the request, and goes
along with the job the request asked for, so that a reader's number finds the lines of all three.
"""

from __future__ import annotations

import random
import re

from flask import Flask, Response, g, has_request_context, request

HEADER = "X-Request-ID"
# Long enough to be one of its kind, and nothing a log or a header could be broken with.
WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,99}")


def init_app(app: Flask) -> None:
    """Echo the request's number in every answer."""
    app.after_request(_echo)


def request_id() -> str | None:
    """Return the number of the present request, or None outside of one."""
    if not has_request_context():
        return None
    found: str | None = g.get("request_id")
    if found is None:
        given = request.headers.get(HEADER, "")
        # No secret, so the system need not be asked for chance.
        made = f"{random.getrandbits(128):032x}"
        g.request_id = found = given if WELL_FORMED.fullmatch(given) else made
    return found


def _echo(response: Response) -> Response:
    response.headers[HEADER] = request_id() or ""
    return response
