"""How a file is written: encoding, separator, decimal mark, order of dates.

Detected and never guessed; nothing here reads a whole file into memory. A date order only counts as
known when a date proves it; where every day is 12 or less, `date_order` stays None and somebody has
to be asked.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Literal

DateOrder = Literal["dmy", "mdy", "ymd"]
Role = Literal["users", "streams", "tracks"]

COLUMNS: dict[str, tuple[str, ...]] = {
    "users": ("user_id", "product_type", "fee", "origin"),
    "streams": ("date", "user_id", "region", "track_id", "seconds"),
}
SEPARATORS = (";", ",", "\t", "|")
SAMPLE_BYTES = 64 * 1024
PREVIEW_ROWS = 5
LONGEST_FIELD = 100_000
SLASHED = re.compile(r"(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{4})")
ISO = re.compile(r"\d{4}-\d{1,2}-\d{1,2}")

csv.field_size_limit(LONGEST_FIELD)


class BadFile(Exception):
    """A file that cannot be read as a whole; the sentence says why, the line where."""

    def __init__(self, sentence: str, line: int = 1) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.line = line


@dataclass(frozen=True)
class Format:
    """How a CSV file is written, and its first rows as they stand.

    columns:    the header as our names, in the file's order; unknown columns are None
    date_order: None where it is not known; `ambiguous` says that this is because it cannot be
    """

    encoding: str
    separator: str
    columns: tuple[str | None, ...]
    header: tuple[str, ...]
    decimal_mark: str = "."
    date_order: DateOrder | None = None
    ambiguous: bool = False
    preview: tuple[tuple[str, ...], ...] = field(default=())


def detect_encoding(path: Path) -> str:
    """Return the encoding of a file: by its byte order mark, by UTF-16's zeros, else UTF-8."""
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if start[1::2].count(0) > len(start) // 4:
        return "utf-16-le"
    if start[0::2].count(0) > len(start) // 4:
        return "utf-16-be"
    return "utf-8"


def open_text(path: Path, encoding: str) -> io.TextIOWrapper:
    """Return the file as text; line ends stay as they are, for the CSV reader to see."""
    return path.open(encoding=encoding, newline="")


def our_name(heading: str) -> str:
    """Return a heading as our columns are written: `Track ID` and `track id` are `track_id`."""
    return re.sub(r"[\s_\-]+", "_", heading.strip().strip("\ufeff").lower())


def detect(
    path: Path,
    role: Role,
    *,
    date_order: DateOrder | None = None,
    separator: str | None = None,
    decimal_mark: str | None = None,
) -> Format:
    """Return how a users or streams file is written; what a person says goes before what is seen.

    Raises: BadFile with the sentence of what is missing
    """
    encoding = detect_encoding(path)
    try:
        with open_text(path, encoding) as file:
            sample = file.read(SAMPLE_BYTES)
    except UnicodeError as error:
        raise BadFile(f"The file is not {encoding} text; save it as UTF-8.") from error
    if not sample.strip():
        raise BadFile("The file is empty.")
    found = _by_header(sample, role, encoding, (separator,) if separator else SEPARATORS)
    if role == "users":
        return replace(found, decimal_mark=decimal_mark or _decimal_mark(found, path))
    if date_order is not None:
        return replace(found, date_order=date_order)
    return _with_date_order(found, path)


def _by_header(sample: str, role: Role, encoding: str, separators: tuple[str, ...]) -> Format:
    wanted = COLUMNS[role]
    best: Format | None = None
    for separator in separators:
        rows = list(_rows_of(sample, separator, PREVIEW_ROWS + 1))
        if not rows:
            continue
        header = tuple(cell.strip().strip("\ufeff") for cell in rows[0])
        names = tuple(name if (name := our_name(cell)) in wanted else None for cell in header)
        found = Format(encoding, separator, names, header, preview=tuple(rows[1:]))
        if best is None or _known(found) > _known(best):
            best = found
    if best is None:
        raise BadFile("The file is empty.")
    missing = [name.replace("_", " ") for name in wanted if name not in best.columns]
    if missing:
        raise BadFile(
            f"The header needs the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"it is {best.separator.join(best.header)[:200]!r}."
        )
    twice = {name for name in best.columns if name and best.columns.count(name) > 1}
    if twice:
        raise BadFile(f"The header names {', '.join(sorted(twice))} twice.")
    return best


def _known(found: Format) -> int:
    return sum(name is not None for name in found.columns)


def _rows_of(sample: str, separator: str, count: int) -> Iterator[tuple[str, ...]]:
    complete = sample if len(sample) < SAMPLE_BYTES else sample[: sample.rfind("\n") + 1] or sample
    reader = csv.reader(io.StringIO(complete, newline=""), delimiter=separator)
    try:
        for row in reader:
            if row:
                yield tuple(row)
                count -= 1
            if not count:
                return
    except csv.Error:
        return


def _decimal_mark(found: Format, path: Path) -> str:
    """Return the mark of the first fee that has one; a point where no fee does."""
    place = found.columns.index("fee")
    for _, row in read_rows(path, found):
        fee = row[place].strip() if len(row) > place else ""
        if match := re.search(r"([.,])\d{1,2}$", fee):
            return match[1]
    return "."


def _with_date_order(found: Format, path: Path) -> Format:
    """Read dates until one proves the order; all of them where none does."""
    place = found.columns.index("date")
    seen_slashed = False
    for row in chain(_last_rows(path, found), (row for _, row in read_rows(path, found))):
        text = row[place].strip() if len(row) > place else ""
        if ISO.fullmatch(text):
            if not seen_slashed:
                return replace(found, date_order="ymd")
            continue
        match = SLASHED.fullmatch(text)
        if not match:
            continue
        seen_slashed = True
        first, second = int(match[1]), int(match[2])
        if 12 < first <= 31 and second <= 12:
            return replace(found, date_order="dmy")
        if 12 < second <= 31 and first <= 12:
            return replace(found, date_order="mdy")
    return replace(found, ambiguous=seen_slashed)


def _last_rows(path: Path, found: Format) -> Iterator[list[str]]:
    """Yield the last rows of a large file: in a file in order of days the high ones are there."""
    if found.encoding not in {"utf-8", "utf-8-sig"} or path.stat().st_size <= SAMPLE_BYTES:
        return
    with path.open("rb") as file:
        file.seek(-SAMPLE_BYTES, 2)
        lines = file.read().decode("utf-8", "replace").splitlines()[1:]
    for line in lines:
        if '"' not in line:
            yield line.split(found.separator)


def read_rows(path: Path, found: Format) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of the rows below the header, one at a time; empty lines are skipped.

    Raises: BadFile with the line where the file stops being text or CSV
    """
    with open_text(path, found.encoding) as file:
        reader = csv.reader(file, delimiter=found.separator, strict=True)
        first = True
        line = 1
        try:
            for row in reader:
                if row and not first:
                    yield line, row
                first = first and not row
                line = reader.line_num + 1
        except UnicodeError as error:
            raise BadFile(f"The file is not {found.encoding} text from here on.", line) from error
        except csv.Error as error:
            raise BadFile(f"The row cannot be read as CSV: {error}.", line) from error
