"""One flight: the months of a site that two running reports ask for are asked once.

A report takes a site in Redis before it asks; another one that wants the same site of the same
partner, in the same company, waits, and then takes what the first one found: closed months from the
store, the others from here. Its own key was shown the site, or it would not ask at all. Without
Redis each report asks for itself.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from redis.exceptions import RedisError

from webapp.kinds.partner_use.compute import Cell
from webapp.lib.months import month_text, parse_month

log = logging.getLogger(__name__)

HELD_MS = 30_000
RENEW_EVERY_S = 8.0
SHARED_S = 120
_RELEASE = (
    "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0"
)


@dataclass(frozen=True)
class Found:
    """Counts another one left of a site; `own_searches` is what they cost a helper of this report,
    None where it was another report."""

    cells: dict[date, Cell]
    own_searches: int | None


class Flights:
    """The sites one report has taken or given back already. Used by one thread."""

    def __init__(
        self, client: Any, company_id: str, partner_id: str, report_id: str, helper: int = 0
    ) -> None:
        self._client = client
        self._prefix = f"flight:{company_id}:{partner_id}"
        self._report_id = report_id
        self._mark = f"{report_id}/{helper}" if helper else report_id
        self._release = client.register_script(_RELEASE)
        self._held: set[str] = set()
        self._landed: set[str] = set()
        self._renewed = time.monotonic()

    def _key(self, site_id: str) -> str:
        return f"{self._prefix}:{site_id}"

    def take(self, site_id: str) -> bool:
        """Take a site; False while another report has it. A site taken before is taken again.

        What has landed is not taken any more: nobody would land it, and two reports that each hold
        what the other one waits for would wait for ever.
        """
        if self.has_had(site_id):
            return True
        try:
            taken = self._client.set(self._key(site_id), self._mark, nx=True, px=HELD_MS)
            if not taken:
                # Taken by an attempt of this very report whose worker was lost: nobody lands it.
                taken = self._client.get(self._key(site_id)) == self._mark.encode()
        except RedisError as error:
            log.warning("asking without looking at other reports: %s", type(error).__name__)
            taken = True
        if taken:
            self._held.add(site_id)
        return bool(taken)

    def has_had(self, site_id: str) -> bool:
        """Return whether the site was taken by this report, given back since or not."""
        return site_id in self._held or site_id in self._landed

    def renew(self) -> None:
        """Keep what is taken; called often, does something every few seconds."""
        if not self._held or time.monotonic() - self._renewed < RENEW_EVERY_S:
            return
        self._renewed = time.monotonic()
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for site_id in self._held:
                    pipe.pexpire(self._key(site_id), HELD_MS)
                pipe.execute()
        except RedisError as error:
            log.warning("a flight may be asked twice: %s", type(error).__name__)

    def land(self, site_id: str, unstored: Mapping[date, Cell], searches: int = 0) -> None:
        """Give a site back, leaving the counts that the store does not take, and what they cost."""
        self._held.discard(site_id)
        self._landed.add(site_id)
        left = {
            "by": self._report_id,
            "searches": searches,
            "months": {
                month_text(month): [cell.value, cell.counted_at.isoformat()]
                for month, cell in unstored.items()
            },
        }
        try:
            self._client.set(f"{self._key(site_id)}:found", json.dumps(left), ex=SHARED_S)
            self._release(keys=[self._key(site_id)], args=[self._mark])
        except RedisError as error:
            log.warning("a flight ends by itself: %s", type(error).__name__)

    def land_all(self) -> None:
        """Give back what is still taken: the report ends, whatever the end."""
        for site_id in self.held():
            self.land(site_id, {})

    def held(self) -> list[str]:
        """Return the sites this report has taken."""
        return list(self._held)

    def found(self, site_id: str) -> Found | None:
        """Return what was left of a site that was given back in the last minutes, if it was."""
        try:
            raw = self._client.get(f"{self._key(site_id)}:found")
        except RedisError:
            return None
        if not raw:
            return None
        left = json.loads(raw)
        cells = {
            parse_month(text): Cell(int(value), datetime.fromisoformat(counted_at))
            for text, (value, counted_at) in left["months"].items()
        }
        own_searches = int(left["searches"]) if left["by"] == self._report_id else None
        return Found(cells, own_searches)
