"""How the room joins an application: loaders, cookies, blueprints, what templates may ask."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask, Request, Response, current_app, g, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin

from webapp.accounts import (
    api,
    key_pages,
    keys,
    link_pages,
    member_pages,
    oidc,
    pages,
    second_factor,
)
from webapp.accounts.companies import companies_of
from webapp.accounts.identity import SAFE_METHODS, identity, scope_or_none
from webapp.accounts.models import Company, User
from webapp.extensions import login_manager
from webapp.security import is_api

REALM = "Partner Use Report"
STRANGERS_BYTES = 64 * 1024


class SignedCookies(SecureCookieSessionInterface):
    """Flask's own; who brings no cookie is not made to wait for the means to read one."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return the session the request's cookie holds, an empty one without a cookie."""
        if not request.environ.get("HTTP_COOKIE"):
            return self.session_class()
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Send what has changed, and say whether the answer depends on it: on neither, nothing."""
        if session.accessed or session.modified:
            super().save_session(app, session, response)


def init_app(app: Flask) -> None:
    """Bind the sign-in to the application and register the room's blueprints."""
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=bool(app.config.get("COOKIE_SECURE")),
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=timedelta(days=14),
    )
    if app.config.get("SECRET_KEY_PREVIOUS"):
        app.config["SECRET_KEY_FALLBACKS"] = [app.config["SECRET_KEY_PREVIOUS"]]
    app.session_interface = SignedCookies()
    login_manager.login_view = "accounts.login"
    login_manager.user_loader(_user)
    login_manager.request_loader(_user)
    # Nobody is remembered longer than a session lasts; to look would read it for every answer.
    app.after_request_funcs[None].remove(login_manager._update_remember_cookie)
    keys.init_app(app)
    app.context_processor(_for_templates)
    app.before_request(bound_forms_of_strangers)
    app.after_request(add_challenge)
    oidc.init_app(app)
    for room in (pages, second_factor, oidc, link_pages, key_pages, member_pages, api):
        app.register_blueprint(room.bp)
    app.register_blueprint(api.tokens_bp)


def add_challenge(response: Response) -> Response:
    """Name the ways to sign in on every 401.

    Basic is named to programs alone: a browser would ask its user, remember the answer, and send it
    along with whatever another site makes it ask for.
    """
    if response.status_code == 401 and "WWW-Authenticate" not in response.headers:
        bad_token = ', error="invalid_token"' if g.get("accounts_bad_token") else ""
        takes_pages = "text/html" in request.accept_mimetypes.values()
        if is_api() and "Sec-Fetch-Mode" not in request.headers and not takes_pages:
            response.headers.add("WWW-Authenticate", f'Basic realm="{REALM}", charset="UTF-8"')
        response.headers.add("WWW-Authenticate", f'Bearer realm="{REALM}"{bad_token}')
    return response


def bound_forms_of_strangers() -> None:
    """Read little of a form from who is not signed in; before the form is looked at at all."""
    if request.method not in SAFE_METHODS and not is_api() and identity() is None:
        request.max_content_length = STRANGERS_BYTES


def _user(_: object) -> User | None:
    who = identity()
    return who.user if who else None


def _for_templates() -> dict[str, Any]:
    def my_companies() -> list[Company]:
        """Return the companies the caller has a role in, for the switch in the header."""
        who = identity()
        return companies_of(who.user) if who else []

    has_provider = "oidc" in current_app.extensions
    return {
        "current_scope": scope_or_none,
        "my_companies": my_companies,
        "provider_name": current_app.config["OIDC_COMPANY"] if has_provider else "",
    }
