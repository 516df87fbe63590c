"""What a partner-use result says first: a sentence, and the figures that answer the question."""

from __future__ import annotations

from collections.abc import Sequence

from webapp.engine.kind import Answer, Figure, Row, StoredResult
from webapp.kinds.partner_use.compute import amount, difference, known_text
from webapp.kinds.partner_use.entitlements import Entitlement, share_of
from webapp.lib.months import month_text, next_month, parse_month


def answer(
    result: StoredResult, figures: tuple[Figure, ...], bought: Sequence[Entitlement] = ()
) -> Answer:
    """Return the answer of a result; `figures` are those of a summary, `bought` its partner's."""
    if "start" not in result.head:
        summary = result.head["summary"]
        known = f"The total is not known: {known_text(summary)} could be counted."
        if summary["account_count"] is not None:
            accounts = amount(summary["account_count"], "account")
            known = f"{accounts} at {amount(summary['site_count'], 'site')}."
        return Answer(known, figures)
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
            note = f"+{amount(self.best['delta'], 'user')}"
            found.append(Figure("Strongest month", self.best["month"], "month", note))
        counted = f"{last['sites_counted']:,} of {last['sites']:,}"
        note = f"{self.missing:,} missing" if self.missing else "all"
        found.append(Figure("Sites counted", counted, "text", note))
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
                "be counted. What is missing, and why, stands below."
            )
        moved = amount(total, "user")
        if self.growth is not None and self.before is not None:
            share = percent(abs(self.growth), self.before).lstrip("+")
            verb = "Grew" if self.growth > 0 else "Shrank"
            moved = f"{verb} {f'by {share} ' if share else ''}to {moved}"
            moved = moved if self.growth else f"Stayed at {amount(total, 'user')}"
        begin, end = self.first["month"], last["month"]
        text = f"{moved} in {end}" if begin == end else f"{moved} from {begin} to {end}"
        if self.best:
            text += f"; strongest month {self.best['month']}"
        if self.missing:
            sites = f"{self.missing:,} of {amount(last['sites'], 'site')}"
            text += f". {sites} could not be counted; see below why"
        return f"{text}."
