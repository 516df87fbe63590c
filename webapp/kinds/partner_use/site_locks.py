"""The months of a site that two running reports ask for are asked once.

A report locks a site in Redis before it asks; another one that wants the same site of the same
partner, in the same company, waits, and then takes what the first one found: closed months from the
store, the others from here. Its own key was shown the site, or it would not ask at all. Without
Redis each report asks for itself.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from redis.exceptions import LockError, RedisError
from redis.lock import Lock

from webapp.lib.months import month_text, parse_month
from webapp.partner import Count

log = logging.getLogger(__name__)

HELD_S = 30.0
RENEW_EVERY_S = 8.0
SHARED_S = 120


class SiteLocks:
    """The sites one report has locked, or released already. Used by one thread."""

    def __init__(self, client: Any, company_id: str, partner_id: str, report_id: str) -> None:
        self._client, self._token = client, report_id
        self._prefix = f"site:{company_id}:{partner_id}"
        self._held: dict[str, Lock] = {}
        self._released: set[str] = set()
        self._renewed = time.monotonic()

    def acquire(self, site: str) -> bool:
        """Lock a site; False while another report has it. A site locked before is this report's.

        What was released is not locked again: nobody would release it, and two reports that each
        hold what the other one waits for would wait for ever.
        """
        if self.was_acquired(site):
            return True
        try:
            # No exchange of tokens between threads: one lock per site, all with the report's ID.
            lock = Lock(self._client, f"{self._prefix}:{site}", HELD_S, thread_local=False)
            if not lock.acquire(blocking=False, token=self._token):
                # Locked by an attempt of this very report whose worker was lost?
                lock.local.token = self._token.encode()
                if not lock.owned():
                    return False
            self._held[site] = lock
        except RedisError as error:
            log.warning("asking without looking at other reports: %s", type(error).__name__)
            self._released.add(site)
        return True

    def was_acquired(self, site: str) -> bool:
        """Return whether the site was locked by this report, released since or not."""
        return site in self._held or site in self._released

    def renew(self) -> None:
        """Keep what is locked; called often, does something every few seconds."""
        if not self._held or time.monotonic() - self._renewed < RENEW_EVERY_S:
            return
        self._renewed = time.monotonic()
        for lock in self._held.values():
            try:
                lock.reacquire()
            except (RedisError, LockError) as error:
                log.warning("a site may be asked twice: %s", type(error).__name__)
                return

    def release(self, site: str, unstored: Mapping[date, Count]) -> None:
        """Give a site back, leaving the counts that the store does not take."""
        lock = self._held.pop(site, None)
        self._released.add(site)
        left = {
            month_text(month): [count.value, count.counted_at.isoformat(), count.how, count.by]
            for month, count in unstored.items()
        }
        try:
            self._client.set(f"{self._prefix}:{site}:found", json.dumps(left), ex=SHARED_S)
            if lock is not None:
                lock.release()
        except (RedisError, LockError) as error:
            log.warning("a lock ends by itself: %s", type(error).__name__)

    def release_all(self) -> None:
        """Give back what is still locked: the report ends, whatever the end."""
        for site in list(self._held):
            self.release(site, {})

    @property
    def held(self) -> list[str]:
        """Return the sites this report has locked."""
        return list(self._held)

    def found(self, site: str) -> dict[date, Count]:
        """Return what another report left of a site that it released in the last minutes."""
        try:
            raw = self._client.get(f"{self._prefix}:{site}:found")
        except RedisError:
            return {}
        return {
            parse_month(text): Count(int(value), datetime.fromisoformat(counted_at), how, tuple(by))
            for text, (value, counted_at, how, by) in json.loads(raw or "{}").items()
        }
