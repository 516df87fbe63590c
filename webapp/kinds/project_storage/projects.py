"""Projects, the five roles in them, and storage providers: found, made, changed, deleted.

A role in a project is given to a user of the company, by an admin of the project or of the company;
the role in the company by itself opens no project. Changes are committed, with their audit entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from sqlalchemy import Row, delete, func, select
from sqlalchemy.exc import IntegrityError

from webapp.accounts import Membership, Scope, User, audit, membership_ended
from webapp.errors import Conflict, InvalidParams, NotAllowed, NotFound
from webapp.extensions import db
from webapp.kinds.project_storage import counting, tasks
from webapp.kinds.project_storage.bodies import (
    Changes,
    NewProject,
    NewProvider,
    ProjectChanges,
    ProviderChanges,
)
from webapp.kinds.project_storage.models import (
    ADMIN,
    ROLES,
    AheadEvent,
    CompanyQuota,
    Counter,
    Permission,
    Project,
    Provider,
    RolledUpMonth,
    StorageMonth,
    UnplacedEvent,
)
from webapp.lib.moments import utcnow


class NameTaken(Conflict):
    """409: a project or provider of the company has this name."""


def find_project(scope: Scope, project_id: str, *, any_of: bool = False) -> tuple[Project, str]:
    """Return a project the caller may see, and the caller's role in it.

    any_of:  every project of the company will do; the role may be none
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
    if own is None and not any_of:
        raise NotAllowed("You have no role in this project.")
    return project, own.auth_role if own else ""


def find_own_project(scope: Scope, project_id: str, *, or_company: bool = False) -> Project:
    """Return a project the caller is an admin of; raises as `find_project` does.

    or_company: an admin of the company may do this in all of them: none is lost whose admins left
    """
    may_all = or_company and scope.may("admin")
    project, role = find_project(scope, project_id, any_of=may_all)
    if role != ADMIN and not may_all:
        raise NotAllowed("Only a project admin may do this.")
    return project


def check_may_create(scope: Scope) -> None:
    """Raise NotAllowed for who may make neither projects nor providers."""
    if not scope.may("expert"):
        raise NotAllowed(f"This needs the role expert in {scope.company_name}.")


def create_project(scope: Scope, new: NewProject) -> Project:
    """Return a new project whose admin is the caller.

    Raises: Conflict where the company has a project of that id or name, NotAllowed
    """
    project = Project(company_id=scope.company_id, id=str(new.id or uuid4()))
    db.session.add(project)
    _change(scope, project, new)
    try:
        db.session.flush()
        db.session.add(_permission(scope.company_id, scope.user_id, project.key, ADMIN))
        audit(scope, "made project", project.id)
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        raise Conflict("There is a project of this id already.") from None
    return project


def change_project(scope: Scope, project_id: str, changes: ProjectChanges) -> Project:
    """Change what was sent of a project; its admins may, and admins of the company.

    Raises: NotFound, NotAllowed, Conflict where the company has a project of that name
    """
    project = find_own_project(scope, project_id, or_company=True)
    _change(scope, project, changes)
    audit(scope, "changed project", f"{project.name} {project.id}")
    db.session.commit()
    return project


def create_provider(scope: Scope, new: NewProvider) -> Provider:
    """Return a new storage provider of the company. Raises: Conflict for a name that is taken"""
    provider = Provider(company_id=scope.company_id)
    db.session.add(provider)
    _change(scope, provider, new)
    audit(scope, "made storage provider", provider.name)
    db.session.commit()
    return provider


def change_provider(scope: Scope, provider_id: str, changes: ProviderChanges) -> Provider:
    """Change what was sent of a provider; where it counts otherwise, projects are counted anew.

    Raises: NotFound, Conflict for a name that is taken
    """
    provider = find_provider(scope, provider_id)
    before = provider.in_place
    _change(scope, provider, changes)
    audit(scope, "changed storage provider", f"{provider.name} {provider.id}")
    if provider.in_place != before:
        used = select(Counter.project_key).where(Counter.provider_key == provider.key)
        for key in db.session.scalars(used).all():
            tasks.start(tasks.RECOUNT, scope, key)
    db.session.commit()
    return provider


def _change(scope: Scope, thing: Project | Provider, changes: Changes) -> None:
    """Set what was sent. Raises: Conflict for a name that is taken, NotAllowed for a quota"""
    given = changes.model_dump(exclude_unset=True, exclude={"id", "same_name"})
    if "quota_bytes" in given and not scope.may("admin"):
        raise NotAllowed("Only an admin of the company sets a quota.")
    retired, name_before = given.pop("retired", None), thing.name
    if retired is not None:
        thing.retired_at = (thing.retired_at or utcnow()) if retired else None
    for name, value in given.items():
        if value is not None or name == "quota_bytes":
            setattr(thing, name, value)
    if thing.name != name_before and not changes.same_name:
        _check_name_is_free(thing)


def _check_name_is_free(thing: Project | Provider) -> None:
    table = type(thing)
    alike = (table.company_id == thing.company_id) & (
        func.lower(table.name) == func.lower(thing.name)
    )
    if table is Project:
        alike &= Project.deleted_at.is_(None)
    with db.session.no_autoflush:
        taken = db.session.scalar(select(table.id).where(alike, table.id != thing.id).limit(1))
    if taken is not None:
        db.session.rollback()
        raise NameTaken("There is one of this name already. Send same_name to have two of it.")


def find_provider(scope: Scope, provider_id: str) -> Provider:
    """Return a storage provider of the company. Raises: NotFound"""
    mine = (Provider.company_id == scope.company_id) & (Provider.id == provider_id)
    found = db.session.scalar(select(Provider).where(mine))
    if found is None:
        raise NotFound("There is no such storage provider.")
    return found


def company_quota(company_id: str) -> int | None:
    """Return how many bytes all projects of a company may hold; None for any number."""
    found = db.session.get(CompanyQuota, company_id)
    return found.quota_bytes if found else None


def set_company_quota(scope: Scope, quota_bytes: int | None) -> None:
    """Set how many bytes all projects of a company may hold. Raises: NotAllowed"""
    if not scope.may("admin"):
        raise NotAllowed("Only an admin of the company sets a quota.")
    mine = delete(CompanyQuota).where(CompanyQuota.company_id == scope.company_id)
    db.session.execute(mine)
    if quota_bytes is not None:
        db.session.add(CompanyQuota(company_id=scope.company_id, quota_bytes=quota_bytes))
    audit(scope, "set storage quota", "none" if quota_bytes is None else str(quota_bytes))
    db.session.commit()


def _permission(company_id: str, user_id: str, project_key: int, role: str) -> Permission:
    return Permission(
        company_id=company_id, user_id=user_id, project_key=project_key, auth_role=role
    )


def providers_of(company_id: str) -> list[Provider]:
    """Return the company's storage providers, oldest first."""
    query = select(Provider).where(Provider.company_id == company_id).order_by(Provider.key)
    return list(db.session.scalars(query))


def give_role(scope: Scope, project_id: str, user_id: str, role: str) -> tuple[Project, User]:
    """Give a user of the company a role in a project.

    Raises: NotFound, NotAllowed, InvalidParams, Conflict for a project's last admin
    """
    project = find_own_project(scope, project_id, or_company=True)
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


def roles_in(scope: Scope, project_id: str) -> tuple[Project, Sequence[Row[User, str]]]:
    """Return a project and who has which role in it, by e-mail; raises as `find_project` does."""
    project, _ = find_project(scope, project_id, any_of=scope.may("admin"))
    query = select(User, Permission.auth_role).join(Permission, Permission.user_id == User.id)
    query = query.where(Permission.project_key == project.key).order_by(User.email)
    return project, db.session.execute(query).all()


def take_role(scope: Scope, project_id: str, user_id: str) -> None:
    """Remove a user's role in a project. Raises as `give_role` does."""
    project = find_own_project(scope, project_id, or_company=True)
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
    for table in (Permission, Counter, StorageMonth, RolledUpMonth, AheadEvent, UnplacedEvent):
        db.session.execute(delete(table).where(table.project_key == project.key))
    audit(scope, "deleted project", project_id)
    project.deleted_at = utcnow()
    project.waiting_since = project.due_at = None
    # The purge may take a while; the id is free for a new project at once.
    project.id = str(uuid4())
    tasks.start(tasks.PURGE, scope, project.key)
    db.session.commit()
    return project.key
