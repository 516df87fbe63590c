"""What the API of this kind takes and answers, as models: they check, and they describe.

An error is one sentence that names its field: the original service knows no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
)
from pydantic import WithJsonSchema as Shown
from typing_extensions import TypedDict

from webapp.errors import InvalidParams, Unreadable
from webapp.intake import BadCell, DateOrder, heading_key, order_of, read_date
from webapp.kinds.label_revenue.rows import read_seconds, read_text, read_track_id, read_user_id
from webapp.lib.bodies import Id, Month, MonthSpan, WholeNumber, read_query, sentences
from webapp.lib.model import LazyModel

M = TypeVar("M", bound=BaseModel)
D = TypeVar("D")
MOST_AT_ONCE = 10_000
MOST_PER_PAGE = 500
FIELDS = ("date", "user_id", "region", "track_id", "seconds")
NO_SUCH_FIELD = f"A stream has no such field; it has {', '.join(FIELDS)}."


class BadField(Unreadable):
    """400: a value that cannot be used; the sentence names its field."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field}: {sentence}" if field else sentence)


def _read_cell(value: Any, read: Callable[[str], Any], *, is_number: bool = True) -> Any:
    """Return a field read like the cell of a file, from a text or a whole number."""
    as_number = isinstance(value, int) and not isinstance(value, bool) and is_number
    if value is None:
        raise ValueError("This field is required.")
    if not isinstance(value, str) and not as_number:
        raise ValueError("Send this as text or a whole number.")
    try:
        return read(str(value))
    except BadCell as bad:
        raise ValueError(bad.sentence) from None


def _cell(read: Callable[[str], Any]) -> BeforeValidator:
    return BeforeValidator(lambda value: _read_cell(value, read))


def _read_seconds(text: str) -> int:
    seconds = read_seconds(text)
    if seconds < 0:
        raise BadCell("seconds", f"{seconds} is below zero.")
    return seconds


def _check_day(value: Any, info: ValidationInfo) -> Any:
    order = (info.context or {}).get("date_order")
    return _read_cell(value, lambda text: read_api_date(text, order), is_number=False)


def read_api_date(text: str, order: DateOrder | None) -> date:
    """Return a date of the API: ISO; with slashes where it is clear which part is the day."""
    told = order_of(text.strip())
    if told != "either":
        return read_date(text, told or "ymd")
    if order in ("dmy", "mdy"):
        return read_date(text, order)
    day_first, month_first = read_date(text, "dmy"), read_date(text, "mdy")
    if day_first == month_first:
        return day_first
    raise ValueError(f"{text!r} may be read in two ways; write it as yyyy-mm-dd.")


_DAY = Shown({"type": "string", "format": "date"})
_NUMBER = Shown({"type": "integer"})
Day = Annotated[date, BeforeValidator(_check_day), _DAY]
UserId = Annotated[int, _cell(read_user_id), _NUMBER]
Region = Annotated[str, _cell(lambda text: read_text(text, "region", 100))]
TrackId = Annotated[str, _cell(read_track_id)]
Seconds = Annotated[int, _cell(_read_seconds), Shown({"type": "integer", "minimum": 0})]


class NewStream(LazyModel):
    """A stream as programs send it."""

    model_config = ConfigDict(extra="forbid")

    date: Day
    user_id: UserId
    region: Region
    track_id: TrackId
    seconds: Seconds


_OPTIONAL: Any = {
    name: (field.rebuild_annotation(), None) for name, field in NewStream.model_fields.items()
}
StreamChange = create_model(
    "StreamChange",
    __doc__="Fields of a stream to change; at least one.",
    __config__=ConfigDict(extra="forbid"),
    **_OPTIONAL,
)
NewStreams = NewStream | Annotated[list[NewStream], Field(min_length=1, max_length=MOST_AT_ONCE)]


def read_stream(model: type[M], body: Any, order: DateOrder | None) -> M:
    """Return a stream's fields from JSON; `id` and `label`, as answers have them, are let be.

    Raises: BadField naming the first field that is missing, unknown or cannot be used
    """
    if not isinstance(body, Mapping):
        raise BadField("", "Send a stream as a JSON object.")
    given = {heading_key(str(key)): value for key, value in body.items()}
    given = {name: value for name, value in given.items() if name not in ("id", "label")}
    if model is StreamChange and not given:
        raise BadField("", f"Send at least one of {', '.join(FIELDS)}.")
    try:
        return model.model_validate(given, context={"date_order": order})
    except ValidationError as error:
        found = sentences(error, unknown=NO_SUCH_FIELD)
        raise BadField(*min(found.items(), key=lambda one: one[1] != NO_SUCH_FIELD)) from None


# Queries


def _check_place(text: str) -> tuple[date, int]:
    match = re.fullmatch(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.([0-9]{1,18})", text)
    if match is None:
        raise ValueError("Use the address in the Link header as it is.")
    return read_date(match[1], "ymd"), int(match[2])


class MonthsQuery(MonthSpan):
    """Which months: one, or a range; all that pay anything where none are named."""

    month: Month | None = Field(None, description="One month.")


class ReportQuery(MonthsQuery):
    """What the report is asked with."""

    method: Literal["pool", "listener"] = Field("pool", description="How a month is shared.")


class BalancesQuery(LazyModel):
    """Which month's balances, by which method."""

    month: Month | None = Field(None, description="The month.")
    method: Literal["pool", "listener"] = Field("pool", description="How a month is shared.")


class StatementQuery(MonthSpan):
    """Whose statement, of which months; of the newest month that pays where none is named."""

    label: str | None = Field(None, description="The label; all of them without one.")
    method: Literal["pool", "listener"] = Field("pool", description="How a month is shared.")
    format: Literal["pdf", "xlsx"] = Field("xlsx", description="Of one label's statement.")
    paper: Literal["a4", "letter"] = Field("a4", description="What both files are laid out for.")


class StreamsQuery(LazyModel):
    """Which streams a list shows; both days are included."""

    start: Day | None = Field(None, alias="from", description="The first day.")
    end: Day | None = Field(None, alias="to", description="The last day.")
    user_id: UserId | None = Field(None, description="Of this listener only.")
    label: str | None = Field(None, description="Of this label only.")
    limit: Annotated[int, WholeNumber(1, MOST_PER_PAGE)] = Field(50, description="How many.")
    cursor: (
        Annotated[tuple[date, int], BeforeValidator(_check_place), Shown({"type": "string"})] | None
    ) = Field(None, description="From the Link header.")


def asked(model: type[M]) -> M:
    """Return the query string as a model; raises BadField with the first sentence.

    Other names in it are nobody's business here.
    """
    try:
        return read_query(model)
    except InvalidParams as error:
        raise BadField(*next(iter(error.errors.items()))) from None


# Answers


class RevenueError(TypedDict):
    """What went wrong, in a sentence."""

    error: str


class Envelope(TypedDict, Generic[D]):
    """What was done, and what came of it."""

    message: str
    data: D


class Stream(TypedDict):
    """A stream, with the label of its track in its month."""

    id: Id
    date: Annotated[str, _DAY]
    user_id: int
    region: str
    track_id: str
    seconds: int
    label: str | None


class LabelSeconds(TypedDict):
    """Seconds of one label; null is of tracks without one."""

    label: str | None
    seconds: int


class UserSeconds(TypedDict):
    """A listener's seconds in all and by label."""

    user_id: int
    total_seconds: int
    by_label: list[LabelSeconds]


class LabelBalance(TypedDict):
    """A label's month in one currency; amounts are decimals as text."""

    label: str
    currency: str
    opening: str
    earned: str
    adjustments: str
    paid: str
    closing: str
