"""The sites of a partner and how each is configured, read with care from two admin calls.

Names and ids are written by strangers: names are cleaned, a site that lacks its key or its data
centre stays in the list and fails alone when it is asked, so that it shows up as a hole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from webapp.errors import PartnerContract
from webapp.partner.data_centers import data_center_domain, known_data_center
from webapp.partner.session import SITE_LIST, Answer, PartnerSession
from webapp.partner.text import one_line

NAME_CAP = 200
_WORD = re.compile(r"[\x21-\x7e]{1,200}")
_GROUP_RIGHT = "includeSiteGroupConfig"


@dataclass(frozen=True)
class Site:
    """One site as the partner lists it; `data_center` may be a name that nobody knows."""

    site_id: str
    api_key: str
    name: str
    data_center: str

    def settled(self, config: SiteConfig) -> Site:
        """Return the site at the data centre its own configuration names, which wins."""
        return replace(self, data_center=config.data_center or self.data_center)


@dataclass(frozen=True)
class SiteConfig:
    """What the configuration says about a site's place in a group.

    owner:            API key of the group's parent, its own one or None
    members:          API keys of the children, without its own and without doubles
    has_group_config: False when the user key may not read group configuration
    """

    data_center: str
    owner: str | None
    members: tuple[str, ...]
    has_group_config: bool = True


def list_sites(session: PartnerSession, partner_id: str) -> list[Site] | None:
    """Return the sites this key may see, in the partner's order; None without such a partner.

    Shape:  double entries of the partner are merged, foreign ones ignored, doubles left out
    Raises: PartnerContract when the list is not as documented
    """
    wanted = partner_id.strip()
    answer = session.ask(
        SITE_LIST,
        session.home_data_center,
        {"targetPartnerID": wanted},
        pace=session.call_pace,
    )
    listed: list[Any] | None = None
    for entry in _array(answer, answer.body.get("sites"), "sites"):
        if isinstance(entry, dict) and _id_text(entry.get("partnerID")) == wanted:
            listed = [*(listed or ()), *_array(answer, entry.get("sites"), "a partner's sites")]
    if listed is None:
        return None
    sites, doubles = _distinct(_site(item, number) for number, item in enumerate(listed, 1))
    if doubles:
        session.notice(
            f"The partner lists {doubles} site(s) twice, by id or API key; each is taken once."
        )
    return sites


def site_config(session: PartnerSession, site: Site) -> SiteConfig:
    """Return a site's configuration, as far as counting needs it; the rest holds secrets.

    Raises: PartnerContract when the site has no API key or the answer is not as documented
    """
    require_key(site)
    known = data_center_domain(site.data_center) is not None
    answer = session.ask(
        "admin.getSiteConfig",
        site.data_center if known else session.home_data_center,
        {"apiKey": site.api_key, _GROUP_RIGHT: "true"},
        pace=session.call_pace,
        other_data_center=session.home_data_center,
    )
    body = answer.body
    group = body.get("siteGroupConfig")
    if not (group is None or isinstance(group, dict)):
        raise answer.unreadable("siteGroupConfig is no object")
    return SiteConfig(
        data_center=_data_center(body.get("dataCenter")),
        owner=_owner(answer, body.get("siteGroupOwner")),
        members=_members(answer, (group or {}).get("members"), site.api_key),
        has_group_config=not _names(body.get("ignoredParams"), _GROUP_RIGHT),
    )


def require_key(site: Site) -> None:
    """Raise PartnerContract for a site that the partner listed without a usable API key."""
    if not site.api_key:
        raise PartnerContract("The partner lists this site without an API key; it cannot be asked.")


def _site(item: Any, number: int) -> Site:
    fields = item if isinstance(item, dict) else {}
    key = fields.get("apiKey")
    key = key if isinstance(key, str) and _WORD.fullmatch(key) else ""
    name = one_line(fields.get("baseDomain"), NAME_CAP)
    return Site(
        site_id=_id_text(fields.get("siteID")) or key or f"entry-{number}",
        api_key=key,
        name=name or one_line(fields.get("description"), NAME_CAP),
        data_center=_data_center(fields.get("dataCenter")),
    )


def _distinct(listed: Iterable[Site]) -> tuple[list[Site], int]:
    """Return the sites without doubles, and how many there were: one key counts its users once."""
    sites: list[Site] = []
    ids: set[str] = set()
    keys: set[str] = set()
    doubles = 0
    for site in listed:
        if site.site_id in ids or site.api_key in keys:
            doubles += 1
            continue
        ids.add(site.site_id)
        keys |= {site.api_key} - {""}
        sites.append(site)
    return sites, doubles


def _array(answer: Answer, value: Any, name: str) -> list[Any]:
    """Return a list; fields without data are left out of answers, so a missing one is empty."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise answer.unreadable(f"{name} is no list")
    return value


def _id_text(value: Any) -> str:
    """Return an id as text: whole numbers and words only, "" for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**40 else ""
    text = value.strip() if isinstance(value, str) else ""
    return text if _WORD.fullmatch(text) else ""


def _data_center(value: Any) -> str:
    return known_data_center(value) or one_line(value, 40)


def _owner(answer: Answer, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise answer.unreadable("siteGroupOwner is no text")
    return (value or "").strip() or None


def _members(answer: Answer, value: Any, own_key: str) -> tuple[str, ...]:
    members = _array(answer, value, "siteGroupConfig.members")
    if not all(isinstance(member, str) for member in members):
        raise answer.unreadable("siteGroupConfig.members holds something else than API keys")
    trimmed = (member.strip() for member in members)
    return tuple(dict.fromkeys(key for key in trimmed if key and key != own_key))


def _names(ignored: Any, name: str) -> bool:
    """Say whether `ignoredParams` names a parameter; it is a list of words or of objects."""
    if isinstance(ignored, str):
        return name in ignored
    if isinstance(ignored, dict):
        return name in ignored or any(_names(value, name) for value in ignored.values())
    return isinstance(ignored, list) and any(_names(item, name) for item in ignored)
