"""What `make docs` adds to the pages of this folder: pages of the project that stand above it.

Links between them are relative to the files, as everywhere else, so they are turned here.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
ABOVE = ("README.md", "CHANGELOG.md", "DECISIONS.md", "CONTRIBUTING.md", "SECURITY.md",
         "CODE_OF_CONDUCT.md", "clients/python/README.md")  # fmt: skip
# Pages that a search shows last. A title counts a thousand times as much as text, so what has to
# come behind all text counts a thousandth.
LAST = ("project/DECISIONS.md", "project/CHANGELOG.md", "project/CONTRIBUTING.md", "sandbox.md",
        "performance.md", "adding-a-kind.md")  # fmt: skip
# A link or the source of a picture, outside of code.
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
SOURCE = re.compile(r'src="(?!https?:)([^"]+)"')


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from above, each at project/ and its path."""
    for name in ABOVE:
        text = (ROOT / name).read_text("utf-8")
        files.append(File.generated(config, f"project/{name}", content=text))
    return files


def on_page_markdown(text: str, page: Any, **_: Any) -> str:
    """Turn links from where the file stands to where the pages are; what is no page is no link."""
    here = page.file.src_uri
    page.meta["search"] = {"boost": 0.001 if here in LAST else 1.0}
    file = here.removeprefix("project/") if here.startswith("project/") else f"docs/{here}"

    def place(link: str) -> str | None:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(file), link))
        if target.startswith("docs/") and (ROOT / target).is_file():
            target = target.removeprefix("docs/")
        elif target in ABOVE:
            target = f"project/{target}"
        else:
            return None
        return posixpath.relpath(target, posixpath.dirname(here) or ".")

    def turned(found: re.Match[str]) -> str:
        words, link, anchor = found[1], found[2], found[3] or ""
        target = place(link)
        return words if target is None else f"[{words}]({target}{anchor})"

    text = SOURCE.sub(lambda found: f'src="{place(found[1]) or found[1]}"', text)
    return LINK.sub(turned, text)
