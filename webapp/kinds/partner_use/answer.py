"""What a partner-use result says first: a sentence, and the figures that answer the question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from webapp.engine.kind import Answer, Figure, Row, StoredResult
from webapp.kinds.partner_use.compute import known_text
from webapp.lib.months import month_text, next_month, parse_month


def answer(result: StoredResult, figures: tuple[Figure, ...]) -> Answer:
    """Return the answer of a result; `figures` are those of a summary."""
    if "start" not in result.head:
        return Answer(_summary_sentence(result.head["summary"]), figures)
    months = list(result.rows("months"))
    closed = [row for row in months if not row["running"]]
    running = [row for row in months if row["running"]]
    shown = _Span(closed or running)
    return Answer(shown.sentence(), (*shown.figures(), *_so_far(running if closed else [])))


def _summary_sentence(summary: dict[str, Any]) -> str:
    if summary["account_count"] is None:
        return f"The total is not known: {known_text(summary)} could be counted."
    return f"{summary['account_count']:,} accounts at {summary['site_count']:,} sites."


def _so_far(running: Sequence[Row]) -> tuple[Figure, ...]:
    """Return the month that is not over, apart from the others."""
    return tuple(
        Figure(f"{row['month']} so far", _signed(row["delta"]), "text", "the month is not over")
        for row in running
    )


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
        known = {row["month"]: row["total_users"] for row in months}
        begun = self.first["total_users"] is not None and self.first["delta"] is not None
        self.begin = month_text(next_month(parse_month(self.first["month"]), -1))
        known[self.begin] = self.first["total_users"] - self.first["delta"] if begun else None
        self.totals = known
        self.before = known[self.begin]

    def growth_since(self, month: str) -> int | None:
        """Return how many users came since the end of a month; None where an end is a hole."""
        then, now = self.totals.get(month), self.last["total_users"]
        return None if then is None or now is None else int(now - then)

    @property
    def growth(self) -> int | None:
        return self.growth_since(self.begin)

    @property
    def best(self) -> Row | None:
        """Return the month that grew most, the later one of equals."""
        grown = [row for row in self.months if (row["delta"] or 0) > 0]
        return max(grown, key=lambda row: (row["delta"], row["month"]), default=None)

    def figures(self) -> tuple[Figure, ...]:
        """Return the figures, the answer first."""
        last, missing = self.last, self.last["sites"] - self.last["sites_counted"]
        whole = last["total_users"] is not None
        known = f"at the end of {last['month']}"
        found = [
            Figure("Users", last["total_users"], "integer", known if whole else known_text(last)),
            Figure(
                "Growth",
                _signed(self.growth),
                "text",
                self._share(self.growth, self.before, f"since {self.begin}"),
            ),
        ]
        year = month_text(next_month(parse_month(last["month"]), -12))
        if year in self.totals and len(self.months) > 12:
            grown = self.growth_since(year)
            note = self._share(grown, self.totals[year], f"since {year}")
            found.append(Figure("Against the year before", _signed(grown), "text", note))
        if self.best and len(self.months) > 1:
            note = f"{self.best['delta']:+,} users"
            found.append(Figure("Strongest month", self.best["month"], "month", note))
        counted = f"{last['sites_counted']:,} of {last['sites']:,}"
        found.append(
            Figure("Sites counted", counted, "text", f"{missing:,} missing" if missing else "all")
        )
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
            known = known_text(last)
            return (
                f"The total at the end of {last['month']} is not known: {known} could be counted. "
                "What is missing, and why, stands below."
            )
        text = f"{self._movement(total)} {self._range()}"
        if self.best and len(self.months) > 1:
            text += f"; strongest month {self.best['month']}"
        if missing := last["sites"] - last["sites_counted"]:
            text += f". {missing:,} of {last['sites']:,} sites could not be counted; see below why"
        return f"{text}."

    def _movement(self, total: int) -> str:
        if self.growth is None or self.before is None:
            return f"{total:,} users"
        if not self.growth:
            return f"Stayed at {total:,} users"
        share = percent(abs(self.growth), self.before).lstrip("+")
        verb = "Grew" if self.growth > 0 else "Shrank"
        return f"{verb} {f'by {share} ' if share else ''}to {total:,} users"

    def _range(self) -> str:
        first, last = self.first["month"], self.last["month"]
        return f"in {last}" if first == last else f"from {first} to {last}"
