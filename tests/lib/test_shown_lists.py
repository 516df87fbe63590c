"""Lists that are read whole: a page of them at a time, found by words."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from webapp.lib.shown_lists import PER_PAGE, ShownList, shown_list

NAMES = [f"Person {number}" for number in range(120)]


def shown_names(count: int, asked: dict[str, str], name: str = "") -> ShownList[Any]:
    with Flask(__name__).test_request_context(query_string=asked):
        return shown_list(NAMES[:count], str, name)


@pytest.mark.parametrize(
    ("asked", "first", "count", "page"),
    [
        ({}, "Person 0", PER_PAGE, 1),
        ({"page": "3"}, "Person 100", 20, 3),
        ({"page": "99"}, "Person 100", 20, 3),
        ({"page": "-1"}, "Person 0", PER_PAGE, 1),
        ({"page": "x"}, "Person 0", PER_PAGE, 1),
        ({"q": " 11 PERSON "}, "Person 11", 11, 1),
    ],
)
def test_a_page_is_cut_and_nonsense_counts_as_none(
    asked: dict[str, str], first: str, count: int, page: int
) -> None:
    shown = shown_names(120, asked)
    assert (shown.rows[0], len(shown.rows), shown.page) == (first, count, page)


def test_words_that_find_nothing_leave_a_search_to_change() -> None:
    shown = shown_names(3, {"q": "nobody"})
    assert (shown.rows, shown.pages, shown.is_long) == ([], 1, True)
    assert not shown_names(3, {}).is_long


def test_another_page_keeps_the_words() -> None:
    assert shown_names(120, {"q": "a&b"}).link(2) == "?q=a%26b&page=2"


def test_of_two_lists_on_a_page_one_is_turned_and_the_other_stays() -> None:
    shown = shown_names(120, {"unitspage": "2", "periodsq": "a&b"}, "units")
    assert shown.page == 2
    assert shown.link(3) == "?periodsq=a%26b&unitspage=3#units"
    assert shown.whole == "?periodsq=a%26b#units"
