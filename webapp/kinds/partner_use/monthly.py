"""Monthly mode: accounts created before the end of each month, site by site.

Stored months are looked up for the sites of the survey only, which the caller's own key has just
been shown. What is counted is kept as it arrives: closed months in the store, for later reports;
the others as checkpoints of this report, for a restart or a retry.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from webapp.engine.kind import Context, Result, Run
from webapp.engine.months import (
    is_closed,
    month_end,
    month_text,
    months_between,
    next_month,
    parse_month,
)
from webapp.errors import PartnerError
from webapp.kinds.partner_use.compute import (
    Cell,
    SiteFacts,
    instant_text,
    month_rows,
    site_row,
)
from webapp.kinds.partner_use.params import PartnerUseParams
from webapp.kinds.partner_use.summary import NO_ACCOUNT_STORE
from webapp.kinds.partner_use.survey import Survey
from webapp.partner import Count, PartnerSession, count_accounts, side_by_side

Task = tuple[SiteFacts, date]
KEPT = "month:"
FLUSH_EVERY_S = 1.0


class Keeper:
    """Keeps counts as they arrive, a batch about once a second instead of a transaction each."""

    def __init__(self, run: Run, partner_id: str) -> None:
        self._run = run
        self._partner_id = partner_id
        self._closed: list[tuple[str, date, Any, datetime]] = []
        self._open: dict[str, Any] = {}
        self._flushed = time.monotonic()

    def add(self, site_id: str, month: date, cell: Cell) -> None:
        """Keep a checked count: stored for all reports if its month is closed, else for this one."""
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
        self._run.remember(unclosed)
        self._flushed = time.monotonic()


class Monthly:
    """One monthly report in the making: what is known, what is asked, what went wrong."""

    def __init__(
        self,
        session: PartnerSession,
        found: Survey,
        params: PartnerUseParams,
        run: Run,
        context: Context,
    ) -> None:
        self._session, self._found, self._params = session, found, params
        self._run, self._context = run, context
        self._start, self._end = params.first_month, params.last_month
        self._months = months_between(next_month(self._start, -1), self._end)
        self._facts = {facts.site_id: facts for facts in found.facts}
        self._series: dict[str, dict[date, Cell]] = {facts.site_id: {} for facts in found.counted}
        self._problems: dict[str, str] = {}
        self._keeper = Keeper(run, params.partner_id)

    def make(self) -> Result:
        """Ask for what is not known yet and return the result."""
        self._take_known()
        tasks = [
            (facts, month)
            for facts in self._found.counted
            for month in self._months
            if month not in self._series[facts.site_id]
        ]
        self._run.plan(1 + len(self._facts) + len(tasks))
        if tasks:
            self._ask(tasks)
        return self._result()

    def _take_known(self) -> None:
        """Take stored months and what an earlier attempt of this report counted."""
        known = 0
        stored = self._run.months.fresh(
            self._params.partner_id, self._series, self._months[0], self._end
        )
        for (site_id, month), value in stored.items():
            # Counted again means: not older than the moment this report was asked for.
            if self._params.refresh and value.counted_at < self._run.asked_at:
                continue
            self._series[site_id][month] = Cell(int(value.value), value.counted_at)
            known += 1
        for key, (count, counted_at) in self._run.remembered(KEPT).items():
            site_id, _, month = key.removeprefix(KEPT).rpartition(":")
            series = self._series.get(site_id)
            if series is not None and parse_month(month) in self._months:
                cell = Cell(count, datetime.fromisoformat(counted_at))
                known += parse_month(month) not in series
                series[parse_month(month)] = cell
        if known:
            self._run.calls(saved=known)
            self._run.say(f"{known:,} site months are known already and need no search.")

    def _ask(self, tasks: list[Task]) -> None:
        self._run.say(f"{len(tasks):,} site months to count.")
        left: dict[str, int] = {}
        for facts, _ in tasks:
            left[facts.site_id] = left.get(facts.site_id, 0) + 1
        try:
            for (facts, month), answer in self._answers(tasks):
                self._take(facts, month, answer)
                left[facts.site_id] -= 1
                self._run.step(None if left[facts.site_id] else self._site_line(facts))
        finally:
            # Also when a fault ends the run: what was counted need not be counted again.
            self._keeper.flush()

    def _answers(self, tasks: list[Task]) -> Iterator[tuple[Task, Count | PartnerError]]:
        return side_by_side(
            lambda task: count_accounts(
                self._session, self._found.sites[task[0].site_id], month_end(task[1])
            ),
            tasks,
            concurrency=self._context.config["PARTNER_CONCURRENCY"],
            stop=self._run.check,
        )

    def _take(self, facts: SiteFacts, month: date, answer: Count | PartnerError) -> None:
        if isinstance(answer, Count):
            cell = Cell(answer.value, answer.asked_at)
            self._series[facts.site_id][month] = cell
            self._keeper.add(facts.site_id, month, cell)
            return
        if answer.code in NO_ACCOUNT_STORE:
            note = "This site has no account store, so there is nothing to count."
            self._facts[facts.site_id] = replace(facts, counted=False, problem=note)
            return
        if facts.site_id not in self._problems:
            self._problems[facts.site_id] = f"{month_text(month)}: {answer.message}"
            self._run.say(f"{facts.name}, {month_text(month)}: {answer.message}", level="warn")

    def _site_line(self, facts: SiteFacts) -> str:
        last = self._series[facts.site_id].get(self._end)
        if last is None:
            return f"{facts.name}: no count for {month_text(self._end)}."
        return f"{facts.name}: {last.value:,} users at the end of {month_text(self._end)}."

    def _result(self) -> Result:
        facts = list(self._facts.values())
        rows = month_rows(facts, self._series, self._start, self._end)
        complete = all(row["complete"] for row in rows)
        self._run.say(self._last_line(rows, complete), level="info" if complete else "warn")
        head = {
            "mode": "monthly",
            "partner_id": self._params.partner_id,
            "start": month_text(self._start),
            "end": month_text(self._end),
            "generated_at": instant_text(self._context.now()),
            "complete": complete,
            "site_count": len(facts),
            "child_site_count": sum(one.is_child for one in facts),
            "api_calls": {"made": self._run.calls_made, "saved": self._run.calls_saved},
        }
        sites = (
            site_row(
                one,
                self._series.get(one.site_id, {}),
                self._start,
                self._end,
                self._problems.get(one.site_id),
            )
            for one in facts
        )
        return Result(head, {"months": rows, "sites": sites}, complete)

    def _last_line(self, rows: list[dict[str, Any]], complete: bool) -> str:
        total = rows[-1]["total_users"]
        users = "No count" if total is None else f"{total:,} users"
        known = "" if complete else "; some sites or months are missing"
        return f"{users} at the end of {month_text(self._end)}{known}."
