"""Where the counts of a report come from and go to: stored months, and checkpoints of its own.

What is counted is kept as it arrives, as a checkpoint of this report, for a restart or a retry. The
closed months of a site are stored for later reports once its numbers agree with each other. A
stored month keeps the API key it was counted for: a site ID may be another site's tomorrow.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from webapp.engine.kind import MonthStore, Run
from webapp.lib.months import is_closed, month_text, parse_month
from webapp.partner import Count, Site

PREFIX = "month:"
FLUSH_EVERY_S = 1.0
# Sites whose stored months are read at once; of 5,000 sites they would take 200 MB.
SITES_AT_ONCE = 100


def stored_counts(
    months: MonthStore, partner_id: str, sites: Sequence[Site], start: date, end: date
) -> Iterator[tuple[Site, dict[date, Count]]]:
    """Yield each site with its fresh stored months, `end` included."""
    # What is counted together has one moment: kept once, not once a month of each site.
    moments: dict[datetime, datetime] = {}
    for first in range(0, len(sites), SITES_AT_ONCE):
        chunk = sites[first : first + SITES_AT_ONCE]
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
        self._closed: list[tuple[str, date, Any, datetime]] = []
        self._flushed = time.monotonic()

    def load(self, sites: Sequence[str], start: date, end: date) -> dict[str, dict[date, Count]]:
        """Return by site what is stored, and what an earlier attempt of this report counted."""
        series = self.load_stored(sites, start, end)
        for key, (value, counted_at, how, by) in self._run.load_checkpoints(PREFIX).items():
            site, _, text = key.removeprefix(PREFIX).rpartition(":")
            month = parse_month(text)
            if site in series and start <= month <= end:
                moment = datetime.fromisoformat(counted_at)
                series[site][month] = Count(value, moment, how, tuple(by))
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
        written = [count.value, count.counted_at.isoformat(), count.how, list(count.by)]
        self._checkpoints[f"{PREFIX}{site}:{month_text(month)}"] = written
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
        self._run.save_checkpoints(checkpoints)
        self._flushed = time.monotonic()
