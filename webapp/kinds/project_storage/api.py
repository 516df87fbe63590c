"""The addresses programs know: stats of projects and of the caller, and what feeds them.

Errors are `{"error","reason","suggestion"}`. Ids are matched as UUIDs, so `stats` is never one.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, url_for
from pydantic import Field

from webapp.accounts import current_scope, require, restrict
from webapp.error_pages import Problem, envelope
from webapp.kinds.project_storage import bodies, ingest, projects, stats, tasks
from webapp.kinds.project_storage.models import Provider
from webapp.kinds.project_storage.projects import auth_role
from webapp.lib.bodies import read_json, read_query
from webapp.lib.moments import utcnow
from webapp.lib.openapi import JSON, Describer
from webapp.lib.wire import json_body

PREFIX = "/api/v1"
# RFC 9745 wants the moment in seconds since 1970: 2025-01-01.
DEPRECATED_SINCE = 1_735_689_600
SUGGESTIONS = {
    400: "Send the body as JSON that can be read.",
    401: "Sign in with an API key and its secret, or with a token that still works.",
    403: "Ask an admin of the project or of the company for a role that may do this.",
    404: "Look for a typing mistake in the address, or for a project that was deleted.",
    405: "Use one of the methods named in the Allow header.",
    409: "Look at what is there, then try again.",
    413: "Send several smaller lists.",
    415: "Send the body as JSON, with Content-Type: application/json.",
    422: "Correct the values named in the reason and send the request again.",
    429: "Wait as long as the Retry-After header says.",
    503: "Wait as long as the Retry-After header says and try again.",
}

bp = Blueprint("project_storage_api", __name__, url_prefix=PREFIX)
restrict(bp)
describe = Describer("Project storage", bodies.StorageError, JSON)


def as_envelope(problem: Problem) -> Response:
    """Return a problem in the envelope this API's clients read."""
    members: dict[str, Any] = {
        "error": str(problem.status),
        "reason": problem.detail,
        "suggestion": SUGGESTIONS.get(problem.status, "Try again later, or ask the operator."),
    }
    if problem.errors:
        members["errors"] = [
            {"field": name, "message": sentence} for name, sentence in problem.errors.items()
        ]
    response = jsonify(members)
    response.status_code = problem.status
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="api", Bearer realm="api"'
    return response


envelope(bp.name, as_envelope)
for _path in ("projects", "project/", "current_user/", "storage_providers"):
    envelope(f"{PREFIX}/{_path}", as_envelope)


# Reading


@bp.get("/projects/stats", endpoint="list_stats")
@bp.get("/project/stats", endpoint="list_stats_alias")
@describe(
    "Stats of the caller's projects, paged in X- headers",
    query=bodies.PageQuery,
    answer=bodies.StatsPage,
    errors=(422,),
)
def list_stats() -> Response:
    """Give the stats of the projects the caller has a role in, a page at a time."""
    scope, asked, now = current_scope(), read_query(bodies.PageQuery), utcnow()
    total = stats.count_projects(scope)
    offset = (asked.page - 1) * asked.per_page
    items = stats.list_items(scope, offset, asked.per_page) if offset < total else []
    response = jsonify({"results": [item.as_json(now) for item in items]})
    response.headers.update(_paging(asked.page, asked.per_page, total))
    return response


@bp.get("/projects/<uuid:project_id>/stats")
@bp.get("/project/<uuid:project_id>/stats", endpoint="show_stats_alias")
@describe("Stats of one project", answer=bodies.ProjectStats, errors=(404,))
def show_stats(project_id: UUID) -> Response:
    """Give the stats of one project."""
    return jsonify(stats.read_item(current_scope(), str(project_id)).as_json(utcnow()))


@bp.get("/current_user/stats")
@describe("Sums over the caller's projects", answer=bodies.UserStats)
def show_user_stats() -> Response:
    """Give sums over the caller's projects, and over those the caller is admin of."""
    found = stats.user_stats(current_scope())
    return jsonify(
        {
            "stats_member_projects": stats.summed(found),
            "stats_admin_projects": stats.summed(found, admin_only=True),
        }
    )


@bp.get("/current_user/usage")
@describe("What clients of old ask", answer=bodies.Usage, deprecated=True)
def show_usage() -> Response:
    """Give what clients of old ask; the stats of the user say more."""
    block = stats.summed(stats.user_stats(current_scope()))
    response = jsonify(
        {
            "project_count": block["projects"],
            "file_count": block["active_file_versions"],
            "storage_bytes": block["active_bytes"],
        }
    )
    response.headers["Deprecation"] = f"@{DEPRECATED_SINCE}"
    successor = url_for("project_storage_api.show_user_stats")
    response.headers["Link"] = f'<{successor}>; rel="successor-version"'
    return response


def _paging(page: int, per_page: int, total: int) -> dict[str, str]:
    pages = -(-total // per_page)
    return {
        "X-Total": str(total),
        "X-Total-Pages": str(pages),
        "X-Page": str(page),
        "X-Per-Page": str(per_page),
        "X-Next-Page": str(page + 1) if page < pages else "",
        "X-Prev-Page": str(min(page - 1, pages)) if page > 1 and pages else "",
    }


# Feeding


@bp.post("/projects")
@require("expert")
@describe(
    "Make a project",
    body=bodies.NewProject,
    answer=bodies.NamedId,
    status=201,
    errors=(409, 422),
)
def create_project() -> tuple[Response, int]:
    """Make a project; the caller becomes its admin."""
    new = read_json(bodies.NewProject)
    project = projects.create_project(current_scope(), new.name, str(new.id) if new.id else None)
    return jsonify({"id": project.id, "name": project.name}), 201


@bp.delete("/projects/<uuid:project_id>")
@describe("Delete a project", status=204, errors=(404,))
def delete_project(project_id: UUID) -> tuple[str, int]:
    """Delete a project and purge what is stored of it."""
    scope = current_scope()
    key = projects.delete_project(scope, str(project_id))
    # A small project is gone with the answer; a large one is left to the workers.
    if not tasks.purge(key):
        tasks.purge(key)
    return "", 204


@bp.put("/projects/<uuid:project_id>/permissions/<uuid:user_id>")
@describe(
    "Give a user a role in a project",
    body=bodies.NewPermission,
    answer=bodies.PermissionAnswer,
    errors=(404, 409, 422),
)
def give_role(project_id: UUID, user_id: UUID) -> Response:
    """Give a user a role in a project."""
    role_id = read_json(bodies.NewPermission).auth_role.id
    project, user = projects.give_role(current_scope(), str(project_id), str(user_id), role_id)
    return jsonify(
        {
            "project": {"id": project.id, "name": project.name},
            "user": {"id": user.id, "full_name": user.name, "email": user.email},
            "auth_role": auth_role(role_id),
        }
    )


@bp.delete("/projects/<uuid:project_id>/permissions/<uuid:user_id>")
@describe("Take a user's role in a project away", status=204, errors=(404, 409))
def take_role(project_id: UUID, user_id: UUID) -> tuple[str, int]:
    """Take a user's role in a project away."""
    projects.take_role(current_scope(), str(project_id), str(user_id))
    return "", 204


@bp.post("/storage_providers")
@require("expert")
@describe(
    "Make a storage provider",
    body=bodies.NewProvider,
    answer=bodies.StorageProvider,
    status=201,
    errors=(409, 422),
)
def create_provider() -> tuple[Response, int]:
    """Make a storage provider of the company."""
    new = read_json(bodies.NewProvider)
    provider = projects.create_provider(current_scope(), new.name, new.description or "")
    return jsonify(_provider(provider)), 201


@bp.get("/storage_providers")
@describe("The storage providers", answer=bodies.Providers)
def list_providers() -> Response:
    """Give the company's storage providers."""
    found = projects.providers_of(current_scope().company_id)
    return jsonify({"results": [_provider(provider) for provider in found]})


def _provider(provider: Provider) -> dict[str, str]:
    return {"id": provider.id, "name": provider.name, "description": provider.description}


@bp.post("/projects/<uuid:project_id>/file_events")
@describe(
    "Store file events",
    body=Annotated[list[bodies.EventBody], Field(max_length=bodies.EVENTS_PER_LIST)],
    answer=bodies.Verdicts,
    status=202,
    errors=(404, 422),
)
def take_events(project_id: UUID) -> tuple[Response, int]:
    """Store file events; answer a verdict on each, then have them counted."""
    _, verdicts = ingest.take_events(current_scope(), str(project_id), json_body())
    return jsonify({"results": verdicts}), 202
