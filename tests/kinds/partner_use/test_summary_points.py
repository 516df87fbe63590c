"""A summary's answers are known points of the months: right, of closed months, and worth it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from sandbox import truth
from sandbox.testing import RunningStandIn
from sandbox.world import DATA_END
from tests.kinds.partner_use.partner_use_helpers import NOW, Maker, ago, counted_ids
from webapp.kinds.partner_use.summary import IMPLIED_MONTHS, implied_months
from webapp.lib.months import current_month, month_end, month_text, next_month, parse_month
from webapp.partner.searches import Newest

pytestmark = pytest.mark.once
Params = Callable[..., dict[str, Any]]
ASKED = datetime(2026, 3, 10, 12, tzinfo=UTC)


def told(created: datetime | None, total: int | None, asked_at: datetime = ASKED) -> list[date]:
    months = list(implied_months(Newest(created, total, asked_at)))
    assert all((cell.value, cell.counted_at) == (total, asked_at) for _, cell in months)
    return [month for month, _ in months]


def test_a_month_is_told_if_nobody_was_made_after_it() -> None:
    assert told(datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC), 9) == [
        date(2025, 12, 1), date(2026, 1, 1), date(2026, 2, 1),
    ]  # fmt: skip
    assert told(datetime(2026, 1, 1, tzinfo=UTC), 9) == [date(2026, 1, 1), date(2026, 2, 1)]
    assert told(datetime(2026, 3, 1, tzinfo=UTC), 9) == []


def test_a_site_without_accounts_had_none_in_all_the_months_that_are_told() -> None:
    assert len(told(None, 0)) == IMPLIED_MONTHS
    assert told(None, 0)[-1] == date(2026, 2, 1)


def test_nothing_is_told_without_a_total_nor_of_a_month_that_has_just_ended() -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    assert told(long_ago, None) == []
    just_now = datetime(2026, 3, 1, 0, 0, 30, tzinfo=UTC)
    assert told(long_ago, 9, just_now)[-1] == date(2026, 1, 1)
    assert told(long_ago, 9, just_now + timedelta(minutes=1))[-1] == date(2026, 2, 1)


@pytest.mark.parametrize("partner", [70000001, 70000002])
def test_what_a_summary_stores_is_the_truth(
    maker: Maker, partner_use: Params, partner: int
) -> None:
    maker.make(partner_use(partner_id=str(partner)))
    stored = maker.stored()
    sites = {str(site.site_id): site for site in truth.sites(partner)}
    assert stored
    assert {row.item for row in stored} <= counted_ids(partner)
    for row in stored:
        assert row.value["count"] == truth.total_users(sites[row.item], month_text(row.month))
    assert max(row.month for row in stored) < current_month()


def test_a_report_by_month_after_a_summary_is_the_same_for_fewer_searches(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    params = partner_use(partner_id="70000002", mode="monthly", start=ago(6), end=NOW)
    alone = maker.make(params, who="stranger")
    searches = len(stand_in.searches())
    maker.make(partner_use(partner_id="70000002"))
    stand_in.reset()
    after = maker.make(params)
    for name in ("total_users", "delta", "complete"):
        assert [row[name] for row in after.result["months"]] == [
            row[name] for row in alone.result["months"]
        ]
    assert after.csv(maker.app, "site") == alone.csv(maker.app, "site")
    assert len(stand_in.searches()) < 0.9 * searches
    # The current month is asked of every site all the same.
    asked = {str(search["site_id"]) for search in stand_in.searches()}
    assert asked == counted_ids(70000002)


def test_answers_that_differ_store_nothing(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    site = min(counted_ids(70000006))
    stand_in.faults(
        [{"fault": "deletion:1", "method": "accounts.search", "site": site, "query": "ORDER BY"}]
    )
    maker.app.config["PARTNER_CONCURRENCY"] = 1  # so that the count is asked first
    stand_in.settings(now=f"{NOW}-01T00:00:00Z")
    try:
        maker.make(partner_use(partner_id="70000006"))
    finally:
        stand_in.settings(now=DATA_END)
    assert site not in {row.item for row in maker.stored()}
    assert maker.stored()


def test_stored_months_of_a_summary_are_expired_like_all(maker: Maker, partner_use: Params) -> None:
    made = maker.make(partner_use(partner_id="70000002"))
    for row in maker.stored():
        assert row.expires_at - row.counted_at == timedelta(days=30)
        assert month_end(row.month) < row.counted_at
        assert row.month >= next_month(parse_month(NOW), -IMPLIED_MONTHS)
    assert made.status == "done"
