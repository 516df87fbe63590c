"""Rows of the three files as typed values, or a problem by file, line and column."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from webapp.kinds.label_revenue.formats import (
    ISO,
    SLASHED,
    DateOrder,
    Format,
    our_name,
    read_rows,
)
from webapp.kinds.label_revenue.json_list import json_items

LARGEST_ID = 2**63 - 1
MOST_SECONDS = 2**31 - 1
LARGEST_FEE = Decimal(10) ** 12
FIRST_YEAR, LAST_YEAR = 1970, 9000
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# Thousands may stand apart, in groups of three and all alike: 1.234,50 or 1 234.50.
_WHOLE = r"(?P<whole>\d+|\d{{1,3}}(?P<gap>[{gaps}])\d{{3}}(?:(?P=gap)\d{{3}})*)"
_FEE = _WHOLE + r"(?:{mark}(?P<rest>\d{{1,10}}))?"
COMMA_FEE = re.compile(_FEE.format(gaps=". \u00a0\u202f", mark=","))
POINT_FEE = re.compile(_FEE.format(gaps=" \u00a0\u202f", mark=r"\."))


class Problem(NamedTuple):
    """What is wrong with one row: where it stands, in which column, and a sentence."""

    file: str
    line: int
    column: str
    sentence: str
    row: tuple[str, ...] = ()

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        return f"{self.file}, line {self.line}{column}: {self.sentence}"


class BadCell(ValueError):
    """A cell that cannot be used: its column and a sentence."""

    def __init__(self, column: str, sentence: str) -> None:
        super().__init__(sentence)
        self.column = column
        self.sentence = sentence


class UserRow(NamedTuple):
    """A listener's terms as a users file says them; the fee is a plain decimal as text."""

    user_id: int
    product_type: str
    fee: str
    origin: str


class StreamRow(NamedTuple):
    """One stream."""

    date: date
    user_id: int
    region: str
    track_id: str
    seconds: int


class TrackRow(NamedTuple):
    """A track's name and label; None where it has no label."""

    track_id: str
    name: str
    label: str | None


@dataclass
class Reader:
    """Yields the good rows of a file and hands the bad ones to `reject`."""

    name: str
    path: Path
    reject: Callable[[Problem], None]

    def users(self, found: Format, origins: frozenset[str]) -> Iterator[tuple[int, UserRow]]:
        """Yield (line, row) of a users file."""
        place = {name: index for index, name in enumerate(found.columns) if name}

        def parse(cells: list[str]) -> UserRow:
            return UserRow(
                read_user_id(cells[place["user_id"]]),
                read_text(cells[place["product_type"]], "product_type", 100),
                read_fee(cells[place["fee"]], found.decimal_mark),
                read_origin(cells[place["origin"]], origins),
            )

        return self._rows(found, parse)

    def streams(self, found: Format) -> Iterator[tuple[int, StreamRow]]:
        """Yield (line, row) of a streams file."""
        place = {name: index for index, name in enumerate(found.columns) if name}
        order = found.date_order or "ymd"

        def parse(cells: list[str]) -> StreamRow:
            return StreamRow(
                read_date(cells[place["date"]], order),
                read_user_id(cells[place["user_id"]]),
                read_text(cells[place["region"]], "region", 100),
                read_track_id(cells[place["track_id"]], "track id"),
                read_seconds(cells[place["seconds"]]),
            )

        return self._rows(found, parse)

    def _rows(self, found: Format, parse: Callable[[list[str]], Any]) -> Iterator[Any]:
        count = len(found.columns)
        for line, cells in read_rows(self.path, found):
            try:
                if len(cells) != count:
                    raise BadCell("", f"There are {len(cells)} cells instead of {count}.")
                row = parse(cells)
            except BadCell as bad:
                problem = Problem(self.name, line, bad.column, bad.sentence, tuple(cells))
                self.reject(problem)
                continue
            yield line, row

    def tracks(self) -> Iterator[tuple[int, TrackRow]]:
        """Yield (line, row) of a tracks file: a JSON list of objects."""
        for line, item in json_items(self.path):
            try:
                row = read_track(item)
            except BadCell as bad:
                shown = json.dumps(item, ensure_ascii=False)[:500]
                self.reject(Problem(self.name, line, bad.column, bad.sentence, (shown,)))
                continue
            yield line, row


def read_user_id(text: str) -> int:
    """Return a listener's number."""
    stripped = text.strip()
    if not re.fullmatch(r"[0-9]{1,19}", stripped) or int(stripped) > LARGEST_ID:
        raise BadCell("user_id", f"{_shown(text)} is not a listener's number.")
    return int(stripped)


def read_text(text: str, column: str, longest: int) -> str:
    """Return a short text every database takes."""
    stripped = " ".join(text.split())
    if len(stripped) > longest:
        raise BadCell(column, f"The text is longer than {longest} characters.")
    if UNSTORABLE.search(stripped):
        raise BadCell(column, "The text holds characters that cannot be stored.")
    return stripped


def read_track_id(text: str, column: str = "track_id") -> str:
    """Return a track's ID."""
    stripped = read_text(text, column, 100)
    if not stripped:
        raise BadCell(column, "The track ID is missing.")
    return stripped


def read_fee(text: str, decimal_mark: str) -> str:
    """Return a fee as a plain decimal text; `7,99` with a decimal comma is `7.99`."""
    stripped = text.strip()
    if decimal_mark == "," and re.fullmatch(r"\d+\.\d{1,2}", stripped):
        raise BadCell("fee", f"{_shown(text)} has a point where other fees have a comma.")
    found = (COMMA_FEE if decimal_mark == "," else POINT_FEE).fullmatch(stripped)
    value = None
    if found is not None:
        whole = re.sub(r"\D", "", found["whole"])
        value = Decimal(f"{whole}.{found['rest'] or 0}")
    if value is None or value > LARGEST_FEE:
        raise BadCell("fee", f"{_shown(text)} is not an amount.")
    return f"{value.normalize():f}"


def read_origin(text: str, origins: frozenset[str]) -> str:
    """Return an origin that has a share."""
    stripped = text.strip().lower().replace(" ", "_")
    if stripped not in origins:
        raise BadCell("origin", f"{_shown(text)} is not one of {', '.join(sorted(origins))}.")
    return stripped


def read_seconds(text: str) -> int:
    """Return streamed seconds; zero and negative ones are read, and warned of later."""
    stripped = text.strip()
    if not re.fullmatch(r"-?[0-9]{1,10}", stripped) or abs(int(stripped)) > MOST_SECONDS:
        raise BadCell("seconds", f"{_shown(text)} is not a whole number of seconds.")
    return int(stripped)


def read_date(text: str, order: DateOrder) -> date:
    """Return a date written in a known order; an ISO date is always read as such."""
    stripped = text.strip()
    try:
        if ISO.fullmatch(stripped):
            year, month, day = (int(part) for part in stripped.split("-"))
        elif order != "ymd" and (match := SLASHED.fullmatch(stripped)):
            first, second, year = int(match[1]), int(match[2]), int(match[3])
            day, month = (first, second) if order == "dmy" else (second, first)
        else:
            raise ValueError
        found = date(year, month, day)
    except ValueError:
        raise BadCell("date", f"{_shown(text)} is not a date ({_example(order)}).") from None
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise BadCell("date", f"The year {found.year} is outside {FIRST_YEAR} to {LAST_YEAR}.")
    return found


def _example(order: DateOrder) -> str:
    return {"dmy": "dd/mm/yyyy", "mdy": "mm/dd/yyyy", "ymd": "yyyy-mm-dd"}[order]


def _shown(text: str) -> str:
    return repr(text[:60]) if text.strip() else "An empty cell"


def read_track(item: Any) -> TrackRow:
    """Return a track of the tracks file; `track name 1` and `label 1` are its usual spellings."""
    if not isinstance(item, dict):
        raise BadCell("", "This is not a JSON object with a track_id.")
    named = {our_name(str(key)): value for key, value in item.items()}
    track_id = _text_of(named.get("track_id"), "track_id")
    if track_id is None:
        raise BadCell("track_id", "The track ID is missing.")
    name = _text_of(_first(named, "track_name_1", "track_name", "name"), "track_name")
    label = _text_of(_first(named, "label_1", "label", "label_name"), "label")
    return TrackRow(
        read_track_id(track_id),
        read_text(name or "", "track_name", 500),
        read_text(label, "label", 300) or None if label else None,
    )


def _first(named: dict[str, Any], *keys: str) -> Any:
    return next((named[key] for key in keys if named.get(key) not in (None, "")), None)


def _text_of(value: Any, column: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadCell(column, "This is neither text nor a number.")
    return str(value).strip()
