"""Reading what strangers send: texts a database can store, IDs, emails, local addresses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from urllib.parse import urlsplit
from uuid import UUID

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# What begins a formula in one spreadsheet program or another.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_NIL = "00000000-0000-0000-0000-000000000000"
_EMAIL = re.compile(r"[^\s@<>\"(),:;\\\[\]]+@[^\s@<>\"(),:;\\\[\]]+")


def storable(text: str) -> bool:
    """Return whether both databases take the text: no NUL, no half of a surrogate pair."""
    return _UNSTORABLE.search(text) is None


def made_storable(text: str) -> str:
    """Return a text both databases take: without NUL, `?` for half of a surrogate pair."""
    return _UNSTORABLE.sub(lambda found: "" if found[0] == "\x00" else "?", text)


def safe_text(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(FORMULA_STARTS) else text


def plain(value: Decimal) -> str:
    """Return a decimal as people write it: no exponent, no zeros at the end of a fraction."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text


def counted(count: int, noun: str) -> str:
    """Return a number with what it counts: `1 row`, `1,200 rows`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith("y") else f"{count:,} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them: `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if names[1:] else "".join(names)


def as_id(text: object) -> str | None:
    """Return a UUID in its one spelling, None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        return str(UUID(text))
    except ValueError:
        return None


def lookup_id(text: object) -> str:
    """Return a UUID to look for; for anything else the nil UUID, which nothing has."""
    return as_id(text) or _NIL


def as_email(text: str) -> str | None:
    """Return the address lower-cased and trimmed, None where it cannot be one."""
    email = text.strip().lower()
    if len(email) > 254 or not storable(email) or not email.isprintable():
        return None
    return email if _EMAIL.fullmatch(email) else None


def local_path(target: str | None, fallback: str = "/") -> str:
    """Return a path of this site, or the fallback for anything a browser could take elsewhere.

    Browsers drop tabs and line ends and read a backslash as a slash, so `/\\evil.example` leaves.
    """
    if not target or not target.startswith("/") or target.startswith("//"):
        return fallback
    if "\\" in target or not target.isprintable():
        return fallback
    try:
        parts = urlsplit(target)
    except ValueError:
        return fallback
    return fallback if parts.scheme or parts.netloc else target
