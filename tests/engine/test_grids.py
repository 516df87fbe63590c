"""A page of a grid: sorted, filtered, with holes last."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from tests.conftest import add_people
from tests.engine.engine_helpers import COLUMNS, Steps, make, rows_result, run, start
from webapp.engine.kind import Row, Table
from webapp.engine.models import Report, ResultRow
from webapp.engine.results import Filter, GridPage, GridQuery, ReadResult, grid_page
from webapp.extensions import db

TABLE = Table("rows", "Rows", COLUMNS)
few = settings(max_examples=60)


PageOf = Callable[..., GridPage]


@pytest.fixture
def page_of(steps: Flask) -> PageOf:
    """Return a maker of a report of these rows; it returns the page its grid shows."""

    def make_page(rows: list[Row], **how: Any) -> GridPage:
        report = make(steps, lambda run: rows_result(rows))
        with steps.app_context():
            kept = db.session.get_one(Report, report.id)
            return grid_page(Steps(), ReadResult(kept), TABLE, GridQuery(**how))

    return make_page


def names(page: GridPage) -> list[Any]:
    return [row.get("name") for row in page.rows]


def counts(page: GridPage) -> list[Any]:
    return [row.get("count") for row in page.rows]


def test_unsorted_it_keeps_the_order_of_the_result(page_of: PageOf) -> None:
    assert names(page_of([{"name": name} for name in "cab"])) == list("cab")


@pytest.mark.parametrize(
    ("descending", "wanted"), [(False, [2, 10, 100, None, None]), (True, [100, 10, 2, None, None])]
)
def test_numbers_go_by_value_and_holes_are_last_either_way(
    page_of: PageOf, descending: bool, wanted: list[Any]
) -> None:
    rows: list[Row] = [{"count": value} for value in (None, 10, 2, None, 100)]
    assert counts(page_of(rows, sort="count", descending=descending)) == wanted


def test_text_goes_by_letter_in_any_case(page_of: PageOf) -> None:
    rows: list[Row] = [{"name": name} for name in ("b", "C", "a", "A")]
    assert names(page_of(rows, sort="name")) == ["a", "A", "b", "C"]


def test_ids_go_by_length_first_as_numbers_do(page_of: PageOf) -> None:
    rows: list[Row] = [{"code": code} for code in ("10", "9", "100", "x")]
    page = page_of(rows, sort="code")
    assert [row["code"] for row in page.rows] == ["x", "9", "10", "100"]


def test_yes_and_no_are_sorted(page_of: PageOf) -> None:
    rows: list[Row] = [{"open": value} for value in (True, None, False)]
    page = page_of(rows, sort="open")
    assert [row["open"] for row in page.rows] == [False, True, None]


def test_equal_rows_keep_their_order(page_of: PageOf) -> None:
    rows: list[Row] = [{"name": name, "count": 1} for name in "cab"]
    assert names(page_of(rows, sort="count")) == list("cab")


def test_an_unknown_column_sorts_nothing(page_of: PageOf) -> None:
    page = page_of([{"name": name} for name in "ba"], sort="colour")
    assert (names(page), page.sort) == (["b", "a"], "")


def test_a_search_looks_into_every_shown_column_in_any_case(page_of: PageOf) -> None:
    rows: list[Row] = [
        {"name": "Shop"}, {"name": "b", "code": "77shop"}, {"name": "c", "hidden": "shop"},
        {"name": "d", "count": 42},
    ]  # fmt: skip
    assert names(page_of(rows, search="SHOP")) == ["Shop", "b"]
    assert names(page_of(rows, search="42")) == ["d"]


def test_a_zero_can_be_searched_for(page_of: PageOf) -> None:
    assert counts(page_of([{"count": 0}, {"count": 5}], search="0")) == [0]


def test_pages_are_cut_and_counted(page_of: PageOf) -> None:
    rows: list[Row] = [{"name": f"{n:03d}"} for n in range(120)]
    page = page_of(rows, page=3, per_page=50)
    assert (page.page, page.pages, page.matching, page.total) == (3, 3, 120, 120)
    assert names(page) == [f"{n:03d}" for n in range(100, 120)]


@pytest.mark.parametrize(("page", "lands"), [(0, 1), (-5, 1), (99, 2)])
def test_a_page_that_is_none_is_the_nearest(page_of: PageOf, page: int, lands: int) -> None:
    rows: list[Row] = [{"name": "x"}] * 60
    assert page_of(rows, page=page, per_page=50).page == lands


def test_nothing_found_is_one_empty_page(page_of: PageOf) -> None:
    page = page_of([{"name": "a"}], search="zzz")
    assert (page.rows, page.page, page.pages, page.matching, page.total) == ([], 1, 1, 0, 1)


@pytest.mark.hypothesis
def test_sorting_loses_no_row_and_every_hole_comes_after_every_value(steps: Flask) -> None:
    report_id = make(steps, lambda run: rows_result([])).id

    @few
    @given(st.lists(st.none() | st.integers(-100, 100), max_size=30), st.booleans())
    def holds(values: list[int | None], descending: bool) -> None:
        rows = [
            {"report_id": report_id, "table_name": "rows", "position": at, "data": {"count": value}}
            for at, value in enumerate(values)
        ]
        with steps.app_context():
            db.session.execute(delete(ResultRow))
            if rows:
                db.session.execute(insert(ResultRow), rows)
            result = ReadResult(db.session.get_one(Report, report_id))
            asked = GridQuery(sort="count", descending=descending, per_page=100)
            found = counts(grid_page(Steps(), result, TABLE, asked))
            db.session.rollback()
        known = sorted((value for value in values if value is not None), reverse=descending)
        assert found == known + [None] * values.count(None)

    holds()


def test_exact_decimals_are_sorted_and_asked_for_by_value(page_of: PageOf) -> None:
    rows: list[Row] = [{"share": value} for value in ("9.50", "-1", "10.25", None, 3, "n/a")]
    page = page_of(rows, sort="share", descending=True)
    numbers = [row["share"] for row in page.rows if row["share"] != "n/a"]
    assert numbers == ["10.25", "9.50", 3, "-1", None]
    above = page_of(rows, filters=(Filter("share", "above", "9.5"),))
    assert [row["share"] for row in above.rows] == ["9.50", "10.25"]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (Filter("count", "is", "2"), "b"),
        (Filter("count", "is_not", "2"), "acd"),
        (Filter("count", "below", "2"), "ab"),
        (Filter("count", "above", "2.0"), "bc"),
        (Filter("count", "above", "many"), ""),
        (Filter("count", "above", "nan"), ""),
        (Filter("month", "below", "2024-02"), "ab"),
        (Filter("month", "above", "2024-02"), "bc"),
        (Filter("open", "is", "true"), "a"),
        (Filter("open", "is", "false"), "b"),
        (Filter("name", "has", "A"), "a"),
        (Filter("code", "has_not", "1"), "cd"),
        (Filter("colour", "is", "red"), "abcd"),
    ],
)
def test_a_column_is_asked_for_values(page_of: PageOf, asked: Filter, wanted: str) -> None:
    rows: list[Row] = [
        {"name": "a", "count": 1, "month": "2024-01", "open": True, "code": "10"},
        {"name": "b", "count": 2, "month": "2024-02", "open": False, "code": "21"},
        {"name": "c", "count": 3, "month": "2024-03", "code": "3"},
        {"name": "d"},
    ]
    assert "".join(names(page_of(rows, filters=(asked,)))) == wanted


def test_capital_letters_of_any_alphabet_are_the_same_as_small_ones(page_of: PageOf) -> None:
    rows: list[Row] = [{"name": "ÄRGER"}, {"name": "zebra"}, {"name": "Ωmega 100%"}]
    assert names(page_of(rows, search="ärger")) == ["ÄRGER"]
    assert names(page_of(rows, search="ωMEGA 100%")) == ["Ωmega 100%"]
    assert names(page_of(rows, search="_")) == []


def test_texts_no_database_looks_into_are_sorted_and_found_all_the_same(page_of: PageOf) -> None:
    rows: list[Row] = [{"name": "c"}, {"name": "a\x00b\ud800"}, {"name": "b", "hidden": ["\x00"]}]
    assert names(page_of(rows, sort="name")) == ["a\x00b\ud800", "b", "c"]
    assert names(page_of(rows, search="ab?")) == ["a\x00b\ud800"]


class Doubled(Steps):
    """A kind whose grid shows another figure than it stores."""

    def grid_row(self, table: str, row: Row, head: Any) -> Row:
        return row | {"count": -row["count"], "share": Decimal(row["count"])}


def test_what_a_grid_shows_is_what_it_is_sorted_and_searched_by(
    make_app: Callable[..., Flask],
) -> None:
    kind = Doubled(lambda run: rows_result([{"count": number} for number in (1, 22, 3)]))
    app = make_app(report_kinds=(kind,))
    add_people(app)
    report = run(app, start(app))
    with app.app_context():
        result = ReadResult(db.session.get_one(Report, report.id))
        page = grid_page(kind, result, TABLE, GridQuery(sort="count"))
        assert [row["count"] for row in page.rows] == [-22, -3, -1]
        assert page.rows[0]["share"] == Decimal(22)
        found = grid_page(kind, result, TABLE, GridQuery(search="-2"))
        assert [row["count"] for row in found.rows] == [-22]
        assert [row["count"] for row in result.rows("rows")] == [1, 22, 3]
