"""Bodies, queries and forms read into models: values, or a sentence per field."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

import pytest
from flask import Flask
from pydantic import BaseModel, ConfigDict, Field

from webapp.errors import InvalidParams, ReportError
from webapp.lib.bodies import (
    EMPTY,
    Month,
    OneOf,
    Text,
    WholeNumber,
    read_form,
    read_json,
    read_query,
)
from webapp.lib.openapi import JSON, AnswerSpec, Describer, Ref, paths_and_schemas


class Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Text
    colour: Annotated[str, OneOf(("red", "blue"))] = "red"
    start: Month | None = Field(None, alias="from", description="The first month.")
    limit: Annotated[int, WholeNumber(1, 1000)] = 20
    tags: list[Text] = []


class ThingAnswer(BaseModel):
    id: str
    wanted: Wanted | None


@pytest.fixture
def bare() -> Flask:
    return Flask("bare")


def errors_of(read: Callable[[], Any]) -> dict[str, str]:
    with pytest.raises(InvalidParams) as caught:
        read()
    return caught.value.errors


def test_a_body_becomes_a_model(bare: Flask) -> None:
    with bare.test_request_context(json={"name": "x", "from": "2025-03"}):
        found = read_json(Wanted)
    assert (found.name, found.start, found.limit) == ("x", date(2025, 3, 1), 20)


def test_each_field_has_its_sentence(bare: Flask) -> None:
    sent = {"colour": "green", "from": "March", "limit": 0, "tags": "a", "size": 1}
    with bare.test_request_context(json=sent):
        assert errors_of(lambda: read_json(Wanted)) == {
            "name": "This field is required.",
            "colour": "Choose one of red, blue.",
            "from": "Write the month as YYYY-MM, for example 2025-03.",
            "limit": "Write a whole number from 1 to 1,000.",
            "tags": "Send a list.",
            "size": "Use name, colour, from, limit and tags only.",
        }


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_a_text_no_database_takes_is_refused(bare: Flask, text: str) -> None:
    with bare.test_request_context(json={"name": text}):
        assert errors_of(lambda: read_json(Wanted)) == {
            "name": "The text contains characters that cannot be stored."
        }


def test_the_length_of_a_text_counts_characters(bare: Flask) -> None:
    class Short(BaseModel):
        note: Annotated[Text, Field(min_length=1, max_length=3)]

    for text, sentence in (("four", "Use at most 3 characters."), ("", EMPTY)):
        with bare.test_request_context(json={"note": text}), pytest.raises(InvalidParams) as found:
            read_json(Short)
        assert found.value.errors == {"note": sentence}


@pytest.mark.parametrize(
    ("sent", "options", "status"),
    [
        ({"data": "[]", "content_type": JSON}, {}, 422),
        ({"data": "[]", "content_type": JSON}, {"strict": True}, 400),
        ({"data": "{", "content_type": JSON}, {}, 400),
        ({"data": b"", "content_type": JSON}, {}, 400),
        ({"data": "{}", "content_type": "text/plain"}, {}, 415),
        ({"data": "{" + " " * 2000 + "}", "content_type": JSON}, {"most_bytes": 1024}, 413),
    ],
)
def test_a_body_that_is_none_says_why(
    bare: Flask, sent: dict[str, Any], options: dict[str, Any], status: int
) -> None:
    with bare.test_request_context(method="POST", **sent), pytest.raises(ReportError) as caught:
        read_json(Wanted, **options)
    assert caught.value.status == status


def test_an_optional_body_may_be_left_out(bare: Flask) -> None:
    with bare.test_request_context(method="POST"):
        assert errors_of(lambda: read_json(Wanted, optional=True)) == {
            "name": "This field is required."
        }


def test_a_query_reads_lists_and_leaves_out_what_is_empty(bare: Flask) -> None:
    with bare.test_request_context("/?name=x&limit=&tags=a&tags=b"):
        found = read_query(Wanted)
    assert (found.limit, found.tags) == (20, ["a", "b"])


def test_a_form_is_a_form(bare: Flask) -> None:
    with bare.test_request_context(method="POST", data={"name": "x"}):
        assert read_form(Wanted).name == "x"
    with (
        bare.test_request_context(method="POST", json={"name": "x"}),
        pytest.raises(ReportError) as caught,
    ):
        read_form(Wanted)
    assert caught.value.message == "Send name, colour, from, limit and tags as a form."


def test_a_view_is_described_by_its_models(bare: Flask) -> None:
    describe = Describer("Things")

    @bare.post("/api/things/<uuid:thing_id>/<name>")
    @describe(
        "Make a thing",
        body=Wanted,
        query=Wanted,
        answer=AnswerSpec("The thing.", {JSON: list[ThingAnswer]}),
        status=201,
        errors=(404,),
        deprecated=True,
    )
    def make_thing() -> str:
        return ""

    @bare.get("/api/other")
    @describe("Another", answer=Ref("Elsewhere"))
    def other() -> str:
        return ""

    @bare.get("/page")
    def page() -> str:
        return ""

    paths, schemas = paths_and_schemas(bare)
    assert list(paths) == ["/api/other", "/api/things/{thing_id}/{name}"]
    item = paths["/api/things/{thing_id}/{name}"]
    assert {one["name"]: one["schema"].get("format") for one in item["parameters"]} == {
        "thing_id": "uuid",
        "name": None,
    }
    made = item["post"]
    assert made["deprecated"] is True
    assert made["requestBody"]["content"][JSON]["schema"] == {"$ref": "#/components/schemas/Wanted"}
    assert sorted(made["responses"]) == [
        "201", "400", "401", "403", "404", "413", "415", "422", "429", "503",
    ]  # fmt: skip
    # Outside nothing else is called Thing, so the answer is.
    assert made["responses"]["201"]["content"][JSON]["schema"]["items"] == {
        "$ref": "#/components/schemas/Thing"
    }
    by_name = {one["name"]: one for one in made["parameters"]}
    assert by_name["name"]["required"] is True
    assert by_name["colour"]["schema"] == {
        "type": "string", "enum": ["red", "blue"], "default": "red",
    }  # fmt: skip
    assert by_name["from"]["description"] == "The first month."
    assert by_name["from"]["schema"]["type"] == "string"
    assert by_name["limit"]["schema"] == {
        "type": "integer", "minimum": 1, "maximum": 1000, "default": 20,
    }  # fmt: skip
    assert {"Wanted", "Thing", "Problem"} <= set(schemas)
    assert "ThingAnswer" not in str(paths)
    answer = paths["/api/other"]["get"]["responses"]["200"]["content"][JSON]["schema"]
    assert answer == {"$ref": "#/components/schemas/Elsewhere"}
