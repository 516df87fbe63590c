"""Access tokens: JWT, HS256 and nothing else, 90 minutes, signed with SECRET_KEY.

A token names its session and the grant of the role it was made under; whether both still stand is
asked of the database at every request.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
from sqlalchemy import select

from webapp.accounts.models import Membership
from webapp.extensions import db
from webapp.lib.moments import utcnow
from webapp.lib.texts import as_id
from webapp.security import secret_keys

ALGORITHM = "HS256"
LIFETIME = timedelta(minutes=90)
LIFETIME_S = int(LIFETIME.total_seconds())
CLAIMS = ("userId", "com", "exp", "iat", "sid", "grant", "jti")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Claims:
    """What a verified token says: its user, its company, its session, the grant of its role."""

    user_id: str
    company_id: str
    session_id: str
    grant: int


def make_token(user_id: str, company_id: str, session_id: str) -> str:
    """Return a token for one user in one company, good for 90 minutes."""
    now = int(utcnow().timestamp())
    claims = {
        "userId": user_id,
        "com": company_id,
        "sid": session_id,
        "grant": _grant_of(user_id, company_id),
        "iat": now,
        "exp": now + LIFETIME_S,
        "jti": str(uuid4()),
    }
    return jwt.encode(claims, _hmac_key(secret_keys()[0]), algorithm=ALGORITHM)


def moment_of_grant(member: Membership) -> int:
    """Return when a role was granted, as tokens say it: microseconds since 1970.

    Access that was withdrawn and granted again has another one, so tokens from before stay dead,
    whatever the clocks of two servers say and wherever their session works meanwhile.
    """
    return (member.created_at - _EPOCH) // timedelta(microseconds=1)


def _grant_of(user_id: str, company_id: str) -> int:
    query = select(Membership).where(
        Membership.user_id == user_id, Membership.company_id == company_id
    )
    member = db.session.scalar(query)
    return moment_of_grant(member) if member else 0


def read_token(token: str) -> Claims | None:
    """Return what a token says if it is ours, unaltered and not expired, else None."""
    for key in secret_keys():
        try:
            claims = jwt.decode(
                token,
                _hmac_key(key),
                algorithms=[ALGORITHM],
                options={"require": list(CLAIMS), "verify_iat": False},
            )
        except jwt.PyJWTError:
            continue
        return _claims(claims)
    return None


def _claims(claims: dict[str, Any]) -> Claims | None:
    user_id, company_id = as_id(claims["userId"]), as_id(claims["com"])
    session_id = as_id(claims["sid"])
    if user_id is None or company_id is None or session_id is None:
        return None
    return Claims(user_id, company_id, session_id, claims["grant"])


def _hmac_key(secret_key: str) -> bytes:
    # HMAC fills its key with zero bytes itself; doing so here changes no signature and spares a
    # warning at every token where an operator chose a key under 32 characters.
    return secret_key.encode("utf-8").ljust(32, b"\x00")
