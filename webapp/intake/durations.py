"""Durations as seconds: `3:25`, `1:02:03`, `PT3M25S`, `3 min 25 s`, and a workbook's times.

A plain number is of the unit its heading names, else seconds. Of a workbook the format of a cell
says whether its number is a part of a day, as times and durations are kept there.
"""

from __future__ import annotations

import re
from decimal import Decimal

from webapp.intake.cells import ClockCell, DateCell, DurationCell, own_mark, read_number
from webapp.intake.columns import apart

_PARTS = re.compile(
    r"(?:1899-12-3[01]T)?(?:(?P<h>\d{1,4}):(?P<hm>[0-5]?\d)|(?P<m>\d{1,4}))"
    r":(?P<s>[0-5]\d(?:[.,]\d{1,9})?)"
)
_NAMED = re.compile(
    r"(?:P(?:0D)?T(?=\d))?(?:(?P<h>\d{1,4}) ?h)?(?: ?(?P<m>\d{1,5}) ?m(?:in)?)?"
    r"(?: ?(?P<s>\d{1,9}(?:[.,]\d{1,9})?) ?s(?:ec)?)?",
    re.IGNORECASE,
)
_UNITS = (
    (r"ms|msecs?|millis|millisec(ond)?s?|Millisekunden", Decimal("0.001")),
    (r"s|ss|secs?|seconds?|Sekunden?|secondes?|segundos?|seconden", Decimal(1)),
    (r"mins?|minutes?|Minuten?|minutos?|minuut", Decimal(60)),
    (r"hrs?|hours?|Stunden?|heures?|horas?|uur|uren", Decimal(3600)),
)
_SCALES = tuple(
    (re.compile(rf"(^|[\W\d_])({words})($|[\W\d_])", re.IGNORECASE), scale)
    for words, scale in _UNITS
)
_HOURS_AND_MINUTES = re.compile(r"h:mm(?!:)", re.IGNORECASE)
# As near to a whole number as a double comes that a spreadsheet has worked out.
_NEAR = Decimal("0.000001")


def scale_of(heading: str) -> Decimal:
    """Return how many seconds one is under a heading: 0.001 under `msPlayed`."""
    words = apart(heading)
    return next((scale for unit, scale in _SCALES if unit.search(words)), Decimal(1))


def read_seconds(text: str, heading: str = "") -> str:
    """Return a duration as whole seconds in text, rounded where it is written in other units.

    What is no duration comes back as it is, for its reader to refuse.
    Raises: ValueError with a sentence for what may be read in two ways
    """
    stripped = text.strip()
    is_clock = isinstance(text, ClockCell) and not text.seconds() % 60
    if is_clock or (_HOURS_AND_MINUTES.search(heading) and stripped.count(":") == 1):
        hours = text.shown() if isinstance(text, ClockCell) else stripped
        raise ValueError(
            f"{hours} is in hours and minutes here: write it with seconds, 0:{hours:0>5} or "
            f"{hours}:00."
        )
    if isinstance(text, DurationCell):
        return str(text.seconds())
    if match := _PARTS.fullmatch(stripped) or _NAMED.fullmatch(stripped):
        parts = match.groupdict()
        minutes = int(parts["h"] or 0) * 60 + int(parts.get("hm") or parts["m"] or 0)
        rest = Decimal((parts["s"] or "0").replace(",", "."))
        return str(round(minutes * 60 + rest)) if any(parts.values()) else stripped
    scale = scale_of(heading)
    if scale == 1 and text.__class__ is str and stripped.isdigit():
        return stripped
    mark = own_mark(text)
    try:
        number = read_number(text, mark) * scale
    except ValueError:
        if isinstance(text, DateCell):
            raise
        return stripped
    whole = round(number) if number.adjusted() < 20 else number
    return str(whole) if scale != 1 or abs(number - whole) < _NEAR else stripped
