"""What a partner-use report will cost: one quick call lists the sites, the rest is arithmetic."""

from __future__ import annotations

import math

from webapp.engine.kind import Context
from webapp.engine.months import MonthStore
from webapp.engine.shapes import Estimate
from webapp.errors import InvalidParams, PartnerRefused
from webapp.kinds.partner_use.counts import stored_counts
from webapp.kinds.partner_use.discovery import (
    AnotherPartner,
    listed_sites,
    load_configs,
    open_session,
)
from webapp.kinds.partner_use.params import PartnerUseParams
from webapp.kinds.partner_use.planner import SitePlan
from webapp.lib.months import months_between, next_month
from webapp.partner.sites import Site, classify

SEARCHES_OF_A_SUMMARY = 3
READS_A_ROOT = 0.7
# What the caller gave that a refusal of the list is about, by the partner's code.
BLAMED = {
    400004: "partner_id",
    400006: "partner_id",
    403000: "user_key",
    403003: "user_secret",
    403005: "user_key",
    403007: "user_key",
    403010: "user_secret",
    403025: "user_secret",
    403120: "user_key",
}


def estimate_calls(
    params: PartnerUseParams,
    company_id: str,
    secrets: dict[str, str],
    context: Context,
    months: MonthStore,
) -> Estimate:
    """Return about how many calls are to come, how many stored months save, how long it takes.

    Which sites are children, and so never searched, is known of those whose set-up is remembered.
    Raises: InvalidParams when the partner refuses the caller's key, secret or partner ID;
            PartnerError when the list cannot be had otherwise: the report would fail the same way
    """
    try:
        with open_session(params.partner_id, secrets, context, briefly=True) as session:
            sites = listed_sites(session, params.partner_id)
    except PartnerRefused as error:
        field = "partner_id" if isinstance(error, AnotherPartner) else BLAMED.get(error.code or 0)
        if field is None:
            raise
        if params.connection is not None and field != "partner_id":
            field = "connection"
        raise InvalidParams({field: error.message}) from None
    known = {} if params.refresh else load_configs(company_id, params.partner_id, sites)
    classes = classify(sites, known)
    counted = [site for site in sites if classes[site.ref].kind != "child"]
    searches, stored = _searches(params, counted, context, months)
    others = 1 + len(sites) - len(known)
    paces = {"PARTNER_SEARCHES_PER_SECOND": searches, "PARTNER_CALLS_PER_SECOND": others}
    seconds = sum(
        calls / context.config[pace] for pace, calls in paces.items() if context.config[pace]
    )
    return Estimate(calls=others + searches, saved=stored, seconds=seconds)


def _searches(
    params: PartnerUseParams, counted: list[Site], context: Context, months: MonthStore
) -> tuple[int, int]:
    """Return about how many searches are to come, and how many stored months save."""
    if params.mode == "summary":
        return SEARCHES_OF_A_SUMMARY * len(counted), 0
    asked = months_between(next_month(params.first_month, -1), params.last_month)
    read_limit = context.config["PARTNER_READ_LIMIT"]
    searches, stored = 0.0, 0
    for _, counts in stored_counts(months, params.partner_id, counted, asked[0], asked[-1]):
        known = {} if params.refresh else counts
        stored += len(known)
        plan = SitePlan(asked, known, read_limit=read_limit, plain=params.exact)
        searches += plan.unknown if params.exact else typical_searches(plan, read_limit)
    return math.ceil(searches), stored


def typical_searches(plan: SitePlan, read_limit: int) -> float:
    """Return how many searches a site's plan usually needs for what it does not know yet.

    How a site has grown is known only between two stored months. For the others this is what the
    sites of all shapes needed that were tried: one count, and reads which become more with the root
    of the number of months; by counts alone every other month. Never more than a search a month.
    """
    last = len(plan.months) - 1
    searches = 0.0
    for start, stop in plan.open_stretches():
        if stop > last:
            inner, reads = last - start - 1, READS_A_ROOT * math.sqrt(last - start)
            searches += 1  # the last month is counted
        else:
            inner = stop - start - 1
            growth = plan.growth(start, stop)
            # Fewer accounts than before: asked month by month.
            reads = inner if growth < 0 else max(1.0, 2 * growth / max(read_limit, 1))
        searches += min(inner, reads if read_limit else inner / 2)
    return searches
