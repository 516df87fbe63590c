"""Values as the partner writes them, made fit to use: lines of text, ids, moments."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

WORD = re.compile(r"[\x21-\x7e]{1,200}")
_JOINERS = {"\u200c", "\u200d"}
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d{1,7})?(?:Z|[+-](?:[01]\d|2[0-3]):\d\d)",
    re.ASCII,
)
_USUAL_MOMENTS = re.compile(r"(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,7})?Z ?)*", re.ASCII)


def one_line(text: object, cap: int) -> str:
    """Return the text on one line of at most `cap` characters; "" for what is no text.

    Control characters and line breaks become spaces, lone surrogates U+FFFD; invisible format
    characters (direction marks among them) go, for they make a line read as something else.
    """
    if not isinstance(text, str):
        return ""
    kept = text[: 4 * cap]
    if not (kept.isascii() and kept.isprintable()):
        kept = "".join(_shown_character(character) for character in kept)
    line = " ".join(kept.split())
    return line if len(line) <= cap else line[: cap - 1].rstrip() + "…"


def _shown_character(character: str) -> str:
    category = unicodedata.category(character)
    if category in {"Cc", "Zl", "Zp"}:
        return " "
    if category == "Cs":
        return "\ufffd"
    if category == "Cf" and character not in _JOINERS:
        return ""
    return character


def id_text(value: Any) -> str:
    """Return an id as text: whole numbers and words only, "" for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**40 else ""
    text = value.strip() if isinstance(value, str) else ""
    return text if WORD.fullmatch(text) else ""


def to_partner(moment: datetime) -> str:
    """Return an aware moment as `2024-01-01T00:00:00.000Z`; what is below a millisecond is cut."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone cannot be sent to the partner")
    utc = moment.astimezone(UTC)
    return (
        f"{utc.year:04}-{utc.month:02}-{utc.day:02}T{utc.hour:02}:{utc.minute:02}:{utc.second:02}"
        f".{utc.microsecond // 1000:03}Z"
    )


def from_partner(text: object) -> datetime | None:
    """Return the aware UTC moment (zero to seven fraction digits), None for any other value."""
    if not isinstance(text, str) or _MOMENT.fullmatch(text) is None:
        return None
    try:
        # Written in C: a search may bring 5,000 dates. It cuts the seventh digit as we do.
        moment = datetime.fromisoformat(text)
        return moment if text[-1] == "Z" else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def created_moments(texts: list[Any]) -> list[datetime] | None:
    """Return moments as `from_partner`, None where one is none; a read brings 5,000 of them."""
    try:
        usual = _USUAL_MOMENTS.fullmatch(" ".join(texts)) is not None
        read: Callable[[str], datetime | None] = datetime.fromisoformat if usual else from_partner
        moments = list(map(read, texts))
    except (TypeError, ValueError):
        return None
    known = [moment for moment in moments if moment]
    return known if len(known) == len(moments) else None


def is_never(value: object) -> bool:
    """Say whether a lastLogin means "never": missing, null, empty, year 1, or epoch 0.

    Source: partner guide, "Dates": imported accounts carry 0001-01-01T00:00:00Z and timestamp 0
    """
    if value is None or value == "" or (value == 0 and not isinstance(value, bool)):
        return True
    moment = from_partner(value)
    if moment is None:
        return isinstance(value, str) and value.startswith(("0000-", "0001-"))
    return moment.year <= 1 or moment == datetime(1970, 1, 1, tzinfo=UTC)
