"""A report says what is so: compared with the stand-in's truth site by site, month by month."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from sandbox import truth
from sandbox.testing import RunningStandIn
from tests.kinds.partner_use.partner_use_helpers import NOW, Maker, ago, counted_ids
from webapp.engine import service
from webapp.engine.models import Report
from webapp.engine.results import ReadResult
from webapp.extensions import db

pytestmark = pytest.mark.once

Params = Callable[..., dict[str, Any]]
KNOWN = ("account_count", "last_login", "last_created", "is_child", "name", "api_key")


@pytest.mark.parametrize("partner", [70000001, 70000002, 70000006, 70000007, 70000008])
def test_a_summary_equals_the_truth_site_by_site(
    maker: Maker, partner_use: Params, partner: int
) -> None:
    made = maker.make(partner_use(partner_id=str(partner)))
    right = truth.report(partner)
    assert [site["site_id"] for site in made.result["sites"]] == [
        site["site_id"] for site in right["sites"]
    ]
    for site in right["sites"]:
        said = made.sites[site["site_id"]]
        for name in KNOWN:
            if name == "name":
                assert said["name"] == " ".join(site["name"].split())
            else:
                assert said[name] == site[name], (site["name"], name)
    summary = made.result["summary"]
    if partner == 70000007:  # three sites are holes
        assert (summary["account_count"], summary["sites_counted"], summary["sites"]) == (
            None,
            3,
            5,
        )
        summary["account_count"] = summary["known_users"]
    assert {name: summary[name] for name in right["summary"]} == right["summary"]


@pytest.mark.parametrize("partner", [70000001, 70000002, 70000006, 70000007, 70000008])
def test_a_monthly_report_equals_the_truth_month_by_month(
    maker: Maker, partner_use: Params, partner: int
) -> None:
    span = ("2023-11", "2024-10")
    made = maker.make(
        partner_use(partner_id=str(partner), mode="monthly", start=span[0], end=span[1])
    )
    right = truth.report(partner, span)
    if partner != 70000007:
        assert [
            {name: row[name] for name in ("month", "total_users", "delta")}
            for row in made.result["months"]
        ] == right["months"]
        assert all(row["complete"] for row in made.result["months"])
        assert made.status == "done"
    for site in right["sites"]:
        assert [
            row for row in made.sites[site["site_id"]]["months"] if row["total_users"] is not None
        ] == site["months"], site["name"]


def test_the_last_months_up_to_now_equal_the_truth(maker: Maker, partner_use: Params) -> None:
    made = maker.make(partner_use(mode="monthly", start=ago(3), end=NOW))
    right = truth.report(70000001, (ago(3), NOW))
    assert [(row["month"], row["total_users"], row["delta"]) for row in made.result["months"]] == [
        (row["month"], row["total_users"], row["delta"]) for row in right["months"]
    ]


def test_the_summary_has_the_members_of_the_contract(maker: Maker, partner_use: Params) -> None:
    result = maker.make(partner_use()).result
    assert next(iter(result)) == "kind"
    assert set(result) == {
        "kind", "mode", "partner_id", "generated_at", "complete", "summary", "sites", "api_calls",
    }  # fmt: skip
    assert set(result["summary"]) == {
        "site_count", "child_site_count", "account_count", "known_users", "sites_counted", "sites",
        "last_login", "last_created",
    }  # fmt: skip
    assert set(result["sites"][0]) == {
        "site_id", "name", "api_key", "data_center", "is_child", "parent_api_key", "children",
        "services", "account_count", "last_login", "last_created", "newest", "problem",
    }  # fmt: skip
    assert set(result["api_calls"]) == {"made", "saved"}
    assert (result["kind"], result["mode"], result["partner_id"]) == (
        "partner-use",
        "summary",
        "70000001",
    )


def test_the_monthly_report_has_the_members_of_the_contract(
    maker: Maker, partner_use: Params
) -> None:
    result = maker.make(partner_use(mode="monthly", start="2024-01", end="2024-02")).result
    wanted = {
        "kind", "mode", "partner_id", "generated_at", "complete", "start", "end", "months",
        "sites", "api_calls",
    }  # fmt: skip
    assert wanted <= set(result)
    assert set(result["months"][0]) == {
        "month", "total_users", "delta", "complete", "running", "known_users", "sites_counted",
        "sites", "counted_at", "mixed_ages", "decreased",
    }  # fmt: skip
    assert set(result["sites"][0]) == {
        "site_id", "name", "is_child", "children", "services", "problem", "months",
    }  # fmt: skip
    assert set(result["sites"][0]["months"][0]) == {"month", "total_users", "delta"}


def test_a_summary_tells_of_services_parents_and_where_the_newest_moments_are(
    app: Flask, maker: Maker, partner_use: Params
) -> None:
    first, again = maker.make(partner_use()), maker.make(partner_use())
    for made in (first, again):  # the second time from how sites are remembered to be set up
        parents = {row["name"]: row["children"] for row in made.result["sites"] if row["children"]}
        assert parents == {"shop.example.com": 2}
        services = {tuple(row["services"]) for row in made.result["sites"]}
        assert services == {("accounts", "identity_store"), ("accounts", "identity_store", "sso")}
    summary, rows = first.result["summary"], first.result["sites"]
    for name, column in (("login", "last_login"), ("creation", "last_created")):
        marked = [row for row in rows if name in row["newest"]]
        assert marked
        assert {row[column] for row in marked} == {summary[column]}
    with app.app_context():
        report = db.session.get_one(Report, first.id)
        kind = service.kinds()[report.kind]
        (sheet,) = kind.sheets(ReadResult(report))
        assert [column.name for column in sheet.beside] == ["newest", "children", "services"]
        shown = {row["services"] for row in sheet.rows if row["site_id"] != "TOTAL"}
        assert shown == {"accounts, identity store", "accounts, identity store, SSO"}


def test_children_are_listed_and_never_counted(maker: Maker, partner_use: Params) -> None:
    made = maker.make(partner_use())
    children = [site for site in made.result["sites"] if site["is_child"]]
    assert len(children) == 2
    for child in children:
        assert child["parent_api_key"] == made.result["sites"][0]["api_key"]
        assert (child["account_count"], child["last_login"], child["last_created"]) == (None,) * 3
    assert made.result["summary"]["site_count"] == 6
    assert made.status == "done"


def test_a_parent_that_names_itself_as_owner_is_counted(maker: Maker, partner_use: Params) -> None:
    made = maker.make(partner_use())
    assert not made.result["sites"][0]["is_child"]
    assert made.result["sites"][0]["account_count"] > 0


def test_a_site_that_never_had_a_login_has_none(maker: Maker, partner_use: Params) -> None:
    made = maker.make(partner_use())
    imported = next(s for s in made.result["sites"] if s["name"] == "imported.example")
    assert imported["account_count"] > 0
    assert imported["last_login"] is None
    assert imported["problem"] is None


def test_a_site_without_accounts_counts_zero_and_is_no_hole(
    maker: Maker, partner_use: Params
) -> None:
    made = maker.make(partner_use())
    empty = next(s for s in made.result["sites"] if s["name"] == "empty.example")
    assert (empty["account_count"], empty["last_created"], empty["problem"]) == (0, None, None)


def test_refused_sites_are_named_and_are_holes_not_zeros(maker: Maker, partner_use: Params) -> None:
    made = maker.make(partner_use(partner_id="70000007"))
    sites = made.result["sites"]
    assert made.status == "incomplete"
    assert made.result["complete"] is False
    for position in (1, 4):
        assert sites[position]["account_count"] is None
        assert "403007" in sites[position]["problem"]
    assert "no account store" in sites[3]["problem"]
    assert sites[3]["account_count"] is None
    for position in (0, 2, 5):
        assert sites[position]["account_count"] > 0
        assert sites[position]["problem"] is None
    assert any("site-1.example" in line for line in made.lines)


def test_refused_sites_make_the_months_incomplete_not_smaller_unseen(
    maker: Maker, partner_use: Params
) -> None:
    made = maker.make(
        partner_use(partner_id="70000007", mode="monthly", start="2024-01", end="2024-03")
    )
    assert made.status == "incomplete"
    assert [row["complete"] for row in made.result["months"]] == [False] * 3
    refused = made.result["sites"][1]
    assert "403007" in refused["problem"]
    assert [row["total_users"] for row in refused["months"]] == [None] * 3
    assert [row["delta"] for row in refused["months"]] == [None] * 3


def test_no_child_and_no_refused_site_is_ever_searched_twice(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    maker.make(partner_use(partner_id="70000008"))
    asked = {str(search["site_id"]) for search in stand_in.searches()}
    assert asked == counted_ids(70000008)
    assert stand_in.stats()["searches_repeated"] == 0


def test_the_summary_csv_ends_with_its_total(app: Flask, maker: Maker, partner_use: Params) -> None:
    made = maker.make(partner_use())
    text = made.csv(app)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert text.splitlines()[0] == (
        "site_id,name,api_key,data_center,is_child,account_count,last_login,last_created,problem"
    )
    assert rows[-1]["site_id"] == "TOTAL"
    assert int(rows[-1]["account_count"]) == sum(
        int(row["account_count"] or 0) for row in rows[:-1]
    )
    assert len(rows) == 7


def test_the_monthly_csv_has_three_columns_and_no_total(
    app: Flask, maker: Maker, partner_use: Params
) -> None:
    made = maker.make(partner_use(mode="monthly", start="2024-01", end="2024-03"))
    lines = made.csv(app).split("\r\n")
    assert lines[0] == "month,total_users,delta"
    assert [line.split(",")[0] for line in lines[1:4]] == ["2024-01", "2024-02", "2024-03"]
    assert lines[4:] == [""]


def test_the_monthly_csv_by_site_adds_up_to_the_one_by_month(
    app: Flask, maker: Maker, partner_use: Params
) -> None:
    made = maker.make(partner_use(mode="monthly", start="2024-01", end="2024-03"))
    rows = list(csv.DictReader(io.StringIO(made.csv(app, "site"), newline="")))
    assert list(rows[0]) == ["month", "site_id", "name", "total_users", "delta"]
    for month in ("2024-01", "2024-02", "2024-03"):
        mine = [row for row in rows if row["month"] == month]
        assert sum(int(row["total_users"]) for row in mine) == made.total(month)
        assert sum(int(row["delta"]) for row in mine) == made.months[month]["delta"]


def test_api_calls_tell_what_was_really_asked(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    made = maker.make(partner_use(mode="monthly", start="2024-01", end="2024-03"))
    calls = stand_in.stats()["requests"]
    assert made.result["api_calls"]["made"] == sum(calls.values())


def test_a_thousand_sites_are_no_trouble(maker: Maker, partner_use: Params) -> None:
    made = maker.make(
        partner_use(partner_id="70000004", mode="monthly", start="2024-02", end="2024-02")
    )
    right = truth.report(70000004, ("2024-02", "2024-02"))
    assert made.status == "done"
    assert len(made.result["sites"]) == 1000
    assert made.total("2024-02") == right["months"][0]["total_users"]
    assert made.months["2024-02"]["delta"] == right["months"][0]["delta"]
