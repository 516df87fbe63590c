"""How the text of a setting becomes its value: each of these says what is wrong with it, or not.

They raise ValueError with the end of a sentence that begins with the setting's name. URLs may hold
a password and are never quoted in it.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def text(raw: str) -> str:
    """Return the text as it is."""
    return raw


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of whole numbers, both ends included."""

    def parse(raw: str) -> int:
        try:
            value = int(raw)
        except ValueError:
            raise ValueError(f"{raw!r} is not a whole number") from None
        if not low <= value <= high:
            raise ValueError(f"{value} is outside {low} to {high}")
        return value

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """Return a reader of numbers, both ends included."""

    def parse(raw: str) -> float:
        try:
            value = float(raw)
        except ValueError:
            raise ValueError(f"{raw!r} is not a number") from None
        if not low <= value <= high:
            raise ValueError(f"{raw} is outside {low:g} to {high:g}")
        return value

    return parse


def flag(raw: str) -> bool:
    """Return whether a text says yes or no."""
    lowered = raw.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError(f"{raw!r} is neither true nor false")


def one_of(*words: str) -> Callable[[str], str]:
    """Return a reader of one of these words, in any case of letters."""

    def parse(raw: str) -> str:
        if raw.strip().lower() not in words:
            raise ValueError(f"{raw!r} is none of {', '.join(words)}")
        return raw.strip().lower()

    return parse


def zone(raw: str) -> str:
    """Return the name of a time zone that is known here."""
    try:
        ZoneInfo(raw)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{raw!r} is not a time zone; write one like Europe/Berlin") from None
    return raw


def partner_url(raw: str) -> str:
    """Return the template unchanged if it may be used: https, or plain http to a loopback host."""
    if not raw:
        return raw
    parts = urlsplit(raw.replace("{namespace}", "namespace").replace("{data_center}", "us1"))
    if parts.scheme == "https" and parts.hostname:
        return raw
    loopback = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if parts.scheme == "http" and loopback:
        return raw
    raise ValueError("must be https://…; plain http is accepted for loopback hosts only")


def files_url(raw: str) -> str:
    """Return the URL without a last slash; never quoted in an error, for it may hold a secret."""
    parts = urlsplit(raw)
    if "@" in raw or ":" in parts.netloc or "?" in raw or "#" in raw:
        raise ValueError(
            "names no user, key or option; those come from the store's own environment, "
            "such as AWS_ACCESS_KEY_ID"
        )
    is_folder = parts.scheme == "file" and not parts.netloc and parts.path.strip("/")
    is_bucket = parts.scheme in {"s3", "gs", "az"} and parts.netloc
    if raw and not is_folder and not is_bucket:
        raise ValueError("is none of s3://bucket/prefix, gs://…, az://container/…, file:///folder")
    return raw.rstrip("/")


def spelled(url: str) -> str:
    """Return a database's URL as SQLAlchemy takes it: `postgres://` is an old spelling."""
    return (
        "postgresql://" + url.removeprefix("postgres://") if url.startswith("postgres://") else url
    )


def database(raw: str) -> str:
    """Return a database's URL unchanged; never quoted in an error, for it may hold a password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(spelled(raw) or "sqlite://").get_dialect().import_dbapi()
    except (ArgumentError, ValueError):
        raise ValueError(
            "is not a database URL; write one like postgresql://user:password@host/name"
        ) from None
    except ImportError as error:
        raise ValueError(f"needs a driver that is not installed: {error.name}") from None
    return raw


def redis(raw: str) -> str:
    """Return a Redis URL unchanged; never quoted in an error, for it may hold a password."""
    from redis.connection import parse_url

    try:
        if raw:
            parse_url(raw)
    except ValueError:
        raise ValueError("is not a Redis URL; write one like redis://127.0.0.1:6379/0") from None
    return raw


def tries(raw: str) -> str:
    """Return a limit unchanged: how often in which time."""
    from limits import parse

    try:
        parse(raw)
    except ValueError:
        raise ValueError(f"{raw!r} is no limit; write one like 10 per minute") from None
    return raw
