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
)
from webapp.kinds.label_revenue.periods import digits
from webapp.lib.texts import storable

Role = Literal["users", "streams", "tracks"]

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

    def users(
        self, found: Format, origins: frozenset[str], currency: str
    ) -> Iterator[tuple[int, UserRow]]:
        """Yield (line, row) of a users file; fees are in the currency."""
        return self._rows(found, "users", lambda values: parse_user(values, origins, currency))

    def streams(self, found: Format) -> Iterator[tuple[int, StreamRow]]:
        """Yield (line, row) of a streams file."""
        return self._rows(found, "streams", parse_stream)

    def _rows(
        self, found: Format, role: str, parse: Callable[[dict[str, Any]], Any]
    ) -> Iterator[Any]:
        for row in read_rows(self.path, found, FIELDS[role]):
            for column, sentence in row.errors.items():
                self._refuse(row, column, sentence)
                break
            else:
                try:
                    yield row.line, parse(row.values)
                except BadCell as bad:
                    self._refuse(row, bad.column, bad.sentence)

    def _refuse(self, row: Row, column: str, sentence: str) -> None:
        self.reject(Problem(self.name, row.line, column, sentence, row.cells))

    def tracks(self) -> Iterator[tuple[int, TrackRow]]:
        """Yield (line, row) of a tracks file: a JSON list of objects."""
        for line, item in json_items(self.path):
            try:
                row = read_track(item)
            except BadCell as bad:
                self.reject(Problem(self.name, line, bad.column, bad.sentence, (_as_text(item),)))
                continue
            yield line, row


def parse_user(values: dict[str, Any], origins: frozenset[str], currency: str) -> UserRow:
    """Return a listener's terms; raises BadCell."""
    return UserRow(
        read_user_id(values["user_id"]),
        read_text(values["product_type"], "product_type", 100),
        read_fee(values["fee"], currency),
        read_origin(values["origin"], origins),
    )


def parse_stream(values: dict[str, Any]) -> StreamRow:
    """Return a stream; raises BadCell."""
    return StreamRow(
        values["date"],
        read_user_id(values["user_id"]),
        read_text(values["region"], "region", 100),
        read_track_id(values["track_id"], "track id"),
        read_seconds(values["seconds"]),
    )


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
    if not storable(stripped):
        raise BadCell(column, "The text contains characters that cannot be stored.")
    return stripped


def read_track_id(text: str, column: str = "track_id") -> str:
    """Return a track's ID."""
    stripped = read_text(text, column, 100)
    if not stripped:
        raise BadCell(column, "The track ID is missing.")
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
        had = f"has {places or 'none'}"
        raise BadCell("fee", f"{fee} has more digits after the decimal mark than {currency} {had}.")
    return f"{fee.normalize():f}"


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


def _shown(text: str) -> str:
    return repr(text[:60]) if text.strip() else "An empty cell"


def read_track(item: Any) -> TrackRow:
    """Return a track of the tracks file; `track name 1` and `label 1` are its usual spellings."""
    if not isinstance(item, dict):
        raise BadCell("", "This is not a JSON object with a track_id.")
    named = {heading_key(str(key)): value for key, value in item.items()}
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
