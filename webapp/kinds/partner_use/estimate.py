"""What a partner-use report will cost: one quick call lists the sites, the rest is arithmetic."""

from __future__ import annotations

from webapp.engine.kind import Context, Estimate, MonthStore
from webapp.engine.months import months_between, next_month
from webapp.kinds.partner_use.params import PartnerUseParams
from webapp.kinds.partner_use.setups import Setups
from webapp.kinds.partner_use.survey import listed, open_session
from webapp.partner import classify

SEARCHES_OF_A_SUMMARY = 3


def estimate_calls(
    params: PartnerUseParams,
    secrets: dict[str, str],
    context: Context,
    months: MonthStore,
    setups: Setups,
) -> Estimate:
    """Return about how many calls are to come, how many stored values save, how long it takes.

    An upper bound: months that other counts imply need no search, and which sites are children is
    known only of those whose set-up is remembered.
    Raises: PartnerError when the list cannot be had: the report would fail the same way
    """
    with open_session(params.partner_id, secrets, context) as session:
        sites = listed(session, params.partner_id)
    known = {} if params.refresh else setups.known([site.api_key for site in sites])
    classes = classify(sites, known)
    counted = [site.site_id for site in sites if classes[site.api_key].kind != "child"]
    searches, stored = _searches(params, counted, months)
    others = 1 + len(sites) - len(known)
    return Estimate(
        calls=others + searches,
        saved=stored + len(known),
        seconds=_seconds(searches, context.config["PARTNER_SEARCHES_PER_SECOND"])
        + _seconds(others, context.config["PARTNER_CALLS_PER_SECOND"]),
    )


def _searches(params: PartnerUseParams, counted: list[str], months: MonthStore) -> tuple[int, int]:
    """Return how many searches are needed at most, and how many stored months save."""
    if params.mode == "summary":
        return SEARCHES_OF_A_SUMMARY * len(counted), 0
    asked = months_between(next_month(params.first_month, -1), params.last_month)
    stored = 0
    if not params.refresh:
        stored = len(months.fresh(params.partner_id, counted, asked[0], asked[-1]))
    return len(asked) * len(counted) - stored, stored


def _seconds(calls: int, per_second: float) -> float:
    return calls / per_second if per_second else 0.0
