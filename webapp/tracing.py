"""The number of a request: taken from `X-Request-ID` where it is well-formed, else made.

It is echoed in the answer and in problem+json, stands in every log line of the request, and goes
along with the job the request asked for, so that a reader's number finds the lines of all three.
"""

from __future__ import annotations

import re
import secrets

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
    if "request_id" not in g:
        given = request.headers.get(HEADER, "")
        g.request_id = given if WELL_FORMED.fullmatch(given) else secrets.token_hex(16)
    found: str = g.request_id
    return found


def _echo(response: Response) -> Response:
    response.headers[HEADER] = request_id() or ""
    return response
