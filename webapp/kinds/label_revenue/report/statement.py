"""A statement for one label as a workbook: seconds and amounts by month, never a listener."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from datetime import date, datetime
from typing import IO, Any

from webapp.kinds.label_revenue.report.balances import Balance
from webapp.kinds.label_revenue.report.compute import METHODS, Key
from webapp.kinds.label_revenue.report.currencies import amount, digits
from webapp.kinds.label_revenue.report.payouts import MonthPayout, one_currency
from webapp.lib.moments import utcnow
from webapp.lib.months import month_text
from webapp.lib.workbooks import new_workbook, number_format

StatementRow = tuple[str, str, int, int | None]


def statement_rows(label: str, found: Iterable[MonthPayout]) -> list[StatementRow]:
    """Return (month, what for, seconds, minor units) of one label, a row a month and adjustment.

    An adjustment in another currency is told in words, without an amount in the column.
    """
    rows: list[StatementRow] = []
    for one in found:
        month = month_text(one.month)
        for line in one.payout.lines:
            if line.key.owned and line.key.name == label:
                rows.append((month, "Streams", line.seconds, line.minor))
        for due in one.adjustments:
            if due.key.owned and due.key.name == label:
                rows.append((month, f"Adjustment of {month_text(due.about)}", 0, due.minor))
        for due in one.foreign:
            if due.key == Key(True, label):
                rows.append(
                    (month, f"Adjustment of {month_text(due.about)}: {due.amount}", 0, None)
                )
    return rows


def statement_file(
    company: str, label: str, found: list[MonthPayout], balances: list[tuple[date, Balance]]
) -> IO[bytes]:
    """Return the workbook as an open temporary file: what was earned, and the balances by month."""
    currency = one_currency(found)
    file = tempfile.TemporaryFile(prefix="statement-", suffix=".xlsx")  # noqa: SIM115
    with new_workbook(file) as workbook:
        _write(workbook, company, label, found, currency)
        _write_balances(workbook, balances)
    return file


def _write(
    workbook: Any, company: str, label: str, found: list[MonthPayout], currency: str
) -> None:
    bold = workbook.add_format({"bold": True})
    header = workbook.add_format({"bold": True, "bottom": 1})
    money = workbook.add_format(number_format(digits(currency)))
    whole = workbook.add_format(number_format(0))
    month = workbook.add_format({"num_format": "yyyy-mm", "align": "left"})
    page = workbook.add_worksheet("Statement")
    page.set_column(0, 0, 18)
    page.set_column(1, 3, 24)
    facts = (
        ("Label", label),
        ("From", company),
        ("Method", METHODS[found[0].method] if found else ""),
        ("Currency", currency),
        ("Written (UTC)", f"{utcnow():%Y-%m-%d %H:%M}"),
    )
    for line, (name, value) in enumerate(facts):
        page.write_string(line, 0, name, bold)
        page.write_string(line, 1, value)
    first = len(facts) + 1
    page.freeze_panes(first + 1, 0)
    for column, name in enumerate(("Month", "For", "Seconds", f"Amount ({currency})")):
        page.write_string(first, column, name, header)
    rows = statement_rows(label, found)
    for line, (when, what, seconds, minor) in enumerate(rows, start=first + 1):
        page.write_datetime(line, 0, datetime.fromisoformat(f"{when}-01"), month)
        page.write_string(line, 1, what)
        page.write_number(line, 2, seconds, whole)
        if minor is not None:
            page.write_number(line, 3, amount(minor, currency), money)
    last = first + 1 + len(rows)
    page.write_string(last, 0, "Total", bold)
    page.write_number(last, 2, sum(row[2] for row in rows), whole)
    page.write_number(last, 3, amount(sum(row[3] or 0 for row in rows), currency), money)


BALANCE_COLUMNS = ("Opening", "Earned", "Adjustments", "Paid", "Closing")


def _write_balances(workbook: Any, balances: list[tuple[date, Balance]]) -> None:
    """Write what was brought forward, earned, paid and is carried forward, a line a month."""
    header = workbook.add_format({"bold": True, "bottom": 1})
    month_format = workbook.add_format({"num_format": "yyyy-mm", "align": "left"})
    page = workbook.add_worksheet("Balances")
    page.set_column(0, 6, 14)
    page.freeze_panes(1, 0)
    for column, name in enumerate(("Month", "Currency", *BALANCE_COLUMNS)):
        page.write_string(0, column, name, header)
    for line, (month, one) in enumerate(balances, start=1):
        money = workbook.add_format(number_format(digits(one.currency)))
        page.write_datetime(line, 0, datetime.fromisoformat(month.isoformat()), month_format)
        page.write_string(line, 1, one.currency)
        for column, minor in enumerate(one[2:], start=2):
            page.write_number(line, column, amount(minor, one.currency), money)


def file_name(label: str, found: list[MonthPayout]) -> str:
    """Return a safe name of the file: label, months and method."""
    months = sorted(month_text(one.month) for one in found)
    words = ["statement", label, *dict.fromkeys([months[0], months[-1]]), found[0].method]
    slug = re.sub(r"[^A-Za-z0-9]+", "-", " ".join(words)).strip("-").lower()
    return f"{slug[:120]}.xlsx"
