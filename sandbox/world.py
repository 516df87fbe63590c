"""The demo world: all partners, their sites by API key, and the accounts, made on demand."""

from __future__ import annotations

from sandbox.growth import Store, mix
from sandbox.moments import parse_iso
from sandbox.partners import PARTNERS, Site

DATA_END = "2026-11-15T00:00:00Z"
"""No account is created and nobody signs in from here on, whatever day the program runs."""


class World:
    """Everything the stand-in knows, from a seed and the moment its data ends (`now`)."""

    def __init__(self, *, seed: int = 1, now: str = DATA_END) -> None:
        self.seed = seed
        self.end_ms, _ = parse_iso(now)
        self.partners = {number: partner.sites() for number, partner in PARTNERS.items()}
        self.by_key = {site.api_key: site for sites in self.partners.values() for site in sites}
        self._stores: dict[str, Store] = {}

    def sites(self, partner_id: int) -> tuple[Site, ...]:
        """Return the sites of a partner in the order of the list; none for an unknown one."""
        return self.partners.get(partner_id, ())

    def store(self, site: Site) -> Store:
        """Return the accounts that a search with the site's key sees; a child sees its parent's."""
        key = site.parent_api_key or site.api_key
        if key not in self._stores:
            home = self.by_key.get(key, site)
            seed = mix(self.seed, site.partner_id, home.position, 11)
            self._stores[key] = Store(home.growth, seed, self.end_ms)
        return self._stores[key]

    def forget(self) -> None:
        """Undo all deletions."""
        self._stores.clear()

    def move_to(self, now: str) -> None:
        """Let the data end at another moment; what was created before stays as it was."""
        self.end_ms, _ = parse_iso(now)
        self._stores.clear()
