"""What the session manager answers, as the OpenAPI document shows it."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict


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
    """Hours of a month (`year`, `month_num`), an ISO week (`year`, `week_num`) or a date."""

    year: NotRequired[str]
    month_num: NotRequired[str]
    week_num: NotRequired[str]
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


class Name(TypedDict):
    """A login or computer, and the names that lead to it."""

    Name: str
    is_off: bool
    others: list[str]
    last_seen: str | None
    room: NotRequired[str]
    corrects_clock: NotRequired[bool]
    account: NotRequired[str | None]


class Names(TypedDict):
    """Names in order; `next` is the one to go on after."""

    message: str
    data: list[Name]
    next: str | None


class HeldRows(TypedDict):
    """All rows about a login, by what they are."""

    names: list[dict[str, Any]]
    computers: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    time: list[dict[str, Any]]
    clocks_ahead: list[dict[str, Any]]
    clock_offsets: list[dict[str, Any]]
    corrections: list[dict[str, Any]]


class Held(TypedDict):
    """What is held about logins."""

    message: str
    data: list[HeldRows]


class KeptCorrection(TypedDict):
    """A correction: the stretch that does not count, the one that does instead, who and why."""

    id: int
    login: str
    comp_name: str
    start: str
    end: str
    new_start: str | None
    new_end: str | None
    reason: str
    made_by: str
    made_at: str
    taken_back_by: str | None
    taken_back_at: str | None


class Corrections(TypedDict):
    """Corrections, the newest first."""

    message: str
    data: list[KeptCorrection]
