"""Requests nobody should send: each gets a problem, none a fault of the server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.api_helpers import assert_problem
from tests.conftest import Api

Params = Callable[..., dict[str, Any]]
JSON = "application/json"


@pytest.fixture
def api(api_for: Callable[[str], Api]) -> Api:
    return api_for("owner")


def post(api: Api, body: Any) -> Any:
    """Post JSON in ASCII, so that lone surrogates can be sent too."""
    return send(api, json.dumps(body).encode())


def send(api: Api, data: bytes, content_type: str = JSON, path: str = "/reports") -> Any:
    return api.client.post(f"/api/v1{path}", auth=api.auth, data=data, content_type=content_type)


UNREADABLE = (
    b"", b"{", b"nonsense", b"{'kind': 1}", b'{"kind": NaN}', b'{"kind": Infinity}',
    b"\xff\xfe{}", b"[" * 100_000, b'{"a":' * 100_000, b'{"kind": "partner-use"} x',
    b'{"kind": 0x10}', b"\x00", b'{"a": "\x01"}', b"\xef\xbb\xbf" + b"nonsense",
)  # fmt: skip


@pytest.mark.parametrize("path", ["/reports", "/reports/estimate"])
def test_a_body_that_cannot_be_read_is_a_400(api: Api, path: str) -> None:
    for data in UNREADABLE:
        assert_problem(send(api, data, path=path), 400)


def test_another_content_type_is_a_415(api: Api) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "", "x"):
        assert_problem(send(api, b'{"kind": "partner-use"}', content_type), 415)
    assert_problem(send(api, b"x", "multipart/form-data"), 415)


def test_json_by_any_of_its_names_is_read(api: Api) -> None:
    for content_type in (JSON, "application/json; charset=utf-8", "application/vnd.x+json"):
        assert_problem(send(api, b"{}", content_type), 422, "kind")


@pytest.mark.parametrize("path", ["/reports", "/reports/estimate"])
def test_a_body_that_is_too_large_is_a_413(api: Api, path: str) -> None:
    body = b'{"kind": "' + b"x" * (1024 * 1024) + b'"}'
    assert_problem(send(api, body, path=path), 413)
    assert_problem(send(api, b"x" * (40 * 1024 * 1024), path=path), 413)


def test_a_body_without_a_length_is_measured_too(api: Api) -> None:
    body = b'{"kind": "' + b"x" * (2 * 1024 * 1024) + b'"}'
    answer = api.client.post(
        "/api/v1/reports",
        auth=api.auth,
        input_stream=io.BytesIO(body),
        content_type=JSON,
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert_problem(answer, 413)


def test_numbers_without_end_are_no_fault(api: Api) -> None:
    huge = b"9" * 5000
    answer = send(api, b'{"kind": "partner-use", "params": {"partner_id": ' + huge + b"}}")
    assert answer.status_code in {400, 422}
    answer = send(api, b'{"kind": "partner-use", "params": {"partner_id": 1e999}}')
    assert answer.status_code in {400, 422}


TEXTS = ("\x00", "a\x00b", "\ud800", "\udfff x", "٣", "🚀" * 1000)


@pytest.mark.parametrize(
    "name", ["partner_id", "user_key", "user_secret", "mode", "start", "connection"]
)
def test_odd_texts_in_any_parameter_get_a_sentence_or_are_taken(
    api: Api, partner_use: Params, name: str
) -> None:
    for value in TEXTS:
        body = {"kind": "partner-use", "params": partner_use(mode="monthly") | {name: value}}
        answer = post(api, body)
        assert answer.status_code in {202, 422}, (value, answer.text)
        assert answer.status_code == 202 or answer.json["errors"]


def test_odd_names_of_parameters_get_a_sentence(api: Api, partner_use: Params) -> None:
    for name in ("\x00", "\ud800", "a" * 10_000, "__proto__", "", "ключ"):
        answer = post(api, {"kind": "partner-use", "params": partner_use() | {name: "x"}})
        assert answer.status_code == 422
        assert answer.json["errors"]


def test_an_odd_kind_is_refused(api: Api) -> None:
    for kind in ("\x00", "\ud800", "a" * 10_000, "partner-use\n", "PARTNER-USE", "../x"):
        assert_problem(post(api, {"kind": kind, "params": {}}), 422, "kind")


def test_of_a_name_given_twice_the_last_counts_and_it_is_no_fault(
    api: Api, partner_use: Params
) -> None:
    raw = b'{"kind": "weather", "kind": "partner-use", "params": {"mode": "x", "mode": "y"}}'
    assert send(api, raw).status_code == 422


NAMES = ("partner_id", "user_key", "mode", "start", "end", "refresh", "connection")


def test_a_value_of_another_type_is_no_fault(api: Api, partner_use: Params) -> None:
    right = partner_use(mode="monthly", start="2024-01", end="2024-02")
    for value in (True, 5, 1.5, [], {}, [1, [2]], {"a": {"b": 1}}):
        for name in NAMES:
            answer = post(api, {"kind": "partner-use", "params": right | {name: value}})
            assert answer.status_code in {202, 422}, (name, value)


def test_an_odd_authorization_is_a_401(api: Api) -> None:
    for header in (
        "Basic", "Basic !!!", "Basic Og==", "Basic YQ==", "Bearer", "Bearer x.y.z", "Digest x",
        "Basic " + "A" * 100_000,
    ):  # fmt: skip
        answer = api.client.get("/api/v1/reports", headers={"Authorization": header})
        assert_problem(answer, 401)


def test_an_odd_accept_is_no_fault(api: Api) -> None:
    for accept in ("", "*", "x", "text/event-stream;q=0", ";;", "a/b;q=x", "text/*, */*;q=0"):
        body = {"kind": "partner-use", "params": {"user_key": "k", "user_secret": "s"}}
        assert_problem(api.post("/reports", body, headers={"Accept": accept}), 422, "partner_id")


def test_odd_months_are_no_fault(api: Api) -> None:
    for query in (
        "subject=%00", "subject=" + "x" * 5000, "subject=%ED%A0%80", "kind=%00", "from=%00",
        "from=9999-12", "to=9999-12&from=9999-12",
    ):  # fmt: skip
        assert api.delete(f"/months?{query}").status_code in {200, 422}, query


def test_the_largest_month_is_refused_or_taken_but_no_fault(api: Api, partner_use: Params) -> None:
    for month in ("9999-12", "1970-01", "1969-12", "0001-01"):
        params = partner_use(mode="monthly", start=month, end="2024-01")
        answer = post(api, {"kind": "partner-use", "params": params})
        assert answer.status_code in {202, 422}
