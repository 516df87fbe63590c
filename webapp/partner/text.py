"""Foreign text made fit to store and to show: one line, no control characters, bounded length."""

from __future__ import annotations

import unicodedata

_JOINERS = {"\u200c", "\u200d"}


def one_line(text: object, cap: int) -> str:
    """Return the text on one line of at most `cap` characters; "" for what is no text.

    Control characters and line breaks become spaces, lone surrogates U+FFFD; invisible format
    characters (direction marks among them) go, for they make a line read as something else.
    """
    if not isinstance(text, str):
        return ""
    kept = text[: 4 * cap]
    if not (kept.isascii() and kept.isprintable()):
        kept = "".join(_shown(character) for character in kept)
    line = " ".join(kept.split())
    return line if len(line) <= cap else line[: cap - 1].rstrip() + "…"


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if category in {"Cc", "Zl", "Zp"}:
        return " "
    if category == "Cs":
        return "\ufffd"
    if category == "Cf" and character not in _JOINERS:
        return ""
    return character
