"""What workers do with uploads: look through every row once, and load.

What a kind does with its files it says with a `Loader`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, update

from webapp import jobs
from webapp.errors import Conflict, NotFound, ReportError
from webapp.extensions import db
from webapp.files import as_path, store_file
from webapp.intake.cells import plain_text
from webapp.intake.columns import Field
from webapp.intake.formats import Choices, detect
from webapp.intake.rejects import LoadRefused, Problem, Rejects
from webapp.intake.rows import Row, read_rows
from webapp.intake.text import BadFile, Told
from webapp.intake.uploads import (
    AT_WORK,
    FAILED,
    LOADED,
    LOADING,
    LOOKING,
    READY,
    REFUSED,
    REJECTED,
    SavedMapping,
    Upload,
    begin,
    drop_bytes,
    find_mapping,
)
from webapp.lib.texts import plain

FIRST_ROWS = 20
SHOWN_CHARS = 200
# What a look tells of how a file was read.
SHOWN = (
    *("encoding", "separator", "sheet", "sheets", "header_line", "header"),
    *("columns", "guessed", "values", "notes", "decimal_mark", "date_order"),
)
TASK_S = 21_600
Check = Callable[[Row], dict[str, str]]


@dataclass(frozen=True)
class Role:
    """A file of an upload, by what it holds.

    fields: its columns
    look:   looks through a file that has no columns, such as a JSON list, instead
    checked_by: options of the upload that its rows are checked by
    """

    name: str
    label: str
    help: str
    fields: tuple[Field, ...] = ()
    look: Callable[[Path, str, Rejects, Told], dict[str, Any]] | None = None
    checked_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loader:
    """What a kind does with uploads.

    checker: returns what says all that is wrong with a row, for a company, a role, the options of
             the upload and, by role, the checks of the files before
    notes:   returns what the check found beside bad rows, as sentences for the preview
    load:    loads the files, by role; returns a sentence and what is to be kept of the result. Rows
             it leaves out it may write to the path it is given. It may be called again for the same
             upload
    """

    kind: str
    roles: tuple[Role, ...]
    checker: Callable[[str, str, Mapping[str, Any], Mapping[str, Check]], Check]
    load: Callable[[Upload, Mapping[str, Path], Path, jobs.Attempt], tuple[str, dict[str, Any]]]
    notes: Callable[[Check], list[str]] = lambda _check: []

    def role(self, name: str) -> Role:
        """Return a role by its name."""
        return next(one for one in self.roles if one.name == name)

    def tasks(self) -> tuple[jobs.Task, ...]:
        """Return the two tasks of a kind's uploads."""
        more: Any = {"timeout_s": TASK_S, "kept_s": 86_400, "on_end": _on_end}
        return (
            jobs.Task(f"{self.kind}-look", self._look, noun="look", **more),
            jobs.Task(f"{self.kind}-load", self._load, noun="load", **more),
        )

    def _look(self, attempt: jobs.Attempt, payload: dict[str, Any]) -> None:
        upload = db.session.get(Upload, payload["upload"])
        if upload is None or upload.status != LOOKING:
            return
        files, problems, rejected = look_through(self, upload, attempt)
        # The load reads the columns as the look did.
        roles = {name: read_as(file["look"]) for name, file in files.items() if "look" in file}
        options = upload.options | {"roles": roles}
        ended = update(Upload).where(Upload.id == upload.id).values(status=READY)
        found = ended.values(files=files, problems=problems, options=options)
        found = found.values(result={REJECTED: rejected})
        attempt.finish(write=lambda connection: connection.execute(found))
        self._load_if_asked(upload.id)

    def _load_if_asked(self, upload_id: str) -> None:
        """Load at once where somebody asked for it before this look and nothing is wrong."""
        upload = db.session.get(Upload, upload_id, populate_existing=True)
        if upload is None:
            return
        wanted = upload.options.get("load") and upload.status == READY
        is_clean = not upload.questions and not upload.broken
        if wanted and is_clean and (upload.options.get("skip_bad") or not upload.bad_rows):
            # Its maker may be quicker, and press the button or discard it.
            with suppress(Conflict, NotFound):
                begin(upload.created_by, upload, LOADING, upload.options)

    def _load(self, attempt: jobs.Attempt, payload: dict[str, Any]) -> None:
        upload = db.session.get(Upload, payload["upload"])
        if upload is None or upload.status != LOADING:
            return
        upload_id, result = upload.id, dict(upload.result)
        try:
            with ExitStack() as stack:
                paths = {
                    role: stack.enter_context(as_path(file["file_id"]))
                    for role, file in upload.files.items()
                    if "file_id" in file
                }
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="load-")))
                stack.enter_context(attempt.fenced_commits())
                rejected = folder / "rejected.csv"
                sentence, more = self.load(upload, paths, rejected, attempt)
                if rejected.exists():
                    # Beside what the look found: what was fetched only now.
                    result[REJECTED] = _store_rejected(upload.company_id, rejected)
            values: dict[str, Any] = {"status": LOADED, "problems": [], "result": result | more}
        except ReportError as error:
            db.session.rollback()
            sentence, values = error.message, {"status": REFUSED}
            if isinstance(error, LoadRefused):
                values["problems"] = [list(one[:4]) for one in error.problems]
        ended = update(Upload).where(Upload.id == upload_id).values(sentence=sentence, **values)
        attempt.finish(write=lambda connection: connection.execute(ended))
        if values["status"] == LOADED:
            drop_bytes(upload_id, keep=REJECTED)


def _on_end(connection: Connection, job_id: str, ending: jobs.Ending) -> jobs.Ending:
    """Let an upload whose job failed or was lost say so."""
    if ending.status != jobs.DONE:
        mine = (Upload.job_id == job_id) & Upload.status.in_(AT_WORK)
        sentence = ending.error or "The work was cancelled."
        connection.execute(update(Upload).where(mine).values(status=FAILED, sentence=sentence))
    return ending


def look_through(
    loader: Loader, upload: Upload, attempt: jobs.Attempt
) -> tuple[dict[str, Any], list[list[Any]], str | None]:
    """Return the files with what was found in them, the first bad rows, the file of all of them."""
    company_id, options = upload.company_id, upload.options
    found = {role: dict(file) for role, file in upload.files.items()}
    db.session.remove()
    attempt.set_total(100 * len(found))
    with tempfile.TemporaryDirectory(prefix="look-") as folder:
        path_of_rejected = Path(folder) / "rejected.csv"
        rejects = Rejects(path_of_rejected)
        checks: dict[str, Check] = {}
        for number, (name, file) in enumerate(found.items()):
            if "file_id" in file:
                role = loader.role(name)
                check = None
                if role.fields:
                    check = checks[name] = loader.checker(company_id, name, options, checks)
                told = teller(attempt, 100 * number)
                choices = choices_of(options, name)
                saved = partial(find_mapping, company_id, loader.kind, name)
                with as_path(file["file_id"]) as path:
                    file["look"] = look_at(
                        path, file["name"], role, choices, check, rejects, told, saved
                    )
                if check is not None:
                    file["look"]["remarks"] = loader.notes(check)
        rejects.close()
        rejected = _store_rejected(company_id, path_of_rejected) if rejects.total else None
    return found, [list(problem[:4]) for problem in rejects.shown], rejected


def _store_rejected(company_id: str, path: Path) -> str:
    """Store a CSV of rows that cannot be used; return the stored file."""
    with path.open("rb") as content:
        return store_file(company_id, content, kind=REJECTED, format="CSV", name=path.name)


def teller(attempt: jobs.Attempt, before: int) -> Told:
    """Return what moves a job's bar by a file's hundred steps, behind those of the files before."""
    shown = before

    def told(done: int, total: int) -> None:
        nonlocal shown
        now = before + 100 * min(done, total) // max(total, 1)
        attempt.check()
        if now > shown:
            attempt.advance(by=now - shown)
            shown = now

    return told


def read_as(look: Mapping[str, Any]) -> dict[str, Any]:
    """Return which sheet and columns a look has read, as choices of that file."""
    columns = look.get("columns", [])
    return {
        "sheet": look.get("sheet"),
        "columns": {name: place for place, name in enumerate(columns) if name},
        "values": look.get("values", {}),
        "notes": look.get("notes", []),
    }


def choices_of(options: Mapping[str, Any], role: str) -> Choices:
    """Return what a person said of one file of an upload."""
    said = {
        name: options[name]
        for name in ("encoding", "separator", "decimal_mark", "date_order")
        if options.get(name)
    }
    return Choices(**said, **options.get("roles", {}).get(role, {}))


Saved = Callable[[Sequence[str]], SavedMapping | None]


def with_saved_mapping(
    path: Path, fields: Sequence[Field], choices: Choices, saved: Saved
) -> tuple[Choices, str]:
    """Return choices with the mapping that was saved for a file's header, and its name."""
    if choices.columns is not None:
        return choices, ""
    known = saved(detect(path, fields, choices, may_ask=True).header)
    return (replace(choices, **known.mapping), known.name) if known else (choices, "")


def _as_read(value: Any) -> str:
    text = plain(value) if isinstance(value, Decimal) else str(value)
    return text[:SHOWN_CHARS]


def look_at(
    path: Path,
    name: str,
    role: Role,
    choices: Choices,
    check: Check | None,
    rejects: Rejects,
    told: Told = lambda *_: None,
    saved: Saved = lambda _header: None,
) -> dict[str, Any]:
    """Return how a file was read, its first rows, and how many rows can be used; every row is read.

    Where the file leaves a question open its rows are not checked: nobody knows what they say.
    saved: returns the mapping that was saved for a header, where nothing is said of the columns
    """
    try:
        if role.look is not None:
            return role.look(path, name, rejects, told)
        choices, mapping = with_saved_mapping(path, role.fields, choices, saved)
        found = detect(path, role.fields, choices, may_ask=True)
        first = [[plain_text(cell)[:SHOWN_CHARS] for cell in row] for row in found.preview]
        look: dict[str, Any] = {name: getattr(found, name) for name in SHOWN}
        look |= {"mapping": mapping, "asks": found.questions, "first": first, "good": 0, "bad": 0}
        if found.questions or check is None:
            return look
        look["first"] = []
        for row in read_rows(path, found, role.fields, told):
            errors = check(row)
            look["bad" if errors else "good"] += 1
            if len(look["first"]) < FIRST_ROWS:
                cells = zip(found.columns, row.cells, strict=False)
                look["first"].append(
                    [_as_read(row.values.get(name or "", plain_text(cell))) for name, cell in cells]
                )
            for column, sentence in errors.items():
                rejects(Problem(name, row.line, column, sentence, row.cells))
        if not look["good"] + look["bad"]:
            raise BadFile("The file has no line below its header.", found.header_line)
        return look
    except BadFile as error:
        where = f"Line {error.line}: " if error.line > 1 else ""
        return {"broken": where + error.sentence}
