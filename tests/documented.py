"""What addresses answered, compared with what the OpenAPI document says of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jsonschema_rs
from flask import Flask, Response, request

from webapp.api.documents import document
from webapp.lib.openapi import JSON, described

# Said once for all of them: a method an address does not take.
EVERYWHERE = {405}


@contextmanager
def only_documented_answers(app: Flask) -> Iterator[None]:
    """Fail where an address answered a status, or in JSON a body, that its description does not."""
    seen: set[tuple[str, str, int]] = set()
    bodies: dict[tuple[str, str, int], bytes] = {}

    def look(response: Response) -> Response:
        answer = (str(request.url_rule), request.method.lower(), response.status_code)
        seen.add(answer)
        if response.status_code < 300 and response.mimetype == JSON and not response.is_streamed:
            bodies[answer] = response.get_data()
        return response

    app.after_request_funcs.setdefault(None, []).append(look)
    yield
    known = {(rule.rule, method): operation for rule, method, operation in described(app)}
    wrong = [
        f"{method} {rule} answered {status}"
        for rule, method, status in seen
        if (rule, method) in known and status not in EVERYWHERE | set(known[rule, method].answers)
    ]
    assert wrong == [], wrong
    for (rule, method, status), body in bodies.items():
        if (rule, method) in known:
            check_body(app, rule, method, status, body)


# Made once in a process: equal for all applications with these kinds.
_told: dict[str, Any] = {}
_validators: dict[tuple[str, str, int], Any] = {}


def check_body(app: Flask, rule: str, method: str, status: int, body: bytes) -> None:
    """Fail where a body is not what the document says of that answer."""
    if not _told:
        with app.test_request_context():
            _told.update(document())
    answer = rule, method, status
    if answer not in _validators:
        path = re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", rule)
        content = _told["paths"][path][method]["responses"][str(status)].get("content", {})
        schema = content.get(JSON, {}).get("schema", {}) | {"components": _told["components"]}
        _validators[answer] = jsonschema_rs.validator_for(schema)
    try:
        _validators[answer].validate(json.loads(body))
    except jsonschema_rs.ValidationError as error:
        raise AssertionError(f"{method} {rule}: {error.message}") from error
