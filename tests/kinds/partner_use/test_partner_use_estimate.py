"""An estimate says about what the report then asks, without making one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from sandbox.testing import RunningStandIn
from tests.conftest import DEMO_KEY, Api
from tests.kinds.partner_use.partner_use_helpers import NOW, Maker, ago, counted_ids
from tests.soon import soon
from webapp.engine import service
from webapp.engine.kind import Estimate
from webapp.engine.models import Report
from webapp.errors import InvalidParams, PartnerUnavailable
from webapp.extensions import db
from webapp.kinds.partner_use import connections, discovery
from webapp.kinds.partner_use.estimate import typical_searches
from webapp.kinds.partner_use.planner import SitePlan
from webapp.lib.months import months_between
from webapp.partner.searches import Count

pytestmark = pytest.mark.once
Params = Callable[..., dict[str, Any]]
MONTHLY = {"mode": "monthly", "start": "2024-01", "end": "2024-06"}


def estimate(maker: Maker, params: dict[str, Any]) -> Estimate:
    with maker.app.app_context():
        found = service.estimate_report(maker.scope("owner"), "partner-use", params)
        assert db.session.query(Report).filter_by(status="queued").count() == 0
        return found


@pytest.mark.parametrize("mode", [{}, MONTHLY])
def test_it_says_no_less_than_what_is_then_asked_of_quiet_sites(
    maker: Maker, partner_use: Params, mode: dict[str, str]
) -> None:
    guess = estimate(maker, partner_use(**mode))
    made = maker.make(partner_use(**mode))
    assert made.result["api_calls"]["made"] <= guess.calls
    assert guess.saved == 0


@pytest.mark.parametrize(
    ("partner", "months"),
    [("70000001", 5), ("70000001", 23), ("70000002", 11), ("70000012", 11)],
)
def test_it_is_within_a_factor_of_two_of_what_is_then_asked(
    maker: Maker, partner_use: Params, partner: str, months: int
) -> None:
    params = partner_use(partner_id=partner, mode="monthly", start=ago(months), end=NOW)
    guess = estimate(maker, params)
    made = maker.make(params).result["api_calls"]["made"]
    assert made / 2 <= guess.calls <= made * 2


def test_asking_each_month_is_estimated_to_the_search(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    params = partner_use(**MONTHLY, exact=True)
    maker.make(partner_use())  # so that how sites are set up is known
    stand_in.reset()
    guess = estimate(maker, params)
    maker.make(params)
    assert guess.calls == 1 + len(stand_in.searches()) == 1 + 7 * len(counted_ids(70000001))


def test_a_second_run_is_estimated_to_the_search(maker: Maker, partner_use: Params) -> None:
    params = partner_use(partner_id="70000002", mode="monthly", start=ago(5), end=NOW)
    maker.make(params)
    guess = estimate(maker, params)
    made = maker.make(params).result["api_calls"]["made"]
    assert guess.calls == made == 1 + len(counted_ids(70000002))
    # Stored months only: remembered set-ups save calls too, and are not said to be months.
    assert guess.saved == 6 * len(counted_ids(70000002))


def test_it_never_says_more_than_asking_each_month() -> None:
    months = months_between(date(2020, 1, 1), date(2022, 12, 1))
    counted_at = datetime(2026, 1, 1, tzinfo=UTC)
    chance = random.Random(7)
    for limit in (0, 10, 5000):
        for _ in range(300):
            known = {
                month: Count(at * chance.randint(0, 9), counted_at)
                for at, month in enumerate(months)
                if chance.random() < chance.choice((0, 0.1, 0.9))
            }
            plan = SitePlan(months, known, read_limit=limit)
            assert 0 <= typical_searches(plan, limit) <= plan.unknown


def test_stored_months_are_saved_and_not_asked(maker: Maker, partner_use: Params) -> None:
    params = partner_use(**MONTHLY)
    before = estimate(maker, params)
    maker.make(params)
    after = estimate(maker, params)
    assert after.saved > 0
    assert after.calls < before.calls
    assert estimate(maker, params | {"refresh": True}) == before


def test_the_seconds_follow_from_the_granted_pace(maker: Maker, partner_use: Params) -> None:
    maker.app.config["PARTNER_SEARCHES_PER_SECOND"] = 10.0
    slow = estimate(maker, partner_use(**MONTHLY))
    maker.app.config["PARTNER_SEARCHES_PER_SECOND"] = 100.0
    assert slow.seconds > estimate(maker, partner_use(**MONTHLY)).seconds > 0


def test_it_searches_nothing(maker: Maker, partner_use: Params, stand_in: RunningStandIn) -> None:
    estimate(maker, partner_use(**MONTHLY))
    assert stand_in.searches() == []


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"user_secret": "d3Jvbmc="}, "user_secret"),
        ({"user_key": "nobody"}, "user_key"),
        ({"user_key": "no-list-user-key", "user_secret": "bm8tbGlzdC1zZWNyZXQ="}, "user_key"),
    ],
)
def test_wrong_credentials_are_told_at_their_field_before_anything_is_made(
    maker: Maker, partner_use: Params, wrong: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidParams) as caught:
        estimate(maker, partner_use(**wrong))
    assert list(caught.value.errors) == [field]
    assert wrong.get("user_secret", "-") not in caught.value.errors[field]


def test_a_partner_that_is_not_the_keys_is_told_at_its_field(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    stand_in.faults([{"fault": "foreign-partner", "method": "admin.getUserSites"}])
    with pytest.raises(InvalidParams) as caught:
        estimate(maker, partner_use(partner_id="12345"))
    assert list(caught.value.errors) == ["partner_id"]


def test_a_stored_connection_that_is_refused_is_told_at_its_field(maker: Maker) -> None:
    form = {"name": "Wrong", "partner_id": "70000001", "user_key": DEMO_KEY, "user_secret": "d3I="}
    with maker.app.app_context():
        stored = connections.add(maker.scope("owner"), form).id
    with pytest.raises(InvalidParams) as caught:
        estimate(maker, {"partner_id": "70000001", "connection": stored})
    assert list(caught.value.errors) == ["connection"]


def test_by_the_api_wrong_credentials_are_422_and_an_absent_partner_is_502(
    api_for: Callable[[str], Api], partner_use: Params, stand_in: RunningStandIn
) -> None:
    api = api_for("owner")
    body = {"kind": "partner-use", "params": partner_use(user_secret="d3Jvbmc=")}
    answer = api.post("/reports/estimate", body)
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["user_secret"])
    stand_in.faults([{"fault": "error:413001", "method": "admin.getUserSites"}])
    body = {"kind": "partner-use", "params": partner_use()}
    assert api.post("/reports/estimate", body).status_code == 502


def test_nobody_waits_minutes_for_an_estimate(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert discovery.BRIEFLY.total_s <= 20
    assert discovery.BRIEFLY.tries == 2
    monkeypatch.setattr(discovery, "BRIEFLY", replace(discovery.BRIEFLY, total_s=1.0))
    stand_in.settings(latency_ms=60_000)
    with soon(), pytest.raises(PartnerUnavailable):
        estimate(maker, partner_use())


def test_nobody_waits_minutes_for_a_pace_that_is_held(
    maker: Maker, partner_use: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "BRIEFLY", replace(discovery.BRIEFLY, total_s=0.5))
    maker.app.config["PARTNER_CALLS_PER_SECOND"] = 10.0
    with maker.app.app_context():
        secrets = {"user_key": "key", "user_secret": "secret"}
        discovery.open_session("70000001", secrets, service.context()).call_pace.throttle(60)
    with soon(), pytest.raises(PartnerUnavailable):
        estimate(maker, partner_use())


def test_bad_months_are_told_before_anybody_is_asked(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    with pytest.raises(InvalidParams):
        estimate(maker, partner_use(mode="monthly", start="2024-13", end="2024-14"))
    assert sum(stand_in.stats()["requests"].values()) == 0
