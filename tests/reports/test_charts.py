"""Charts: what they say in words, where their axis begins, their picture without script."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from xml.etree import ElementTree

import pytest
from flask import Flask, render_template
from flask.testing import FlaskClient

from webapp.engine.charts import _largest, _largest_says, says
from webapp.reports.drawing import axis, picture, runs

pytestmark = pytest.mark.once

MONTHS = ("2024-01", "2024-02", "2024-03")


def view(values: Sequence[Any], type_: str = "line", unit: str = "") -> dict[str, Any]:
    return {"type": type_, "unit": unit, "series": [{"name": "Users", "values": list(values)}]}


@pytest.mark.parametrize(
    ("made", "is_time", "sentence"),
    [
        (
            view([100, 110, 119]),
            True,
            "From 100 to 119 (+19 %) between 2024-01 and 2024-03; highest in 2024-03.",
        ),
        (
            view([100, None, 100]),
            True,
            "Unchanged at 100 between 2024-01 and 2024-03; highest in 2024-03.",
        ),
        (
            view([5, 9, -2], "bar", "people"),
            True,
            "Strongest 2024-02 (9), weakest 2024-03 (-2); 12 people in all.",
        ),
        (
            view([30, 60, 10], "bar", "EUR"),
            False,
            "Largest: 2024-02, 60 EUR, 60 % of all.",
        ),
        (view([None, None, 7]), True, "2024-03: 7."),
        (view([None, None, None]), True, "Nothing is known yet."),
    ],
)
def test_a_chart_says_its_message(made: dict[str, Any], is_time: bool, sentence: str) -> None:
    assert says(made, MONTHS, is_time=is_time) == sentence


def test_a_month_that_is_not_over_has_no_say() -> None:
    assert "2024-03" not in says(view([1, 3, 9]), MONTHS, is_time=True, open_=[2])


@pytest.mark.parametrize(
    ("values", "from_zero", "found"),
    [
        ([17_889, 25_366], False, (16_000, 26_000, 2_000)),
        ([10, 25_366], False, (0, 30_000, 10_000)),
        ([95, 100], True, (0, 100, 20)),
        ([-13, 37], True, (-20, 40, 20)),
        ([0, 0], True, (0, 1, 0.25)),
        ([7], False, (0, 8, 2)),
    ],
)
def test_an_axis_begins_at_zero_or_says_so(
    values: list[float], from_zero: bool, found: tuple[float, float, float]
) -> None:
    low, high, step = axis(values, from_zero=from_zero)
    assert low <= min(values) <= max(values) <= high
    assert (low == 0) == (found[0] == 0)
    assert (high - low) / step <= 12


def test_holes_break_a_line_and_are_marked() -> None:
    assert runs([1, None, 2, 3]) == [[(0, 1)], [(2, 2), (3, 3)]]
    chart = {"labels": list(MONTHS), "open": [2]}
    drawn = picture(chart, view([1, None, 3], "bar"))
    assert len(drawn["holes"]) == 1
    assert [box[3] for box in drawn["series"][0]["boxes"]] == [False, True]


def test_the_names_below_a_picture_do_not_run_into_each_other(app: Flask) -> None:
    months = [f"2026-{number:02}" for number in range(1, 12)] + ["2026-12 (not over)"]
    chart = {"labels": months, "open": [11], "x": "Month"}
    drawn = picture(chart, view(list(range(12)), "bar"))
    with app.test_request_context():
        text = render_template(
            "reports/_picture.svg", drawn=drawn, chart=chart, view=view([], "bar"), alone=True
        )
    assert re.search(r">2026-12<tspan [^>]*>\(not over\)<", text)
    assert drawn["letters"] * 6.5 <= drawn["labels"][1][0] - drawn["labels"][0][0] + 1


def test_a_chart_is_a_picture_and_a_table_without_script(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    here = f"/reports/{run(mode='long', start='2024-01', end='2024-06')}"
    page = owner.get(here).text
    assert "<h2>Total by month</h2>" in page
    assert "From 1,000 to 1,185 people (+19 %) between 2024-01 and 2024-06" in page
    figure = page.partition("<figure")[2].partition("</figure>")[0]
    assert figure.count("<polyline") == 1
    assert len(re.findall(r'<th scope="row" class="is-fixed">2024-0\d</th>', figure)) == 6
    answer = owner.get(f"{here}/charts/months.svg?view=1")
    assert answer.headers["Content-Type"] == "image/svg+xml; charset=utf-8"
    assert answer.headers["Content-Disposition"].endswith("months.svg")
    root = ElementTree.fromstring(answer.text)
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert title.text == "Delta by month (people)"
    for missing in ("charts/nothing.svg", "charts/months.svg?view=9"):
        assert owner.get(f"{here}/{missing}").status_code == 404


def test_a_single_month_is_a_bar_and_no_dot_at_the_edge(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    page = owner.get(f"/reports/{run(mode='long', start='2024-01', end='2024-01')}").text
    figure = page.partition("<figure")[2].partition("</figure>")[0]
    assert "<polyline" not in figure
    assert figure.count('"type": "bar"') == 2


def test_another_companys_chart_is_unknown(
    run: Callable[..., str], client_for: Callable[[str], FlaskClient]
) -> None:
    here = f"/reports/{run(mode='long', start='2024-01', end='2024-06')}"
    assert client_for("stranger").get(f"{here}/charts/months.svg").status_code == 404


def test_of_several_lines_the_largest_is_named_and_those_of_holes_alone_are_left_out() -> None:
    series = {"b": {"2024-01": 1}, "a": {"2024-01": 5, "2024-02": 9}, "holes": {"2024-01": None}}
    drawn = [name for name, _ in _largest(series)]
    assert drawn == ["a", "b"]
    values = [{"name": "a", "values": [5, 9]}, {"name": "b", "values": [1, None]}]
    assert _largest_says(values, "GB") == "Largest: a, up to 9 GB."
    assert _largest_says(values * 4, "").endswith("Drawn are the 8 largest.")
