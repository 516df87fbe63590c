"""A finished report's page: figures, grid, chart, holes, downloads, and who may see it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable

from flask.testing import FlaskClient
from pypdf import PdfReader
from tally import HOSTILE

HTMX = {"HX-Request": "true"}
LONG = {"mode": "long", "start": "2024-01", "end": "2025-06"}


def test_a_result_shows_figures_table_and_downloads(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    report_id = run(things=3)
    page = owner.get(f"/reports/{report_id}")
    assert page.status_code == 200
    assert "Tally: apples short" in page.text
    assert "<dt>Things</dt>" in page.text
    assert "1000001" in page.text
    for fmt in ("csv", "json", "xlsx"):
        assert f'href="/reports/{report_id}.{fmt}"' in page.text


def test_hostile_words_of_a_partner_are_escaped_everywhere(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    for report_id in (run(**LONG), run(fails=True), run(holes=True)):
        text = owner.get(f"/reports/{report_id}").text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "&lt;script&gt;alert" in text


def test_a_hole_is_marked_and_its_problem_named(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    page = owner.get(f"/reports/{run(holes=True)}").text
    assert 'class="hole" title="The scales were broken."' in page
    assert "This result is incomplete." in page
    assert "Try the failed parts again" in page


def test_a_long_word_is_cut_short_on_the_screen_only(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    word = f"key-{1:060d}"
    here = f"/reports/{run(things=1)}"
    assert f'<span class="clipped" title="{word}">{word}</span>' in owner.get(here).text
    assert word in owner.get(f"{here}.csv").text


def test_a_complete_result_offers_no_retry(run: Callable[..., str], owner: FlaskClient) -> None:
    page = owner.get(f"/reports/{run()}").text
    assert "/retry" not in page
    assert "hole" not in page


def test_the_chart_has_its_numbers_in_the_page(run: Callable[..., str], owner: FlaskClient) -> None:
    page = owner.get(f"/reports/{run(**LONG)}").text
    found = re.search(r'<script type="application/json">(.*?)</script>', page, re.S)
    assert found
    chart = json.loads(found[1])
    assert chart["labels"][0] == "2024-01"
    assert [view["label"] for view in chart["views"]] == ["Overall", "Delta"]
    assert {view["unit"] for view in chart["views"]} == {"people"}
    assert chart["views"][0]["series"][0]["values"][:2] == [1000, 1037]
    assert chart["views"][1]["series"][0]["values"][3] == -13


def test_the_grid_sorts_filters_and_pages_by_plain_links(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    here = f"/reports/{run(things=120)}"
    first = owner.get(here).text
    assert "120 rows, page 1 of 3" in first
    assert f'href="{here}?page=2"' in first
    by_weight = owner.get(f"{here}?sort=weight&dir=desc").text
    assert 'aria-sort="descending"' in by_weight
    weights = [int(w.replace(",", "")) for w in re.findall(r'is-number">([\d,]+)</td>', by_weight)]
    assert weights[0] == max(weights)
    found = owner.get(f"{here}?q=number+77").text
    assert "1 of 120 rows match" in found
    assert "1000077" in found
    assert "No row matches “zebra”" in owner.get(f"{here}?q=zebra").text


def test_sorting_keeps_the_filter_and_the_other_grid(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    here = f"/reports/{run(things=30, **LONG)}"
    page = owner.get(f"{here}?sort=total&dir=asc&things.q=number").text
    assert "sort=delta&amp;dir=desc&amp;things.q=number" in page.replace(
        "things.q=number&amp;sort=delta&amp;dir=desc", "sort=delta&amp;dir=desc&amp;things.q=number"
    )
    assert '<input type="hidden" name="sort" value="total">' in page


def test_nonsense_in_the_address_falls_back(run: Callable[..., str], owner: FlaskClient) -> None:
    here = f"/reports/{run()}"
    for query in (
        "page=999999999",
        "page=-1",
        "page=x",
        "sort=nothing",
        "dir=up",
        "q=%00",
        "things.q=a%00b",
        "things.where=name:has:a%2500b",
        "page=²",
    ):
        assert owner.get(f"{here}?{query}").status_code == 200, query


def test_htmx_gets_one_grid_alone_with_its_address(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    here = f"/reports/{run(**LONG)}"
    answer = owner.get(f"{here}?things.sort=weight&things.dir=desc&grid=things", headers=HTMX)
    assert answer.text.lstrip().startswith('<section class="grid" id="grid-things"')
    assert answer.headers["HX-Push-Url"] == f"{here}?things.sort=weight&things.dir=desc"
    assert "HX-Request" in answer.headers["Vary"]
    assert owner.get(f"{here}?grid=nothing", headers=HTMX).status_code == 404


def test_downloads_have_names_and_tags(run: Callable[..., str], owner: FlaskClient) -> None:
    here = f"/reports/{run(things=3)}"
    plain = owner.get(f"{here}.csv")
    assert plain.headers["Content-Disposition"] == "attachment; filename=tally-apples-short.csv"
    assert plain.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(plain.text)))
    assert [row["number"] for row in rows] == ["1000001", "1000002", "1000003"]
    assert rows[2]["name"] == HOSTILE
    again = owner.get(f"{here}.csv", headers={"If-None-Match": plain.headers["ETag"]})
    assert again.status_code == 304
    assert not again.data
    marked = owner.get(f"{here}.csv?bom=1")
    assert marked.data == b"\xef\xbb\xbf" + plain.data
    assert f'href="{here}.csv?bom=1"' in owner.get(here).text
    raw = owner.get(f"{here}.csv?raw=1")
    assert len({answer.headers["ETag"] for answer in (plain, marked, raw)}) == 3
    assert owner.get(f"{here}.json").get_json()["count"] == 3
    assert owner.get(f"{here}.xlsx").data.startswith(b"PK")


def test_a_further_sheet_has_its_own_download(run: Callable[..., str], owner: FlaskClient) -> None:
    here = f"/reports/{run(**LONG)}"
    page = owner.get(here).text
    assert f'href="{here}.csv?by=thing&amp;bom=1"' in page
    assert f'href="{here}.csv?raw=1"' in page
    assert owner.get(f"{here}.csv?by=thing").text.startswith("number,name")
    assert owner.get(f"{here}.csv").text.startswith("month,total,delta")
    assert owner.get(f"{here}.csv?by=nothing").status_code == 422


def test_an_unfinished_report_has_no_download(
    start: Callable[..., str], owner: FlaskClient
) -> None:
    answer = owner.get(f"/reports/{start()}.csv")
    assert answer.status_code == 409
    assert "its result comes when it is finished" in answer.text


def test_a_stranger_cannot_see_anything_of_a_report(
    run: Callable[..., str],
    client_for: Callable[[str], FlaskClient],
    post: Callable[..., object],
) -> None:
    report_id = run()
    stranger = client_for("stranger")
    for path in ("", "/events", ".csv", ".json", ".xlsx", "?grid=things"):
        assert stranger.get(f"/reports/{report_id}{path}").status_code == 404, path
        assert stranger.get(f"/reports/{report_id}{path}", headers=HTMX).status_code == 404
    for deed in ("cancel", "delete", "retry"):
        assert post(stranger, f"/reports/{report_id}/{deed}").status_code == 404  # type: ignore[attr-defined]
    assert report_id not in stranger.get("/").text
    assert client_for("colleague").get(f"/reports/{report_id}").status_code == 200


def test_a_viewer_sees_results_and_no_buttons_that_change_them(
    run: Callable[..., str], start: Callable[..., str], client_for: Callable[[str], FlaskClient]
) -> None:
    viewer = client_for("viewer")
    home = viewer.get("/").text
    assert "/reports/new" not in home
    for report_id in (run(holes=True), start(), run(fails=True)):
        page = viewer.get(f"/reports/{report_id}")
        assert page.status_code == 200
        for deed in ("/cancel", "/delete", "/retry", "Run again"):
            assert deed not in page.text, deed
    assert viewer.get("/reports/new/tally").status_code == 403


def test_a_result_is_a_document_on_paper(run: Callable[..., str], owner: FlaskClient) -> None:
    path = f"/reports/{run(mode='long', start='2024-01', end='2024-12', holes=True)}"
    answer = owner.get(f"{path}.pdf")
    assert answer.mimetype == "application/pdf"
    assert "tally-apples-long.pdf" in answer.headers["Content-Disposition"]
    document = PdfReader(io.BytesIO(answer.data))
    text = " ".join(page.extract_text() for page in document.pages)
    for told in ("Tally: apples long", "Acme", "2024-12", "1,407", "Thing number 12", "incomplete"):
        assert told in text, told
    assert f"Page 1 of {len(document.pages)}" in text
    assert f'href="{path}.pdf"' in owner.get(path).text
