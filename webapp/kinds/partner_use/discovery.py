"""Lists a partner's sites and tells children, parents and stand-alone sites apart.

The list comes first in every report and with the caller's own key. How sites are set up (which are
children, where each is served) is remembered for a day, and looked up only for the sites that this
list has just shown. The partner's answer holds captcha secrets; only what is named here is kept.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from webapp.engine.kind import Context
from webapp.engine.run import Run
from webapp.errors import PartnerError, PartnerRefused, PartnerUnavailable
from webapp.extensions import CompanyId, Model, UtcDateTime, db
from webapp.kinds.partner_use.compute import SiteFacts
from webapp.lib.batches import batched
from webapp.lib.moments import utcnow
from webapp.lib.texts import counted
from webapp.lib.upserts import upsert
from webapp.partner.credentials import Credentials
from webapp.partner.limits import Limits
from webapp.partner.pace import LocalRateLimiter, RateLimiter, RedisRateLimiter
from webapp.partner.session import PartnerQuestion, PartnerSession
from webapp.partner.side_by_side import SideBySide
from webapp.partner.sites import (
    NO_API_KEY,
    Site,
    SiteClass,
    SiteConfig,
    classify,
    list_sites,
    site_config,
)

REMEMBERED = timedelta(days=1)
BRIEFLY = Limits(total_s=20.0, tries=2, few_tries=2, throttled_tries=2)
SPEED_OVER_S = 5.0


class StoredSiteConfig(Model):
    """One site's configuration as far as a report needs it."""

    __tablename__ = "partner_use_site_setup"

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True)
    partner_id: Mapped[str] = mapped_column(String(20), primary_key=True)
    api_key: Mapped[str] = mapped_column(String(200), primary_key=True)
    data_center: Mapped[str] = mapped_column(String(40))
    owner: Mapped[str | None] = mapped_column(String(200))
    members: Mapped[list[str]] = mapped_column(JSON)
    services: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    read_at: Mapped[datetime] = mapped_column(UtcDateTime)


def load_configs(
    company_id: str, partner_id: str, sites: Iterable[Site], since: datetime | None = None
) -> dict[str, SiteConfig]:
    """Return by API key what was read of sites within a day, or since a moment."""
    keys, table = [site.api_key for site in sites], StoredSiteConfig
    columns = (table.api_key, table.data_center, table.owner, table.members, table.services)
    known = select(*columns).where(
        table.company_id == company_id,
        table.partner_id == partner_id,
        table.read_at >= (since or utcnow() - REMEMBERED),
    )
    found: dict[str, SiteConfig] = {}
    with db.engine.connect() as connection:
        for some in batched(keys):
            of_these = known.where(table.api_key.in_(some))
            for key, data_center, owner, members, on in connection.execute(of_these):
                services = None if on is None else tuple(on)
                found[key] = SiteConfig(data_center, owner, tuple(members), services=services)
    return found


def save_configs(company_id: str, partner_id: str, configs: Mapping[str, SiteConfig]) -> None:
    """Keep what was just read. Where the group was not shown nothing is known for good."""
    now, names = utcnow(), ("data_center", "owner", "members", "services")
    rows = [
        {"company_id": company_id, "partner_id": partner_id, "api_key": key, "read_at": now}
        | {name: getattr(config, name) for name in names}
        for key, config in configs.items()
        if config.has_group_config and len(key) <= 200
    ]
    if not rows:
        return
    with db.engine.begin() as connection:
        stale = StoredSiteConfig.read_at < now - REMEMBERED
        connection.execute(delete(StoredSiteConfig).where(stale))
        statement = upsert(connection, StoredSiteConfig)
        new = {name: statement.excluded[name] for name in (*names, "read_at")}
        key = ["company_id", "partner_id", "api_key"]
        connection.execute(statement.on_conflict_do_update(index_elements=key, set_=new), rows)


class AnotherPartner(PartnerRefused):
    """The partner's API does not name the partner that was asked for."""


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
    marks = [(time.monotonic(), run.calls_made)] * 2

    def hold_up() -> str:
        """Return how fast the partner is asked, over the last seconds, and what slows it."""
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

    run.hold_up = hold_up
    return session


def discover_sites(
    session: PartnerSession, partner_id: str, run: Run, *, refresh: bool
) -> dict[str, SiteFacts]:
    """Return what is known of the partner's sites, in the order of its list, by `Site.ref`.

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
        return {}
    run.log(f"{counted(len(sites), 'site')} listed; reading their configuration.")
    since = run.asked_at if refresh else None
    configs = load_configs(run.company_id, partner_id, sites, since)
    if configs:
        run.calls(saved=len(configs))
        run.advance(f"{counted(len(configs), 'site')} known from before.", by=len(configs))
    problems = _read_configs(session, partner_id, sites, run, configs)
    classes = classify(sites, configs)
    children = Counter(one.parent_api_key for one in classes.values() if one.kind == "child")
    found = {}
    for site in sites:
        config, place = configs.get(site.api_key), classes[site.ref]
        facts = _facts(site, config, place, problems.get(site.ref))
        found[site.ref] = replace(facts, children=children[site.api_key])
        if place.warning and not facts.hole:
            run.log(f"{site.name}: {place.warning}", level="warn")
    run.log(
        f"{counted(sum(one.counted for one in found.values()), 'site')} to count; "
        f"{counted(children.total(), 'child site')} share their parent's accounts."
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
    partner_id: str,
    sites: list[Site],
    run: Run,
    configs: dict[str, SiteConfig],
) -> dict[str, str]:
    """Add the configurations that are not known yet; return a sentence where one cannot be read."""
    unread = {site.ref: site for site in sites if site.api_key and site.api_key not in configs}
    problems = {site.ref: NO_API_KEY for site in sites if not site.api_key}
    waiting = dict(unread)

    def next_question(ref: str) -> tuple[Any, PartnerQuestion[Any]] | None:
        site = waiting.pop(ref, None)
        return (None, site_config(site)) if site else None

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
        save_configs(run.company_id, partner_id, read)
    configs |= read
    return problems


def _facts(
    site: Site, config: SiteConfig | None, place: SiteClass, problem: str | None
) -> SiteFacts:
    is_child, parent = place.kind == "child", place.parent_api_key
    if problem and not is_child:
        # Whether it is a child is not known, so counting it could count accounts twice.
        return SiteFacts(site, counted=False, hole=True, problem=problem)
    services = config.services if config else None
    site = site.located_by(config) if config else site
    return SiteFacts(site, is_child, parent, not is_child, problem=place.warning, services=services)
