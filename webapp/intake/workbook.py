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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError, ParserCreate

from webapp.intake.sheet_xml import MomentStyles, SharedTexts, SheetRows
from webapp.intake.text import BadFile, Told

# A workbook is compressed: this much may come out of a sheet, and of the texts that sheets share.
MOST_SHEET_BYTES = 1024 * 1024 * 1024
MOST_SHARED_BYTES = 128 * 1024 * 1024
# Spreadsheet programs write some ten bytes for one that is kept; files made to do harm, hundreds.
MOST_TIMES_UNPACKED = 100
ALWAYS_UNPACKED_BYTES = 16 * 1024 * 1024
MOST_PART_BYTES = 4 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
UNREADABLE = "The workbook cannot be read. Save it as XLSX again, without a password."
NOT_READ = "This is {}, which is not read. Save or export it as XLSX, or as CSV UTF-8."
_OTHER_FILES = tuple(
    (re.compile(begins, re.IGNORECASE), what)
    for begins, what in (
        (rb"%PDF", "a PDF"),
        (rb"\{\\rtf", "RTF"),
        (rb"\x89PNG|\xff\xd8\xff|GIF8", "a picture"),
        (rb"PK\x05\x06|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ", "an archive"),
        (rb"PAR1|SQLite format", "a database"),
        (rb"\W*<\0?(!\0?d|h\0?t\0?m|h\0?e\0?a|t\0?a\0?b|m\0?e\0?t|\?\0?x\0?m)", "HTML or XML"),
        (rb"\W*\[?\s*\{\s*[\"}]", "JSON"),
    )
)
_OTHER_ARCHIVES = {
    "content.xml": "an OpenDocument file (ODS)",
    "Index/Document.iwa": "a Numbers document",
    "xl/workbook.bin": "a binary workbook (XLSB)",
    "word/document.xml": "a text document",
}
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


class Sheet(NamedTuple):
    """A sheet: its name, where its XML is, whether people see it."""

    name: str
    part: str
    is_hidden: bool


def is_workbook(path: Path) -> bool:
    """Say whether a file begins as an XLSX workbook does. Raises: BadFile for other files"""
    with path.open("rb") as file:
        start = file.read(256)
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        raise BadFile(
            "This is not a workbook that can be read: XLS, or one with a password. Save it as "
            "XLSX without one, or as CSV UTF-8."
        )
    for begins, what in _OTHER_FILES:
        if begins.match(start):
            raise BadFile(NOT_READ.format(what))
    return start.startswith(b"PK\x03\x04")


def _what_archive(names: list[str]) -> str:
    """Return what a ZIP is that is no workbook, empty where it looks like a damaged one."""
    for part, what in _OTHER_ARCHIVES.items():
        if part in names:
            return what
    return "" if any(name.startswith(("xl/", "_rels/")) for name in names) else "a ZIP archive"


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
                if what := _what_archive(self._archive.namelist()):
                    raise BadFile(NOT_READ.format(what))
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
        self._styles = MomentStyles()
        for part in targets.by_type("styles"):
            for _ in self._parse(part, self._styles, MOST_SHARED_BYTES):
                pass

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
            reader = SheetRows(self._shared, self._styles)
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
