"""Links that let somebody in once: to set a forgotten password, to confirm an address.

Nothing is stored: a link is signed, for one purpose, and ends when what it changes has changed.
"""

from __future__ import annotations

from itsdangerous import BadData, URLSafeTimedSerializer

from webapp.accounts.models import User
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.lib.texts import lookup_id
from webapp.security import derived_key, fingerprint, secret_keys

RESET, CONFIRM = "set a password", "confirm an address"
GOOD_FOR_S = {RESET: 24 * 3600, CONFIRM: 7 * 24 * 3600}
GONE = "This link does not work any more. Ask for a new one."


def make_link(purpose: str, user: User) -> str:
    """Return the token of a link for a user."""
    return _signer(purpose).dumps([user.id, _state(user)])


def read_link(purpose: str, token: str) -> User:
    """Return the user a link is for; raises NotFound where it is old, used or not ours."""
    try:
        user_id, state = _signer(purpose).loads(token, max_age=GOOD_FOR_S[purpose])
    except (BadData, ValueError):
        raise NotFound(GONE) from None
    user = db.session.get(User, lookup_id(user_id))
    if user is None or not user.is_active or state != _state(user):
        raise NotFound(GONE)
    return user


def _state(user: User) -> str:
    """Return what changes with the password, its sessions, the address and its confirmation."""
    parts = (user.password_hash, str(user.session_epoch), user.email, user.confined_to or "")
    return fingerprint("\n".join(parts))[:32]


def _signer(purpose: str) -> URLSafeTimedSerializer:
    # The library takes the newest key last.
    keys = [derived_key(key, "account links") for key in reversed(secret_keys())]
    return URLSafeTimedSerializer(keys, salt=purpose)
