"""What the addresses of project storage are sent and answer."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from webapp.kinds.project_storage.compute import EVENT_TYPES, LARGEST, moment_us
from webapp.kinds.project_storage.models import ROLES
from webapp.lib.bodies import OneOf, Text, WholeNumber
from webapp.lib.model import LazyModel
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
        raise ValueError("Times before 1970 are not accepted.")
    if at_us > moment_us(utcnow() + AHEAD):
        raise ValueError("This is more than a day ahead of now.")
    return at_us


def _read_size(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise ValueError(f"Write a whole number from 0 to {LARGEST}.")
    return value


def _read_provider_id(value: Any) -> UUID:
    try:
        return UUID(value)
    except (AttributeError, TypeError, ValueError):
        sentence = "Give the ID of a storage provider; in a baseline also a name that only one has."
        raise ValueError(sentence) from None


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
Description = Annotated[Text, Field(max_length=2000)]


class EventBody(LazyModel):
    """A file event; an upload says how many bytes, and where they are."""

    id: EventId
    type: Annotated[str, OneOf(EVENT_TYPES)]
    file_version_id: EventId
    at: MomentUs
    bytes: Size = None
    storage_provider_id: Annotated[UUID, BeforeValidator(_read_provider_id)] | None = None
    uploader: Annotated[Text, Field(max_length=255)] | None = Field(
        default=None,
        description="Of uploads: who sent the file; else the caller, unless a key that sends.",
    )


class Changes(LazyModel):
    """What changes of a project or a provider; what is not sent stays."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    description: Description | None = None
    retired: bool | None = Field(
        default=None, description="Accepts nothing new; what it stores is kept."
    )
    same_name: bool = Field(default=False, description="Allow a name that is already used.")


class ProjectChanges(Changes):
    """What changes of a project."""

    quota_bytes: Size = Field(
        default=None, description="Set by an admin of the company; null for no quota."
    )


class ProviderChanges(Changes):
    """What changes of a storage provider."""

    in_place: bool | None = Field(
        default=None, description="Another upload of a file version replaces the one before."
    )


class NewProject(ProjectChanges):
    """A project to make; without `id` it gets one."""

    name: Name
    id: UUID | None = None


class NewProvider(ProviderChanges):
    """A storage provider to make."""

    name: Name


class Quota(LazyModel):
    """How much all projects of a company may hold; null for as much as they like."""

    model_config = ConfigDict(extra="forbid")

    quota_bytes: Size


class RoleId(LazyModel):
    """A role by its id."""

    id: Annotated[str, Field(json_schema_extra={"enum": list(ROLES)})]


class NewPermission(LazyModel):
    """The role to give."""

    model_config = ConfigDict(extra="forbid")

    auth_role: RoleId


class PageQuery(LazyModel):
    """Which page of a list."""

    page: Annotated[int, WholeNumber(1, 999_999_999)] = Field(1, description="Which page.")
    per_page: Annotated[int, WholeNumber(1, 1000, clamp=True)] = Field(
        100, description="How many on a page."
    )

    @property
    def offset(self) -> int:
        """Return how many come before the page."""
        return (self.page - 1) * self.per_page


class UsersQuery(PageQuery):
    """Which users of the company."""

    full_name_contains: Text | None = Field(
        default=None, description="Those whose name has this in it."
    )
    email: Text | None = Field(default=None, description="The one of this address.")
    username: Text | None = Field(default=None, description="The same.")


class AgentSignIn(LazyModel):
    """An API key and its secret, under the names of Duke's data service."""

    agent_key: Text
    user_key: str = Field(json_schema_extra={"writeOnly": True})
