"""The XML inside of a workbook: shared texts, and the rows of a sheet, as the parser meets them."""

from __future__ import annotations

import re
from array import array
from xml.parsers.expat import XMLParserType

from webapp.intake.cells import (
    ClockCell,
    DateCell,
    DurationCell,
    EmptyFormula,
    ErrorCell,
    NumberCell,
)
from webapp.intake.text import BadFile

# As many as Excel has; a damaged file may name a row far below, and all above it would be walked.
MOST_ROWS = 1_048_576
MOST_COLUMNS = 1_000
# Excel has 32,767.
MOST_LETTERS = 1_000_000
# `_x000D_` is how the format writes what XML cannot hold.
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
# What a number format writes as it stands, colours, languages and parts of seconds; `[h]` is none.
_LITERAL = re.compile(
    r'"[^"]*"|\\.|[_*].|\[(?!h+\]|m+\]|s+\])[^\]]*\]|(?<=s)[.,]0+|General|Standard', re.IGNORECASE
)
_BUILT_IN = {
    **dict.fromkeys(("14", "15", "16", "17", "22", "27", "28", "29", "30", "31", "36"), "d"),
    **dict.fromkeys(("50", "51", "52", "53", "54", "57", "58"), "d"),
    "18": "h:mm",
    "19": "h:mm:ss",
    "20": "h:mm",
    "21": "h:mm:ss",
    "45": "mm:ss",
    "46": "[h]:mm:ss",
    "47": "mm:ss",
}


def unescaped(text: str) -> str:
    """Return a text with the characters that XML cannot hold; line ends are `\\n`."""
    if "_x" in text:
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _bounded(text: str) -> str:
    if len(text) > MOST_LETTERS:
        raise BadFile(f"A cell may hold {MOST_LETTERS:,} characters.")
    return text


class _Handler:
    """What both kinds of XML need: names without their prefix, the text of `t` and `v`."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._text: list[str] = []
        self._is_reading_aloud = False

    def attach(self, parser: XMLParserType) -> None:
        self._parser = parser
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        raise NotImplementedError

    def _end(self, name: str) -> None:
        raise NotImplementedError

    def _local(self, name: str) -> str:
        """Return a name without its prefix, which some programs write; remembered, for speed."""
        local = self._names[name] = name.rpartition(":")[2]
        return local


class SharedTexts(_Handler):
    """The texts that cells refer to by number, as bytes one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = bytearray()
        self._ends = array("Q", [0])

    def __getitem__(self, number: int) -> str:
        if number < 0:
            raise IndexError(number)
        return self._bytes[self._ends[number] : self._ends[number + 1]].decode(
            "utf-8", "surrogatepass"
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = self._names.get(name) or self._local(name)
        if local == "t" and not self._is_reading_aloud:
            self._parser.CharacterDataHandler = self._text.append
        elif local == "rPh":
            self._is_reading_aloud = True

    def _end(self, name: str) -> None:
        local = self._names[name]
        if local == "t":
            self._parser.CharacterDataHandler = None
        elif local == "rPh":
            self._is_reading_aloud = False
        elif local == "si":
            text = _bounded("".join(self._text))
            self._bytes += unescaped(text).encode("utf-8", "surrogatepass")
            self._ends.append(len(self._bytes))
            self._text.clear()


class MomentStyles(_Handler):
    """What the cells of a style are that are shown as a day or a time, by its number."""

    def __init__(self) -> None:
        super().__init__()
        self._formats = dict(_BUILT_IN)
        self._is_in_cells, self._count = False, 0
        self.found: dict[str, type[NumberCell]] = {}

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = self._names.get(name) or self._local(name)
        if local == "numFmt":
            self._formats[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
        elif local == "cellXfs":
            self._is_in_cells = True
        elif local == "xf" and self._is_in_cells:
            shown = _moment_of(self._formats.get(attributes.get("numFmtId", ""), ""))
            if shown is not None:
                self.found[str(self._count)] = shown
            self._count += 1

    def _end(self, name: str) -> None:
        if self._names[name] == "cellXfs":
            self._is_in_cells = False


def _moment_of(number_format: str) -> type[NumberCell] | None:
    """Return what is shown by a format of numbers, None for a number."""
    letters = set(_LITERAL.sub("", number_format).lower())
    if letters & set("0#?@"):
        return None
    if letters & set("yd") or ("m" in letters and not letters & set("hs")):
        return DateCell
    return DurationCell if "s" in letters else ClockCell if "h" in letters else None


class SheetRows(_Handler):
    """Collects the rows of a sheet, as the parser comes to their ends, in `done`."""

    def __init__(self, shared: SharedTexts, styles: MomentStyles) -> None:
        super().__init__()
        self._shared = shared
        self._moments = styles.found
        self.done: list[tuple[int, list[str]]] = []
        self._row_number = 0
        self._cells: list[str] = []
        self._place = -1
        self._type, self._style = "n", "0"
        self._has_formula = self._has_value = False
        self._places: dict[str, int] = {}

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = self._names.get(name) or self._local(name)
        if local == "c":
            reference = attributes.get("r")
            if reference is None:
                self._place += 1
            else:
                letters = reference.rstrip("0123456789")
                place = self._places.get(letters)
                self._place = self._find_place(letters) if place is None else place
            self._type = attributes.get("t", "n")
            self._style = attributes.get("s", "0")
            self._has_formula = self._has_value = False
        elif local == "v" or (local == "t" and not self._is_reading_aloud):
            self._has_value = True
            self._parser.CharacterDataHandler = self._text.append
        elif local == "f":
            self._has_formula = True
        elif local == "row":
            self._begin_row(attributes.get("r"))
        elif local == "rPh":
            self._is_reading_aloud = True

    def _begin_row(self, number: str | None) -> None:
        self._row_number = int(number) if number is not None else self._row_number + 1
        if not 1 <= self._row_number <= MOST_ROWS:
            raise BadFile(f"A sheet may have {MOST_ROWS:,} rows.")
        self._cells, self._place = [], -1

    def _find_place(self, letters: str) -> int:
        if not re.fullmatch("[A-Z]{1,3}", letters):
            raise ValueError("no column")
        number = 0
        for letter in letters:
            number = number * 26 + ord(letter) - 64
        self._places[letters] = number - 1
        return number - 1

    def _end(self, name: str) -> None:
        local = self._names[name]
        if local in {"v", "t"}:
            self._parser.CharacterDataHandler = None
        elif local == "c":
            if self._has_value or self._has_formula:
                self._end_cell(_bounded("".join(self._text)))
                self._text.clear()
        elif local == "row":
            if self._cells:
                self.done.append((self._row_number, self._cells))
        elif local == "rPh":
            self._is_reading_aloud = False

    def _end_cell(self, text: str) -> None:
        value = self._value_of(text)
        if not value and not isinstance(value, EmptyFormula):
            return
        place, cells = self._place, self._cells
        if place >= MOST_COLUMNS:
            raise BadFile(
                f"A sheet is read up to column {MOST_COLUMNS:,}; there is a value beyond it.",
                self._row_number,
            )
        missing = place - len(cells)
        if missing:
            cells.extend([""] * missing)
        if missing < 0:
            cells[place] = value
        else:
            cells.append(value)

    def _value_of(self, text: str) -> str:
        kind = self._type
        if kind == "s":
            return self._shared[int(text)]
        # Libraries write a formula they have not calculated with an empty value; `str` is a text.
        if not self._has_value or (self._has_formula and not text and kind != "str"):
            return EmptyFormula()
        if kind == "n":
            if text:
                float(text)
            return self._moments.get(self._style, NumberCell)(text.strip())
        if kind == "e":
            return ErrorCell(text)
        if kind == "b":
            return {"1": "TRUE", "0": "FALSE"}[text.strip()]
        return unescaped(text)
