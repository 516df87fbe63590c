"""The addresses programs know: stats of projects and of the caller, and what feeds them.

Errors are `{"error","reason","suggestion"}`. Ids are matched as UUIDs, so `stats` is never one.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, request, url_for

from webapp.accounts import audit, current_scope, require, restrict
from webapp.error_pages import Problem, envelope
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.json_wire import json_body
from webapp.kinds.project_storage import ingest, jobs, projects, stats
from webapp.kinds.project_storage.access import auth_role
from webapp.lib.moments import utcnow
from webapp.lib.texts import as_id, storable

PER_PAGE, MOST_PER_PAGE = 100, 1000
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
def list_stats() -> Response:
    """Give the stats of the projects the caller has a role in, a page at a time."""
    scope = current_scope()
    page, per_page = _page_number(), _per_page()
    total = stats.count_projects(scope)
    offset = (page - 1) * per_page
    items = stats.list_items(scope, offset, per_page) if offset < total else []
    now = utcnow()
    response = jsonify({"results": [item.as_json(now) for item in items]})
    response.headers.update(_paging(page, per_page, total))
    return response


@bp.get("/projects/<uuid:project_id>/stats")
@bp.get("/project/<uuid:project_id>/stats", endpoint="show_stats_alias")
def show_stats(project_id: UUID) -> Response:
    """Give the stats of one project."""
    return jsonify(stats.read_item(current_scope(), str(project_id)).as_json(utcnow()))


@bp.get("/current_user/stats")
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


def _page_number() -> int:
    return _whole_number("page", 1)


def _per_page() -> int:
    return min(_whole_number("per_page", PER_PAGE), MOST_PER_PAGE)


def _whole_number(name: str, default: int) -> int:
    raw = request.args.get(name) or str(default)
    if not raw.isascii() or not raw.isdigit() or len(raw) > 9 or int(raw) < 1:
        raise InvalidParams({name: f"{name}: write a whole number from 1."})
    return int(raw)


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
def create_project() -> tuple[Response, int]:
    """Make a project; the caller becomes its admin."""
    scope = current_scope()
    body = _object({"id", "name"})
    name, project_id = _name(body), None
    if body.get("id") is not None:
        project_id = as_id(body["id"])
        if project_id is None:
            raise InvalidParams({"id": "id: write a UUID, or leave it out."})
    project = projects.create_project(scope, name, project_id)
    return jsonify({"id": project.id, "name": project.name}), 201


@bp.delete("/projects/<uuid:project_id>")
def delete_project(project_id: UUID) -> tuple[str, int]:
    """Delete a project and purge what is stored of it."""
    scope = current_scope()
    key = projects.delete_project(scope, str(project_id))
    audit(scope, "deleted project", str(project_id))
    db.session.commit()
    # A small project is gone with the answer; a large one is left to the workers.
    if not projects.purge(key) and not projects.purge(key):
        jobs.ask_to_purge(key)
    return "", 204


@bp.put("/projects/<uuid:project_id>/permissions/<uuid:user_id>")
def give_role(project_id: UUID, user_id: UUID) -> Response:
    """Give a user a role in a project."""
    scope = current_scope()
    body = _object({"auth_role"})
    role = body.get("auth_role")
    role_id = role.get("id") if isinstance(role, dict) else None
    if not isinstance(role_id, str):
        raise InvalidParams({"auth_role": 'auth_role: send {"id": "…"}.'})
    project, user = projects.give_role(scope, str(project_id), str(user_id), role_id)
    audit(scope, "gave project role", f"{role_id} in {project.id} to {user.email}")
    db.session.commit()
    return jsonify(
        {
            "project": {"id": project.id, "name": project.name},
            "user": {"id": user.id, "full_name": user.name, "email": user.email},
            "auth_role": auth_role(role_id),
        }
    )


@bp.delete("/projects/<uuid:project_id>/permissions/<uuid:user_id>")
def take_role(project_id: UUID, user_id: UUID) -> tuple[str, int]:
    """Take a user's role in a project away."""
    scope = current_scope()
    projects.take_role(scope, str(project_id), str(user_id))
    audit(scope, "took project role", f"{user_id} in {project_id}")
    db.session.commit()
    return "", 204


@bp.post("/storage_providers")
@require("expert")
def create_provider() -> tuple[Response, int]:
    """Make a storage provider of the company."""
    body = _object({"name", "description"})
    name, description = _name(body), body.get("description") or ""
    if not isinstance(description, str) or len(description) > 2000 or not storable(description):
        raise InvalidParams({"description": "description: write at most 2,000 characters."})
    provider = projects.create_provider(current_scope(), name, description)
    return jsonify(_provider(provider)), 201


@bp.get("/storage_providers")
def list_providers() -> Response:
    """Give the company's storage providers."""
    found = projects.providers_of(current_scope().company_id)
    return jsonify({"results": [_provider(provider) for provider in found]})


def _provider(provider: Any) -> dict[str, str]:
    return {"id": provider.id, "name": provider.name, "description": provider.description}


@bp.post("/projects/<uuid:project_id>/file_events")
def take_events(project_id: UUID) -> tuple[Response, int]:
    """Store file events; answer a verdict on each, then have them counted."""
    key, verdicts = ingest.take_events(current_scope(), str(project_id), json_body())
    if any(verdict.verdict == "accepted" for verdict in verdicts):
        jobs.ask_to_count(key)
    return jsonify({"results": [verdict.as_json() for verdict in verdicts]}), 202


def _name(body: dict[str, Any]) -> str:
    name = body.get("name")
    name = " ".join(name.split()) if isinstance(name, str) else ""
    if not name or len(name) > 255 or not storable(name):
        raise InvalidParams({"name": "name: write a name of 1 to 255 characters."})
    return name


def _object(known: set[str]) -> dict[str, Any]:
    body = json_body()
    if not isinstance(body, dict):
        raise InvalidParams({"body": "Send a JSON object."})
    unknown = sorted(set(body) - known)
    if unknown:
        raise InvalidParams(
            dict.fromkeys(unknown, f"This address takes {', '.join(sorted(known))}.")
        )
    return body
