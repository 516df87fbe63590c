"""The addresses programs know: stats of projects and of the caller, and what feeds them.

Errors are `{"error","reason","suggestion"}`. Ids are matched as UUIDs, so `stats` is never one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import Field

from webapp.accounts import current_scope, only_sends, restrict, sender_scope
from webapp.error_pages import ErrorAnswer, envelope
from webapp.kinds.project_storage import answers, baseline, bodies, ingest, projects, stats
from webapp.kinds.project_storage.compute import moment_at
from webapp.lib.bodies import body_bytes, json_body, read_query
from webapp.lib.moments import rfc3339, utcnow
from webapp.lib.openapi import JSON, TEXT, Describer
from webapp.security import refuse_nul

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
# What programs look at; the words beside it are for people.
CODES = {
    400: "unreadable",
    401: "unauthorized",
    403: "forbidden",
    404: "resource_not_found",
    409: "conflict",
    422: "validation_failed",
    429: "too_many_requests",
    503: "service_unavailable",
}

bp = Blueprint("project_storage_api", __name__, url_prefix=PREFIX)
restrict(bp)
# What stores send, also with a key that does nothing else.
feeding = Blueprint("project_storage_feeding", __name__, url_prefix=PREFIX)
describe = Describer("Project storage", answers.StorageError, JSON)
BASELINE_EXAMPLE = (
    "file_version_id,bytes,storage_provider_id,at\r\n"
    "51b2f0a4-5a7e-4d7c-9a53-2f5f7d0f6b33,1024,Archive,2026-11-01T12:00:00Z\r\n"
)


def as_envelope(problem: ErrorAnswer) -> Response:
    """Return a problem in the envelope this API's clients read."""
    # The service whose addresses these are answers 400 to every value it cannot use.
    status = 400 if problem.status == 422 else problem.status
    members: dict[str, Any] = {
        "error": str(status),
        "code": CODES.get(problem.status, "not_provided"),
        "reason": problem.detail,
        "suggestion": SUGGESTIONS.get(problem.status, "Try again later, or ask the operator."),
    }
    if problem.errors:
        members["errors"] = [
            {"field": name, "message": sentence} for name, sentence in problem.errors.items()
        ]
    response = jsonify(members)
    response.status_code = status
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="api", Bearer realm="api"'
    return response


envelope(bp.name, as_envelope)
envelope(feeding.name, as_envelope)
for _path in (
    "projects",
    "project/",
    "current_user",
    "storage_providers",
    "storage_quota",
    "auth_providers",
    "auth_roles",
    "users",
    "user/api_token",
    "software_agents/",
):
    envelope(f"{PREFIX}/{_path}", as_envelope)


# Reading


@bp.get("/projects/stats", endpoint="list_stats")
@bp.get("/project/stats", endpoint="list_stats_alias")
@describe(
    "Stats of the caller's projects, paged in X- headers",
    query=bodies.PageQuery,
    answer=answers.ListOf[answers.ProjectStats],
    errors=(400,),
)
def list_stats() -> Response:
    """Give the stats of the projects the caller has a role in, a page at a time."""
    scope, asked, now = current_scope(), read_query(bodies.PageQuery), utcnow()
    total = stats.count_projects(scope)
    items = stats.list_items(scope, asked.offset, asked.per_page) if asked.offset < total else []
    return page_of([item.as_json(now) for item in items], asked, total)


@bp.get("/projects/<uuid:project_id>/stats")
@bp.get("/project/<uuid:project_id>/stats", endpoint="show_stats_alias")
@describe("Stats of one project", answer=answers.ProjectStats, errors=(404,))
def show_stats(project_id: UUID) -> Response:
    """Give the stats of one project."""
    return jsonify(stats.read_item(current_scope(), str(project_id)).as_json(utcnow()))


@bp.get("/current_user/stats")
@describe("Sums over the caller's projects", answer=answers.UserStats)
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
@describe("What older clients request", answer=answers.Usage, deprecated=True)
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


def page_of(results: Sequence[Any], asked: bodies.PageQuery, total: int) -> Response:
    """Return a page of a list, with headers that say which one and of how many."""
    response, page, pages = jsonify({"results": results}), asked.page, -(-total // asked.per_page)
    response.headers.update(
        {
            "X-Total": str(total),
            "X-Total-Pages": str(pages),
            "X-Page": str(page),
            "X-Per-Page": str(asked.per_page),
            "X-Next-Page": str(page + 1) if page < pages else "",
            "X-Prev-Page": str(min(page - 1, pages)) if page > 1 and pages else "",
        }
    )
    return response


# Feeding


@bp.get("/projects/<uuid:project_id>/file_events/not_placed")
@describe(
    "Events of a project without effect, newest first, paged in X- headers",
    query=bodies.PageQuery,
    answer=answers.ListOf[answers.UnplacedEvent],
    errors=(404, 400),
)
def list_unplaced(project_id: UUID) -> Response:
    """List events that have no place in the history of their file version, and why."""
    asked = read_query(bodies.PageQuery)
    project, _ = projects.find_project(current_scope(), str(project_id))
    found, total = stats.unplaced_events(project, asked.offset, asked.per_page)
    shown = [
        {
            "id": event.event_id,
            "type": event.type,
            "file_version_id": event.version_id,
            "at": rfc3339(moment_at(event.at_us), "microseconds"),
            "reason": reason,
        }
        for event, reason in found
    ]
    return page_of(shown, asked, total)


@feeding.before_request
def close_feeding() -> None:
    """Let in whom events may come from: keys that only send as well."""
    sender_scope()
    refuse_nul()


@feeding.post("/projects/<uuid:project_id>/file_events")
@describe(
    "Store file events",
    body=Annotated[list[bodies.EventBody], Field(max_length=bodies.EVENTS_PER_LIST)],
    answer=answers.ListOf[answers.Verdict],
    status=202,
    errors=(404, 409, 400),
)
def take_events(project_id: UUID) -> tuple[Response, int]:
    """Store file events; answer a verdict on each, then have them counted."""
    feeds = only_sends()
    _, verdicts = ingest.take_events(sender_scope(), str(project_id), json_body(), feeds=feeds)
    return jsonify({"results": verdicts}), 202


@feeding.post("/projects/<uuid:project_id>/baseline")
@describe(
    "Store what a project holds now, as CSV, XLSX or JSON lines",
    body=TEXT | {"examples": [BASELINE_EXAMPLE]},
    body_type="text/csv",
    answer=answers.BaselineAnswer,
    status=202,
    errors=(404, 409, 400),
)
def take_baseline(project_id: UUID) -> tuple[Response, int]:
    """Store an upload for each row of a file, then have them counted."""
    answer = baseline.take_baseline(
        sender_scope(),
        str(project_id),
        body_bytes(),
        request.mimetype,
        feeds=only_sends(),
    )
    return jsonify(answer), 202
