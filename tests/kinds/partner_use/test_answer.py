"""What a result says first, and how its tables show what matters."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import DEMO_KEY, DEMO_SECRET
from tests.kinds.partner_use.partner_use_helpers import NOW, Maker, ago
from webapp.engine.kind import Figure, Row
from webapp.kinds.partner_use.answer import answer, percent
from webapp.kinds.partner_use.kind import _merged

WITH_HOLES, WITH_CHILDREN = "70000007", "70000001"


def month(name: str, total: int | None, delta: int | None, **more: Any) -> Row:
    row = {"month": name, "total_users": total, "delta": delta, "known_users": total or 900}
    row |= {"sites_counted": 4, "sites": 4, "running": False}
    return row | more


class Months:
    """A result of nothing but months."""

    def __init__(self, *rows: Row) -> None:
        self.company_id = ""
        self.head = {"mode": "monthly", "start": rows[0]["month"], "end": rows[-1]["month"]}
        self._rows = rows

    def rows(self, table: str) -> Any:
        return iter(self._rows if table == "months" else ())


def figures(result: Months) -> dict[str, Figure]:
    return {one.label: one for one in answer(result, ()).figures}


def test_the_answer_is_the_growth_over_the_range_and_the_strongest_month() -> None:
    result = Months(
        month("2025-01", 1100, 100), month("2025-02", 1400, 300), month("2025-03", 1500, 100)
    )
    assert answer(result, ()).sentence == (
        "Grew by 50 % to 1,500 users from the end of 2024-12 to 2025-03; strongest month 2025-02."
    )
    found = figures(result)
    assert (found["Users"].value, found["Users"].note) == (1500, "at the end of 2025-03")
    assert (found["Growth"].value, found["Growth"].note) == ("+500", "+50 % since 2024-12")
    assert (found["Strongest month"].value, found["Strongest month"].note) == (
        "2025-02",
        "+300 users",
    )
    assert found["Sites counted"].value == "4 of 4"
    assert "Against the year before" not in found


def test_the_year_before_is_told_where_the_range_has_it() -> None:
    months = [month(f"20{24 + n // 12}-{n % 12 + 1:02d}", 100 + n, 1) for n in range(14)]
    found = figures(Months(*months))
    assert found["Against the year before"].value == "+12"
    assert found["Against the year before"].note == "+12 % since 2024-02"


def test_the_month_that_is_not_over_stands_apart() -> None:
    result = Months(month("2025-01", 110, 10), month("2025-02", 115, 5, running=True))
    assert answer(result, ()).sentence == "Grew by 10 % to 110 users in 2025-01."
    found = figures(result)
    assert found["Users"].value == 110
    assert found["2025-02 so far"].value == "+5"
    assert found["2025-02 so far"].note == "the month is not over"


def test_a_range_of_nothing_but_the_running_month_has_an_answer() -> None:
    result = Months(month("2025-02", 115, 5, running=True))
    assert answer(result, ()).sentence == "Grew by 4.5 % to 115 users in 2025-02."


def test_a_total_with_a_hole_is_no_total() -> None:
    result = Months(month("2025-01", 1000, 10), month("2025-02", None, None, sites_counted=3))
    said = answer(result, ()).sentence
    assert said.startswith("The total at the end of 2025-02 is not known: 900 accounts at 3 of 4")
    found = figures(result)
    assert found["Users"].value is None
    assert found["Growth"].value is None
    assert (found["Sites counted"].value, found["Sites counted"].note) == ("3 of 4", "1 missing")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([month("2025-01", 90, -10)], "Shrank by 10 % to 90 users in 2025-01."),
        ([month("2025-01", 90, 0)], "Stayed at 90 users in 2025-01."),
        ([month("2025-01", 90, 90)], "Grew to 90 users in 2025-01."),
        ([month("2025-01", 90, None)], "90 users in 2025-01."),
    ],
)
def test_what_did_not_grow_is_said_as_it_is(rows: list[Row], said: str) -> None:
    assert answer(Months(*rows), ()).sentence == said


@pytest.mark.parametrize(
    ("growth", "before", "text"),
    [(19, 100, "+19 %"), (-19, 100, "−19 %"), (1, 1000, "+0.1 %"), (5, 0, "")],
)
def test_a_growth_in_percent(growth: int, before: int, text: str) -> None:
    assert percent(growth, before) == text


@pytest.fixture
def made(maker: Maker) -> Callable[..., str]:
    """Return a maker of reports: gives the id of one month by month."""

    def make(partner: str, **more: Any) -> str:
        params = {"partner_id": partner, "user_key": DEMO_KEY, "user_secret": DEMO_SECRET}
        return maker.make(params | {"mode": "monthly", "start": ago(3), "end": NOW} | more).id

    return make


def rows_of(page: str, table: str) -> list[str]:
    """Return the text of each row of a grid, markup left out."""
    grid = page.partition(f'id="grid-{table}"')[2].partition("</section>")[0]
    return [
        " ".join(re.sub("<[^>]+>", " ", row).split())
        for row in re.findall(r"<tr\b.*?</tr>", grid, re.DOTALL)
    ]


def test_the_page_begins_with_the_answer_and_the_newest_month(
    client_for: Callable[[str], FlaskClient], made: Callable[..., str]
) -> None:
    page = client_for("owner").get(f"/reports/{made(WITH_CHILDREN)}").text
    assert re.search(r'<p class="answer">\w+ (by|to|at) ', page)
    assert page.index('class="answer"') < page.index('class="figures"')
    months = rows_of(page, "months")
    assert [row[:7] for row in months[1:]] == [NOW, ago(1), ago(2), ago(3)]
    assert "not over" in months[1]
    assert months[0] == "Month Total users Delta"


def test_problems_come_first_with_their_reason_and_can_be_shown_alone(
    client_for: Callable[[str], FlaskClient], made: Callable[..., str]
) -> None:
    client, report_id = client_for("owner"), made(WITH_HOLES)
    page = client.get(f"/reports/{report_id}").text
    rows = rows_of(page, "sites")
    assert "could not" in rows[1] or "may not" in rows[1]
    assert rows[-1].startswith("Total")
    assert "Problems only (3)" in page
    alone = rows_of(client.get(f"/reports/{report_id}?sites.problems=1").text, "sites")
    assert len(alone) == 4
    assert not any(row.startswith("Total") for row in alone)


def test_totals_stand_below_the_rows_however_they_are_sorted(
    client_for: Callable[[str], FlaskClient], made: Callable[..., str]
) -> None:
    client, report_id = client_for("owner"), made(WITH_CHILDREN)
    for query in ("", "?sites.sort=after&sites.dir=desc", "?sites.sort=name&sites.dir=desc"):
        page = client.get(f"/reports/{report_id}{query}").text
        foot = page.partition("<tfoot>")[2].partition("</tfoot>")[0]
        assert "Total" in foot
        assert rows_of(page, "sites")[-1].startswith("Total")


def test_child_sites_are_folded_below_their_parent(
    client_for: Callable[[str], FlaskClient], made: Callable[..., str]
) -> None:
    client, report_id = client_for("owner"), made(WITH_CHILDREN)
    page = client.get(f"/reports/{report_id}").text
    parent = next(row for row in rows_of(page, "sites") if "2 child sites" in row)
    assert "4 rows of 6" in page
    open_page = client.get(f"/reports/{report_id}?sites.unfold=1").text
    assert len(rows_of(open_page, "sites")) == len(rows_of(page, "sites")) + 2
    assert "child sites" not in " ".join(rows_of(open_page, "sites"))
    assert parent.split()[0] in open_page


def test_columns_that_matter_are_in_view_and_all_on_demand(
    client_for: Callable[[str], FlaskClient], made: Callable[..., str]
) -> None:
    client, report_id = client_for("owner"), made(WITH_CHILDREN)
    assert "Oldest count" not in rows_of(client.get(f"/reports/{report_id}").text, "months")[0]
    more = client.get(f"/reports/{report_id}?all=1").text
    assert "Oldest count" in rows_of(more, "months")[0]


def test_a_site_opens_to_its_own_months_and_chart(
    client_for: Callable[[str], FlaskClient], made: Callable[..., str]
) -> None:
    client, report_id = client_for("owner"), made(WITH_CHILDREN)
    page = client.get(f"/reports/{report_id}").text
    address = re.search(r'href="(/reports/[^"]+/rows/sites/\d+)"', page)
    assert address
    page = client.get(address[1]).text
    assert "data-chart" in page
    heads = re.findall(r'<th scope="row">([^<]+)</th>', page)
    assert heads[-4:] == [f"{NOW} (not over)", ago(1), ago(2), ago(3)]
    assert client_for("stranger").get(address[1]).status_code == 404
    for wrong in ("sites/999", "months/0", "sites/99999999999999999999"):
        assert client.get(f"/reports/{report_id}/rows/{wrong}").status_code == 404


def test_a_summary_says_its_total(
    app: Flask, client_for: Callable[[str], FlaskClient], maker: Maker
) -> None:
    params = {"partner_id": WITH_CHILDREN, "user_key": DEMO_KEY, "user_secret": DEMO_SECRET}
    report_id = maker.make(params | {"mode": "summary"}).id
    page = client_for("owner").get(f"/reports/{report_id}").text
    assert re.search(r'<p class="answer">[0-9,]+ accounts at \d+ sites\.</p>', page)
    # Without months a site has nothing to open to.
    assert "/rows/sites/" not in page


def test_one_reason_that_both_modes_met_is_told_once() -> None:
    refused = "Not yours. (error 403007, callId {0})"
    rows = [{"problem": refused.format("a1")}, {"problem": f"2026-11: {refused.format('b2')}"}]
    assert _merged([*rows])["problem"] == refused.format("a1")
    other = {"problem": "It has no account store."}
    assert _merged([rows[0], other])["problem"] == f"{refused.format('a1')} {other['problem']}"
    assert _merged([{"problem": None}])["problem"] is None
