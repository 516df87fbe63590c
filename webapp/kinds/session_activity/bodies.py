"""What the session manager is sent and answers: JSON, field names in any case."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime
from ipaddress import ip_address
from itertools import islice
from typing import Annotated, Any, Literal, NotRequired, TypeVar

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
from typing_extensions import TypedDict

from webapp.errors import InvalidParams, TooLarge
from webapp.kinds.session_activity.directory import is_writable
from webapp.kinds.session_activity.models import (
    ADDRESS_LENGTH,
    COMPUTER_LENGTH,
    EVENT_LENGTH,
    ID_LENGTH,
    LOGIN_LENGTH,
)
from webapp.lib.bodies import read_value
from webapp.lib.moments import parse_rfc3339
from webapp.lib.wire import body_bytes, parse_json

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
        raise ValueError("This is empty or holds characters that cannot be stored.")
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


def _read_promise(value: Any) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or value != int(value) or not 1 <= value <= LONGEST_PROMISE_SEC:
        raise ValueError(f"Write a whole number from 1 to {LONGEST_PROMISE_SEC:,}.")
    return int(value)


Moment = Annotated[datetime, BeforeValidator(read_moment), WithJsonSchema({"type": "string"})]
SentAt = Annotated[Moment | None, Field(description="The sender's clock at the moment of sending.")]
Day = Annotated[
    date, BeforeValidator(_read_day), WithJsonSchema({"type": "string", "format": "date"})
]
Promise = Annotated[
    int,
    BeforeValidator(_read_promise),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": LONGEST_PROMISE_SEC}),
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


class _Body(BaseModel):
    """An object whose names are read in any case; what is null or empty counts as not given."""

    model_config = ConfigDict(str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _in_any_case(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        lower = {
            str(name).lower(): value
            for name, value in given.items()
            if value is not None and value != ""
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
    """A ping; without `date_time` it counts from its arrival."""

    session_id: Annotated[str, Field(max_length=ID_LENGTH), OneLine]
    login: Annotated[str, Field(max_length=LONGEST_ASKED), OneLine]
    next_ping_sec: Promise
    session_type: Event = ""
    date_time: Moment | None = None
    sent_at: SentAt = None


class CorrectedComputer(_Body):
    """A computer, and whether the hours of its sessions are read as if its clock were right."""

    name: Annotated[str, Field(alias="Name", max_length=COMPUTER_LENGTH), OneLine]
    corrects_clock: bool


class HoursQuery(_Body):
    """Whose hours, of which days, by month or by date."""

    login: Annotated[str, Field(description="Whose hours."), OneLine]
    session_type: Event = Field("", description="Only pings that name this event.")
    from_date: Day | None = Field(None, description="The first day; without it today.")
    to_date: Day | None = Field(None, description="The last day, included; without it today.")
    group_by: Literal["date", "month"] = Field("date", description="How they are summed.")

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


# What is answered


class Said(TypedDict):
    """That it was done, or why not; `data` holds `errors`, a sentence per field."""

    message: str
    data: NotRequired[Any]


class PingVerdict(TypedDict):
    """What became of one ping of a list."""

    index: int
    session_id: str | None
    status: int
    message: str


class PingVerdicts(TypedDict):
    """That a ping was taken; of a list, what became of each."""

    message: str
    data: NotRequired[list[PingVerdict]]


class OnlineSession(TypedDict):
    """A session whose end has not passed."""

    id: str
    comp_name: str
    ip_addr: str
    login: str
    start_date_time: str
    end_date_time: str


class Dashboard(TypedDict):
    """Who is online."""

    message: str
    data: list[OnlineSession]


class PeriodHours(TypedDict):
    """Hours of a month (`year`, `month_num`) or of a date."""

    year: NotRequired[str]
    month_num: NotRequired[str]
    date: NotRequired[str]
    hours: float
    machine_hours: float


class LoginHours(TypedDict):
    """Hours of a login: of the person, and summed over computers."""

    id: str
    login: str
    total_hours: float
    total_machine_hours: float
    user_activity: list[PeriodHours]


class LoginActivity(TypedDict):
    """The hours of a login."""

    message: str
    data: LoginHours
