"""Lists a partner's sites and tells children, parents and stand-alone sites apart.

The list comes first in every report and with the caller's own key: what is stored about a site is
used only for the sites that this list has just shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from webapp.engine.kind import Context, Run
from webapp.errors import PartnerError, PartnerRefused, PartnerUnavailable
from webapp.kinds.partner_use.compute import SiteFacts
from webapp.kinds.partner_use.setups import Setups
from webapp.partner import (
    Credentials,
    Limits,
    NoPace,
    Pace,
    PartnerSession,
    RedisPace,
    Site,
    SiteClass,
    SiteConfig,
    classify,
    list_sites,
    side_by_side,
    site_config,
)

BRIEFLY = Limits(total_s=20.0, tries=2, few_tries=2)


class AnotherPartner(PartnerRefused):
    """The partner's API does not name the partner that was asked for."""


@dataclass(frozen=True)
class Survey:
    """A partner's sites in the order of the list, and what is known of each.

    sites: by site ID, with the data centre that serves its searches
    """

    facts: list[SiteFacts]
    sites: dict[str, Site]

    @property
    def counted(self) -> list[SiteFacts]:
        """Return the sites whose accounts belong into totals."""
        return [facts for facts in self.facts if facts.counted]


def open_session(
    partner_id: str,
    secrets: dict[str, str],
    context: Context,
    *,
    notice: Callable[[str], None] = lambda _: None,
    counted: Callable[[], None] = lambda: None,
    stop: Callable[[], None] = lambda: None,
    briefly: bool = False,
) -> AbstractContextManager[PartnerSession]:
    """Return a session at the granted pace, which all workers share through Redis.

    briefly: somebody waits in front of a page, and tries again sooner than the partner answers
    """
    config = context.config
    return PartnerSession(
        Credentials(secrets["user_key"], secrets["user_secret"]),
        url_template=config["PARTNER_API_URL"],
        home_data_center=config["PARTNER_HOME_DATA_CENTER"],
        concurrency=config["PARTNER_CONCURRENCY"],
        search_pace=_pace(context, partner_id, "search", config["PARTNER_SEARCHES_PER_SECOND"]),
        call_pace=_pace(context, partner_id, "call", config["PARTNER_CALLS_PER_SECOND"]),
        notice=notice,
        counted=counted,
        failed=lambda label: context.count("partner_errors", label),
        stop=_until(time.monotonic() + BRIEFLY.total_s + 1) if briefly else stop,
        limits=BRIEFLY if briefly else None,
    )


def _until(ends: float) -> Callable[[], None]:
    """Return what ends a wait for the pace, which may be held for minutes (monotonic seconds)."""

    def stop() -> None:
        if time.monotonic() > ends:
            raise PartnerUnavailable(
                "The partner's API asked for fewer calls and was not asked in time: try again "
                "later."
            )

    return stop


def _pace(context: Context, partner_id: str, what: str, per_second: float) -> Pace:
    if not per_second:
        return NoPace()
    return RedisPace(context.redis, f"pace:partner:{partner_id}:{what}", per_second)


def session_of(
    run: Run, partner_id: str, context: Context
) -> AbstractContextManager[PartnerSession]:
    """Return a session whose calls, notices and end belong to a run."""
    return open_session(
        partner_id,
        run.secrets,
        context,
        notice=lambda sentence: run.log(sentence, level="warn"),
        counted=lambda: run.calls(made=1),
        stop=run.check,
    )


def survey(
    session: PartnerSession,
    partner_id: str,
    run: Run,
    setups: Setups,
    *,
    refresh: bool,
    concurrency: int,
) -> Survey:
    """Return the partner's sites, sorted.

    setups:  how sites were set up when last read; what is older than this report is read again
             where `refresh` asks for it
    Raises: PartnerError for what no site can do about: a wrong secret, an unknown partner
    """
    run.log(f"Listing the sites of partner {partner_id}.")
    sites = listed(session, partner_id)
    run.set_total(1 + len(sites))
    run.advance()
    if not sites:
        run.log(
            f"No sites are visible to this key for partner {partner_id}. Either it has no sites, "
            "or the partner ID or the rights of the key are not what you mean.",
            level="warn",
        )
        return Survey([], {})
    run.log(f"{_count(len(sites), 'site')} listed; reading how they are set up.")
    configs, problems = _configs(
        session, sites, run, setups, refresh=refresh, concurrency=concurrency
    )
    classes = classify(sites, configs)
    found = Survey(
        [_facts(site, classes[site.api_key], problems.get(site.api_key), run) for site in sites],
        {
            site.site_id: site.settled(configs[site.api_key]) if site.api_key in configs else site
            for site in sites
        },
    )
    children = sum(facts.is_child for facts in found.facts)
    run.log(
        f"{_count(len(found.counted), 'site')} to count; "
        f"{_count(children, 'child site')} share their parent's accounts."
    )
    return found


def listed(session: PartnerSession, partner_id: str) -> list[Site]:
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


def _configs(
    session: PartnerSession,
    sites: list[Site],
    run: Run,
    setups: Setups,
    *,
    refresh: bool,
    concurrency: int,
) -> tuple[dict[str, SiteConfig], dict[str, str]]:
    """Return the configuration of each site by API key, and a sentence where it failed."""
    since = run.asked_at if refresh else None
    configs = setups.known([site.api_key for site in sites], since)
    if configs:
        run.calls(saved=len(configs))
        run.advance(f"{_count(len(configs), 'site')} known from the last day.", by=len(configs))
    asked = [site for site in sites if site.api_key not in configs]
    read: dict[str, SiteConfig] = {}
    problems: dict[str, str] = {}
    answers = side_by_side(
        lambda site: site_config(session, site), asked, concurrency=concurrency, stop=run.check
    )
    try:
        for site, answer in answers:
            if isinstance(answer, PartnerError):
                problems[site.api_key] = answer.message
                run.log(f"{site.name}: {answer.message}", level="warn")
                run.advance()
            else:
                read[site.api_key] = answer
                run.advance(f"{site.name}: configuration read.")
    finally:
        setups.remember(read)
    return configs | read, problems


def _facts(site: Site, found: SiteClass, problem: str | None, run: Run) -> SiteFacts:
    facts = SiteFacts(site.site_id, site.name, site.api_key, site.data_center)
    if problem and found.kind != "child":
        # Whether it is a child is not known, so counting it could count accounts twice.
        return replace(facts, counted=False, hole=True, problem=problem)
    if found.warning:
        run.log(f"{site.name}: {found.warning}", level="warn")
    is_child = found.kind == "child"
    return replace(
        facts,
        is_child=is_child,
        parent_api_key=found.parent_api_key,
        counted=not is_child,
        problem=found.warning,
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
