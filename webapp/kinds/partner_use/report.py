"""One partner-use report from beginning to end: a summary, months, or both over one discovery."""

from __future__ import annotations

from webapp.engine.kind import Context, Result, Row, Run
from webapp.kinds.partner_use.compute import SiteFacts, amount, instant_text, known_text
from webapp.kinds.partner_use.discovery import discover_sites
from webapp.kinds.partner_use.monthly import Monthly, Months
from webapp.kinds.partner_use.params import PartnerUseParams
from webapp.kinds.partner_use.site_configs import SiteConfigCache
from webapp.kinds.partner_use.summary import Summary, make_summary
from webapp.lib.months import month_text
from webapp.partner import PartnerSession


def make_report(
    session: PartnerSession,
    params: PartnerUseParams,
    run: Run,
    context: Context,
    cache: SiteConfigCache,
) -> Result:
    """List the sites, ask for what the mode wants, and return the result."""
    found = discover_sites(session, params.partner_id, run, cache, refresh=params.refresh)
    summary = months = None
    steps = 1 + len(found.facts)
    if params.mode != "monthly":
        upto = 1.0 if params.mode == "summary" else 0.5
        summary = make_summary(session, found, params.partner_id, run, context, steps, upto)
        steps = summary.steps
    if params.mode != "summary":
        months = Monthly(session, found, params, run, context).make(steps)
    complete = all(part.complete for part in (summary, months) if part)
    run.log(_last_line(summary, months), level="info" if complete else "warn")
    head = {
        "mode": params.mode,
        "partner_id": params.partner_id,
        **(_span(params, list(found.facts.values())) if months else {}),
        "generated_at": instant_text(context.now()),
        "complete": complete,
        **({"summary": summary.figures} if summary else {}),
        "api_calls": {"made": run.calls_made, "saved": run.calls_saved},
    }
    parts = [*([summary.rows] if summary else []), *([months.sites] if months else [])]
    sites = (_merged([part[ref] for part in parts]) for ref in found.facts)
    tables = {"months": months.rows} if months else {}
    return Result(head, {**tables, "sites": sites}, complete)


def _span(params: PartnerUseParams, facts: list[SiteFacts]) -> Row:
    return {
        "start": month_text(params.first_month),
        "end": month_text(params.last_month),
        "method": "exact" if params.exact else "implied",
        "site_count": len(facts),
        "child_site_count": sum(one.is_child for one in facts),
    }


def _merged(rows: list[Row]) -> Row:
    """Return one row of a site that both modes tell of."""
    problems = dict.fromkeys(row["problem"] for row in rows if row["problem"])
    merged: Row = {}
    for row in rows:
        merged |= row
    return merged | {"problem": " ".join(problems) or None}


def _last_line(summary: Summary | None, months: Months | None) -> str:
    lines = []
    if summary:
        count, sites = summary.figures["account_count"], summary.figures["site_count"]
        accounts = known_text(summary.figures) if count is None else amount(count, "account")
        missing = f"No total: {accounts}." if count is None else ""
        lines.append(missing or f"{accounts} on {amount(sites, 'site')}.")
    if months:
        row = months.rows[-1]
        total = row["total_users"]
        users = known_text(row) if total is None else amount(total, "user")
        until = f"{row['month']}{', which is not over' if row['running'] else ''}"
        none = "No total: " if total is None else ""
        lines.append(f"{none}{users} at the end of {until}.")
        if fewer := [one["month"] for one in months.rows if one["decreased"]]:
            lines.append(f"Fewer than the month before: {', '.join(fewer)}.")
        if total is not None and not months.complete:
            lines.append("Some sites or months are missing.")
    return " ".join(lines)
