"""What the lines of months are made of: tracks, territories and product types, heard and paid.

A line's amount is shared among its parts as the method shares it among lines, rounded by largest
remainder, so that parts add up to the line they belong to. Unlike amounts by label this reads the
streams.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import select

from webapp.engine.kind import Column, Row
from webapp.extensions import db
from webapp.kinds.label_revenue.facts import MonthFacts
from webapp.kinds.label_revenue.models import Track
from webapp.kinds.label_revenue.periods import amount, digits, settings_for
from webapp.kinds.label_revenue.report.compute import Key, in_order
from webapp.kinds.label_revenue.report.payouts import MonthPayout
from webapp.lib.batches import batched
from webapp.lib.months import month_text

SHARE_STEP = Decimal("0.0001")
# Adjustments, and what a locked month paid for streams that are gone.
NOT_STREAMED = "Without streams"
Values = tuple[str | None, ...]


class Part(NamedTuple):
    """What is paid to a line for one value of each column; None for all that no stream tells of."""

    key: Key
    values: Values
    seconds: int
    minor: int


def parts_of(
    company_id: str, found: Iterable[MonthPayout], names: Sequence[str], label: str | None = None
) -> list[Part]:
    """Return the parts of months' lines by columns, the most streamed first.

    names: of `track_id`, `region` and `product_type`
    label: of this label only
    """
    added: dict[tuple[Key, Values], list[int]] = defaultdict(lambda: [0, 0])
    for one in found:
        facts = MonthFacts(company_id, one.month, settings_for(company_id, one.month))
        heard = facts.heard_by(names, one.method, label)
        for line in one.payout.lines:
            if label is None or line.key == Key(True, label):
                of_line = heard.pop(line.key, None) or {(None,) * len(names): [line.seconds, 1]}
                for values, seconds, minor in _shared(line.minor, of_line):
                    added[line.key, values][0] += seconds
                    added[line.key, values][1] += minor
        for due in one.adjustments:
            if label is None or due.key == Key(True, label):
                added[due.key, (None,) * len(names)][1] += due.minor
    parts = [Part(key, values, *sums) for (key, values), sums in added.items()]
    return sorted(parts, key=lambda one: (-one.seconds, -one.minor, one.key.name, str(one.values)))


def _shared(minor: int, heard: Mapping[Values, Sequence[int]]) -> Iterator[tuple[Values, int, int]]:
    """Yield values, seconds and amount of each part of a line, in whole minor units."""
    by_weight = any(weight for _, weight in heard.values())
    weights = {values: part[1 if by_weight else 0] for values, part in heard.items()}
    whole = sum(weights.values()) or 1
    shares = {values: divmod(minor * weight, whole) for values, weight in weights.items()}
    missing = minor - sum(amount for amount, _ in shares.values())
    by_remainder = sorted(shares, key=lambda values: (-shares[values][1], str(values)))
    more = set(by_remainder[:missing])
    for values, (seconds, _) in heard.items():
        yield values, seconds, shares[values][0] + (values in more)


def track_names(company_id: str, track_ids: Iterable[str | None]) -> dict[str, str]:
    """Return the names of tracks as the newest load that stands says them."""
    found: dict[str, str] = {}
    for chunk in batched(sorted({one for one in track_ids if one is not None})):
        mine: Any = (Track.company_id == company_id, Track.track_id.in_(chunk))
        query = select(Track.track_id, Track.name).where(*mine).order_by(Track.batch_no)
        found |= {row.track_id: row.name for row in db.session.execute(query)}
    return found


# Rows of the report's tables


def line_row(key: Key, seconds: int, whole: int, minor: int, currency: str) -> Row:
    """Return what a line was heard and is paid, as a row of a table."""
    sums = figures(seconds, whole, minor, currency)
    return {"label": key.name, **sums, "kind": "label" if key.owned else "unallocated"}


def figures(seconds: int, whole: int, minor: int, currency: str) -> Row:
    """Return seconds, their share of all in percent, and an amount, as members of a row."""
    share = Decimal(100) * seconds / whole if whole else None
    return {
        "seconds": seconds,
        "share": None if share is None else float(share.quantize(SHARE_STEP)),
        # A JSON number; it was rounded as an integer of minor units and is only written here.
        "amount": float(amount(minor, currency)),
    }


def detail_rows(
    company_id: str, found: list[MonthPayout], head: dict[str, Any]
) -> dict[str, list[Row]]:
    """Return rows by track, territory and product type, most streamed first.

    The head is told the most streamed track.
    """
    whole, currency = head["seconds"], head["currency"]
    tracks = parts_of(company_id, found, ["track_id"])
    titles = track_names(company_id, (one.values[0] for one in tracks))
    rows: dict[str, list[Row]] = {"tracks": []}
    for one in tracks:
        track_id = one.values[0] or ""
        title = titles.get(track_id, "" if track_id or not one.key.owned else NOT_STREAMED)
        row = line_row(one.key, one.seconds, whole, one.minor, currency)
        rows["tracks"].append({"track_id": track_id, "title": title, **row})
    head["most_streamed"] = [row["title"] or row["track_id"] for row in rows["tracks"][:1]]
    for table, name in (("territories", "region"), ("product_types", "product_type")):
        sums: dict[str, list[int]] = {}
        for one in parts_of(company_id, found, [name]):
            [value] = one.values
            shown = value or f"No {'territory' if name == 'region' else 'product type'}"
            if value is None:
                shown = NOT_STREAMED if one.key.owned else one.key.name
            added = sums.setdefault(shown, [0, 0])
            added[0] += one.seconds
            added[1] += one.minor
        by_seconds = sorted(sums.items(), key=lambda item: (-item[1][0], item[0]))
        rows[table] = [
            {name: shown, **figures(seconds, whole, minor, currency)}
            for shown, (seconds, minor) in by_seconds
        ]
    return rows


def label_columns(head: Mapping[str, Any]) -> tuple[Column, ...]:
    """Return the columns of a row that `line_row` makes."""
    return (
        Column("label", "Label"),
        Column("seconds", "Seconds", "integer", help="Seconds of the label's tracks streamed."),
        Column("share", "Share", "decimal", "%", help="Of all seconds streamed."),
        Column(
            "amount",
            "Amount",
            "decimal",
            head["currency"],
            digits(head["currency"]),
            help="What the label is owed; all amounts add up to the pool.",
        ),
        Column("kind", "Kind"),
    )


def month_rows(one: MonthPayout) -> Iterator[Row]:
    """Yield a month's lines as rows, adjustments of locked months last."""
    whole = sum(line.seconds for line in one.payout.lines)
    month = {"month": month_text(one.month)}
    for line in one.payout.lines:
        said = {"note": "locked" if one.locked else "", "reason": "", "link": ""}
        yield month | said | line_row(line.key, line.seconds, whole, line.minor, one.currency)
    for due in (*one.adjustments, *one.foreign):
        row = month | {
            "note": f"adjustment of {month_text(due.about)}",
            "reason": due.reason,
            # The page of the month, where the causes of its changes stand.
            "link": f"/label-revenue/months/{month_text(due.about)}",
            **line_row(due.key, 0, 0, due.minor, one.currency),
            "kind": "adjustment",
        }
        if due.currency != one.currency:
            # In money of its own, so it cannot stand in the column.
            row |= {"note": f"{row['note']}: {due.amount}", "amount": None}
        yield row


def label_rows(found: list[MonthPayout], currency: str) -> list[Row]:
    """Return a row for each label of all months together, by name, then what has no owner."""
    seconds: Counter[Key] = Counter()
    minor: Counter[Key] = Counter()
    for one in found:
        for line in one.payout.lines:
            seconds[line.key] += line.seconds
        for key, owed in one.owed():
            minor[key] += owed
    whole, keys = seconds.total(), sorted(minor, key=in_order)
    return [line_row(key, seconds[key], whole, minor[key], currency) for key in keys]
