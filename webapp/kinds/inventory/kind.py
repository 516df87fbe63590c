"""inventory as the engine sees it: parameters, tables, figures, chart, files, upkeep, its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from flask import current_app, url_for
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
    Run,
    StoredResult,
    Table,
)
from webapp.errors import InvalidParams, NotFound
from webapp.extensions import db
from webapp.files import FileObject, sweep
from webapp.intake import drop_expired_uploads, upload_pages
from webapp.kinds.inventory import (
    client_api,
    data_api,
    demo,
    factors_api,
    files,
    flow_api,
    ingest,
    measurements_api,
    pages,
)
from webapp.kinds.inventory.compute import TOTAL
from webapp.kinds.inventory.entries import forget_periods
from webapp.kinds.inventory.making import make_report
from webapp.kinds.inventory.models import Period, Unit
from webapp.kinds.inventory.params import LABELS, InventoryParams
from webapp.kinds.inventory.places import find_period, find_unit, list_periods, read_tree
from webapp.kinds.inventory.tabular import CATEGORY_COLUMNS, KG, SCOPE_COLUMNS, UNIT_COLUMNS
from webapp.lib.moments import utcnow

if TYPE_CHECKING:
    from flask import Blueprint
    from flask.cli import AppGroup

    from webapp.accounts import Scope
    from webapp.jobs import Task

MOST_CHOICES = 2000
COMPARISON = {"base", "change", "change_percent"}


class Inventory(ReportKind):
    """Greenhouse gas emissions of a unit in a period, as files that agree."""

    slug = "inventory"
    title = "Inventory"
    description = (
        "Greenhouse gas emissions of a unit in a period, as workbooks, PDF and data that agree."
    )
    Params = InventoryParams
    kept_setting = "INVENTORY_KEPT_MONTHS"

    def choices(self, scope: Scope) -> Mapping[str, tuple[tuple[str, str], ...]]:
        periods = tuple((one.id, one.short_name) for one in list_periods(scope.company_id))
        units = [
            (unit.id, "\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}" * depth + unit.name)
            for unit, depth in read_tree(scope.company_id).walk()[:MOST_CHOICES]
        ]
        return {
            "period": periods or (("", "There is no period yet"),),
            "base_period": (("", "None"), *periods),
            "unit": tuple(units),
            "types": tuple(LABELS.items()),
        }

    def names_of(self, scope: Scope, ids: AbstractSet[str]) -> Mapping[str, tuple[str, str]]:
        named: dict[str, tuple[str, str]] = {}
        for where, row, name in (
            ("units", Unit, Unit.name),
            ("periods", Period, Period.short_name),
        ):
            mine = (row.company_id == scope.company_id) & row.id.in_(ids)
            for id, text in db.session.execute(select(row.id, name).where(mine)):
                named[id] = (text, f"/inventory?{where}q={id}#{where}")
        return named

    def first_step(self, scope: Scope) -> FirstStep | None:
        if list_periods(scope.company_id):
            return None
        return FirstStep("There is no reporting period yet.", "Make a period", "/inventory")

    def resolve_secrets(
        self, params: InventoryParams, scope: Scope, secrets: dict[str, str]
    ) -> dict[str, str]:
        errors = {}
        finders = {"period": find_period, "base_period": find_period, "unit": find_unit}
        for name, find in finders.items():
            wanted = getattr(params, name)
            try:
                if wanted is not None:
                    find(scope.company_id, wanted)
            except NotFound as error:
                errors[name] = error.message
        if errors:
            raise InvalidParams(errors)
        return secrets

    def run(self, params: InventoryParams, run: Run, context: Context) -> Result:
        return make_report(params, run)

    def describe(self, params: Mapping[str, Any]) -> str:
        return str(params["name"])

    def tables(self, head: Mapping[str, Any]) -> tuple[Table, ...]:
        nothing = "There are no entries in this period and unit."
        left_out = {"depth", "id"} | (set() if head["base_period"] else COMPARISON)

        def shown(columns: tuple[Column, ...]) -> tuple[Column, ...]:
            return tuple(replace(one, is_detail=one.name in left_out) for one in columns)

        return (
            Table("scopes", "Emissions by scope", shown(SCOPE_COLUMNS), nothing, total=TOTAL),
            Table("units", "Emissions by unit", shown(UNIT_COLUMNS), nothing),
            Table(
                "categories",
                "Emissions by category",
                shown(CATEGORY_COLUMNS),
                nothing,
                sort="emissions",
                descending=True,
                head="name",
            ),
        )

    def answer(self, result: StoredResult) -> Answer:
        head, figures = result.head, self.figures(result.head)
        whole, where = head["emissions"], f"{head['unit']['name']} in {head['period']['name']}"
        if not whole:
            return Answer(f"No emissions of {where}.", figures)
        scope, most = max(head["by_scope"].items(), key=lambda one: one[1])
        text = f"{whole / 1000:,.1f} t CO2e of {where}, {most / whole:.0%} of it scope {scope[-1]}"
        if head["base_period"] and head["base_emissions"]:
            change = whole / head["base_emissions"] - 1
            than = head["base_period"]["name"]
            moved = f"{abs(change):.1%} {'more' if change > 0 else 'less'} than"
            text += f"; {moved if round(abs(change), 3) else 'as much as'} in {than}"
        return Answer(f"{text}.".replace("%", " %"), figures)

    def figures(self, head: Mapping[str, Any]) -> tuple[Figure, ...]:
        base = head["base_period"]
        return (
            Figure(f"Emissions ({KG})", head["emissions"], "decimal", head["period"]["name"]),
            *(
                Figure(f"Scope {scope} ({KG})", head["by_scope"][f"scope_{scope}"], "decimal")
                for scope in (1, 2, 3)
            ),
            *(
                [Figure(f"Base period ({KG})", head["base_emissions"], "decimal", base["name"])]
                if base
                else []
            ),
            Figure("Entries", head["rows"], "integer", head["unit"]["name"]),
        )

    def charts(self, head: Mapping[str, Any]) -> tuple[Chart, ...]:
        views: list[Any] = [("Emissions", "emissions", "bar")]
        if head["base_period"]:
            views += [("Base period", "base", "bar"), ("Change", "change", "bar")]
        return (
            Chart("scopes", "name", tuple(views), leave_out=frozenset({TOTAL})),
            Chart("units", "name", (("Own entries", "own", "bar"), ("In all", "emissions", "bar"))),
        )

    def downloads(self, report_id: str, head: Mapping[str, Any]) -> tuple[Download, ...]:
        return tuple(
            Download(
                LABELS[made["type"]],
                url_for(
                    "inventory.download_file",
                    report_id=report_id,
                    kind=made["type"],
                    format=made["format"].lower(),
                ),
                made["size_bytes"],
            )
            for made in head["files"]
        )

    def tasks(self) -> tuple[Task, ...]:
        return ingest.LOADER.tasks()

    def blueprints(self) -> tuple[Blueprint, ...]:
        flow = (flow_api.bp, flow_api.files_bp, client_api.bp, factors_api.bp, measurements_api.bp)
        return (*flow, data_api.bp, pages.bp, upload_pages(ingest.PAGES))

    def seed_demo(self, company_id: str) -> str:
        counted = demo.make_demo(company_id)
        return f"{sum(counted.values()):,} made-up entries in two periods, to report on."

    def links(self, scope: Scope) -> tuple[tuple[str, str], ...]:
        pages_of = [("Periods, units and entries", "/inventory")]
        if scope.may("admin"):
            pages_of.append(("Upload entries", "/inventory/upload"))
        return tuple(pages_of)

    def commands(self) -> tuple[AppGroup, ...]:
        return (demo.group,)

    def on_report_deleted(self, report_id: str) -> None:
        sweep(FileObject.report_id == report_id)

    def nightly(self) -> None:
        kept = timedelta(days=current_app.config["INVENTORY_FILES_KEPT_DAYS"])
        files.drop_expired_files(utcnow(), kept)
        drop_expired_uploads(utcnow())

    def forget_before(self, month: date) -> Iterator[int]:
        return forget_periods(month)
