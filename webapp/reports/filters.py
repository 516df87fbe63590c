"""How values are written for people: numbers, moments, durations, cells of a table."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import Flask
from markupsafe import Markup

from webapp.engine.kind import Column, Estimate, Row
from webapp.engine.params import param_text
from webapp.lib.moments import utcnow

LONG_WORD = 28
NOTHING = Markup('<span class="none">–</span>')


def init_app(app: Flask) -> None:
    """Add the filters templates use."""
    own = (number, duration, elapsed, format_value, cell, clock, format_estimate, param_text)
    app.jinja_env.filters.update({function.__name__: function for function in own})


def number(value: Any) -> str:
    """Return a number with its thousands apart, as it is where it is none.

    A Decimal keeps its own digits: amounts of some currencies have none, or three.
    """
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int | Decimal):
        return f"{value:,}"
    try:
        return f"{Decimal(str(value)):,.2f}"
    except InvalidOperation:
        return str(value)


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
    """Return the time of day of a moment or of its text, to the second, UTC."""
    if isinstance(moment, datetime):
        return f"{moment.astimezone(UTC):%H:%M:%S}"
    return str(moment)[11:19]


def format_value(value: Any, type: str) -> str | Markup:
    """Return a typed value as people read it; a missing one is a dash."""
    if value is None or value == "":
        return NOTHING
    if type == "boolean" or isinstance(value, bool):
        return "yes" if value else Markup('<span class="none">no</span>')
    if type in {"integer", "decimal"}:
        return number(value)
    if type == "datetime":
        return _moment(str(value))
    text = str(value)
    if len(text) <= LONG_WORD or any(letter.isspace() for letter in text):
        return text
    # One long word is cut short on the screen and whole under the pointer.
    return Markup('<span class="clipped" title="{0}">{0}</span>').format(text)


def _moment(text: str) -> str | Markup:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    at = at.astimezone(UTC) if at.tzinfo else at
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        text, f"{at:%Y-%m-%d %H:%M:%S}", f"{at:%Y-%m-%d %H:%M}"
    )


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
    return f"{calls}{saved}: {span} at the granted pace."
