"""Sessions and access tokens: one row a sign-in, of a browser or of a program.

An access token is a JWT (HS256 and nothing else, 90 minutes, signed with a key that is derived from
SECRET_KEY for this alone). It names its session and the grant of the role it was made under;
whether both still stand is asked of the database at every request, so that ending a session really
ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt
from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import joinedload

from webapp.accounts.companies import find_membership
from webapp.accounts.keys import hash_secret, note_use
from webapp.accounts.models import ApiKey, LoginSession, Membership, User
from webapp.extensions import db
from webapp.lib.moments import utcnow
from webapp.lib.texts import as_id
from webapp.security import derived_key, secret_keys

# A session nobody used for this long is over.
IDLE = timedelta(days=30)
TOUCH_EVERY = timedelta(hours=1)
COOKIE_NAME_OF_SESSION = "sid"
REFRESH_PREFIX = "purr_"
ALGORITHM = "HS256"
LIFETIME = timedelta(minutes=90)
LIFETIME_S = int(LIFETIME.total_seconds())
CLAIMS = ("userId", "com", "exp", "iat", "sid", "grant", "jti")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def open_session(
    user: User,
    company_id: str,
    *,
    key: ApiKey | None = None,
    refresh: str | None = None,
    by_provider: bool = False,
) -> LoginSession:
    """Return a new session of the user, with the refresh token's hash if there is one."""
    mine = delete(LoginSession).where(LoginSession.user_id == user.id)
    db.session.execute(mine.where(LoginSession.seen_at < utcnow() - IDLE))
    row = LoginSession(
        user_id=user.id,
        company_id=company_id,
        api_key_id=key.id if key else None,
        token_hash=hash_secret(refresh) if refresh else None,
        epoch=user.session_epoch,
        by_provider=by_provider,
    )
    user.last_company_id = company_id
    db.session.add(row)
    db.session.flush()
    return row


def find_session(session_id: str) -> LoginSession | None:
    """Return the session if it still lives."""
    return _living(LoginSession.id == session_id)


def find_refresh_session(refresh_token: str) -> LoginSession | None:
    """Return the living session behind a refresh token."""
    return _living(LoginSession.token_hash == hash_secret(refresh_token))


def touch_session(row: LoginSession) -> bool:
    """Keep that the session is in use, to the hour; return whether it was time to."""
    now = utcnow()
    if now - row.seen_at < TOUCH_EVERY:
        return False
    seen = update(LoginSession).where(LoginSession.id == row.id).values(seen_at=now)
    return note_use(seen)


def end_all_sessions(user: User) -> None:
    """End every session of the user, browsers and tokens alike; the caller commits."""
    user.session_epoch += 1


def end_program_sessions(user_id: str, company_id: str) -> None:
    """End the tokens that work in one company, so that a new grant does not revive them."""
    sessions = update(LoginSession).where(
        LoginSession.user_id == user_id,
        LoginSession.company_id == company_id,
        LoginSession.token_hash.is_not(None),
        LoginSession.revoked_at.is_(None),
    )
    db.session.execute(sessions.values(revoked_at=utcnow()))


def _living(condition: ColumnElement[bool]) -> LoginSession | None:
    query = select(LoginSession).where(condition)
    query = query.options(joinedload(LoginSession.user), joinedload(LoginSession.api_key))
    row = db.session.scalar(query)
    if row is None or row.revoked_at is not None or row.seen_at < utcnow() - IDLE:
        return None
    if row.epoch != row.user.session_epoch or not row.user.is_active:
        return None
    if row.api_key is not None and not row.api_key.works_at(utcnow()):
        return None
    return row


@dataclass(frozen=True)
class Claims:
    """What a verified token says: its user, its company, its session, the grant of its role."""

    user_id: str
    company_id: str
    session_id: str
    grant: int


def make_token(user_id: str, company_id: str, session_id: str) -> str:
    """Return a token for one user in one company, good for 90 minutes."""
    now, member = int(utcnow().timestamp()), find_membership(user_id, company_id)
    claims = {
        "userId": user_id,
        "com": company_id,
        "sid": session_id,
        "grant": moment_of_grant(member) if member else 0,
        "iat": now,
        "exp": now + LIFETIME_S,
        "jti": str(uuid4()),
    }
    return jwt.encode(claims, _token_key(secret_keys()[0]), algorithm=ALGORITHM)


def moment_of_grant(member: Membership) -> int:
    """Return when a role was granted, as tokens say it: microseconds since 1970.

    Access that was withdrawn and granted again has another one, so tokens from before stay dead,
    whatever the clocks of two servers say and wherever their session works meanwhile.
    """
    return (member.created_at - _EPOCH) // timedelta(microseconds=1)


def read_token(token: str) -> Claims | None:
    """Return what a token says if it is ours, unaltered and not expired, else None."""
    for key in secret_keys():
        try:
            claims = jwt.decode(
                token,
                _token_key(key),
                algorithms=[ALGORITHM],
                options={"require": list(CLAIMS), "verify_iat": False},
            )
        except jwt.PyJWTError:
            continue
        user_id, company_id, session_id = (as_id(claims[name]) for name in ("userId", "com", "sid"))
        if user_id and company_id and session_id:
            return Claims(user_id, company_id, session_id, claims["grant"])
    return None


def _token_key(secret_key: str) -> bytes:
    return derived_key(secret_key, "access token")
