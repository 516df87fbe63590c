"""Why this number: where every count comes from; wide tables, and both modes in one report."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import Api, add_people
from tests.kinds.partner_use.odd_partner import OddPartner, OddSite, accounts
from tests.kinds.partner_use.partner_use_helpers import Made, Maker
from tests.partner.bad_server import refusal

Params = Callable[..., dict[str, Any]]
MONTHLY = {"mode": "monthly", "start": "2025-01", "end": "2025-03"}


@pytest.fixture
def partner() -> Any:
    with OddPartner(
        OddSite("4_a", accounts(d20241210=3, d20250110=2, d20250310=1)),
        OddSite("4_b", accounts(d20200110=5), name="=cmd"),
        OddSite("4_c", accounts(d20240110=1), config={"siteGroupOwner": "4_a"}),
    ) as partner:
        yield partner


@pytest.fixture
def app(make_app: Callable[..., Flask], partner: OddPartner) -> Flask:
    app = make_app(PARTNER_API_URL=partner.template)
    add_people(app)
    return app


@pytest.fixture
def api(api_for: Callable[[str], Api]) -> Api:
    return api_for("owner")


def explained(api: Api, made: Made, **query: str) -> dict[str, Any]:
    answer = api.get(f"/reports/{made.id}/explain", query_string=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def test_a_month_of_a_site_says_what_was_asked_and_when(
    maker: Maker, api: Api, partner_use: Params
) -> None:
    made = maker.make(partner_use(**MONTHLY, exact=True))
    found = explained(api, made, site="100001", month="2025-01")
    assert (found["value"], found["source"]) == (5, "live")
    assert found["query"] == (
        'SELECT count(*) FROM accounts WHERE created < "2025-02-01T00:00:00.000Z"'
    )
    assert found["counted_at"].endswith("Z")
    again = maker.make(partner_use(**MONTHLY, exact=True))
    stored = explained(api, again, site="4_a", month="2025-01")
    assert (stored["source"], stored["value"]) == ("stored", 5)
    assert stored["counted_at"] == found["counted_at"]


def test_an_implied_month_names_the_two_counts(
    maker: Maker, api: Api, partner_use: Params, partner: OddPartner
) -> None:
    maker.app.config["PARTNER_READ_LIMIT"] = 0
    made = maker.make(partner_use(**MONTHLY))
    found = explained(api, made, site="4_b", month="2025-02")
    assert (found["value"], found["source"], found["query"]) == (5, "implied", None)
    assert [one["month"] for one in found["implied_by"]] == ["2024-12", "2025-03"]
    assert {one["total_users"] for one in found["implied_by"]} == {5}


def test_a_read_month_names_its_read(maker: Maker, api: Api, partner_use: Params) -> None:
    found = explained(api, maker.make(partner_use(**MONTHLY)), site="4_a", month="2025-02")
    assert (found["value"], found["source"]) == (5, "live")
    assert found["query"].startswith("SELECT created FROM accounts WHERE created <")
    assert found["query"].endswith("LIMIT 5000")


def test_a_sum_says_what_was_left_out(
    maker: Maker,
    api: Api,
    client_for: Callable[[str], FlaskClient],
    partner_use: Params,
    partner: OddPartner,
) -> None:
    partner.spoil = lambda asked: (
        refusal(403007)
        if (asked.method, asked.form.get("apiKey")) == ("accounts.search", "4_b")
        else None
    )
    made = maker.make(partner_use(**MONTHLY))
    found = explained(api, made, month="2025-02")
    assert (found["value"], found["source"]) == (None, "computed")
    reasons = {one["site_id"]: one["reason"] for one in found["left_out"]}
    assert set(reasons) == {"100002", "100003"}
    assert all(one["name"] == made.sites[one["site_id"]]["name"] for one in found["left_out"])
    page = client_for("owner").get(f"/reports/{made.id}/explain?month=2025-02").text
    assert f"<li>{made.sites['100003']['name']}: Its accounts are its parent&#39;s.</li>" in page
    assert "403007" in reasons["100002"]
    assert "parent" in reasons["100003"]
    assert explained(api, made, month="2025-02", column="known_users")["value"] == 5
    hole = explained(api, made, site="4_b", month="2025-02")
    assert hole["value"] is None
    assert "403007" in hole["left_out"][0]["reason"]


def test_a_delta_and_a_summary_are_explained_too(
    maker: Maker, api: Api, partner_use: Params
) -> None:
    made = maker.make(partner_use(**MONTHLY | {"mode": "both"}))
    delta = explained(api, made, site="4_a", month="2025-03", column="delta")
    assert (delta["value"], delta["source"]) == (1, "computed")
    assert [one["total_users"] for one in delta["implied_by"]] == [5, 6]
    assert explained(api, made, month="2025-01", column="delta")["value"] == 2
    count = explained(api, made, site="4_a", column="account_count")
    assert (count["value"], count["query"]) == (6, "SELECT count(*) FROM accounts")
    summary = maker.make(partner_use())
    assert explained(api, summary, site="4_b")["value"] == 5
    assert explained(api, summary)["value"] == 11


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"site": "nobody", "month": "2025-01"}, "site"),
        ({"site": "4_a", "month": "2024-11"}, "month"),
        ({"site": "4_a", "month": "soon"}, "month"),
        ({"site": "4_a"}, "month"),
        ({"month": "2025-01", "column": "name"}, "column"),
    ],
)
def test_what_cannot_be_explained_is_a_sentence(
    maker: Maker, api: Api, partner_use: Params, query: dict[str, str], field: str
) -> None:
    made = maker.make(partner_use(**MONTHLY))
    answer = api.get(f"/reports/{made.id}/explain", query_string=query)
    assert answer.status_code == 422
    assert set(answer.json["errors"]) == {field}


def test_a_click_on_a_cell_says_why(
    maker: Maker, client_for: Callable[[str], FlaskClient], partner_use: Params
) -> None:
    made = maker.make(partner_use(**MONTHLY))
    client = client_for("owner")
    page = client.get(f"/reports/{made.id}").text
    link = f"/reports/{made.id}/explain?month=2025-01&amp;column=total_users"
    assert link in page
    assert 'id="explanation"' in page
    for path in (link, f"/reports/{made.id}/explain?site=4_a&column=after"):
        answer = client.get(path.replace("&amp;", "&"))
        assert answer.status_code == 200
        assert "Why this number" in answer.text
    assert client_for("stranger").get(link.replace("&amp;", "&")).status_code == 404


def test_both_modes_are_one_report_over_one_list(
    maker: Maker, partner_use: Params, partner: OddPartner
) -> None:
    made = maker.make(partner_use(**MONTHLY | {"mode": "both"}))
    assert made.status == "done"
    assert made.result["mode"] == "both"
    assert made.result["summary"]["account_count"] == 11
    assert [row["total_users"] for row in made.result["months"]] == [10, 10, 11]
    site = made.sites["100001"]
    assert (site["account_count"], site["months"][0]["total_users"]) == (6, 5)
    assert sum(asked.method == "admin.getUserSites" for asked in partner.asked) == 1
    assert made.csv(maker.app).startswith("month,total_users,delta")
    assert made.csv(maker.app, "sites").startswith("site_id,name,")


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ("total_users", [["2025-01", "10", "5", "5"], ["2025-02", "10", "5", "5"]]),
        ("delta", [["2025-01", "2", "2", "0"], ["2025-02", "0", "0", "0"]]),
    ],
)
def test_the_wide_table_has_a_column_a_counted_site(
    maker: Maker, api: Api, partner_use: Params, value: str, lines: list[list[str]]
) -> None:
    made = maker.make(partner_use(**MONTHLY))
    query = f"format=csv&layout=wide&value={value}"
    answer = api.get(f"/reports/{made.id}/result?{query}")
    rows = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert rows[0] == ["month", "total", "4_a.example (100001)", "'=cmd (100002)"]
    assert rows[1:3] == lines
    wrong = api.get(f"/reports/{made.id}/result?format=csv&layout=wide&value=colour")
    assert wrong.status_code == 422
    wrong = api.get(f"/reports/{made.id}/result?format=csv&layout=round")
    assert wrong.status_code == 422
