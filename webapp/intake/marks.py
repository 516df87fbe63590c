"""What the cells of a file prove: which mark stands before decimals, how dates are ordered.

A cell that may be read in two ways proves nothing; where all do, somebody has to be asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from webapp.intake.cells import ISO, SLASHED, YEAR_FIRST, DateOrder, NumberCell


class Question(NamedTuple):
    """What a file does not tell by itself. name: the choice that answers it"""

    name: str
    sentence: str
    examples: tuple[str, ...] = ()


class Proof:
    """The first cell that proves something, and the first that leaves it open."""

    def __init__(self, read: Callable[[str], str | None], answer: str | None) -> None:
        self._read = read
        self.answer: Any = answer
        self.doubtful = ""

    def look_at(self, cell: str) -> None:
        """Take one more cell into account."""
        if self.answer or not cell or isinstance(cell, NumberCell):
            return
        found = self._read(cell.strip())
        # A date with its year first says nothing of those that have it last.
        if found == "either":
            self.doubtful = self.doubtful or cell.strip()
        elif found and not (found == "ymd" and self.doubtful):
            self.answer = found


def mark_of(cell: str) -> str | None:
    """Return the decimal mark that a number proves, `either` where it may be one or thousands."""
    marks = [one for one in cell if one in ".,"]
    if not marks or not re.fullmatch(r"[-+]?[\d.,\s']*\d", cell):
        return None
    if len(set(marks)) > 1:
        return marks[-1]
    if len(marks) > 1:
        return "," if marks[0] == "." else "."
    before, _, after = cell.partition(marks[0])
    is_group = len(after) == 3 and re.fullmatch(r"[-+]?[1-9]\d{0,2}", before)
    return "either" if is_group else marks[0]


def order_of(cell: str) -> DateOrder | Literal["either"] | None:
    """Return the order of dates that a date proves, `either` where two are possible."""
    if ISO.match(cell) or YEAR_FIRST.match(cell):
        return "ymd"
    match = SLASHED.match(cell)
    if not match:
        return None
    first, second = int(match[1]), int(match[2])
    if 12 < first <= 31 and second <= 12:
        return "dmy"
    if 12 < second <= 31 and first <= 12:
        return "mdy"
    return "either" if first <= 12 and second <= 12 else None


def question(name: str, example: str) -> Question:
    """Return the question of a mark or an order that a cell leaves open."""
    if name == "decimal_mark":
        bare = example.replace("." if "." in example else ",", "")
        sentence = (
            f"{example} may be {bare}, or a number with three decimals. Say which mark stands "
            "before the decimals: the comma (,) or the point (.)."
        )
    else:
        sentence = (
            f"No day is above 12, so {example} may be read in two ways. Say which: dmy or mdy."
        )
    return Question(name, sentence, (example,))
