"""What a partner-use result says first, a sentence and the figures that answer the question; and
where each of its numbers comes from: the query, its moment, what implies it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from webapp.engine.kind import StoredResult
from webapp.engine.shapes import Answer, Explanation, Figure, Row
from webapp.errors import InvalidParams
from webapp.kinds.partner_use.compute import difference, known_text
from webapp.kinds.partner_use.entitlements import Entitlement, share_of
from webapp.lib.months import month_end, month_text, months_between, next_month, parse_month
from webapp.lib.texts import counted
from webapp.partner.searches import count_accounts, created_between, newest_account
from webapp.partner.sites import Site

# The columns whose values can be explained.
COLUMNS = {"total_users", "delta", "account_count", "before", "after", "growth", "known_users"}


def answer(result: StoredResult, bought: Sequence[Entitlement] = ()) -> Answer:
    """Return the answer of a result: of its months where it has any, else of its summary.

    bought: what the company has bought for its partner
    """
    if "start" not in result.head:
        return _of_accounts(result.head)
    months = list(result.rows("months"))
    closed = [row for row in months if not row["running"]]
    shown = _Span(closed or months)
    # The month that is not over stands apart from the others.
    so_far = (
        Figure(f"{row['month']} so far", _signed(row["delta"]), "text", "the month is not over")
        for row in months
        if row["running"] and closed
    )
    share = share_of(bought, closed)
    return Answer(shown.sentence(), (*shown.figures(), *share, *so_far))


def _of_accounts(head: Mapping[str, Any]) -> Answer:
    summary, calls = head["summary"], head["api_calls"]
    sentence = f"The total is not known: {known_text(summary)} could be counted."
    note = f"{known_text(summary)}; no total"
    if summary["account_count"] is not None:
        accounts = counted(summary["account_count"], "account")
        sentence = f"{accounts} at {counted(summary['site_count'], 'site')}."
        note = "without child sites"
    children = f"{summary['child_site_count']:,} of them children"
    saved = f"{calls['saved']:,} saved by what was known" if calls["saved"] else ""
    figures = (
        Figure("Accounts", summary["account_count"], "integer", note),
        Figure("Sites", summary["site_count"], "integer", children),
        Figure("Newest login", summary["last_login"], "datetime"),
        Figure("Newest creation", summary["last_created"], "datetime"),
        Figure("Calls to the partner", calls["made"], "integer", saved),
    )
    return Answer(sentence, figures)


def _signed(value: int | None) -> str | None:
    return None if value is None else f"{value:+,}".replace("-", "−")


def percent(growth: int, before: int) -> str:
    """Return a growth in percent with its sign, empty where there was nothing before."""
    if before <= 0:
        return ""
    share = growth / before
    digits = 0 if abs(share) >= 0.1 else 1
    return f"{share:+.{digits}%}".replace("-", "−").replace("%", " %")


class _Span:
    """The months of a range that are over, oldest first; holes are None."""

    def __init__(self, months: Sequence[Row]) -> None:
        self.months = months
        self.first, self.last = months[0], months[-1]
        self.begin = month_text(next_month(parse_month(self.first["month"]), -1))
        self.before = difference(self.first["total_users"], self.first["delta"])
        self.totals = {row["month"]: row["total_users"] for row in months}
        self.totals[self.begin] = self.before
        self.growth = self.growth_since(self.begin)
        # The later one of equals.
        grown = [row for row in months if (row["delta"] or 0) > 0]
        by_delta = max(grown, key=lambda row: (row["delta"], row["month"]), default=None)
        self.best = by_delta if len(months) > 1 else None
        self.missing = self.last["sites"] - self.last["sites_counted"]

    def growth_since(self, month: str) -> int | None:
        """Return how many users came since the end of a month; None where an end is a hole."""
        return difference(self.last["total_users"], self.totals.get(month))

    def figures(self) -> tuple[Figure, ...]:
        """Return the figures, the answer first."""
        last = self.last
        whole = last["total_users"] is not None
        known = f"at the end of {last['month']}"
        share = self._share(self.growth, self.before, f"since {self.begin}")
        found = [
            Figure("Users", last["total_users"], "integer", known if whole else known_text(last)),
            Figure("Growth", _signed(self.growth), "text", share),
        ]
        year = month_text(next_month(parse_month(last["month"]), -12))
        if year in self.totals and len(self.months) > 12:
            grown = self.growth_since(year)
            note = self._share(grown, self.totals[year], f"since {year}")
            found.append(Figure("Against the year before", _signed(grown), "text", note))
        if self.best:
            note = f"+{counted(self.best['delta'], 'user')}"
            found.append(Figure("Strongest month", self.best["month"], "month", note))
        share = f"{last['sites_counted']:,} of {last['sites']:,}"
        note = f"{self.missing:,} missing" if self.missing else "all"
        found.append(Figure("Sites counted", share, "text", note))
        return tuple(found)

    def _share(self, growth: int | None, before: int | None, words: str) -> str:
        if growth is None or before is None:
            return f"{words}; not known: a count is missing"
        share = percent(growth, before)
        return f"{share} {words}" if share else words

    def sentence(self) -> str:
        """Return what the range says, in a sentence or two."""
        last, total = self.last, self.last["total_users"]
        if total is None:
            return (
                f"The total at the end of {last['month']} is not known: {known_text(last)} could "
                "be counted. See below what is missing, and why."
            )
        moved, begin, end = counted(total, "user"), self.first["month"], last["month"]
        single = begin == end
        if self.growth is not None and self.before is not None:
            share = percent(abs(self.growth), self.before).lstrip("+")
            verb = "Grew" if self.growth > 0 else "Shrank"
            moved = f"{verb} {f'by {share} ' if share else ''}to {moved}"
            moved = moved if self.growth else f"Stayed at {counted(total, 'user')}"
            # The share is of what there was before the first month; a chart may begin with its end.
            begin = f"the end of {self.begin}"
        text = f"{moved} in {end}" if single else f"{moved} from {begin} to {end}"
        if self.best:
            text += f"; strongest month {self.best['month']}"
        if self.missing:
            sites = f"{self.missing:,} of {counted(last['sites'], 'site')}"
            text += f". {sites} could not be counted; see below why"
        return f"{text}."


def explain(result: StoredResult, query: Mapping[str, str]) -> Explanation:
    """Return where a value comes from.

    query: `site` (ID or API key), `month`, or both; `column`, the total by default
    Raises: InvalidParams with a sentence per parameter
    """
    column, asked, site = query.get("column") or "total_users", query.get("month", ""), None
    if column not in COLUMNS:
        raise InvalidParams({"column": f"Choose one of {', '.join(sorted(COLUMNS))}."})
    if query.get("site"):
        site = _site_row(result, query["site"])
    if "start" not in result.head:
        return _of_summary(site) if site else _of_all_sites(result, result.head["summary"])
    if site and column == "account_count" and column in site:
        return _of_summary(site)
    start, end = parse_month(result.head["start"]), parse_month(result.head["end"])
    # The month before is counted too, for the first delta.
    months = months_between(next_month(start, -1), end)
    if site and column == "growth":
        return _difference(site, months, months[0], end)
    if site and column in {"before", "after"}:
        return _of_site_month(site, months, months[0] if column == "before" else end)
    try:
        month = parse_month(asked)
    except ValueError as error:
        raise InvalidParams({"month": str(error)}) from None
    if month not in months or (month == months[0] and not site):
        raise InvalidParams({"month": "This month is not in the report."})
    if not site:
        return _of_month(result, month, column)
    if column == "delta":
        return _difference(site, months, next_month(month, -1), month)
    return _of_site_month(site, months, month)


def _site_row(result: StoredResult, asked: str) -> Row:
    rows = [row for row in result.rows("sites") if asked in {row["site_id"], row["api_key"]}]
    if not rows:
        raise InvalidParams({"site": "This site is not in the report."})
    if len(rows) > 1:
        raise InvalidParams({"site": "Several sites have this ID: give the API key."})
    return rows[0]


def _as_site(row: Row) -> Site:
    return Site(row["site_id"], row["api_key"], row["name"], "")


def _problem(row: Row) -> list[Row] | None:
    return [_left_out(row)] if row["problem"] else None


def _of_summary(row: Row) -> Explanation:
    value, asked_at = row["account_count"], row.get("asked_at")
    query = count_accounts(_as_site(row)).params["query"] if asked_at else None
    return Explanation(value, "live", asked_at, query, None, _problem(row))


def _of_site_month(row: Row, months: Sequence[date], month: date) -> Explanation:
    known = _known_month(row, months, month_text(month))
    if known.get("total_users") is None:
        return Explanation(None, "computed", left_out=[_left_out(row)])
    how, by, counted_at, is_stored = row["origins"][row["origin"][months.index(month)]]
    source: Any = "stored" if is_stored else "implied" if how == "implied" else "live"
    query, implied_by = None, None
    if how == "count":
        query = count_accounts(_as_site(row), month_end(month)).params["query"]
    elif how == "newest":
        query = newest_account(_as_site(row)).params["query"]
    elif how == "read":
        since, until, limit = by
        start = month_end(parse_month(since)) if since else None
        end = month_end(parse_month(until))
        query = created_between(_as_site(row), start, end, limit).params["query"]
        implied_by = [_known_month(row, months, since)] if since else None
    else:
        implied_by = [_known_month(row, months, text) for text in by]
    return Explanation(known["total_users"], source, counted_at, query, implied_by, _problem(row))


def _known_month(row: Row, months: Sequence[date], text: str) -> Row:
    """Return a month that others are implied by; a stored one may lie outside of this report."""
    month = parse_month(text)
    if month not in months or not row["totals"]:
        return {"month": text}
    place = months.index(month)
    origin = row["origin"][place]
    counted_at = None if origin is None else row["origins"][origin][2]
    return {"month": text, "total_users": row["totals"][place], "counted_at": counted_at}


def _difference(row: Row, months: Sequence[date], before: date, after: date) -> Explanation:
    ends = (
        [_known_month(row, months, month_text(one)) for one in (before, after)]
        if row["totals"]
        else []
    )
    value = difference(*(end.get("total_users") for end in reversed(ends))) if ends else None
    moments = [end["counted_at"] for end in ends if end.get("counted_at")]
    return Explanation(value, "computed", min(moments, default=None), None, ends, _problem(row))


def _of_month(result: StoredResult, month: date, column: str) -> Explanation:
    rows = {row["month"]: row for row in result.rows("months")}
    row = rows[month_text(month)]
    found = _of_all_sites(result, row | {"account_count": row.get(column)})
    if column != "delta":
        return found
    ends = [one for one in (rows.get(month_text(next_month(month, -1))), row) if one]
    made_of = [{"month": one["month"], "total_users": one["total_users"]} for one in ends]
    return Explanation(row["delta"], "computed", found.counted_at, None, made_of, found.left_out)


def _of_all_sites(result: StoredResult, figures: Row) -> Explanation:
    """Return how a sum over all sites is made: of all that are not left out."""
    left_out = [_left_out(row) for row in result.rows("sites") if row["is_child"] or row["problem"]]
    value, counted_at = figures["account_count"], figures.get("counted_at")
    return Explanation(value, "computed", counted_at, left_out=left_out or None)


def _left_out(row: Row) -> Row:
    own = "Its accounts are its parent's." if row["is_child"] else "It was not counted."
    return {"name": row["name"], "site_id": row["site_id"], "reason": row["problem"] or own}
