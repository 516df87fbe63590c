"""Raw values to typed ones, or a sentence per field."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from tests.engine.engine_helpers import Steps
from webapp.engine.params import (
    form_fields,
    json_schema,
    read_params,
    retried_params,
    stored_params,
)
from webapp.errors import InvalidParams

KIND = Steps()


def sentences(raw: Any) -> dict[str, str]:
    with pytest.raises(InvalidParams) as caught:
        read_params(KIND, raw)
    return caught.value.errors


def test_texts_of_a_form_become_typed_values() -> None:
    raw = {"title": "a", "many": "7", "exact": "true", "month": "2025-03", "day": "2025-03-09"}
    params: Any = read_params(KIND, raw).params
    assert (params.many, params.exact) == (7, True)
    assert (params.month, params.day) == (date(2025, 3, 1), date(2025, 3, 9))


def test_an_empty_text_and_a_null_count_as_not_given() -> None:
    params: Any = read_params(KIND, {"many": "", "month": None, "title": ""}).params
    assert (params.many, params.month, params.title) == (1, None, "steps")


def test_stored_params_are_json_and_read_back_the_same() -> None:
    parsed = read_params(KIND, {"month": "2025-03", "day": "2025-03-09", "many": 3})
    assert parsed.public["month"] == "2025-03"
    assert stored_params(KIND, parsed.public) == parsed.params


def test_secrets_are_kept_apart_and_trimmed() -> None:
    parsed = read_params(KIND, {"password": " hush-hush ", "title": "a"})
    assert parsed.secrets == {"password": "hush-hush"}
    assert "hush-hush" not in str(parsed.public) + repr(parsed.params)


@pytest.mark.parametrize(
    ("raw", "field", "sentence"),
    [
        ({"many": "x"}, "many", "Write a whole number."),
        ({"many": 1.5}, "many", "Write a whole number."),
        ({"many": []}, "many", "Write a whole number."),
        ({"exact": "perhaps"}, "exact", "Write true or false."),
        ({"exact": []}, "exact", "Write true or false."),
        ({"pick": "three"}, "pick", "Choose one of 'one', 'two'."),
        ({"month": "2024-13"}, "month", "Write the month as YYYY-MM, for example 2025-03."),
        ({"month": 202401}, "month", "Write the month as YYYY-MM, for example 2025-03."),
        ({"month": "1969-12"}, "month", "Write the month as YYYY-MM, for example 2025-03."),
        ({"day": "2024-02-30"}, "day", "Write the date as YYYY-MM-DD."),
        ({"title": 5}, "title", "Send this as text."),
        ({"title": "x" * 21}, "title", "Use at most 20 characters."),
        ({"title": "a\x00b"}, "title", "The text contains characters that cannot be stored."),
        ({"title": "\ud800"}, "title", "The text contains characters that cannot be stored."),
        ({"colour": "red"}, "colour", "This report has no such parameter."),
        ({"password": 5}, "password", "Send this as text."),
    ],
)
def test_what_cannot_be_used_gets_one_sentence_at_its_field(
    raw: dict[str, Any], field: str, sentence: str
) -> None:
    assert sentences(raw) == {field: sentence}


def test_every_bad_field_gets_its_own_sentence() -> None:
    assert set(sentences({"many": "x", "exact": "perhaps", "month": "z"})) == {
        "many",
        "exact",
        "month",
    }


@pytest.mark.parametrize("raw", [[], "text", 5, None])
def test_parameters_that_are_no_object_are_refused(raw: Any) -> None:
    assert sentences(raw) == {"params": "Send the parameters as a JSON object."}


@pytest.mark.parametrize("many", [0, 1001, -1, 10**30, "9" * 5000])
def test_numbers_out_of_bounds_get_a_sentence(many: Any) -> None:
    assert list(sentences({"many": many})) == ["many"]


@pytest.mark.parametrize("value", ["a\x00b", "line\nbreak", "x" * 5000, "\ud800"])
def test_a_secret_that_cannot_be_sent_is_refused_and_not_repeated(value: str) -> None:
    found = sentences({"password": value})
    assert list(found) == ["password"]
    assert value not in found["password"]


def test_the_schema_marks_secrets_write_only_and_leaves_form_hints_out() -> None:
    schema = json_schema(KIND)
    assert schema["properties"]["password"]["writeOnly"] is True
    assert not any("form" in field for field in schema["properties"].values())
    assert schema["properties"]["month"]["anyOf"][0]["pattern"]


def test_there_is_a_form_field_for_each_parameter_in_its_order() -> None:
    assert [field.name for field in form_fields(KIND)] == list(KIND.Params.model_fields)


def test_a_secret_is_never_filled_in() -> None:
    secret = next(field for field in form_fields(KIND) if field.name == "password")
    assert (secret.widget, secret.default) == ("password", None)


class TwoWaysIn(Steps):
    """Its reports get in by a password, or by what `pick` and `day` say together."""

    credential_options = (frozenset({"password"}), frozenset({"pick", "day"}))


def test_another_way_in_takes_the_place_of_the_one_a_report_was_asked_with() -> None:
    stored = {"title": "steps", "many": 3, "pick": "two", "day": "2025-03-01"}
    again = retried_params(TwoWaysIn(), stored, {"password": "new", "title": ""})
    assert again == {"title": "steps", "many": 3, "password": "new"}


def test_half_a_way_in_takes_no_ones_place() -> None:
    again = retried_params(TwoWaysIn(), {"pick": "two"}, {"pick": "one"})
    assert again == {"pick": "one"}


def test_a_retry_that_says_something_else_is_told_where() -> None:
    with pytest.raises(InvalidParams) as refused:
        retried_params(TwoWaysIn(), {"many": 3}, {"password": "new", "many": 4})
    assert list(refused.value.errors) == ["many"]
