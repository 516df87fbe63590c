"""The page of API keys: made, shown once, revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, Response, flash, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from webapp.accounts.audit_log import audit
from webapp.accounts.identity import current_scope, restrict, signed_in
from webapp.accounts.keys import create_key, revoke_key
from webapp.accounts.models import FULL, SEND, ApiKey
from webapp.errors import Conflict, InvalidParams, NotFound
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.lib.moments import utcnow
from webapp.lib.shown_lists import shown_list
from webapp.lib.texts import lookup_id

bp = Blueprint("keys", __name__)
restrict(bp)


@bp.get("/keys")
def list_keys() -> str:
    """Show one's own keys of this company; an admin sees everybody's."""
    return _keys_page()


@bp.post("/keys")
def add_key() -> ResponseReturnValue:
    """Make a key and show its secret, this once, in the answer itself: it is kept nowhere."""
    scope = current_scope()
    label, expires = request.form.get("label", ""), request.form.get("expires", "").strip()
    sends_only = request.form.get("sends_only") == "true"
    try:
        key, secret = create_key(
            signed_in().user,
            label,
            company_id=scope.company_id,
            expires_at=_end_of_day(expires) if expires else None,
            scope=SEND if sends_only else FULL,
        )
    except (Conflict, InvalidParams) as error:
        typed = {"label": label, "expires": expires, "sends_only": sends_only}
        errors = error.errors if isinstance(error, InvalidParams) else {"label": error.message}
        return _keys_page(errors=errors, **typed), error.status
    return _keys_page(made=key, secret=secret), 201


@bp.post("/keys/<key_id>/revoke")
def revoke(key_id: str) -> Response:
    """Revoke one's own key or, as an admin, any key of the company."""
    scope = current_scope()
    key = db.session.get(ApiKey, lookup_id(key_id))
    mine = key is not None and key.user_id == scope.user_id
    if key is None or key.company_id != scope.company_id or not (mine or scope.may("admin")):
        raise NotFound("There is no such key.")
    revoke_key(key)
    audit(scope, "API key revoked", key.label or key.key_id)
    db.session.commit()
    flash("The key is revoked. Programs can no longer use it.")
    return redirect_to(url_for("keys.list_keys"))


def _end_of_day(text: str) -> datetime:
    """Return the last instant of a day written YYYY-MM-DD (UTC)."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise InvalidParams({"expires": "Write a day like 2030-12-31."}) from None


def _keys_page(**shown: Any) -> str:
    """Return the page of keys; `shown` is what was typed, what is wrong, a key just made."""
    scope = current_scope()
    query = select(ApiKey).where(ApiKey.company_id == scope.company_id)
    if not scope.may("admin"):
        query = query.where(ApiKey.user_id == scope.user_id)
    query = query.options(joinedload(ApiKey.user)).order_by(ApiKey.created_at.desc())
    return render_template(
        "accounts/keys.html",
        keys=shown_list(
            db.session.scalars(query).all(),
            lambda key: f"{key.label} {key.key_id} {key.user.shown_email}",
        ),
        scope=scope,
        now=utcnow(),
        **({"errors": {}, "label": "", "expires": "", "sends_only": False} | shown),
    )
