"""An estimate says about what the report then asks, without making one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandbox.testing import RunningStandIn
from tests.kinds.partner_use.partner_use_house import House
from webapp.engine import jobs
from webapp.engine.kind import Estimate
from webapp.engine.models import Report
from webapp.errors import InvalidParams, PartnerRefused
from webapp.extensions import db

Params = Callable[..., dict[str, Any]]
MONTHLY = {"mode": "monthly", "start": "2024-01", "end": "2024-06"}


def estimate(house: House, params: dict[str, Any]) -> Estimate:
    with house.app.app_context():
        found = jobs.estimate_report(house.scope("owner"), "partner-use", params)
        assert db.session.query(Report).filter_by(status="queued").count() == 0
        return found


@pytest.mark.parametrize("mode", [{}, MONTHLY])
def test_it_is_an_upper_bound_of_what_is_then_asked(
    house: House, partner_use: Params, mode: dict[str, str]
) -> None:
    guess = estimate(house, partner_use(**mode))
    made = house.make(partner_use(**mode))
    assert made.result["api_calls"]["made"] <= guess.calls
    assert guess.saved == 0


def test_stored_months_are_saved_and_not_asked(house: House, partner_use: Params) -> None:
    params = partner_use(**MONTHLY)
    before = estimate(house, params)
    house.make(params)
    after = estimate(house, params)
    assert after.saved > 0
    assert after.calls < before.calls
    assert estimate(house, params | {"refresh": True}) == before


def test_the_seconds_follow_from_the_granted_pace(house: House, partner_use: Params) -> None:
    house.app.config["PARTNER_SEARCHES_PER_SECOND"] = 10.0
    slow = estimate(house, partner_use(**MONTHLY))
    house.app.config["PARTNER_SEARCHES_PER_SECOND"] = 100.0
    assert slow.seconds > estimate(house, partner_use(**MONTHLY)).seconds > 0


def test_it_searches_nothing(house: House, partner_use: Params, stand_in: RunningStandIn) -> None:
    estimate(house, partner_use(**MONTHLY))
    assert stand_in.searches() == []


def test_a_wrong_secret_is_told_before_anything_is_made(house: House, partner_use: Params) -> None:
    with pytest.raises(PartnerRefused):
        estimate(house, partner_use(user_secret="d3Jvbmc="))


def test_bad_months_are_told_before_anybody_is_asked(
    house: House, partner_use: Params, stand_in: RunningStandIn
) -> None:
    with pytest.raises(InvalidParams):
        estimate(house, partner_use(mode="monthly", start="2024-13", end="2024-14"))
    assert sum(stand_in.stats()["requests"].values()) == 0
