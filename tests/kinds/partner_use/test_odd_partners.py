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
from tests.kinds.partner_use.partner_use_helpers import NOW, Made, Maker, ago
from tests.partner.bad_server import Asked, Move, answer, http, raw, refusal
from tests.soon import SOON_S
from webapp.partner import limits

pytestmark = pytest.mark.once

Params = Callable[..., dict[str, Any]]
MONTHLY = {"mode": "monthly", "start": "2025-01", "end": "2025-03"}
MakerOf = Callable[..., Maker]


@pytest.fixture
def maker_of(make_app: Callable[..., Flask]) -> Callable[..., Maker]:
    """Return a maker of stacks whose partner is a server of the test's own."""

    def make(partner: OddPartner, **settings: Any) -> Maker:
        app = make_app(PARTNER_API_URL=partner.template, **settings)
        add_people(app)
        return Maker(app)

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
    maker_of: MakerOf, partner_use: Params, mode: dict[str, Any]
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
        made = maker_of(partner, PARTNER_SEARCHES_PER_SECOND=100).make(partner_use(**mode))
        took_s = time.monotonic() - started
    assert made.status == "incomplete"
    # Before, none of them was asked at all, and it ended after 36 s at this tenth of the bounds.
    assert answered[-1] - started < SOON_S
    assert took_s < 60
    for site in made.result["sites"]:
        hangs = int(site["site_id"]) <= 100_006
        assert bool(site["problem"]) == hangs
        count = site["months"][-1]["total_users"] if mode else site["account_count"]
        assert count == (None if hangs else 2)


@pytest.mark.usefixtures("_quick_limits")
@pytest.mark.parametrize("mode", [{}, MONTHLY])
def test_a_data_centre_at_503_is_a_hole_of_its_sites_only(
    maker_of: MakerOf, partner_use: Params, mode: dict[str, Any]
) -> None:
    away = sites_named(*(f"4_a{number}" for number in range(60)), data_center="eu1")
    sound = sites_named(*(f"4_s{number}" for number in range(60)), data_center="us1")
    with partner_of(*away, *sound) as partner:
        partner.spoil = lambda asked: raw(http(b"", 503)) if asked.data_center == "eu1" else None
        maker = maker_of(partner, PARTNER_SEARCHES_PER_SECOND=200)
        made = maker.make(partner_use(**mode))
        partner.spoil = lambda asked: None
        again = maker.retry(made, {"user_secret": partner_use()["user_secret"]})
    assert made.status == "incomplete"
    counted = [site for site in made.result["sites"] if not site["problem"]]
    assert len(counted) == 60
    assert {int(site["site_id"]) for site in counted} == set(range(100_061, 100_121))
    assert again.status == "done"


# -- 2: who a site is ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [{}, MONTHLY])
def test_two_sites_of_one_id_are_both_counted_and_told(
    maker_of: MakerOf, partner_use: Params, mode: dict[str, Any]
) -> None:
    with partner_of(
        OddSite("4_a", accounts(d20250110=1), site_id=100_000),
        OddSite("4_b", accounts(d20250110=2), site_id=100_000),
        OddSite("4_c", accounts(d20250110=3), site_id=100_002),
    ) as partner:
        maker = maker_of(partner)
        made = maker.make(partner_use(**mode))
        again = maker.make(partner_use(**mode))
        partner.sites.pop("4_a")
        alone = maker.make(partner_use(**mode))
    assert made.status == "done"
    assert [site["site_id"] for site in made.result["sites"]] == ["100000", "100000", "100002"]
    assert any("site ID 100000" in line for line in made.lines)
    if mode:
        assert totals(made) == totals(again) == [6, 6, 6]
        # The other site of that ID was stored, too; it is not taken for this one.
        assert totals(alone) == [5, 5, 5]
    else:
        assert made.result["summary"]["account_count"] == 6


def test_a_stored_month_is_not_used_for_another_site_of_the_same_id(
    maker_of: MakerOf, partner_use: Params
) -> None:
    with partner_of(OddSite("4_a", accounts(d20250110=1), site_id=100_000)) as partner:
        maker = maker_of(partner)
        assert totals(maker.make(partner_use(**MONTHLY))) == [1, 1, 1]
        other = OddSite("4_b", accounts(d20250110=2), site_id=100_000, name="b")
        partner.sites = {"4_b": other}
        assert totals(maker.make(partner_use(**MONTHLY))) == [2, 2, 2]


# -- 3: counts and reads that disagree ----------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
def test_accounts_deleted_after_the_first_search_make_no_growth(
    maker_of: MakerOf, partner_use: Params, exact: bool
) -> None:
    created = accounts(d20241210=100, d20250110=10, d20250210=10, d20250310=10)
    with partner_of(OddSite("4_a", created)) as partner:

        def spoil(asked: Asked) -> Move | None:
            if len(partner.searches()) == 2:
                partner.sites["4_a"].created = created[100:]
            return None

        partner.spoil = spoil
        maker = maker_of(partner, PARTNER_CONCURRENCY=1)
        made = maker.make(partner_use(**MONTHLY, exact=exact))
        partner.spoil = lambda asked: None
        again = maker.make(partner_use(**MONTHLY, exact=True))
    assert totals(made) == totals(again) == [10, 20, 30]
    assert [row["delta"] for row in again.result["months"]] == [10, 10, 10]


def test_both_ways_agree_on_accounts_older_than_any_calendar(
    maker_of: MakerOf, partner_use: Params
) -> None:
    created = ["0001-01-01T00:00:00Z"] * 4 + accounts(d20250201=1, d20250301=4)
    with partner_of(OddSite("4_a", created)) as partner:
        maker = maker_of(partner)
        for exact in (False, True):
            made = maker.make(partner_use(**MONTHLY, exact=exact, refresh=True))
            assert totals(made) == [4, 5, 9]


# -- 4: liberal in what does not matter ----------------------------------------------------------


def test_a_key_that_one_data_centre_does_not_know_costs_its_sites_only(
    maker_of: MakerOf, partner_use: Params
) -> None:
    sites = [*sites_named("4_a", "4_b"), *sites_named("4_c", data_center="eu2")]
    with partner_of(*sites) as partner:
        partner.spoil = lambda asked: refusal(403005) if asked.data_center == "eu2" else None
        made = maker_of(partner).make(partner_use())
    assert made.status == "incomplete"
    assert [site["account_count"] for site in made.result["sites"]] == [2, 2, None]
    assert "403005" in made.result["sites"][2]["problem"]


@pytest.mark.parametrize("mode", [{}, MONTHLY])
def test_a_total_count_of_one_everywhere_is_a_warning_and_no_hole(
    maker_of: MakerOf, partner_use: Params, mode: dict[str, Any]
) -> None:
    with partner_of(*sites_named("4_a", "4_b"), OddSite("4_empty")) as partner:

        def spoil(asked: Asked) -> Move | None:
            if asked.method != "accounts.search":
                return None
            return answer(partner.body(asked) | {"totalCount": 1})

        partner.spoil = spoil
        made = maker_of(partner).make(partner_use(**mode))
    assert made.status == "done"
    assert sum("totalCount" in line for line in made.lines) == 1
    if mode:
        assert totals(made) == [4, 4, 4]
    else:
        assert [site["account_count"] for site in made.result["sites"]] == [2, 2, 0]


def test_a_login_with_an_offset_is_a_login(maker_of: MakerOf, partner_use: Params) -> None:
    login = "2024-05-01T10:00:00.000+02:00"
    with partner_of(OddSite("4_a", accounts(d20240110=1), login=login)) as partner:
        made = maker_of(partner).make(partner_use())
    assert made.result["summary"]["last_login"] == "2024-05-01T08:00:00.000Z"


def test_a_count_beyond_what_a_double_holds_is_printed_exactly(
    maker_of: MakerOf, partner_use: Params
) -> None:
    with partner_of(OddSite("4_a", accounts(d20240110=1))) as partner:

        def spoil(asked: Asked) -> Move | None:
            if "count(*)" not in asked.form.get("query", ""):
                return None
            return answer({"results": [{"count(*)": 2**53 + 1}], "totalCount": 2**53 + 1})

        partner.spoil = spoil
        maker = maker_of(partner)
        made = maker.make(partner_use())
    assert made.result["summary"]["account_count"] == 9007199254740993
    assert "9007199254740993" in made.csv(maker.app)


@pytest.mark.parametrize("owner", ["x" * 500, "a\x00b", "lone \ud800 half"])
def test_a_strange_group_owner_ends_no_report(
    maker_of: MakerOf, partner_use: Params, owner: str
) -> None:
    odd = OddSite("4_b", accounts(d20240110=1), config={"siteGroupOwner": owner})
    with partner_of(*sites_named("4_a"), odd) as partner:
        made = maker_of(partner).make(partner_use())
    assert made.status == "done"
    row = made.result["sites"][1]
    assert row["is_child"]
    assert len(row["parent_api_key"]) <= 200
    assert row["parent_api_key"].isprintable()


# -- 5: what is odd is said ----------------------------------------------------------------------


def test_the_data_centre_is_where_a_site_was_really_asked(
    maker_of: MakerOf, partner_use: Params
) -> None:
    with partner_of(*sites_named("4_a")) as partner:

        def spoil(asked: Asked) -> Move | None:
            moved = asked.method == "accounts.search" and asked.data_center == "us1"
            return refusal(301001, apiDomain="eu1.gigya.com") if moved else None

        partner.spoil = spoil
        made = maker_of(partner).make(partner_use())
    assert made.result["sites"][0]["data_center"] == "eu1"


def test_the_current_month_is_marked_as_running_everywhere(
    maker_of: MakerOf, partner_use: Params
) -> None:
    with partner_of(*sites_named("4_a")) as partner:
        maker = maker_of(partner)
        made = maker.make(partner_use(mode="monthly", start=ago(1), end=NOW))
    assert [row["running"] for row in made.result["months"]] == [False, True]
    assert "not over" in made.lines[-1]
    assert made.csv(maker.app).splitlines()[0] == "month,total_users,delta"
    by_site = made.csv(maker.app, "site").splitlines()
    assert by_site[0] == "month,site_id,name,total_users,delta,running"
    assert [line.rpartition(",")[2] for line in by_site[1:]] == ["false", "true"]


# -- 6, 7: incomplete reports --------------------------------------------------------------------


def test_an_incomplete_month_has_no_total_but_what_is_known(
    maker_of: MakerOf, partner_use: Params
) -> None:
    with partner_of(*sites_named("4_a", "4_b", "4_c")) as partner:

        def spoil(asked: Asked) -> Move | None:
            return refusal(403007) if asked.form.get("apiKey") == "4_b" else None

        partner.spoil = spoil
        maker = maker_of(partner)
        made = maker.make(partner_use(**MONTHLY))
        summary = maker.make(partner_use())
    assert made.status == "incomplete"
    for row in made.result["months"]:
        assert (row["total_users"], row["delta"], row["complete"]) == (None, None, False)
        assert (row["known_users"], row["sites_counted"], row["sites"]) == (4, 2, 3)
    assert made.csv(maker.app).splitlines()[1:] == ["2025-01,,", "2025-02,,", "2025-03,,"]
    by_site = made.csv(maker.app, "site").splitlines()
    assert by_site[0].endswith(",delta,known_users,sites_counted,sites")
    figures = summary.result["summary"]
    assert (figures["account_count"], figures["known_users"]) == (None, 4)
    assert (figures["sites_counted"], figures["sites"]) == (2, 3)
    assert summary.csv(maker.app).splitlines()[-1].startswith("TOTAL,,,,,,")
    assert "4 accounts at 2 of 3 sites" in summary.lines[-1]


@pytest.mark.parametrize("mode", [{}, MONTHLY])
def test_a_key_refused_in_the_middle_loses_nothing_that_was_counted(
    maker_of: MakerOf, partner_use: Params, mode: dict[str, Any]
) -> None:
    keys = [f"4_{number:02}" for number in range(60)]
    with partner_of(*sites_named(*keys)) as partner:

        def spoil(asked: Asked) -> Move | None:
            refused = asked.form.get("apiKey", "") > "4_40" and asked.method == "accounts.search"
            return refusal(403010) if refused else None

        partner.spoil = spoil
        maker = maker_of(partner, PARTNER_SEARCHES_PER_SECOND=0)
        made = maker.make(partner_use(**mode))
        refused = len(partner.searches())
        partner.spoil = lambda asked: None
        again = maker.retry(made, {"user_secret": partner_use()["user_secret"]})
    assert made.status == "incomplete"
    counted = [site for site in made.result["sites"] if not site["problem"]]
    assert 15 < len(counted) < 60
    assert all("user secret" in s["problem"] for s in made.result["sites"] if s not in counted)
    assert refused < 41 * 3 + 8
    assert again.status == "done"
    assert len(partner.searches()) < refused + 60 * 3


def test_a_key_refused_before_anything_was_counted_fails_the_report(
    maker_of: MakerOf, partner_use: Params
) -> None:
    with partner_of(*sites_named("4_a")) as partner:
        partner.spoil = lambda asked: refusal(403010) if asked.method == "accounts.search" else None
        made = maker_of(partner).make(partner_use(**MONTHLY))
    assert made.status == "failed"
