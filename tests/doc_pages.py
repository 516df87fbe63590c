"""The pages of the documents, and the code in them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "clients" / "python"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("clients/*/*.md")])


def text_of(name: str) -> str:
    """Return the text of a page by its path."""
    return (ROOT / name).read_text("utf-8")


def fenced(text: str, language: str) -> list[str]:
    """Return the blocks of code of a language, those inside of lists too."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.M | re.S)
