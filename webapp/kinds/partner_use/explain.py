"""Where a number of a partner-use report comes from: the query, its moment, what implies it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from webapp.engine.kind import Explanation, Row, StoredResult
from webapp.errors import InvalidParams
from webapp.lib.months import month_end, month_text, next_month, parse_month
from webapp.partner import Site, count_accounts, created_between, newest_account

COLUMNS = {"total_users", "delta", "account_count", "before", "after", "growth", "known_users"}


def explain(result: StoredResult, query: Mapping[str, str]) -> Explanation:
    """Return where a value comes from.

    query: `site` (ID or API key), `month`, or both; `column`, the total by default
    Raises: InvalidParams with a sentence per parameter
    """
    column = query.get("column") or "total_users"
    if column not in COLUMNS:
        raise InvalidParams({"column": f"Choose one of {', '.join(sorted(COLUMNS))}."})
    if "start" not in result.head:
        if not query.get("site"):
            return _of_all_sites(result, result.head["summary"] | {"counted_at": None})
        return _of_summary(_site_row(result, query["site"]))
    if not query.get("site"):
        return _of_month(result, _month(result, query.get("month", "")), column)
    row = _site_row(result, query["site"])
    if column == "account_count" and "account_count" in row:
        return _of_summary(row)
    if column == "growth":
        return _difference(result, row, parse_month(result.head["end"]), result.head["start"])
    ends = {"before": _baseline(result), "after": parse_month(result.head["end"])}
    month = ends.get(column) or _month(result, query.get("month", ""))
    if column == "delta":
        return _difference(result, row, month, month_text(month))
    return _of_site_month(result, row, month)


def _baseline(result: StoredResult) -> date:
    return next_month(parse_month(result.head["start"]), -1)


def _month(result: StoredResult, text: str) -> date:
    """Return a month of the report, or the one before it, which the first delta needs."""
    try:
        month = parse_month(text)
    except ValueError as error:
        raise InvalidParams({"month": str(error)}) from None
    if not _baseline(result) <= month <= parse_month(result.head["end"]):
        raise InvalidParams({"month": "This month is not in the report."})
    return month


def _site_row(result: StoredResult, asked: str) -> Row:
    rows = [row for row in result.rows("sites") if asked in {row["site_id"], row["api_key"]}]
    if not rows:
        raise InvalidParams({"site": "This site is not in the report."})
    if len(rows) > 1:
        raise InvalidParams({"site": "Several sites have this ID: give the API key."})
    return rows[0]


def _site(row: Row) -> Site:
    return Site(row["site_id"], row["api_key"], row["name"], "")


def _problem(row: Row) -> list[Row] | None:
    return [{"site_id": row["site_id"], "reason": row["problem"]}] if row["problem"] else None


def _of_summary(row: Row) -> Explanation:
    value, asked_at = row["account_count"], row.get("asked_at")
    query = count_accounts(_site(row)).params["query"] if asked_at else None
    return Explanation(value, "live", asked_at, query, None, _problem(row))


def _of_site_month(result: StoredResult, row: Row, month: date) -> Explanation:
    place = _place(result, month)
    if not row["totals"] or row["totals"][place] is None:
        return Explanation(None, "computed", left_out=_problem(row) or _why_not_counted(row))
    how, by, counted_at, is_stored = row["origins"][row["origin"][place]]
    value = row["totals"][place]
    source: Any = "stored" if is_stored else "implied" if how == "implied" else "live"
    query, implied_by = None, None
    if how == "count":
        query = count_accounts(_site(row), month_end(month)).params["query"]
    elif how == "newest":
        query = newest_account(_site(row)).params["query"]
    elif how == "read":
        since, until, limit = by
        start = month_end(parse_month(since)) if since else None
        end = month_end(parse_month(until))
        query = created_between(_site(row), start, end, limit).params["query"]
        implied_by = [_known(result, row, since)] if since else None
    else:
        implied_by = [_known(result, row, text) for text in by]
    return Explanation(value, source, counted_at, query, implied_by, _problem(row))


def _known(result: StoredResult, row: Row, text: str) -> Row:
    """Return a month that others are implied by; a stored one may lie outside of this report."""
    month = parse_month(text)
    if not _baseline(result) <= month <= parse_month(result.head["end"]):
        return {"month": text}
    place = _place(result, month)
    origin = row["origin"][place]
    counted_at = None if origin is None else row["origins"][origin][2]
    return {"month": text, "total_users": row["totals"][place], "counted_at": counted_at}


def _place(result: StoredResult, month: date) -> int:
    first = _baseline(result)
    return (month.year - first.year) * 12 + month.month - first.month


def _difference(result: StoredResult, row: Row, month: date, since: str) -> Explanation:
    before = next_month(parse_month(since), -1)
    ends = (
        [_known(result, row, month_text(one)) for one in (before, month)] if row["totals"] else []
    )
    values = [end["total_users"] for end in ends]
    value = None if not ends or None in values else values[1] - values[0]
    moments = [end["counted_at"] for end in ends if end["counted_at"]]
    return Explanation(value, "computed", min(moments, default=None), None, ends, _problem(row))


def _of_month(result: StoredResult, month: date, column: str) -> Explanation:
    rows = {row["month"]: row for row in result.rows("months")}
    row = rows.get(month_text(month))
    if row is None:
        raise InvalidParams({"month": "This month is not in the report."})
    found = _of_all_sites(result, row | {"account_count": row.get(column)})
    if column != "delta":
        return found
    before = rows.get(month_text(next_month(month, -1)))
    ends = [one for one in (before, row) if one]
    made_of = [{"month": one["month"], "total_users": one["total_users"]} for one in ends]
    return Explanation(row["delta"], "computed", found.counted_at, None, made_of, found.left_out)


def _of_all_sites(result: StoredResult, figures: Row) -> Explanation:
    """Return how a sum over all sites is made: of all that are not left out."""
    left_out = [
        {"site_id": row["site_id"], "reason": row["problem"] or _why_not_counted(row)[0]["reason"]}
        for row in result.rows("sites")
        if row["is_child"] or row["problem"]
    ]
    return Explanation(
        figures["account_count"], "computed", figures["counted_at"], left_out=left_out or None
    )


def _why_not_counted(row: Row) -> list[Row]:
    reason = "Its accounts are its parent's." if row["is_child"] else "It was not counted."
    return [{"site_id": row["site_id"], "reason": reason}]
