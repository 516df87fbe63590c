"""The methods the stand-in speaks: who may call them, on which host, and what they answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox import query as queries
from sandbox.envelope import Refusal, success
from sandbox.keys import ALL_METHODS, KEYS, UserKey
from sandbox.partners import DOMAINS, PRIMARY, Site
from sandbox.world import World

COMMON = frozenset({"apiKey", "userKey", "secret", "format", "httpStatusCodes", "context", "sdk",
                    "checkParams"})  # fmt: skip
KNOWN = {
    "admin.getUserSites": COMMON | {"targetPartnerID", "targetUserKey"},
    "admin.getSiteConfig": COMMON
    | {"includeSiteGroupConfig", "includeServices", "includeSiteID", "includeGlobalSiteSettings"},
    "accounts.search": COMMON | {"query", "timeout", "accountTypes"},
    "ids.search": COMMON | {"query", "timeout", "accountTypes"},
}
SEARCHES = frozenset({"accounts.search", "ids.search"})
MOST_PARTNERS = 10
NO_RIGHT = "invalid namespace or method, or not permitted"

_API_KEY = re.compile(r"[34]_[A-Za-z0-9_-]{10,80}")


@dataclass(frozen=True)
class Call:
    """One request as read: the method, the data centre of its host, its parameters."""

    method: str
    data_center: str
    params: Mapping[str, str]

    @property
    def is_search(self) -> bool:
        """Whether the limit of searches a second applies."""
        return self.method in SEARCHES

    def flag(self, name: str) -> bool:
        """Whether a parameter says `true`."""
        return self.params.get(name, "").lower() == "true"


def site_of(world: World, call: Call) -> Site | None:
    """Return the site a call is about, if it names one that exists."""
    return world.by_key.get(call.params.get("apiKey", ""))


def partner_of(world: World, call: Call) -> int | None:
    """Return the partner a call is about, if it says so or its site does."""
    if call.method == "admin.getUserSites":
        target = call.params.get("targetPartnerID", "")
        return int(target) if target.isascii() and target.isdigit() and len(target) < 12 else None
    site = site_of(world, call)
    return site.partner_id if site else None


def admit(call: Call) -> UserKey:
    """Return the caller's user key.

    Raises: Refusal for an unknown method, missing or wrong credentials, a missing right
    """
    if call.method not in ALL_METHODS:
        raise Refusal(405001, f"Unknown method {call.method[:80]}")
    for name in ("userKey", "secret"):
        if not call.params.get(name):
            raise Refusal(400002, f"Missing required parameter: {name}")
    key = KEYS.get(call.params["userKey"])
    if key is None:
        raise Refusal(403005, "The supplied userkey was not found")
    if not key.accepts(call.params["secret"]):
        raise Refusal(403010, "The supplied secret is invalid")
    if call.method not in key.methods:
        raise Refusal(403007, NO_RIGHT)
    return key


def perform(world: World, call: Call, key: UserKey) -> dict[str, object]:
    """Return the answer to an admitted call. Raises Refusal."""
    ignored = sorted(set(call.params) - KNOWN[call.method])
    if call.method == "admin.getSiteConfig" and not key.sees_groups:
        ignored += [name for name in ("includeSiteGroupConfig",) if name in call.params]
    if ignored and call.flag("checkParams"):
        raise Refusal(403007, f"Parameters not permitted: {', '.join(ignored)[:200]}")
    if call.method == "admin.getUserSites":
        answer = _user_sites(world, call, key)
    elif call.method == "admin.getSiteConfig":
        answer = _site_config(world, call, key)
    else:
        answer = _search(world, call, key)
    if ignored:
        answer["ignoredParams"] = [
            {"paramName": name, "message": "Parameter was ignored", "warningCode": 403007}
            for name in ignored
        ]
    return answer


def _user_sites(world: World, call: Call, key: UserKey) -> dict[str, object]:
    target = call.params.get("targetPartnerID")
    if target is None:
        # For users of many partners the real list is cut as well.
        numbers = list(world.partners)[:MOST_PARTNERS]
    elif not re.fullmatch(r"[0-9]{1,18}", target):
        raise Refusal(400006, "Invalid parameter value: targetPartnerID")
    else:
        numbers = [number for number in (int(target),) if number in world.partners]
    entries = [
        {"partnerID": number, "tenantID": f"demo-{number}",
         "sites": [_listed(site) for site in world.sites(number) if key.sees(site)]}
        for number in numbers
    ]  # fmt: skip
    return success(sites=entries)


def _listed(site: Site) -> dict[str, object]:
    return {
        "siteID": site.site_id,
        "apiKey": site.api_key,
        "baseDomain": site.name,
        "description": site.description,
        "dataCenter": site.listed_data_center or site.data_center,
    }


def _visible_site(world: World, call: Call, key: UserKey) -> Site:
    asked = call.params.get("apiKey", "")
    if not asked:
        raise Refusal(400002, "Missing required parameter: apiKey")
    if not _API_KEY.fullmatch(asked):
        raise Refusal(400093, "GSKeyBase is invalid, no version")
    site = world.by_key.get(asked)
    if site is None:
        raise Refusal(400093, "Invalid apiKey parameter")
    if not key.sees(site):
        raise Refusal(403007, NO_RIGHT)
    if site.deleted:
        raise Refusal(403007, f"Permission denied: site {site.site_id} was deleted")
    return site


def _check_data_center(call: Call, site: Site) -> None:
    home = PRIMARY[site.data_center]
    if call.data_center == site.data_center or (not call.is_search and call.data_center == home):
        return
    domain = DOMAINS[site.data_center]
    raise Refusal(
        301001,
        "The site is served by another data center",
        apiDomain=domain,
        location=f"https://{call.method.split('.')[0]}.{domain}/{call.method}",
    )


def _site_config(world: World, call: Call, key: UserKey) -> dict[str, object]:
    site = _visible_site(world, call, key)
    _check_data_center(call, site)
    config = success(
        baseDomain=site.name,
        dataCenter=site.data_center,
        description=site.description,
        tags=[],
        trustedSiteURLs=[f"{site.name[:200]}/*"],
        captchaProvider="Google",
        # Made up, and here on purpose: the real body holds such secrets, so one that
        # turns up in a log or a page shows that the body was kept.
        recaptchaV2={"SiteKey": "captcha-site-key", "Secret": "captcha-secret-never-keep-me"},
        invisibleRecaptcha={"SiteKey": "", "Secret": "captcha-secret-never-keep-me"},
        isCDP=False,
    )
    owners = {"parent": site.parent_api_key, "self": site.api_key, "empty": ""}
    if site.names_owner in owners:
        config["siteGroupOwner"] = owners[site.names_owner]
    if call.flag("includeSiteGroupConfig") and key.sees_groups:
        config["siteGroupConfig"] = _group(world, site)
    elif not key.sees_groups:
        config.pop("siteGroupOwner", None)
    if call.flag("includeServices"):
        has = site.refuses != 403036
        config["services"] = {"accounts": {"enabled": has, "features": []}, "ids": {"enabled": has}}
    if call.flag("includeSiteID"):
        config["siteID"] = site.site_id
    return config


def _group(world: World, site: Site) -> dict[str, object]:
    group: dict[str, object] = {"enableSSO": bool(site.members or site.is_child)}
    if site.members:
        sites = world.sites(site.partner_id)
        group |= {"members": [sites[place].api_key for place in site.members], "SSOSegment": ""}
    return group


def _search(world: World, call: Call, key: UserKey) -> dict[str, object]:
    site = _visible_site(world, call, key)
    _check_data_center(call, site)
    if site.refuses:
        raise Refusal(site.refuses, NO_RIGHT if site.refuses == 403007 else "")
    if call.params.get("accountTypes", "full") != "full":
        raise Refusal(400096, "The stand-in has full accounts only")
    text = call.params.get("query", "")
    if not text:
        raise Refusal(400002, "Missing required parameter: query")
    try:
        query = queries.parse(text)
    except queries.QueryError as error:
        raise Refusal(error.code, error.details) from error
    if key.counts_only and not query.is_count:
        raise Refusal(403007, "The query does not match the queries this key may ask")
    return success(**queries.answer(query, site, world.store(site)))
