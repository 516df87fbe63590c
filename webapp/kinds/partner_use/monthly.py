"""Monthly mode: accounts created before the end of each month, site by site.

Stored months are looked up for the sites of the survey only, which the caller's own key has just
been shown. What is counted is kept as it arrives: closed months in the store, for later reports;
the others as checkpoints of this report, for a restart or a retry.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from webapp.engine.kind import Context, Result, Run
from webapp.errors import PartnerError, PartnerRefused
from webapp.kinds.partner_use.asking import KEPT, SITES_AT_ONCE, Keeper, Searches, Task
from webapp.kinds.partner_use.compute import (
    Cell,
    SiteFacts,
    instant_text,
    month_rows,
    site_row,
)
from webapp.kinds.partner_use.flights import Flights, Found
from webapp.kinds.partner_use.params import PartnerUseParams
from webapp.kinds.partner_use.planner import Search, SitePlan
from webapp.kinds.partner_use.summary import NO_ACCOUNT_STORE
from webapp.kinds.partner_use.survey import Survey
from webapp.lib.months import (
    is_closed,
    month_end,
    month_text,
    months_between,
    next_month,
    parse_month,
)
from webapp.partner import Created, PartnerSession, count_accounts, created_between, side_by_side

WAIT_S = 0.3
# One site's own settings may forbid it; two sites that refuse tell something of the key.
REFUSALS_THAT_TELL = 2


class Monthly:
    """One monthly report in the making: what is known, what is asked, what went wrong."""

    def __init__(
        self,
        session: PartnerSession,
        found: Survey,
        params: PartnerUseParams,
        run: Run,
        context: Context,
        helper: int = 0,
    ) -> None:
        self._session, self._found, self._params = session, found, params
        self._run, self._context = run, context
        self._start, self._end = params.first_month, params.last_month
        self._months = months_between(next_month(self._start, -1), self._end)
        self._facts = {facts.site_id: facts for facts in found.facts}
        self._keeper = Keeper(run, params.partner_id)
        self._plans: dict[str, SitePlan] = {}
        self._refused_reads: set[str] = set()
        self._said_waiting = False
        self._flights = Flights(
            context.redis, run.company_id, params.partner_id, run.report_id, helper
        )

    def make(self) -> Result:
        """Ask for what is not known yet and return the result."""
        self._plans = self._planned(self._known())
        unknown = sum(plan.unknown for plan in self._plans.values())
        self._run.set_total(1 + len(self._facts) + unknown)
        if unknown:
            self._run.log(f"{unknown:,} site months to find out.")
            self._ask()
        return self._result()

    def _known(self) -> dict[str, dict[date, Cell]]:
        """Return stored months and what an earlier attempt of this report counted, by site."""
        series = self._stored([one.site_id for one in self._found.counted])
        for key, (count, counted_at) in self._run.load_checkpoints(KEPT).items():
            site_id, _, text = key.removeprefix(KEPT).rpartition(":")
            month = parse_month(text)
            if site_id in series and self._months[0] <= month <= self._end:
                series[site_id][month] = Cell(count, datetime.fromisoformat(counted_at))
        known = sum(map(len, series.values()))
        if known:
            self._run.calls(saved=known)
            self._run.log(f"{known:,} site months are known already and need no search.")
        return series

    def _stored(self, site_ids: list[str]) -> dict[str, dict[date, Cell]]:
        """Return the stored months of these sites that may be used for this report."""
        series: dict[str, dict[date, Cell]] = {site_id: {} for site_id in site_ids}
        # What is counted together has one moment: kept once, not once a month of each site.
        moments: dict[datetime, datetime] = {}
        for first in range(0, len(site_ids), SITES_AT_ONCE):
            stored = self._run.months.fresh(
                self._params.partner_id,
                site_ids[first : first + SITES_AT_ONCE],
                self._months[0],
                self._end,
            )
            for (site_id, month), value in stored.items():
                counted_at = moments.setdefault(value.counted_at, value.counted_at)
                cell = Cell(int(value.value), counted_at)
                if self._may_use(cell):
                    series[site_id][month] = cell
        return series

    def _may_use(self, cell: Cell) -> bool:
        """Counting again means: nothing older than the moment this report was asked for."""
        return not self._params.refresh or cell.counted_at >= self._run.asked_at

    def _planned(self, known: dict[str, dict[date, Cell]]) -> dict[str, SitePlan]:
        ends = [month_end(month) for month in self._months]
        places = {month: index for index, month in enumerate(self._months)}
        return {
            site_id: SitePlan(
                ends,
                {places[month]: cell for month, cell in cells.items()},
                read_limit=self._context.config["PARTNER_READ_LIMIT"],
                plain=self._params.exact,
            )
            for site_id, cells in known.items()
        }

    def _ask(self) -> None:
        searches = Searches(self._plans, self._take_site, plain=self._params.exact)
        try:
            self._ask_all(searches)
            while searches.taken:
                self._wait(searches)
                self._ask_all(searches)
        finally:
            # Also when a fault ends the run: what was counted need not be counted again.
            self._keeper.flush()
            self._flights.land_all()
        implied = sum(plan.resolved - plan.searches for plan in self._plans.values())
        if implied > 0:
            self._run.calls(saved=implied)
            self._run.log(f"{implied:,} searches were not needed: their months were implied.")

    def _ask_all(self, searches: Searches) -> None:
        answers = side_by_side(
            self._search,
            searches,
            concurrency=self._context.config["PARTNER_CONCURRENCY"],
            stop=self._tend,
        )
        for (site_id, search), answer in answers:
            self._take(site_id, search, answer)
            searches.answered(site_id)

    def _tend(self) -> None:
        """What is due while searches are under way: notice a cancel, keep what was taken."""
        self._run.check()
        self._flights.renew()

    def _take_site(self, site_id: str) -> bool:
        """Take a site, with what another report that had it has found out meanwhile."""
        if self._flights.has_had(site_id):
            return True
        if not self._flights.take(site_id):
            return False
        # Another report may have given it back since the store was read, waited for or not.
        found = self._flights.found(site_id)
        if found is not None:
            self._learn(site_id, found)
            if self._plans[site_id].finished:
                self._land(site_id)
        return True

    def _learn(self, site_id: str, found: Found) -> None:
        """Give a site's plan what another report, or a helper of this one, has just counted."""
        # An open month of a report that ended before this one was asked for is not this one's: the
        # current month is never stored, not for two minutes either.
        found_now = {
            month: cell
            for month, cell in found.cells.items()
            if found.own_searches is not None or cell.counted_at >= self._run.asked_at
        }
        cells = self._stored([site_id])[site_id] | found_now
        plan = self._plans[site_id]
        before = plan.unknown
        learned = plan.learn(
            {index: cells[month] for index, month in enumerate(self._months) if month in cells}
        )
        made = min(found.own_searches or 0, learned)
        self._run.calls(made=made, saved=learned - made)
        line = self._site_line(site_id) if not plan.unknown else None
        self._run.advance(line, by=before - plan.unknown)

    def _wait(self, searches: Searches) -> None:
        """Wait a moment for the reports that have the sites which are left.

        Nothing is under way here, so nothing is held meanwhile: two reports that each held what the
        other waits for would wait for ever.
        """
        for site_id in self._flights.held():
            self._land(site_id)
        if not self._said_waiting:
            self._said_waiting = True
            number = len(searches.taken)
            self._run.log(f"Waiting for another report that is asking {number:,} of these sites.")
        time.sleep(WAIT_S)
        self._tend()
        searches.look_again()

    def _land(self, site_id: str) -> None:
        """Give a finished site back to other reports, its counts stored first."""
        self._keeper.flush()
        unstored = {
            self._months[index]: cell
            for index, cell in self._plans[site_id].cells.items()
            if not is_closed(self._months[index], cell.counted_at)
        }
        self._flights.land(site_id, unstored, self._plans[site_id].searches)

    def _search(self, task: Task) -> Cell | Created:
        site_id, search = task
        site = self._found.sites[site_id]
        if search.what == "count":
            count = count_accounts(self._session, site, search.end)
            return Cell(count.value, count.asked_at)
        limit = self._context.config["PARTNER_READ_LIMIT"]
        return created_between(self._session, site, search.start, search.end, limit)

    def _take(self, site_id: str, search: Search, answer: Cell | Created | PartnerError) -> None:
        """Hand an answer to its site's plan, keep what that resolved, tell how far it is."""
        plan, before = self._plans[site_id], set(self._plans[site_id].cells)
        if isinstance(answer, PartnerError):
            self._take_failure(site_id, search, answer)
        elif isinstance(answer, Cell):
            plan.take_count(search, answer)
        else:
            plan.take_dates(search, answer.dates, answer.asked_at, whole=answer.whole)
        new = plan.cells.keys() - before
        for index in new:
            self._keeper.add(site_id, self._months[index], plan.cells[index])
        if plan.finished:
            self._land(site_id)
        by = len(new) if self._facts[site_id].counted else 0
        self._run.advance(None if plan.unknown else self._site_line(site_id), by=by)

    def _take_failure(self, site_id: str, search: Search, error: PartnerError) -> None:
        plan, facts = self._plans[site_id], self._facts[site_id]
        if error.code in NO_ACCOUNT_STORE:
            note = "This site has no account store, so there is nothing to count."
            plan.take_failure(search, note, final=True)
            plan.give_up(note)
            if facts.counted:  # what will never come is behind us as well
                self._run.advance(by=plan.unknown)
            self._facts[site_id] = replace(facts, counted=False, problem=note)
            return
        plan.take_failure(search, self._problem(search, error), final=error.permanent)
        if search.what == "read":
            if isinstance(error, PartnerRefused):
                self._without_reads(site_id)
            return
        self._run.log(f"{facts.name}, {self._problem(search, error)}", level="warn")

    def _problem(self, search: Search, error: PartnerError) -> str:
        return f"{month_text(self._months[search.at])}: {error.message}"

    def _without_reads(self, site_id: str) -> None:
        """Fall back to counts where creation dates may not be read: this site, then all of them."""
        self._refused_reads.add(site_id)
        self._plans[site_id].without_reads()
        if len(self._refused_reads) == REFUSALS_THAT_TELL:
            self._run.log("This key may not read creation dates; asking by counts only.")
            for plan in self._plans.values():
                plan.without_reads()

    def _site_line(self, site_id: str) -> str:
        last = self._plans[site_id].cells[len(self._months) - 1]
        name = self._facts[site_id].name
        return f"{name}: {last.value:,} users at the end of {month_text(self._end)}."

    def _result(self) -> Result:
        facts = list(self._facts.values())
        series = {
            site_id: {self._months[index]: cell for index, cell in plan.cells.items()}
            for site_id, plan in self._plans.items()
        }
        rows = month_rows(facts, series, self._start, self._end)
        complete = all(row["complete"] for row in rows)
        self._run.log(self._last_line(rows, complete), level="info" if complete else "warn")
        head = {
            "mode": "monthly",
            "partner_id": self._params.partner_id,
            "start": month_text(self._start),
            "end": month_text(self._end),
            "generated_at": instant_text(self._context.now()),
            "complete": complete,
            "method": "exact" if self._params.exact else "implied",
            "site_count": len(facts),
            "child_site_count": sum(one.is_child for one in facts),
            "api_calls": {"made": self._run.calls_made, "saved": self._run.calls_saved},
        }
        sites = (
            site_row(one, series.get(one.site_id, {}), self._start, self._end, self._hole(one))
            for one in facts
        )
        return Result(head, {"months": rows, "sites": sites}, complete)

    def _hole(self, facts: SiteFacts) -> str | None:
        """Return why months of a site are missing; a failure that was made up for is none."""
        plan = self._plans.get(facts.site_id)
        return plan.problem if plan and plan.unknown and facts.counted else None

    def _last_line(self, rows: list[dict[str, Any]], complete: bool) -> str:
        total = rows[-1]["total_users"]
        users = "No count" if total is None else f"{total:,} users"
        known = "" if complete else "; some sites or months are missing"
        return f"{users} at the end of {month_text(self._end)}{known}."
