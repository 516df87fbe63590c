"""API keys: made, looked up, revoked. A secret is 190 random bits, so a plain SHA-256 keeps it.

Unlike a keyed hash it outlives any number of changes of SECRET_KEY. The prefix and the checksum let
scanners find a leaked secret without asking anybody: `pur_` + 32 letters and digits + 6 of CRC32.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import string
import threading
import time
import zlib
from base64 import b64decode
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, current_app, request
from sqlalchemy import Update, bindparam, func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import joinedload

from webapp.accounts.audit_log import audit
from webapp.accounts.companies import Scope, key_company
from webapp.accounts.models import ACTIVE, FULL, ApiKey, Company, LoginSession, Membership, User
from webapp.databases import reason_of
from webapp.errors import Conflict, InvalidParams, Unavailable
from webapp.extensions import db
from webapp.lib.coalescer import Coalescer, NotAnswered
from webapp.lib.moments import utcnow
from webapp.lib.texts import storable

log = logging.getLogger(__name__)

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
KEY_PREFIX = "pur_"
ID_PREFIX = "purk_"
# How exact "last used" is: a write for each request would make readers wait for writers.
TOUCH_EVERY = timedelta(minutes=1)
LOOKED_UP_TOGETHER = 100
# How long a program that sends a lot is believed without looking again: what is withdrawn ends
# within five seconds. So many keys are known at a time.
KEPT_S = 2.0
KEYS_KEPT = 10_000
_touching = threading.Lock()

# One small query instead of three rows read whole: programs send hundreds of requests a second.
_LOOK_UP = (
    select(
        ApiKey.id,
        ApiKey.secret_hash,
        ApiKey.expires_at,
        ApiKey.last_used_at,
        ApiKey.company_id,
        Company.name.label("company_name"),
        User.id.label("user_id"),
        User.email,
        User.is_operator,
        Membership.role,
    )
    .join(User, User.id == ApiKey.user_id)
    .join(Company, Company.id == ApiKey.company_id)
    .join(
        Membership,
        (Membership.user_id == ApiKey.user_id) & (Membership.company_id == ApiKey.company_id),
    )
    .where(
        ApiKey.key_id == bindparam("key_id"),
        ApiKey.revoked_at.is_(None),
        User.status == ACTIVE,
    )
)


def init_app(app: Flask) -> None:
    """Let the look-ups of this application's requests be done together."""
    app.config.setdefault("KEYS_KEPT_S", KEPT_S)
    app.extensions["key_lookups"] = Coalescer(_look_up_keys, most=LOOKED_UP_TOGETHER)
    # When each working key was asked for, and its row.
    app.extensions["keys_kept"] = {}


def random_text(length: int) -> str:
    """Return that many random letters and digits (5.95 bits each)."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def new_secret(prefix: str = KEY_PREFIX) -> str:
    """Return a fresh secret: prefix, 32 random characters, checksum of both."""
    body = prefix + random_text(32)
    checksum = zlib.crc32(body.encode("ascii"))
    return body + "".join(ALPHABET[checksum // 62**place % 62] for place in range(5, -1, -1))


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

    Raises: InvalidParams for a label that cannot be stored or an expiry in the past,
            Conflict where the user has as many keys as one may have
    """
    problems = {}
    if len(label) > 100 or not storable(label):
        problems["label"] = "Use a label of at most 100 characters."
    if expires_at is not None and expires_at <= utcnow():
        problems["expires"] = "Choose a day in the future."
    if problems:
        raise InvalidParams(problems)
    mine = select(func.count()).where(ApiKey.user_id == user.id, ApiKey.revoked_at.is_(None))
    works = (ApiKey.expires_at.is_(None)) | (ApiKey.expires_at > utcnow())
    most = current_app.config["KEYS_PER_USER_MOST"]
    if (db.session.scalar(mine.where(works)) or 0) >= most:
        raise Conflict(f"{most:,} keys work already, as many as a user may have: revoke one first.")
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


def basic_credentials(value: str) -> tuple[str, str] | None:
    """Return the key and the secret in the value of a Basic header, None where it is broken."""
    # Not `request.authorization`: in werkzeug 3.1 a letter outside ASCII is a ValueError there.
    try:
        decoded = b64decode(value.strip().encode("ascii"), validate=True).decode("utf-8")
    except ValueError:
        return None
    key_id, _, secret = decoded.partition(":")
    return key_id, secret


def look_up_key(key_id: str, secret: str, kept_s: float = 0.0) -> Any | None:
    """Return the row of `_LOOK_UP` if the secret is the key's own, and key and user work today.

    kept_s: how long ago that may have been seen; the secret is compared each time
    Raises: Unavailable where the database does not answer
    """
    kept: dict[str, tuple[float, Any]] = current_app.extensions["keys_kept"]
    now = time.monotonic()
    asked_at, row = kept.get(key_id, (0.0, None))
    if row is None or now - asked_at >= kept_s:
        row = _row_of_key(key_id) if storable(key_id) else None
        if len(kept) >= KEYS_KEPT:
            kept.clear()
        if row is not None:
            kept[key_id] = now, row
    right = hmac.compare_digest(row.secret_hash if row else "0" * 64, hash_secret(secret))
    if row is None or not right or (row.expires_at and row.expires_at <= utcnow()):
        return None
    return row


def _row_of_key(key_id: str) -> Any | None:
    lookups: Coalescer[str, Any] = current_app.extensions["key_lookups"]
    try:
        return lookups.ask(key_id)
    except NotAnswered:
        sentence = "The API key could not be looked up. Try again in a moment."
        raise Unavailable(sentence) from None


def _look_up_keys(key_ids: list[str]) -> list[Any]:
    """Return the row of each key, None for an unknown one, without a transaction around it.

    Requests that come together mostly have one key. The connection goes back at once: to hold one
    and wait for another is how a pool runs dry.
    """
    with db.engine.connect() as connection:
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        rows = {
            key_id: alone.execute(_LOOK_UP, {"key_id": key_id}).first() for key_id in set(key_ids)
        }
    return [rows[key_id] for key_id in key_ids]


def find_key(key_id: str, secret: str) -> ApiKey | None:
    """Return the key, with its user, if the secret is its own and both work today."""
    row = look_up_key(key_id, secret)
    return db.session.get(ApiKey, row.id, options=[joinedload(ApiKey.user)]) if row else None


def authenticate_ingest_key() -> Scope | None:
    """Return the scope of the API key this request brings, None where anything is unusual.

    The quick way in for programs that send a lot. Whoever it does not know takes the ordinary way,
    which also knows tokens, counts wrong secrets and finds the words for a refusal.
    """
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    given = basic_credentials(value) if scheme.lower() == "basic" else None
    row = look_up_key(*given, current_app.config["KEYS_KEPT_S"]) if given else None
    if given is None or row is None:
        return None
    if touch_key(row):
        # What is kept knows an older use.
        current_app.extensions["keys_kept"].pop(given[0], None)
    return Scope(
        user_id=row.user_id,
        company_id=row.company_id,
        company_name=row.company_name,
        email=row.email,
        role=row.role,
        is_operator=row.is_operator,
    )


def touch_key(key: Any) -> bool:
    """Keep when a key was last used, to the minute; return whether it was time to.

    key: an `ApiKey` or what `look_up_key` returned
    """
    now = utcnow()
    if key.last_used_at is not None and now - key.last_used_at < TOUCH_EVERY:
        return False
    return note_use(update(ApiKey).where(ApiKey.id == key.id).values(last_used_at=now))


def note_use(change: Update) -> bool:
    """Write down that a key or session is in use; return whether the database took it.

    Where it takes nothing, its disk being full, say, nobody is refused for it who only reads.
    """
    # One request at a time: each may hold a connection already, and many that wait for a second
    # one would empty the pool and wait for each other.
    if not _touching.acquire(blocking=False):
        return False
    try:
        with db.engine.begin() as connection:
            connection.execute(change)
    except SQLAlchemyError as error:
        log.warning("what is in use is not written down: %s", reason_of(error))
        return False
    finally:
        _touching.release()
    return True


def revoke_key(key: ApiKey) -> None:
    """End the key and every session a program opened with it; the caller commits."""
    now = utcnow()
    key.revoked_at = key.revoked_at or now
    # At once in this process; others have seen it two seconds ago at most.
    current_app.extensions["keys_kept"].pop(key.key_id, None)
    sessions = update(LoginSession).where(LoginSession.api_key_id == key.id)
    db.session.execute(sessions.where(LoginSession.revoked_at.is_(None)).values(revoked_at=now))
