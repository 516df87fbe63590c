"""The tables of a partner-use report: as grids, as JSON, as flat sheets for CSV and XLSX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from webapp.engine.kind import ReportKind, StoredResult
from webapp.engine.shapes import Chart, ChartSeries, Column, Row, RowDetail, Sheet, Table
from webapp.errors import InvalidParams
from webapp.kinds.partner_use.compute import difference, known_text, site_months
from webapp.lib.months import parse_month

SITE_COLUMNS = (
    Column("site_id", "Site ID", "id"),
    Column("name", "Name"),
    Column("api_key", "API key", is_detail=True, is_internal=True),
    Column("data_center", "Data centre", is_detail=True, help="Data centre of the site."),
    Column("is_child", "Child site", "boolean", is_detail=True),
    Column(
        "account_count",
        "Accounts",
        "integer",
        help="Accounts of the site now; accounts of a child site are counted at its parent.",
    ),
    Column(
        "last_login",
        "Last login",
        "datetime",
        help="When somebody last signed in to an account of the site.",
    ),
    Column(
        "last_created",
        "Last creation",
        "datetime",
        help="When the newest account of the site was created.",
    ),
    Column("problem", "Problem"),
)
GROUP_COLUMNS = (
    Column("children", "Children", "integer", is_detail=True),
    Column("services", "Services", is_detail=True),
)
NEWEST_COLUMN = Column("newest", "Newest")
SERVICE_NAMES = {"identity_store": "identity store", "data_store": "data store", "sso": "SSO"}
MONTH_COLUMNS = (
    Column("month", "Month", "month"),
    Column("total_users", "Total users", "integer"),
    Column("delta", "Delta", "integer"),
)
KNOWN_COLUMNS = (
    Column(
        "known_users",
        "Known users",
        "integer",
        is_detail=True,
        help="Users of the sites that could be counted.",
    ),
    Column("sites_counted", "Sites counted", "integer", is_detail=True),
    Column("sites", "Sites", "integer", is_detail=True),
)
MONTH_GRID = (
    *MONTH_COLUMNS,
    Column(
        "complete",
        "Complete",
        "boolean",
        is_detail=True,
        help="Every site could be counted for this month.",
    ),
    *KNOWN_COLUMNS,
    Column("counted_at", "Oldest count", "datetime", is_detail=True),
    Column(
        "mixed_ages",
        "Counted on different days",
        "boolean",
        is_detail=True,
        help="The two ends of the delta were counted more than a day apart.",
    ),
    Column("note", "Note"),
)
GROWTH_COLUMNS = (
    Column(
        "before",
        "Users before",
        "integer",
        help="Users at the end of the month before the first one.",
    ),
    Column("after", "Users at the end", "integer", help="Users at the end of the last month."),
    Column("growth", "Growth", "integer", help="Users at the end minus users before."),
)
MONTH_SITE_GRID = (
    *SITE_COLUMNS[:2],
    Column("is_child", "Child site", "boolean", is_detail=True),
    *GROUP_COLUMNS,
    *GROWTH_COLUMNS,
    Column("problem", "Problem"),
)
SITE_MONTH_COLUMNS = (MONTH_COLUMNS[0], *MONTH_SITE_GRID[:2], *MONTH_COLUMNS[1:])
CHART = Chart(
    "months",
    "month",
    (("Overall", "total_users", "line"), ("Delta", "delta", "bar")),
    open="running",
)
ODD_COLUMNS = (
    Column("running", "Not over", "boolean"),
    Column("decreased", "Fewer than before", "boolean"),
)
# What a stored row of a site has beside what readers see.
COMPACT = frozenset({"asked_at", "counted", "totals", "origin", "origins"})


class PartnerUseTables(ReportKind):
    """What a partner-use result looks like: grids, charts, JSON, flat sheets for CSV and XLSX."""

    def tables(self, head: Mapping[str, Any]) -> tuple[Table, ...]:
        """Return the tables of a result, the main one first."""
        nothing = "This partner has no sites that the key may see."
        in_summary = (*SITE_COLUMNS[:-1], NEWEST_COLUMN, *GROUP_COLUMNS)
        site_columns = {
            "summary": (*in_summary, SITE_COLUMNS[-1]),
            "monthly": MONTH_SITE_GRID,
            "both": (*SITE_COLUMNS[:-1], *GROWTH_COLUMNS, *GROUP_COLUMNS, SITE_COLUMNS[-1]),
        }[head["mode"]]
        sites = Table(
            "sites",
            "Sites",
            site_columns,
            nothing,
            # What could not be counted comes first.
            sort="problem",
            head="name",
            remark="problem",
            problem=True,
            folded="is_child",
            parent=("parent_api_key", "api_key"),
            opens="start" in head,
            explained=frozenset({"account_count", "before", "after", "growth"}),
            row_key=("site", "api_key"),
        )
        if "start" not in head:
            return (sites,)
        months = Table(
            "months",
            "Months",
            MONTH_GRID,
            nothing,
            sort="month",
            descending=True,
            remark="note",
            explained=frozenset({"total_users", "delta", "known_users"}),
            row_key=("month", "key"),
        )
        return (months, sites)

    def total_row(self, table: str, result: StoredResult) -> Row | None:
        """Return the row of totals below the sites; a total with a hole is a hole."""
        if table != "sites":
            return None
        head = result.head
        total: Row = {"name": "Total", "problem": None}
        if "summary" in head:
            names = ("account_count", "last_login", "last_created")
            total |= {name: head["summary"][name] for name in names}
        if "start" in head:
            months = list(result.rows("months"))
            before = difference(months[0]["total_users"], months[0]["delta"])
            total |= _growth(before, months[-1]["total_users"])
        total["complete"] = all(
            total[name] is not None for name in ("account_count", "after") if name in total
        )
        return total

    def row_detail(self, table: str, row: Row, head: Mapping[str, Any]) -> RowDetail | None:
        """Return a site's own months, newest first, and their chart."""
        if table != "sites" or "start" not in head:
            return None
        running = head["generated_at"][:7]
        months = tuple(
            grid_month(one | {"running": one["month"] == running})
            for one in reversed(site_months(row, *_span(head)))
        )
        nothing = "This site is not counted month by month."
        columns = (*MONTH_COLUMNS, Column("note", "Note"))
        shown = Table(
            "months", "Months", columns, nothing, sort="month", descending=True, remark="note"
        )
        return RowDetail(row["name"], shown, months, CHART)

    def charts(self, head: Mapping[str, Any]) -> tuple[Chart, ...]:
        return (CHART,) if "start" in head else ()

    def chart_series(self, chart: Chart, result: StoredResult) -> tuple[ChartSeries, ...]:
        """Return the users of each counted site by the months of the chart, as one further view."""
        labels = [grid_month(row)["month"] for row in result.rows("months")]
        span = _span(result.head)
        users = {
            row["name"]: dict(
                zip(labels, (one["total_users"] for one in site_months(row, *span)), strict=False)
            )
            for row in result.rows("sites")
            if row["counted"]
        }
        return (ChartSeries("By site", "", users),) if len(users) > 1 else ()

    def json_row(self, table: str, row: Row, head: Mapping[str, Any]) -> Row:
        """Return a stored row of a site as the JSON document shows it."""
        if table != "sites":
            return row
        shown = {name: value for name, value in row.items() if name not in COMPACT}
        if head["mode"] == "summary":
            return shown
        if head["mode"] == "monthly":
            shown = {k: v for k, v in shown.items() if k not in {"api_key", "parent_api_key"}}
        return shown | {"months": site_months(row, *_span(head))}

    def grid_row(self, table: str, row: Row, head: Mapping[str, Any]) -> Row:
        """Return a stored row of a month with notes, of a site with its growth over them all."""
        if table != "sites":
            return grid_month(row)
        shown = _site_in_words(row)
        if "start" not in head:
            return shown
        ends = row["totals"] or [None]
        return shown | _growth(ends[0], ends[-1])

    def sheets(self, result: StoredResult) -> tuple[Sheet, ...]:
        """Return the flat tables; columns beyond the fixed ones only where something is odd."""
        found: list[Sheet] = []
        head = result.head
        if "start" in head:
            # What is known of holes, which month is not over, which has fewer than the one before.
            months = list(result.rows("months"))
            has_holes = any(row["total_users"] is None for row in months)
            known = KNOWN_COLUMNS if has_holes else ()
            odd = (
                *known,
                *(one for one in ODD_COLUMNS if any(row.get(one.name) for row in months)),
            )
            found += [
                Sheet("month", "Months", MONTH_COLUMNS, result.rows("months"), odd),
                Sheet(
                    "site", "Months by site", (*SITE_MONTH_COLUMNS, *odd), _months_by_site(result)
                ),
            ]
        if "summary" in head:
            beside = (NEWEST_COLUMN, *GROUP_COLUMNS)
            found.append(Sheet("sites", "Sites", SITE_COLUMNS, _sites_and_total(result), beside))
        return tuple(found)

    def sheet_as(self, result: StoredResult, layout: str, value: str) -> Sheet:
        """Return a row a month with a column of their sum, and one of each counted site.

        value: `total_users` or `delta`
        """
        if layout != "wide" or "start" not in result.head:
            raise InvalidParams({"layout": "The only layout of months is `wide`."})
        value = value or "total_users"
        if value not in {"total_users", "delta"}:
            raise InvalidParams({"value": "Choose total_users or delta."})
        span = _span(result.head)
        rows = [
            {"month": row["month"], "total": row[value], "running": row["running"]}
            for row in result.rows("months")
        ]
        columns: dict[str, Column] = {}
        for site in result.rows("sites"):
            if not site["counted"]:
                continue
            label = f"{site['name']} ({site['site_id']})"
            label = f"{label} {site['api_key']}" if label in columns else label
            columns[label] = Column(label, label, "integer")
            for row, month in zip(rows, site_months(site, *span), strict=False):
                row[label] = month[value]
        first = (Column("month", "Month", "month"), Column("total", "Total", "integer"))
        return Sheet(f"wide-{value}", "Months, wide", (*first, *columns.values()), rows)


def _site_in_words(row: Row) -> Row:
    """Return a stored row of a site with its lists as words, for grids and workbooks."""
    services = row.get("services")
    on = None if services is None else ", ".join(SERVICE_NAMES.get(one, one) for one in services)
    newest = " and ".join(row.get("newest") or ()) or None
    return row | {"services": "none" if on == "" else on, "newest": newest}


def _growth(before: int | None, after: int | None) -> Row:
    return {"before": before, "after": after, "growth": difference(after, before)}


def grid_month(row: Row) -> Row:
    """Return a row of a month, marked in grid and chart, with a note on what is odd in it."""
    notes = []
    if row["total_users"] is None and "known_users" in row:
        notes.append(known_text(row))
    if (row["delta"] or 0) < 0:
        notes.append("fewer than the month before: accounts were deleted")
    if row.get("mixed_ages"):
        notes.append("counted on different days")
    month = f"{row['month']} (not over)" if row["running"] else row["month"]
    return row | {"key": row["month"], "month": month, "note": "; ".join(notes) or None}


def _span(head: Mapping[str, Any]) -> tuple[date, date]:
    return parse_month(head["start"]), parse_month(head["end"])


def _sites_and_total(result: StoredResult) -> Iterator[Row]:
    yield from map(_site_in_words, result.rows("sites"))
    summary = result.head["summary"]
    whole = summary["account_count"] is not None
    problem = None if whole else f"No total: {known_text(summary)}."
    yield summary | {"site_id": "TOTAL", "problem": problem}


def _months_by_site(result: StoredResult) -> Iterator[Row]:
    start, end = _span(result.head)
    months = {row["month"]: row for row in result.rows("months")}
    for row in result.rows("sites"):
        site = {"site_id": row["site_id"], "name": row["name"]}
        for month in site_months(row, start, end):
            fewer = {"decreased": (month["delta"] or 0) < 0}
            yield months[month["month"]] | month | site | fewer
