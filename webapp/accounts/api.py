"""Token routes, and companies and users as JSON in the camelCase their clients read."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from flask import Blueprint, Response, g, request
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from webapp.accounts import sessions
from webapp.accounts.audit_log import audit
from webapp.accounts.companies import companies_of, default_company, scope_of
from webapp.accounts.identity import current_scope, restrict, signed_in
from webapp.accounts.keys import find_key, new_secret, touch_key
from webapp.accounts.limits import count_failure
from webapp.accounts.members import members_of
from webapp.accounts.models import FULL, ApiKey, Company, User
from webapp.accounts.people import check_password
from webapp.accounts.second_factor import take_code
from webapp.accounts.sessions import LIFETIME_S, make_token
from webapp.errors import InvalidParams, NotAllowed, NotFound, NotSignedIn
from webapp.extensions import db
from webapp.lib.bodies import Id, answer_json, read_form, read_json
from webapp.lib.model import LazyModel
from webapp.lib.openapi import FORM, ID, Describer
from webapp.lib.texts import as_id, lookup_id

bp = Blueprint("accounts_api", __name__)
tokens_bp = Blueprint("tokens", __name__)
restrict(bp)

# Whoever asks for a token has none yet, but for a refresh token as a bearer.
tokens_describe = Describer("Signing in")
describe = Describer("Companies and users", path_schema=ID)

MOST_BYTES = 64 * 1024


class Camel(LazyModel):
    """Base of what clients of the inventory read and send, in their camelCase."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        json_schema_serialization_defaults_required=True,
    )


def _company_id(value: Any) -> Any:
    found = as_id(value)
    if found is None:
        raise ValueError("Write the company's id, a UUID.")
    return found


class KeySignIn(Camel):
    """An API key and its secret."""

    api_key: str
    secret: str = Field(json_schema_extra={"writeOnly": True})


class PasswordSignIn(LazyModel):
    """An email and its password."""

    username: str
    password: str = Field(json_schema_extra={"writeOnly": True})
    code: str = Field("", description="Of the account's second factor, where it has one.")


class Switch(Camel):
    """The company to work in from now on."""

    company_id: Annotated[UUID, BeforeValidator(_company_id)]


class AccessToken(LazyModel):
    """A token of a company; it is sent as a bearer."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"


class Tokens(AccessToken):
    """The tokens of a sign-in by password, and how long the first one lasts."""

    refresh_token: str
    expires_in: int = LIFETIME_S


class KeyTokens(Tokens, Camel):
    """The tokens of a sign-in by API key, and how long the first one lasts."""


class CompanyAnswer(Camel):
    """A company as its members see it."""

    id: Id
    name: str
    created_at: date
    is_consulting_company: bool
    is_demo_company: bool = False
    available_client_companies: int | None


class UserAnswer(Camel):
    """A user as members of the company see them."""

    id: Id
    company_id: Id
    first_name: str | None
    last_name: str | None
    email: str
    is_admin: bool
    is_readonly: bool
    is_readonly_limited: bool = False
    is_consultant: bool
    status: str


@tokens_bp.before_request
def bound_bodies() -> None:
    """Read little from who is not signed in."""
    request.max_content_length = MOST_BYTES


@tokens_bp.after_request
def never_store(response: Response) -> Response:
    """Keep tokens out of every cache."""
    response.headers["Cache-Control"] = "no-store"
    return response


@tokens_bp.post("/api/keys/v1/api/auth")
@tokens_describe(body=KeySignIn, answer=KeyTokens, errors=(422,), security=[])
def key_login() -> Response:
    """Give tokens for an API key and its secret."""
    sent = read_json(KeySignIn, most_bytes=MOST_BYTES, strict=True)
    access, refresh = key_tokens(sent.api_key, sent.secret)
    return answer_json(KeyTokens(access_token=access, refresh_token=refresh))


def key_tokens(key_id: str, secret: str) -> tuple[str, str]:
    """Return the tokens of a new sign-in by API key: access and refresh.

    Raises: NotSignedIn, NotAllowed for a key that only sends
    """
    key = find_key(key_id, secret)
    if key is None:
        count_failure(key_id)
        raise NotSignedIn("The API key or its secret is wrong.")
    if key.scope != FULL:
        raise NotAllowed("This API key may only send data.")
    touch_key(key)
    return _open(key.user, key)


def new_token() -> str:
    """Return another token for who has signed in, in the company they are in."""
    scope, who = current_scope(), signed_in()
    row = who.session
    if row is None or row.token_hash is None:
        # Basic has no session: it gets one of its own.
        row = sessions.open_session(who.user, scope.company_id, key=who.key)
        db.session.commit()
    return make_token(scope.user_id, scope.company_id, row.id)


@tokens_bp.post("/api/auth/token")
@tokens_describe(body=PasswordSignIn, body_type=FORM, answer=Tokens, errors=(422,), security=[])
def password_login() -> Response:
    """Give tokens for an email and its password, sent as a form."""
    sent = read_form(PasswordSignIn)
    user = check_password(sent.username, sent.password)
    db.session.commit()
    if user is None:
        raise NotSignedIn("The username or the password is wrong.")
    if user.second_factor is not None:
        try:
            take_code(user, sent.code)
        except InvalidParams:
            raise NotSignedIn(
                "Send a fresh code of the second factor as code; or use an API key."
            ) from None
    access, refresh = _open(user)
    return answer_json(Tokens(access_token=access, refresh_token=refresh))


@tokens_bp.get("/api/auth/token/refresh")
@tokens_describe(answer=AccessToken, security=[{"bearer": []}])
def refresh_token() -> Response:
    """Give a new token for a refresh token, in the company its session works in."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    row = sessions.find_refresh_session(value.strip()) if scheme.lower() == "bearer" else None
    if row is None or scope_of(row.user, row.company_id) is None:
        g.accounts_bad_token = scheme.lower() == "bearer"
        raise NotSignedIn("The refresh token does not work any more. Sign in again.")
    sessions.touch_session(row)
    return answer_json(AccessToken(access_token=make_token(row.user_id, row.company_id, row.id)))


@tokens_bp.post("/api/auth/token/switch")
@tokens_describe(body=Switch, answer=AccessToken, errors=(422,))
def switch_company() -> Response:
    """Give the token of another company and let this session, no other, work there from now on."""
    current_scope()
    who = signed_in()
    company_id = str(read_json(Switch, most_bytes=MOST_BYTES, strict=True).company_id)
    scope = scope_of(who.user, company_id)
    if scope is None or not scope.may("expert"):
        raise NotAllowed("You have no expert access to that company.")
    row = who.session
    if row is None or row.token_hash is None:
        # Basic has no session to move: it gets one of its own.
        row = sessions.open_session(who.user, company_id, key=who.key)
    row.company_id = who.user.last_company_id = company_id
    audit(scope, "company switched")
    db.session.commit()
    return answer_json(AccessToken(access_token=make_token(who.user.id, company_id, row.id)))


@bp.get("/api/accounts/v1/companies")
@describe(answer=list[CompanyAnswer])
def list_companies() -> Response:
    """Give the companies the caller may switch to."""
    user = signed_in().user
    mine = {one.company_id for one in user.memberships if one.role in {"expert", "admin"}}
    return answer_json([_company_answer(one) for one in companies_of(user) if one.id in mine])


@bp.get("/api/accounts/v1/companies/<company_id>")
@describe(answer=CompanyAnswer, errors=(404,))
def show_company(company_id: str) -> Response:
    """Give one company: the caller's own one, or one with a role in it."""
    user, company = signed_in().user, db.session.get(Company, lookup_id(company_id))
    if company is None or not (company.id == user.home_company_id or scope_of(user, company.id)):
        raise NotFound("There is no such company.")
    return answer_json(_company_answer(company))


@bp.get("/api/accounts/v1/users")
@describe(answer=list[UserAnswer])
def list_users() -> Response:
    """Give everybody with a role in the company the token works in."""
    found = members_of(current_scope().company_id)
    return answer_json([_user_answer(member.user, member.role) for member in found])


@bp.get("/api/accounts/v1/users/<user_id>")
@describe(answer=UserAnswer, errors=(404,))
def show_user(user_id: str) -> Response:
    """Give one user: oneself or a colleague in the company the token works in."""
    scope, user = current_scope(), db.session.get(User, lookup_id(user_id))
    theirs = scope_of(user, scope.company_id) if user else None
    if user is None or theirs is None:
        raise NotFound("There is no such user.")
    return answer_json(_user_answer(user, theirs.role))


def _open(user: User, key: ApiKey | None = None) -> tuple[str, str]:
    company_id = default_company(user)
    if company_id is None:
        raise NotAllowed("This account has no company at the moment. Ask an admin for access.")
    refresh = new_secret(sessions.REFRESH_PREFIX)
    row = sessions.open_session(user, company_id, key=key, refresh=refresh)
    by = f"API key {key.label or key.key_id}" if key else "password"
    audit(user, "program signed in", f"by {by}", company_id=company_id)
    db.session.commit()
    return make_token(user.id, company_id, row.id), refresh


def _company_answer(company: Company) -> CompanyAnswer:
    user = signed_in().user
    clients = None
    if company.id == user.home_company_id:
        clients = sum(
            member.company_id != company.id and member.role != "viewer"
            for member in user.memberships
        )
    return CompanyAnswer(
        id=company.id,
        name=company.name,
        created_at=company.created_at.date(),
        is_consulting_company=bool(clients),
        available_client_companies=clients,
    )


def _user_answer(user: User, role: str) -> UserAnswer:
    return UserAnswer(
        id=user.id,
        company_id=user.home_company_id,
        first_name=user.first_name or None,
        last_name=user.last_name or None,
        email=user.email,
        is_admin=role == "admin",
        is_readonly=role == "viewer",
        is_consultant=any(m.company_id != user.home_company_id for m in user.memberships),
        status=user.status,
    )
