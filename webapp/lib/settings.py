"""Types of settings: what their texts must be, and in which unit a number counts."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parseaddr
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import limits
from pydantic import AfterValidator, BeforeValidator, Field
from redis.connection import parse_url
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from webapp.mail import parse_smtp_url


@dataclass(frozen=True)
class Unit:
    """What a number counts, in words for the page of settings."""

    name: str


def parsed_by(
    parse: Callable[[str], Any], sentence: str, *errors: type[Exception]
) -> AfterValidator:
    """Return the check of a text that, unless it is empty, has to be read without an error.

    sentence: with `{!r}` where the text may be quoted, most hold a password; empty: the error's own
    """
    bad: tuple[type[Exception], ...] = (ValueError, *errors)

    def check(text: str) -> str:
        try:
            if text:
                parse(text)
        except bad as error:
            raise ValueError(sentence.format(text) or str(error)) from None
        return text

    return AfterValidator(check)


def roles_by_value(text: str) -> dict[str, str]:
    """Return which value of a claim is which role, read from `staff=viewer, analysts=expert`."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    found = {value.strip(): role.strip() for value, _, role in pairs}
    if not set(found.values()) <= {"viewer", "expert", "admin"}:
        raise ValueError
    return found


def check_outside_url(template: str) -> str:
    """Return the URL, or template of one, if it may be used: https, or plain http to loopback."""
    parts = urlsplit(template.replace("{namespace}", "namespace").replace("{data_center}", "us1"))
    loopback = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    is_safe = (parts.scheme == "https" and parts.hostname) or (parts.scheme == "http" and loopback)
    if template and not is_safe:
        raise ValueError("must be https://…; plain http is accepted for loopback hosts only")
    return template


FOLDER_SCHEMES = ("s3://", "gs://", "az://", "file:///")
DATA_CENTERS = ("us1", "eu1", "au1", "eu2", "cn1", "global", "ru1", "il1")


def check_data_center(name: str) -> str:
    """Return the name of a data centre that the partner has."""
    if name.strip().lower() not in DATA_CENTERS:
        raise ValueError(f"must be one of {', '.join(DATA_CENTERS)}")
    return name.strip().lower()


def check_proxy(url: str) -> str:
    """Return a proxy's URL; never quoted in an error, for it may hold a password."""
    parts = urlsplit(url)
    if url and not (parts.scheme in {"http", "https"} and parts.hostname):
        raise ValueError("must be http://host:port, or https://…")
    return url


def check_hosts(listed: str) -> str:
    """Return a text of host names with commas, as a request names them but for the port."""
    for name in (name.strip() for name in listed.split(",")):
        if ":" in name:
            ip_address(name)
        elif name and not re.fullmatch(r"\.?[\w-]+(\.[\w-]+)*", name, re.ASCII):
            raise ValueError
    return listed


def check_public_url(url: str) -> str:
    """Return the address that links begin with."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError
    return url


def check_sender(text: str) -> str:
    """Return whom mails are from: an address, with a name before it or without."""
    if not text.isprintable() or not re.fullmatch(r"[^@\s]+@[^@\s]+", parseaddr(text)[1]):
        raise ValueError
    return text


def check_folders(listed: str) -> str:
    """Return beginnings of folder URLs with spaces between; any other would allow no folder."""
    if not all(url.startswith(FOLDER_SCHEMES) for url in listed.split()):
        raise ValueError
    return listed


def check_user_agent(text: str) -> str:
    """Return what may stand in a header."""
    if not ((text.isascii() and text.isprintable()) or not text):
        raise ValueError("must be printable ASCII, in one line")
    return text


def check_files_url(url: str) -> str:
    """Return the URL without a last slash; never quoted in an error, for it may hold a secret."""
    parts = urlsplit(url)
    if "@" in url or ":" in parts.netloc or "?" in url or "#" in url:
        raise ValueError(
            "names no user, key or option; those come from the store's own environment, "
            "such as AWS_ACCESS_KEY_ID"
        )
    is_folder = parts.scheme == "file" and not parts.netloc and parts.path.strip("/")
    is_bucket = parts.scheme in {"s3", "gs", "az"} and parts.netloc
    if url and not is_folder and not is_bucket:
        raise ValueError(
            "must be one of s3://bucket/prefix, gs://…, az://container/…, file:///folder"
        )
    return url.rstrip("/")


def check_database_url(url: str) -> str:
    """Return a database's URL; never quoted in an error, for it may hold a password."""
    try:
        make_url(standard_scheme(url) or "sqlite://").get_dialect().import_dbapi()
    except (ArgumentError, ValueError):
        raise ValueError(
            "is not a database URL; write one like postgresql://user:password@host/name"
        ) from None
    except ImportError as error:
        raise ValueError(f"needs a driver that is not installed: {error.name}") from None
    return url


def standard_scheme(url: str) -> str:
    """Return a database's URL as SQLAlchemy takes it: `postgres://` is an old scheme."""
    return "postgresql://" + url[11:] if url.startswith("postgres://") else url


DatabaseUrl = Annotated[str, AfterValidator(check_database_url)]
DataCenter = Annotated[str, AfterValidator(check_data_center)]
Folders = Annotated[
    str, parsed_by(check_folders, "{!r} is no list like s3://bucket/reports file:///srv/reports")
]
Hosts = Annotated[
    str,
    parsed_by(
        check_hosts,
        "{!r} is no list of host names; write reports.example.com, without https://, port or path",
    ),
]
PublicUrl = Annotated[
    str,
    parsed_by(check_public_url, "{!r} is no address; write one like https://reports.example.com"),
]
Sender = Annotated[
    str, parsed_by(check_sender, "{!r} is no mail address; write one like reports@example.com")
]
FilesUrl = Annotated[str, AfterValidator(check_files_url)]
OutsideUrl = Annotated[str, AfterValidator(check_outside_url)]
Proxy = Annotated[str, AfterValidator(check_proxy)]
UserAgent = Annotated[str, AfterValidator(check_user_agent)]
CaFile = Annotated[
    str,
    parsed_by(
        lambda path: ssl.create_default_context(cafile=path),
        "is no readable file of certificates (PEM)",
        OSError,
    ),
]
Limit = Annotated[str, parsed_by(limits.parse, "{!r} is no limit; write one like 10 per minute")]
RedisUrl = Annotated[
    str, parsed_by(parse_url, "is not a Redis URL; write one like redis://127.0.0.1:6379/0")
]
Roles = Annotated[
    str, parsed_by(roles_by_value, "is no list like staff=viewer, analysts=expert, heads=admin")
]
SmtpUrl = Annotated[str, parsed_by(parse_smtp_url, "")]
Zone = Annotated[
    str,
    parsed_by(
        ZoneInfo, "{!r} is not a time zone; write one like Europe/Berlin", ZoneInfoNotFoundError
    ),
]
LowerCase = BeforeValidator(lambda raw: raw.strip().lower() if isinstance(raw, str) else raw)
Flag = Annotated[bool, LowerCase]
Days = Annotated[float, Unit("days")]
Months = Annotated[int, Unit("months"), Field(ge=0, le=1200)]
Seconds = Annotated[float, Unit("seconds")]
PerSecond = Annotated[float, Unit("per second")]
