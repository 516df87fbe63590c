"""What the addresses of project storage are sent and answer."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypedDict

from webapp.kinds.project_storage.compute import EVENT_TYPES, LARGEST, moment_us
from webapp.kinds.project_storage.projects import ROLES
from webapp.lib.bodies import Id, OneOf, Text, WholeNumber
from webapp.lib.moments import parse_rfc3339, utcnow

EVENTS_PER_LIST = 10_000
AHEAD = timedelta(days=1)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


def _read_event_id(value: Any) -> str:
    """Return an id in its one spelling: UUIDs in lower case, others as they are."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("Write an id of at most 64 letters, digits and . _ : -")
    try:
        return str(UUID(value)) if len(value) == 36 else value
    except ValueError:
        return value


def _read_moment(value: Any) -> int:
    """Return microseconds since 1970."""
    try:
        at_us = moment_us(parse_rfc3339(value))
    except (TypeError, ValueError):
        raise ValueError(
            "Write the time with its zone, for example 2025-03-01T12:00:00Z."
        ) from None
    if at_us < 0:
        raise ValueError("Times before 1970 are not taken.")
    if at_us > moment_us(utcnow() + AHEAD):
        raise ValueError("This is more than a day ahead of now.")
    return at_us


def _read_size(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise ValueError(f"Write a whole number from 0 to {LARGEST}.")
    return value


def _check_name(name: str) -> str:
    name = " ".join(name.split())
    if not 1 <= len(name) <= 255:
        raise ValueError("Write a name of 1 to 255 characters.")
    return name


EventId = Annotated[
    str, BeforeValidator(_read_event_id), WithJsonSchema({"type": "string", "maxLength": 64})
]
MomentUs = Annotated[
    int, BeforeValidator(_read_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
Size = Annotated[
    int | None,
    BeforeValidator(_read_size),
    WithJsonSchema({"type": ["integer", "null"], "minimum": 0, "maximum": LARGEST}),
]
Name = Annotated[Text, AfterValidator(_check_name)]


class EventBody(BaseModel):
    """A file event; an upload says how many bytes, and where they are."""

    id: EventId
    type: Annotated[str, OneOf(EVENT_TYPES)]
    file_version_id: EventId
    at: MomentUs
    bytes: Size = None
    storage_provider_id: UUID | None = None


class NewProject(BaseModel):
    """A project to make; without `id` it gets one."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    id: UUID | None = None


class NewProvider(BaseModel):
    """A storage provider to make."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    description: Annotated[Text, Field(max_length=2000)] | None = None


class RoleId(BaseModel):
    """A role by its id."""

    id: Annotated[str, Field(json_schema_extra={"enum": list(ROLES)})]


class NewPermission(BaseModel):
    """The role to give."""

    model_config = ConfigDict(extra="forbid")

    auth_role: RoleId


class PageQuery(BaseModel):
    """Which page of a list."""

    page: Annotated[int, WholeNumber(1, 999_999_999)] = Field(1, description="Which page.")
    per_page: Annotated[int, WholeNumber(1, 1000, clamp=True)] = Field(
        100, description="How many on a page."
    )


# What is answered

# A moment as it was written already: RFC 3339.
MomentText = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class FieldError(TypedDict):
    """What is wrong with one field."""

    field: str
    message: str


class StorageError(TypedDict):
    """An error as this API's clients read it."""

    error: str
    reason: str
    suggestion: str
    errors: NotRequired[list[FieldError]]


class NamedId(TypedDict):
    """A project by id and name."""

    id: Id
    name: str


class AuthRole(TypedDict):
    """A role in a project by id and name."""

    id: Annotated[str, Field(json_schema_extra={"enum": list(ROLES)})]
    name: str


class Counts(TypedDict):
    """Versions and bytes, active and in the trash."""

    active_file_versions: int
    active_bytes: int
    trash_file_versions: int
    trash_bytes: int


class StorageProvider(TypedDict):
    """Where file versions are stored."""

    id: Id
    name: str
    description: str


class ProviderCounts(StorageProvider, Counts):
    """What is held at one provider."""


class Stats(Counts):
    """What a project holds, in sum and by provider; `as_of`: all events up to then are counted."""

    as_of: MomentText
    by_storage_provider: list[ProviderCounts]


class ProjectStats(TypedDict):
    """A project, the caller's role in it, and what it holds."""

    project: NamedId
    current_user_auth_role: AuthRole
    stats: Stats


class StatsPage(TypedDict):
    """A page of projects."""

    results: list[ProjectStats]


class Sums(Counts):
    """Sums over some projects."""

    projects: int
    as_of: MomentText


class UserStats(TypedDict):
    """Sums over the caller's projects, and over those the caller is admin of."""

    stats_member_projects: Sums
    stats_admin_projects: Sums


class Usage(TypedDict):
    """What clients of old ask."""

    project_count: int
    file_count: int
    storage_bytes: int


class ProjectUser(TypedDict):
    """A user with a role in a project."""

    id: Id
    full_name: str
    email: str


class PermissionAnswer(TypedDict):
    """Who has which role in which project."""

    project: NamedId
    user: ProjectUser
    auth_role: AuthRole


class Verdict(TypedDict):
    """What became of one event: accepted, duplicate or rejected, and why."""

    id: str | None
    verdict: Literal["accepted", "duplicate", "rejected"]
    reason: NotRequired[str]


class Verdicts(TypedDict):
    """What became of each event of a list."""

    results: list[Verdict]


class Providers(TypedDict):
    """The company's storage providers."""

    results: list[StorageProvider]
