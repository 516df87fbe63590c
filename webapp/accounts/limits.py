"""Limits on tries: per account and address, wider ones per address and per account.

A device that has signed in to an account before carries a signed cookie that says so; its tries are
counted by themselves, so that strangers who guess lock nobody out. An IPv6 address counts as its
/64, of which one customer has all.

Counted in Redis for all web processes together. While Redis is away each process counts for
itself, so that an outage is never a chance to guess.
"""

from __future__ import annotations

import logging
import secrets
import time
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, cast

from flask import Response, after_this_request, current_app, request
from itsdangerous import BadData, URLSafeSerializer
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter
from redis.exceptions import RedisError

from webapp.accounts.models import User
from webapp.databases import reason_of
from webapp.errors import TooMany
from webapp.extensions import QUICK_S, quick_redis
from webapp.security import fingerprint, signing_keys

log = logging.getLogger(__name__)

# One address may hold an office, one account may be tried from many addresses.
PER_ADDRESS = 30
PER_ACCOUNT = 10
PREFIX = "sign-in:"
# Of mails that somebody who is not signed in can have sent, to one address and from one address.
MAILS_TO, MAILS_FROM = parse("5 per hour"), parse("30 per hour")
# Of a million codes three are right at a time.
CODES = parse("20 per hour")
DEVICE_COOKIE = "device"
DEVICE_KEPT_S = 400 * 24 * 3600
ACCOUNTS_PER_DEVICE = 8
_own_count = FixedWindowRateLimiter(MemoryStorage())


def _limiter() -> FixedWindowRateLimiter:
    """Return the application's counts of tries; they wait for Redis a second at most.

    Made when the first is counted: the library loads each client of Redis that is installed, which
    commands and workers never need.
    """
    made: FixedWindowRateLimiter | None = current_app.extensions.get("tries")
    if made is None:
        # The library's name of a socket: `redis+unix://`.
        redis_url = current_app.config["REDIS_URL"].replace("unix://", "redis+unix://", 1)
        uri = current_app.config.get("TRIES_STORAGE_URI", redis_url)
        patience = {} if uri.startswith("memory:") else {"socket_timeout": QUICK_S}
        storage = cast("Storage", storage_from_string(uri, **patience))
        made = current_app.extensions["tries"] = FixedWindowRateLimiter(storage)
    return made


def count_try(account: str) -> None:
    """Count a try before the password is looked at, so that tries side by side all count.

    Raises: TooMany
    """
    for limit, name in _wider_counts(account):
        _demand_room("test", limit, name)
    _demand_room("hit", _sign_in_limit(), _account_here(account))


def count_wrong(account: str) -> None:
    """Count a wrong password against its address and its account as a whole."""
    for limit, name in _wider_counts(account):
        _ask_limit("hit", limit, name)


def forget_tries(account: str) -> None:
    """Forget the tries of an account from this address, or device, after a right password."""
    _ask_limit("clear", _sign_in_limit(), _account_here(account))


def count_request(account: str) -> None:
    """Count a mail that somebody has sent to an account's address.

    Raises: TooMany
    """
    _demand_room("hit", MAILS_FROM, f"{PREFIX}mails-from:{_network()}")
    _demand_room("hit", MAILS_TO, f"{PREFIX}mails-to:{_hashed(account)}")


def count_code(user: User) -> None:
    """Count a code of a second factor, from everywhere together; a known device's by themselves.

    Raises: TooMany
    """
    _demand_room("hit", CODES, _codes_of(user))


def forget_codes(user: User) -> None:
    """Forget the codes that were counted, after a right one."""
    _ask_limit("clear", CODES, _codes_of(user))


def _codes_of(user: User) -> str:
    return f"{PREFIX}code:{user.id}:{_known_device(user.email) or 'anywhere'}"


def remember_device(account: str) -> None:
    """Let this browser be known for the account: it has just signed in to it."""
    device, accounts = _read_device()
    known = [_hashed(account), *(one for one in accounts if one != _hashed(account))]
    value = _signer().dumps([device or secrets.token_hex(16), known[:ACCOUNTS_PER_DEVICE]])

    @after_this_request
    def set_cookie(response: Response) -> Response:
        response.set_cookie(
            DEVICE_COOKIE,
            value if isinstance(value, str) else value.decode("ascii"),
            max_age=DEVICE_KEPT_S,
            path="/login",
            httponly=True,
            samesite="Lax",
            secure=bool(current_app.config.get("COOKIE_SECURE")),
        )
        return response


def _known_device(account: str) -> str | None:
    """Return the number of this browser if it has signed in to the account before."""
    device, accounts = _read_device()
    return device if _hashed(account) in accounts else None


def _read_device() -> tuple[str, list[str]]:
    try:
        device, accounts = _signer().loads(request.cookies.get(DEVICE_COOKIE, ""))
    except (BadData, ValueError):
        return "", []
    return str(device), [str(one) for one in accounts]


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(signing_keys("known device"))


def count_failure(account: str) -> None:
    """Count a wrong key or secret; right ones are never counted, nobody guesses 190 bits.

    Per address too, where each try names another key; apart from people's tries, so that a program
    gone wild keeps nobody of its office from signing in.
    Raises: TooMany
    """
    wider, name = _wider_limit(PER_ADDRESS), f"{PREFIX}keys:{_network()}"
    _demand_room("test", wider, name)
    _demand_room("hit", _sign_in_limit(), _account_here(account))
    _ask_limit("hit", wider, name)


def _demand_room(question: str, limit: RateLimitItem, name: str) -> None:
    if _ask_limit(question, limit, name):
        return
    wait_s = max(
        1, round(_ask_limit("get_window_stats", limit, name).reset_time - time.time() + 0.5)
    )
    raise TooMany(
        f"Too many tries. Try again in {wait_s} seconds.",
        retry_after_s=wait_s,
        quota=(limit.amount, limit.get_expiry()),
    )


def _ask_limit(question: str, limit: RateLimitItem, name: str) -> Any:
    """Return what the counts of all processes say; while Redis is away, those of this one."""
    try:
        with quick_redis().noticing():
            return getattr(_limiter(), question)(limit, name)
    except (RedisError, StorageError) as error:
        cause = error.storage_error if isinstance(error, StorageError) else error
        log.warning("tries are counted by this process alone: %s", reason_of(cause))
        return getattr(_own_count, question)(limit, name)


def _sign_in_limit() -> RateLimitItem:
    return parse(current_app.config.get("SIGN_IN_TRIES") or "10 per minute")


def _wider_limit(factor: int) -> RateLimitItem:
    limit = _sign_in_limit()
    return type(limit)(limit.amount * factor, limit.multiples)


def _wider_counts(account: str) -> list[tuple[RateLimitItem, str]]:
    if _known_device(account):
        return []
    return [
        (_wider_limit(PER_ADDRESS), f"{PREFIX}address:{_network()}"),
        (_wider_limit(PER_ACCOUNT), f"{PREFIX}account:{_hashed(account)}"),
    ]


def _account_here(account: str) -> str:
    return f"{PREFIX}try:{_hashed(account)}:{_known_device(account) or _network()}"


def _network() -> str:
    try:
        address = ip_address((request.remote_addr or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ip_network((address, 64), strict=False))
    return str(address)


def _hashed(account: str) -> str:
    # A person may have typed the password into the wrong field: Redis gets a fingerprint only.
    return fingerprint(account.strip().lower())[:32]
