"""Who may do what in a project: the five roles, and finding a project for a caller.

A role in a project is given to a user of the company, by an admin of the project or of the company;
the role in the company by itself opens no project.
"""

from __future__ import annotations

from sqlalchemy import select

from webapp.accounts import Scope
from webapp.errors import NotAllowed, NotFound
from webapp.extensions import db
from webapp.kinds.project_storage.compute import EVENT_TYPES, UPLOAD
from webapp.kinds.project_storage.models import Permission, Project

ADMIN = "project_admin"
ROLES = {
    ADMIN: "Project Admin",
    "project_viewer": "Project Viewer",
    "file_downloader": "File Downloader",
    "file_uploader": "File Uploader",
    "file_editor": "File Editor",
}
# Event types each role may report; all five may view.
MAY_REPORT = {
    ADMIN: frozenset(EVENT_TYPES),
    "file_editor": frozenset(EVENT_TYPES),
    "file_uploader": frozenset({UPLOAD}),
}


def auth_role(role: str) -> dict[str, str]:
    """Return a role as answers show it."""
    return {"id": role, "name": ROLES[role]}


def find_project(scope: Scope, project_id: str) -> tuple[Project, str]:
    """Return a project the caller may see, and the caller's role in it.

    Raises: NotFound where the company has no such project, NotAllowed without a role in it
    """
    project, role = _find(scope, project_id)
    if role is None:
        raise NotAllowed("You have no role in this project.")
    return project, role


def find_own_project(scope: Scope, project_id: str) -> Project:
    """Return a project the caller is an admin of; raises as `find_project` does."""
    project, role = find_project(scope, project_id)
    if role != ADMIN:
        raise NotAllowed("Only a project admin may do this.")
    return project


def find_project_to_open(scope: Scope, project_id: str) -> Project:
    """Return a project the caller may give roles in; an admin of the company may in every one.

    So a project whose admins have left is not lost. Raises as `find_project` does.
    """
    if scope.may("admin"):
        return _find(scope, project_id)[0]
    return find_own_project(scope, project_id)


def _find(scope: Scope, project_id: str) -> tuple[Project, str | None]:
    row = db.session.execute(
        select(Project, Permission.auth_role)
        .outerjoin(
            Permission,
            (Permission.project_key == Project.key)
            & (Permission.company_id == scope.company_id)
            & (Permission.user_id == scope.user_id),
        )
        .where(
            Project.company_id == scope.company_id,
            Project.id == project_id,
            Project.deleted_at.is_(None),
        )
    ).first()
    if row is None:
        raise NotFound("There is no such project.")
    return row[0], row[1]
