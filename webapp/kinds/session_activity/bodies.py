"""What the session manager is sent: JSON, field names in any case."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime
from functools import partial
from ipaddress import ip_address
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import ijson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from webapp.errors import InvalidParams, TooLarge
from webapp.kinds.session_activity.compute import Span
from webapp.kinds.session_activity.models import (
    ADDRESS_LENGTH,
    COMPUTER_LENGTH,
    EVENT_LENGTH,
    ID_LENGTH,
    LOGIN_LENGTH,
    ROOM_LENGTH,
)
from webapp.kinds.session_activity.names import is_writable
from webapp.lib.bodies import WholeNumber, at_field, body_bytes, parse_json, read_value
from webapp.lib.model import LazyModel
from webapp.lib.moments import parse_rfc3339

M = TypeVar("M", bound=BaseModel)

MOST_ITEMS = 20_000
# Half a kilobyte an item is twice what a client sends.
MOST_BYTES = MOST_ITEMS * 512
TOO_MANY = f"Send at most {MOST_ITEMS:,} items at once."
LONGEST_PROMISE_SEC = 86_400
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
SENTENCE = "Write the date as 2023-09-06T12:30:00Z, 2023-09-06 12:30:00 or 2023-09-06."


def read_moment(text: Any) -> datetime:
    """Return the moment a text names, aware UTC; one without a zone is UTC.

    Raises: ValueError with a sentence
    """
    try:
        text = text.strip()
        if _DATE.fullmatch(text):
            text += "T00:00:00Z"
        moment = parse_rfc3339(text, needs_zone=False)
    except (AttributeError, ValueError):
        raise ValueError(SENTENCE) from None
    if not 1970 <= moment.year <= 9000:
        raise ValueError("The year of the date cannot be right.")
    return moment


def _read_day(text: Any) -> date:
    """Return the day a text names, as it is written: its time of day and its zone say nothing."""
    read_moment(text)
    return date.fromisoformat(text.strip()[:10])


def _check_line(text: str) -> str:
    if not text or not is_writable(text):
        raise ValueError("This is empty or contains characters that cannot be stored.")
    return text


def _check_event(text: str) -> str:
    if len(text) > EVENT_LENGTH or not is_writable(text):
        raise ValueError(f"An event has at most {EVENT_LENGTH} letters, on one line.")
    return text


def _read_address(value: Any) -> str:
    """Return an IP address in its one spelling, any other text as it is: it refuses nobody."""
    text = value.strip() if isinstance(value, str) else str(value)
    if len(text) > ADDRESS_LENGTH or not is_writable(text):
        raise ValueError(f"Send one line of at most {ADDRESS_LENGTH} characters.")
    return str(ip_address(text)) if is_address(text) else text


def is_address(text: str) -> bool:
    """Say whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _read_promise(least: int, value: Any) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or value != int(value) or not least <= value <= LONGEST_PROMISE_SEC:
        raise ValueError(f"Write a whole number from {least} to {LONGEST_PROMISE_SEC:,}.")
    return int(value)


Moment = Annotated[datetime, BeforeValidator(read_moment), WithJsonSchema({"type": "string"})]
SentAt = Annotated[Moment | None, Field(description="The sender's clock at the moment of sending.")]
Day = Annotated[
    date, BeforeValidator(_read_day), WithJsonSchema({"type": "string", "format": "date"})
]
_SECONDS: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": LONGEST_PROMISE_SEC}
Promise = Annotated[int, BeforeValidator(partial(_read_promise, 1)), WithJsonSchema(_SECONDS)]
PromiseOrEnd = Annotated[
    int, BeforeValidator(partial(_read_promise, 0)), WithJsonSchema(_SECONDS | {"minimum": 0})
]
OneLine = AfterValidator(_check_line)
LineOrEmpty = AfterValidator(lambda text: text and _check_line(text))
Event = Annotated[
    str,
    AfterValidator(_check_event),
    WithJsonSchema({"type": "string", "maxLength": EVENT_LENGTH}),
]
# Longer than any name: one that is not known is told apart from one that cannot be.
LONGEST_ASKED = 255


class _Body(LazyModel):
    """An object whose names are read in any case; what is null or empty counts as not given."""

    model_config = ConfigDict(str_strip_whitespace=True)
    may_be_empty: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _in_any_case(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        lower = {
            str(name).lower(): value
            for name, value in given.items()
            if value is not None and (value != "" or str(name).lower() in cls.may_be_empty)
        }
        return {
            field.alias or name: lower[name]
            for name, field in cls.model_fields.items()
            if name in lower
        }


class NewLogin(_Body):
    """A login to add."""

    name: Annotated[str, Field(alias="Name", max_length=LOGIN_LENGTH), OneLine]


class NewComputer(_Body):
    """A computer to add."""

    name: Annotated[str, Field(alias="Name", max_length=COMPUTER_LENGTH), OneLine]


class SessionStart(_Body):
    """The start of a session; without `date_time` it begins when it arrives."""

    id: Annotated[str, Field(max_length=ID_LENGTH), OneLine]
    comp_name: Annotated[str, Field(max_length=LONGEST_ASKED), OneLine]
    login: Annotated[str, Field(max_length=LONGEST_ASKED), OneLine]
    next_ping_sec: Promise
    ip_addr: Annotated[
        str, BeforeValidator(_read_address), Field(json_schema_extra={"maxLength": ADDRESS_LENGTH})
    ] = ""
    date_time: Moment | None = None
    sent_at: SentAt = None


class PingBody(_Body):
    """A ping; without `date_time` it counts from its arrival. It ends the session with 0."""

    session_id: Annotated[str, Field(max_length=ID_LENGTH), OneLine]
    login: Annotated[str, Field(max_length=LONGEST_ASKED), OneLine]
    next_ping_sec: PromiseOrEnd
    session_type: Event = ""
    date_time: Moment | None = None
    sent_at: SentAt = None


class LoginChange(_Body):
    """What is to change of a login: its name, whom it is merged into, whether it is off."""

    name: Annotated[str, Field(alias="Name", max_length=LONGEST_ASKED), OneLine]
    new_name: Annotated[str, Field(max_length=LOGIN_LENGTH), OneLine] | None = None
    merge_into: Annotated[str, Field(max_length=LONGEST_ASKED), OneLine] | None = None
    is_off: bool | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.changes:
            raise at_field("changes", "Say what is to change.")
        return self

    @property
    def changes(self) -> dict[str, Any]:
        """Return what was sent beside the name."""
        return self.model_dump(exclude_unset=True, exclude={"name"})


class AccountChange(LoginChange):
    """What is to change of a login, and whose account it is: an email, empty for nobody's."""

    may_be_empty = frozenset({"account"})
    account: Annotated[str, Field(max_length=254), LineOrEmpty] | None = None


class ComputerChange(LoginChange):
    """What is to change of a computer.

    An empty room is where the patterns of names say. With `corrects_clock`, the hours of its
    sessions are read as if its clock were right.
    """

    may_be_empty = frozenset({"room"})
    new_name: Annotated[str, Field(max_length=COMPUTER_LENGTH), OneLine] | None = None
    room: Annotated[str, Field(max_length=ROOM_LENGTH), LineOrEmpty] | None = None
    corrects_clock: bool | None = None


class NewCorrection(_Body):
    """A stretch of a login's time at a computer that was wrong, and what is right instead.

    Without `new_start` and `new_end` it is removed.
    """

    login: Annotated[str, Field(max_length=LONGEST_ASKED), OneLine]
    comp_name: Annotated[str, Field(max_length=LONGEST_ASKED), OneLine]
    start: Moment
    end: Moment
    new_start: Moment | None = None
    new_end: Moment | None = None
    reason: Annotated[str, Field(max_length=200), OneLine]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for given, field in ((self.new_end, "new_start"), (self.new_start, "new_end")):
            if given and getattr(self, field) is None:
                raise at_field(field, "Give the new begin and the new end, or neither.")
        return self

    @property
    def wrong(self) -> Span:
        """Return the stretch that does not count."""
        return Span(self.start, self.end)

    @property
    def right(self) -> Span | None:
        """Return the stretch that counts instead."""
        return Span(self.new_start, self.new_end) if self.new_start and self.new_end else None


class LoginOrAllQuery(LazyModel):
    """Which login; without one all that are meant."""

    login: Annotated[str, Field(description="Only of this login."), LineOrEmpty] = ""


class LoginQuery(LazyModel):
    """Which login."""

    login: Annotated[str, OneLine] = Field(description="The name of the login.")


class NamesQuery(LazyModel):
    """Which names: those that contain a text, those after one, how many at most."""

    model_config = ConfigDict(str_strip_whitespace=True)

    search: Annotated[str, Field(description="Only names with this text."), LineOrEmpty] = ""
    after: Annotated[
        str, Field(description="Only names after this: `next` of the page before."), LineOrEmpty
    ] = ""
    limit: Annotated[int, Field(description="How many."), WholeNumber(1, 1000, clamp=True)] = 100


class SessionId(LazyModel):
    """Which session."""

    session: Annotated[str, OneLine]


class HoursQuery(_Body):
    """Whose hours, of which days, by month, week or date."""

    login: Annotated[str, Field(description="Whose hours."), OneLine]
    session_type: Event = Field("", description="Only pings that name this event.")
    from_date: Day | None = Field(None, description="The first day; without it today.")
    to_date: Day | None = Field(None, description="The last day, included; without it today.")
    group_by: Literal["date", "week", "month"] = Field("date", description="How they are summed.")

    def days(self, today: date) -> tuple[date, date]:
        """Return the first and the last day asked for; raises InvalidParams where they are none."""
        last = self.to_date or today
        first = self.from_date or min(today, last)
        if last < first and self.to_date:
            raise InvalidParams({"to_date": "This is before from_date."})
        if last < first:
            raise InvalidParams({"from_date": "This is after today; name a to_date too."})
        return first, last


def read_sent() -> Any:
    """Return what the request's body holds; too long a list is refused before it is read whole.

    Raises: TooLarge, Unreadable
    """
    raw = body_bytes(MOST_BYTES)
    # An item is one object, and few texts in them hold a bracket.
    if raw.count(b"{") + raw.count(b"[") > MOST_ITEMS + 1:
        with suppress(ijson.JSONError):
            begins = (event in {"start_map", "start_array"} for event, _ in ijson.basic_parse(raw))
            if sum(islice(filter(None, begins), MOST_ITEMS + 2)) > MOST_ITEMS + 1:
                raise TooLarge(TOO_MANY)
    return parse_json(raw)


def read_items(model: type[M], body: Any) -> tuple[dict[int, M], dict[int, InvalidParams]]:
    """Return the items of a list that can be used, and what is wrong with others, by place.

    One object counts as a list of one.
    Raises: InvalidParams for what is no list, TooLarge
    """
    items = [body] if isinstance(body, dict) else body
    if not isinstance(items, list):
        raise InvalidParams({"body": "Send a JSON list of objects."})
    if len(items) > MOST_ITEMS:
        raise TooLarge(TOO_MANY)
    good: dict[int, M] = {}
    bad: dict[int, InvalidParams] = {}
    for place, item in enumerate(items):
        try:
            good[place] = read_value(model, item)
        except InvalidParams as error:
            bad[place] = error
    return good, bad


def in_words(errors: Mapping[str, str]) -> str:
    """Return what is wrong with some fields as one text that names them."""
    return " ".join(f"{name}: {sentence}" for name, sentence in errors.items())
