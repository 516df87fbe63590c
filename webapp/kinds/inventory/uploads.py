"""Uploads: looked through before anything is stored, then loaded as a whole or not at all.

Between the two steps the file waits in the database, so that any web process may do the second.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import IO, Any

from sqlalchemy import select

from webapp.accounts import Scope
from webapp.errors import InvalidParams, NotFound
from webapp.extensions import db
from webapp.files import StoredFile, as_path, drop_files, store_file
from webapp.kinds.inventory import entries
from webapp.kinds.inventory.files import UPLOAD
from webapp.kinds.inventory.ingest import read_lines
from webapp.lib.texts import lookup_id, storable

SHOWN = 20
ERRORS_SHOWN = 200


@dataclass
class Preview:
    """What an upload holds: lines in all, the first good ones, and what is wrong by line."""

    lines: int = 0
    good: int = 0
    first: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    errors: list[tuple[int, dict[str, str]]] = field(default_factory=list)

    @property
    def bad(self) -> int:
        return self.lines - self.good


def keep_upload(scope: Scope, content: IO[bytes], name: str) -> str:
    """Store an uploaded file and return its id; raises InvalidParams for none or an empty one."""
    if not name or not content.read(1):
        raise InvalidParams({"file": "Choose a file that is not empty."})
    content.seek(0)
    shown = name.rpartition("/")[2][-255:] if storable(name) else "upload"
    return store_file(scope.company_id, content, kind=UPLOAD, format="", name=shown)


def find_upload(scope: Scope, upload_id: Any) -> StoredFile:
    """Return an upload of the caller's company that was not loaded yet."""
    query = select(StoredFile).where(
        StoredFile.id == lookup_id(str(upload_id)),
        StoredFile.company_id == scope.company_id,
        StoredFile.kind == UPLOAD,
        StoredFile.ready_at.is_not(None),
    )
    found = db.session.scalar(query)
    if found is None:
        raise NotFound("There is no such upload; it was loaded, discarded, or lay for a day.")
    return found


def drop_upload(upload: StoredFile) -> None:
    """Forget an upload."""
    drop_files(StoredFile.id == upload.id)


def look_through(scope: Scope, upload: StoredFile) -> Preview:
    """Return what is in an upload; raises InvalidParams where it cannot be read at all."""
    preview, checker = Preview(), entries.Checker(scope.company_id)
    with as_path(upload.id) as path:
        for number, row, errors in entries.iter_checked(checker, read_lines(path)):
            preview.lines += 1
            if row is not None:
                preview.good += 1
                if len(preview.first) < SHOWN:
                    preview.first.append((number, row))
            elif len(preview.errors) < ERRORS_SHOWN:
                preview.errors.append((number, errors))
    if not preview.lines:
        raise InvalidParams({"file": "The file has no line below its header."})
    return preview


def load(scope: Scope, upload: StoredFile, *, skip_bad: bool) -> dict[str, int]:
    """Store an upload's entries and forget it; return how many were created, updated, unchanged.

    Raises: InvalidParams when a line is wrong and wrong ones are not to be skipped, Conflict
    """
    checker = entries.Checker(scope.company_id)
    # All is checked before the first write, which on SQLite makes every other writer wait.
    with as_path(upload.id) as path, tempfile.TemporaryFile(prefix="inventory-") as good:
        for number, row, errors in entries.iter_checked(checker, read_lines(path)):
            if row is not None:
                good.write(entries.packed(row))
            elif not skip_bad:
                name, sentence = next(iter(errors.items()))
                raise InvalidParams({"file": f"Line {number}, {name or 'row'}: {sentence}"})
        good.seek(0)
        counted = entries.store(scope.company_id, map(entries.unpacked, good))
    drop_upload(upload)
    return counted
