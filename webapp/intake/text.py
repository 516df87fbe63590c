"""Text files: CSV with its encoding, separator and rows, and JSON that is one long list.

Rows and items come with the lines they begin in. Nothing here reads a whole file into memory.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import ijson

SEPARATORS = (";", ",", "\t", "|")
SAMPLE_CHARS = 64 * 1024
LONGEST_FIELD = 100_000
CHUNK_BYTES = 1 << 20
EXAMPLES = 5
ROWS_PER_WORD = 2_000
Told = Callable[[int, int], None]
WESTERN = "cp1252"
_FOREIGN_WORD = re.compile(rb"[A-Za-z\x80-\xff]*[\x80-\xff][A-Za-z\x80-\xff]*")
_SEP_LINE = re.compile(r"\ufeff?\"?sep=(.)\"?\r?\n", re.IGNORECASE)

csv.field_size_limit(LONGEST_FIELD)


class BadFile(Exception):
    """A file that cannot be read as a whole; the sentence says why, the line where."""

    def __init__(self, sentence: str, line: int = 1) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.line = line


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


def is_text(path: Path, encoding: str) -> bool:
    """Say whether all of a file can be read in an encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def words_in_doubt(path: Path) -> tuple[str, ...]:
    """Return some words of a file that are not UTF-8, as Windows-1252 would read them."""
    words: dict[str, None] = {}
    with path.open("rb") as file:
        while line := file.readline(CHUNK_BYTES):
            if line.isascii():
                continue
            for part in _FOREIGN_WORD.findall(line):
                try:
                    part.decode()
                except UnicodeDecodeError:
                    words.setdefault(part.decode(WESTERN, "replace")[:40])
            if len(words) >= EXAMPLES:
                break
    return tuple(words)[:EXAMPLES]


def read_sample(path: Path, encoding: str) -> str:
    """Return the start of a file in whole lines.

    Raises: BadFile where it is empty or not text of that encoding
    """
    try:
        with path.open(encoding=encoding, newline="") as file:
            sample = file.read(SAMPLE_CHARS)
    except UnicodeError as error:
        raise BadFile(f"The file is not {encoding} text; save it as UTF-8.") from error
    if not sample.strip():
        raise BadFile("The file is empty.")
    whole_lines = sample[: sample.rfind("\n") + 1] or sample
    return sample if len(sample) < SAMPLE_CHARS else whole_lines


def told_separator(sample: str) -> str | None:
    """Return the separator of a first line `sep=;`, which spreadsheets write and follow."""
    found = _SEP_LINE.match(sample)
    return found[1] if found else None


def sample_rows(sample: str, separator: str, count: int) -> list[tuple[int, list[str]]]:
    """Return the first rows of a sample; as many as can be read."""
    rows: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator)
    line = 1
    with suppress(csv.Error):
        for row in islice(reader, count):
            rows.append((line, row))
            line = reader.line_num + 1
    return rows


def csv_rows(
    path: Path, encoding: str, separator: str, told: Told = lambda *_: None
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of every row, one at a time.

    told: hears now and then how many bytes of how many are read

    Raises: BadFile with the line where the file stops being text or CSV
    """
    with path.open("rb") as raw, io.TextIOWrapper(raw, encoding, newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        line, size, next_word = 1, path.stat().st_size, ROWS_PER_WORD
        try:
            for row in reader:
                yield line, row
                line = reader.line_num + 1
                if line > next_word:
                    next_word = line + ROWS_PER_WORD
                    told(raw.tell(), size)
        except UnicodeError as error:
            raise BadFile(f"The file is not {encoding} text from here on.", line) from error
        except csv.Error as error:
            fault = str(error)
            hint = "; write a quote inside of a cell twice, and close each"
            if "limit" in fault:
                fault = f"a cell is longer than {LONGEST_FIELD:,} characters"
            raise BadFile(f"The row cannot be read as CSV: {fault}{hint}.", line) from error


def last_rows(path: Path, encoding: str, separator: str) -> Iterator[list[str]]:
    """Yield the last rows of a large file: in a file in order of days the high ones are there."""
    if encoding not in {"utf-8", "utf-8-sig"} or path.stat().st_size <= SAMPLE_CHARS:
        return
    with path.open("rb") as file:
        file.seek(-SAMPLE_CHARS, 2)
        lines = file.read().decode("utf-8", "replace").splitlines()[1:]
    for line in lines:
        if '"' not in line:
            yield line.split(separator)


PIECE_CHARS = 1 << 16
LONGEST_ITEM_CHARS = 1 << 20


def json_items(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line it begins in, item) of a file that is one JSON list, without holding all of it.

    Raises: BadFile with the line where it stops being one
    """
    done: Any = ijson.sendable_list()
    parser = ijson.items_coro(done, "item")
    is_list, begins, waiting, line = False, 0, 0, 1
    try:
        for line, piece in _pieces(path):
            text = piece.strip("\ufeff \t\r\n")
            is_list = is_list or text.startswith("[")
            if text and not is_list:
                raise BadFile("The file is not a JSON list.", line)
            if text not in {"", "[", ","}:
                begins = begins or line
            parser.send(piece.encode())
            waiting += len(piece)
            if waiting > LONGEST_ITEM_CHARS and not done:
                raise BadFile("This is not valid JSON, or one item is very long.", line)
            for item in done:
                yield begins or line, item
                begins = line
            if done:
                # Behind `},` the next item begins in a later line, behind `}, {` it has begun.
                begins = 0 if text.endswith((",", "}", "]")) else line
                waiting = 0
                done.clear()
        parser.close()
    except (ijson.JSONError, ValueError) as error:
        raise BadFile("This is not valid JSON.", line) from error


def _pieces(path: Path) -> Iterator[tuple[int, str]]:
    encoding = detect_encoding(path)
    line = 1
    try:
        with path.open(encoding=encoding, newline="") as file:
            while piece := file.readline(PIECE_CHARS):
                yield line, piece
                line += piece.endswith("\n")
    except UnicodeError as error:
        sentence = f"The file is not {encoding} text; save it as UTF-8."
        raise BadFile(sentence, line) from error
