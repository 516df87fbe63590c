"""What one label is told and paid: a statement as PDF and as workbook, never with a listener.

A statement says opening to closing balance of its months, and tracks and territories that add up to
what the label earned. It carries the hash of all it says and of what its months were computed from;
the same content keeps its number.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from sqlalchemy import func, select

from webapp.accounts import Scope
from webapp.engine.kind import Column, Row
from webapp.extensions import db
from webapp.kinds.label_revenue.ledger import unit_of_work
from webapp.kinds.label_revenue.models import IssuedStatement
from webapp.kinds.label_revenue.periods import amount, digits, states_of
from webapp.kinds.label_revenue.report.balances import Balance, balances_of
from webapp.kinds.label_revenue.report.breakdown import NOT_STREAMED, Part, parts_of, track_names
from webapp.kinds.label_revenue.report.compute import METHODS, Key, Method
from webapp.kinds.label_revenue.report.payouts import Adjustment, Payer, digest, one_currency
from webapp.lib.moments import utcnow
from webapp.lib.months import month_text, span_text
from webapp.lib.pdf import Paper, facts, table, write_pdf
from webapp.lib.workbooks import SheetWriter, new_workbook

# A document is laid out in memory; further lines stand in it as one, and each in the workbook.
MOST_LINES = 900
FIGURES = ("opening", "earned", "adjustments", "paid", "closing")


@dataclass(frozen=True)
class Statement:
    """One label's months by one method; amounts in minor units of the currency.

    states:  the state of each month, oldest first
    sources: the hash of what each month was computed from
    parts:   by track and territory, the most streamed first
    """

    company: str
    label: str
    method: Method
    currency: str
    states: Mapping[date, str]
    sources: Mapping[date, str]
    balances: Sequence[tuple[date, Balance]]
    adjustments: Sequence[tuple[date, Adjustment]]
    parts: Sequence[Part]
    titles: Mapping[str, str]
    number: int = 0

    @cached_property
    def source_hash(self) -> str:
        """Return the SHA-256 of what the statement says and of what it was computed from."""
        return digest(
            [
                [self.label, self.method, self.currency],
                [[month_text(month), source] for month, source in self.sources.items()],
                [[month_text(month), *one] for month, one in self.balances],
                [[month_text(m), month_text(one.about), one.amount] for m, one in self.adjustments],
                [[*one.values, one.seconds, one.minor] for one in self.parts],
            ]
        )

    @cached_property
    def seconds(self) -> int:
        """Return how long the label was heard."""
        return sum(part.seconds for part in self.parts)

    @property
    def period(self) -> str:
        """Return the months it is about."""
        return span_text(month_text(min(self.states)), month_text(max(self.states)))

    @property
    def file_name(self) -> str:
        """Return a safe name of its files, without an ending."""
        words = f"statement {self.number} {self.label} {self.period} {self.method}"
        return re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-").lower()[:120]

    def about(self) -> list[tuple[str, str]]:
        """Return what stands on top of it."""
        states = [f"{month_text(month)} {state}" for month, state in self.states.items()]
        same = len(set(self.states.values())) == 1
        return [
            ("Statement", str(self.number)),
            ("Payee", self.label),
            ("From", self.company),
            ("Period", self.period),
            ("Currency", self.currency),
            ("Method", METHODS[self.method]),
            ("State", next(iter(self.states.values())) if same else ", ".join(states)),
            ("Computed from (SHA-256)", self.source_hash),
            ("Written (UTC)", f"{utcnow():%Y-%m-%d %H:%M}"),
        ]


def statements_of(
    payer: Payer, company: str, months: Sequence[date], label: str | None = None
) -> list[Statement]:
    """Return the statements of months, by label; of one label only where it is named.

    A label has one where it earned, is adjusted, or has a balance. Raises: InvalidParams
    """
    found = [payer.month(month) for month in months]
    currency = one_currency(found)
    states = states_of(payer.company_id)
    parts: dict[str, list[Part]] = defaultdict(list)
    for part in parts_of(payer.company_id, found, ("track_id", "region"), label):
        if part.key.owned:
            parts[part.key.name].append(part)
    balances: dict[str, list[tuple[date, Balance]]] = defaultdict(list)
    for month in months:
        for one in balances_of(payer, month):
            balances[one.label].append((month, one))
    due = [(one.month, due) for one in found for due in (*one.adjustments, *one.foreign)]
    names = sorted({*parts, *balances} if label is None else {*parts, *balances} & {label})
    titles = track_names(payer.company_id, (part.values[0] for n in names for part in parts[n]))
    return [
        Statement(
            company=company,
            label=name,
            method=payer.method,
            currency=currency,
            states={month: states.get(month, "open") for month in months},
            sources={one.month: one.source for one in found},
            balances=balances[name],
            adjustments=[(month, one) for month, one in due if one.key == Key(True, name)],
            parts=parts[name],
            titles=titles,
        )
        for name in names
    ]


def issue(company_id: str, statements: Sequence[Statement], by: Scope) -> list[Statement]:
    """Return statements with their numbers: what says the same has the number it had before."""
    first = statements[0]
    months = min(first.states), max(first.states)
    with unit_of_work(company_id, by) as work:
        mine = IssuedStatement.company_id == company_id
        known = {
            (row.label, row.source_hash): row.number
            for row in db.session.scalars(
                select(IssuedStatement).where(
                    mine,
                    IssuedStatement.method == first.method,
                    IssuedStatement.first_month == months[0],
                    IssuedStatement.last_month == months[1],
                )
            )
        }
        number = db.session.scalar(select(func.max(IssuedStatement.number)).where(mine)) or 0
        for one in statements:
            if (one.label, one.source_hash) not in known:
                known[one.label, one.source_hash] = number = number + 1
                db.session.add(
                    IssuedStatement(
                        company_id=company_id,
                        number=number,
                        label=one.label,
                        method=one.method,
                        first_month=months[0],
                        last_month=months[1],
                        source_hash=one.source_hash,
                        issued_by=by.user_id,
                    )
                )
        what = first.label if len(statements) == 1 else f"of {len(statements)} labels"
        work.record("downloaded", f"label-revenue statement {what}, {first.period}"[:300])
    return [replace(one, number=known[one.label, one.source_hash]) for one in statements]


# Tables


def _line_columns(one: Statement) -> tuple[Column, ...]:
    return (
        Column("track_id", "Track"),
        Column("title", "Title"),
        Column("territory", "Territory"),
        Column("seconds", "Seconds", "integer"),
        Column("share", "Share", "decimal", "%"),
        Column("amount", "Amount", "decimal", one.currency, digits(one.currency)),
    )


def _line(one: Statement, track_id: str, title: str, region: str, parts: Sequence[Part]) -> Row:
    whole = one.seconds
    seconds = sum(part.seconds for part in parts)
    return {
        "track_id": track_id,
        "title": title,
        "territory": region,
        "seconds": seconds,
        "share": Decimal(100) * seconds / whole if whole else None,
        "amount": amount(sum(part.minor for part in parts), one.currency),
    }


def _lines(one: Statement) -> list[Row]:
    found = []
    for part in one.parts:
        track_id, region = part.values
        title = NOT_STREAMED if track_id is None else one.titles.get(track_id, "")
        found.append(_line(one, track_id or "", title, region or "", [part]))
    return found


def _tables(one: Statement) -> dict[str, tuple[Sequence[Column], list[Row]]]:
    """Return the tables beside tracks and territories, by title."""
    places = max([digits(balance.currency) for _, balance in one.balances], default=2)
    figures = (Column(name, name.capitalize(), "decimal", places=places) for name in FIGURES)
    balances: list[Row] = [
        {"month": month_text(month), "currency": balance.currency}
        | {name: amount(getattr(balance, name), balance.currency) for name in FIGURES}
        for month, balance in one.balances
    ]
    adjustments: list[Row] = [
        {
            "month": month_text(m),
            "about": month_text(due.about),
            "why": due.reason,
            "amount": due.amount,
        }
        for m, due in one.adjustments
    ]
    month = Column("month", "Month", "month")
    found: dict[str, tuple[Sequence[Column], list[Row]]] = {}
    found["Balances"] = ((month, Column("currency", "Currency"), *figures), balances)
    if adjustments:
        columns = (month, Column("about", "Of", "month"), Column("why", "Why"))
        found["Adjustments"] = ((*columns, Column("amount", "Amount")), adjustments)
    return found


# Files


def statement_bytes(one: Statement, ending: str, paper: Paper) -> bytes:
    """Return the statement as `pdf` or `xlsx`."""
    file, lines, total = io.BytesIO(), _lines(one), _line(one, "Total", "", "", one.parts)
    if ending == "xlsx":
        with new_workbook(file) as workbook:
            footer = f"Statement {one.number}, {one.label}"
            writer = SheetWriter(workbook, footer, paper=paper)
            writer.facts("Statement", one.about())
            for title, (columns, rows) in _tables(one).items():
                writer.table(title, columns, rows)
            writer.table("Tracks and territories", _line_columns(one), lines, total=total)
        return file.getvalue()
    if rest := one.parts[MOST_LINES:]:
        more = f"{len(rest):,} further lines, each in the workbook"
        lines = [*lines[:MOST_LINES], _line(one, "", more, "", rest)]
    write_pdf(
        file,
        f"Statement {one.number}: {one.label}",
        [
            facts(one.about()),
            *(table(title, *content) for title, content in _tables(one).items()),
            table("Tracks and territories", _line_columns(one), [*lines, total], bold={"Total"}),
        ],
        author=one.company,
        subject=f"Label revenue, {one.period}",
        footer=f"Statement {one.number} of {one.company}, SHA-256 {one.source_hash[:16]}…",
        paper=paper,
    )
    return file.getvalue()


def zip_chunks(statements: Sequence[Statement], paper: Paper) -> Iterator[bytes]:
    """Yield a ZIP of both files of each statement, one statement after the other."""
    sink = _Sink()
    with ZipFile(sink, "w", ZIP_DEFLATED) as archive:
        for one in statements:
            for ending in ("pdf", "xlsx"):
                name = f"{one.file_name}.{ending}"
                archive.writestr(name, statement_bytes(one, ending, paper))
            yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """What was written since it was taken last; it cannot go back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken
