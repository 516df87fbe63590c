"""Passwords: the rule, the hash (argon2id), a check that takes as long for unknown users."""

from __future__ import annotations

import threading
import unicodedata
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MIN_LENGTH = 10
MAX_LENGTH = 512
# The estimate looks at so much of a password; it takes longer the longer that is.
LOOKED_AT = 72
# Of zxcvbn's 0 to 4: from here on a million guesses do not find it.
STRONG_ENOUGH = 2

# 19 MiB and two passes: OWASP's setting for servers where many may sign in at once.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# So many at a time in a process; the others wait their turn, and memory and processors stay free.
HASHES_AT_ONCE = 4
_turns = threading.BoundedSemaphore(HASHES_AT_ONCE)


def password_problem(password: str, email: str = "") -> str | None:
    """Return the sentence that says why a password cannot be used, None where it can.

    email: its owner's, whose parts are the first guesses
    """
    if len(password) < MIN_LENGTH:
        return f"Use a password of at least {MIN_LENGTH} characters."
    if len(password) > MAX_LENGTH:
        return f"Use a password of at most {MAX_LENGTH} characters."
    # Its lists are loaded when the first password is chosen, not by every worker.
    from zxcvbn import zxcvbn

    guesses = [email, *email.replace("@", ".").split(".")]
    if zxcvbn(password[:LOOKED_AT], user_inputs=guesses)["score"] < STRONG_ENOUGH:
        return "This password is one of the first to be guessed. Use several unrelated words."
    return None


def hash_password(password: str) -> str:
    """Return the hash to store; it names its own algorithm, settings and salt."""
    with _turns:
        return _hasher.hash(_normal(password))


def password_matches(stored: str | None, password: str) -> bool:
    """Return whether the password is the stored one; None costs the same time and is False."""
    try:
        with _turns:
            _hasher.verify(stored or _nobodys_hash(), _normal(password))
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


def needs_rehash(stored: str) -> bool:
    """Return whether the hash was made with settings since changed."""
    return _hasher.check_needs_rehash(stored)


@lru_cache(maxsize=1)
def _nobodys_hash() -> str:
    return _hasher.hash("nobody has this password")


def _normal(password: str) -> bytes:
    # The same letters typed on another keyboard may arrive composed differently. A form or JSON
    # text may also hold half of a surrogate pair, which is a wrong password and not an error.
    return unicodedata.normalize("NFKC", password[: MAX_LENGTH + 1]).encode("utf-8", "replace")
