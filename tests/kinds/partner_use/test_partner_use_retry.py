"""A retry asks only for what failed, and repairs the report in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandbox import truth
from sandbox.testing import RunningStandIn
from tests.conftest import DEMO_KEY, DEMO_SECRET
from tests.kinds.partner_use.partner_use_helpers import Maker, counted_ids
from webapp.engine.models import Report
from webapp.errors import Conflict, InvalidParams
from webapp.extensions import db

Params = Callable[..., dict[str, Any]]
SECRETS = {"user_secret": DEMO_SECRET}
MONTHLY = {"mode": "monthly", "start": "2024-01", "end": "2024-03"}
SITE = sorted(counted_ids(70000006))[1]
REFUSE = {"fault": "error:403007", "method": "accounts.search", "site": SITE}


def asked(stand_in: RunningStandIn) -> set[str]:
    return {str(search["site_id"]) for search in stand_in.searches()}


def test_a_retried_summary_asks_only_the_failed_site(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    stand_in.faults([REFUSE])
    made = maker.make(partner_use(partner_id="70000006"))
    assert made.status == "incomplete"
    assert made.sites[SITE]["account_count"] is None
    stand_in.reset()
    again = maker.retry(made, SECRETS)
    assert asked(stand_in) == {SITE}
    assert again.status == "done"
    right = truth.report(70000006)["summary"]
    assert {name: again.result["summary"][name] for name in right} == right
    assert again.sites[SITE]["problem"] is None


def test_a_retried_monthly_report_asks_only_the_failed_site(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    stand_in.faults([REFUSE])
    made = maker.make(partner_use(partner_id="70000006", **MONTHLY))
    assert made.status == "incomplete"
    assert made.sites[SITE]["months"][1]["total_users"] is None
    stand_in.reset()
    again = maker.retry(made, SECRETS)
    assert asked(stand_in) == {SITE}
    assert again.status == "done"
    assert [row["total_users"] for row in again.result["months"]] == [
        row["total_users"] for row in truth.report(70000006, ("2024-01", "2024-03"))["months"]
    ]


def test_a_retry_that_fails_again_stays_incomplete_and_can_be_retried(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    stand_in.faults([REFUSE])
    made = maker.make(partner_use(partner_id="70000006"))
    again = maker.retry(made, SECRETS)
    assert again.status == "incomplete"
    assert again.sealed is None
    stand_in.reset()
    assert maker.retry(again, SECRETS).status == "done"


def test_a_failed_report_can_be_retried_with_the_right_secret(
    maker: Maker, partner_use: Params
) -> None:
    made = maker.make(partner_use(user_secret="d3Jvbmc="))
    assert made.status == "failed"
    again = maker.retry(made, SECRETS)
    assert (again.status, again.error) == ("done", None)
    assert again.lines[: len(made.lines)] == made.lines


def test_a_retry_without_the_secret_asks_for_it(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    stand_in.faults([REFUSE])
    made = maker.make(partner_use(partner_id="70000006"))
    with pytest.raises(InvalidParams) as caught:
        maker.retry(made, {})
    assert list(caught.value.errors) == ["user_secret"]


def test_a_retry_takes_no_other_parameter(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    stand_in.faults([REFUSE])
    made = maker.make(partner_use(partner_id="70000006"))
    with pytest.raises(InvalidParams) as caught:
        maker.retry(made, SECRETS | {"partner_id": "70000001"})
    assert list(caught.value.errors) == ["partner_id"]


def test_a_retry_takes_all_that_the_report_was_asked_with(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    asked_with = partner_use(partner_id=70000006, refresh=False, start="2024-01", end=None)
    stand_in.faults([REFUSE])
    made = maker.make(asked_with)
    stand_in.reset()
    assert maker.retry(made, asked_with).status == "done"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"mode": "monthly", "start": "2024-01", "end": "2024-03"}, ["mode", "start", "end"]),
        ({"refresh": True}, ["refresh"]),
        ({"weather": "fine"}, ["weather"]),
        ({"partner_id": "x"}, ["partner_id"]),
        ({"partner_id": "70000001", "exact": True}, ["partner_id", "exact"]),
    ],
)
def test_what_differs_is_named(
    maker: Maker, partner_use: Params, given: dict[str, Any], named: list[str]
) -> None:
    made = maker.make(partner_use(partner_id="70000006", user_secret="d3Jvbmc="))
    with pytest.raises(InvalidParams) as caught:
        maker.retry(made, SECRETS | given)
    assert list(caught.value.errors) == named


def test_a_mistyped_user_key_is_mended_by_a_retry(maker: Maker, partner_use: Params) -> None:
    made = maker.make(partner_use(user_key="demo-user-kee"))
    assert made.status == "failed"
    assert maker.retry(made, SECRETS | {"user_key": DEMO_KEY}).status == "done"
    with maker.app.app_context():
        assert db.session.get_one(Report, made.id).params["user_key"] == DEMO_KEY


def test_a_done_report_is_not_retried(maker: Maker, partner_use: Params) -> None:
    made = maker.make(partner_use())
    with pytest.raises(Conflict):
        maker.retry(made, SECRETS)


def test_a_retry_of_a_refresh_does_not_ask_again_what_it_counted_itself(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    maker.make(partner_use(partner_id="70000006", **MONTHLY))
    stand_in.faults([REFUSE])
    made = maker.make(partner_use(partner_id="70000006", refresh=True, **MONTHLY))
    assert made.status == "incomplete"
    stand_in.reset()
    assert maker.retry(made, SECRETS).status == "done"
    assert asked(stand_in) == {SITE}
