"""A partner of a few made-up sites, over real HTTP, whose answers a test may spoil as it likes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.partner.bad_server import Asked, BadServer, Move, answer

PARTNER = "70000001"
_MOMENT = re.compile(r'created (>=|<) "([^"]+)"')
_LIMIT = re.compile(r"LIMIT (\d+)")


@dataclass
class OddSite:
    """A site and the creation moments of its accounts, as the partner writes them."""

    api_key: str
    created: list[str] = field(default_factory=list)
    site_id: int = 0
    data_center: str = "us1"
    name: str = ""
    login: str | None = None
    config: dict[str, Any] = field(default_factory=dict)


class OddPartner(BadServer):
    """The server. `spoil` may return another move for a request, and change the sites before."""

    def __init__(self, *sites: OddSite) -> None:
        super().__init__()
        self.sites = {site.api_key: site for site in sites}
        for number, site in enumerate(sites, 100_001):
            site.site_id = site.site_id or number
            site.name = site.name or f"{site.api_key}.example"
        self.spoil: Callable[[Asked], Move | None] = lambda asked: None
        self.script = lambda asked: self.spoil(asked) or answer(self.body(asked))

    def searches(self, api_key: str | None = None) -> list[Asked]:
        """Return the searches that came, of one site or of all."""
        return [
            asked
            for asked in self.asked
            if asked.method == "accounts.search" and api_key in {None, asked.form["apiKey"]}
        ]

    def body(self, asked: Asked) -> dict[str, Any]:
        """Return what a sound partner answers."""
        if asked.method == "admin.getUserSites":
            return {"sites": [{"partnerID": int(PARTNER), "sites": self._listed()}]}
        site = self.sites[asked.form["apiKey"]]
        if asked.method == "admin.getSiteConfig":
            standalone = {"dataCenter": site.data_center, "siteGroupConfig": {"enableSSO": False}}
            return standalone | site.config
        return self._search(site, asked.form["query"])

    def _listed(self) -> list[dict[str, Any]]:
        return [
            {
                "siteID": site.site_id,
                "apiKey": site.api_key,
                "baseDomain": site.name,
                "description": "",
                "dataCenter": site.data_center,
            }
            for site in self.sites.values()
        ]

    def _search(self, site: OddSite, query: str) -> dict[str, Any]:
        found = sorted(site.created, key=_instant)
        for sign, moment in _MOMENT.findall(query):
            bound = _instant(moment)
            found = [one for one in found if (_instant(one) < bound) == (sign == "<")]
        if "count(*)" in query:
            return {"results": [{"count(*)": len(found)}], "totalCount": len(found)}
        if "lastLogin" in query:
            rows = [{"UID": "u", "lastLogin": site.login}] if site.login else []
            return {"results": rows, "totalCount": len(rows)}
        newest_first = "DESC" in query
        limit = int(_LIMIT.search(query)[1])  # type: ignore[index]
        rows = [{"created": one} for one in (found[::-1] if newest_first else found)[:limit]]
        return {"results": rows, "totalCount": len(found)}


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def accounts(**days: int) -> list[str]:
    """Return creation moments: `d20250110=10` is ten accounts of 2025-01-10."""
    return [
        f"{day[1:5]}-{day[5:7]}-{day[7:]}T12:00:00.000Z"
        for day, number in days.items()
        for _ in range(number)
    ]
