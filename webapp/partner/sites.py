"""The sites of a partner: the list, how each is configured, and which share another one's users.

Names and ids are written by strangers: names are cleaned, a site that lacks its key or its data
centre stays in the list and fails alone when it is asked, so that it shows up as a hole. A parent
hosts the accounts of its whole group, so counting a child counts its users twice.
Source: partner guide, "admin.getUserSites", "admin.getSiteConfig", "Classification"
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from webapp.errors import PartnerContract
from webapp.partner.credentials import known_data_center
from webapp.partner.failures import SITE_LIST
from webapp.partner.session import PartnerAnswer, PartnerQuestion, PartnerSession
from webapp.partner.values import WORD, id_text, one_line

NAME_CAP = KEY_CAP = 200
NO_API_KEY = "The partner lists this site without an API key; it cannot be asked."
_GROUP_RIGHT = "includeSiteGroupConfig"
# What is told of a site, by the partner's code; single sign-on is a matter of its group.
SERVICES = {"accounts": "accounts", "ids": "identity_store", "ds": "data_store"}


Place = Literal["child", "parent", "standalone", "unknown"]


@dataclass(frozen=True)
class Site:
    """One site as the partner lists it; `data_center` may be a name that nobody knows.

    shares_id: another site of the list has the same site ID; the API key is what tells them apart
    """

    site_id: str
    api_key: str
    name: str
    data_center: str
    shares_id: bool = False

    @property
    def ref(self) -> str:
        """Return what tells this site from all others of its list."""
        return self.api_key or self.site_id

    @property
    def store_item(self) -> str:
        """Return what its stored months are filed under."""
        return self.api_key if self.shares_id else self.site_id

    def located_by(self, config: SiteConfig) -> Site:
        """Return the site at the data centre its own configuration names, which wins."""
        return replace(self, data_center=config.data_center or self.data_center)


@dataclass(frozen=True)
class SiteConfig:
    """What the configuration says about a site's place in a group.

    owner:            API key of the group's parent, its own one or None
    members:          API keys of the children, without its own and without doubles
    has_group_config: False when the user key may not read group configuration
    services:         which of SERVICES are on; None where the answer does not say
    """

    data_center: str
    owner: str | None
    members: tuple[str, ...]
    has_group_config: bool = True
    services: tuple[str, ...] | None = None


def list_sites(session: PartnerSession, partner_id: str) -> list[Site] | None:
    """Return the sites this key may see, in the partner's order; None without such a partner.

    Shape:  double entries of the partner are merged, foreign ones ignored, doubles left out
    Raises: PartnerContract when the list is not as documented
    """
    wanted = partner_id.strip()

    def read(answer: PartnerAnswer) -> list[Any] | None:
        listed: list[Any] | None = None
        for entry in _as_list(answer, answer.body.get("sites"), "sites"):
            if isinstance(entry, dict) and id_text(entry.get("partnerID")) == wanted:
                listed = [
                    *(listed or ()),
                    *_as_list(answer, entry.get("sites"), "a partner's sites"),
                ]
        return listed

    listed = session.ask(PartnerQuestion(SITE_LIST, None, {"targetPartnerID": wanted}, read))
    if listed is None:
        return None
    sites = _distinct(_listed_site(item, number) for number, item in enumerate(listed, 1))
    if doubles := len(listed) - len(sites):
        sites_are = "1 site is" if doubles == 1 else f"{doubles} sites are"
        session.notice(f"{sites_are} listed twice, by API key; each counts once.")
    for site_id in dict.fromkeys(site.site_id for site in sites if site.shares_id):
        session.notice(
            f"Several sites have the site ID {site_id}; their API keys tell them apart, and each "
            "is counted."
        )
    return sites


def site_config(site: Site) -> PartnerQuestion[SiteConfig]:
    """Return the question for a site's configuration, as far as counting needs it.

    The rest of the answer holds secrets. Raises: PartnerContract when the site has no API key
    """
    require_key(site)

    def read(answer: PartnerAnswer) -> SiteConfig:
        body = answer.body
        group = body.get("siteGroupConfig")
        if not (group is None or isinstance(group, dict)):
            raise answer.unreadable("siteGroupConfig is no object")
        return SiteConfig(
            data_center=_data_center(body.get("dataCenter")),
            owner=_group_owner(answer, body.get("siteGroupOwner")),
            members=_group_members(answer, (group or {}).get("members"), site.api_key),
            has_group_config=not _is_named_in(body.get("ignoredParams"), _GROUP_RIGHT),
            services=_services(body.get("services"), (group or {}).get("enableSSO")),
        )

    params = {"apiKey": site.api_key, _GROUP_RIGHT: "true", "includeServices": "true"}
    data_center = known_data_center(site.data_center)
    return PartnerQuestion("admin.getSiteConfig", data_center, params, read, or_home=True)


def require_key(site: Site) -> None:
    """Raise PartnerContract for a site that the partner listed without a usable API key."""
    if not site.api_key:
        raise PartnerContract(NO_API_KEY)


def _listed_site(item: Any, number: int) -> Site:
    fields = item if isinstance(item, dict) else {}
    key = fields.get("apiKey")
    key = key if isinstance(key, str) and WORD.fullmatch(key) else ""
    site_id = id_text(fields.get("siteID")) or key or f"entry-{number}"
    name = one_line(fields.get("baseDomain"), NAME_CAP)
    return Site(
        site_id=site_id,
        api_key=key,
        name=name or one_line(fields.get("description"), NAME_CAP) or site_id,
        data_center=_data_center(fields.get("dataCenter")),
    )


def _distinct(listed: Iterable[Site]) -> list[Site]:
    """Return the sites without doubles: one API key counts its accounts once."""
    sites: dict[str, Site] = {}
    for site in listed:
        sites.setdefault(site.ref, site)
    times = Counter(site.site_id for site in sites.values())
    return [replace(one, shares_id=times[one.site_id] > 1) for one in sites.values()]


def _as_list(answer: PartnerAnswer, value: Any, name: str) -> list[Any]:
    """Return a list; fields without data are left out of answers, so a missing one is empty."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise answer.unreadable(f"{name} is no list")
    return value


def _data_center(value: Any) -> str:
    return known_data_center(value) or one_line(value, 40)


def _group_owner(answer: PartnerAnswer, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise answer.unreadable("siteGroupOwner is no text")
    return one_line(value, KEY_CAP) or None


def _group_members(answer: PartnerAnswer, value: Any, own_key: str) -> tuple[str, ...]:
    members = _as_list(answer, value, "siteGroupConfig.members")
    if not all(isinstance(member, str) for member in members):
        raise answer.unreadable("siteGroupConfig.members holds something else than API keys")
    trimmed = (one_line(member, KEY_CAP) for member in members)
    return tuple(dict.fromkeys(key for key in trimmed if key and key != own_key))


def _services(services: Any, has_sso: Any) -> tuple[str, ...] | None:
    """Return which services are on; nothing is counted by it, so what is odd is not known."""
    if not isinstance(services, dict):
        return None
    shown = {name: services.get(code) for code, name in SERVICES.items()}
    on = [
        name for name, one in shown.items() if isinstance(one, dict) and one.get("enabled") is True
    ]
    return (*on, *(("sso",) if has_sso is True else ()))


def _is_named_in(ignored: Any, name: str) -> bool:
    """Say whether `ignoredParams` names a parameter; it is a list of words or of objects."""
    if isinstance(ignored, str):
        return name in ignored
    if isinstance(ignored, dict):
        return name in ignored or any(_is_named_in(value, name) for value in ignored.values())
    return isinstance(ignored, list) and any(_is_named_in(item, name) for item in ignored)


@dataclass(frozen=True)
class SiteClass:
    """A site's place in its group; `warning` is a sentence where something does not add up."""

    kind: Place
    parent_api_key: str | None = None
    warning: str | None = None


def classify(sites: Sequence[Site], configs: Mapping[str, SiteConfig]) -> dict[str, SiteClass]:
    """Return each site's place by `Site.ref`; one without a configuration is unknown."""
    places = {site.ref: _own_place(site.api_key, configs.get(site.api_key)) for site in sites}
    _take_claimed_members(places, configs)
    _warn_of_lost_children(places)
    return places


def _own_place(key: str, config: SiteConfig | None) -> SiteClass:
    """Return what a site's own configuration says, before the others are heard."""
    if config is None:
        return SiteClass("unknown")
    if config.owner and config.owner != key:
        both = "It says that it is a child of another site and also names children of its own."
        return SiteClass("child", config.owner, both if config.members else None)
    if config.members:
        return SiteClass("parent")
    if not config.has_group_config and config.owner is None:
        return SiteClass(
            "unknown",
            None,
            "The user key may not read its group configuration, so its users may be counted twice.",
        )
    return SiteClass("standalone")


def _take_claimed_members(places: dict[str, SiteClass], configs: Mapping[str, SiteConfig]) -> None:
    """A site that a parent names as its member is a child, whatever it says itself."""
    for parent in list(places):
        if places[parent].kind != "parent":
            continue
        for member in configs[parent].members:
            if member in places and places[member].kind != "child":
                places[member] = SiteClass(
                    "child",
                    parent,
                    "Its parent names it as a child, which it does not say itself; "
                    "it is not counted.",
                )


def _warn_of_lost_children(places: dict[str, SiteClass]) -> None:
    """A child whose parent is not counted here has its users in no total; the reader must know."""
    for key, place in list(places.items()):
        if place.kind != "child" or not place.parent_api_key:
            continue
        parent = places.get(place.parent_api_key)
        if parent is None:
            lost = "Its parent is not among the listed sites, so its users are in no total."
        elif parent.kind == "child":
            lost = "Its parent is itself a child, so its users may be in no total."
        else:
            continue
        warning = f"{place.warning} {lost}" if place.warning else lost
        places[key] = SiteClass("child", place.parent_api_key, warning)
