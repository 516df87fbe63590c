"""Projects, roles, users and providers, at the addresses clients of Duke's data service know.

Their client, DukeDSClient, works here without a change: its `agent_key` is an API key and its
`user_key` that key's secret.
"""

from __future__ import annotations

import time
from typing import Literal
from uuid import UUID

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import Field

from webapp.accounts import (
    LIFETIME_S,
    User,
    current_scope,
    key_tokens,
    members_of,
    new_token,
    require,
    restrict,
)
from webapp.error_pages import envelope
from webapp.errors import NotFound, NotSignedIn
from webapp.extensions import db
from webapp.kinds.project_storage import answers, bodies, projects, stats, tasks
from webapp.kinds.project_storage.api import PREFIX, as_envelope, page_of
from webapp.kinds.project_storage.models import ROLES
from webapp.lib.bodies import read_json, read_query, read_value
from webapp.lib.model import LazyModel
from webapp.lib.openapi import JSON, Describer

bp = Blueprint("project_storage_projects", __name__, url_prefix=PREFIX)
restrict(bp)
tokens = Blueprint("project_storage_tokens", __name__, url_prefix=PREFIX)
describe = Describer("Projects", answers.StorageError, JSON)
for _room in (bp, tokens):
    envelope(_room.name, as_envelope)


# Projects


@bp.get("/projects")
@describe(
    "The caller's projects, paged in X- headers",
    query=bodies.PageQuery,
    answer=answers.ListOf[answers.ProjectAnswer],
    errors=(400,),
)
def list_projects() -> Response:
    """List the projects the caller has a role in, a page at a time, oldest first."""
    scope, asked = current_scope(), read_query(bodies.PageQuery)
    total = stats.count_projects(scope)
    found = stats.list_items(scope, asked.offset, asked.per_page)
    return page_of([answers.project_answer(item.project) for item in found], asked, total)


@bp.post("/projects")
@require("expert")
@describe(
    "Make a project",
    body=bodies.NewProject,
    answer=answers.ProjectAnswer,
    status=201,
    errors=(400, 409),
)
def create_project() -> tuple[Response, int]:
    """Make a project; the caller becomes its admin."""
    project = projects.create_project(current_scope(), read_json(bodies.NewProject))
    return jsonify(answers.project_answer(project)), 201


@bp.get("/projects/<uuid:project_id>")
@describe("One project", answer=answers.ProjectAnswer, errors=(404,))
def show_project(project_id: UUID) -> Response:
    """Give one project."""
    project, _ = projects.find_project(current_scope(), str(project_id))
    return jsonify(answers.project_answer(project))


@bp.route("/projects/<uuid:project_id>", methods=["PUT", "PATCH"])
@describe(
    "Change a project: its name, description, quota, whether it is retired",
    body=bodies.ProjectChanges,
    answer=answers.ProjectAnswer,
    errors=(400, 404, 409),
)
def change_project(project_id: UUID) -> Response:
    """Change what was sent of a project."""
    changes = read_json(bodies.ProjectChanges)
    project = projects.change_project(current_scope(), str(project_id), changes)
    return jsonify(answers.project_answer(project))


@bp.delete("/projects/<uuid:project_id>")
@describe("Delete a project", status=204, errors=(404,))
def delete_project(project_id: UUID) -> tuple[str, int]:
    """Delete a project and purge what is stored of it."""
    key = projects.delete_project(current_scope(), str(project_id))
    # A small project is gone with the answer; a large one is left to the workers.
    if not tasks.purge(key):
        tasks.purge(key)
    return "", 204


# Roles


class RolesQuery(LazyModel):
    """Of which roles."""

    context: Literal["project", "system"] | None = Field(None, description="Where they hold.")


@bp.get("/auth_roles")
@describe(
    "The roles in a project",
    query=RolesQuery,
    answer=answers.ListOf[answers.AuthRoleAnswer],
    errors=(400,),
)
def list_auth_roles() -> Response:
    """List the roles that can be given in a project; there are none of the system."""
    has_some = read_query(RolesQuery).context != "system"
    found = [answers.auth_role_answer(role) for role in ROLES if has_some]
    return jsonify({"results": found})


@bp.get("/auth_roles/<role>")
@describe("One role", answer=answers.AuthRoleAnswer, errors=(404,))
def show_auth_role(role: str) -> Response:
    """Give one role."""
    if role not in ROLES:
        raise NotFound("There is no such role.")
    return jsonify(answers.auth_role_answer(role))


# Its clients write a slash behind it.
@bp.get("/projects/<uuid:project_id>/permissions", strict_slashes=False)
@describe(
    "Who has which role in a project",
    answer=answers.ListOf[answers.PermissionAnswer],
    errors=(404,),
)
def list_permissions(project_id: UUID) -> Response:
    """List who has which role in a project."""
    project, found = projects.roles_in(current_scope(), str(project_id))
    shown = [answers.permission_answer(project, user, role) for user, role in found]
    return jsonify({"results": shown})


@bp.get("/projects/<uuid:project_id>/permissions/<uuid:user_id>")
@describe("A user's role in a project", answer=answers.PermissionAnswer, errors=(404,))
def show_permission(project_id: UUID, user_id: UUID) -> Response:
    """Give a user's role in a project."""
    project, found = projects.roles_in(current_scope(), str(project_id))
    for user, role in found:
        if user.id == str(user_id):
            return jsonify(answers.permission_answer(project, user, role))
    raise NotFound("This user has no role in the project.")


@bp.put("/projects/<uuid:project_id>/permissions/<uuid:user_id>")
@describe(
    "Give a user a role in a project, as JSON or as a form (auth_role[id])",
    body=bodies.NewPermission,
    answer=answers.PermissionAnswer,
    errors=(400, 404, 409),
)
def give_role(project_id: UUID, user_id: UUID) -> Response:
    """Give a user a role in a project."""
    if request.mimetype == "application/x-www-form-urlencoded":
        form = {"auth_role": {"id": request.form.get("auth_role[id]", "")}}
        sent = read_value(bodies.NewPermission, form)
    else:
        sent = read_json(bodies.NewPermission)
    role = sent.auth_role.id
    project, user = projects.give_role(current_scope(), str(project_id), str(user_id), role)
    return jsonify(answers.permission_answer(project, user, role))


@bp.delete("/projects/<uuid:project_id>/permissions/<uuid:user_id>")
@describe("Remove a user's role in a project", status=204, errors=(404, 409))
def take_role(project_id: UUID, user_id: UUID) -> tuple[str, int]:
    """Remove a user's role in a project."""
    projects.take_role(current_scope(), str(project_id), str(user_id))
    return "", 204


# Providers and quotas


@bp.post("/storage_providers")
@require("expert")
@describe(
    "Make a storage provider",
    body=bodies.NewProvider,
    answer=answers.StorageProvider,
    status=201,
    errors=(400, 409),
)
def create_provider() -> tuple[Response, int]:
    """Make a storage provider of the company."""
    provider = projects.create_provider(current_scope(), read_json(bodies.NewProvider))
    return jsonify(answers.provider_answer(provider)), 201


@bp.get("/storage_providers")
@describe("The storage providers", answer=answers.ListOf[answers.StorageProvider])
def list_providers() -> Response:
    """Give the company's storage providers."""
    found = projects.providers_of(current_scope().company_id)
    return jsonify({"results": [answers.provider_answer(provider) for provider in found]})


@bp.get("/storage_providers/<uuid:provider_id>")
@describe("One storage provider", answer=answers.StorageProvider, errors=(404,))
def show_provider(provider_id: UUID) -> Response:
    """Give one storage provider."""
    found = projects.find_provider(current_scope(), str(provider_id))
    return jsonify(answers.provider_answer(found))


@bp.patch("/storage_providers/<uuid:provider_id>")
@require("expert")
@describe(
    "Change a storage provider: name, description, retired, whether it overwrites in place",
    body=bodies.ProviderChanges,
    answer=answers.StorageProvider,
    errors=(400, 404, 409),
)
def change_provider(provider_id: UUID) -> Response:
    """Change what was sent of a storage provider."""
    changes = read_json(bodies.ProviderChanges)
    found = projects.change_provider(current_scope(), str(provider_id), changes)
    return jsonify(answers.provider_answer(found))


@bp.get("/storage_quota")
@describe("How much all projects may hold", answer=bodies.Quota)
def show_quota() -> Response:
    """Give how many bytes all projects of the company may hold."""
    return jsonify({"quota_bytes": projects.company_quota(current_scope().company_id)})


@bp.put("/storage_quota")
@require("admin")
@describe(
    "Say how much all projects may hold", body=bodies.Quota, answer=bodies.Quota, errors=(400, 409)
)
def set_quota() -> Response:
    """Set how many bytes all projects of the company may hold."""
    quota_bytes = read_json(bodies.Quota).quota_bytes
    projects.set_company_quota(current_scope(), quota_bytes)
    return jsonify({"quota_bytes": quota_bytes})


# Users and tokens


@bp.get("/users")
@describe(
    "The users of the company, paged in X- headers",
    query=bodies.UsersQuery,
    answer=answers.ListOf[answers.StorageUser],
    errors=(400,),
)
def list_users() -> Response:
    """List the users of the caller's company, a page at a time, by their e-mail."""
    asked = read_query(bodies.UsersQuery)
    named = (asked.full_name_contains or "").casefold()
    address = (asked.email or asked.username or "").lower()
    found = [
        one.user
        for one in members_of(current_scope().company_id)
        if named in one.user.name.casefold() and address in {"", one.user.email}
    ]
    page = found[asked.offset : asked.offset + asked.per_page]
    return page_of([answers.user_answer(user) for user in page], asked, len(found))


@bp.get("/auth_providers")
@describe("Where users come from", answer=answers.ListOf[answers.AuthProvider])
def list_auth_providers() -> Response:
    """Name this installation, which their client asks for before it looks for a user."""
    provider = {
        "id": current_scope().company_id,
        "service_id": "partner-use-report",
        "name": current_scope().company_name,
        "is_deprecated": False,
        "is_default": True,
        "login_initiation_url": url_for("accounts.login", _external=True),
    }
    return jsonify({"results": [provider]})


@bp.get("/current_user")
@describe("The caller", answer=answers.StorageUser)
def show_current_user() -> Response:
    """Give the caller."""
    return jsonify(answers.user_answer(db.session.get_one(User, current_scope().user_id)))


@bp.get("/user/api_token")
@describe("A new token for the caller", answer=answers.ApiToken)
def renew_token() -> Response:
    """Give the caller, who signs in by key or by a token that still works, a new token."""
    return _token(new_token())


@tokens.post("/software_agents/api_token")
@describe(
    "A token for an API key and its secret",
    body=bodies.AgentSignIn,
    answer=answers.ApiToken,
    status=201,
    errors=(400, 404),
    security=[],
)
def agent_token() -> tuple[Response, int]:
    """Give a token for an API key, `agent_key`, and its secret, `user_key`."""
    sent = read_json(bodies.AgentSignIn)
    try:
        access, _ = key_tokens(sent.agent_key, sent.user_key)
    except NotSignedIn as error:
        # Their client knows by this status that its keys are wrong.
        raise NotFound(error.message) from None
    return _token(access), 201


def _token(access: str) -> Response:
    expires_on = int(time.time()) + LIFETIME_S
    response = jsonify({"api_token": access, "expires_on": expires_on, "time_to_live": LIFETIME_S})
    response.headers["Cache-Control"] = "no-store"
    return response
