"""Pages that keep projects, roles in them, providers and quotas; they do what the API does."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, flash, g, make_response, render_template, request, url_for

from webapp.accounts import current_scope, members_of, restrict
from webapp.errors import Conflict, InvalidParams, NotFound
from webapp.htmx import redirect_to
from webapp.kinds.project_storage import projects, stats, tasks
from webapp.kinds.project_storage.bodies import (
    NewProject,
    NewProvider,
    ProjectChanges,
    ProviderChanges,
)
from webapp.kinds.project_storage.compute import moment_at
from webapp.kinds.project_storage.models import ADMIN, ROLES
from webapp.lib.bodies import read_value
from webapp.lib.texts import lookup_id

GIGABYTE = 1000**3
AMBIGUOUS = re.compile(r"[1-9]\d{0,2}(,\d{3})+")
UNPLACED_SHOWN = 20
Show = Callable[[dict[str, str]], str]

bp = Blueprint("project_storage_manage", __name__, url_prefix="/project-storage")
restrict(bp)


def _answer(act: Callable[[], Any], done: str, address: str, show: Show) -> Response:
    """Do what a form asks for and go on; where it cannot be done, show the form as it was typed."""
    try:
        act()
    except InvalidParams as error:
        return make_response(show(error.errors), 422)
    except projects.NameTaken as error:
        g.is_name_taken = True
        sentence = "There is one of this name already. Tick the box below to have two of it."
        return make_response(show({"name": sentence}), error.status)
    except (Conflict, NotFound) as error:
        return make_response(show({"": error.message}), error.status)
    flash(done)
    return redirect_to(address)


def _sent(*names: str) -> dict[str, Any]:
    """Return fields of the form as the API's models take them."""
    return {name: request.form[name] for name in names if name in request.form}


def _quota() -> int | None:
    text = request.form.get("quota_gb", "").strip()
    if not text:
        return None
    try:
        # To some people 1,500 is a thousand times what it is to others.
        if AMBIGUOUS.fullmatch(text):
            raise InvalidOperation
        size = Decimal(text.replace(",", ".")) * GIGABYTE
        if not 0 <= size < 2**63:
            raise InvalidOperation
    except InvalidOperation:
        sentence = "Write gigabytes as a number without separators, for example 1500 or 0.5."
        raise InvalidParams({"quota_gb": sentence}) from None
    return int(size)


def _in_gigabytes(quota: int | None) -> str:
    """Return a quota as its form takes it, to the byte."""
    return "" if quota is None else f"{Decimal(quota) / GIGABYTE:f}"


@bp.get("/projects/new")
def new_project() -> str:
    """Show the form of a new project."""
    return _show_new({})


def _show_new(errors: dict[str, str]) -> str:
    return render_template("project_storage/new_project.html", errors=errors, typed=request.form)


@bp.post("/projects")
def create_project() -> Response:
    """Make a project whose admin is the caller."""
    scope = current_scope()
    projects.check_may_create(scope)
    same = {"same_name": "same_name" in request.form}

    def act() -> None:
        new = read_value(NewProject, {**_sent("name", "description"), **same})
        projects.create_project(scope, new)

    return _answer(act, "The project is made.", url_for("project_storage.show_storage"), _show_new)


@bp.get("/projects/<uuid:project_id>")
def show_project(project_id: UUID) -> str:
    """Show a project: what it holds, who has which role, what has no place."""
    return _show_project(project_id, {})


def _show_project(project_id: UUID, errors: dict[str, str]) -> str:
    scope = current_scope()
    project, roles = projects.roles_in(scope, str(project_id))
    mine = next((role for user, role in roles if user.id == scope.user_id), None)
    unplaced, total = stats.unplaced_events(project, 0, UNPLACED_SHOWN)
    return render_template(
        "project_storage/show_project.html",
        scope=scope,
        project=project,
        roles=roles,
        names=ROLES,
        item=stats.item_of(project, mine or ""),
        may_change=mine == ADMIN or scope.may("admin"),
        people=[one.user for one in members_of(scope.company_id)],
        unplaced=unplaced,
        unplaced_total=total,
        moment_at=moment_at,
        quota_gb=_in_gigabytes(project.quota_bytes),
        errors=errors,
        typed=request.form,
    )


@bp.post("/projects/<uuid:project_id>")
def change_project(project_id: UUID) -> Response:
    """Rename, describe or retire a project, and say how much it may hold."""
    scope = current_scope()

    def act() -> None:
        sent = _sent("name", "description")
        flags = {"retired": "retired" in request.form, "same_name": "same_name" in request.form}
        quota = {"quota_bytes": _quota()} if "quota_gb" in request.form else {}
        changes = read_value(ProjectChanges, {**sent, **flags, **quota})
        projects.change_project(scope, str(project_id), changes)

    return _answer(
        act, "The project is changed.", _address(project_id), lambda e: _show_project(project_id, e)
    )


def _address(project_id: UUID) -> str:
    return url_for("project_storage_manage.show_project", project_id=project_id)


@bp.post("/projects/<uuid:project_id>/roles")
def set_role(project_id: UUID) -> Response:
    """Give somebody a role in a project, or take it away."""
    scope, user_id = current_scope(), lookup_id(request.form.get("user_id"))
    role, named = request.form.get("role", ""), str(project_id)

    def act() -> None:
        if role:
            projects.give_role(scope, named, user_id, role)
        else:
            projects.take_role(scope, named, user_id)

    return _answer(
        act, "The role is changed.", _address(project_id), lambda e: _show_project(project_id, e)
    )


@bp.post("/projects/<uuid:project_id>/delete")
def delete_project(project_id: UUID) -> Response:
    """Delete a project for good."""
    scope = current_scope()
    return _answer(
        lambda: tasks.purge(projects.delete_project(scope, str(project_id))),
        "The project is deleted.",
        url_for("project_storage.show_storage"),
        lambda e: _show_project(project_id, e),
    )


@bp.get("/providers")
def show_providers() -> str:
    """Show the storage providers, and the company's quota."""
    return _show_providers({})


def _show_providers(errors: dict[str, str], provider_id: UUID | None = None) -> str:
    scope = current_scope()
    return render_template(
        "project_storage/show_providers.html",
        scope=scope,
        providers=projects.providers_of(scope.company_id),
        quota_gb=_in_gigabytes(projects.company_quota(scope.company_id)),
        changed=str(provider_id) if provider_id else None,
        errors=errors,
        typed=request.form,
    )


@bp.post("/providers", defaults={"provider_id": None})
@bp.post("/providers/<uuid:provider_id>")
def save_provider(provider_id: UUID | None) -> Response:
    """Make a storage provider, or change one."""
    scope = current_scope()
    projects.check_may_create(scope)
    flags = {name: name in request.form for name in ("retired", "in_place", "same_name")}

    def act() -> None:
        sent = {**_sent("name", "description"), **flags}
        if provider_id is None:
            projects.create_provider(scope, read_value(NewProvider, sent))
        else:
            projects.change_provider(scope, str(provider_id), read_value(ProviderChanges, sent))

    address = url_for("project_storage_manage.show_providers")
    show = partial(_show_providers, provider_id=provider_id)
    return _answer(act, "The provider is saved.", address, show)


@bp.post("/quota")
def set_quota() -> Response:
    """Say how much all projects of the company may hold."""
    scope = current_scope()
    address = url_for("project_storage_manage.show_providers")
    return _answer(
        lambda: projects.set_company_quota(scope, _quota()),
        "The quota is set.",
        address,
        _show_providers,
    )
