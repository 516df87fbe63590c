"""Stored months of a partner: what is asked again, what is never stored, who may use them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from sandbox import truth
from sandbox.testing import RunningStandIn
from tests.kinds.partner_use.partner_use_helpers import NOW, PARTIAL, Maker, ago, counted_ids
from webapp.engine import months
from webapp.engine.models import StoredMonth
from webapp.extensions import db
from webapp.jobs import StatusLine
from webapp.lib.moments import utcnow
from webapp.lib.months import current_month, next_month, parse_month

Params = Callable[..., dict[str, Any]]


def delete_all(site: str) -> dict[str, Any]:
    """Return the fault that deletes all accounts of a site before its next search."""
    return {"fault": "deletion:100000", "method": "accounts.search", "site": site, "times": 1}


def test_a_second_run_asks_only_for_the_current_month(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    params = partner_use(partner_id="70000002", mode="monthly", start=ago(5), end=NOW)
    first = maker.make(params)
    stand_in.reset()
    second = maker.make(params)
    asked = [str(search["site_id"]) for search in stand_in.searches()]
    assert sorted(asked) == sorted(counted_ids(70000002))
    assert second.result["api_calls"]["made"] == 1 + len(asked)
    assert second.result["months"][:-1] == first.result["months"][:-1]
    assert second.total(NOW) == first.total(NOW)
    assert second.result["api_calls"]["saved"] >= 6 * len(counted_ids(70000002))
    assert second.status == "done"


def test_the_current_month_is_counted_again_by_the_very_next_report(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    """For two minutes the next report took it from what the one before had left for others."""
    params = partner_use(partner_id="70000006", mode="monthly", start=ago(2), end=NOW)
    first = maker.make(params)
    site = min(counted_ids(70000006))
    stand_in.faults([delete_all(site)])
    second = maker.make(params)
    lost = first.sites[site]["months"][-1]["total_users"]
    assert lost > 0
    assert second.sites[site]["months"][-1]["total_users"] == 0
    assert second.total(NOW) == first.total(NOW) - lost


def test_a_second_run_over_closed_months_searches_nothing(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    params = partner_use(mode="monthly", start="2024-01", end="2024-06")
    first = maker.make(params)
    stand_in.reset()
    second = maker.make(params)
    assert stand_in.searches() == []
    assert (second.result["months"], second.result["sites"]) == (
        first.result["months"],
        first.result["sites"],
    )


def test_a_longer_range_asks_only_for_the_months_it_adds(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    maker.make(partner_use(mode="monthly", start="2024-01", end="2024-06"))
    stand_in.reset()
    made = maker.make(partner_use(mode="monthly", start="2024-01", end="2024-07"))
    assert len(stand_in.searches()) <= len(counted_ids(70000001))
    right = truth.report(70000001, ("2024-01", "2024-07"))
    assert [row["total_users"] for row in made.result["months"]] == [
        row["total_users"] for row in right["months"]
    ]


def test_the_current_month_is_never_stored(maker: Maker, partner_use: Params) -> None:
    maker.make(partner_use(mode="monthly", start=ago(2), end=NOW))
    stored = maker.stored()
    assert stored
    assert max(row.month for row in stored) == next_month(current_month(), -1)


def test_children_and_refused_sites_are_not_in_the_store(maker: Maker, partner_use: Params) -> None:
    maker.make(partner_use(mode="monthly", start="2024-01", end="2024-02"))
    maker.make(partner_use(partner_id="70000007", mode="monthly", start="2024-01", end="2024-02"))
    stored = {(row.subject, row.item) for row in maker.stored()}
    assert stored == {
        (str(partner), item) for partner in (70000001, 70000007) for item in counted_ids(partner)
    }


def test_a_stored_value_keeps_when_it_was_counted_and_expires_later(
    maker: Maker, partner_use: Params
) -> None:
    before = utcnow()
    maker.make(partner_use(mode="monthly", start="2024-01", end="2024-02"))
    for row in maker.stored():
        assert before <= row.counted_at <= utcnow()
        assert row.expires_at - row.counted_at == timedelta(days=30)


def test_an_expired_month_is_counted_again(
    app: Flask, maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    params = partner_use(mode="monthly", start="2024-01", end="2024-02")
    first = maker.make(params)
    with app.app_context():
        db.session.execute(
            update(StoredMonth)
            .where(StoredMonth.month >= parse_month("2024-01"))
            .values(expires_at=utcnow() - timedelta(seconds=1), value=7)
        )
        db.session.commit()
    stand_in.reset()
    again = maker.make(params)
    assert {str(search["site_id"]) for search in stand_in.searches()} <= counted_ids(70000001)
    assert again.result["months"][-1]["total_users"] == first.result["months"][-1]["total_users"]
    assert [row["delta"] for row in again.result["months"]] == [
        row["delta"] for row in first.result["months"]
    ]


def test_old_stored_months_beside_new_counts_are_mixed_ages(
    app: Flask, maker: Maker, partner_use: Params
) -> None:
    maker.make(partner_use(mode="monthly", start="2024-01", end="2024-02"))
    with app.app_context():
        days_ago = utcnow() - timedelta(days=3)
        db.session.execute(update(StoredMonth).values(counted_at=days_ago))
        db.session.commit()
    made = maker.make(partner_use(mode="monthly", start="2024-01", end="2024-03"))
    assert [row["mixed_ages"] for row in made.result["months"]] == [False, False, True]
    assert (
        made.months["2024-03"]["delta"]
        == (truth.report(70000001, ("2024-03", "2024-03"))["months"][0]["delta"])
    )


def test_a_key_that_sees_fewer_sites_gets_nothing_of_the_others_from_the_store(
    maker: Maker, partner_use: Params
) -> None:
    span = {"mode": "monthly", "start": "2024-01", "end": "2024-03", "partner_id": "70000002"}
    maker.make(partner_use(**span))
    made = maker.make(partner_use(**span, **PARTIAL), who="colleague")
    shown = {str(site.site_id) for site in truth.sites(70000002, user_key="partial-user-key")}
    right = truth.report(70000002, ("2024-01", "2024-03"), user_key="partial-user-key")
    assert set(made.sites) == shown
    assert [row["total_users"] for row in made.result["months"]] == [
        row["total_users"] for row in right["months"]
    ]


def test_a_key_that_sees_no_list_gets_nothing_from_the_store(
    maker: Maker, partner_use: Params
) -> None:
    span = {"mode": "monthly", "start": "2024-01", "end": "2024-03"}
    maker.make(partner_use(**span))
    made = maker.make(
        partner_use(**span, user_key="no-list-user-key", user_secret="bm8tbGlzdC1zZWNyZXQ=")
    )
    assert (made.status, made.result) == ("failed", {})


def test_another_company_counts_for_itself(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    params = partner_use(mode="monthly", start="2024-01", end="2024-02")
    first = maker.make(params)
    stand_in.reset()
    made = maker.make(params, who="stranger")
    assert {str(search["site_id"]) for search in stand_in.searches()} == counted_ids(70000001)
    assert made.result["api_calls"] == first.result["api_calls"]


def test_what_is_stored_is_asked_again_where_a_new_count_contradicts_it(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    """All accounts of a site were deleted: older months of before would be a loss of this month."""
    span = {"partner_id": "70000006", "mode": "monthly"}
    maker.make(partner_use(**span, start="2024-01", end="2024-02"))
    site = min(counted_ids(70000006))
    stand_in.faults([delete_all(site)])
    made = maker.make(partner_use(**span, start="2024-01", end="2024-03"))
    assert made.status == "done"
    assert [row["total_users"] for row in made.sites[site]["months"]] == [0, 0, 0]
    assert [row["mixed_ages"] for row in made.result["months"]] == [False] * 3
    stored = [row.value["count"] for row in maker.stored() if row.item == site]
    assert set(stored) == {0}


def test_refresh_counts_again_and_replaces_what_is_stored(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    params = partner_use(partner_id="70000006", mode="monthly", start="2024-01", end="2024-02")
    first = maker.make(params)
    site = min(counted_ids(70000006))
    stand_in.faults([delete_all(site)])
    # The stored months hide the deletion until they are counted again.
    assert maker.make(params).result["months"] == first.result["months"]
    stand_in.reset()
    stand_in.faults([delete_all(site)])
    fresh = maker.make(params | {"refresh": True})
    assert fresh.total("2024-02") != first.total("2024-02")
    stand_in.reset()
    again = maker.make(params)
    assert stand_in.searches() == []
    assert again.total("2024-02") == fresh.total("2024-02")


def test_a_count_that_stored_months_contradict_drops_them_also_outside_its_report(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    early = partner_use(partner_id="70000006", mode="monthly", start="2024-01", end="2024-02")
    site = max(
        (one for one in maker.make(early).result["sites"] if one["months"]),
        key=lambda one: one["months"][0]["total_users"],
    )
    stand_in.faults([delete_all(site["site_id"])])
    late = maker.make(early | {"start": "2024-06", "end": "2024-06", "refresh": True})
    assert late.sites[site["site_id"]]["months"][0]["total_users"] == 0
    found = maker.make(early).sites[site["site_id"]]["months"]
    assert [row["total_users"] for row in found] == [0, 0]


def test_refresh_asks_as_much_as_the_first_time(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    params = partner_use(mode="monthly", start="2024-01", end="2024-02")
    first = maker.make(params)
    stand_in.reset()
    made = maker.make(params | {"refresh": True})
    assert {str(search["site_id"]) for search in stand_in.searches()} == counted_ids(70000001)
    assert made.result["api_calls"] == first.result["api_calls"]


@pytest.mark.parametrize(
    "fault",
    ["text-count", "float-count", "negative-count", "huge-count", "null-count", "two-rows",
     "no-rows", "missing-results"],
)  # fmt: skip
def test_a_count_that_cannot_be_believed_is_a_hole_and_never_stored(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn, fault: str
) -> None:
    site = max(counted_ids(70000006))
    stand_in.faults([{"fault": fault, "method": "accounts.search", "site": site}])
    made = maker.make(
        partner_use(partner_id="70000006", mode="monthly", start="2024-01", end="2024-02")
    )
    assert made.status == "incomplete"
    assert [row["total_users"] for row in made.sites[site]["months"]] == [None, None]
    assert made.sites[site]["problem"]
    assert site not in {row.item for row in maker.stored()}
    others = counted_ids(70000006) - {site}
    assert {row.item for row in maker.stored()} == others
    for other in others:
        assert made.sites[other]["problem"] is None


def test_expiring_by_site_counts_that_site_again(
    app: Flask, maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    params = partner_use(mode="monthly", start="2024-01", end="2024-02")
    maker.make(params)
    site = min(counted_ids(70000001))
    with app.app_context():
        company = maker.scope("owner").company_id
        assert months.expire(company_id=company, subject=site) == 3
        db.session.commit()
    stand_in.reset()
    maker.make(params)
    assert {str(search["site_id"]) for search in stand_in.searches()} == {site}


@pytest.mark.parametrize("exact", [True, False])
def test_a_site_without_account_store_is_behind_the_bar_as_well(
    app: Flask, maker: Maker, partner_use: Params, stand_in: RunningStandIn, exact: bool
) -> None:
    site = max(counted_ids(70000006))
    stand_in.faults([{"fault": "error:403036", "method": "accounts.search", "site": site}])
    span = {"partner_id": "70000006", "mode": "monthly", "start": "2024-01", "end": "2024-03"}
    made = maker.make(partner_use(**span, exact=exact))
    assert made.status == "done"
    with app.app_context():
        lines = db.session.scalars(select(StatusLine).where(StatusLine.job_id == made.id)).all()
        summing_up = next(line for line in lines if "users at the end of 2024-03." in line.text
                          and ":" not in line.text)  # fmt: skip
        assert summing_up.done == summing_up.total
