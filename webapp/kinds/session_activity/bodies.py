"""Bodies of the session manager's requests: JSON, field names in any case, bounds checked here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from webapp.errors import InvalidParams, TooLarge
from webapp.kinds.session_activity.directory import is_writable
from webapp.kinds.session_activity.ingest import SentPing
from webapp.kinds.session_activity.models import ADDRESS_LENGTH, EVENT_LENGTH, ID_LENGTH
from webapp.kinds.session_activity.moments import read_moment
from webapp.kinds.session_activity.sessions import SentSession

MOST_ITEMS = 20_000
LONGEST_PROMISE_SEC = 86_400
Fields = dict[str, Any]


def fields(item: Any) -> Fields:
    """Return an object's members by their names in lower case.

    Raises: InvalidParams for anything but an object
    """
    if not isinstance(item, dict):
        raise InvalidParams({"body": "Send a JSON object."})
    return {str(name).lower(): value for name, value in item.items()}


def items(body: Any) -> list[Any]:
    """Return the items of a list, or one object as a list of one.

    Raises: InvalidParams, TooLarge
    """
    if isinstance(body, dict):
        return [body]
    if not isinstance(body, list):
        raise InvalidParams({"body": "Send a JSON list of objects."})
    if len(body) > MOST_ITEMS:
        raise TooLarge(f"Send at most {MOST_ITEMS:,} items at once.")
    return body


def read_names(body: Any, longest: int) -> list[str]:
    """Return the names of a list of `{"Name"}`.

    Raises: InvalidParams with a sentence per bad item
    """
    names: list[str] = []
    errors: dict[str, str] = {}
    for number, item in enumerate(items(body)):
        try:
            names.append(_text(fields(item), "name", longest))
        except InvalidParams as error:
            errors |= {f"{number}.{name}": text for name, text in error.errors.items()}
    if errors:
        raise InvalidParams(errors)
    return names


def read_session(body: Any, company_id: str, arrived_at: datetime) -> SentSession:
    """Return the start of a session; raises InvalidParams with a sentence per field."""
    given = fields(body)
    read = _Reader(given)
    sent = SentSession(
        company_id=company_id,
        id=read(_text, "id", ID_LENGTH),
        computer=read(_text, "comp_name", 255),
        ip_addr=read(_address, "ip_addr"),
        login=read(_text, "login", 255),
        next_ping_sec=read(_promise, "next_ping_sec"),
        at=read(_moment, "date_time"),
        arrived_at=arrived_at,
    )
    read.settle()
    return sent


def read_ping(body: Any, company_id: str, arrived_at: datetime) -> SentPing:
    """Return a ping; raises InvalidParams with a sentence per field."""
    given = fields(body)
    read = _Reader(given)
    sent = SentPing(
        company_id=company_id,
        session_id=read(_text, "session_id", ID_LENGTH),
        event=read(_event, "session_type"),
        login=read(_text, "login", 255),
        at=read(_moment, "date_time") or arrived_at,
        next_ping_sec=read(_promise, "next_ping_sec"),
        arrived_at=arrived_at,
    )
    read.settle()
    return sent


class _Reader:
    """Reads fields one by one and gathers what is wrong with them."""

    def __init__(self, given: Fields) -> None:
        self.given = given
        self.errors: dict[str, str] = {}

    def __call__(self, read: Callable[..., Any], name: str, *more: Any) -> Any:
        try:
            return read(self.given, name, *more)
        except InvalidParams as error:
            self.errors |= error.errors
            return None

    def settle(self) -> None:
        if self.errors:
            raise InvalidParams(self.errors)


def _text(given: Fields, name: str, longest: int) -> str:
    value = given.get(name)
    if value is None or value == "":
        raise InvalidParams({name: f"{name} is needed."})
    if not isinstance(value, str):
        raise InvalidParams({name: f"Send {name} as text."})
    value = value.strip()
    if not value or not is_writable(value):
        raise InvalidParams({name: f"{name} is empty or holds characters that cannot be stored."})
    if len(value) > longest:
        raise InvalidParams({name: f"{name} may have at most {longest} characters."})
    return value


def _event(given: Fields, name: str) -> str:
    value = given.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    return _text(given, name, EVENT_LENGTH)


def _address(given: Fields, name: str) -> str:
    value = given.get(name)
    if value is None or value == "":
        return ""
    try:
        address = str(ip_address(str(value).strip()))
    except ValueError:
        raise InvalidParams({name: f"{name} is not an IP address."}) from None
    # The scope of an IPv6 address, after a %, may be any text.
    if len(address) > ADDRESS_LENGTH or not is_writable(address):
        raise InvalidParams({name: f"{name} is longer than an IP address, or cannot be stored."})
    return address


def _promise(given: Fields, name: str) -> int:
    value = given.get(name)
    if value is None:
        raise InvalidParams({name: f"{name} is needed."})
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidParams({name: f"Send {name} as a whole number."})
    if not 1 <= value <= LONGEST_PROMISE_SEC:
        raise InvalidParams({name: f"{name} must be 1 to {LONGEST_PROMISE_SEC}."})
    return value


def _moment(given: Fields, name: str) -> datetime | None:
    value = given.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidParams({name: f"Send {name} as text."})
    try:
        return read_moment(value)
    except ValueError as error:
        raise InvalidParams({name: str(error)}) from None
