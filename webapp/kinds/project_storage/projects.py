"""Projects, the five roles in them, and storage providers: found, made, changed, deleted.

A role in a project is given to a user of the company, by an admin of the project or of the company;
the role in the company by itself opens no project. Changes are committed, with their audit entry.
"""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from webapp.accounts import Membership, Scope, User, audit, membership_ended
from webapp.errors import Conflict, InvalidParams, NotAllowed, NotFound
from webapp.extensions import db
from webapp.kinds.project_storage import counting, tasks
from webapp.kinds.project_storage.compute import EVENT_TYPES, UPLOAD
from webapp.kinds.project_storage.models import (
    AheadEvent,
    Counter,
    Permission,
    Project,
    Provider,
    StorageMonth,
)
from webapp.lib.moments import utcnow

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


def find_project(scope: Scope, project_id: str, *, to_open: bool = False) -> tuple[Project, str]:
    """Return a project the caller may see, and the caller's role in it.

    to_open: an admin of the company may give roles in every project: none is lost whose admins left
    Raises: NotFound where the company has no such project, NotAllowed without a role in it
    """
    project = db.session.scalar(
        select(Project).where(
            Project.company_id == scope.company_id,
            Project.id == project_id,
            Project.deleted_at.is_(None),
        )
    )
    if project is None:
        raise NotFound("There is no such project.")
    own = db.session.get(Permission, (scope.company_id, scope.user_id, project.key))
    if own is None and not (to_open and scope.may("admin")):
        raise NotAllowed("You have no role in this project.")
    return project, own.auth_role if own else ""


def find_own_project(scope: Scope, project_id: str, *, to_open: bool = False) -> Project:
    """Return a project the caller is an admin of; arguments and what it raises as `find_project`"""
    project, role = find_project(scope, project_id, to_open=to_open)
    if role != ADMIN and not (to_open and scope.may("admin")):
        raise NotAllowed("Only a project admin may do this.")
    return project


def create_project(scope: Scope, name: str, project_id: str | None) -> Project:
    """Return a new project whose admin is the caller.

    Raises: Conflict where the company has a project of that id
    """
    project = Project(company_id=scope.company_id, id=project_id or str(uuid4()), name=name)
    db.session.add(project)
    try:
        db.session.flush()
        db.session.add(_permission(scope.company_id, scope.user_id, project.key, ADMIN))
        audit(scope, "made project", project.id)
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        raise Conflict("There is a project of this id already.") from None
    return project


def _permission(company_id: str, user_id: str, project_key: int, role: str) -> Permission:
    return Permission(
        company_id=company_id, user_id=user_id, project_key=project_key, auth_role=role
    )


def create_provider(scope: Scope, name: str, description: str) -> Provider:
    """Return a new storage provider of the company."""
    provider = Provider(company_id=scope.company_id, name=name, description=description)
    db.session.add(provider)
    audit(scope, "made storage provider", name)
    db.session.commit()
    return provider


def providers_of(company_id: str) -> list[Provider]:
    """Return the company's storage providers, oldest first."""
    query = select(Provider).where(Provider.company_id == company_id).order_by(Provider.key)
    return list(db.session.scalars(query))


def give_role(scope: Scope, project_id: str, user_id: str, role: str) -> tuple[Project, User]:
    """Give a user of the company a role in a project.

    Raises: NotFound, NotAllowed, InvalidParams, Conflict for a project's last admin
    """
    project = find_own_project(scope, project_id, to_open=True)
    if role not in ROLES:
        raise InvalidParams({"auth_role": f"Choose one of {', '.join(ROLES)}."})
    user = db.session.get(User, user_id)
    if user is None or db.session.get(Membership, (user_id, scope.company_id)) is None:
        raise NotFound("There is no such user in this company.")
    _lock(project.key)
    db.session.merge(_permission(scope.company_id, user.id, project.key, role))
    _keep_an_admin(project.key)
    audit(scope, "gave project role", f"{role} in {project.id} to {user.email}")
    db.session.commit()
    return project, user


def take_role(scope: Scope, project_id: str, user_id: str) -> None:
    """Take a user's role in a project away. Raises as `give_role` does."""
    project = find_own_project(scope, project_id)
    _lock(project.key)
    found = db.session.get(Permission, (scope.company_id, user_id, project.key))
    if found is None:
        raise NotFound("This user has no role in the project.")
    db.session.delete(found)
    _keep_an_admin(project.key)
    audit(scope, "took project role", f"{user_id} in {project_id}")
    db.session.commit()


@membership_ended.connect
def end_roles(_sender: object, *, company_id: str, user_id: str) -> None:
    """End a user's roles in the projects of a company that they are no member of any more.

    A project may be left without an admin; an admin of the company then takes the role.
    """
    theirs = delete(Permission).where(Permission.company_id == company_id)
    db.session.execute(theirs.where(Permission.user_id == user_id))


def _lock(project_key: int) -> None:
    """Let one change at a time through."""
    if counting.hold_project(project_key) is None:
        db.session.rollback()
        raise NotFound("There is no such project.")


def _keep_an_admin(project_key: int) -> None:
    db.session.flush()
    # Who may not sign in cannot act: the last one who can has to stay.
    admins = select(func.count()).select_from(Permission)
    admins = admins.join(User, User.id == Permission.user_id).where(User.status == "ACTIVE")
    admins = admins.where(Permission.project_key == project_key, Permission.auth_role == ADMIN)
    if not db.session.scalar(admins):
        db.session.rollback()
        raise Conflict("This is the project's last admin. Make somebody else an admin first.")


def delete_project(scope: Scope, project_id: str) -> int:
    """Make a project and what was counted of it vanish at once; return its key for `tasks.purge`.

    Its events may be many, so a job removes them afterwards, in steps.
    """
    project = find_own_project(scope, project_id)
    _lock(project.key)
    for table in (Permission, Counter, StorageMonth, AheadEvent):
        db.session.execute(delete(table).where(table.project_key == project.key))
    audit(scope, "deleted project", project_id)
    project.deleted_at = utcnow()
    project.waiting_since = project.due_at = None
    # The purge may take a while; the id is free for a new project at once.
    project.id = str(uuid4())
    tasks.start(tasks.PURGE, scope, project.key)
    db.session.commit()
    return project.key
