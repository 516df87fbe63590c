"""The addresses of project storage, as the OpenAPI document shows them."""

from __future__ import annotations

from webapp.kinds.project_storage.access import ROLES
from webapp.kinds.project_storage.compute import COUNTED
from webapp.openapi import (
    ID,
    MOMENT,
    NUMBER,
    TEXT,
    Describer,
    Paths,
    asked,
    listed,
    thing,
    with_ids,
)

_ERROR = thing(
    {"error": TEXT, "reason": TEXT, "suggestion": TEXT},
    errors=listed(thing({"field": TEXT, "message": TEXT})),
)
_operation = Describer("Project storage", _ERROR).operation

_COUNTS = dict.fromkeys(COUNTED, NUMBER)
_ROLE = thing({"id": TEXT | {"enum": list(ROLES)}, "name": TEXT})
_PROJECT = thing({"id": ID, "name": TEXT})
_PROVIDER = thing({"id": ID, "name": TEXT, "description": TEXT})
_STATS = thing(
    {
        "project": _PROJECT,
        "current_user_auth_role": _ROLE,
        "stats": thing(
            {
                **_COUNTS,
                "as_of": MOMENT,
                "by_storage_provider": listed(
                    thing({"id": ID, "name": TEXT, "description": TEXT, **_COUNTS})
                ),
            }
        ),
    }
)
_SUMS = thing({"projects": NUMBER, **_COUNTS, "as_of": MOMENT})
_EVENT = thing(
    {
        "id": TEXT,
        "type": TEXT | {"enum": ["upload", "trash", "restore", "purge"]},
        "file_version_id": TEXT,
        "at": MOMENT,
    },
    bytes=NUMBER | {"minimum": 0},
    storage_provider_id=ID,
)
_VERDICT = thing(
    {
        "id": {"type": ["string", "null"]},
        "verdict": TEXT | {"enum": ["accepted", "duplicate", "rejected"]},
    },
    reason=TEXT,
)
_PAGE = (
    asked("page", "Which page.", NUMBER | {"minimum": 1}),
    asked("per_page", "How many on a page.", NUMBER | {"minimum": 1, "maximum": 1000}),
)

_ALL = {
    "get": _operation(
        "Stats of the caller's projects, paged in X- headers",
        thing({"results": listed(_STATS)}),
        query=_PAGE,
        errors=(422,),
    )
}
_ONE = {"get": _operation("Stats of one project", _STATS, errors=(404,))}

PATHS: Paths = with_ids(
    {
        "/api/v1/projects/stats": _ALL,
        "/api/v1/project/stats": _ALL,
        "/api/v1/projects/{project_id}/stats": _ONE,
        "/api/v1/project/{project_id}/stats": _ONE,
        "/api/v1/current_user/stats": {
            "get": _operation(
                "Sums over the caller's projects",
                thing({"stats_member_projects": _SUMS, "stats_admin_projects": _SUMS}),
            )
        },
        "/api/v1/current_user/usage": {
            "get": _operation(
                "What clients of old ask",
                thing({"project_count": NUMBER, "file_count": NUMBER, "storage_bytes": NUMBER}),
                deprecated=True,
            )
        },
        "/api/v1/projects": {
            "post": _operation(
                "Make a project",
                _PROJECT,
                status=201,
                body=thing({"name": TEXT}, id=ID),
                errors=(409, 422),
            )
        },
        "/api/v1/projects/{project_id}": {
            "delete": _operation("Delete a project", None, status=204, errors=(403, 404))
        },
        "/api/v1/projects/{project_id}/file_events": {
            "post": _operation(
                "Store file events",
                thing({"results": listed(_VERDICT)}),
                status=202,
                body=listed(_EVENT) | {"maxItems": 10_000},
                errors=(404, 422),
            )
        },
        "/api/v1/projects/{project_id}/permissions/{user_id}": {
            "put": _operation(
                "Give a user a role in a project",
                thing(
                    {
                        "project": _PROJECT,
                        "user": thing({"id": ID, "full_name": TEXT, "email": TEXT}),
                        "auth_role": _ROLE,
                    }
                ),
                body=thing({"auth_role": thing({"id": TEXT | {"enum": list(ROLES)}})}),
                errors=(404, 422),
            ),
            "delete": _operation(
                "Take a user's role in a project away", None, status=204, errors=(403, 404, 409)
            ),
        },
        "/api/v1/storage_providers": {
            "get": _operation("The storage providers", thing({"results": listed(_PROVIDER)})),
            "post": _operation(
                "Make a storage provider",
                _PROVIDER,
                status=201,
                body=thing({"name": TEXT}, description=TEXT),
                errors=(409, 422),
            ),
        },
    }
)
