"""What results of saved reports say: compared with each other, and watched by alerts.

An alert begins with the first result in which it holds and ends with the first one in which it
holds no more. A result that lacks the value (a hole) says neither.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise, takewhile
from statistics import median
from typing import Any

from sqlalchemy import select

from webapp.delivery.bodies import Alert, ComparisonAnswer
from webapp.delivery.models import Definition, DefinitionRun, Delivery
from webapp.engine.kind import Answer, Column
from webapp.engine.models import Report
from webapp.engine.registry import kinds
from webapp.engine.results import ReadResult
from webapp.engine.service import subject_forgotten
from webapp.extensions import db
from webapp.lib.moments import rfc3339

# So many results are needed before a range is expected, and so many are looked back at.
LEAST_PAST, MOST_PAST = 6, 24
# A median absolute deviation times this is a standard deviation of what is normally distributed.
AS_DEVIATION = 1.4826
DEVIATIONS = 4
# Of the last value: less than this is never unusual, however even the past was.
LEAST_SHARE = 0.005
ROWS_NAMED = 5
NUMBER = re.compile(r"[+-]?[0-9][0-9,]*(\.[0-9]+)?")


@dataclass(frozen=True)
class Finding:
    """What a result says of an alert: whether it holds (None: it cannot say), and in which words.

    rows: of a column, which rows hold
    """

    holds: bool | None
    sentence: str
    rows: tuple[str, ...] = ()


def watch(run: DefinitionRun) -> list[dict[str, Any]]:
    """Write down a run's figures, and return what begins and ends with it; the caller commits.

    Shape: event (`alert.began`, `alert.ended`), alert, since, sentence, rows
    """
    definition, report = run.definition, run.report
    assert report is not None
    run.figures = main_figures(report)
    if not definition.alerts:
        return []
    # Another run of it may end at this very moment: what is told once is decided one by one.
    db.session.refresh(definition, with_for_update=True)
    earlier = list(
        db.session.scalars(
            select(DefinitionRun)
            .where(
                DefinitionRun.definition_id == definition.id,
                DefinitionRun.id != run.id,
                DefinitionRun.figures.is_not(None),
            )
            .order_by(DefinitionRun.due_at.desc(), DefinitionRun.id)
            .limit(MOST_PAST)
        )
    )
    if earlier and earlier[0].due_at > run.due_at:
        return []  # an older result says nothing of now
    past = [{one["label"]: one["value"] for one in run.figures or ()} for run in earlier[::-1]]
    kept = earlier[0].report if earlier else None
    before = kept if kept is not None and kept.has_result else None
    told, states = [], {}
    for alert in map(Alert.model_validate, definition.alerts):
        found = find(alert, report, before, past)
        was = definition.alert_states.get(alert.name, {}).get("since")
        now = rfc3339(run.due_at)
        since = was if found.holds is None else (was or now) if found.holds else None
        states[alert.name] = {"since": since, "sentence": found.sentence, "at": now}
        if bool(since) != bool(was):
            about = {"alert": alert.name, "since": since or was, "sentence": found.sentence}
            event = "alert.began" if since else "alert.ended"
            told.append({"event": event, **about, "rows": list(found.rows)})
    definition.alert_states = states
    return told


def main_figures(report: Report) -> list[dict[str, Any]]:
    """Return the figures of a result that are numbers: label, value as a float, its unit if any."""
    found = ((one, as_number(one.value)) for one in answer(report).figures)
    return [
        {"label": one.label, "value": value}
        | ({"unit": unit} if (unit := _unit_of(one.value)) else {})
        for one, value in found
        if value is not None
    ]


def _unit_of(value: Any) -> str:
    """Return the one word that follows a number in a text, such as `%` or `EUR`; empty for none."""
    found = re.fullmatch(rf"{NUMBER.pattern} ([^\s\d]+)", str(value))
    return found[2] if found else ""


def as_number(value: Any) -> float | None:
    """Return a value as a number, of a text such as `1,234.50 EUR` its beginning; None for none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float | Decimal):
        return float(value)
    found = NUMBER.match(str(value).strip())
    # A month or a day begins with digits, too.
    if found is None or re.match(r"[-:]", str(value).strip()[found.end() :]):
        return None
    return float(found[0].replace(",", ""))


def find(
    alert: Alert, report: Report, before: Report | None, past: Sequence[Mapping[str, float]]
) -> Finding:
    """Return what a report's result says of an alert.

    before: the report of the run before, while it is kept
    past:   the figures of earlier runs by label, oldest first
    """
    if alert.figure is not None:
        now = {one["label"]: one for one in main_figures(report)}
        found = now.get(alert.figure)
        known = [one[alert.figure] for one in past if alert.figure in one][-MOST_PAST:]
        if found is None:
            return Finding(None, f"{alert.figure} is not known.")
        value, unit = found["value"], found.get("unit", "")
        if alert.when == "unusual":
            return _unusual(alert.figure, value, known, unit)
        return _held(alert, alert.figure, value, known[-1] if known else None, unit)
    assert alert.column is not None
    _, rows = keyed_rows(report)
    _, old = keyed_rows(before) if before is not None else ((), {})
    findings = {
        " · ".join(str(part) for part in key): _held(
            alert, alert.column, value, as_number(old.get(key, {}).get(alert.column))
        )
        for key, row in rows.items()
        if (value := as_number(row.get(alert.column))) is not None
    }
    held = [name for name, one in findings.items() if one.holds]
    if not held:
        says = any(one.holds is False for one in findings.values())
        return Finding(False if says else None, f"No row: {_words(alert, alert.column)}.")
    named = "; ".join(f"{name}: {findings[name].sentence}" for name in held[:ROWS_NAMED])
    more = f" and {len(held) - ROWS_NAMED:,} more" if len(held) > ROWS_NAMED else ""
    return Finding(True, f"{named}{more}", tuple(held))


def _held(alert: Alert, label: str, value: float, before: float | None, unit: str = "") -> Finding:
    limit, percent = alert.limit or 0.0, alert.percent or 0.0
    if alert.when == "change":
        if before is None or before == 0:
            return Finding(None, f"{label} has nothing to be compared with.")
        change = (value - before) / abs(before) * 100
        against = f"{change:+.1f} % against {_text(before, unit)} before"
        return Finding(abs(change) >= percent, f"{label} is {_text(value, unit)}, {against}.")
    if alert.when == "share":
        share = f"{value / limit * 100:.1f} %" if limit else "more than all"
        words = f"{label} is {_text(value, unit)}, {share} of {_text(limit, unit)}."
        return Finding(value >= limit * percent / 100, words)
    holds = value >= limit if alert.when == "above" else value <= limit
    bound = "limit" if alert.when == "above" else "lower limit"
    return Finding(holds, f"{label} is {_text(value, unit)}; the {bound} is {_text(limit, unit)}.")


def _unusual(label: str, value: float, past: Sequence[float], unit: str) -> Finding:
    """Say whether a figure has changed by more than its earlier changes let expect."""
    if len(past) < LEAST_PAST:
        return Finding(None, f"{label} has too few results: {len(past)} of {LEAST_PAST} results.")
    steps = [after - before for before, after in pairwise(past)]
    middle = median(steps)
    deviation = AS_DEVIATION * median(abs(step - middle) for step in steps)
    reach = max(DEVIATIONS * deviation, abs(past[-1]) * LEAST_SHARE)
    low, high = past[-1] + middle - reach, past[-1] + middle + reach
    expected = f"{_text(low)} to {_text(high, unit)}"
    words = f"{label} is {_text(value, unit)}; expected was {expected}."
    return Finding(not low <= value <= high, words)


def _words(alert: Alert, label: str) -> str:
    return {
        "above": f"{label} at least {_text(alert.limit or 0)}",
        "below": f"{label} at most {_text(alert.limit or 0)}",
        "share": f"{label} at least {alert.percent or 0:g} % of {_text(alert.limit or 0)}",
        "change": f"{label} changed by {alert.percent or 0:g} % or more",
        "unusual": f"{label} unusual compared with its past",
    }[alert.when]


def rule_text(alert: Mapping[str, Any]) -> str:
    """Return an alert as it is stored, in words."""
    read = Alert.model_validate(alert)
    return _words(read, read.figure or read.column or "")


def _text(number: float, unit: str = "") -> str:
    text = f"{number:,.2f}".rstrip("0").rstrip(".") if number % 1 else f"{number:,.0f}"
    return f"{text} {unit}".strip()


@subject_forgotten.connect
def forget_subject(
    _sender: object, *, company_id: str, kind: str, is_meant: Callable[[str], bool]
) -> None:
    """Delete what was saved about somebody a kind forgets, in the session.

    What alerts said of that kind's rows goes too, whoever they were about.
    """
    of_kind = (Definition.company_id == company_id) & (Definition.kind == kind)
    for definition in db.session.scalars(select(Definition).where(of_kind)).all():
        if any(is_meant(str(value)) for value in definition.params.values()):
            db.session.delete(definition)
            continue
        states = definition.alert_states.items()
        definition.alert_states = {name: state | {"sentence": ""} for name, state in states}
        mine = (Delivery.definition_id == definition.id) & Delivery.about.is_not(None)
        for delivery in db.session.scalars(select(Delivery).where(mine)):
            delivery.about = (delivery.about or {}) | {"sentence": "", "rows": []}


FIRST = "first"


def compare(before: Sequence[Report], after: Report) -> ComparisonAnswer:
    """Return how the main sheet of a result differs from an earlier one, or from several.

    before: of several, oldest first, each row counts as the first of them has it, and only
            what changed is told
    A row is the same row where the ids and months before its first number agree, or the texts
    there where it has neither.
    A changed row has its key and, of each number that differs, `from`, `to` and `by`.
    """
    keys, new = keyed_rows(after)
    old: dict[tuple[Any, ...], dict[str, Any]] = {}
    counted: dict[tuple[Any, ...], Any] = {}
    for report in before:
        for key, row in keyed_rows(report)[1].items():
            if key not in old:
                old[key], counted[key] = row, counted_at(report)
    several = len(before) != 1
    changed = []
    for key in [key for key in new if key in old]:
        if cells := _differences(old[key], new[key]):
            named = dict(zip(keys, key, strict=True))
            first = {"first_counted_at": counted[key]} if several else {}
            changed.append({**named, **first, "changes": cells})
    moments = {one.id: counted_at(one) for one in (*(before if not several else ()), after)}
    return ComparisonAnswer.model_construct(
        before=FIRST if several else before[0].id,
        after=after.id,
        counted_at=moments,
        # Rows of months that have moved out of a report's range are no news.
        came=[] if several else [row for key, row in new.items() if key not in old],
        went=[] if several else [row for key, row in old.items() if key not in new],
        changed=changed,
    )


def columns_of(report: Report) -> dict[str, Column]:
    """Return by their names the columns of the main sheet that people read; not its details."""
    kind = kinds()[report.kind]
    sheet = kind.sheets(ReadResult(report))[0]
    tables = kind.tables(report.head or {})
    details = {one.name for table in tables for one in table.columns if one.is_detail}
    shown = [one for one in sheet.columns if one.name not in details and one.type != "boolean"]
    return {one.name: one for one in shown}


def counted_at(report: Report) -> Any:
    """Return when a result was made, as its document says."""
    return (report.head or {}).get("generated_at")


def keyed_rows(report: Report) -> tuple[list[str], dict[tuple[Any, ...], dict[str, Any]]]:
    """Return what names the rows of the main sheet, and the rows by their names."""
    sheet = kinds()[report.kind].sheets(ReadResult(report))[0]
    leading = list(takewhile(lambda column: not column.is_number, sheet.columns))
    ids = [column for column in leading if column.type in {"id", "month", "date"}]
    names = [column.name for column in ids or leading]
    rows = {tuple(row.get(name) for name in names): dict(row) for row in sheet.rows}
    return names, rows


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found = {}
    for name, value in new.items():
        was = old.get(name)
        if was == value or not isinstance(value, int | float | str | type(None)):
            continue
        by = None
        if isinstance(was, int | float) and isinstance(value, int | float):
            by = value - was
        found[name] = {"from": was, "to": value, "by": by}
    return found


def answer(report: Report | None) -> Answer:
    """Return what a result says and its figures, as its page has them on top."""
    if report is None or not report.has_result:
        return Answer("")
    return kinds()[report.kind].answer(ReadResult(report))
