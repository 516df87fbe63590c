"""partner-use as the engine sees it: parameters, figures, charts, and a report from its beginning
to its end: a summary, months, or both over one discovery. What it looks like is in `tables.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from typing import Any

from flask import Blueprint

from webapp.accounts import Scope
from webapp.data_dir import STAND_IN_CREDENTIALS
from webapp.engine.kind import Context, StoredResult
from webapp.engine.months import MonthStore, first_stored
from webapp.engine.run import Run
from webapp.engine.shapes import Answer, Estimate, Explanation, FirstStep, Result, Row
from webapp.extensions import db
from webapp.kinds.partner_use import connections, entitlements
from webapp.kinds.partner_use.answer import answer, explain
from webapp.kinds.partner_use.compute import instant_text, known_text
from webapp.kinds.partner_use.discovery import discover_sites, session_of
from webapp.kinds.partner_use.estimate import estimate_calls
from webapp.kinds.partner_use.monthly import Monthly, Months
from webapp.kinds.partner_use.params import NEEDED_MONTHS, PartnerUseParams
from webapp.kinds.partner_use.summary import Summary, make_summary
from webapp.kinds.partner_use.tables import PartnerUseTables
from webapp.lib.months import current_month, month_text, span_text
from webapp.lib.texts import counted

# What differs between two calls refused for one reason.
OF_A_CALL = re.compile(r"^\d{4}-\d{2}: |, callId \w+")


def _merged(rows: list[Row]) -> Row:
    """Return one row of a site that both modes tell of."""
    merged: Row = {}
    problems: dict[str, str] = {}
    for row in rows:
        merged |= row
        if row["problem"]:
            # One reason for two calls is told once.
            problems.setdefault(OF_A_CALL.sub("", row["problem"]), row["problem"])
    return merged | {"problem": " ".join(problems.values()) or None}


def _last_line(summary: Summary | None, months: Months | None) -> str:
    lines = []
    if summary:
        count, sites = summary.figures["account_count"], summary.figures["site_count"]
        accounts = known_text(summary.figures) if count is None else counted(count, "account")
        missing = f"No total: {accounts}." if count is None else ""
        lines.append(missing or f"{accounts} on {counted(sites, 'site')}.")
    if months:
        row = months.rows[-1]
        total = row["total_users"]
        users = known_text(row) if total is None else counted(total, "user")
        until = f"{row['month']}{', which is not over' if row['running'] else ''}"
        none = "No total: " if total is None else ""
        lines.append(f"{none}{users} at the end of {until}.")
        if fewer := [one["month"] for one in months.rows if one["decreased"]]:
            lines.append(f"Fewer than the month before: {', '.join(fewer)}.")
        if total is not None and not months.complete:
            lines.append("Some sites or months are missing.")
    return " ".join(lines)


DEMO_ENTITLEMENT = 30_000
NEEDED_KEY = {
    "user_key": "Give a user key, or choose a stored connection.",
    "user_secret": "Give the secret that belongs to the user key.",
}


class PartnerUse(PartnerUseTables):
    """Accounts per site of a partner, as a summary or month by month."""

    slug = "partner-use"
    title = "Partner use"
    description = (
        "Accounts per site of a partner in SAP Customer Data Cloud, in sum or month by month."
    )
    Params = PartnerUseParams
    secret_params = frozenset({"user_secret"})
    asks_partner = True
    kept_when_cancelled = "Months counted so far are kept, and no later report asks for them again."
    credential_options = (frozenset({"connection"}), frozenset({"user_key", "user_secret"}))

    def choices(self, scope: Scope) -> Mapping[str, tuple[tuple[str, str], ...]]:
        stored = connections.of_company(scope)
        named = ((one.id, f"{one.name} (partner {one.partner_id})") for one in stored)
        return {"connection": (("", "Type a key below"), *named)} if stored else {}

    def fills(self, scope: Scope) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
        stored = connections.of_company(scope)
        return {"connection": {one.id: {"partner_id": one.partner_id} for one in stored}}

    def data_span(self, scope: Scope) -> tuple[date, date] | None:
        first = first_stored(scope.company_id, self.slug)
        return (first, current_month()) if first else None

    def first_step(self, scope: Scope) -> FirstStep | None:
        if not scope.may("admin") or connections.of_company(scope):
            return None
        sentence = "Store a connection to the partner once, and no report asks for its key again."
        return FirstStep(sentence, "Connect a partner", "/connections", blocks=False)

    def missing_params(self, given: Mapping[str, Any], present: AbstractSet[str]) -> dict[str, str]:
        needed = {} if "connection" in present else NEEDED_KEY
        if given.get("mode") in ("monthly", "both"):  # whatever was sent, also a list
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
        return estimate_calls(params, scope.company_id, secrets, context, months)

    def run(self, params: PartnerUseParams, run: Run, context: Context) -> Result:
        """List the sites, ask for what the mode wants, and return the result."""
        head: dict[str, Any] = {"mode": params.mode, "partner_id": params.partner_id}
        summary = months = None
        with session_of(run, params.partner_id, context) as session:
            found = discover_sites(session, params.partner_id, run, refresh=params.refresh)
            steps = 1 + len(found)
            if params.mode != "monthly":
                upto = 1.0 if params.mode == "summary" else 0.5
                summary = make_summary(session, found, params.partner_id, run, context, steps, upto)
                steps = summary.steps
            if params.mode != "summary":
                months = Monthly(session, found, params, run, context).make(steps)
                head |= {
                    "start": month_text(params.first_month),
                    "end": month_text(params.last_month),
                    "method": "exact" if params.exact else "implied",
                    "site_count": len(found),
                    "child_site_count": sum(one.is_child for one in found.values()),
                }
        complete = all(part.complete for part in (summary, months) if part)
        run.log(_last_line(summary, months), level="info" if complete else "warn")
        head |= {"generated_at": instant_text(context.now()), "complete": complete}
        if summary:
            head["summary"] = summary.figures
        head["api_calls"] = {"made": run.calls_made, "saved": run.calls_saved}
        parts = [*([summary.rows] if summary else []), *([months.sites] if months else [])]
        sites = (_merged([part[ref] for part in parts]) for ref in found)
        tables = {"months": months.rows} if months else {}
        return Result(head, {**tables, "sites": sites}, complete)

    def describe(self, params: Mapping[str, Any]) -> str:
        mode = params.get("mode", "summary")
        if mode == "summary":
            return f"{params['partner_id']} summary"
        what = "summary and months" if mode == "both" else "monthly"
        return f"{params['partner_id']} {what} {span_text(params['start'], params['end'])}"

    def answer(self, result: StoredResult) -> Answer:
        head, company_id = result.head, result.company_id
        has_months = "start" in head
        bought = entitlements.of_company(company_id, head["partner_id"]) if has_months else ()
        return answer(result, bought)

    def explain(self, result: StoredResult, query: Mapping[str, str]) -> Explanation:
        return explain(result, query)

    def blueprints(self) -> tuple[Blueprint, ...]:
        return (connections.bp, entitlements.bp)

    def seed_demo(self, company_id: str) -> str:
        made = connections.seed_demo(company_id)
        partner_id = STAND_IN_CREDENTIALS["partner_id"]
        entitlements.seed_demo(company_id, partner_id, DEMO_ENTITLEMENT)
        db.session.commit()
        return f"{made}, and {DEMO_ENTITLEMENT:,} accounts bought." if made else ""

    def links(self, scope: Scope) -> tuple[tuple[str, str], ...]:
        connections_and_months = ("Connections", "/connections"), ("Stored months", "/months")
        return (*connections_and_months, ("Entitlements", "/entitlements"))
