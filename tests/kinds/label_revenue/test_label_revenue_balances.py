"""What labels are paid and what is carried forward: it adds up, and locked months keep it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import openpyxl
import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from test_label_revenue_pages import send

from webapp.accounts import Scope
from webapp.errors import InvalidParams
from webapp.kinds.label_revenue import closing
from webapp.kinds.label_revenue.periods import states_of
from webapp.kinds.label_revenue.report import payouts
from webapp.kinds.label_revenue.report.balances import (
    Balance,
    balances_of,
    next_balances,
    totals_of,
)
from webapp.kinds.label_revenue.report.compute import Key, Line, Payout
from webapp.kinds.label_revenue.report.payouts import Adjustment, MonthPayout

JAN, FEB, MAR = date(2025, 1, 1), date(2025, 2, 1), date(2025, 3, 1)
HEAD = "date;user_id;region;track id;seconds\n"
USERS = "user_id;product_type;fee;origin\n1;p;10,00;web\n2;p;10,00;web\n"
TRACKS = '[{"track_id":"A","label":"Alpha"},{"track_id":"B","label":"Beta"}]'
# January 12.00 for Alpha and 6.00 for Beta, February the other way round.
STREAMS = (
    HEAD + "2025-01-13;1;NL;A;200\n2025-01-13;2;NL;B;100\n"
    "2025-02-13;1;NL;A;100\n2025-02-13;2;NL;B;200\n"
)

AMOUNTS = st.integers(-500, 500)
MONTHS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from("ABC"), st.integers(0, 1000)),
        st.dictionaries(st.sampled_from("ABC"), AMOUNTS),
    ),
    max_size=6,
)


def as_month(earned: dict[str, int], adjusted: dict[str, int]) -> MonthPayout:
    lines = tuple(Line(Key(True, label), 1, minor) for label, minor in earned.items())
    due = tuple(Adjustment(JAN, Key(True, one), minor, "EUR") for one, minor in adjusted.items())
    pool = sum(earned.values())
    return MonthPayout(FEB, "pool", "EUR", Payout(lines, pool)).with_due(due)


@settings(max_examples=100)
@given(MONTHS, st.integers(0, 800))
def test_what_is_owed_is_paid_or_carried_forward_and_nothing_else(months: Any, least: int) -> None:
    found: list[Balance] = []
    paid = owed = 0
    for earned, adjusted in months:
        found = next_balances(found, as_month(earned, adjusted), lambda *_: least)
        for one in found:
            assert one.opening + one.earned + one.adjustments - one.paid == one.closing
            assert one.paid == 0 or one.paid >= max(least, 1)
            assert one.closing < max(least, 1)
        paid += sum(one.paid for one in found)
        owed += sum(earned.values()) + sum(adjusted.values())
        carried = sum(one.closing for one in found)
        assert paid + carried == owed
        assert sum(one.closing for one in totals_of(found).values()) == carried


def test_months_of_different_money_are_no_one_sum() -> None:
    months = [replace(as_month({"A": 1}, {}), currency=one) for one in ("EUR", "EUR", "USD")]
    assert payouts.one_currency(months[:2]) == "EUR"
    with pytest.raises(InvalidParams, match="different currencies"):
        payouts.one_currency(months)
    # What pays nothing has a currency of no matter.
    assert payouts.one_currency([months[0], replace(as_month({}, {}), currency="USD")]) == "EUR"


def test_months_add_up_by_label_and_what_nobody_is_owed_stands_apart() -> None:
    nobody = Adjustment(JAN, Key(False, "no label"), 3, "EUR")
    months = [as_month({"A": 7, "B": 1}, {"A": -2}), as_month({"A": 7}, {}).with_due([nobody] * 2)]
    assert payouts.totals(months) == ({"A": 12, "B": 1}, {"no label": 6})


def test_the_hash_of_what_was_told_knows_no_order_of_names() -> None:
    assert payouts.digest({"web": "0.9", "app": "0.7"}) == payouts.digest(
        {"app": "0.7", "web": "0.9"}
    )


@pytest.fixture
def balances(
    app: Flask, scope: Scope, load_texts: Any
) -> Callable[..., dict[str, tuple[int, ...]]]:
    load_texts(users=USERS, streams=STREAMS, tracks=TRACKS)

    def read(month: date) -> dict[str, tuple[int, ...]]:
        with app.app_context():
            found = balances_of(payouts.payer(scope.company_id, "pool"), month)
            return {one.label: one[2:] for one in found}

    return read


def test_what_is_below_the_minimum_is_brought_forward(balances: Any, client_for: Any) -> None:
    assert balances(JAN) == {"Alpha": (0, 1200, 0, 1200, 0), "Beta": (0, 600, 0, 600, 0)}
    owner = client_for("owner")
    assert send(owner, "/label-revenue/minimums", amount="15").status_code == 303
    assert balances(JAN) == {"Alpha": (0, 1200, 0, 0, 1200), "Beta": (0, 600, 0, 0, 600)}
    assert balances(FEB) == {"Alpha": (1200, 600, 0, 1800, 0), "Beta": (600, 1200, 0, 1800, 0)}
    send(owner, "/label-revenue/minimums", label="Beta", amount="20,00")
    assert balances(FEB)["Beta"] == (600, 1200, 0, 0, 1800)
    assert balances(MAR) == {"Beta": (1800, 0, 0, 0, 1800)}
    assert send(owner, "/label-revenue/minimums", amount="x").status_code == 422
    assert send(client_for("colleague"), "/label-revenue/minimums", amount="1").status_code == 403
    assert "Beta: 0 before, now 20.00" in owner.get("/audit").text


def test_a_locked_month_keeps_its_balances(
    app: Flask, scope: Scope, balances: Any, client_for: Any
) -> None:
    owner = client_for("owner")
    send(owner, "/label-revenue/minimums", amount="15")
    with app.app_context():
        for state in ("calculated", "approved", "locked"):
            closing.advance(scope.company_id, JAN, state, scope)
    with app.app_context():
        closing.advance(scope.company_id, FEB, "calculated", scope)
    send(owner, "/label-revenue/minimums", amount="0")
    with app.app_context():
        # What was calculated would be paid otherwise now; what is locked stays.
        assert states_of(scope.company_id) == {JAN: "locked", FEB: "open"}
    assert balances(JAN)["Alpha"] == (0, 1200, 0, 0, 1200)
    assert balances(FEB)["Alpha"] == (1200, 600, 0, 1800, 0)


def test_balances_are_shown_on_a_page_by_the_api_and_in_statements(
    balances: Any, client_for: Any, api_for: Any
) -> None:
    send(client_for("owner"), "/label-revenue/minimums", amount="15")
    page = client_for("viewer").get("/label-revenue/balances?from=2025-02").text
    assert "<strong>Total</strong>" in page
    assert "Earned 18.00, without an owner 0.00: the pool of 18.00 EUR." in page
    answer = api_for("owner").get("/label-revenue/balances?month=2025-02")
    assert answer.json["data"][0] == {
        "label": "Alpha",
        "currency": "EUR",
        "opening": "12.00",
        "earned": "6.00",
        "adjustments": "0.00",
        "paid": "18.00",
        "closing": "0.00",
    }
    assert api_for("owner").get("/label-revenue/balances?month=x").status_code == 400
    statement = client_for("viewer").get(
        "/label-revenue/statement?label=Alpha&from=2025-01&to=2025-02"
    )
    sheet = openpyxl.load_workbook(io.BytesIO(statement.data))["Balances"]
    rows = [[cell.value for cell in row][2:] for row in sheet.iter_rows(min_row=2)]
    assert rows == [[0, 12, 0, 0, 12], [12, 6, 0, 18, 0]]
