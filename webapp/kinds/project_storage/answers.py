"""What the addresses of project storage answer."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar

from pydantic import Field
from typing_extensions import TypedDict

from webapp.accounts import User
from webapp.kinds.project_storage.models import ROLES, Project, Provider
from webapp.lib.bodies import Id
from webapp.lib.moments import rfc3339

T = TypeVar("T")
# A moment as it was written already: RFC 3339.
MomentText = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class FieldError(TypedDict):
    """What is wrong with one field."""

    field: str
    message: str


class StorageError(TypedDict):
    """An error as this API's clients read it; `code` tells programs which."""

    error: str
    code: str
    reason: str
    suggestion: str
    errors: NotRequired[list[FieldError]]


class NamedId(TypedDict):
    """A project by id and name."""

    id: Id
    name: str


class ProjectAnswer(NamedId):
    """A project."""

    kind: Literal["dds-project"]
    description: str
    is_deleted: bool
    quota_bytes: int | None
    retired: bool
    audit: dict[str, Any]


def project_answer(project: Project) -> ProjectAnswer:
    """Return a project as answers show it."""
    return {
        "kind": "dds-project",
        "id": project.id,
        "name": project.name,
        "description": project.description,
        "is_deleted": False,
        "quota_bytes": project.quota_bytes,
        "retired": project.retired_at is not None,
        "audit": {"created_on": rfc3339(project.created_at, "milliseconds")},
    }


class AuthRole(TypedDict):
    """A role in a project by id and name."""

    id: Annotated[str, Field(json_schema_extra={"enum": list(ROLES)})]
    name: str


class AuthRoleAnswer(AuthRole):
    """A role that can be given in a project."""

    description: str
    permissions: list[dict[str, str]]
    contexts: list[str]
    is_deprecated: bool


def auth_role(role: str) -> AuthRole:
    """Return a role as answers show it."""
    return {"id": role, "name": ROLES[role][0]}


def auth_role_answer(role: str) -> AuthRoleAnswer:
    """Return a role that can be given, as answers show it."""
    return {
        **auth_role(role),
        "description": ROLES[role][1],
        "permissions": [],
        "contexts": ["project"],
        "is_deprecated": False,
    }


class Counts(TypedDict):
    """Versions and bytes, active and in the trash."""

    active_file_versions: int
    active_bytes: int
    trash_file_versions: int
    trash_bytes: int


class ProviderName(TypedDict):
    """Where file versions are stored."""

    id: Id
    name: str
    description: str


class StorageProvider(ProviderName):
    """A storage provider; `in_place`: another upload of a file version replaces it there."""

    is_deprecated: bool
    in_place: bool


def provider_answer(provider: Provider) -> StorageProvider:
    """Return a storage provider as answers show it."""
    return {
        "id": provider.id,
        "name": provider.name,
        "description": provider.description,
        "is_deprecated": provider.retired_at is not None,
        "in_place": provider.in_place,
    }


class ProviderCounts(ProviderName, Counts):
    """What is held at one provider."""


class Stats(Counts):
    """What a project holds, in sum and by provider; `as_of`: all events up to then are counted.

    not_placed: how many events have no place in the history of their file version
    """

    not_placed: int
    as_of: MomentText
    by_storage_provider: list[ProviderCounts]


class ProjectStats(TypedDict):
    """A project, the caller's role in it, and what it holds."""

    project: NamedId
    current_user_auth_role: AuthRole
    stats: Stats


class Sums(Counts):
    """Sums over some projects."""

    projects: int
    as_of: MomentText


class UserStats(TypedDict):
    """Sums over the caller's projects, and over those the caller is admin of."""

    stats_member_projects: Sums
    stats_admin_projects: Sums


class Usage(TypedDict):
    """What older clients request."""

    project_count: int
    file_count: int
    storage_bytes: int


class StorageUser(TypedDict):
    """A user of the company."""

    id: Id
    username: str
    full_name: str
    first_name: str
    last_name: str
    email: str


def user_answer(user: User) -> StorageUser:
    """Return a user as answers show one."""
    return {
        "id": user.id,
        "username": user.email,
        "full_name": user.name,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "email": user.email,
    }


class AuthProvider(TypedDict):
    """Where users come from."""

    id: Id
    service_id: str
    name: str
    is_deprecated: bool
    is_default: bool
    login_initiation_url: str


class PermissionAnswer(TypedDict):
    """Who has which role in which project."""

    project: NamedId
    user: StorageUser
    auth_role: AuthRole


def permission_answer(project: Project, user: User, role: str) -> PermissionAnswer:
    """Return who has which role, as answers show it."""
    return {
        "project": {"id": project.id, "name": project.name},
        "user": user_answer(user),
        "auth_role": auth_role(role),
    }


class ListOf(TypedDict, Generic[T]):
    """A list, or a page of it."""

    results: list[T]


class ApiToken(TypedDict):
    """A token, sent as it is in Authorization; `expires_on`: seconds since 1970."""

    api_token: str
    expires_on: int
    time_to_live: int


class Verdict(TypedDict):
    """What became of one event: accepted, duplicate or rejected, and why."""

    id: str | None
    verdict: Literal["accepted", "duplicate", "rejected"]
    reason: NotRequired[str]


class LineProblem(TypedDict):
    """What is wrong with a line of a file."""

    line: int
    reason: str


class BaselineAnswer(TypedDict):
    """What became of the rows of a baseline; the first hundred problems by line."""

    accepted: int
    duplicate: int
    rejected: int
    problems: list[LineProblem]


class UnplacedEvent(TypedDict):
    """An event that changes nothing, and why."""

    id: str
    type: str
    file_version_id: str
    at: MomentText
    reason: Literal["never came", "came later", "was purged"]
