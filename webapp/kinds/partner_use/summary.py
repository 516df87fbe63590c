"""Summary mode: three searches a counted site (accounts, newest creation, newest sign-in).

Its answers are known points of the months too: where nobody was created after a closed month, the
total of today is that month's, and is stored as such for later reports by month.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from webapp.engine.kind import Context
from webapp.engine.run import Run
from webapp.engine.shapes import Row
from webapp.errors import PartnerError, PartnerUnavailable
from webapp.kinds.partner_use.compute import (
    Answers,
    SiteFacts,
    instant_text,
    mark_newest,
    summary_figures,
    summary_row,
)
from webapp.kinds.partner_use.counts import CountStore
from webapp.lib.months import current_month, is_closed, month_end, months_between, next_month
from webapp.lib.texts import counted
from webapp.partner.searches import Count, Newest, count_accounts, last_login, newest_account
from webapp.partner.session import PartnerQuestion, PartnerSession
from webapp.partner.side_by_side import SideBySide
from webapp.partner.sites import Site

QUESTIONS: dict[str, Callable[[Site], PartnerQuestion[Any]]] = {
    "account_count": count_accounts,
    "last_created": newest_account,
    "last_login": last_login,
}
PREFIX = "summary:"
# Months that one answer may tell of: two years and the month before them.
IMPLIED_MONTHS = 25
# The partner's way of saying that a site has no accounts to count: information, not a failure.
NO_ACCOUNT_STORE = frozenset({403036, 403045})


@dataclass(frozen=True)
class Summary:
    """What a summary found: its figures, a row of each site by `Site.ref`.

    steps: how far the bar is when all of it is done
    """

    figures: dict[str, Any]
    rows: dict[str, Row]
    complete: bool
    steps: int


def make_summary(
    session: PartnerSession,
    found: Mapping[str, SiteFacts],
    partner_id: str,
    run: Run,
    context: Context,
    steps: int,
    upto: float,
) -> Summary:
    """Ask every counted site. `steps` is how far the bar is before."""
    wanted = {ref: one.site for ref, one in found.items() if one.counted}
    answers = _earlier_answers(wanted, run)
    sites = {ref: site for ref, site in wanted.items() if ref not in answers}
    steps += len(QUESTIONS) * len(sites)
    run.stage("Asking each site", upto=upto)
    run.set_total(steps)
    store = CountStore(run, partner_id, sites, refresh=False)
    try:
        _ask_sites(session, sites, answers, run, store)
    except PartnerError as error:
        if not any(one.account_count is not None for one in answers.values()):
            raise
        # The key is refused in the middle: what was counted is counted.
        run.log(error.message, level="error")
        for ref in sites:
            one = answers.setdefault(ref, Answers())
            if one.is_open:
                one.hole = True
                one.problems.append(error.message)
    finally:
        store.flush()
    facts = []
    for fact in found.values():
        asked_at = session.data_center_of(fact.site.api_key, fact.site.data_center)
        facts.append(replace(fact, site=replace(fact.site, data_center=asked_at)))
    holes = any(fact.hole for fact in facts) or any(one.hole for one in answers.values())
    now = context.now()
    rows = {fact.site.ref: summary_row(fact, answers.get(fact.site.ref), now) for fact in facts}
    figures = summary_figures(facts, answers, now)
    mark_newest(rows.values(), figures)
    return Summary(figures, rows, not holes, steps)


def _earlier_answers(wanted: Collection[str], run: Run) -> dict[str, Answers]:
    """Return what an earlier attempt of this report learned of the sites that are listed now."""
    known: dict[str, Answers] = {}
    for key, data in run.load_checkpoints(PREFIX).items():
        ref = key.removeprefix(PREFIX)
        if ref in wanted:
            login, created, asked_at = (
                datetime.fromisoformat(data[name]) if data.get(name) else None
                for name in ("last_login", "last_created", "asked_at")
            )
            known[ref] = Answers(data["account_count"], login, created, is_open=False)
            known[ref].asked_at = asked_at
    if known:
        run.calls(saved=len(QUESTIONS) * len(known))
        run.log(f"Known from the attempt before: {counted(len(known), 'site')}.")
    return known


def _ask_sites(
    session: PartnerSession,
    sites: dict[str, Site],
    answers: dict[str, Answers],
    run: Run,
    store: CountStore,
) -> None:
    """Ask the three questions of each site side by side; keep each site that is whole."""
    unasked = {ref: list(QUESTIONS) for ref in sites}
    unanswered = dict.fromkeys(sites, len(QUESTIONS))
    newest: dict[str, Newest] = {}

    def next_question(ref: str) -> tuple[str, PartnerQuestion[Any]] | None:
        if not unasked[ref]:
            return None
        name = unasked[ref].pop(0)
        return name, QUESTIONS[name](sites[ref])

    data_centers = {ref: site.data_center for ref, site in sites.items()}
    for ref, name, answer in SideBySide(session, data_centers, next_question, stop=run.check):
        one = answers.setdefault(ref, Answers())
        if isinstance(answer, Newest):
            newest[ref], answer = answer, answer.created
        if isinstance(answer, Count):
            one.asked_at, answer = answer.counted_at, answer.value
        _take_answer(one, name, answer)
        skipped = len(unasked[ref]) if isinstance(answer, PartnerUnavailable) else 0
        if skipped:  # it would only wait in vain again
            unasked[ref].clear()
        unanswered[ref] -= 1 + skipped
        one.is_open = unanswered[ref] > 0
        run.advance(by=skipped)
        if unanswered[ref]:
            run.advance()
        elif one.problems:
            run.advance()
            problems = " ".join(dict.fromkeys(one.problems))
            run.log(f"{sites[ref].name}: {problems}", level="warn")
        else:
            moments = {
                name: instant_text(getattr(one, name))
                for name in ("last_login", "last_created", "asked_at")
            }
            run.save_checkpoints({PREFIX + ref: {"account_count": one.account_count, **moments}})
            # Two answers a moment apart: where they differ, neither is taken for a closed month.
            if newest[ref].total == one.account_count:
                store.store(ref, dict(implied_months(newest[ref])))
            run.advance(f"{sites[ref].name}: {counted(one.account_count or 0, 'account')}.")


def implied_months(newest: Newest) -> Iterator[tuple[date, Count]]:
    """Yield the closed months after which no account was made: all there are were there then."""
    if newest.total is None:
        return
    last = next_month(current_month(newest.asked_at), -1)
    for month in months_between(next_month(last, 1 - IMPLIED_MONTHS), last):
        quiet = newest.created is None or newest.created < month_end(month)
        if quiet and is_closed(month, newest.asked_at):
            yield month, Count(newest.total, newest.asked_at, "newest")


def _take_answer(one: Answers, name: str, answer: Any) -> None:
    if not isinstance(answer, PartnerError):
        setattr(one, name, answer)
    elif answer.code in NO_ACCOUNT_STORE:
        one.problems.append("This site has no account store, so there is nothing to count.")
    else:
        # The same refusal three times differs in its call ID only; one tells the reader enough.
        if answer.code is None or answer.code not in one.codes:
            one.problems.append(answer.message)
        one.codes.add(answer.code)
        one.hole = True
