"""Who is asking, and which doors open: `current_scope`, `require`, `restrict`.

Under /api/ an Authorization header decides alone; without one a browser's session may read but not
change anything, so that no other site can make a browser act. On pages the session comes first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from flask import Blueprint, Response, g, request, session, url_for
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from webapp.accounts.companies import Scope, default_company, find_membership, scope_of
from webapp.accounts.keys import basic_credentials, find_key, touch_key
from webapp.accounts.limits import count_failure
from webapp.accounts.models import FULL, ApiKey, LoginSession, User
from webapp.accounts.sessions import (
    COOKIE_NAME_OF_SESSION,
    find_session,
    moment_of_grant,
    read_token,
    touch_session,
)
from webapp.errors import NotAllowed, NotSignedIn
from webapp.extensions import db, this_app
from webapp.htmx import is_htmx, redirect_to
from webapp.lib.moments import utcnow
from webapp.lib.texts import local_path
from webapp.security import is_api, refuse_nul

P = ParamSpec("P")
R = TypeVar("R")

SIGN_IN = "Sign in, or send an API key or a token that still works."
# Of answers that last; what is withdrawn ends them within five seconds.
# So many callers' last answers are kept in a process.
CALLERS_KEPT = 10_000
ASK_EVERY_S = 2.0
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class SecondFactorNeeded(NotAllowed):
    """403: the company asks for a second factor, and the user has none yet."""

    def __init__(self) -> None:
        super().__init__("Your company asks for a second factor: sign in on the site to set it up.")


@dataclass(frozen=True)
class Identity:
    """Who this request comes from, and by which credentials."""

    user: User
    company_id: str
    session: LoginSession | None = None
    key: ApiKey | None = None


def identity() -> Identity | None:
    """Return who is asking, found once per request; None for a stranger."""
    if "accounts_identity" not in g:
        # A page that says "too many tries" asks again, and is made for a stranger.
        g.accounts_identity = None
        g.accounts_identity = _identify()
    found: Identity | None = g.accounts_identity
    return found


def signed_in() -> Identity:
    """Return who is asking, in a view that is closed to strangers."""
    who = identity()
    if who is None:
        raise NotSignedIn(SIGN_IN)
    return who


def forget_identity() -> None:
    """Make the next question look again, after a sign-in, a sign-out or a switch of company."""
    g.pop("accounts_identity", None)
    g.pop("accounts_scope", None)


def current_scope() -> Scope:
    """Return what the caller may see and do.

    Raises: NotSignedIn for strangers, bad credentials, and users without a company;
            NotAllowed for a key that may only send, and while a second factor is missing
    """
    scope = sender_scope()
    if only_sends():
        raise NotAllowed("This API key may only send data.")
    return scope


def only_sends() -> bool:
    """Return whether the caller's key may send data and do nothing else."""
    who = identity()
    return who is not None and who.key is not None and who.key.scope != FULL


def sender_scope() -> Scope:
    """Return the scope for an address that only takes data in: keys that may only send pass too.

    Raises: NotSignedIn, SecondFactorNeeded for people; keys and providers answer for themselves
    """
    scope: Scope | None = g.get("accounts_scope")
    if scope is None:
        who = signed_in()
        scope = scope_of(who.user, who.company_id)
        if scope is None:
            raise NotSignedIn(SIGN_IN)
        by_provider = who.session is not None and who.session.by_provider
        if scope.needs_second_factor and who.key is None and not by_provider:
            raise SecondFactorNeeded
        g.accounts_scope = scope
    return scope


def scope_or_none() -> Scope | None:
    """Return what the caller may see and do, None for strangers."""
    try:
        return current_scope()
    except (NotSignedIn, NotAllowed):
        return None


def access_ended() -> Callable[[], bool]:
    """Return what says, at any time later, whether this request's caller has lost their way in.

    For answers that last: signed out, a revoked key, access withdrawn, an account switched off. The
    database is asked every few seconds, once for all answers of a caller in this process, with no
    connection held; one that is away counts as no answer.
    """
    app = this_app()
    who, scope = signed_in(), current_scope()
    key_id = who.key.id if who.key else None
    session_id = who.session.id if who.session else None
    member = find_membership(scope.user_id, scope.company_id)
    grant = member.created_at if member else None
    caller = (scope.user_id, scope.company_id, session_id, key_id, grant)
    # When each caller was asked about, and what came; those of answers that are over go with time.
    asked: dict[Any, tuple[float, bool]] = app.extensions.setdefault("access_asked", {})
    asked[caller] = (time.monotonic(), False)

    def ended() -> bool:
        at, is_over = asked.get(caller, (0.0, False))
        if time.monotonic() - at < ASK_EVERY_S:
            return is_over
        # Before the question: meanwhile the caller's other answers go on as they are.
        asked[caller] = (time.monotonic(), is_over)
        try:
            with app.app_context():
                is_over = not _may_go_on(scope, grant, session_id, key_id)
        except (OperationalError, InterfaceError, PoolTimeout):
            return False
        if len(asked) > CALLERS_KEPT:
            asked.clear()
        asked[caller] = (time.monotonic(), is_over)
        return is_over

    return ended


def _may_go_on(
    scope: Scope, grant: datetime | None, session_id: str | None, key_id: str | None
) -> bool:
    """Return whether session, key, user and role all stand as they did."""
    if session_id is not None and find_session(session_id) is None:
        return False
    key = db.session.get(ApiKey, key_id) if key_id is not None else None
    if key_id is not None and (key is None or not key.works_at(utcnow())):
        return False
    member = find_membership(scope.user_id, scope.company_id)
    return member is not None and member.created_at == grant and member.user.is_active


def check_role(role: str | None) -> Scope:
    """Return the caller's scope if it reaches the role; any role will do for None.

    Raises: NotSignedIn, NotAllowed
    """
    scope = current_scope()
    if role == "operator" and not scope.is_operator:
        raise NotAllowed("Only operators of this installation may do this.")
    if role is not None and not scope.may(role):
        raise NotAllowed(
            f"This needs the role {role} in {scope.company_name}; yours is {scope.role}."
        )
    return scope


def require(role: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that lets a view run only for callers who reach the role."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
            return require_access(role) or view(*args, **kwargs)

        return guarded

    return decorate


def restrict(blueprint: Blueprint, role: str | None = None) -> Blueprint:
    """Close a whole blueprint to strangers, and to those below the role where one is named."""
    blueprint.before_request(lambda: require_access(role))
    blueprint.before_request(refuse_nul)
    return blueprint


def require_access(role: str | None = None) -> Response | None:
    """Return the way to sign in, or to set up a second factor, on a page; None for who may pass.

    Raises: NotSignedIn under /api/ and for credentials that do not work, NotAllowed anywhere
    """
    try:
        check_role(role)
    except NotSignedIn:
        if is_api() or "Authorization" in request.headers:
            raise
        return to_sign_in()
    except SecondFactorNeeded:
        if is_api() or "Authorization" in request.headers:
            raise
        return redirect_to(url_for("second_factor.show"))
    return None


def to_sign_in() -> Response:
    """Return the way to the sign-in page and back to where the reader was.

    That is never a partial, nor an address that only takes forms.
    """
    if is_htmx():
        parts = urlsplit(request.headers.get("HX-Current-URL", ""))
        target = parts.path + (f"?{parts.query}" if parts.query else "")
    elif request.method in SAFE_METHODS:
        target = request.full_path.removesuffix("?")
    else:
        target = ""
    return redirect_to(url_for("accounts.login", next=local_path(target, "") or None))


def _identify() -> Identity | None:
    header = request.headers.get("Authorization", "")
    may_act = request.method not in SAFE_METHODS
    if is_api():
        if header:
            return _by_header(header)
        return None if may_act else _by_session()
    who = _by_session()
    # A page asked for by a program, such as metrics; forms still need a session and its token.
    return _by_header(header) if who is None and header and not may_act else who


def _by_header(header: str) -> Identity | None:
    scheme, _, value = header.partition(" ")
    # Clients of Duke's data service send the token alone.
    if scheme.lower() == "bearer" or (not value and scheme.count(".") == 2):
        who = _by_token(value.strip() or scheme)
        g.accounts_bad_token = who is None
        return who
    given = basic_credentials(value) if scheme.lower() == "basic" else None
    if given is None:
        return None
    key = find_key(*given)
    if key is None:
        count_failure(given[0])
        return None
    touch_key(key)
    return Identity(key.user, key.company_id, key=key)


def _by_token(token: str) -> Identity | None:
    claims = read_token(token)
    row = find_session(claims.session_id) if claims else None
    if claims is None or row is None or row.user_id != claims.user_id:
        return None
    member = find_membership(row.user_id, claims.company_id)
    if member is None or moment_of_grant(member) != claims.grant:
        return None
    touch_session(row)
    if row.api_key is not None:
        touch_key(row.api_key)
    return Identity(row.user, claims.company_id, session=row, key=row.api_key)


def _by_session() -> Identity | None:
    session_id = session.get(COOKIE_NAME_OF_SESSION)
    if not session_id:
        return None
    row = find_session(session_id)
    if row is None or row.token_hash is not None or row.user_id != session.get("_user_id"):
        # A dead cookie goes, and its form tokens with it.
        session.clear()
        return None
    # The cookie is sent again now and then, not with every answer: caches keep files with it.
    if touch_session(row):
        session.modified = True
    company_id = row.company_id
    if scope_of(row.user, company_id) is None:
        # Access to that company was withdrawn: go on where the user still has a role.
        company_id = default_company(row.user) or company_id
    return Identity(row.user, company_id, session=row)
