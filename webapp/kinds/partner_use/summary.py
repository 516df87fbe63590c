"""Summary mode: three searches a counted site (accounts, newest creation, newest sign-in).

Its answers are known points of the months too: where nobody was created after a closed month, the
total of today is that month's, and is stored as such for later reports by month.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any

from webapp.engine.kind import Context, Result, Run
from webapp.errors import PartnerError
from webapp.kinds.partner_use.asking import Keeper
from webapp.kinds.partner_use.compute import (
    Answers,
    Cell,
    SiteFacts,
    instant_text,
    summary_figures,
    summary_row,
)
from webapp.kinds.partner_use.survey import Survey
from webapp.lib.months import current_month, is_closed, month_end, months_between, next_month
from webapp.partner import (
    Newest,
    PartnerSession,
    Site,
    count_accounts,
    last_login,
    newest_account,
    side_by_side,
)

QUESTIONS: dict[str, Callable[[PartnerSession, Site], Any]] = {
    "account_count": lambda session, site: count_accounts(session, site).value,
    "last_created": newest_account,
    "last_login": last_login,
}
KEPT = "summary:"
# Months that one answer may tell of: two years and the month before them.
TOLD_MONTHS = 25
# The partner's way of saying that a site has no accounts to count: information, not a failure.
NO_ACCOUNT_STORE = frozenset({403036, 403045})


def make_summary(
    session: PartnerSession, found: Survey, partner_id: str, run: Run, context: Context
) -> Result:
    """Ask every counted site and return the result of a summary."""
    answers = _kept(found, run)
    todo = [site for site in found.counted if site.site_id not in answers]
    run.set_total(1 + len(found.facts) + len(QUESTIONS) * len(todo))
    keeper = Keeper(run, partner_id)
    try:
        _ask(session, found, todo, answers, run, context, keeper)
    finally:
        keeper.flush()
    complete = not any(facts.hole for facts in found.facts) and not any(
        one.hole for one in answers.values()
    )
    figures = summary_figures(found.facts, answers)
    run.log(_last_line(figures, complete), level="info" if complete else "warn")
    head = {
        "mode": "summary",
        "partner_id": partner_id,
        "generated_at": instant_text(context.now()),
        "complete": complete,
        "summary": figures,
        "api_calls": {"made": run.calls_made, "saved": run.calls_saved},
    }
    rows = [summary_row(facts, answers.get(facts.site_id)) for facts in found.facts]
    return Result(head, {"sites": rows}, complete)


def _kept(found: Survey, run: Run) -> dict[str, Answers]:
    """Return what an earlier attempt of this report learned of the sites that are listed now."""
    counted = {facts.site_id for facts in found.counted}
    kept: dict[str, Answers] = {}
    for key, data in run.load_checkpoints(KEPT).items():
        site_id = key.removeprefix(KEPT)
        if site_id in counted:
            kept[site_id] = Answers(
                data["account_count"], _moment(data["last_login"]), _moment(data["last_created"])
            )
    if kept:
        run.calls(saved=len(QUESTIONS) * len(kept))
        run.log(f"{len(kept):,} sites are known from the attempt before.")
    return kept


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _ask(
    session: PartnerSession,
    found: Survey,
    todo: list[SiteFacts],
    answers: dict[str, Answers],
    run: Run,
    context: Context,
    keeper: Keeper,
) -> None:
    """Ask the three questions of each site side by side; remember each site that is whole."""
    left = {facts.site_id: len(QUESTIONS) for facts in todo}
    newest: dict[str, Newest] = {}
    asked = side_by_side(
        lambda task: QUESTIONS[task[1]](session, found.sites[task[0].site_id]),
        ((facts, question) for facts in todo for question in QUESTIONS),
        concurrency=context.config["PARTNER_CONCURRENCY"],
        stop=run.check,
    )
    for (facts, question), answer in asked:
        one = answers.setdefault(facts.site_id, Answers())
        if isinstance(answer, Newest):
            newest[facts.site_id], answer = answer, answer.created
        _take(one, question, answer)
        left[facts.site_id] -= 1
        if left[facts.site_id]:
            run.advance()
            continue
        if one.problems:
            run.advance()
            run.log(f"{facts.name}: {' '.join(dict.fromkeys(one.problems))}", level="warn")
        else:
            run.save_checkpoints({KEPT + facts.site_id: _kept_form(one)})
            # Two answers a moment apart: where they differ, neither is taken for a closed month.
            if newest[facts.site_id].total == one.account_count:
                for month, cell in told_months(newest.pop(facts.site_id)):
                    keeper.add(facts.site_id, month, cell)
            run.advance(f"{facts.name}: {one.account_count:,} accounts.")


def told_months(newest: Newest) -> Iterator[tuple[date, Cell]]:
    """Yield the closed months after which no account was made: all there are were there then."""
    if newest.total is None:
        return
    last = next_month(current_month(newest.asked_at), -1)
    for month in months_between(next_month(last, 1 - TOLD_MONTHS), last):
        quiet = newest.created is None or newest.created < month_end(month)
        if quiet and is_closed(month, newest.asked_at):
            yield month, Cell(newest.total, newest.asked_at)


def _take(one: Answers, question: str, answer: Any) -> None:
    if not isinstance(answer, PartnerError):
        setattr(one, question, answer)
    elif answer.code in NO_ACCOUNT_STORE:
        one.problems.append("This site has no account store, so there is nothing to count.")
    else:
        # The same refusal three times differs in its call ID only; one tells the reader enough.
        if answer.code is None or answer.code not in one.codes:
            one.problems.append(answer.message)
        one.codes.add(answer.code)
        one.hole = True


def _kept_form(one: Answers) -> dict[str, Any]:
    return {
        "account_count": one.account_count,
        "last_login": instant_text(one.last_login),
        "last_created": instant_text(one.last_created),
    }


def _last_line(figures: dict[str, Any], complete: bool) -> str:
    count = figures["account_count"]
    accounts = "no count" if count is None else f"{count:,} accounts"
    known = "" if complete else " that could be counted; some sites are missing"
    return f"{accounts} on {figures['site_count']:,} sites{known}.".capitalize()
