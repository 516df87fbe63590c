"""Bodies nobody should send, to every address that takes one: an answer, never a fault of ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from flask import Flask, jsonify
from werkzeug.routing import Rule

from tests.conftest import Api
from tests.test_every_route import _value

JSON = "application/json"
BROKEN = {
    "nothing": b"",
    "half an object": b'{"a":',
    "no UTF-8": b'{"a": "\xff"}',
    "no number": b'[{"a": NaN}]',
    "a number beyond all": b'{"a": 1e999}',
    "lists without end": b"[" * 100_000,
    "objects without end": b'{"a":' * 100_000,
    "deep lists": b"[" * 900 + b"]" * 900,
    "deep objects": b'{"a":' * 900 + b"1" + b"}" * 900,
    "deep in a field": b'{"name":' + b"[" * 200 + b"]" * 200 + b"}",
}
ODD = {
    "a text": b'"x"',
    "null": b"null",
    "half a character as a name": rb'{"\ud800": 1}',
    "half a character in a list": rb'[{"\ud800": "\udfff"}]',
    "a long number": b"[" + b"9" * 4000 + b"]",
}
# What the bodies of our addresses are made of.
NAMES = (
    "apiKey", "secret", "companyId", "kind", "params", "name", "description", "reportType",
    "reportingPeriodId", "organizationUnitId", "baseReportingPeriodId", "periods", "units",
    "entries", "id", "user_id", "track_id", "date", "seconds", "session_id", "session_type",
    "login", "computer", "event", "Name", "start", "end", "quantity", "parent", "partner_id",
    "user_key", "user_secret", "mode", "project_id", "file_id", "size", "at", "status", "data",
)  # fmt: skip
STREAM = {"user_id": 1, "track_id": "T1", "date": "2024-01-02", "seconds": 40, "region": "DE"}
VALUES = ("\ud800", "a\x00b", [], {}, {"\ud800": 1}, 1e308, -1, 10**30, True, None, "x" * 5000)


@pytest.fixture
def app(app: Flask) -> Flask:
    # Wrong keys are many here; how they are limited is another test's.
    app.config["SIGN_IN_TRIES"] = "100000 per minute"
    return app


def takers(app: Flask) -> Iterator[tuple[Rule, str, str]]:
    """Yield each address for programs that may take a body, with its method."""
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/api/"):
            continue
        values = {name: _value(rule, name) for name in rule._converters}
        path = adapter.build(rule.endpoint, values, append_unknown=False)
        for method in sorted({"POST", "PUT", "PATCH", "DELETE"} & (rule.methods or set())):
            yield rule, method, path


def filled() -> Iterator[bytes]:
    for value in VALUES:
        body = dict.fromkeys(NAMES, value)
        yield json.dumps(body).encode()
        yield json.dumps([body]).encode()
        yield json.dumps({"kind": "partner-use", "params": body}).encode()


def test_no_body_breaks_an_address(app: Flask, api_for: Callable[[str], Api]) -> None:
    api, broken, seen = api_for("owner"), [], 0
    for _, method, path in takers(app):
        for body in (*BROKEN.values(), *ODD.values(), *filled()):
            answer = api.client.open(
                path, method=method, data=body, content_type=JSON, auth=api.auth
            )
            seen += 1
            # What is not offered says so, whatever is sent.
            if answer.status_code >= 500 and answer.status_code != 501:
                broken.append((method, path, body[:40], answer.status_code))
    assert broken == []
    assert seen > 500


def test_no_body_breaks_what_is_found(app: Flask, api_for: Callable[[str], Api]) -> None:
    """Addresses that look for a thing first read the body only where there is one."""
    api = api_for("owner")
    stream = api.post("/streams", json=STREAM)
    assert stream.status_code == 201, stream.text
    project = api.post("/projects", json={"name": "Mine"})
    assert project.status_code == 201, project.text
    found = [
        (method, f"/api/v1/stream/{stream.json['data'][0]['id']}") for method in ("PUT", "PATCH")
    ] + [("POST", f"/api/v1/projects/{project.json['id']}/file_events")]
    for method, path in found:
        for body in (*BROKEN.values(), *ODD.values(), *filled()):
            answer = api.client.open(
                path, method=method, data=body, content_type=JSON, auth=api.auth
            )
            assert answer.status_code < 500, (method, path, body[:40])


def test_what_is_no_json_is_a_400_also_for_strangers(app: Flask) -> None:
    for body in BROKEN.values():
        answer = app.test_client().post("/api/keys/v1/api/auth", data=body, content_type=JSON)
        # Of a stranger's body so much is read, and no more.
        assert answer.status_code == (413 if len(body) > 64 * 1024 else 400), body[:40]


def test_a_token_with_a_deep_head_is_a_wrong_token(app: Flask) -> None:
    from base64 import urlsafe_b64encode

    head = urlsafe_b64encode(b"[" * 5000).decode().rstrip("=")
    headers = {"Authorization": f"Bearer {head}.e30.x"}
    assert app.test_client().get("/api/v1/reports", headers=headers).status_code == 401


def test_a_body_larger_than_a_key_needs_is_a_413_for_strangers(app: Flask) -> None:
    body = {"apiKey": "x" * (1024 * 1024), "secret": str(uuid4())}
    assert app.test_client().post("/api/keys/v1/api/auth", json=body).status_code == 413


def test_an_answer_that_quotes_half_a_character_is_json_all_the_same(app: Flask) -> None:
    """No address quotes what was sent at the moment; what does will not break on it."""
    with app.test_request_context("/api/v1/reports"):
        answer = jsonify(errors={"\ud800": "What is this?"})
    assert json.loads(answer.data.decode("utf-8")) == {"errors": {"\ufffd": "What is this?"}}
