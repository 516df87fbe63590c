"""partner-use as the engine sees it: parameters, tables, figures, charts, sheets, and its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from typing import TYPE_CHECKING, Any

from webapp.engine.kind import (
    Chart,
    Column,
    Context,
    Estimate,
    Figure,
    MonthStore,
    ReportKind,
    Result,
    Row,
    Run,
    Sheet,
    StoredResult,
    Table,
)
from webapp.extensions import db
from webapp.kinds.partner_use import connections
from webapp.kinds.partner_use.compute import site_months
from webapp.kinds.partner_use.discovery import discover_sites, session_of
from webapp.kinds.partner_use.estimate import estimate_calls
from webapp.kinds.partner_use.monthly import Monthly
from webapp.kinds.partner_use.params import NEEDED_MONTHS, PartnerUseParams
from webapp.kinds.partner_use.site_configs import SiteConfigCache
from webapp.kinds.partner_use.summary import make_summary
from webapp.lib.months import parse_month

if TYPE_CHECKING:
    from flask import Blueprint

    from webapp.accounts import Scope

SITE_COLUMNS = (
    Column("site_id", "Site ID", "id"),
    Column("name", "Name"),
    Column("api_key", "API key"),
    Column("data_center", "Data centre"),
    Column("is_child", "Child site", "boolean"),
    Column("account_count", "Accounts", "integer"),
    Column("last_login", "Last login", "datetime"),
    Column("last_created", "Last creation", "datetime"),
    Column("problem", "Problem"),
)
MONTH_COLUMNS = (
    Column("month", "Month", "month"),
    Column("total_users", "Total users", "integer"),
    Column("delta", "Delta", "integer"),
)
MONTH_GRID = (
    *MONTH_COLUMNS,
    Column("complete", "Complete", "boolean"),
    Column("counted_at", "Oldest count", "datetime"),
    Column("mixed_ages", "Counted on different days", "boolean"),
)
MONTH_SITE_GRID = (
    Column("site_id", "Site ID", "id"),
    Column("name", "Name"),
    Column("is_child", "Child site", "boolean"),
    Column("before", "Users before", "integer"),
    Column("after", "Users at the end", "integer"),
    Column("growth", "Growth", "integer"),
    Column("problem", "Problem"),
)
SITE_MONTH_COLUMNS = (
    Column("month", "Month", "month"),
    Column("site_id", "Site ID", "id"),
    Column("name", "Name"),
    Column("total_users", "Total users", "integer"),
    Column("delta", "Delta", "integer"),
)


NEEDED_KEY = {
    "user_key": "Give a user key, or choose a stored connection.",
    "user_secret": "Give the secret that belongs to the user key.",
}


class PartnerUse(ReportKind):
    """Accounts per site of a partner, as a summary or month by month."""

    slug = "partner-use"
    title = "Partner use"
    description = (
        "Accounts per site of a partner in SAP Customer Data Cloud, in sum or month by month."
    )
    Params = PartnerUseParams
    secret_params = frozenset({"user_secret"})
    asks_partner = True
    credential_options = (frozenset({"connection"}), frozenset({"user_key", "user_secret"}))

    def choices(self, scope: Scope) -> Mapping[str, tuple[tuple[str, str], ...]]:
        stored = connections.of_company(scope)
        named = ((one.id, f"{one.name} (partner {one.partner_id})") for one in stored)
        return {"connection": (("", "Type a key below"), *named)} if stored else {}

    def missing_params(self, given: Mapping[str, Any], present: AbstractSet[str]) -> dict[str, str]:
        needed = {} if "connection" in present else NEEDED_KEY
        if given.get("mode") == "monthly":
            needed = needed | NEEDED_MONTHS
        return {name: sentence for name, sentence in needed.items() if name not in present}

    def resolve_secrets(
        self, params: PartnerUseParams, scope: Scope, secrets: dict[str, str]
    ) -> dict[str, str]:
        if params.connection is not None:
            return connections.credentials(scope, str(params.connection))
        return {"user_key": str(params.user_key), "user_secret": secrets["user_secret"]}

    def estimate(
        self,
        params: PartnerUseParams,
        scope: Scope,
        context: Context,
        months: MonthStore,
        secrets: dict[str, str],
    ) -> Estimate:
        cache = SiteConfigCache(db.engine, scope.company_id, params.partner_id)
        return estimate_calls(params, secrets, context, months, cache)

    def run(self, params: PartnerUseParams, run: Run, context: Context) -> Result:
        cache = SiteConfigCache(db.engine, run.company_id, params.partner_id)
        with session_of(run, params.partner_id, context) as session:
            found = discover_sites(session, params.partner_id, run, cache, refresh=params.refresh)
            if params.mode == "summary":
                return make_summary(session, found, params.partner_id, run, context)
            return Monthly(session, found, params, run, context).make()

    def describe(self, params: Mapping[str, Any]) -> str:
        if params.get("mode") != "monthly":
            return f"{params['partner_id']} summary"
        return f"{params['partner_id']} monthly {params['start']} to {params['end']}"

    def tables(self, head: Mapping[str, Any]) -> tuple[Table, ...]:
        nothing = "This partner has no sites that the key may see."
        if head["mode"] == "summary":
            return (Table("sites", "Sites", SITE_COLUMNS, nothing),)
        return (
            Table("months", "Months", MONTH_GRID, nothing),
            Table("sites", "Sites", MONTH_SITE_GRID, nothing),
        )

    def figures(self, head: Mapping[str, Any]) -> tuple[Figure, ...]:
        calls = head["api_calls"]
        saved = f"{calls['saved']:,} saved by what was known" if calls["saved"] else ""
        made = Figure("Calls to the partner", calls["made"], "integer", saved)
        if head["mode"] == "monthly":
            return (
                Figure("Sites", head["site_count"], "integer", _children(head)),
                Figure("First month", head["start"], "month"),
                Figure("Last month", head["end"], "month"),
                made,
            )
        summary = head["summary"]
        return (
            Figure("Accounts", summary["account_count"], "integer", "without child sites"),
            Figure("Sites", summary["site_count"], "integer", _children(summary)),
            Figure("Newest login", summary["last_login"], "datetime"),
            Figure("Newest creation", summary["last_created"], "datetime"),
            made,
        )

    def charts(self, head: Mapping[str, Any]) -> tuple[Chart, ...]:
        if head["mode"] != "monthly":
            return ()
        views = (("Overall", "total_users", "line"), ("Delta", "delta", "bar"))
        return (Chart("months", "month", views),)  # type: ignore[arg-type]

    def json_row(self, table: str, row: Row, head: Mapping[str, Any]) -> Row:
        if head["mode"] != "monthly" or table != "sites":
            return row
        start, end = _range(head)
        return {
            "site_id": row["site_id"],
            "name": row["name"],
            "is_child": row["is_child"],
            "problem": row["problem"],
            "months": site_months(row, start, end),
        }

    def grid_row(self, table: str, row: Row, head: Mapping[str, Any]) -> Row:
        if head["mode"] != "monthly" or table != "sites":
            return row
        totals = row["totals"] or [None]
        before, after = totals[0], totals[-1]
        growth = None if before is None or after is None else after - before
        return row | {"before": before, "after": after, "growth": growth}

    def sheets(self, result: StoredResult) -> tuple[Sheet, ...]:
        if result.head["mode"] == "summary":
            return (Sheet("sites", "Sites", SITE_COLUMNS, _sites_and_total(result)),)
        return (
            Sheet("month", "Months", MONTH_COLUMNS, result.rows("months")),
            Sheet("site", "Months by site", SITE_MONTH_COLUMNS, _months_by_site(result)),
        )

    def blueprints(self) -> tuple[Blueprint, ...]:
        return (connections.bp,)


def _children(figures: Mapping[str, Any]) -> str:
    return f"{figures['child_site_count']:,} of them children"


def _range(head: Mapping[str, Any]) -> tuple[date, date]:
    return parse_month(head["start"]), parse_month(head["end"])


def _sites_and_total(result: StoredResult) -> Iterator[Row]:
    yield from result.rows("sites")
    summary = result.head["summary"]
    yield {
        "site_id": "TOTAL",
        "account_count": summary["account_count"],
        "last_login": summary["last_login"],
        "last_created": summary["last_created"],
        "problem": None if result.head["complete"] else "Some sites are missing from this sum.",
    }


def _months_by_site(result: StoredResult) -> Iterator[Row]:
    start, end = _range(result.head)
    for row in result.rows("sites"):
        for month in site_months(row, start, end):
            yield month | {"site_id": row["site_id"], "name": row["name"]}
