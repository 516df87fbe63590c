"""Monthly mode: accounts created before the end of each month, site by site.

Stored months are looked up for the sites of the list only, which the caller's own key has just been
shown. Each site has a plan of its own (`planner.py`); they are asked side by side.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from webapp.engine.kind import Context
from webapp.engine.run import Run
from webapp.engine.shapes import Row
from webapp.errors import PartnerError, PartnerRefused, PartnerUnavailable
from webapp.kinds.partner_use.compute import SiteFacts, month_rows, site_row
from webapp.kinds.partner_use.counts import CountStore, SiteLocks
from webapp.kinds.partner_use.params import PartnerUseParams
from webapp.kinds.partner_use.planner import SitePlan
from webapp.kinds.partner_use.search import Economy, Search
from webapp.kinds.partner_use.summary import NO_ACCOUNT_STORE
from webapp.lib.months import current_month, month_text, months_between, next_month
from webapp.lib.texts import counted
from webapp.partner.searches import Count, Created, count_accounts, created_between
from webapp.partner.session import PartnerQuestion, PartnerSession
from webapp.partner.side_by_side import SideBySide

WAIT_S = 0.3
# One site's own settings may forbid it; two sites that refuse tell something of the key.
REFUSALS_THAT_TELL = 2


@dataclass(frozen=True)
class Months:
    """What a monthly report found: a row a month, and a row of each site by `Site.ref`."""

    rows: list[Row]
    sites: dict[str, Row]
    complete: bool


class Monthly:
    """One monthly report in the making: what is known, what is asked, what went wrong."""

    def __init__(
        self,
        session: PartnerSession,
        found: Mapping[str, SiteFacts],
        params: PartnerUseParams,
        run: Run,
        context: Context,
    ) -> None:
        self._session, self._params = session, params
        self._run, self._context = run, context
        self._start, self._end = params.first_month, params.last_month
        self._months = months_between(next_month(self._start, -1), self._end)
        self._facts = dict(found)
        self._sites = {ref: one.site for ref, one in found.items() if one.counted}
        self._store = CountStore(run, params.partner_id, self._sites, params.refresh)
        self._locks = SiteLocks(context.redis, run.company_id, params.partner_id, run.report_id)
        self._plans: dict[str, SitePlan] = {}
        self._held_elsewhere: list[str] = []
        self._refused_reads: set[str] = set()
        self._said_waiting = False

    def make(self, steps: int) -> Months:
        """Ask for what is not known yet. `steps` is how far the bar is before."""
        self._plans = self._make_plans()
        unknown = sum(plan.unknown for plan in self._plans.values())
        self._run.stage("Counting the users of each month")
        self._run.set_total(steps + unknown)
        if unknown:
            self._run.log(f"{counted(unknown, 'site month')} to count.")
            self._ask_sites()
        series = {ref: plan.counts for ref, plan in self._plans.items()}
        running = current_month(self._context.now())
        facts = list(self._facts.values())
        rows = month_rows(facts, series, self._start, self._end, running)
        sites = {}
        for ref, one in self._facts.items():
            plan = self._plans.get(ref)
            # A failure that was made up for is none.
            problem = plan.problem if plan and plan.unknown and one.counted else None
            sites[ref] = site_row(one, series.get(ref, {}), self._start, self._end, problem)
        return Months(rows, sites, all(row["complete"] for row in rows))

    def _make_plans(self) -> dict[str, SitePlan]:
        """Return a plan for each site, on what is stored and what was counted before."""
        known = self._store.load(list(self._sites), self._months[0], self._end)
        stored = sum(map(len, known.values()))
        if stored:
            self._run.calls(saved=stored)
            self._run.log(f"{counted(stored, 'site month')} known already; no search is needed.")
        read_limit = self._context.config["PARTNER_READ_LIMIT"]
        economy = Economy(self._session.costs.read_pays)
        plain = self._params.exact
        return {
            ref: SitePlan(self._months, counts, read_limit=read_limit, plain=plain, economy=economy)
            for ref, counts in known.items()
        }

    def _ask_sites(self) -> None:
        data_centers = {
            ref: self._sites[ref].data_center for ref, plan in self._plans.items() if plan.unknown
        }
        searches = SideBySide(
            self._session, data_centers, self._next_question, stop=self._check_and_renew
        )
        try:
            while True:
                for ref, search, answer in searches:
                    self._take_answer(ref, search, answer)
                if not self._held_elsewhere:
                    break
                self._wait_for_others(searches)
        except PartnerError as error:
            if not any(plan.counts for plan in self._plans.values()):
                raise
            # The key is refused in the middle: what was counted is counted.
            self._run.log(error.message, level="error")
            for plan in self._plans.values():
                plan.give_up(error.message)
        finally:
            # Also when a fault ends the run: what was counted need not be counted again.
            for ref, plan in self._plans.items():
                if plan.is_settled and not plan.finished:
                    self._store.store(ref, plan.counts)
            self._store.flush()
            self._locks.release_all()
        implied = sum(plan.resolved - plan.searches for plan in self._plans.values())
        if implied > 0:
            self._run.calls(saved=implied)
            self._run.log(
                f"Not asked, because others imply them: {counted(implied, 'site month')}."
            )

    def _check_and_renew(self) -> None:
        self._run.check()
        self._locks.renew()

    def _next_question(self, ref: str) -> tuple[Search, PartnerQuestion[Any]] | None:
        """Return what a site asks now; nothing while another report has it, or is to answer."""
        plan = self._plans[ref]
        if not self._lock_site(ref):
            self._held_elsewhere.append(ref)
            return None
        search = plan.next_search()
        if search is None:
            return None
        site = self._sites[ref]
        if search.what == "count":
            return search, count_accounts(site, search.end)
        limit = self._context.config["PARTNER_READ_LIMIT"]
        return search, created_between(site, search.start, search.end, limit)

    def _lock_site(self, ref: str) -> bool:
        """Lock a site, and learn what another report that had it has found out meanwhile."""
        if self._locks.was_acquired(ref):
            return True
        if not self._locks.acquire(ref):
            return False
        # An open month of a report that ended before this one was asked for is not this one's: the
        # current month is never stored, not for two minutes either.
        found = {
            month: count
            for month, count in self._locks.found(ref).items()
            if count.counted_at >= self._run.asked_at and month in self._months
        }
        plan = self._plans[ref]
        before = plan.unknown
        found |= self._store.load_stored([ref], self._months[0], self._end)[ref]
        self._run.calls(saved=plan.learn(found))
        line = None if plan.unknown else self._site_line(ref)
        self._run.advance(line, by=before - plan.unknown)
        if plan.finished:
            self._release(ref)
        return True

    def _release(self, ref: str) -> None:
        """Give a finished site back to other reports, its counts stored first."""
        counts = self._plans[ref].counts if self._plans[ref].is_settled else {}
        unclosed = self._store.store(ref, counts)
        self._store.flush()
        self._locks.release(ref, unclosed)

    def _wait_for_others(self, searches: SideBySide) -> None:
        """Wait a moment for the reports that have the sites which are left.

        Nothing is under way here, so nothing is held meanwhile: two reports that each held what the
        other waits for would wait for ever.
        """
        for ref in list(self._locks.held):
            self._release(ref)
        number = len(self._held_elsewhere)
        if not self._said_waiting:
            self._run.log(f"Waiting for another report that is asking {number:,} of these sites.")
            self._said_waiting = True
        time.sleep(WAIT_S)
        self._check_and_renew()
        searches.put_in_line(self._held_elsewhere)
        self._held_elsewhere.clear()

    def _take_answer(
        self, ref: str, search: Search, answer: Count | Created | PartnerError
    ) -> None:
        """Hand an answer to its site's plan, keep what that resolved, tell how far it is."""
        plan = self._plans[ref]
        before = plan.counts
        if isinstance(answer, PartnerError):
            self._take_failure(ref, search, answer)
        elif isinstance(answer, Count):
            plan.take_count(search, answer)
        else:
            plan.take_dates(search, answer)
        counts = plan.counts
        for month, count in counts.items():
            if before.get(month) is not count:
                self._store.add(ref, month, count)
        if plan.finished:
            self._release(ref)
        by = len(counts) - len(before) if self._facts[ref].counted else 0
        self._run.advance(None if plan.unknown else self._site_line(ref), by=by)

    def _take_failure(self, ref: str, search: Search, error: PartnerError) -> None:
        plan, facts = self._plans[ref], self._facts[ref]
        if error.code in NO_ACCOUNT_STORE:
            note = "This site has no account store, so there is nothing to count."
            plan.take_failure(search, note, final=True)
            plan.give_up(note)
            if facts.counted:  # what will never come is behind us as well
                self._run.advance(by=plan.unknown)
            self._facts[ref] = replace(facts, counted=False, problem=note)
            return
        problem = f"{month_text(self._months[search.at])}: {error.message}"
        # A site that does not answer at all would make each of its months wait as long.
        silent = isinstance(error, PartnerUnavailable) and error.code is None
        final = error.permanent or silent
        plan.take_failure(search, problem, final=final)
        if search.what == "count":
            self._run.log(f"{facts.site.name}, {problem}", level="warn")
        elif isinstance(error, PartnerRefused):
            # Counts where creation dates may not be read: of this site, then of all of them.
            self._refused_reads.add(ref)
            plan.without_reads()
            if len(self._refused_reads) == REFUSALS_THAT_TELL:
                self._run.log("This key may not read creation dates; asking by counts only.")
                for one in self._plans.values():
                    one.without_reads()

    def _site_line(self, ref: str) -> str:
        last = self._plans[ref].counts[self._end]
        name = self._facts[ref].site.name
        return f"{name}: {counted(last.value, 'user')} at the end of {month_text(self._end)}."
