"""Sign-in by a company's own provider: OpenID Connect, one provider an installation.

Authlib does the protocol: the code flow with state, nonce and PKCE, and the provider's signature.
Here stands what the provider is believed: who somebody is, and what role they have in OIDC_COMPANY.
It vouches for that company's people and for nobody else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, current_app, request, session, url_for
from flask.typing import ResponseReturnValue
from joserfc.errors import JoseError
from requests import RequestException
from sqlalchemy import select

from webapp.accounts import members
from webapp.accounts.audit_log import audit
from webapp.accounts.companies import default_company, find_membership, find_or_make_company
from webapp.accounts.identity import identity
from webapp.accounts.keys import hash_secret
from webapp.accounts.models import ROLES, Company, Membership, User
from webapp.accounts.pages import begin_session, login_form
from webapp.accounts.people import accounts_of, add_user
from webapp.config import BadSetting
from webapp.errors import Conflict, InvalidParams, NotAllowed, NotFound, ReportError, Unavailable
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.lib.settings import roles_by_value
from webapp.lib.texts import as_email, local_path

if TYPE_CHECKING:
    from authlib.integrations.flask_client import FlaskOAuth2App

log = logging.getLogger(__name__)
bp = Blueprint("oidc", __name__)

TIMEOUT_S = 10
LEEWAY_S = 60
# Of the cookie: where the reader wanted to go.
TARGET = "oidc_target"
AWAY = "Your company's sign-in cannot be reached. Try again in a moment."
REFUSED = "Your company's sign-in did not work. Try again; if it fails again, tell the operator."
NO_ADDRESS = "Your company's sign-in does not give your email address, or does not confirm it."
NO_ROLE = "Your company's sign-in gives you no role here. Ask its administrator for one."
IN_THE_WAY = "Your address is used by another account. Ask an admin of your company."


def init_app(app: Flask) -> None:
    """Let the application know its provider, if it has one; raises BadSetting for half of one."""
    config = app.config
    if not config["OIDC_ISSUER"]:
        return
    for name in ("OIDC_CLIENT_ID", "OIDC_COMPANY"):
        if not config[name]:
            raise BadSetting(name, "is needed where OIDC_ISSUER is set")
    # Ten megabytes in each process, which only who has a provider pays.
    from authlib.integrations.flask_client import OAuth

    # At the level debug it writes down what proves a sign-in.
    logging.getLogger("authlib").setLevel(logging.INFO)
    # Client id and secret it takes from the settings, by their names.
    app.extensions["oidc"] = OAuth(app).register(
        "oidc",
        server_metadata_url=f"{config['OIDC_ISSUER'].rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={
            "scope": "openid email profile",
            "code_challenge_method": "S256",
            "default_timeout": TIMEOUT_S,
        },
    )


@bp.errorhandler(NotAllowed)
@bp.errorhandler(Unavailable)
def show_problem(error: ReportError) -> ResponseReturnValue:
    """Show the sign-in, and why the provider's did not work."""
    return login_form("/", error.message), error.status


@bp.get("/login/oidc")
def begin() -> ResponseReturnValue:
    """Send the reader to the provider."""
    session[TARGET] = local_path(request.args.get("next"))
    with _provider() as provider:
        answer: ResponseReturnValue = provider.authorize_redirect(
            url_for("oidc.finish", _external=True)
        )
    return answer


@bp.get("/login/oidc/callback")
def finish() -> ResponseReturnValue:
    """Sign in who the provider says is back; one who is signed in already is known by it now."""
    target = local_path(session.get(TARGET))
    with _provider() as provider:
        config = current_app.config
        token = provider.authorize_access_token(
            claims_options={
                "iss": {"essential": True, "value": config["OIDC_ISSUER"]},
                "aud": {"essential": True, "value": config["OIDC_CLIENT_ID"]},
            },
            leeway=LEEWAY_S,
        )
        claims = dict(token["userinfo"])
        if "userinfo_endpoint" in provider.server_metadata:
            more = provider.userinfo(token=token)
            if more["sub"] != claims["sub"]:
                raise ValueError("user info of somebody else")
            claims = more | claims
    user = _user_of(claims)
    begin_session(user, default_company(user) or user.home_company_id, by_provider=True)
    return redirect_to(target)


@contextmanager
def _provider() -> Iterator[FlaskOAuth2App]:
    """Lend the provider, once it is known to be the one that is meant.

    Raises: NotFound where there is none, Unavailable, NotAllowed; the log says why, without words
    """
    provider = current_app.extensions.get("oidc")
    if provider is None:
        raise NotFound("Nobody signs in by a provider here.")
    from authlib.integrations.base_client import OAuthError

    try:
        metadata = provider.load_server_metadata()
        if metadata.get("issuer") != current_app.config["OIDC_ISSUER"]:
            metadata.clear()
            raise ValueError("metadata of another issuer")
        # Never a signature that the client's own secret, or nothing, would do for.
        named = metadata.get("id_token_signing_alg_values_supported", ["RS256"])
        signed = [name for name in named if name[:2] in {"RS", "PS", "ES", "Ed"}]
        metadata["id_token_signing_alg_values_supported"] = signed
        yield provider
    except RequestException as error:
        log.error("the provider could not be asked: %s", type(error).__name__)
        raise Unavailable(AWAY) from None
    except (OAuthError, JoseError, LookupError, RuntimeError, TypeError, ValueError) as error:
        log.error("the provider's sign-in was refused: %s", type(error).__name__)
        raise NotAllowed(REFUSED) from None


def _user_of(claims: dict[str, Any]) -> User:
    """Return whose claims these are, made where they are new, with the role they give. Commits.

    Raises: NotAllowed
    """
    company = find_or_make_company(current_app.config["OIDC_COMPANY"])
    subject = hash_secret(f"{current_app.config['OIDC_ISSUER']}\n{claims['sub']}")
    known = db.session.scalar(select(User).where(User.provider_subject == subject))
    role = _role_of(claims)
    if role is None:
        # What is gone at the provider is gone here.
        if known is not None and find_membership(known.id, company.id):
            with suppress(Conflict):
                members.remove_member(company.id, known.id)
                audit(known, "access withdrawn", "by the provider", company_id=company.id)
                db.session.commit()
        raise NotAllowed(NO_ROLE)
    user = known or _linked_or_made(claims, company)
    if not user.is_active or user.confined_to not in {None, company.id}:
        raise NotAllowed(IN_THE_WAY)
    user.provider_subject = subject
    member = find_membership(user.id, company.id)
    # Without a claim roles are the admins' affair, and so is who was removed.
    if member is None and (role or known is None):
        db.session.add(Membership(user_id=user.id, company_id=company.id, role=role or ROLES[0]))
        audit(user, "joined", f"as {role or ROLES[0]}, by the provider", company_id=company.id)
    db.session.commit()
    if member is not None and role and member.role != role:
        # The last admin stays one.
        with suppress(Conflict):
            members.change_role(company.id, user.id, role)
            audit(user, "role granted", f"{role}, by the provider", company_id=company.id)
            db.session.commit()
    return user


def _role_of(claims: dict[str, Any]) -> str | None:
    """Return the highest role the claims give, None for none; "" where no claim tells it."""
    name = current_app.config["OIDC_ROLE_CLAIM"]
    if not name:
        return ""
    listed = current_app.config["OIDC_ROLES"]
    meant = roles_by_value(listed) if listed else {role: role for role in ROLES}
    told = claims.get(name)
    held = [meant[one] for one in (told if isinstance(told, list) else [told]) if one in meant]
    return max(held, key=ROLES.index, default=None)


def _linked_or_made(claims: dict[str, Any], company: Company) -> User:
    """Return the account of somebody the provider names for the first time.

    Who is signed in says so themselves. By its address an account is taken that belongs to the
    provider's company alone; whoever works elsewhere too, or operates, is not the provider's.
    """
    who = identity()
    if who is not None and who.user.provider_subject is None:
        return who.user
    address = as_email(str(claims.get("email", "")))
    if address is None or claims.get("email_verified", True) not in {True, "true"}:
        raise NotAllowed(NO_ADDRESS)
    own = members.own_members(company.id)
    found = next((user for user in accounts_of(address) if user.id in own), None)
    if found is not None and found.provider_subject is None:
        return found
    first, last = (str(claims.get(name) or "") for name in ("given_name", "family_name"))
    try:
        return add_user(address, None, company, first_name=first, last_name=last, confined=True)
    except InvalidParams:
        raise NotAllowed(IN_THE_WAY) from None
