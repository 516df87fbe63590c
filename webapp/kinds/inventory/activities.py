"""The tree of activities as the flow's client reads it: four groups, and what is in them."""

from __future__ import annotations

from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from webapp.kinds.inventory.standards import SCOPE_3

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
