"""How values are written for people: numbers, moments, durations, cells of a table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import Flask, current_app
from markupsafe import Markup

from webapp.engine.kind import Column, Estimate, Row
from webapp.engine.params import param_text
from webapp.lib.moments import utcnow
from webapp.reports import drawing
from webapp.reports.preferences import preferences

LONG_WORD = 28
# A number of a sentence, in English digits; not a part of a date, of an id or of a word.
NUMBER = re.compile(
    r"(?<![\w.,-])[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![\w-])|(?<![\w.,-])[0-9]+\.[0-9]+(?![\w-])"
)
NOTHING = Markup('<span class="none">–</span>')


def init_app(app: Flask) -> None:
    """Add the filters templates use."""
    own = (
        picture,
        course,
        spelled,
        number,
        duration,
        elapsed,
        format_value,
        cell,
        clock,
        format_estimate,
        param_text,
    )
    app.jinja_env.filters.update({function.__name__: function for function in own})


def number(value: Any) -> str:
    """Return a number with its thousands apart, as it is where it is none.

    A Decimal keeps its own digits: amounts of some currencies have none, or three.
    """
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int | Decimal):
        return preferences().spelled(f"{value:,}")
    try:
        return preferences().spelled(f"{Decimal(str(value)):,.2f}")
    except InvalidOperation:
        return str(value)


def spelled(text: Any) -> str:
    """Return a sentence with its numbers as the reader writes them."""
    liked = preferences()
    if liked.numbers == "en":
        return str(text)
    return NUMBER.sub(lambda found: liked.spelled(found[0]), str(text))


def picture(chart: Mapping[str, Any], view: int = 0, alone: bool = False) -> Markup:
    """Return a view of a chart as SVG; `alone`: for a file, on white."""
    shown = chart["views"][view]
    template = current_app.jinja_env.get_template("reports/_picture.svg")
    parts = {"chart": chart, "view": shown, "drawn": drawing.picture(chart, shown)}
    return Markup(template.render(**parts, alone=alone))  # noqa: S704 (a template of ours)


def course(values: list[float | None] | None) -> Markup:
    """Return the course of a figure as a small line, broken where a value is missing."""
    known = [float(value) for value in values or () if value is not None]
    if len(known) < 3:
        return Markup("")
    low, span = min(known), (max(known) - min(known)) or 1
    step, runs, run = 96 / (len(values or ()) - 1), [], []
    for index, value in enumerate([*(values or ()), None]):
        if value is not None:
            run.append(f"{2 + index * step:.1f},{22 - (float(value) - low) / span * 20:.1f}")
        elif run:
            runs.append(Markup('<polyline points="{}"/>').format(" ".join(run)))
            run = []
    lines = Markup("").join(runs)
    return Markup('<svg class="spark" viewBox="0 0 100 24" aria-hidden="true">{}</svg>').format(
        lines
    )


def duration(seconds: float) -> str:
    """Return a span in the two units that matter: `3 s`, `2 min 5 s`, `1 h 4 min`."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def elapsed(seconds: float) -> str:
    """Return how long something that has ended took: `under 1 s`, `3 s`, `2 min 5 s`."""
    return "under 1 s" if seconds < 1 else duration(seconds)


def seconds_since(moment: datetime | None, until: datetime | None = None) -> float:
    """Return the seconds between two moments; until now where the end is open."""
    return ((until or utcnow()) - moment).total_seconds() if moment else 0.0


def clock(moment: Any) -> str:
    """Return the time of day of a moment or of its text, to the second."""
    at = moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment))
    return f"{preferences().in_zone(at):%H:%M:%S}"


def format_value(value: Any, type: str) -> str | Markup:
    """Return a typed value as people read it; a missing one is a dash."""
    if value is None or value == "":
        return NOTHING
    if type == "boolean" or isinstance(value, bool):
        return "yes" if value else Markup('<span class="none">no</span>')
    if type in {"integer", "decimal"}:
        return number(value)
    if type == "datetime":
        return _moment_in_zone(str(value))
    text = str(value)
    if len(text) <= LONG_WORD or any(letter.isspace() for letter in text):
        return text
    # One long word is cut short on the screen and whole under the pointer.
    return Markup('<span class="clipped" title="{0}">{0}</span>').format(text)


def _moment_in_zone(text: str) -> str | Markup:
    try:
        at = preferences().in_zone(datetime.fromisoformat(text))
    except ValueError:
        return text
    return Markup(
        '<time datetime="{:%Y-%m-%dT%H:%M:%SZ}" title="{:%Y-%m-%d %H:%M:%S} {}">{}</time>'
    ).format(at.astimezone(UTC), at, at.tzinfo, f"{at:%Y-%m-%d %H:%M}")


def cell(row: Row, column: Column) -> str | Markup:
    """Return a cell of a grid. A number that could not be counted is marked and says why."""
    value = row.get(column.name)
    if value is not None or not column.is_number or column.name == "problem":
        return format_value(value, column.type)
    problem = row.get("problem")
    if not problem and row.get("complete") is not False:
        return NOTHING
    reason = str(problem or "Some of it could not be counted.")
    return Markup(
        '<span class="hole" title="{0}">—<span class="visually-hidden"> missing: {0}</span></span>'
    ).format(reason)


def format_estimate(estimate: Estimate, asks_partner: bool = True) -> str:
    """Return an estimate as a sentence; calls are named where a kind makes any."""
    seconds = math.ceil(estimate.seconds)
    if seconds <= 1:
        span = "about a second"
    elif seconds < 90:
        span = f"about {seconds} seconds"
    elif seconds < 5400:
        span = f"about {round(seconds / 60)} minutes"
    else:
        span = f"about {seconds / 3600:.1f} hours"
    if not estimate.calls and not estimate.saved:
        return f"No calls to a partner are needed: {span}." if asks_partner else f"It takes {span}."
    calls = f"About {estimate.calls:,} call{'' if estimate.calls == 1 else 's'} to come"
    saved = f", {estimate.saved:,} saved by stored months" if estimate.saved else ""
    return f"{calls}{saved}: {span} at the allowed rate."
