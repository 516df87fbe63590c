"""Grids: filters by column, chosen columns, the rows as they are shown as a file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

HTMX = {"HX-Request": "true"}


def names(page: str) -> list[str]:
    """Return the head of each row of the grid of things."""
    grid = page.partition('id="grid-things"')[2].partition("</section>")[0]
    body = grid.partition("<tbody>")[2].partition("</tbody>")[0]
    heads = re.findall(r'<th scope="row" class="row-head">(.*?)</th>', body, re.DOTALL)
    return [re.sub(r"<[^>]+>", "", head).strip() for head in heads]


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ("number:is:1000002", ["1000002"]),
        ("number:above:1000011", ["1000011", "1000012"]),
        ("number:below:1000002", ["1000001", "1000002"]),
        ("is_child:is:yes", ["1000004", "1000008", "1000012"]),
        ("name:has:number 1;name:has_not:11", ["1000001", "1000010", "1000012"]),
        ("weight:above:4000;number:is_not:1000004", []),
    ],
)
def test_rows_are_filtered_by_column(
    run: Callable[..., str], owner: FlaskClient, where: str, left: list[str]
) -> None:
    report_id = run()
    page = owner.get(f"/reports/{report_id}", query_string={"where": where}).text
    found = names(page)
    if left:
        assert found == left
    else:
        assert all(number != "1000004" for number in found)


def test_a_filter_that_is_added_joins_the_others_in_the_address(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    report_id = run()
    asked = {
        "where": "is_child:is:yes",
        "filter_column": "number",
        "filter_operator": "above",
        "filter_value": "1000008",
        "grid": "things",
    }
    answer = owner.get(f"/reports/{report_id}", query_string=asked, headers=HTMX)
    assert names(answer.text) == ["1000008", "1000012"]
    pushed = answer.headers["HX-Push-Url"]
    assert "where=is_child%3Ais%3Ayes%3Bnumber%3Aabove%3A1000008" in pushed
    assert "filter_column" not in pushed
    assert names(owner.get(pushed).text) == ["1000008", "1000012"]
    # Each can be taken away alone.
    assert "Take away the filter Child is yes" in answer.text
    assert 'href="/reports/' + report_id + '?where=number%3Aabove%3A1000008"' in answer.text


def test_what_has_few_values_is_picked_and_replaces_what_was_picked(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    here = f"/reports/{run()}"
    assert "is-is_child" not in owner.get(here).text
    asked = {"filter": "1", "where": "is_child:is:false", "is-is_child": "true"}
    page = owner.get(here, query_string=asked).text
    assert names(page) == ["1000004", "1000008", "1000012"]
    assert '<option value="true" selected>yes</option>' in page
    assert "Take away the filter Child is no" not in page
    page = owner.get(here, query_string=asked | {"is-is_child": ""}).text
    assert len(names(page)) == 12


@pytest.mark.parametrize("where", ["nothing:is:1", "number:like:1", "::", ";;", "number", "%:%:%"])
def test_a_filter_nobody_can_grant_is_none(
    run: Callable[..., str], owner: FlaskClient, where: str
) -> None:
    page = owner.get(f"/reports/{run()}", query_string={"where": where})
    assert page.status_code == 200
    assert len(names(page.text)) == 12


def test_a_value_with_our_signs_in_it_is_kept_whole(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    asked = {"filter_column": "name", "filter_operator": "has", "filter_value": "a:b;c & d"}
    page = owner.get(f"/reports/{run()}", query_string=asked).text
    assert "Name contains a:b;c &amp; d" in page
    assert "No row matches these filters." in page


def test_columns_are_chosen_and_the_head_of_a_row_stays(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    page = owner.get(f"/reports/{run()}?columns=weight&columns=seen").text
    heads = re.findall(r'id="grid-things-(\w+)" href', page)
    assert heads == ["number", "weight", "seen"]


def test_what_is_shown_is_downloaded(run: Callable[..., str], owner: FlaskClient) -> None:
    report_id = run(things=1203)
    asked = {"where": "number:above:1000601", "sort": "number", "dir": "desc", "columns": "name"}
    page = owner.get(f"/reports/{report_id}", query_string=asked).text
    address = re.search(r'href="(/reports/[^"]+/grid/things\.csv[^"]*)"', page)
    assert address
    answer = owner.get(address[1].replace("&amp;", "&"))
    rows = list(csv.reader(io.StringIO(answer.get_data().decode("utf-8-sig"))))
    assert rows[0] == ["number", "name"]
    assert [row[0] for row in rows[1:]] == [str(1_000_000 + n) for n in range(1203, 600, -1)]
    assert "attachment" in answer.headers["Content-Disposition"]


def test_another_companys_grid_is_not_downloaded(
    run: Callable[..., str], client_for: Callable[[str], FlaskClient]
) -> None:
    address = f"/reports/{run()}/grid/things.csv"
    assert client_for("stranger").get(address).status_code == 404
    assert client_for("owner").get(address.replace("things", "nothing")).status_code == 404


def test_what_another_grid_was_turned_to_is_kept(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    report_id = run(mode="long", start="2024-01", end="2024-12")
    here = f"/reports/{report_id}"
    headers = HTMX | {"HX-Current-URL": f"http://localhost{here}?things.sort=name&sort=total"}
    answer = owner.get(f"{here}?sort=delta&dir=desc&grid=months", headers=headers)
    assert answer.headers["HX-Push-Url"] == f"{here}?sort=delta&dir=desc&things.sort=name"


def test_a_grid_says_what_it_shows(run: Callable[..., str], owner: FlaskClient) -> None:
    page = owner.get(f"/reports/{run()}?sort=number&dir=desc&q=number").text
    assert 'data-said="Things: 11 of 12 rows, by Number down, page 1 of 1."' in page
