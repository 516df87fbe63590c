"""Exact decimals are stored as text; in a CSV and a workbook they are numbers all the same."""

from __future__ import annotations

from decimal import Decimal

import pytest

from webapp.engine.export import csv_chunks
from webapp.engine.kind import Column, Sheet

COLUMNS = (Column("name", "Name"), Column("amount", "Amount", "decimal"))


def lines_of(*rows: dict[str, object]) -> list[str]:
    sheet = Sheet("sums", "Sums", COLUMNS, rows)
    return b"".join(csv_chunks(sheet)).decode().split("\r\n")[1:-1]


def test_a_negative_amount_kept_as_text_stays_a_number() -> None:
    assert lines_of({"name": "-5", "amount": "-12.30"}) == ["'-5,-12.30"]


def test_what_is_no_number_is_guarded_in_a_number_column_too() -> None:
    assert lines_of({"name": "a", "amount": "-1+cmd()"}) == ["a,'-1+cmd()"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5e-05, "0.00005"),
        (-1e-10, "-0.0000000001"),
        (1e22, "10000000000000000000000"),
        (Decimal("1E+3"), "1000"),
        (2**70, str(2**70)),
        (0.1, "0.1"),
    ],
)
def test_no_number_is_written_with_an_exponent(value: object, text: str) -> None:
    assert lines_of({"name": "a", "amount": value}) == [f"a,{text}"]
