"""Stored credentials of a partner: sealed at rest, never shown again, tested on demand."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, current_app, flash, make_response, render_template, request
from sqlalchemy import String, Text, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, mapped_column

from webapp.accounts import Scope, audit, current_scope, require, restrict
from webapp.data_dir import STAND_IN_CREDENTIALS
from webapp.engine.registry import context
from webapp.errors import InvalidParams, NotFound, PartnerError
from webapp.extensions import CompanyId, Model, NewId, UtcDateTime, db
from webapp.htmx import redirect_to
from webapp.kinds.partner_use.discovery import listed_sites, open_session
from webapp.kinds.partner_use.params import PartnerUseParams
from webapp.lib.moments import utcnow
from webapp.lib.shown_lists import shown_list
from webapp.lib.texts import counted
from webapp.security import SEALED, SealBroken, reseal, seal, unseal

DEMO_NAME = "Demo partner"

bp = Blueprint("connections", __name__, url_prefix="/connections", template_folder="templates")
restrict(bp)


class Connection(Model):
    """A user key and its sealed secret, under a name of its company."""

    __tablename__ = "partner_use_connection"
    __table_args__ = (UniqueConstraint("company_id", "name_key"),)

    id: Mapped[NewId]
    company_id: Mapped[CompanyId] = mapped_column(index=True)
    name: Mapped[str] = mapped_column(String(100))
    name_key: Mapped[str] = mapped_column(String(200))
    partner_id: Mapped[str] = mapped_column(String(20))
    user_key: Mapped[str] = mapped_column(String(200))
    sealed_secret: Mapped[str] = mapped_column(Text, info={SEALED: "connection {name}"})
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


def of_company(scope: Scope) -> list[Connection]:
    """Return the connections of the caller's company, by name."""
    return list(
        db.session.scalars(
            select(Connection)
            .where(Connection.company_id == scope.company_id)
            .order_by(Connection.name_key)
        )
    )


def find(scope: Scope, connection_id: str) -> Connection:
    """Return a connection of the caller's company; another company's is as unknown as none."""
    found = db.session.get(Connection, connection_id)
    if found is None or found.company_id != scope.company_id:
        raise NotFound("There is no such connection.")
    return found


def credentials(scope: Scope, connection_id: str) -> dict[str, str]:
    """Return user key and secret for a run.

    Raises: InvalidParams for an unknown connection, and for one that cannot be read any more
    """
    try:
        found = find(scope, connection_id)
        secrets = _opened_secrets(found)
    except (NotFound, SealBroken) as error:
        raise InvalidParams({"connection": error.message}) from None
    found.last_used_at = utcnow()
    found.sealed_secret = reseal(found.sealed_secret)
    return secrets


def _opened_secrets(connection: Connection) -> dict[str, str]:
    """Return user key and secret; raises SealBroken."""
    return {"user_key": connection.user_key, "user_secret": unseal(connection.sealed_secret)}


def add(scope: Scope, form: Any) -> Connection:
    """Store a connection; raises InvalidParams with a sentence per field."""
    name = " ".join(str(form.get("name", "")).split())
    secret = str(form.get("user_secret", "")).strip()
    user_key = str(form.get("user_key", "")).strip()
    errors = _problems(scope, name, user_key, secret)
    partner_id = PartnerUseParams.model_fields["partner_id"].metadata[0].func
    try:
        partner_id = partner_id(str(form.get("partner_id", "")))
    except ValueError as error:
        errors["partner_id"] = str(error)
    if errors:
        raise InvalidParams(errors)
    connection = _new(scope.company_id, name, partner_id, user_key, secret)
    db.session.commit()
    return connection


def _new(company_id: str, name: str, partner_id: str, user_key: str, secret: str) -> Connection:
    new = Connection(company_id=company_id, name=name, name_key=name.casefold())
    new.partner_id, new.user_key, new.sealed_secret = partner_id, user_key, seal(secret)
    db.session.add(new)
    return new


def seed_demo(company_id: str) -> str:
    """Give the demo's company a connection to the stand-in; done twice, nothing new."""
    mine = (Connection.company_id == company_id) & (Connection.name_key == DEMO_NAME.casefold())
    if db.session.scalar(select(Connection.id).where(mine)):
        return ""
    given = (STAND_IN_CREDENTIALS[name] for name in ("partner_id", "user_key", "user_secret"))
    _new(company_id, DEMO_NAME, *given)
    return "a stored connection to the stand-in"


def _problems(scope: Scope, name: str, user_key: str, secret: str) -> dict[str, str]:
    errors = {}
    if not name or len(name) > 100 or not name.isprintable():
        errors["name"] = "Give a name of 1 to 100 characters."
    elif db.session.scalar(
        select(func.count())
        .select_from(Connection)
        .where(Connection.company_id == scope.company_id, Connection.name_key == name.casefold())
    ):
        errors["name"] = "There is a connection of this name already."
    if not user_key or len(user_key) > 200 or not user_key.isprintable():
        errors["user_key"] = "Give the user key, at most 200 characters."
    if not secret or len(secret) > 4096 or not secret.isprintable():
        errors["user_secret"] = "Give the secret that belongs to the user key."
    return errors


def test(connection: Connection) -> str:
    """Ask the partner for its list of sites and return what came, as a sentence.

    Raises: PartnerError with the sentence of what went wrong, SealBroken
    """
    secrets = _opened_secrets(connection)
    partner_id = connection.partner_id
    # The partner may take its time; no database connection waits with it.
    db.session.remove()
    with open_session(partner_id, secrets, context(), briefly=True) as session:
        sites = listed_sites(session, partner_id)
    return f"It works: the key sees {counted(len(sites), 'site')} of partner {partner_id}."


@bp.get("")
def index_connections() -> Response:
    """List the company's connections, with a form for a new one."""
    return _connections_page(current_scope())


@bp.post("")
@require("admin")
def add_connection() -> Response:
    """Store a connection."""
    scope = current_scope()
    try:
        connection = add(scope, request.form)
    except InvalidParams as error:
        return _connections_page(scope, error.errors, typed=request.form.to_dict(), status=422)
    audit(scope, "stored connection", connection.name)
    db.session.commit()
    flash(f"The connection {connection.name} is stored.")
    return redirect_to("/connections")


@bp.post("/<uuid:connection_id>/test")
@require("expert")
def test_connection(connection_id: UUID) -> Response:
    """Try a connection out and say what came."""
    connection = find(current_scope(), str(connection_id))
    name = connection.name
    try:
        flash(f"{name}: {test(connection)}")
    except (PartnerError, SealBroken) as error:
        flash(f"{name}: {error.message}", "error")
    return redirect_to("/connections")


@bp.post("/<uuid:connection_id>/delete")
@require("admin")
def delete_connection(connection_id: UUID) -> Response:
    """Forget a connection for good."""
    scope = current_scope()
    connection = find(scope, str(connection_id))
    name = connection.name
    db.session.delete(connection)
    audit(scope, "deleted connection", name)
    db.session.commit()
    flash(f"The connection {name} is deleted; its secret is erased.")
    return redirect_to("/connections")


def _connections_page(
    scope: Scope,
    errors: dict[str, str] | None = None,
    typed: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    page = render_template(
        "partner_use/connections.html",
        connections=shown_list(of_company(scope), lambda one: f"{one.name} {one.partner_id}"),
        scope=scope,
        errors=errors or {},
        typed=typed or {},
        standin=bool(current_app.config["PARTNER_API_URL"]),
    )
    return make_response(page, status)
