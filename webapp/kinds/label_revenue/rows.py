"""The columns of the three files, and their rows as values, or a problem by line and column."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

from webapp.errors import InvalidParams
from webapp.intake import (
    BadCell,
    BadFile,
    Choices,
    Field,
    Format,
    LoadRefused,
    Problem,
    Question,
    Row,
    detect,
    heading_key,
    json_items,
    read_rows,
    round_places,
    shown,
)
from webapp.kinds.label_revenue.periods import digits
from webapp.lib.months import month_text
from webapp.lib.texts import counted, plain, storable

Role = Literal["users", "streams", "tracks"]
# What reads a column's value, by its name; each raises BadCell.
Readers = Mapping[str, Callable[[Any], Any]]

LISTENER = ("user", "listener", "account id", "customer number", "Kunde", "client", "usuario")
DAY = ("day", "played at", "timestamp", "stream date", "sale date", "Datum", "jour", "fecha")
DURATION = ("duration", "ms played", "seconds played", "Dauer", "durée", "duración")
FIELDS: dict[str, tuple[Field, ...]] = {
    "users": (
        Field("user_id", "user id", "integer", words=LISTENER),
        Field("product_type", "product type", words=("product", "plan", "Produkt", "produit")),
        Field("fee", "fee", "decimal", words=("price", "amount", "Preis", "prix", "precio")),
        Field("origin", "origin", words=("channel", "store", "Kanal", "canal", "tienda")),
    ),
    "streams": (
        Field("date", "date", "day", words=DAY),
        Field("user_id", "user id", "integer", words=LISTENER),
        Field(
            "region",
            "region",
            words=("country", "territory", "market", "Land", "pays", "país"),
            looks="[A-Z]{2}",
        ),
        Field(
            "track_id",
            "track id",
            words=("track", "isrc", "recording", "Titel ID", "pista"),
            looks=r"[A-Z]{2}-?[A-Z0-9]{3}-?\d{2}-?\d{5}",
        ),
        Field("seconds", "seconds", "seconds", words=DURATION),
    ),
}
LARGEST_ID = 2**63 - 1
MOST_SECONDS = 2**31 - 1
LARGEST_FEE, COMPUTED_PLACES = Decimal(10) ** 12, 10


class Unanswered(InvalidParams):
    """422: a file may be read in two ways, so somebody has to say which."""

    def __init__(self, name: str, question: Question) -> None:
        super().__init__({question.name: f"{name}: {question.sentence}"})
        self.question = question


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

    def users(self, found: Format, readers: Readers) -> Iterator[tuple[int, UserRow]]:
        """Yield (line, row) of a users file."""
        return self._rows(found, "users", UserRow, readers)

    def streams(self, found: Format, readers: Readers) -> Iterator[tuple[int, StreamRow]]:
        """Yield (line, row) of a streams file."""
        return self._rows(found, "streams", StreamRow, readers)

    def _rows(self, found: Format, role: str, made: Any, readers: Readers) -> Iterator[Any]:
        for row in read_rows(self.path, found, FIELDS[role]):
            values, errors = parse_row(row, readers)
            for column, sentence in errors.items():
                self.reject(Problem(self.name, row.line, column, sentence, row.cells))
                break
            else:
                yield row.line, made(**values)

    def tracks(self) -> Iterator[tuple[int, TrackRow]]:
        """Yield (line, row) of a tracks file: a JSON list of objects."""
        for line, item in json_items(self.path):
            try:
                row = read_track(item)
            except BadCell as bad:
                self.reject(Problem(self.name, line, bad.column, bad.sentence, (_as_text(item),)))
                continue
            yield line, row


class FirstRows:
    """The first row of each listener or track in a file."""

    def __init__(self) -> None:
        self._seen: dict[object, tuple[int, int]] = {}

    def find_same(self, line: int, row: UserRow | TrackRow) -> int | None:
        """Return the line in which the same row stood before, None where it is the first.

        Raises: BadCell where one with other values stood before
        """
        this = line, hash(row)
        first = self._seen.setdefault(row[0], this)
        if first is this:
            return None
        if first[1] != this[1]:
            sentence = f"{row[0]} is in line {first[0]} already, with other values; keep one."
            raise BadCell(row._fields[0], sentence)
        return first[0]


def user_readers(origins: frozenset[str], currency: str) -> Readers:
    """Return what reads the columns of a users file; fees are in the currency."""
    return {
        "user_id": read_user_id,
        "product_type": lambda text: read_text(text, "product_type", 100),
        "fee": lambda fee: read_fee(fee, currency),
        "origin": lambda text: read_origin(text, origins),
    }


def stream_readers(kept_from: date) -> Readers:
    """Return what reads the columns of a streams file; kept_from: no day before it is taken."""

    def read_day(day: date) -> date:
        if day < kept_from:
            first = month_text(kept_from)
            raise BadCell("date", f"Streams before {first} are not kept any more; take them out.")
        return day

    return {
        "date": read_day,
        "user_id": read_user_id,
        "region": lambda text: read_text(text, "region", 100),
        "track_id": read_track_id,
        "seconds": read_seconds,
    }


def parse_row(row: Row, readers: Readers) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a row's values, and a sentence for each column that cannot be used."""
    values: dict[str, Any] = {}
    errors = dict(row.errors)
    for name, read in readers.items():
        if name in row.values:
            try:
                values[name] = read(row.values[name])
            except BadCell as bad:
                errors[bad.column] = bad.sentence
    return values, errors


def read_user_id(text: str) -> int:
    """Return a listener's number."""
    stripped = text.strip()
    if not re.fullmatch(r"[0-9]{1,19}", stripped) or int(stripped) > LARGEST_ID:
        raise BadCell("user_id", f"{shown(text)} is not a listener's number.")
    return int(stripped)


def read_text(text: str, column: str, longest: int) -> str:
    """Return a short text every database takes."""
    stripped = " ".join(text.split())
    if len(stripped) > longest:
        raise BadCell(column, f"The text is longer than {longest} characters.")
    if not storable(stripped):
        raise BadCell(column, "The text contains characters that cannot be stored.")
    return stripped


def read_track_id(text: str) -> str:
    """Return a track's ID."""
    stripped = read_text(text, "track_id", 100)
    if not stripped:
        raise BadCell("track_id", "The track ID is missing.")
    return stripped


def read_fee(fee: Decimal, currency: str) -> str:
    """Return a fee as a plain decimal text: `7.99`; no digit is more than its currency has.

    Nobody writes a price with ten digits behind the point: a program divided, and it is rounded.
    """
    if not 0 <= fee <= LARGEST_FEE:
        raise BadCell("fee", f"{fee} is not an amount.")
    places = digits(currency)
    if -int(fee.as_tuple().exponent) >= COMPUTED_PLACES:
        fee = round_places(fee, LARGEST_FEE.adjusted() + 1, places)
    if -int(fee.as_tuple().exponent) > places:
        most = counted(places, "decimal") if places else "no decimals"
        raise BadCell("fee", f"{fee} is no amount of {currency}, which has {most}.")
    return plain(fee)


def read_origin(text: str, origins: frozenset[str]) -> str:
    """Return an origin that has a share."""
    stripped = "_".join(text.lower().split())
    if stripped not in origins:
        raise BadCell("origin", f"{shown(text)} is not one of {', '.join(sorted(origins))}.")
    return stripped


def read_seconds(text: str) -> int:
    """Return streamed seconds; zero and negative ones are read, and warned of later."""
    stripped = text.strip()
    if not re.fullmatch(r"-?[0-9]{1,10}", stripped) or abs(int(stripped)) > MOST_SECONDS:
        sentence = f"{shown(text)} is not a whole number of seconds, such as 205 or 3:25."
        raise BadCell("seconds", sentence)
    return int(stripped)


def read_track(item: Any) -> TrackRow:
    """Return a track of the tracks file; `track name 1` and `label 1` are its usual spellings."""
    if not isinstance(item, dict):
        raise BadCell("", "This is not a JSON object with a track_id.")
    named = {heading_key(str(key)): value for key, value in item.items()}
    name = _text_of(_first(named, "track_name_1", "track_name", "name"), "track_name")
    label = _text_of(_first(named, "label_1", "label", "label_name"), "label")
    return TrackRow(
        read_track_id(_text_of(named.get("track_id"), "track_id") or ""),
        read_text(name or "", "track_name", 500),
        read_text(label, "label", 300) or None if label else None,
    )


def _as_text(item: Any) -> str:
    try:
        return json.dumps(item, ensure_ascii=False, default=str)[:500]
    except RecursionError:
        return ""


def _first(named: dict[str, Any], *keys: str) -> Any:
    return next((named[key] for key in keys if named.get(key) not in (None, "")), None)


def _text_of(value: Any, column: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadCell(column, "This is neither text nor a number.")
    return str(value).strip()


# What a load is doing, in words.
STAGES = {
    "streams": "Reading streams",
    "users": "Reading listeners",
    "tracks": "Reading tracks",
    "sums": "Adding up by month, listener and label",
}


@dataclass(frozen=True)
class Source:
    """One file to load: where it is, and what its sender calls it."""

    path: Path
    name: str


@dataclass(frozen=True)
class Options(Choices):
    """What a person says about all files of a load.

    from_month: the load's own month, from which on its terms and tracks hold
    repeated:   whether streams that stand already are skipped, or kept as further ones
    by_role:    what is said of one file alone, its columns among it
    """

    skip_bad: bool = False
    rejected: Path | None = None
    from_month: date | None = None
    repeated: Literal["skip", "keep"] = "skip"
    by_role: Mapping[str, Choices] = field(default_factory=dict)


def read_formats(sources: dict[Role, Source], options: Options) -> dict[Role, Format]:
    """Return how the CSV files are written; raises LoadRefused, Unanswered."""
    found: dict[Role, Format] = {}
    problems = []
    for role, source in sources.items():
        if role not in FIELDS:
            continue
        try:
            found[role] = detect(source.path, FIELDS[role], options.by_role.get(role, options))
        except BadFile as error:
            problems.append(Problem(source.name, error.line, "", error.sentence))
    if problems:
        raise LoadRefused(problems, len(problems))
    for role, one in found.items():
        for question in one.questions:
            raise Unanswered(sources[role].name, question)
    return found
