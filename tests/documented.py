"""Statuses that addresses answered, compared with what the OpenAPI document says of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask, Response, request

from webapp.lib.openapi import described

# Said once for all of them: a method an address does not take.
EVERYWHERE = {405}


@contextmanager
def only_documented_statuses(app: Flask) -> Iterator[None]:
    """Fail where an address answered what its description does not name."""
    seen: set[tuple[str, str, int]] = set()

    def look(response: Response) -> Response:
        seen.add((str(request.url_rule), request.method.lower(), response.status_code))
        return response

    app.after_request_funcs.setdefault(None, []).append(look)
    yield
    known = {(rule.rule, method): operation for rule, method, operation in described(app)}
    wrong = [
        f"{method} {rule} answered {status}"
        for rule, method, status in seen
        if (rule, method) in known and status not in EVERYWHERE | set(known[rule, method].answers)
    ]
    assert wrong == []
