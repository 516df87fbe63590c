"""How a monthly report asks and keeps: searches breadth-first over sites, counts as they arrive."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from webapp.engine.kind import Run
from webapp.kinds.partner_use.compute import Cell
from webapp.kinds.partner_use.planner import Search, SitePlan
from webapp.lib.months import is_closed, month_text

Task = tuple[str, Search]
KEPT = "month:"
FLUSH_EVERY_S = 1.0
# Sites whose stored months are read at once; of 5,000 sites they would take 200 MB.
SITES_AT_ONCE = 100


class Keeper:
    """Keeps counts as they arrive, a batch about once a second instead of a transaction each."""

    def __init__(self, run: Run, partner_id: str) -> None:
        self._run = run
        self._partner_id = partner_id
        self._closed: list[tuple[str, date, Any, datetime]] = []
        self._open: dict[str, Any] = {}
        self._flushed = time.monotonic()

    def add(self, site_id: str, month: date, cell: Cell) -> None:
        """Keep a checked count: for all reports if its month is closed, else for this one."""
        if is_closed(month, cell.counted_at):
            self._closed.append((site_id, month, cell.value, cell.counted_at))
        else:
            key = f"{KEPT}{site_id}:{month_text(month)}"
            self._open[key] = [cell.value, cell.counted_at.isoformat()]
        if time.monotonic() - self._flushed >= FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered."""
        closed, self._closed = self._closed, []
        unclosed, self._open = self._open, {}
        if closed:
            self._run.months.save(self._partner_id, closed)
        self._run.save_checkpoints(unclosed)
        self._flushed = time.monotonic()


class Searches:
    """The searches of many sites as one iterator: breadth-first, one under way per site.

    It ends when nothing can be sent at the moment and goes on when an answer has made something
    possible, which `side_by_side` allows. Where months are asked plainly a site may have many
    searches under way; nothing is learned from one for the next.

    take:  takes a site for this report, or says that another one has it
    taken: sites that another report had; `look_again` puts them back in line
    """

    def __init__(
        self, plans: dict[str, SitePlan], take: Callable[[str], bool], *, plain: bool
    ) -> None:
        self._plans = plans
        self._take = take
        self._plain = plain
        self._waiting = deque(site_id for site_id, plan in plans.items() if plan.unknown)
        self.taken: list[str] = []

    def __iter__(self) -> Searches:
        return self

    def __next__(self) -> Task:
        while self._waiting:
            site_id = self._waiting.popleft()
            if not self._take(site_id):
                self.taken.append(site_id)
                continue
            search = self._plans[site_id].next_search()
            if search is None:
                continue
            if self._plain:
                self._waiting.append(site_id)
            return site_id, search
        raise StopIteration

    def answered(self, site_id: str) -> None:
        """Put a site back in line."""
        if not self._plain:
            self._waiting.append(site_id)

    def look_again(self) -> None:
        """Put the sites that another report had back in line."""
        self._waiting.extend(self.taken)
        self.taken.clear()
