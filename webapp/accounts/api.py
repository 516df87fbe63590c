"""Token routes, and companies and users as JSON in the camelCase their clients read."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, jsonify, request
from sqlalchemy import func, select

from webapp.accounts import sessions
from webapp.accounts.audit_log import audit
from webapp.accounts.companies import default_company, scope_of
from webapp.accounts.identity import current_scope, restrict, signed_in
from webapp.accounts.keys import find_key, touch_key
from webapp.accounts.limits import count_failure
from webapp.accounts.models import FULL, ApiKey, Company, Membership, User
from webapp.accounts.people import check_password
from webapp.accounts.sessions import LIFETIME_S, make_token
from webapp.errors import (
    InvalidParams,
    NotAllowed,
    NotFound,
    NotSignedIn,
    Unreadable,
    UnsupportedType,
)
from webapp.extensions import db
from webapp.json_wire import json_body
from webapp.lib.texts import as_id

bp = Blueprint("accounts_api", __name__)
tokens_bp = Blueprint("tokens", __name__)
restrict(bp)

MOST_BYTES = 1024 * 1024
BEARER = "Bearer"
BAD_KEY = "The API key or its secret is wrong."
BAD_SIGN_IN = "The username or the password is wrong."
BAD_REFRESH = "The refresh token does not work any more. Sign in again."
NOT_EXPERT = "You have no expert access to that company."


@tokens_bp.after_request
def never_store(response: Response) -> Response:
    """Keep tokens out of every cache."""
    response.headers["Cache-Control"] = "no-store"
    return response


@tokens_bp.post("/api/keys/v1/api/auth")
def key_login() -> Response:
    """Give tokens for an API key and its secret."""
    body = _json_object()
    key_id, secret = _texts(body, "apiKey", "secret")
    key = find_key(key_id, secret)
    if key is None:
        count_failure(key_id)
        raise NotSignedIn(BAD_KEY)
    if key.scope != FULL:
        raise NotAllowed("This API key may only send data.")
    touch_key(key)
    access, refresh = _open(key.user, key)
    return jsonify(accessToken=access, tokenType=BEARER, refreshToken=refresh, expiresIn=LIFETIME_S)


@tokens_bp.post("/api/auth/token")
def password_login() -> Response:
    """Give tokens for an email and its password, sent as a form."""
    if request.mimetype not in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        raise UnsupportedType("Send username and password as a form.")
    username, password = _texts(request.form.to_dict(), "username", "password")
    user = check_password(username, password)
    db.session.commit()
    if user is None:
        raise NotSignedIn(BAD_SIGN_IN)
    access, refresh = _open(user)
    return jsonify(
        access_token=access, token_type=BEARER, refresh_token=refresh, expires_in=LIFETIME_S
    )


@tokens_bp.get("/api/auth/token/refresh")
def refresh_token() -> Response:
    """Give a new token for a refresh token, in the company its session works in."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    row = sessions.find_refresh_session(value.strip()) if scheme.lower() == "bearer" else None
    if row is None or scope_of(row.user, row.company_id) is None:
        g.accounts_bad_token = scheme.lower() == "bearer"
        raise NotSignedIn(BAD_REFRESH)
    sessions.touch_session(row)
    return _access(make_token(row.user_id, row.company_id, row.id))


@tokens_bp.post("/api/auth/token/switch")
def switch_company() -> Response:
    """Give the token of another company and let this session, no other, work there from now on."""
    current_scope()
    who = signed_in()
    body = _json_object()
    company_id = as_id(_texts(body, "companyId")[0])
    if company_id is None:
        raise InvalidParams({"companyId": "Write the company's id, a UUID."})
    scope = scope_of(who.user, company_id)
    if scope is None or not scope.may("expert"):
        raise NotAllowed(NOT_EXPERT)
    row = who.session
    if row is None or row.token_hash is None:
        # Basic has no session to move: it gets one of its own.
        row = sessions.open_session(who.user, company_id, key=who.key)
    row.company_id = who.user.last_company_id = company_id
    audit(scope, "company switched")
    db.session.commit()
    return _access(make_token(who.user.id, company_id, row.id))


@bp.get("/api/accounts/v1/companies")
def list_companies() -> Response:
    """Give the companies the caller may switch to."""
    mine = select(Company).join(Membership, Membership.company_id == Company.id)
    mine = mine.where(Membership.user_id == signed_in().user.id)
    query = mine.where(Membership.role.in_(("expert", "admin"))).order_by(Company.name_key)
    return jsonify([_company(company) for company in db.session.scalars(query)])


@bp.get("/api/accounts/v1/companies/<company_id>")
def show_company(company_id: str) -> Response:
    """Give one company: the caller's own one, or one with a role in it."""
    user, wanted = signed_in().user, as_id(company_id)
    company = db.session.get(Company, wanted) if wanted else None
    if company is None:
        raise NotFound("There is no such company.")
    if company.id != user.home_company_id and scope_of(user, company.id) is None:
        raise NotFound("There is no such company.")
    return jsonify(_company(company))


@bp.get("/api/accounts/v1/users")
def list_users() -> Response:
    """Give everybody with a role in the company the token works in."""
    scope = current_scope()
    query = select(Membership, User).join(User, User.id == Membership.user_id)
    query = query.where(Membership.company_id == scope.company_id).order_by(User.email)
    rows = db.session.execute(query)
    return jsonify([_user(user, member.role) for member, user in rows])


@bp.get("/api/accounts/v1/users/<user_id>")
def show_user(user_id: str) -> Response:
    """Give one user: oneself or a colleague in the company the token works in."""
    scope, wanted = current_scope(), as_id(user_id)
    user = db.session.get(User, wanted) if wanted else None
    theirs = scope_of(user, scope.company_id) if user else None
    if user is None or theirs is None:
        raise NotFound("There is no such user.")
    return jsonify(_user(user, theirs.role))


def _open(user: User, key: ApiKey | None = None) -> tuple[str, str]:
    company_id = default_company(user)
    if company_id is None:
        raise NotAllowed("This account has no company at the moment. Ask an admin for access.")
    refresh = sessions.new_refresh_token()
    row = sessions.open_session(user, company_id, key=key, refresh=refresh)
    by = f"API key {key.label or key.key_id}" if key else "password"
    audit(user, "program signed in", f"by {by}", company_id=company_id)
    db.session.commit()
    return make_token(user.id, company_id, row.id), refresh


def _access(token: str) -> Response:
    return jsonify(access_token=token, token_type=BEARER)


def _json_object() -> dict[str, Any]:
    body = json_body(most_bytes=MOST_BYTES)
    if not isinstance(body, dict):
        raise Unreadable("The body must be a JSON object.")
    return body


def _texts(body: dict[str, Any], *names: str) -> list[str]:
    problems = {
        name: "This is missing." if name not in body else "Write a text."
        for name in names
        if not isinstance(body.get(name), str)
    }
    if problems:
        raise InvalidParams(problems)
    return [body[name] for name in names]


def _company(company: Company) -> dict[str, Any]:
    user = signed_in().user
    clients = None
    if company.id == user.home_company_id:
        elsewhere = (
            select(func.count())
            .select_from(Membership)
            .where(
                Membership.user_id == user.id,
                Membership.company_id != user.home_company_id,
                Membership.role.in_(("expert", "admin")),
            )
        )
        clients = db.session.scalar(elsewhere)
    return {
        "id": company.id,
        "name": company.name,
        "createdAt": company.created_at.date().isoformat(),
        "isConsultingCompany": bool(clients),
        "isDemoCompany": False,
        "availableClientCompanies": clients,
    }


def _user(user: User, role: str) -> dict[str, Any]:
    return {
        "id": user.id,
        "companyId": user.home_company_id,
        "firstName": user.first_name or None,
        "lastName": user.last_name or None,
        "email": user.email,
        "isAdmin": role == "admin",
        "isReadonly": role == "viewer",
        "isReadonlyLimited": False,
        "isConsultant": any(m.company_id != user.home_company_id for m in user.memberships),
        "status": user.status,
    }
