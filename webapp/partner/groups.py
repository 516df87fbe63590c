"""Which sites share another site's users: child, parent, stand-alone, or not to be known.

A parent hosts the accounts of its whole group, so counting a child counts its users twice.
Source: partner guide, "Classification"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from webapp.partner.sites import Site, SiteConfig

Place = Literal["child", "parent", "standalone", "unknown"]


@dataclass(frozen=True)
class SiteClass:
    """A site's place in its group; `warning` is a sentence where something does not add up."""

    kind: Place
    parent_api_key: str | None = None
    warning: str | None = None


def classify(sites: Sequence[Site], configs: Mapping[str, SiteConfig]) -> dict[str, SiteClass]:
    """Return each listed site's place by API key; a site without a configuration is unknown."""
    places = {site.api_key: _alone(site.api_key, configs.get(site.api_key)) for site in sites}
    _take_claimed(places, configs)
    _warn_of_lost_children(places)
    return places


def _alone(key: str, config: SiteConfig | None) -> SiteClass:
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


def _take_claimed(places: dict[str, SiteClass], configs: Mapping[str, SiteConfig]) -> None:
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
