"""Categories: the GHG Protocol's scope 3, ISO 14064-1's, which entry is in which, and the tree of
activities as the flow's client reads it: four groups, and what is in them.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from webapp.intake import heading_key

SCOPE_3 = {
    1: "Purchased goods and services",
    2: "Capital goods",
    3: "Fuel- and energy-related activities",
    4: "Upstream transportation and distribution",
    5: "Waste generated in operations",
    6: "Business travel",
    7: "Employee commuting",
    8: "Upstream leased assets",
    9: "Downstream transportation and distribution",
    10: "Processing of sold products",
    11: "Use of sold products",
    12: "End-of-life treatment of sold products",
    13: "Downstream leased assets",
    14: "Franchises",
    15: "Investments",
}
ISO_14064 = {
    1: "Direct emissions and removals",
    2: "Indirect emissions from imported energy",
    3: "Indirect emissions from transportation",
    4: "Indirect emissions from products used by the organization",
    5: "Indirect emissions from the use of products of the organization",
    6: "Indirect emissions from other sources",
}
# Words that name a category of scope 3; of two that fit, the first here.
_WORDS = (
    (12, ("end_of_life",)),
    (10, ("processing_of_sold",)),
    (11, ("use_of_sold",)),
    (13, ("downstream_leased",)),
    (9, ("downstream_transport", "outbound")),
    (8, ("upstream_leased", "leased_assets")),
    (4, ("upstream_transport", "inbound", "transportation_and_distribution", "freight")),
    (3, ("fuel_and_energy", "well_to_tank", "wtt")),
    (2, ("capital_goods",)),
    (1, ("purchased_goods", "purchased_services", "goods_and_services")),
    (5, ("waste",)),
    (6, ("business_travel",)),
    (7, ("commuting",)),
    (14, ("franchise",)),
    (15, ("investment",)),
)
_NUMBER = re.compile(
    r"\s*(?:(?:scope\s*)?3[.\s]|cat(?:egory)?\.?\s*)?\s*(1[0-5]|[1-9])(?![\d])", re.I
)


def scope_3_category(scope: int, category: str) -> int | None:
    """Return the number of a category of scope 3: by a number before it, or by its words.

    0 where neither says it; None for the other scopes
    """
    if scope != 3:
        return None
    if found := _NUMBER.match(category):
        return int(found[1])
    key = heading_key(category)
    return next((number for number, words in _WORDS if any(word in key for word in words)), 0)


def iso_category(scope: int, category: str) -> int:
    """Return the number of a category of ISO 14064-1."""
    if scope < 3:
        return scope
    number = scope_3_category(scope, category) or 0
    if number in {4, 6, 7, 9}:
        return 3
    if number in {1, 2, 3, 5, 8}:
        return 4
    return 5 if number else 6


GROUPS = ("Direct emissions", "Purchased energy", "Upstream", "Downstream")
_DIRECT = ("Stationary combustion", "Mobile combustion", "Process emissions", "Fugitive emissions")
_ENERGY = {
    "PURCHASED_ELECTRICITY": "Purchased electricity",
    "PURCHASED_STEAM_HEAT_COOLING": "Purchased steam, heat and cooling",
}
# The client's words for the fifteen categories of scope 3, in their order.
_SCOPE_3 = (
    *("PURCHASED_GOODS_AND_SERVICES", "CAPITAL_GOODS", "FUEL_AND_ENERGY_RELATED_ACTIVITIES"),
    *("UPSTREAM_TRANSPORT_AND_DISTRIBUTION", "WASTE_GENERATED_IN_OPERATIONS", "BUSINESS_TRAVEL"),
    *("EMPLOYEE_COMMUTING", "UPSTREAM_LEASED_ASSETS", "DOWNSTREAM_TRANSPORT_AND_DISTRIBUTION"),
    *("PROCESSING_OF_SOLD_PRODUCTS", "USE_OF_SOLD_PRODUCTS", "END_OF_LIFE_OF_SOLD_PRODUCTS"),
    *("DOWNSTREAM_LEASED_ASSETS", "FRANCHISES", "INVESTMENTS"),
)


class Activity(NamedTuple):
    """A category of the tree: its type in the client's words, and an entry's scope and category."""

    type: str
    scope: int
    category: str
    group: int

    @property
    def id(self) -> str:
        """The same for every company."""
        return activity_id(self.type)


def activity_id(name: str) -> str:
    """Return the id of a group or a category of the tree."""
    return str(uuid5(NAMESPACE_URL, f"inventory activity {name}"))


ACTIVITIES = (
    *(Activity(name.upper().replace(" ", "_"), 1, name, 0) for name in _DIRECT),
    *(Activity(type, 2, name, 1) for type, name in _ENERGY.items()),
    *(
        Activity(type, 3, SCOPE_3[number], 2 if number < 9 else 3)
        for number, type in enumerate(_SCOPE_3, start=1)
    ),
)
