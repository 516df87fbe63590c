"""The OpenAPI document: valid, complete, and held by the server when it is fuzzed from it."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from tests.api.api_helpers import ended
from tests.conftest import Api

METHODS = {"get", "post", "put", "patch", "delete"}
# The document and its page do not describe themselves.
LEFT_OUT = {("/api/openapi.json", "get"), ("/api/docs", "get")}
few = settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    answer = app.test_client().get("/api/openapi.json")
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    found: dict[str, Any] = answer.json
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield path, method, operation


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"]
    assert document["info"]["version"]


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    OPENAPI_31_VALIDATOR.validate(document)


def test_it_has_every_address_for_programs_and_no_other(
    app: Flask, document: dict[str, Any]
) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {(path, method) for path, method, _ in operations(document)}
    assert routes - described == LEFT_OUT
    assert described <= routes


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(document)))
    assert names
    assert names <= set(document["components"]["schemas"])
    assert "#/$defs" not in str(document)


def test_every_schema_is_json_schema(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"components": document["components"], **schema})


def test_every_path_parameter_is_declared(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        shared = document["paths"][path].get("parameters", [])
        declared = {
            one["name"]
            for one in [*shared, *operation.get("parameters", [])]
            if one["in"] == "path"
        }
        assert declared == set(re.findall(r"{(\w+)}", path)), (path, method)


def test_every_operation_says_what_can_go_wrong(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        if not path.startswith("/api/v1/reports"):
            continue
        assert "401" in operation["responses"], (path, method)
        for status, response in operation["responses"].items():
            if status >= "400":
                assert list(response["content"]) == ["application/problem+json"]


def test_no_example_holds_a_secret(document: dict[str, Any]) -> None:
    assert document["components"]["schemas"]["PartnerUseParams"]["properties"]["user_secret"][
        "writeOnly"
    ]


def test_the_page_for_people_shows_every_address(app: Flask, document: dict[str, Any]) -> None:
    page = app.test_client().get("/api/docs")
    assert page.status_code == 200
    for path, _, _ in operations(document):
        assert path in page.text


def test_answers_are_as_the_document_says(
    app: Flask,
    document: dict[str, Any],
    api_for: Callable[[str], Api],
    partner_use: Callable[..., dict[str, Any]],
) -> None:
    api = api_for("owner")
    report_id = ended(app, api, partner_use())
    components = {"components": document["components"]}

    def check(name: str, value: Any) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", **components}
        jsonschema_rs.validate(schema, value)

    check("Report", api.get(f"/reports/{report_id}").json)
    for report in api.get("/reports").json:
        check("Report", report)
    for kind in api.get("/kinds").json:
        check("Kind", kind)
    check("Problem", api.get("/reports/x").json)
    body = {"kind": "partner-use", "params": partner_use()}
    check("NewReport", body)
    check("Estimate", api.post("/reports/estimate", body).json)


def test_fuzzed_from_its_own_document_it_has_no_fault(
    app: Flask, api_for: Callable[[str], Api], partner_use: Callable[..., dict[str, Any]]
) -> None:
    """Any request the document allows, and many it does not, gets an answer below 500."""
    api = api_for("owner")
    known = ended(app, api, partner_use())
    basic = b64encode(":".join(api.auth).encode()).decode()
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", app=app)
    tried = 0

    for result in schema.get_all_operations():
        operation = result.ok()
        modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]

        @few
        @given(st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes)))
        def fuzz(case: schemathesis.Case) -> None:
            nonlocal tried
            tried += 1
            # A stream of a report nobody makes would never end.
            headers = {"Authorization": f"Basic {basic}", "Accept": "application/json"}
            if tried % 2 and "report_id" in (case.path_parameters or {}):
                case.path_parameters["report_id"] = known
            answer = case.call(headers=headers)
            assert answer.status_code < 500 or answer.status_code in {502, 503}, answer.text

        if not operation.path.endswith("/events"):
            fuzz()
    assert tried > 50
