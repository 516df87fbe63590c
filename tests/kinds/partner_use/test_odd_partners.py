"""A partner that is odd, slow or away: every healthy site counted, no wrong number complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask

from tests.conftest import add_people
from tests.kinds.partner_use.odd_partner import OddPartner, OddSite, accounts
from tests.kinds.partner_use.partner_use_helpers import NOW, House, Made, ago
from tests.partner.bad_server import Asked, Move, answer, envelope, http, raw, refusal
from webapp.partner import limits

Params = Callable[..., dict[str, Any]]
MONTHLY = {"mode": "monthly", "start": "2025-01", "end": "2025-03"}
MakeHouse = Callable[..., House]


@pytest.fixture
def house_of(make_app: Callable[..., Flask]) -> Callable[..., House]:
    """Return a maker of houses whose partner is a server of the test's own."""

    def make(partner: OddPartner, **settings: Any) -> House:
        app = make_app(PARTNER_API_URL=partner.template, **settings)
        add_people(app)
        return House(app)

    return make


@contextmanager
def partner_of(*sites: OddSite) -> Iterator[OddPartner]:
    with OddPartner(*sites) as partner:
        yield partner


def totals(made: Made) -> list[int | None]:
    return [row["total_users"] for row in made.result["months"]]


def sites_named(*keys: str, **more: Any) -> list[OddSite]:
    return [OddSite(key, accounts(d20250110=2), **more) for key in keys]


# -- 1: bad neighbours ---------------------------------------------------------------------------


@pytest.fixture
def _quick_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default bounds, a tenth of their length: 35 s a try are 3.5 s."""
    quick = limits.Limits(
        server_timeout_s=2.0, margin_s=1.5, total_s=18.0, backoff_base_s=0.1, backoff_cap_s=3.0,
        silence_s=12.0, probe_s=1.0,
    )  # fmt: skip
    monkeypatch.setattr("webapp.partner.session.Limits", lambda: quick)


@pytest.mark.usefixtures("_quick_limits")
@pytest.mark.parametrize("mode", [{}, MONTHLY])
def test_six_sites_that_never_answer_cost_the_other_34_nothing(
    house_of: MakeHouse, partner_use: Params, mode: dict[str, Any]
) -> None:
    keys = [f"4_{number}" for number in range(40)]
    with partner_of(*sites_named(*keys)) as partner:
        answered: list[float] = []

        def spoil(asked: Asked) -> Move | None:
            if asked.method != "accounts.search":
                return None
            if asked.form["apiKey"] in keys[:6]:
                return partner.hang
            answered.append(time.monotonic())
            return None

        partner.spoil = spoil
        started = time.monotonic()
        made = house_of(partner, PARTNER_SEARCHES_PER_SECOND=100).make(partner_use(**mode))
        took_s = time.monotonic() - started
    assert made.status == "incomplete"
    assert answered[-1] - started < 6
    assert took_s < 36
    for site in made.result["sites"]:
        hangs = int(site["site_id"]) <= 100_006
        assert bool(site["problem"]) == hangs
        count = site["months"][-1]["total_users"] if mode else site["account_count"]
        assert count == (None if hangs else 2)


@pytest.mark.usefixtures("_quick_limits")
@pytest.mark.parametrize("mode", [{}, MONTHLY])
def test_a_data_centre_at_503_is_a_hole_of_its_sites_only(
    house_of: MakeHouse, partner_use: Params, mode: dict[str, Any]
) -> None:
    away = sites_named(*(f"4_a{number}" for number in range(60)), data_center="eu1")
    sound = sites_named(*(f"4_s{number}" for number in range(60)), data_center="us1")
    with partner_of(*away, *sound) as partner:
        partner.spoil = lambda asked: raw(http(b"", 503)) if asked.data_center == "eu1" else None
        house = house_of(partner, PARTNER_SEARCHES_PER_SECOND=200)
        made = house.make(partner_use(**mode))
        partner.spoil = lambda asked: None
        again = house.retry(made, {"user_secret": partner_use()["user_secret"]})
    assert made.status == "incomplete"
    counted = [site for site in made.result["sites"] if not site["problem"]]
    assert len(counted) == 60
    assert {int(site["site_id"]) for site in counted} == set(range(100_061, 100_121))
    assert again.status == "done"
