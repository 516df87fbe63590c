"""project-storage as the engine sees it: parameters, tables, figures, chart, upkeep, its run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

from webapp.engine.kind import (
    Answer,
    Chart,
    ChartSeries,
    Column,
    Context,
    Figure,
    ReportKind,
    Result,
    Row,
    Run,
    Sheet,
    StoredResult,
    Table,
    split_by,
)
from webapp.engine.shapes import ChartView
from webapp.errors import InvalidParams
from webapp.kinds.project_storage import (
    api,
    commands,
    counting,
    demo,
    manage_pages,
    pages,
    project_api,
    tasks,
)
from webapp.kinds.project_storage.growth import in_unit, make_growth
from webapp.kinds.project_storage.overview import WARN_AT, first_month, projects_seen
from webapp.kinds.project_storage.params import ProjectStorageParams
from webapp.kinds.project_storage.rolling_up import SLUG, roll_up
from webapp.lib.months import current_month, span_text

if TYPE_CHECKING:
    from flask import Blueprint
    from flask.cli import AppGroup

    from webapp.accounts import Scope
    from webapp.jobs import Task

log = logging.getLogger(__name__)

MOST_CHOICES = 1000
WARNINGS_SHOWN = 3


MONTH = Column("month", "Month", "month")
PROJECT = Column("project", "Project")
PROJECT_ID = Column("project_id", "Project ID", "id", is_detail=True)
HELD = (
    ("active_file_versions", "active versions", ""),
    ("active_bytes", "active", "bytes"),
    ("trash_file_versions", "versions in trash", ""),
    ("trash_bytes", "trash", "bytes"),
)
BYTES = (
    *(Column(name, what.capitalize(), "integer", unit) for name, what, unit in HELD),
    *(Column(f"{name}_delta", f"Growth of {what}", "integer", unit) for name, what, unit in HELD),
    Column(
        "active_byte_months",
        "Active over the month",
        "integer",
        "byte-months",
        help="Bytes stored on average over the month.",
    ),
    Column("trash_byte_months", "Trash over the month", "integer", "byte-months"),
)


def _sizes(unit: str) -> tuple[Column, ...]:
    return (
        Column(
            "active_size",
            "Active",
            "decimal",
            unit,
            help="Stored at the end of the month, in all file versions that are not in the trash.",
        ),
        Column(
            "trash_size",
            "Trash",
            "decimal",
            unit,
            help="Stored in the trash at the end of the month; it counts until it is emptied.",
        ),
    )


def _tables_of_today(unit: str) -> tuple[Table, ...]:
    """Return the tables of what is held now, and by how much it grew."""

    def size(name: str, label: str) -> tuple[Column, Column]:
        exact = Column(f"{name}_bytes", label, "integer", "bytes", is_detail=True)
        return Column(f"{name}_size", label, "decimal", unit), exact

    grown, active, trash = size("grown", "Grown"), size("active", "Active"), size("trash", "Trash")
    projects = (
        *(PROJECT, *size("held", "Held"), *grown, *size("quota", "Quota")),
        Column("quota_used", "Quota used", "decimal", "%"),
        Column("full_in", "Full in, at this pace", "month"),
        *(*active, *trash, Column("oldest_trash", "Oldest trash", "month"), PROJECT_ID),
    )
    share = Column("share", "Share of active", "decimal", "%")
    providers = (Column("provider", "Provider"), *active, *grown, *trash, share)
    uploaders = (Column("uploader", "Uploader"), *grown)
    age = (Column("since", "Since", "month"), Column("months", "Age", "integer", "months"))
    versions = Column("trash_file_versions", "Versions in trash", "integer", is_detail=True)
    lying = (PROJECT, *age, *trash, versions, PROJECT_ID)
    return (
        Table(
            *("projects", "Projects now", projects),
            sort="held_size",
            descending=True,
            opens_into=("growth", "project_id"),
        ),
        Table("providers", "Providers now", providers, sort="active_size", descending=True),
        Table("uploaders", "Growth by uploader", uploaders, sort="grown_size", descending=True),
        Table("trash", "What lies in the trash", lying, "The trash is empty.", "since"),
    )


class ProjectStorage(ReportKind):
    """Growth of the caller's projects by month."""

    slug = SLUG
    title = "Project storage"
    description = (
        "What projects store, active and in the trash: growth by month in bytes and versions."
    )
    Params = ProjectStorageParams
    kept_setting = "STORAGE_EVENTS_KEPT_MONTHS"
    # It shows projects that only their members may see, so it is its maker's alone.
    personal = True
    # What a project holds is its members' to see, whatever they may do in the company.
    run_role = "viewer"

    def choices(self, scope: Scope) -> Mapping[str, tuple[tuple[str, str], ...]]:
        whole = scope.may("admin")
        seen = projects_seen(scope.company_id, scope.user_id, whole=whole, limit=MOST_CHOICES)
        return {"project": (("", "All my projects"), *((one.id, one.name) for one in seen))}

    def resolve_secrets(
        self, params: ProjectStorageParams, scope: Scope, secrets: dict[str, str]
    ) -> dict[str, str]:
        whole = params.whose == "company"
        if whole and not scope.may("admin"):
            raise InvalidParams({"whose": "Only admins of the company look at all its projects."})
        if params.project is not None and not projects_seen(
            scope.company_id, scope.user_id, whole=whole, project_id=str(params.project)
        ):
            raise InvalidParams({"project": "You have no role in such a project."})
        return secrets

    def data_span(self, scope: Scope) -> tuple[date, date] | None:
        first = first_month(scope.company_id, scope.user_id, whole=scope.may("admin"))
        return (first, current_month()) if first else None

    def names_of(self, scope: Scope, ids: AbstractSet[str]) -> Mapping[str, tuple[str, str]]:
        seen = projects_seen(scope.company_id, scope.user_id, whole=scope.may("admin"))
        return {
            one.id: (one.name, f"/project-storage/projects/{one.id}")
            for one in seen
            if one.id in ids
        }

    def run(self, params: ProjectStorageParams, run: Run, context: Context) -> Result:
        return make_growth(params, run, context)

    def describe(self, params: Mapping[str, Any]) -> str:
        every = "all projects" if params.get("whose") == "company" else "all my projects"
        what = f"project {params['project']}" if params.get("project") else every
        return f"{what} {span_text(params['start'], params['end'])}"

    def tables(self, head: Mapping[str, Any]) -> tuple[Table, ...]:
        # On the page the sizes people read come first; files begin with the exact bytes.
        unit, nothing = head["unit"], "You have no role in any project yet."
        grown = (
            Column(
                "active_growth",
                "Growth",
                "decimal",
                unit,
                help="Active at the end of the month minus active at its beginning.",
            ),
            Column("trash_growth", "Growth of trash", "decimal", unit, is_detail=True),
        )
        exact = (replace(one, is_detail=True) for one in BYTES)
        numbers = (*_sizes(unit), *grown, *exact)
        newest: Any = {"sort": "month", "descending": True}
        by_project = (MONTH, PROJECT, *numbers, PROJECT_ID)
        tables = (
            Table("growth", "Growth by project", by_project, nothing, **newest),
            Table("months", "Growth in all", (MONTH, *numbers), nothing, **newest),
        )
        # A report made before these were asked has none of them.
        return (*tables, *_tables_of_today(unit)) if "whose" in head else tables

    def grid_row(self, table: str, row: Row, head: Mapping[str, Any]) -> Row:
        if table not in {"growth", "months"}:
            return row
        grown = {
            f"{what}_growth": in_unit(row[f"{what}_bytes_delta"], head["unit"])
            for what in ("active", "trash")
        }
        return row | grown

    def sheets(self, result: StoredResult) -> tuple[Sheet, ...]:
        numbers = (*BYTES, *_sizes(result.head["unit"]))
        shown = {
            "growth": (MONTH, PROJECT_ID, PROJECT, *numbers),
            "months": (MONTH, *numbers),
        }
        return tuple(
            Sheet(
                table.name,
                table.title,
                shown.get(table.name, table.columns),
                result.rows(table.name),
            )
            for table in self.tables(result.head)
        )

    def figures(self, head: Mapping[str, Any]) -> tuple[Figure, ...]:
        now, unit = head["held"], head["unit"]
        grown = now["active_bytes"] - head["opening_active_bytes"]
        return (
            Figure(f"Active ({unit})", in_unit(now["active_bytes"], unit), "decimal", head["end"]),
            Figure(f"Trash ({unit})", in_unit(now["trash_bytes"], unit), "decimal", head["end"]),
            Figure(f"Grown ({unit})", in_unit(grown, unit), "decimal", f"since {head['start']}"),
            Figure("Active versions", now["active_file_versions"]),
            Figure("Projects", head["projects"]),
            *self._of_today(head),
        )

    def _of_today(self, head: Mapping[str, Any]) -> Iterator[Figure]:
        if "whose" not in head:
            return
        yield Figure(
            f"Emptying the trash frees ({head['unit']})",
            in_unit(head["frees"], head["unit"]),
            "decimal",
        )
        if head["company"]:
            full = head["company"]["full_in"]
            note = f"full in {full} at this pace" if full else ""
            yield Figure("Company's quota used (%)", head["company"]["quota_used"], "decimal", note)
        yield Figure(f"Quotas used to {WARN_AT} %", len(head["warnings"]))

    def answer(self, result: StoredResult) -> Answer:
        head, figures = result.head, self.figures(result.head)
        if not head["projects"]:
            return Answer("You have no role in any project.", figures)
        unit, now, before = head["unit"], head["held"]["active_bytes"], head["opening_active_bytes"]
        grown = now - before
        share = f" ({grown / before:+.0%})".replace("%", " %") if before else ""
        verb = "grew" if grown >= 0 else "shrank"
        projects = f"{head['projects']:,} project{'' if head['projects'] == 1 else 's'}"
        first, last = head["start"], head["end"]
        when = f"in {first}" if first == last else f"from {first} to {last}"
        sentence = (
            f"{projects} {verb} by {in_unit(abs(grown), unit):,} {unit}{share} {when}, "
            f"to {in_unit(now, unit):,} {unit} active and "
            f"{in_unit(head['held']['trash_bytes'], unit):,} {unit} in the trash."
        )
        return Answer(" ".join([sentence, *head.get("warnings", [])[:WARNINGS_SHOWN]]), figures)

    def charts(self, head: Mapping[str, Any]) -> tuple[Chart, ...]:
        views: tuple[ChartView, ...] = (
            ("Active size", "active_size", "line"),
            ("Trash size", "trash_size", "line"),
            ("Growth", "active_growth", "bar"),
            ("Versions", "active_file_versions", "line"),
        )
        return (Chart("months", "month", views),)

    def chart_series(self, chart: Chart, result: StoredResult) -> tuple[ChartSeries, ...]:
        rows, unit = result.rows("growth"), result.head["unit"]
        return (split_by("By project", rows, "project", "month", "active_size", unit),)

    def seed_demo(self, company_id: str) -> str:
        taken = demo.make_demo(company_id)
        return f"{taken} file events of a year in three projects." if taken else ""

    def blueprints(self) -> tuple[Blueprint, ...]:
        return (
            api.bp,
            api.feeding,
            project_api.bp,
            project_api.tokens,
            pages.bp,
            manage_pages.bp,
        )

    def links(self, scope: Scope) -> tuple[tuple[str, str], ...]:
        return (("My storage", "/project-storage"),)

    def commands(self) -> tuple[AppGroup, ...]:
        return (commands.group,)

    def tasks(self) -> tuple[Task, ...]:
        return (tasks.COUNT, tasks.PURGE, tasks.RECOUNT)

    def run_maintenance(self) -> None:
        tasks.count_overdue()

    def forget_before(self, month: date) -> Iterator[int]:
        return roll_up(month)

    def nightly(self) -> None:
        for project_key, drift in counting.recount_all():
            for one in drift:
                log.warning("drift put right: %s", commands.sentence(project_key, one))
