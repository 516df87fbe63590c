"""A page of a grid: sorted, filtered, with holes last."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.engine_helpers import COLUMNS, Steps
from webapp.engine.kind import Row, Table
from webapp.engine.results import GridPage, grid_page

TABLE = Table("rows", "Rows", COLUMNS)
few = settings(max_examples=60, derandomize=True, deadline=None)


class Rows:
    """A stored result in memory: what `grid_page` asks of one."""

    head: dict[str, Any] = {}

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def rows(self, table: str) -> Any:
        return iter(self._rows)


def page_of(rows: list[Row], **how: Any) -> GridPage:
    return grid_page(Steps(), Rows(rows), TABLE, **how)  # type: ignore[arg-type]


def names(page: GridPage) -> list[Any]:
    return [row.get("name") for row in page.rows]


def counts(page: GridPage) -> list[Any]:
    return [row.get("count") for row in page.rows]


def test_unsorted_it_keeps_the_order_of_the_result() -> None:
    assert names(page_of([{"name": name} for name in "cab"])) == list("cab")


@pytest.mark.parametrize(
    ("descending", "wanted"), [(False, [2, 10, 100, None, None]), (True, [100, 10, 2, None, None])]
)
def test_numbers_go_by_value_and_holes_are_last_either_way(
    descending: bool, wanted: list[Any]
) -> None:
    rows: list[Row] = [{"count": value} for value in (None, 10, 2, None, 100)]
    assert counts(page_of(rows, sort="count", descending=descending)) == wanted


def test_text_goes_by_letter_in_any_case() -> None:
    rows: list[Row] = [{"name": name} for name in ("b", "C", "a", "A")]
    assert names(page_of(rows, sort="name")) == ["a", "A", "b", "C"]


def test_ids_go_by_length_first_as_numbers_do() -> None:
    rows: list[Row] = [{"code": code} for code in ("10", "9", "100", "x")]
    page = page_of(rows, sort="code")
    assert [row["code"] for row in page.rows] == ["x", "9", "10", "100"]


def test_yes_and_no_are_sorted() -> None:
    rows: list[Row] = [{"open": value} for value in (True, None, False)]
    page = page_of(rows, sort="open")
    assert [row["open"] for row in page.rows] == [False, True, None]


def test_equal_rows_keep_their_order() -> None:
    rows: list[Row] = [{"name": name, "count": 1} for name in "cab"]
    assert names(page_of(rows, sort="count")) == list("cab")


def test_an_unknown_column_sorts_nothing() -> None:
    page = page_of([{"name": name} for name in "ba"], sort="colour")
    assert (names(page), page.sort) == (["b", "a"], "")


def test_a_search_looks_into_every_shown_column_in_any_case() -> None:
    rows: list[Row] = [
        {"name": "Shop"}, {"name": "b", "code": "77shop"}, {"name": "c", "hidden": "shop"},
        {"name": "d", "count": 42},
    ]  # fmt: skip
    assert names(page_of(rows, search="SHOP")) == ["Shop", "b"]
    assert names(page_of(rows, search="42")) == ["d"]


def test_a_zero_can_be_searched_for() -> None:
    assert counts(page_of([{"count": 0}, {"count": 5}], search="0")) == [0]


def test_pages_are_cut_and_counted() -> None:
    rows: list[Row] = [{"name": f"{n:03d}"} for n in range(120)]
    page = page_of(rows, page=3, per_page=50)
    assert (page.page, page.pages, page.matching, page.total) == (3, 3, 120, 120)
    assert names(page) == [f"{n:03d}" for n in range(100, 120)]


@pytest.mark.parametrize(("page", "lands"), [(0, 1), (-5, 1), (99, 2)])
def test_a_page_that_is_none_falls_back_to_the_nearest(page: int, lands: int) -> None:
    rows: list[Row] = [{"name": "x"}] * 60
    assert page_of(rows, page=page, per_page=50).page == lands


def test_nothing_found_is_one_empty_page() -> None:
    page = page_of([{"name": "a"}], search="zzz")
    assert (page.rows, page.page, page.pages, page.matching, page.total) == ([], 1, 1, 0, 1)


@few
@given(st.lists(st.none() | st.integers(-100, 100), max_size=30), st.booleans())
def test_sorting_loses_no_row_and_every_hole_comes_after_every_value(
    values: list[int | None], descending: bool
) -> None:
    rows: list[Row] = [{"count": value} for value in values]
    found = counts(page_of(rows, sort="count", descending=descending, per_page=100))
    known = sorted((value for value in values if value is not None), reverse=descending)
    assert found == known + [None] * values.count(None)
