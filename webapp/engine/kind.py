"""What a kind of report is: the contract between the engine and `webapp/kinds/<slug>/`.

The engine, the pages and the API know a kind by these names only; its tables and the like are in
`engine/shapes.py`. A kind describes its parameters (a pydantic model), its tables and sheets, and
does its work in `run`, which is handed a `Run`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, ClassVar, Protocol

from flask import Blueprint
from flask.cli import AppGroup
from pydantic import BaseModel
from sqlalchemy import ColumnElement, true

from webapp.accounts import Scope
from webapp.engine.months import MonthStore as MonthStore
from webapp.engine.months import StoredValue as StoredValue
from webapp.engine.run import Run as Run
from webapp.engine.shapes import Answer as Answer
from webapp.engine.shapes import Chart as Chart
from webapp.engine.shapes import ChartSeries as ChartSeries
from webapp.engine.shapes import Column as Column
from webapp.engine.shapes import ColumnType as ColumnType
from webapp.engine.shapes import Download as Download
from webapp.engine.shapes import Estimate as Estimate
from webapp.engine.shapes import Explanation as Explanation
from webapp.engine.shapes import Figure as Figure
from webapp.engine.shapes import FirstStep as FirstStep
from webapp.engine.shapes import Result as Result
from webapp.engine.shapes import Row as Row
from webapp.engine.shapes import RowDetail as RowDetail
from webapp.engine.shapes import Sheet as Sheet
from webapp.engine.shapes import Table as Table
from webapp.engine.shapes import split_by as split_by
from webapp.errors import InvalidParams
from webapp.jobs import Job, Task
from webapp.lib.moments import utcnow
from webapp.lib.months import months_between


class StoredResult(Protocol):
    """A finished report's result, read back: its head, and rows of a table in their order."""

    company_id: str
    head: dict[str, Any]

    def rows(self, table: str) -> Iterator[Row]: ...


@dataclass(frozen=True)
class Context:
    """Settings and clients a kind may need, handed over by the engine."""

    config: Mapping[str, Any]
    redis: Any
    now: Callable[[], datetime] = field(repr=False, default=utcnow)
    # Counts for the operator's metrics: a name, then labels from short fixed lists.
    count: Callable[..., None] = field(repr=False, default=lambda *_labels, **_by: None)


class ReportKind:
    """Base of all kinds. A kind sets the class attributes and overrides what differs."""

    slug: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str] = ""
    Params: ClassVar[type[BaseModel]]
    secret_params: ClassVar[frozenset[str]] = frozenset()
    # Ways to get in, the parameters of each together: a retry may come by another one.
    credential_options: ClassVar[tuple[frozenset[str], ...]] = ()
    run_role: ClassVar[str] = "expert"
    # True where reports show what not everybody in the company may see: their maker alone does.
    personal: ClassVar[bool] = False
    # What stays of a report that is cancelled, for who is about to do so.
    kept_when_cancelled: ClassVar[str] = "The results so far are not kept."
    # The setting that says for how many months its facts are kept; empty: it keeps none of its own.
    kept_setting: ClassVar[str] = ""
    # True where a run calls a partner: its page shows the calls made and saved.
    asks_partner: ClassVar[bool] = False

    @property
    def retry_params(self) -> frozenset[str]:
        """Return the parameters a retry may bring anew; all others stay what they were."""
        return self.secret_params.union(*self.credential_options)

    def is_personal(self, scope: Scope) -> bool:
        """Return whether the caller finds only such reports as they made themselves."""
        return self.personal

    def readable(self, scope: Scope) -> ColumnElement[bool]:
        """Return which of the company's reports of this kind the caller may read."""
        return Job.user_id == scope.user_id if self.is_personal(scope) else true()

    def choices(self, scope: Scope) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """Return (value, label) pairs of select fields that depend on the caller's company."""
        return {}

    def fills(self, scope: Scope) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
        """Return what choices of select fields say of other fields: field, choice, other fields."""
        return {}

    def data_span(self, scope: Scope) -> tuple[date, date] | None:
        """Return the first and the last month with data, None where nobody can say.

        Of a partner this is what is stored of its months; it can be asked for earlier ones too.
        """
        return None

    def first_step(self, scope: Scope) -> FirstStep | None:
        """Return what has to be done before the first report, None once it is."""
        return None

    def missing_params(self, given: Mapping[str, Any], present: AbstractSet[str]) -> dict[str, str]:
        """Return a sentence for each parameter these need and lack, beside the required ones.

        given:   what was sent and is not empty, without secrets, unchecked
        present: the names of these and of the secrets that were sent
        """
        return {}

    def resolve_secrets(self, params: Any, scope: Scope, secrets: dict[str, str]) -> dict[str, str]:
        """Return the secrets to seal for the run; here a kind looks up stored credentials.

        Raises: InvalidParams when they are missing or not this company's
        """
        return secrets

    def size(self, params: Any) -> int:
        """Return about how large a report is: its months; a company's small ones come first."""
        start, end = getattr(params, "start", None), getattr(params, "end", None)
        return len(months_between(start, end)) if start and end else 1

    def estimate(
        self,
        params: Any,
        scope: Scope,
        context: Context,
        months: MonthStore,
        secrets: dict[str, str],
    ) -> Estimate:
        """Return what the run would cost; the default kind asks nobody."""
        return Estimate(calls=0, saved=0, seconds=0.0)

    def run(self, params: Any, run: Run, context: Context) -> Result:
        """Do the work and return the result."""
        raise NotImplementedError

    def describe(self, params: Mapping[str, Any]) -> str:
        """Return a few words that tell this report from others of its kind in a list."""
        return ""

    def tables(self, head: Mapping[str, Any]) -> tuple[Table, ...]:
        """Return the tables of a result with this head, the main one first."""
        raise NotImplementedError

    def figures(self, head: Mapping[str, Any]) -> tuple[Figure, ...]:
        """Return the figures shown on top of the result."""
        return ()

    def answer(self, result: StoredResult) -> Answer:
        """Return what a result says, with the figures on top of its page."""
        return Answer("", self.figures(result.head))

    def total_row(self, table: str, result: StoredResult) -> Row | None:
        """Return the row of totals that stands below a grid, never among its rows."""
        of_table = next(one for one in self.tables(result.head) if one.name == table)
        if not of_table.total:
            return None
        named = of_table.head_column
        return next((row for row in result.rows(table) if row[named] == of_table.total), None)

    def row_detail(self, table: str, row: Row, head: Mapping[str, Any]) -> RowDetail | None:
        """Return what a stored row opens to, where its table says that rows do."""
        return None

    def charts(self, head: Mapping[str, Any]) -> tuple[Chart, ...]:
        """Return the charts of a result."""
        return ()

    def chart_series(self, chart: Chart, result: StoredResult) -> tuple[ChartSeries, ...]:
        """Return further views of a chart that split its figure, such as by site."""
        return ()

    def downloads(self, report_id: str, head: Mapping[str, Any]) -> tuple[Download, ...]:
        """Return the files of a finished report that only this kind makes."""
        return ()

    def json_row(self, table: str, row: Row, head: Mapping[str, Any]) -> Row:
        """Return a stored row as the JSON document shows it."""
        return row

    def grid_row(self, table: str, row: Row, head: Mapping[str, Any]) -> Row:
        """Return a stored row as the grid shows it: one value per column of the table."""
        return row

    def sheets(self, result: StoredResult) -> tuple[Sheet, ...]:
        """Return the flat tables of CSV and XLSX; the first is the plain CSV, others by name."""
        return tuple(
            Sheet(table.name, table.title, table.columns, result.rows(table.name))
            for table in self.tables(result.head)
        )

    def sheet_as(self, result: StoredResult, layout: str, value: str) -> Sheet:
        """Return a table in another layout (`?layout=wide&value=…`).

        Raises: InvalidParams where the kind has no such layout
        """
        raise InvalidParams({"layout": "This result has no such layout."})

    def explain(self, result: StoredResult, query: Mapping[str, str]) -> Explanation:
        """Return where a value comes from; by default `row` and `column` of the main table.

        query: `row`, counted from 1, and `column`, or what else the kind knows
        Raises: InvalidParams with a sentence per parameter
        """
        table = self.tables(result.head)[0]
        if query.get("column") not in {column.name for column in table.columns}:
            raise InvalidParams({"column": "Name a column of this result."})
        number = query.get("row", "")
        rows = enumerate(result.rows(table.name), start=1)
        row = next((row for place, row in rows if str(place) == number), None)
        if row is None:
            raise InvalidParams({"row": "Give the number of a row, counted from 1."})
        shown = self.grid_row(table.name, row, result.head)
        return Explanation(shown.get(query["column"]), "computed", result.head.get("generated_at"))

    def blueprints(self) -> tuple[Blueprint, ...]:
        """Return blueprints of addresses that only this kind has."""
        return ()

    def tasks(self) -> tuple[Task, ...]:
        """Return what workers do for this kind beside its reports (`webapp/jobs/`)."""
        return ()

    def seed_demo(self, company_id: str) -> str:
        """Give the demo's company sample data to look at; done twice, nothing new.

        Returns: a sentence for the terminal, empty where the kind brings no data of its own
        """
        return ""

    def links(self, scope: Scope) -> tuple[tuple[str, str], ...]:
        """Return (label, address) of pages only this kind has, shown on its card to who may."""
        return ()

    def names_of(self, scope: Scope, ids: AbstractSet[str]) -> Mapping[str, tuple[str, str]]:
        """Return (name, address) of what ids stand for in this kind's data, for the audit log."""
        return {}

    def commands(self) -> tuple[AppGroup, ...]:
        """Return command groups that only this kind has."""
        return ()

    def on_report_deleted(self, report_id: str) -> None:
        """Remove what a report that somebody deleted has outside of the database.

        Its rows are gone by then. What cannot be removed now, and what belonged to reports that
        expired, is for `nightly`.
        """

    def run_maintenance(self) -> None:
        """Do small upkeep that must not wait, within about a second; called every few seconds."""

    def nightly(self) -> None:
        """Do large upkeep; called once a night, in a job of a worker."""

    def forget_before(self, month: date) -> Iterator[int]:
        """Forget the facts before a month, or roll them up; yield after each step that commits.

        Called at night where `kept_setting` says so (`engine/retention.py`).
        """
        raise NotImplementedError
