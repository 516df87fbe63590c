"""What a store holds now, taken in at once: a file with a row for each file version.

CSV and XLSX are read by the intake, JSON lines a line at a time. Each row becomes an upload, so a
baseline and events may overlap, and sending it again changes nothing: its rows are the same events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from webapp.accounts import Scope
from webapp.errors import Unreadable, UnsupportedType
from webapp.intake import BadFile, Field, detect, read_rows
from webapp.kinds.project_storage import ingest
from webapp.kinds.project_storage.answers import BaselineAnswer, Verdict
from webapp.kinds.project_storage.bodies import EVENTS_PER_LIST
from webapp.kinds.project_storage.compute import UPLOAD
from webapp.kinds.project_storage.projects import providers_of
from webapp.lib.batches import batched
from webapp.lib.bodies import parse_json
from webapp.lib.moments import rfc3339, utcnow

FIELDS = (
    Field(
        "file_version_id",
        "File version",
        words=("file version", "version", "version id", "file id"),
    ),
    Field("bytes", "Bytes", words=("size", "size_bytes", "length")),
    Field(
        "storage_provider_id",
        "Storage provider",
        required=False,
        words=("storage provider", "provider"),
    ),
    Field(
        "at",
        "Uploaded at",
        required=False,
        words=("uploaded", "uploaded at", "created at", "modified"),
    ),
    Field("uploader", "Uploader", required=False, words=("owner", "user", "uploaded by")),
)
TABLES = ("text/csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
LINES = ("application/x-ndjson", "application/jsonl", "application/json-lines")
PROBLEMS_SHOWN = 100
Numbered = tuple[int, Any]


def take_baseline(
    scope: Scope, project_id: str, content: bytes, media_type: str, *, feeds: bool
) -> BaselineAnswer:
    """Store an upload for each row of a file; return how many, and what is wrong with which line.

    Raises: Unreadable, UnsupportedType, and as `take_events`
    """
    if media_type not in TABLES + LINES:
        raise UnsupportedType(f"Send the file as one of {', '.join(TABLES + LINES)}.")
    with NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        rows = _table(Path(file.name)) if media_type in TABLES else _lines(content)
        answer: BaselineAnswer = {"accepted": 0, "duplicate": 0, "rejected": 0, "problems": []}
        named = [(one.name.casefold(), one.id) for one in providers_of(scope.company_id)]
        times = Counter(name for name, _ in named)
        # A name that two have says nothing.
        providers = {one: one for _, one in named}
        providers |= {name: one for name, one in named if times[name] == 1}
        only = next(iter(providers.values())) if len(set(providers.values())) == 1 else None
        now = rfc3339(utcnow(), "microseconds")
        try:
            for batch in batched(rows, EVENTS_PER_LIST):
                events = [_upload(row, providers, only, now) for _, row in batch]
                # Their ids are made of their content; without a time of its own one gets a new one.
                _, verdicts = ingest.take_events(
                    scope, project_id, events, feeds=feeds, content=("version_id",)
                )
                _add(answer, batch, verdicts)
        except BadFile as error:
            raise Unreadable(f"Line {error.line}: {error.sentence}") from None
    return answer


def _add(answer: BaselineAnswer, batch: list[Numbered], verdicts: list[Verdict]) -> None:
    for (line, _), verdict in zip(batch, verdicts, strict=True):
        answer[verdict["verdict"]] += 1
        if "reason" in verdict and len(answer["problems"]) < PROBLEMS_SHOWN:
            answer["problems"].append({"line": line, "reason": verdict["reason"]})


def _table(path: Path) -> Iterator[Numbered]:
    found = detect(path, FIELDS)
    for row in read_rows(path, found, FIELDS):
        size = row.values.get("bytes", "")
        is_whole = size.isascii() and size.isdigit()
        yield row.line, row.values | {"bytes": int(size) if is_whole and len(size) < 20 else size}


def _lines(content: bytes) -> Iterator[Numbered]:
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            try:
                yield number, parse_json(line)
            except Unreadable as error:
                raise BadFile(error.message, number) from None


def _upload(row: Any, providers: dict[str, str], only: str | None, now: str) -> Any:
    """Return a row as the event of its upload; its id is made of its content."""
    if not isinstance(row, dict):
        return row
    named = row.get("storage_provider_id")
    known = providers.get(named.casefold(), named) if isinstance(named, str) else named
    told = f"{row.get('file_version_id')}\n{row.get('bytes')}\n{known}\n{row.get('at')}"
    return {
        **row,
        "id": "baseline-" + sha256(told.encode("utf-8", "replace")).hexdigest()[:40],
        "type": UPLOAD,
        "storage_provider_id": known or only,
        "at": row.get("at") or now,
    }
