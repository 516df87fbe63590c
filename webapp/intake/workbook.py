"""XLSX workbooks read a row at a time in constant memory, with the standard library's XML parser.

Nothing of a sheet is kept but the row at hand. Of the shared texts each byte is kept once. What a
sheet says of its own size is not believed, a cell is where its reference says, and what goes wrong
in a file that is damaged, locked or no workbook at all is one error: `BadFile`.
"""

from __future__ import annotations

import posixpath
import re
import struct
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError, ParserCreate, XMLParserType

from webapp.intake.cells import EmptyFormula, ErrorCell, NumberCell
from webapp.intake.text import BadFile, Told

# A workbook is compressed: this much may come out of a sheet, and of the texts that sheets share.
MOST_SHEET_BYTES = 1024 * 1024 * 1024
MOST_SHARED_BYTES = 128 * 1024 * 1024
# Spreadsheet programs write some ten bytes for one that is kept; files made to do harm, hundreds.
MOST_TIMES_UNPACKED = 100
ALWAYS_UNPACKED_BYTES = 16 * 1024 * 1024
MOST_PART_BYTES = 4 * 1024 * 1024
# As many as Excel has; a damaged file may name a row far below, and all above it would be walked.
MOST_ROWS = 1_048_576
MOST_COLUMNS = 1_000
# Excel has 32,767.
MOST_LETTERS = 1_000_000
CHUNK_BYTES = 64 * 1024
UNREADABLE = "The workbook cannot be read. Save it as XLSX again, without a password."
_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ExpatError,
    ElementTree.ParseError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
)
# `_x000D_` is how the format writes what XML cannot hold.
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


class Sheet(NamedTuple):
    """A sheet: its name, where its XML is, whether people see it."""

    name: str
    part: str
    is_hidden: bool


def is_workbook(path: Path) -> bool:
    """Say whether a file begins as an XLSX workbook does. Raises: BadFile for an older kind"""
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"\xd0\xcf\x11\xe0":
        raise BadFile(
            "This is not a workbook that can be read: XLS, or one with a password. Save it as "
            "XLSX without one, or as CSV UTF-8."
        )
    return start == b"PK\x03\x04"


@contextmanager
def _one_error() -> Iterator[None]:
    try:
        yield
    except _FAULTS:
        raise BadFile(UNREADABLE) from None


class Workbook:
    """An open workbook. Raises: BadFile, here and from `rows`"""

    def __init__(self, path: Path) -> None:
        with _one_error():
            self._archive = zipfile.ZipFile(path)
            try:
                self._read_parts()
            except BaseException:
                self._archive.close()
                raise

    def __enter__(self) -> Workbook:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def _read_parts(self) -> None:
        [main] = self._targets("_rels/.rels", "").by_type("officeDocument") or [""]
        root = ElementTree.fromstring(self._part(main))  # noqa: S314 - expat bounds expansion
        if "spreadsheetml" not in root.tag or not root.tag.endswith("}workbook"):
            raise ValueError("no workbook")
        folder, name = posixpath.split(main)
        targets = self._targets(f"{folder}/_rels/{name}.rels", folder)
        self.since_1904 = False
        sheets: list[Sheet] = []
        for element in root.iter():
            tag = element.tag.rpartition("}")[2]
            if tag == "workbookPr":
                self.since_1904 = element.get("date1904") in {"1", "true"}
            elif tag == "sheet":
                reference = next(one for key, one in element.items() if key.endswith("}id"))
                if (part := targets.sheets.get(reference)) is not None:
                    is_hidden = element.get("state", "visible") != "visible"
                    sheets.append(Sheet(element.get("name", ""), part, is_hidden))
        if not sheets:
            raise BadFile("The workbook has no sheet.")
        self.sheets = tuple(sheets)
        self._shared_part = next(iter(targets.by_type("sharedStrings")), None)
        self._shared: SharedTexts | None = None

    def _part(self, name: str) -> bytes:
        if self._archive.getinfo(name).file_size > MOST_PART_BYTES:
            raise ValueError("a part is too large")
        return self._archive.read(name)

    def _targets(self, part: str, folder: str) -> Targets:
        root = ElementTree.fromstring(self._part(part))  # noqa: S314 - expat bounds expansion
        found = Targets([], {})
        for element in root:
            target = posixpath.normpath(posixpath.join("/", folder, element.get("Target", "")))
            kind = element.get("Type", "").rpartition("/")[2]
            found.typed.append((kind, target.lstrip("/")))
            if kind == "worksheet":
                found.sheets[element.get("Id", "")] = target.lstrip("/")
        return found

    def rows(self, sheet: Sheet, told: Told = lambda *_: None) -> Iterator[tuple[int, list[str]]]:
        """Yield (row number, cells) of a sheet's rows that hold anything; `told` as `csv_rows`."""
        with _one_error():
            if self._shared is None:
                self._shared = SharedTexts()
                if self._shared_part is not None:
                    for _ in self._parse(self._shared_part, self._shared, MOST_SHARED_BYTES):
                        pass
            reader = _SheetRows(self._shared)
            size, read = self._archive.getinfo(sheet.part).file_size, 0
        chunks = self._parse(sheet.part, reader, MOST_SHEET_BYTES)
        while True:
            # What the reader of the rows raises is not the workbook's fault.
            with _one_error():
                if next(chunks, None) is None:
                    return
                done, reader.done = reader.done, []
            read += CHUNK_BYTES
            told(min(read, size), size)
            yield from done

    def _parse(self, part: str, handler: Any, most_bytes: int) -> Iterator[bool]:
        info = self._archive.getinfo(part)
        if info.file_size > most_bytes:
            raise BadFile("The workbook is too large; send it as CSV.")
        likely_bytes = max(info.compress_size * MOST_TIMES_UNPACKED, ALWAYS_UNPACKED_BYTES)
        if info.file_size > likely_bytes:
            raise BadFile(
                f"The workbook unpacks to {info.file_size:,} bytes out of {info.compress_size:,}, "
                "as no spreadsheet program writes it. Save it as XLSX again, or send it as CSV."
            )
        parser = ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_doctype
        handler.attach(parser)
        with self._archive.open(part) as file:
            while data := file.read(CHUNK_BYTES):
                parser.Parse(data, False)
                yield True
        parser.Parse(b"", True)
        yield True


class Targets(NamedTuple):
    """Where the relations of a part lead: by type, and the sheets by their reference."""

    typed: list[tuple[str, str]]
    sheets: dict[str, str]

    def by_type(self, kind: str) -> list[str]:
        return [target for one, target in self.typed if one == kind]


def _refuse_doctype(*_: object) -> None:
    raise ValueError("a workbook has no document type")


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


class _SheetRows(_Handler):
    """Collects the rows of a sheet, as the parser comes to their ends, in `done`."""

    def __init__(self, shared: SharedTexts) -> None:
        super().__init__()
        self._shared = shared
        self.done: list[tuple[int, list[str]]] = []
        self._row_number = 0
        self._cells: list[str] = []
        self._place = -1
        self._type = "n"
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
        if not self._has_value:
            return EmptyFormula()
        if kind == "n":
            if text:
                float(text)
            return NumberCell(text.strip())
        if kind == "e":
            return ErrorCell(text)
        if kind == "b":
            return {"1": "TRUE", "0": "FALSE"}[text.strip()]
        return unescaped(text)
