"""What a sensible user expects of bad input, odd partners and wrong keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask

from sandbox.testing import RunningStandIn
from tests.conftest import DEMO_SECRET, Api
from tests.kinds.partner_use.partner_use_helpers import NOW, Maker, ago
from tests.soon import soon
from webapp.engine import service
from webapp.engine.models import Report
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.lib.months import current_month, month_text, next_month

pytestmark = pytest.mark.once

Params = Callable[..., dict[str, Any]]
WRONG = "d3Jvbmcgc2VjcmV0"


def refused(maker: Maker, params: dict[str, Any]) -> dict[str, str]:
    """Return the sentences with which parameters are refused; nothing may have been made."""
    with maker.app.app_context():
        with pytest.raises(InvalidParams) as caught:
            service.start_report(maker.scope("owner"), "partner-use", params, enqueue=False)
        assert db.session.query(Report).count() == 0
    return caught.value.errors


@pytest.mark.parametrize(
    "month", ["2024-13", "2024-00", "24-01", "2024-1", "2024/01", "2024-01-01", "١٢٣٤-٠١"]
)
def test_a_month_that_is_none_is_refused_in_a_sentence(
    maker: Maker, partner_use: Params, month: str
) -> None:
    errors = refused(maker, partner_use(mode="monthly", start=month, end="2024-12"))
    assert errors == {"start": "Write the month as YYYY-MM, for example 2025-03."}


def test_an_end_before_the_start_is_refused(maker: Maker, partner_use: Params) -> None:
    errors = refused(maker, partner_use(mode="monthly", start="2024-05", end="2024-04"))
    assert errors == {"end": "The last month is before the first month."}


def test_an_end_in_the_future_is_refused_and_the_newest_month_named(
    maker: Maker, partner_use: Params
) -> None:
    future = month_text(next_month(current_month()))
    errors = refused(maker, partner_use(mode="monthly", start="2024-05", end=future))
    assert errors == {"end": f"The last month can be {NOW} at the latest."}


def test_the_current_month_may_be_the_end(maker: Maker, partner_use: Params) -> None:
    assert maker.make(partner_use(mode="monthly", start=ago(0), end=NOW)).status == "done"


@pytest.mark.parametrize("missing", ["start", "end"])
def test_a_monthly_report_needs_both_months(
    maker: Maker, partner_use: Params, missing: str
) -> None:
    params = partner_use(mode="monthly", start="2024-01", end="2024-02")
    del params[missing]
    assert list(refused(maker, params)) == [missing]


@pytest.mark.parametrize(
    ("sent", "missing"),
    [
        ({}, {"partner_id", "user_key", "user_secret"}),
        ({"mode": "monthly"}, {"partner_id", "user_key", "user_secret", "start", "end"}),
        ({"user_key": "k", "partner_id": "x", "end": "2024-13", "mode": "monthly"},
         {"partner_id", "user_secret", "start", "end"}),
        ({"connection": str(uuid4())}, {"partner_id"}),
        ({"user_secret": ["x"]}, {"partner_id", "user_key", "user_secret"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["/reports", "/reports/estimate"])
def test_all_that_is_missing_is_said_at_once(
    api_for: Callable[[str], Api], sent: dict[str, Any], missing: set[str], where: str
) -> None:
    answer = api_for("owner").post(where, {"kind": "partner-use", "params": sent})
    assert answer.status_code == 422
    assert set(answer.json["errors"]) == missing


@pytest.mark.parametrize(
    "partner_id", ["", "abc", "-1", "1e3", "٣", "12345678901234567890", True, [], 1.5]
)
def test_a_partner_id_that_is_no_number_is_refused(
    maker: Maker, partner_use: Params, partner_id: Any
) -> None:
    assert list(refused(maker, partner_use(partner_id=partner_id))) == ["partner_id"]


def test_a_partner_id_may_be_sent_as_a_number(maker: Maker, partner_use: Params) -> None:
    assert maker.make(partner_use(partner_id=70000001)).result["partner_id"] == "70000001"


@pytest.mark.parametrize("missing", ["user_key", "user_secret"])
def test_credentials_that_are_missing_are_asked_for(
    maker: Maker, partner_use: Params, missing: str
) -> None:
    assert list(refused(maker, partner_use(**{missing: ""}))) == [missing]


@pytest.mark.parametrize("blank", [" ", "\t \n", "\u00a0", "a\nb", "a\x7fb", "\u200b"])
@pytest.mark.parametrize("field", ["user_key", "user_secret", "partner_id"])
def test_what_shows_nothing_or_breaks_the_line_is_refused(
    maker: Maker, partner_use: Params, field: str, blank: str
) -> None:
    errors = refused(maker, partner_use(**{field: blank}))
    assert list(errors) == [field]
    assert errors[field].endswith(".")


def test_blanks_around_a_user_key_are_not_part_of_it(maker: Maker, partner_use: Params) -> None:
    assert maker.make(partner_use(user_key=" demo-user-key\n")).status == "done"


def test_an_unknown_parameter_and_an_unknown_mode_are_refused(
    maker: Maker, partner_use: Params
) -> None:
    errors = refused(maker, partner_use(mode="weekly", colour="red"))
    assert set(errors) == {"mode", "colour"}


@pytest.mark.parametrize("secret", [5, ["x"], {"a": 1}, "a\nb", "x" * 5000])
def test_a_secret_that_cannot_be_sent_is_refused_without_repeating_it(
    maker: Maker, partner_use: Params, secret: Any
) -> None:
    errors = refused(maker, partner_use(user_secret=secret))
    assert list(errors) == ["user_secret"]
    assert str(secret) not in errors["user_secret"]


def test_a_wrong_secret_fails_at_once_with_a_sentence_and_no_hint_of_it(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn
) -> None:
    with soon():
        made = maker.make(partner_use(user_secret=WRONG))
    assert made.status == "failed"
    assert made.error
    assert "secret" in made.error.lower()
    assert WRONG not in made.error + " ".join(made.lines)
    assert made.lines[-1] == made.error
    assert sum(stand_in.stats()["requests"].values()) == 1


def test_a_wrong_secret_leaves_no_secret_behind(maker: Maker, partner_use: Params) -> None:
    assert maker.make(partner_use(user_secret=WRONG)).sealed is None
    assert maker.make(partner_use()).sealed is None


def test_an_unknown_user_key_fails_with_a_sentence(maker: Maker, partner_use: Params) -> None:
    made = maker.make(partner_use(user_key="nobody"))
    assert made.status == "failed"
    assert made.error


@pytest.mark.parametrize("mode", ["summary", "monthly"])
def test_a_partner_of_whom_no_site_is_seen_is_a_finished_report_of_nothing(
    maker: Maker, partner_use: Params, mode: str
) -> None:
    months = {"start": "2024-01", "end": "2024-02"} if mode == "monthly" else {}
    made = maker.make(partner_use(partner_id="70000003", mode=mode, **months))
    assert (made.status, made.result["sites"]) == ("done", [])
    seen = "No sites are visible to this key for partner 70000003. "
    assert any(line.startswith(seen) for line in made.lines)
    assert any("no sites" in line for line in made.lines)


@pytest.mark.parametrize("fault", [None, "foreign-partner"])
def test_an_unknown_partner_fails_and_says_what_to_check(
    maker: Maker, partner_use: Params, stand_in: RunningStandIn, fault: str | None
) -> None:
    """The list comes back empty, or with others only."""
    if fault:
        stand_in.faults([{"fault": fault, "method": "admin.getUserSites"}])
    made = maker.make(partner_use(partner_id="12345"))
    assert made.status == "failed"
    assert "12345" in (made.error or "")
    assert "Check the partner ID" in (made.error or "")


def test_a_key_that_may_only_count_makes_a_monthly_report(
    maker: Maker, partner_use: Params
) -> None:
    only_counts = {"user_key": "counts-only-user-key", "user_secret": "Y291bnRzLW9ubHktc2VjcmV0"}
    made = maker.make(partner_use(mode="monthly", start="2024-01", end="2024-03", **only_counts))
    assert made.status == "done"


def test_a_key_that_may_only_count_leaves_named_holes_in_a_summary(
    maker: Maker, partner_use: Params
) -> None:
    only_counts = {"user_key": "counts-only-user-key", "user_secret": "Y291bnRzLW9ubHktc2VjcmV0"}
    made = maker.make(partner_use(**only_counts))
    counted = [site for site in made.result["sites"] if not site["is_child"]]
    assert made.status == "incomplete"
    assert all(site["account_count"] is not None for site in counted)
    assert all(site["last_login"] is None and site["problem"] for site in counted)


def test_a_key_that_sees_no_groups_is_warned_of_double_counting(
    maker: Maker, partner_use: Params
) -> None:
    made = maker.make(
        partner_use(user_key="no-groups-user-key", user_secret="bm8tZ3JvdXBzLXNlY3JldA==")
    )
    assert all("counted twice" in (site["problem"] or "") for site in made.result["sites"])
    assert any("counted twice" in line for line in made.lines)


def test_public_params_never_hold_the_secret(app: Flask, maker: Maker, partner_use: Params) -> None:
    made = maker.make(partner_use())
    with app.app_context():
        report = db.session.get_one(Report, made.id)
        assert "user_secret" not in report.params
        assert DEMO_SECRET not in str(report.params)
        assert report.params["user_key"] == "demo-user-key"


def test_start_and_end_of_a_summary_are_left_out(maker: Maker, partner_use: Params) -> None:
    made = maker.make(partner_use(start="2024-01", end="2024-02"))
    assert made.status == "done"
    assert made.result["mode"] == "summary"
