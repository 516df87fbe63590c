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

FieldType = Literal["text", "integer", "decimal", "date", "day", "seconds"]
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BRACKETS = re.compile(r"[(\[][^)\]]*[)\]]")
_GAPS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Field:
    """A column that a kind reads.

    type:  a date stands alone, a day may have a time behind it that is dropped; seconds may be
           written as 3:25, or as milliseconds under a heading that says so
    words: what people write above it, in any language; its own name is always one of them
    made:  where a file has none, it is made from the row's content
    takes_notes: columns that are kept as notes go into it
    """

    name: str
    label: str
    type: FieldType = "text"
    required: bool = True
    words: tuple[str, ...] = ()
    made: bool = False
    takes_notes: bool = False

    @property
    def keys(self) -> frozenset[str]:
        """The headings that mean this field, as `heading_key` writes them."""
        return frozenset(heading_key(word) for word in (self.name, *self.words))


def heading_key(heading: str) -> str:
    """Return a heading as it is compared: `Emission factor (kg)` is `emission_factor`."""
    bare = _BRACKETS.sub(" ", heading) if _BRACKETS.sub(" ", heading).strip() else heading
    plain = unicodedata.normalize("NFKD", _HUMP.sub("_", bare))
    letters = "".join(one for one in plain if not unicodedata.combining(one))
    return _GAPS.sub("_", letters).strip("_").lower()


def places_of(header: Sequence[str], fields: Iterable[Field]) -> tuple[str | None, ...]:
    """Return the name of the field that each heading means, None where it means none.

    A field's own name goes before other words: of `Unit` and `Unit ID` the latter is unit_id.
    """
    keys = [heading_key(heading) for heading in header]
    names: dict[str, str] = {}
    own: dict[str, str] = {}
    for field in fields:
        names |= dict.fromkeys(field.keys, field.name)
        own[heading_key(field.name)] = field.name
    named = {own[key] for key in keys if key in own}
    return tuple(own.get(key) if names.get(key, "") in named else names.get(key) for key in keys)


def column_letters(place: int) -> str:
    """Return a column as spreadsheets call it: 0 is A, 26 is AA."""
    letters = ""
    number = place + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
