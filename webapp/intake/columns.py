"""The columns a kind asks for, and which columns of a file they are found in.

A kind hands over fields: our name, the words people write above such a column, a type, whether it
is needed. Headings are compared without case, accents, units in brackets and the kind of gap
between words, so that `Track ID`, `trackId` and `track_id` are the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from webapp.intake.cells import plain_text

FieldType = Literal["text", "integer", "decimal", "date", "day", "seconds"]
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BRACKETS = re.compile(r"[(\[][^)\]]*[)\]]")
_GAPS = re.compile(r"[\W_]+")
_DAY = r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}"
# How the cells of a type look.
_LOOKS = {
    "date": _DAY,
    "day": rf"({_DAY})([T ].*)?",
    "decimal": r"[-+]?\d[\d.,'\s]*",
    "seconds": r"(\d{1,3}:)?\d{1,3}:[0-5]\d",
}


@dataclass(frozen=True)
class Field:
    """A column that a kind reads.

    type:  a date stands alone, a day may have a time behind it that is dropped; seconds may be
           written as 3:25, or in the unit that the heading names
    words: what people write above it, in any language; its own name is always one of them
    made:  where a file has none, it is made from the row's content
    takes_notes: columns that are kept as notes go into it
    looks: how its cells look (a pattern, in any case), where its type does not say so
    """

    name: str
    label: str
    type: FieldType = "text"
    required: bool = True
    words: tuple[str, ...] = ()
    made: bool = False
    takes_notes: bool = False
    looks: str = ""

    @property
    def keys(self) -> frozenset[str]:
        """The headings that mean this field, as `_joined` writes them."""
        return frozenset(_joined(word) for word in (self.name, *self.words))


def apart(heading: str) -> str:
    """Return a heading with its words apart: `msPlayed` is `ms_Played`."""
    return _HUMP.sub("_", heading)


def heading_key(heading: str) -> str:
    """Return a heading as it is compared: `Emission factor (kg)` is `emission_factor`."""
    bare = _BRACKETS.sub(" ", heading) if _BRACKETS.sub(" ", heading).strip() else heading
    plain = unicodedata.normalize("NFKD", apart(bare))
    letters = "".join(one for one in plain if not unicodedata.combining(one))
    return _GAPS.sub("_", letters).strip("_").lower()


def _joined(heading: str) -> str:
    """Return a heading without the gaps between its words: `USERID` is `user id`, too."""
    return heading_key(heading).replace("_", "")


def places_of(header: Sequence[str], fields: Iterable[Field]) -> tuple[str | None, ...]:
    """Return the name of the field that each heading means, None where it means none.

    A field's own name goes before other words: of `Unit` and `Unit ID` the latter is unit_id. A
    word of several fields means the first that no other heading names: beside `Site`, `Unit` is one
    of measure.
    """
    keys = [_joined(heading) for heading in header]
    meant: dict[str, list[str]] = {}
    own: dict[str, str] = {}
    for field in fields:
        for key in field.keys:
            meant.setdefault(key, []).append(field.name)
        own[_joined(field.name)] = field.name
    named = {own[key] for key in keys if key in own}
    others = {meant[key][0] for key in keys if len(meant.get(key, ())) == 1}

    def field_of(key: str) -> str | None:
        free = [name for name in meant.get(key, ()) if name not in named]
        return (
            own.get(key)
            or next((one for one in free if one not in others), None)
            or (free[0] if free else None)
        )

    return tuple(map(field_of, keys))


def guess_columns(
    columns: Sequence[str | None], rows: Sequence[Sequence[str]], fields: Iterable[Field]
) -> tuple[str | None, ...]:
    """Return columns with those filled in that only one can be, by what stands below them.

    A field that is missing gets the one column without a field whose cells all look like its own;
    fields that are looked for by a pattern go first, so a column of scopes is no quantity.
    """
    found = list(columns)
    missing = [one for one in fields if one.required and not one.made and one.name not in columns]
    missing = [one for one in missing if one.looks or one.type in _LOOKS]
    claims = {one.name: _fitting(one, found, rows) for one in missing}
    for one in sorted(missing, key=lambda one: (not one.looks, one.type == "decimal")):
        places = [place for place in claims[one.name] if found[place] is None]
        rivals = [
            other
            for other in missing
            if other.name not in found
            and other is not one
            and bool(other.looks) == bool(one.looks)
            and other.type == one.type
            and set(places) & set(claims[other.name])
        ]
        if len(places) == 1 and not rivals:
            found[places[0]] = one.name
    return tuple(found)


def _fitting(
    field: Field, columns: Sequence[str | None], rows: Sequence[Sequence[str]]
) -> list[int]:
    """Return the columns without a field whose cells, as far as there are some, look like these."""
    pattern = re.compile(field.looks or _LOOKS[field.type], re.IGNORECASE)
    found = []
    for place, name in enumerate(columns):
        cells = [plain_text(row[place]).strip() for row in rows if place < len(row)]
        cells = [cell for cell in cells if cell]
        if name is None and cells and all(map(pattern.fullmatch, cells)):
            found.append(place)
    return found


def column_letters(place: int) -> str:
    """Return a column as spreadsheets call it: 0 is A, 26 is AA."""
    letters = ""
    number = place + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
