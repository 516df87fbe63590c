"""Lists a partner's sites and tells children, parents and stand-alone sites apart.

The list comes first in every report and with the caller's own key: what is stored about a site is
used only for the sites that this list has just shown.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from webapp.engine.kind import Context, Run
from webapp.errors import PartnerError, PartnerRefused, PartnerUnavailable
from webapp.kinds.partner_use.compute import SiteFacts, amount
from webapp.kinds.partner_use.site_configs import SiteConfigCache
from webapp.partner import (
    Credentials,
    Limits,
    LocalRateLimiter,
    PartnerSession,
    Question,
    RateLimiter,
    RedisRateLimiter,
    SideBySide,
    Site,
    SiteClass,
    SiteConfig,
    classify,
    list_sites,
    site_config,
)

BRIEFLY = Limits(total_s=20.0, tries=2, few_tries=2, throttled_tries=2)
SPEED_OVER_S = 5.0
NO_API_KEY = "The partner lists this site without an API key; it cannot be asked."


class AnotherPartner(PartnerRefused):
    """The partner's API does not name the partner that was asked for."""


@dataclass(frozen=True)
class Discovered:
    """A partner's sites in the order of the list, and what is known of each; by `Site.ref`."""

    facts: dict[str, SiteFacts]

    @property
    def counted(self) -> dict[str, Site]:
        """Return the sites whose accounts belong into totals."""
        return {ref: one.site for ref, one in self.facts.items() if one.counted}


def open_session(
    partner_id: str,
    secrets: dict[str, str],
    context: Context,
    *,
    briefly: bool = False,
    **more: Any,
) -> PartnerSession:
    """Return a session at the granted pace, which all workers share through Redis.

    briefly: somebody waits in front of a page, and tries again sooner than the partner answers
    more:    what is told of it, see PartnerSession
    """
    config = context.config
    if briefly:
        ends = time.monotonic() + BRIEFLY.total_s + 1

        def stop() -> None:
            if time.monotonic() > ends:  # the pace may be held for minutes
                raise PartnerUnavailable(
                    "The partner's API asked for fewer calls and was not asked in time: try again "
                    "later."
                )

        more["stop"] = stop

    def pace(what: str, per_second: float) -> RateLimiter:
        if not per_second:
            return LocalRateLimiter(0)
        return RedisRateLimiter(context.redis, f"pace:partner:{partner_id}:{what}", per_second)

    return PartnerSession(
        Credentials(secrets["user_key"], secrets["user_secret"]),
        url_template=config["PARTNER_API_URL"],
        home_data_center=config["PARTNER_HOME_DATA_CENTER"],
        concurrency=config["PARTNER_CONCURRENCY"],
        search_pace=pace("search", config["PARTNER_SEARCHES_PER_SECOND"]),
        call_pace=pace("call", config["PARTNER_CALLS_PER_SECOND"]),
        failed=lambda label: context.count("partner_errors", label),
        busy=lambda took_ms: context.count("partner_busy_ms", by=took_ms),
        limits=BRIEFLY if briefly else None,
        proxy=config["PARTNER_PROXY"],
        ca_file=config["PARTNER_CA_FILE"],
        user_agent=config["PARTNER_USER_AGENT"],
        **more,
    )


def session_of(run: Run, partner_id: str, context: Context) -> PartnerSession:
    """Return a session whose calls, notices and end belong to a run."""
    session = open_session(
        partner_id,
        run.secrets,
        context,
        notice=lambda sentence: run.log(sentence, level="warn"),
        counted=lambda: run.calls(made=1),
        stop=run.check,
    )
    run.hold_up = _hold_up(session, run)
    return session


def _hold_up(session: PartnerSession, run: Run) -> Callable[[], str]:
    """Return what says how fast the partner is asked, over the last seconds, and what slows it."""
    now = time.monotonic(), run.calls_made
    marks = [now, now]

    def hold_up() -> str:
        now = time.monotonic(), run.calls_made
        before, after = marks
        if now[0] - after[0] > SPEED_OVER_S:
            marks[:] = [after, now]
        seconds, calls = now[0] - before[0], now[1] - before[1]
        if seconds < 1 or not calls:
            return ""
        speed, rate = calls / seconds, session.search_pace.rate
        if session.search_pace.throttled:
            reason = "the partner asked for fewer calls"
        else:
            paced = rate and speed >= 0.7 * rate
            reason = f"waiting for the partner's {'pace' if paced else 'answers'}"
        return f"{reason}; {speed:.1f} calls a second"

    return hold_up


def discover_sites(
    session: PartnerSession, partner_id: str, run: Run, cache: SiteConfigCache, *, refresh: bool
) -> Discovered:
    """Return the partner's sites, sorted into those that are counted and those that are not.

    refresh: what was remembered before this report was asked for is read again
    Raises:  PartnerError for what no site can do about: a wrong secret, an unknown partner
    """
    run.stage("Reading the sites", upto=0.1)
    run.log(f"Listing the sites of partner {partner_id}.")
    sites = listed_sites(session, partner_id)
    run.set_total(1 + len(sites))
    run.advance()
    if not sites:
        run.log(
            f"No sites are visible to this key for partner {partner_id}. Either it has no sites, "
            "or the partner ID or the rights of the key are not what you mean.",
            level="warn",
        )
        return Discovered({})
    run.log(f"{amount(len(sites), 'site')} listed; reading how they are set up.")
    configs = cache.load([site.api_key for site in sites], run.asked_at if refresh else None)
    if configs:
        run.calls(saved=len(configs))
        run.advance(f"{amount(len(configs), 'site')} known from the last day.", by=len(configs))
    problems = _read_configs(session, sites, run, cache, configs)
    classes = classify(sites, configs)
    found = Discovered(
        {
            site.ref: _facts(site, configs.get(site.api_key), classes[site.ref], problems, run)
            for site in sites
        }
    )
    parents = Counter(facts.parent_api_key for facts in found.facts.values() if facts.is_child)
    for ref, facts in found.facts.items():
        found.facts[ref] = replace(facts, children=parents[facts.site.api_key])
    children = sum(facts.is_child for facts in found.facts.values())
    run.log(
        f"{amount(len(found.counted), 'site')} to count; "
        f"{amount(children, 'child site')} share their parent's accounts."
    )
    return found


def listed_sites(session: PartnerSession, partner_id: str) -> list[Site]:
    """Return the sites of a partner that the key may see; none at all is a list without any.

    Raises: AnotherPartner where the answer does not name the partner: unknown, or not this key's
    """
    sites = list_sites(session, partner_id)
    if sites is None:
        raise AnotherPartner(
            f"No sites of partner {partner_id} are visible to this key. Check the partner ID, and "
            "that the key may see this partner.",
            stops_run=True,
        )
    return sites


def _read_configs(
    session: PartnerSession,
    sites: list[Site],
    run: Run,
    cache: SiteConfigCache,
    configs: dict[str, SiteConfig],
) -> dict[str, str]:
    """Add the configurations that are not known yet; return a sentence where one cannot be read."""
    unread = {site.ref: site for site in sites if site.api_key and site.api_key not in configs}
    problems = {site.ref: NO_API_KEY for site in sites if not site.api_key}
    waiting = set(unread)

    def next_question(ref: str) -> tuple[Any, Question[Any]] | None:
        if ref not in waiting:
            return None
        waiting.discard(ref)
        return None, site_config(unread[ref])

    data_centers = {ref: site.data_center for ref, site in unread.items()}
    read: dict[str, SiteConfig] = {}
    try:
        for ref, _, answer in SideBySide(session, data_centers, next_question, stop=run.check):
            name = unread[ref].name
            if isinstance(answer, PartnerError):
                problems[ref] = answer.message
                run.log(f"{name}: {answer.message}", level="warn")
                run.advance()
            else:
                read[unread[ref].api_key] = answer
                run.advance(f"{name}: configuration read.")
    finally:
        cache.save(read)
    configs |= read
    return problems


def _facts(
    site: Site,
    config: SiteConfig | None,
    found: SiteClass,
    problems: Mapping[str, str],
    run: Run,
) -> SiteFacts:
    services = config.services if config else None
    site = site.located_by(config) if config else site
    problem = problems.get(site.ref)
    if problem and found.kind != "child":
        # Whether it is a child is not known, so counting it could count accounts twice.
        return SiteFacts(site, counted=False, hole=True, problem=problem)
    if found.warning:
        run.log(f"{site.name}: {found.warning}", level="warn")
    is_child = found.kind == "child"
    return SiteFacts(
        site,
        is_child,
        found.parent_api_key,
        not is_child,
        problem=found.warning,
        services=services,
    )
