"""Limits on tries: per account and address, wider ones per address and per account.

Counted in Redis for all web processes together. While Redis is away each process counts for
itself, so that an outage is never a chance to guess.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import cast

from flask import Flask, current_app, request
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter, RateLimiter
from redis.exceptions import RedisError

from webapp.errors import TooMany
from webapp.extensions import QUICK_S
from webapp.security import fingerprint

Question = Callable[[RateLimiter, RateLimitItem, str], None]

log = logging.getLogger(__name__)

# One address may hold an office, one account may be tried from many addresses.
PER_ADDRESS = 30
PER_ACCOUNT = 10
PREFIX = "sign-in:"
_own_count = FixedWindowRateLimiter(MemoryStorage())


def init_app(app: Flask) -> None:
    """Give the application its counts of tries; they wait for Redis a second at most."""
    uri = app.config.setdefault("TRIES_STORAGE_URI", _storage_uri(app.config["REDIS_URL"]))
    patience = {} if uri.startswith("memory:") else {"socket_timeout": QUICK_S}
    storage = cast("Storage", storage_from_string(uri, **patience))
    app.extensions["tries"] = FixedWindowRateLimiter(storage)


def _storage_uri(redis_url: str) -> str:
    """Return the URL as the library spells it: a socket needs `redis+unix://`."""
    return redis_url.replace("unix://", "redis+unix://", 1) if "unix://" in redis_url else redis_url


def count_try(account: str) -> None:
    """Count a try before the password is looked at, so that tries side by side all count.

    Raises: TooMany
    """
    limit, address = _limit(), _address()
    for wider, name in _wider(limit, account, address):
        _ask(_refuse_if_spent, wider, name)
    _ask(_hit, limit, _pair(account, address))


def count_wrong(account: str) -> None:
    """Count a wrong password against its address and its account as a whole."""
    limit, address = _limit(), _address()
    for wider, name in _wider(limit, account, address):
        _ask(_count, wider, name)


def forget_tries(account: str) -> None:
    """Forget the tries of an account from this address after a right password."""
    _ask(_clear, _limit(), _pair(account, _address()))


def count_failure(account: str) -> None:
    """Count a wrong key or secret; right ones are never counted, nobody guesses 190 bits.

    Per address too, where each try names another key; apart from people's tries, so that a program
    gone wild keeps nobody of its office from signing in.
    Raises: TooMany
    """
    limit, address = _limit(), _address()
    wider, name = _times(limit, PER_ADDRESS), f"{PREFIX}keys:{address}"
    _ask(_refuse_if_spent, wider, name)
    _ask(_hit, limit, _pair(account, address))
    _ask(_count, wider, name)


def _count(rates: RateLimiter, limit: RateLimitItem, name: str) -> None:
    rates.hit(limit, name)


def _clear(rates: RateLimiter, limit: RateLimitItem, name: str) -> None:
    rates.clear(limit, name)


def _hit(rates: RateLimiter, limit: RateLimitItem, name: str) -> None:
    if not rates.hit(limit, name):
        raise _too_many(rates, limit, name)


def _refuse_if_spent(rates: RateLimiter, limit: RateLimitItem, name: str) -> None:
    if not rates.test(limit, name):
        raise _too_many(rates, limit, name)


def _too_many(rates: RateLimiter, limit: RateLimitItem, name: str) -> TooMany:
    reset_at = rates.get_window_stats(limit, name).reset_time
    wait_s = max(1, round(reset_at - time.time() + 0.5))
    return TooMany(
        f"Too many tries. Try again in {wait_s} seconds.",
        retry_after_s=wait_s,
        quota=(limit.amount, limit.get_expiry()),
    )


def _ask(question: Question, limit: RateLimitItem, name: str) -> None:
    try:
        question(current_app.extensions["tries"], limit, name)
    except (RedisError, StorageError):
        log.warning("Redis is away; tries are counted by this process alone")
        question(_own_count, limit, name)


def _limit() -> RateLimitItem:
    return parse(current_app.config.get("SIGN_IN_TRIES") or "10 per minute")


def _wider(limit: RateLimitItem, account: str, address: str) -> list[tuple[RateLimitItem, str]]:
    return [
        (_times(limit, PER_ADDRESS), f"{PREFIX}address:{address}"),
        (_times(limit, PER_ACCOUNT), f"{PREFIX}account:{_short(account)}"),
    ]


def _times(limit: RateLimitItem, factor: int) -> RateLimitItem:
    return type(limit)(limit.amount * factor, limit.multiples)


def _pair(account: str, address: str) -> str:
    return f"{PREFIX}try:{_short(account)}:{address}"


def _address() -> str:
    return request.remote_addr or "unknown"


def _short(account: str) -> str:
    # A person may have typed the password into the wrong field: Redis gets a fingerprint only.
    return fingerprint(account.strip().lower())[:32]
