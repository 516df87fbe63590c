"""The files of a load: where they are, what a person says about them, how they are written.

Tracks may come from a URL; its last good copy is used where the URL stays away.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

from flask import current_app
from urllib3.util import Retry

from webapp.errors import InvalidParams
from webapp.intake import (
    BadFile,
    Choices,
    DateOrder,
    Format,
    LoadRefused,
    Problem,
    detect,
    json_items,
)
from webapp.kinds.label_revenue.rows import FIELDS, Role, TrackRow, Unanswered, UserRow
from webapp.lib.public_addresses import PATIENT, Unfetchable, download

T = TypeVar("T", UserRow, TrackRow)
# What a load is doing, in words.
STAGES = {
    "streams": "Reading streams",
    "users": "Reading listeners",
    "tracks": "Reading tracks",
    "sums": "Adding up by month, listener and label",
}
ROWS_AT_ONCE = 500
MOST_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class Source:
    """One file to load: where it is, and what its sender calls it."""

    path: Path
    name: str


@dataclass(frozen=True)
class Options:
    """What a person says about the files; None where it is for the program to find out.

    from_month: the load's own month, from which on its terms and tracks hold
    repeated:   whether streams that stand already are skipped, or kept as further ones
    by_role:    what is said of one file alone, its columns among it
    """

    date_order: DateOrder | None = None
    separator: str | None = None
    decimal_mark: str | None = None
    encoding: str | None = None
    sheet: str | None = None
    skip_bad: bool = False
    rejected: Path | None = None
    from_month: date | None = None
    repeated: Literal["skip", "keep"] = "skip"
    by_role: Mapping[str, Choices] = field(default_factory=dict)

    @property
    def choices(self) -> Choices:
        """What is said of how the files are written."""
        return Choices(
            encoding=self.encoding,
            separator=self.separator,
            decimal_mark=self.decimal_mark,
            date_order=self.date_order,
            sheet=self.sheet,
        )


def read_formats(sources: dict[Role, Source], options: Options) -> dict[Role, Format]:
    """Return how the CSV files are written; raises LoadRefused, Unanswered."""
    found: dict[Role, Format] = {}
    problems = []
    roles: tuple[Role, ...] = ("users", "streams")
    for role in roles:
        source = sources.get(role)
        if source is None:
            continue
        try:
            found[role] = detect(
                source.path, FIELDS[role], options.by_role.get(role, options.choices)
            )
        except BadFile as error:
            problems.append(Problem(source.name, error.line, "", error.sentence))
    if problems:
        raise LoadRefused(problems, len(problems))
    for role, one in found.items():
        for question in one.questions:
            raise Unanswered(sources[role].name, question)
    return found


def chunks(rows: Iterable[Any], size: int = ROWS_AT_ONCE) -> Iterator[list[Any]]:
    """Yield rows as lists of a size, the last one shorter."""
    stream = iter(rows)
    while chunk := list(islice(stream, size)):
        yield chunk


# Tracks from a URL


def tracks_of(company_id: str, url: str, *, private_allowed: bool) -> tuple[Source, list[str]]:
    """Return the tracks of a URL as a file, and a sentence where they are not fresh."""
    path, note = fetch_tracks(url, copies_of(company_id), private_allowed=private_allowed)
    return Source(path, "tracks"), [note] if note else []


def fetch_tracks(
    url: str, folder: Path, *, private_allowed: bool, retry: Retry = PATIENT
) -> tuple[Path, str]:
    """Return where the tracks of a URL are now, and a sentence where that is the last good copy.

    folder: where the company's good copies are kept
    Raises: InvalidParams with the sentence of what went wrong, where there is no copy either
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy = copy_of(url, folder)
    partial = copy.with_suffix(f".{secrets.token_hex(4)}.part")
    try:
        download(url, partial, MOST_BYTES, private_allowed=private_allowed, retry=retry)
        for _ in json_items(partial):
            pass
        partial.replace(copy)
        return copy, ""
    except InvalidParams as error:
        raise InvalidParams({"tracks": error.message}) from error
    except (Unfetchable, BadFile) as error:
        trouble = str(error)
    finally:
        partial.unlink(missing_ok=True)
    if copy.exists():
        age = time.strftime("%Y-%m-%d %H:%M", time.gmtime(copy.stat().st_mtime))
        return copy, f"The tracks are the last good copy, of {age} UTC: {trouble}"
    raise InvalidParams({"tracks": f"The tracks could not be fetched: {trouble}"})


def copies_of(company_id: str) -> Path:
    """Return where a company's last good copies of tracks are kept."""
    return Path(current_app.config["DATA_DIR"]) / "label_revenue" / company_id / "tracks"


def copy_of(url: str, folder: Path) -> Path:
    """Return where the last good copy of a URL is, if there is one."""
    return folder / f"{hashlib.sha256(url.encode()).hexdigest()}.json"
