"""What a partner-use report will cost: one quick call lists the sites, the rest is arithmetic."""

from __future__ import annotations

from webapp.engine.kind import Context, Estimate, MonthStore
from webapp.engine.months import months_between, next_month
from webapp.kinds.partner_use.params import PartnerUseParams
from webapp.kinds.partner_use.survey import listed, open_session

SEARCHES_OF_A_SUMMARY = 3


def estimate_calls(
    params: PartnerUseParams, secrets: dict[str, str], context: Context, months: MonthStore
) -> Estimate:
    """Return about how many calls are to come, how many stored months save, how long it takes.

    An upper bound: which sites are children is known only after their configuration was read.
    Raises: PartnerError when the list cannot be had: the report would fail the same way
    """
    with open_session(params.partner_id, secrets, context) as session:
        sites = listed(session, params.partner_id)
    saved = 0
    if params.mode == "summary":
        searches = SEARCHES_OF_A_SUMMARY * len(sites)
    else:
        asked = months_between(next_month(params.first_month, -1), params.last_month)
        searches = len(asked) * len(sites)
        if not params.refresh:
            ids = [site.site_id for site in sites]
            saved = len(months.fresh(params.partner_id, ids, asked[0], asked[-1]))
            searches -= saved
    per_second = context.config["PARTNER_SEARCHES_PER_SECOND"]
    others_per_second = context.config["PARTNER_CALLS_PER_SECOND"]
    seconds = searches / per_second if per_second else 0.0
    seconds += (1 + len(sites)) / others_per_second if others_per_second else 0.0
    return Estimate(calls=1 + len(sites) + searches, saved=saved, seconds=seconds)
