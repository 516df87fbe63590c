"""The OpenAPI document: valid, complete, and held by the server when it is fuzzed from it."""

from __future__ import annotations

import json
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
from markupsafe import escape
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from tests.api.api_helpers import ended
from tests.conftest import Api
from tests.servers import serving
from webapp.api.examples import NO_EXAMPLE
from webapp.errors import ERROR_TYPES, ReportError, TooManyWaiting, error_type

METHODS = {"get", "post", "put", "patch", "delete"}
# The document and its page do not describe themselves.
LEFT_OUT = {
    (path, "get")
    for path in ("/api/openapi.json", "/api/docs", "/api/errors", "/api/errors/{slug}")
}
# By night, when the examples are others each time, there are more of them.
few = settings(
    max_examples=6 if settings.default.derandomize else 24,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_names_in_texts_are_shown_as_code(app: Flask) -> None:
    for path in ("/api/docs", "/api/errors"):
        page = app.test_client().get(path).text
        assert "`" not in page


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
    for schema in objects(document):
        if "default" in schema and "type" in schema:
            components = {"components": document["components"]}
            jsonschema_rs.validate(schema | components, schema["default"])


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a document."""
    if isinstance(node, dict):
        yield node
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from objects(one)


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
        # A NUL in the query is refused by all, in the envelope of the room.
        is_problem = "application/problem+json" in operation["responses"]["401"]["content"]
        assert ("422" if is_problem else "400") in operation["responses"], (path, method)
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


def test_every_operation_has_a_name_and_a_heading_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in names)
    assert {"create_report", "report_events", "report_result"} <= set(names)
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    assert {tag for _, _, one in operations(document) for tag in one["tags"]} == tags


def test_every_example_is_one_that_its_schema_allows(document: dict[str, Any]) -> None:
    components = {"components": document["components"]}
    tried = 0
    for path, method, operation in operations(document):
        parts = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in (part.get("content", {}).get("application/json", {}) for part in parts):
            if "example" in content:
                tried += 1
                found = jsonschema_rs.is_valid(content["schema"] | components, content["example"])
                assert found, (path, method, content["example"])
    assert tried > 80


def test_the_page_for_people_shows_all_of_every_address(
    app: Flask, document: dict[str, Any]
) -> None:
    page = app.test_client().get("/api/docs")
    assert page.status_code == 200
    for path, method, operation in operations(document):
        assert f"<code>{method.upper()} {path}</code>" in page.text
        assert f'id="{operation["operationId"]}"' in page.text
        assert f'href="#{operation["operationId"]}"' in page.text
    for shown in ("params.user_secret", "progress.total", "curl -u"):
        assert shown in page.text


def test_every_type_of_error_leads_to_its_page(app: Flask, api_for: Callable[[str], Api]) -> None:
    client, api = app.test_client(), api_for("owner")
    everything = client.get("/api/errors").text
    for slug, kind in ERROR_TYPES.items():
        page = client.get(f"/api/errors/{slug}")
        assert page.status_code == 200
        assert escape(kind.when) in re.sub("</?code>", "`", page.text)
        assert f"/api/errors/{slug}" in everything
    assert client.get("/api/errors/none").status_code == 404
    problems = (
        client.get("/api/v1/reports"),
        client.get("/api/v1/nothing"),
        client.put("/api/v1/kinds"),
        api.post("/reports", {"kind": "none", "params": {}}),
    )
    slugs = ["not-signed-in", "not-found", "method-not-allowed", "invalid-params"]
    found = [answer.get_json(force=True) for answer in problems]
    assert [problem["type"] for problem in found] == [f"/api/errors/{slug}" for slug in slugs]


def test_every_error_of_the_program_has_a_type_of_its_status() -> None:
    kinds = [ReportError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        slug = error_type(kind.status, kind.title)
        assert ERROR_TYPES[slug].status == kind.status, kind
    assert error_type(TooManyWaiting.status, TooManyWaiting.title) == "too-many-waiting"
    assert [error_type(status) for status in (400, 418, 429, 500, 507)] == [
        "unreadable", "unreadable", "too-many", "fault", "fault",
    ]  # fmt: skip


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


@pytest.mark.once
@pytest.mark.hypothesis
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
            assert answer.status_code < 500 or answer.status_code in {501, 502, 503}, answer.text

        if not operation.path.endswith("/events"):
            fuzz()
    assert tried > 50


@pytest.mark.browser
def test_the_page_finds_an_address_and_tries_it(
    app: Flask, api_for: Callable[[str], Api], page: Any
) -> None:
    key, secret = api_for("owner").auth
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    with serving(app) as address:
        page.goto(f"{address}/api/docs")
        page.get_by_label("Find").fill("kinds of report")
        entry = page.locator("#index_kinds")
        entry.wait_for()
        assert page.locator(".api-entry:visible").count() < 5
        page.get_by_label("API key", exact=True).fill(key)
        page.get_by_label("Secret", exact=True).fill(secret)
        entry.get_by_text("Try it").click()
        entry.get_by_role("button", name="Send").click()
        page.get_by_text("200 OK").wait_for()
        assert '"kind": "partner-use"' in entry.inner_text()
        # An address leads to its entry, folded as it is; what is sent is what the fields say.
        page.get_by_label("Find").fill("")
        page.goto(f"{address}/api/docs#retry_report")
        retry = page.locator("#retry_report")
        retry.get_by_text("Try it").click()
        retry.get_by_label("report_id").fill("683a0f3e-eba0-4031-b068-397d5fb27ac7")
        retry.get_by_role("button", name="Send").click()
        page.get_by_text("404 NOT FOUND").wait_for()
        assert errors == []


def test_examples_are_such_as_come_in_use(document: dict[str, Any]) -> None:
    """None says only what its field is called, and texts that are no JSON have one too."""
    for path, method, operation in operations(document):
        answers = (one for status, one in operation["responses"].items() if status < "400")
        for part in (operation.get("requestBody", {}), *answers):
            for media, content in part.get("content", {}).items():
                if content["schema"].get("format") == "binary":
                    assert media not in {"application/json", "text/csv"}
                    continue
                shown = json.dumps(content["example"], ensure_ascii=False)
                assert f'"{NO_EXAMPLE}"' not in shown, (path, method, shown)


def test_every_parameter_of_a_query_says_what_it_does(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for one in operation.get("parameters", ()):
            assert one.get("description"), (path, method, one["name"])


def test_the_page_says_how_months_are_written_and_what_they_begin(app: Flask) -> None:
    page = app.test_client().get("/api/docs").get_data(as_text=True)
    assert "<td>string, such as 2025-03</td><td>First month. Included.</td>" in page
    assert "event: status\nid: 1\n" in page
    assert "month,total_users,delta\r\n" in page
    assert "-d &#39;username=" in page
