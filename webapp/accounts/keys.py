"""API keys: made, looked up, revoked. A secret is 190 random bits, so a plain SHA-256 keeps it.

Unlike a keyed hash it outlives any number of changes of SECRET_KEY. The prefix and the checksum let
scanners find a leaked secret without asking anybody: `pur_` + 32 letters and digits + 6 of CRC32.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import threading
import zlib
from datetime import datetime, timedelta

from sqlalchemy import select, update

from webapp.accounts.audit_log import audit
from webapp.accounts.companies import key_company
from webapp.accounts.models import FULL, ApiKey, LoginSession, User
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.lib.moments import utcnow
from webapp.lib.texts import storable

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
KEY_PREFIX = "pur_"
ID_PREFIX = "purk_"
REFRESH_PREFIX = "purr_"
LEAK_PATTERN = r"\bpur_[0-9A-Za-z]{38}\b"
# How exact "last used" is: a write for each request would make readers wait for writers.
TOUCH_EVERY = timedelta(minutes=1)
_touching = threading.Lock()


def random_text(length: int) -> str:
    """Return that many random letters and digits (5.95 bits each)."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def new_secret(prefix: str = KEY_PREFIX) -> str:
    """Return a fresh secret: prefix, 32 random characters, checksum of both."""
    body = prefix + random_text(32)
    return body + _base62(zlib.crc32(body.encode("ascii")), 6)


def is_wellformed(secret: str) -> bool:
    """Return whether a text is a secret of ours by its checksum alone."""
    body, checksum = secret[:-6], secret[-6:]
    return secret.isascii() and checksum == _base62(zlib.crc32(body.encode("ascii")), 6)


def hash_secret(secret: str) -> str:
    """Return what is stored of a secret: 64 hex digits."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def create_key(
    user: User,
    label: str = "",
    *,
    company_id: str | None = None,
    expires_at: datetime | None = None,
    scope: str = FULL,
) -> tuple[ApiKey, str]:
    """Return a new key and its secret, which nobody can show again. Commits.

    Raises: InvalidParams for a label that cannot be stored or an expiry in the past
    """
    problems = {}
    if len(label) > 100 or not storable(label):
        problems["label"] = "Use a label of at most 100 characters."
    if expires_at is not None and expires_at <= utcnow():
        problems["expires"] = "Choose a day in the future."
    if problems:
        raise InvalidParams(problems)
    secret = new_secret()
    key = ApiKey(
        key_id=ID_PREFIX + random_text(20),
        secret_hash=hash_secret(secret),
        label=label.strip(),
        user_id=user.id,
        company_id=company_id or key_company(user),
        expires_at=expires_at,
        scope=scope,
    )
    db.session.add(key)
    audit(user, "API key created", key.label or key.key_id, company_id=key.company_id)
    db.session.commit()
    return key, secret


def find_key(key_id: str, secret: str) -> ApiKey | None:
    """Return the key if the secret is its own, it works today and so does its user."""
    key = None
    if storable(key_id):
        key = db.session.scalar(select(ApiKey).where(ApiKey.key_id == key_id))
    right = hmac.compare_digest(key.secret_hash if key else "0" * 64, hash_secret(secret))
    if key is None or not right or not key.works_at(utcnow()) or not key.user.is_active:
        return None
    return key


def touch_key(key: ApiKey) -> None:
    """Keep when the key was last used, to the minute, in a transaction of its own."""
    now = utcnow()
    if key.last_used_at is not None and now - key.last_used_at < TOUCH_EVERY:
        return
    # One request at a time: each holds a connection already, and many that wait for a second one
    # would empty the pool and wait for each other.
    if not _touching.acquire(blocking=False):
        return
    try:
        with db.engine.begin() as connection:
            connection.execute(update(ApiKey).where(ApiKey.id == key.id).values(last_used_at=now))
    finally:
        _touching.release()


def revoke_key(key: ApiKey) -> None:
    """End the key and every session a program opened with it; the caller commits."""
    now = utcnow()
    key.revoked_at = key.revoked_at or now
    sessions = update(LoginSession).where(LoginSession.api_key_id == key.id)
    db.session.execute(sessions.where(LoginSession.revoked_at.is_(None)).values(revoked_at=now))


def _base62(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, rest = divmod(number, 62)
        digits = ALPHABET[rest] + digits
    return digits
