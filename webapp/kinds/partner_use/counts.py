"""Where the counts of a report come from and go to: stored months, checkpoints, other reports.

What is counted is kept as it arrives, as a checkpoint of this report, for a restart or a retry. The
closed months of a site are stored for later reports once its numbers agree with each other. A
stored month keeps the API key it was counted for: a site ID may be another site's tomorrow.

The months of a site that two running reports ask for are asked once. A report locks a site in Redis
before it asks; another one that wants the same site of the same partner, in the same company,
waits, and then takes what the first one found: closed months from the store, the others from here.
Its own key was shown the site, or it would not ask at all. Without Redis each asks for itself.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from redis.exceptions import LockError, RedisError
from redis.lock import Lock

from webapp.engine.months import MonthStore, StoredValue
from webapp.engine.run import Run
from webapp.lib.batches import batched
from webapp.lib.months import is_closed, month_text, parse_month
from webapp.partner.searches import Count
from webapp.partner.sites import Site

log = logging.getLogger(__name__)

# A count to be stored: the site's item, month, value, when it was counted.
Closed = tuple[str, date, Any, datetime]
PREFIX = "month:"
FLUSH_EVERY_S = 1.0
# How long a lock is held, how often it is renewed, how long what was found is kept for others.
HELD_S, RENEW_EVERY_S, SHARED_S = 30.0, 8.0, 120
# Sites whose stored months are read at once; of 5,000 sites they would take 200 MB.
SITES_AT_ONCE = 100


def stored_counts(
    months: MonthStore, partner_id: str, sites: Sequence[Site], start: date, end: date
) -> Iterator[tuple[Site, dict[date, Count]]]:
    """Yield each site with its fresh stored months, `end` included."""
    # What is counted together has one moment: kept once, not once a month of each site.
    moments: dict[datetime, datetime] = {}
    for chunk in batched(sites, SITES_AT_ONCE):
        found: dict[str, dict[date, Count]] = {site.store_item: {} for site in chunk}
        keys = {site.store_item: site.api_key for site in chunk}
        stored = months.fresh(partner_id, keys, start, end)
        for (item, month), one in stored.items():
            value = one.value
            # Before sites were told apart by API key a stored month was a bare number.
            if isinstance(value, dict) and value["api_key"] == keys[item]:
                counted_at = moments.setdefault(one.counted_at, one.counted_at)
                found[item][month] = Count(
                    value["count"], counted_at, value["how"], tuple(value["by"]), is_stored=True
                )
        for site in chunk:
            yield site, found[site.store_item]


class CountStore:
    """The counts of one report's sites, a batch of writes about once a second.

    refresh: nothing older than the moment this report was asked for is used
    """

    def __init__(self, run: Run, partner_id: str, sites: Mapping[str, Site], refresh: bool) -> None:
        self._run, self._partner_id, self._sites, self._refresh = run, partner_id, sites, refresh
        self._checkpoints: dict[str, Any] = {}
        self._closed: list[Closed] = []
        self._flushed = time.monotonic()

    def load(self, sites: Sequence[str], start: date, end: date) -> dict[str, dict[date, Count]]:
        """Return by site what is stored, and what an earlier attempt of this report counted."""
        series = self.load_stored(sites, start, end)
        for key, packed in self._run.load_checkpoints(PREFIX).items():
            site, _, text = key.removeprefix(PREFIX).rpartition(":")
            month = parse_month(text)
            if site in series and start <= month <= end:
                series[site][month] = _unpacked(*packed)
        return series

    def load_stored(
        self, sites: Sequence[str], start: date, end: date
    ) -> dict[str, dict[date, Count]]:
        """Return by site the stored months that may be used for this report."""
        wanted = [self._sites[site] for site in sites]
        oldest = self._run.asked_at if self._refresh else None
        return {
            site.ref: {
                month: count
                for month, count in counts.items()
                if oldest is None or count.counted_at >= oldest
            }
            for site, counts in stored_counts(
                self._run.months, self._partner_id, wanted, start, end
            )
        }

    def add(self, site: str, month: date, count: Count) -> None:
        """Keep a checked count for this report."""
        self._checkpoints[f"{PREFIX}{site}:{month_text(month)}"] = _packed(count)
        self._flush_when_due()

    def store(self, site: str, counts: Mapping[date, Count]) -> dict[date, Count]:
        """Keep a site's closed months for all reports; return the others."""
        listed, unclosed = self._sites[site], {}
        for month, count in counts.items():
            if not is_closed(month, count.counted_at):
                unclosed[month] = count
            elif not count.is_stored:
                value = {"count": count.value, "api_key": listed.api_key}
                value |= {"how": count.how, "by": list(count.by)}
                self._closed.append((listed.store_item, month, value, count.counted_at))
        self._flush_when_due()
        return unclosed

    def _flush_when_due(self) -> None:
        if time.monotonic() - self._flushed >= FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered."""
        closed, self._closed = self._closed, []
        checkpoints, self._checkpoints = self._checkpoints, {}
        if closed:
            self._run.months.save(self._partner_id, closed)
            items = {item for item, *_ in closed}
            self._run.months.drop(self._partner_id, items, contradiction(closed))
        self._run.save_checkpoints(checkpoints)
        self._flushed = time.monotonic()


def contradiction(saved: Sequence[Closed]) -> Callable[[str, date, StoredValue], bool]:
    """Return what says of a stored month that counts saved just now are of another past.

    Accounts are deleted, or imported with older dates: one from before that has more than a later
    month, or fewer than an earlier one. A report of that month alone would not see it.
    """
    ends: dict[str, list[Closed]] = {}
    for one in sorted(saved, key=lambda one: one[1]):
        # Those of a site agree with each other, so its first and last month tell all.
        ends[one[0]] = [ends.get(one[0], [one])[0], one]

    def contradicts(item: str, month: date, stored: StoredValue) -> bool:
        # Before sites were told apart by API key a stored month was a bare number: it is not used.
        return isinstance(stored.value, dict) and any(
            stored.counted_at < counted_at
            and (stored.value["count"] - value["count"]) * (at - month).days > 0
            for _, at, value, counted_at in ends[item]
        )

    return contradicts


class SiteLocks:
    """The sites one report has locked (`held`) or released already. Used by one thread."""

    def __init__(self, client: Any, company_id: str, partner_id: str, report_id: str) -> None:
        self._client, self._token = client, report_id
        self._prefix = f"site:{company_id}:{partner_id}"
        self.held: dict[str, Lock] = {}
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
            self.held[site] = lock
        except RedisError as error:
            log.warning("asking without looking at other reports: %s", type(error).__name__)
            self._released.add(site)
        return True

    def was_acquired(self, site: str) -> bool:
        """Return whether the site was locked by this report, released since or not."""
        return site in self.held or site in self._released

    def renew(self) -> None:
        """Keep what is locked; called often, does something every few seconds."""
        if not self.held or time.monotonic() - self._renewed < RENEW_EVERY_S:
            return
        self._renewed = time.monotonic()
        for lock in self.held.values():
            try:
                lock.reacquire()
            except (RedisError, LockError) as error:
                log.warning("a site may be asked twice: %s", type(error).__name__)
                return

    def release(self, site: str, unstored: Mapping[date, Count]) -> None:
        """Give a site back, leaving the counts that the store does not take."""
        lock = self.held.pop(site, None)
        self._released.add(site)
        left = {month_text(month): _packed(count) for month, count in unstored.items()}
        try:
            self._client.set(f"{self._prefix}:{site}:found", json.dumps(left), ex=SHARED_S)
            if lock is not None:
                lock.release()
        except (RedisError, LockError) as error:
            log.warning("a lock ends by itself: %s", type(error).__name__)

    def release_all(self) -> None:
        """Give back what is still locked: the report ends, whatever the end."""
        for site in list(self.held):
            self.release(site, {})

    def found(self, site: str) -> dict[date, Count]:
        """Return what another report left of a site that it released in the last minutes."""
        try:
            raw = self._client.get(f"{self._prefix}:{site}:found")
        except RedisError:
            return {}
        left = json.loads(raw or "{}")
        return {parse_month(text): _unpacked(*packed) for text, packed in left.items()}


def _packed(count: Count) -> list[Any]:
    """Return a count as JSON keeps it."""
    return [count.value, count.counted_at.isoformat(), count.how, list(count.by)]


def _unpacked(value: int, counted_at: str, how: str, by: Sequence[str]) -> Count:
    return Count(int(value), datetime.fromisoformat(counted_at), how, tuple(by))
