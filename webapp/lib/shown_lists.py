"""Lists small enough to be read whole, shown a page at a time and found by words.

What may grow without bound is paged by the database instead, see `keyset` and `engine.results`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

from flask import request

Row = TypeVar("Row")
PER_PAGE = 50
# Up to so many rows the eye is quicker than a search.
FEW = 10
LONGEST_WORDS = 200


@dataclass(frozen=True)
class ShownList(Generic[Row]):
    """One page of a list, and where it stands."""

    rows: Sequence[Row]
    words: str
    page: int
    pages: int
    matching: int
    total: int
    # Where several lists stand on one page: this one's name, and what the address says of others.
    name: str
    others: Mapping[str, str]

    @property
    def is_long(self) -> bool:
        """Return whether it is worth a search."""
        return self.total > FEW or bool(self.words)

    def link(self, page: int) -> str:
        """Return the query of another page of the same list; other lists stay as they are."""
        return self._query({"q": self.words, "page": str(page) if page > 1 else ""})

    @property
    def whole(self) -> str:
        """Return the query of the list without a search."""
        return self._query({})

    def _query(self, of_list: dict[str, str]) -> str:
        mine = {self.name + name: value for name, value in of_list.items() if value}
        return f"?{urlencode({**self.others, **mine})}{self.name and f'#{self.name}'}"


def shown_list(
    rows: Sequence[Row],
    text_of: Callable[[Row], str],
    name: str = "",
    per_page: int = PER_PAGE,
) -> ShownList[Row]:
    """Return the page that `q` and `page` of the address ask for; nonsense there counts as none.

    text_of: what a row is found by; each word has to stand in it, in any case
    name:    of a list that is not alone on its page; stands before `q` and `page`, names its card
    """
    asked = request.args
    words = asked.get(f"{name}q", "")[:LONGEST_WORDS].strip()
    parts = words.casefold().split()
    found = [row for row in rows if all(part in text_of(row).casefold() for part in parts)]
    pages = max(-(-len(found) // per_page), 1)
    number = asked.get(f"{name}page", "")
    page = int(number) if number.isascii() and number.isdigit() and len(number) < 9 else 1
    page = min(max(page, 1), pages)
    here = found[(page - 1) * per_page : page * per_page]
    own = {f"{name}q", f"{name}page"}
    others = {key: value for key, value in asked.items() if key not in own} if name else {}
    return ShownList(here, words, page, pages, len(found), len(rows), name, others)
