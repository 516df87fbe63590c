"""label-revenue as the engine sees it: parameters, tables, figures, chart, sheets, and its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from pydantic import ConfigDict, Field, model_validator
from sqlalchemy import select

from webapp.engine.kind import (
    Answer,
    Chart,
    Column,
    Context,
    Download,
    Figure,
    FirstStep,
    ReportKind,
    Result,
    Row,
    Run,
    Sheet,
    StoredResult,
    Table,
)
from webapp.engine.params import FirstMonth, LastMonth
from webapp.extensions import db
from webapp.intake import drop_expired_uploads, upload_pages
from webapp.kinds.label_revenue import loads, models, sums
from webapp.kinds.label_revenue.bulk import drop_given_up
from webapp.kinds.label_revenue.ledger import SLUG
from webapp.kinds.label_revenue.periods import MOST_MONTHS, amount, amount_text, months_due
from webapp.kinds.label_revenue.report import payouts
from webapp.kinds.label_revenue.report.breakdown import (
    detail_rows,
    label_columns,
    label_rows,
    month_rows,
)
from webapp.kinds.label_revenue.report.compute import METHODS
from webapp.kinds.label_revenue.report.payouts import MonthPayout
from webapp.kinds.label_revenue.rows import Options, Role, Source
from webapp.lib.bodies import check_months
from webapp.lib.model import LazyModel
from webapp.lib.moments import utcnow
from webapp.lib.months import current_month, month_text, months_between, span_text

if TYPE_CHECKING:
    from flask import Blueprint
    from flask.cli import AppGroup

    from webapp.accounts import Scope
    from webapp.jobs import Task

__all__ = ["LabelRevenue", "models"]

METHOD_TEXTS = {"pool": "Pool, by seconds", "listener": "By listener"}
SAMPLE = Path(models.__file__).parent / "sample"


class LabelRevenueParams(LazyModel):
    """Parameters of a label-revenue report."""

    model_config = ConfigDict(extra="forbid")

    start: FirstMonth = Field(json_schema_extra={"form": {"months_ago": 1}})
    end: LastMonth = Field(json_schema_extra={"form": {"months_ago": 1}})
    method: Literal["pool", "listener"] = Field(
        "pool",
        title="Method",
        json_schema_extra={
            "form": {"widget": "radio", "choices": [list(one) for one in METHODS.items()]}
        },
    )
    details: bool = Field(
        False,
        title="Also by track, territory and product type",
        description="Reads every stream of the months, so it takes longer.",
        json_schema_extra={"form": {"widget": "checkbox"}},
    )
    refresh: bool = Field(
        False,
        title="Compute again",
        description="Ignore stored months and replace them.",
        json_schema_extra={"form": {"widget": "checkbox"}},
    )

    @model_validator(mode="after")
    def _settle(self) -> LabelRevenueParams:
        check_months(self.start, self.end, newest=current_month(), most=MOST_MONTHS)
        return self


class LabelRevenue(ReportKind):
    """What each label is owed, by month, from streams and fees."""

    slug = SLUG
    title = "Label revenue"
    description = "What each label is owed for its streams, to the cent, by pool or by listener."
    Params = LabelRevenueParams
    kept_setting = "STREAMS_KEPT_MONTHS"
    forget_before = staticmethod(sums.forget_streams)

    def run(self, params: LabelRevenueParams, run: Run, context: Context) -> Result:
        months = months_between(params.start, params.end)
        run.set_total(len(months))
        if waiting := len(sums.pending(run.company_id)):
            run.log(f"Adding up {waiting} large batch{'es' if waiting > 1 else ''} first.")
        payer = payouts.payer(run.company_id, params.method, run.months, refresh=params.refresh)
        found = []
        for month in months:
            found.append(payer.month(month))
            run.advance(_line(found[-1]))
        result = _result(params, found, payouts.one_currency(found))
        if params.details:
            run.log("Reading the streams by track, territory and product type.")
            result.tables = {**result.tables, **detail_rows(run.company_id, found, result.head)}
        return result

    def describe(self, params: Mapping[str, Any]) -> str:
        return f"{_months(params)} {params.get('method', 'pool')}"

    def tables(self, head: Mapping[str, Any]) -> tuple[Table, ...]:
        nothing = "Nothing was streamed in these months."
        label, *figures, kind = label_columns(head)
        seconds, share, amount = figures
        shown = label, amount, share, replace(seconds, is_detail=True)
        month, note = Column("month", "Month", "month"), Column("note", "Note")
        reasons = (kind, Column("reason", "Reason"), Column("link", "Page"))
        rest = (replace(one, is_detail=True) for one in reasons)
        newest: Any = {"sort": "month", "descending": True}
        labels, own = (*shown, replace(kind, is_detail=True)), ("months", "label")
        tables = (
            Table("labels", "Labels", labels, nothing, "amount", True, opens_into=own),
            Table("months", "Months", (month, *shown, note, *rest), nothing, **newest),
        )
        if not head.get("details"):
            return tables
        track = (Column("track_id", "Track"), Column("title", "Title"), label)
        by = {
            "tracks": ("Tracks", track, [kind]),
            "territories": ("Territories", (Column("region", "Territory"),), []),
            "product_types": ("Product types", (Column("product_type", "Product type"),), []),
        }
        return tables + tuple(
            Table(name, title, (*first, *figures, *last), nothing, "seconds", descending=True)
            for name, (title, first, last) in by.items()
        )

    def total_row(self, table: str, result: StoredResult) -> Row | None:
        head = result.head
        if table == "months" or not next(iter(result.rows(table)), None):
            return None
        first = next(one for one in self.tables(head) if one.name == table).head_column
        minor = Decimal(head["to_labels"]) + Decimal(head["unallocated"])
        sums = {"seconds": head["seconds"], "share": 100 if head["seconds"] else None}
        return {first: "Total", **sums, "amount": minor, "kind": "total"}

    def answer(self, result: StoredResult) -> Answer:
        head, figures = result.head, self.figures(result.head)
        span, currency = _months(head), head["currency"]
        if not head["label_count"]:
            return Answer(f"Nothing is owed to a label for {span}.", figures)
        owned = (row for row in result.rows("labels") if row["kind"] == "label")
        most = max(owned, key=lambda row: row["amount"])
        labels = f"{head['label_count']:,} label{'' if head['label_count'] == 1 else 's'}"
        text = f"{Decimal(head['to_labels']):,} {currency} for {labels} in {span}"
        if head["label_count"] > 1:
            text += f"; the most, {_amount(most, currency):,} {currency}, for {most['label']}"
        if Decimal(head["unallocated"]):
            text += f". {Decimal(head['unallocated']):,} {currency} belong to no label"
        return Answer(f"{text}.", figures)

    def figures(self, head: Mapping[str, Any]) -> tuple[Figure, ...]:
        currency, method = head["currency"], METHOD_TEXTS[head["method"]]
        return (
            Figure("To labels", f"{head['to_labels']} {currency}", "text", method),
            Figure("Unallocated", f"{head['unallocated']} {currency}", "text"),
            Figure("Pool", f"{head['pool']} {currency}", "text", _adjusted(head)),
            Figure("Labels", head["label_count"], "integer"),
            Figure("Seconds", head["seconds"], "integer"),
            *(
                Figure("Most streamed", one, "text", "of all tracks")
                for one in head.get("most_streamed", ())
            ),
        )

    def charts(self, head: Mapping[str, Any]) -> tuple[Chart, ...]:
        return (
            Chart("labels", "label", (("Amount", "amount", "bar"), ("Seconds", "seconds", "bar"))),
        )

    def grid_row(self, table: str, row: Row, head: Mapping[str, Any]) -> Row:
        return row | {"amount": _amount(row, head["currency"])}

    def sheets(self, result: StoredResult) -> tuple[Sheet, ...]:
        method = result.head["method"]
        more = (Column("currency", "Currency"), Column("method", "Method"))
        return tuple(
            Sheet(
                "month" if table.name == "months" else table.name,
                f"{table.title} ({method})",
                (*table.columns, *more),
                _exact(result, table.name, self.total_row(table.name, result)),
            )
            for table in self.tables(result.head)
        )

    def downloads(self, report_id: str, head: Mapping[str, Any]) -> tuple[Download, ...]:
        if not head["label_count"]:
            return ()
        query = urlencode({"from": head["start"], "to": head["end"], "method": head["method"]})
        return (Download("Statements (ZIP)", f"/label-revenue/statement?{query}"),)

    def blueprints(self) -> tuple[Blueprint, ...]:
        from webapp.kinds.label_revenue import api, pages, payout_pages, uploads

        return (api.bp, pages.bp, payout_pages.bp, upload_pages(uploads.PAGES))

    def tasks(self) -> tuple[Task, ...]:
        from webapp.kinds.label_revenue import uploads

        return (*uploads.LOADER.tasks(), sums.ADD_UP)

    def seed_demo(self, company_id: str) -> str:
        names: dict[Role, str] = {
            "users": "users.csv",
            "streams": "streaming.csv",
            "tracks": "tracks.json",
        }
        sources = {role: Source(SAMPLE / name, name) for role, name in names.items()}
        loads.load(company_id, sources, Options(date_order="dmy"))
        return "the sample's listeners, streams and tracks are loaded, to report on."

    def data_span(self, scope: Scope) -> tuple[date, date] | None:
        months = months_due(scope.company_id)
        return (months[0], months[-1]) if months else None

    def first_step(self, scope: Scope) -> FirstStep | None:
        if self.data_span(scope):
            return None
        sentence = "There are no streams yet to report on."
        return FirstStep(sentence, "Load streams", "/label-revenue/load", blocks=False)

    def links(self, scope: Scope) -> tuple[tuple[str, str], ...]:
        links = [
            ("Months and loads", "/label-revenue"),
            ("Compare methods", "/label-revenue/compare"),
        ]
        if scope.may("admin"):
            links.append(("Load files", "/label-revenue/load"))
        return tuple(links)

    def names_of(self, scope: Scope, ids: AbstractSet[str]) -> Mapping[str, tuple[str, str]]:
        batch = models.Batch
        mine = (batch.company_id == scope.company_id) & batch.id.in_(ids)
        return {
            id: (f"load of {at:%Y-%m-%d}", f"/label-revenue?loadsq={id}#loads")
            for id, at in db.session.execute(select(batch.id, batch.created_at).where(mine))
        }

    def nightly(self) -> None:
        drop_expired_uploads(utcnow())
        drop_given_up()

    def commands(self) -> tuple[AppGroup, ...]:
        from webapp.kinds.label_revenue.commands import group

        return (group,)


def _line(one: MonthPayout) -> str:
    month = month_text(one.month)
    if not one.pays:
        return f"{month}: nothing streamed."
    state = " (locked)" if one.locked else " (stored)" if one.from_store else ""
    labels = sum(line.key.owned for line in one.payout.lines)
    pool = amount_text(one.payout.pool_minor, one.currency)
    return f"{month}: {pool} {one.currency} among {labels} labels{state}."


def _result(params: LabelRevenueParams, found: list[MonthPayout], currency: str) -> Result:
    by_month = [row for one in found for row in month_rows(one)]
    labels, unowned = payouts.totals(found)
    adjusted = sum(line.minor for one in found for line in one.adjustments)
    head = {
        "method": params.method,
        "start": month_text(params.start),
        "end": month_text(params.end),
        "currency": currency,
        "pool": amount_text(sum(one.payout.pool_minor for one in found), currency),
        "adjustments": amount_text(adjusted, currency),
        "to_labels": amount_text(sum(labels.values()), currency),
        "unallocated": amount_text(sum(unowned.values()), currency),
        "other_currencies": sorted({due.currency for _, due in payouts.foreign(found)}),
        "label_count": len(labels),
        "seconds": sum(line.seconds for one in found for line in one.payout.lines),
        "locked_months": [month_text(one.month) for one in found if one.locked],
        "details": params.details,
        "sources": {month_text(one.month): one.origin for one in found},
        "complete": True,
    }
    return Result(head, {"labels": label_rows(found, currency), "months": by_month})


def _exact(result: StoredResult, table: str, total: Row | None) -> Iterator[Row]:
    """Yield stored rows for files: amounts with exactly the digits of their currency."""
    currency, method = result.head["currency"], result.head["method"]
    for row in (*result.rows(table), *([total] if total else ())):
        yield row | {"amount": _amount(row, currency), "currency": currency, "method": method}


def _amount(row: Row, currency: str) -> Decimal | None:
    held = row["amount"]
    return None if held is None else Decimal(str(held)).quantize(amount(1, currency))


def _months(span: Mapping[str, Any]) -> str:
    return span_text(span["start"], span["end"])


def _adjusted(head: Mapping[str, Any]) -> str:
    if others := head.get("other_currencies"):
        return f"without adjustments in {', '.join(others)}, see the months"
    if Decimal(head["adjustments"]) == 0:
        return _months(head)
    return f"and {head['adjustments']} of earlier months"
