"""Where the parts of a chart stand in a picture: on paper, without script, and as an SVG file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 76, 708, 28, 262
# Attributes, which a page's stylesheet replaces; a file keeps them. Dashes tell lines apart, too.
COLOURS = ("#1f5fbf", "#b2561a", "#17693a", "#8a3fa0", "#ad1f28", "#00727d", "#7d6500", "#4a5568")
DASHES = ("none", "6 3", "2 3", "8 3 2 3", "12 4", "4 2", "1 2", "10 2 2 2")
MOST_LABELS = 12
MOST_DOTS = 40


def picture(chart: Mapping[str, Any], view: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `_picture.svg` draws of a view: ticks, labels, and the marks of each series."""
    series, labels = view["series"], chart["labels"]
    values = [one for each in series for one in each["values"] if one is not None]
    low, high, step = axis(values, from_zero=view["type"] == "bar")
    width = (RIGHT - LEFT) / max(len(labels), 1)

    def x(place: float) -> float:
        return round(LEFT + (place + 0.5) * width, 1)

    def y(value: float) -> float:
        return round(BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP), 1)

    ticks = [low + step * number for number in range(round((high - low) / step) + 1)]
    every = -(-len(labels) // MOST_LABELS)
    drawn = []
    for number, one in enumerate(series):
        found = runs(one["values"])
        bar = min(width * 0.7, 48) / len(series)
        left = (number - len(series) / 2) * bar
        boxes = [
            (round(x(place) + left, 1), *sorted((y(value), y(max(low, 0)))), place in chart["open"])
            for run in found
            for place, value in run
        ]
        points = [[(x(place), y(value)) for place, value in run] for run in found]
        drawn.append(
            {
                "name": one["name"],
                "colour": COLOURS[number % len(COLOURS)],
                "dash": DASHES[number % len(DASHES)] if len(series) > 1 else "none",
                "boxes": boxes if view["type"] == "bar" else [],
                "bar": round(bar, 1),
                "lines": points if view["type"] == "line" else [],
            }
        )
    holes = enumerate(series[0]["values"]) if len(series) == 1 else ()
    return {
        "frame": (WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM),
        "ticks": [(y(tick), f"{tick:,.0f}" if step >= 1 else f"{tick:,.2f}") for tick in ticks],
        "labels": [(x(place), labels[place]) for place in range(0, len(labels), max(every, 1))],
        # As many letters as stand beside each other without touching, whatever a label says.
        "letters": max(round(width * max(every, 1) / 6.5), 8),
        "series": drawn,
        "dots": len(labels) <= MOST_DOTS,
        "holes": [x(place) for place, value in holes if value is None],
        "is_broken": low > 0,
    }


def axis(values: Sequence[float], *, from_zero: bool) -> tuple[float, float, float]:
    """Return where an axis begins and ends, and its step: round numbers around the values.

    A line whose values lie close together far from zero begins above zero, which is said there.
    """
    low, high = min(values, default=0), max(values, default=1)
    if from_zero or low < 0.6 * high or low == high:
        low, high = min(low, 0), max(high, 0)
    span = (high - low) or 1
    power = 10 ** floor(log10(span / 4))
    step = next(size * power for size in (1, 2, 2.5, 5, 10, 20) if size * power * 5 >= span)
    bottom, top = floor(low / step) * step, -floor(-high / step) * step
    return bottom, top if top > bottom else bottom + step, step


def runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Return the stretches of values between holes, each as places and values."""
    found: list[list[tuple[int, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            found.append([])
        else:
            found[-1].append((place, value))
    return [run for run in found if run]
