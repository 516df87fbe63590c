"""Small files that were once read wrongly, or refused for no reason."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from webapp.extensions import db
from webapp.intake import BadCell
from webapp.kinds.label_revenue.models import Stream, Terms
from webapp.kinds.label_revenue.rows import Unanswered, read_fee

HEAD = "date;user_id;region;track id;seconds\n"
ROW = "2025-03-05;5001;NL;T-503;60\n"
USERS = "user_id;product_type;fee;origin\n"


def regions(app: Flask) -> list[str]:
    with app.app_context():
        return list(db.session.scalars(select(Stream.region).order_by(Stream.id)))


def test_rows_of_separators_alone_are_skipped(app: Flask, load_texts: Any) -> None:
    assert load_texts(streams=HEAD + ROW + ";;;;\n").batch.rejected == 0
    assert regions(app) == ["NL"]


def test_a_byte_order_mark_and_tabs_are_read(app: Flask, load_texts: Any) -> None:
    text = (HEAD + ROW).replace(";", "\t").replace("\n", "\r\n")
    load_texts(streams=b"\xef\xbb\xbf" + text.encode())
    assert regions(app) == ["NL"]


def test_windows_1252_is_asked_about_and_read_when_said(app: Flask, load_texts: Any) -> None:
    content = (HEAD + ROW.replace("NL", "Düss")).encode("cp1252")
    with pytest.raises(Unanswered, match="Windows-1252"):
        load_texts(streams=content)
    assert regions(app) == []
    load_texts(streams=content, encoding="cp1252")
    assert regions(app) == ["Düss"]


def test_dates_that_may_be_read_in_two_ways_are_asked_about(load_texts: Any) -> None:
    with pytest.raises(Unanswered, match="03/04/2025"):
        load_texts(streams=HEAD + ROW.replace("2025-03-05", "03/04/2025"))


def test_a_fee_that_may_have_thousands_or_decimals_is_asked_about(
    app: Flask, load_texts: Any
) -> None:
    users = USERS + "5001;p;54.990;web\n"
    with pytest.raises(Unanswered, match=r"54\.990 may be 54990"):
        load_texts(users=users)
    load_texts(users=users, decimal_mark=",")
    with app.app_context():
        assert [Decimal(fee) for fee in db.session.scalars(select(Terms.fee))] == [Decimal(54990)]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("3.3333333333333335", "3.33"),
        ("9.990000000000002", "9.99"),
        ("1e-300", "0"),
        ("7.50", "7.5"),
    ],
)
def test_a_fee_that_a_program_divided_is_rounded_to_the_cent(written: str, kept: str) -> None:
    assert read_fee(Decimal(written), "EUR") == kept


@pytest.mark.parametrize("written", ["9.999", "3.3333", "1e999999", "-0.00000000000001"])
def test_a_fee_with_a_digit_too_many_or_out_of_range_is_refused(written: str) -> None:
    with pytest.raises(BadCell):
        read_fee(Decimal(written), "EUR")
