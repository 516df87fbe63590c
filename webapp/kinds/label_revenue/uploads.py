"""Uploads: what is this kind's own about files that are sent, looked at and loaded."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, cast

from flask import current_app, request
from urllib3.util import Retry

from webapp.accounts import Scope
from webapp.engine.retention import kept_from
from webapp.errors import InvalidParams
from webapp.intake import (
    BadCell,
    BadFile,
    Loader,
    Problem,
    Rejects,
    Role,
    Row,
    Told,
    Upload,
    UploadPages,
    choices_of,
    json_items,
    teller,
)
from webapp.jobs import Attempt
from webapp.kinds.label_revenue import in_force, loads, repeats, sums
from webapp.kinds.label_revenue.ledger import SLUG
from webapp.kinds.label_revenue.periods import origins, settings_for
from webapp.kinds.label_revenue.quality import look_alikes
from webapp.kinds.label_revenue.rows import (
    FIELDS,
    STAGES,
    FirstRows,
    Options,
    Reader,
    Source,
    StreamRow,
    UserRow,
    parse_row,
    stream_readers,
    user_readers,
)
from webapp.kinds.label_revenue.rows import Role as RoleName
from webapp.lib.months import month_text, parse_month
from webapp.lib.public_addresses import PATIENT, NoSuchServer, Unfetchable, check_address, download

FIRST_TRACKS = 5
MOST_COMPARED = 20_000
# Of a list of tracks from a URL.
MOST_BYTES = 512 * 1024 * 1024


def look_at_tracks(path: Path, name: str, rejects: Rejects, _told: Told) -> dict[str, Any]:
    """Return the first tracks of a JSON list, and how many of all can be used."""
    first: list[list[str]] = []
    good, before = 0, rejects.total
    labels: set[str] = set()
    tracks = FirstRows()
    for line, row in Reader(name, path, rejects).tracks():
        try:
            tracks.find_same(line, row)
        except BadCell as bad:
            rejects(Problem(name, line, bad.column, bad.sentence, (row.track_id,)))
            continue
        good += 1
        labels.update([row.label] if row.label else [])
        if len(first) < FIRST_TRACKS:
            first.append([row.track_id, row.name, row.label or ""])
    if not good + rejects.total - before:
        raise BadFile("The list is empty.")
    return {
        "encoding": "JSON",
        "header": ["track_id", "track_name", "label"],
        "first": first,
        "good": good,
        "bad": rejects.total - before,
        "remarks": look_alikes(labels, ()),
    }


class RowCheck:
    """Says what is wrong with a row of a users or streams file; counts streams that stand."""

    def __init__(
        self,
        company_id: str,
        role: str,
        options: Mapping[str, Any],
        before: Mapping[str, object],
    ) -> None:
        self._company_id = company_id
        self._first_day: date | None = None
        if role == "users":
            streams = before.get("streams")
            day = streams._first_day if isinstance(streams, RowCheck) else None
            month = in_force.month_ahead(company_id, _said_month(options), day)
            currency = settings_for(company_id, month).currency
            self._readers = user_readers(origins(company_id), currency)
        else:
            self._readers = stream_readers(kept_from(SLUG))
        self._users: FirstRows | None = FirstRows() if role == "users" else None
        self._streams: list[StreamRow] = []

    def __call__(self, row: Row) -> dict[str, str]:
        """Return a sentence for each column that cannot be used."""
        values, errors = parse_row(row, self._readers)
        if errors:
            return errors
        if self._users is None:
            self._first_day = min(self._first_day or values["date"], values["date"])
            if len(self._streams) < MOST_COMPARED:
                self._streams.append(StreamRow(**values))
            return {}
        try:
            self._users.find_same(row.line, UserRow(**values))
        except BadCell as bad:
            return {bad.column: bad.sentence}
        return {}

    def notes(self) -> list[str]:
        """Return how many of the streams stand already."""
        again = repeats.count_standing(self._company_id, self._streams)
        compared = len(self._streams)
        of = f"the first {compared:,}" if compared == MOST_COMPARED else f"{compared:,}"
        sentence = f"{again:,} of {of} streams were loaded before; choose below what to do."
        return [sentence] if again else []


def load(
    upload: Upload, paths: Mapping[str, Path], rejected: Path, attempt: Attempt
) -> tuple[str, dict[str, Any]]:
    """Load the files of an upload. Raises: LoadRefused, InvalidParams"""
    company_id, user_id = upload.company_id, upload.created_by
    sources = {
        cast("RoleName", role): Source(path, upload.files[role]["name"])
        for role, path in paths.items()
    }
    notes: list[str] = []
    if url := upload.files.get("tracks", {}).get("url"):
        private = bool(current_app.config.get("FETCH_PRIVATE_ADDRESSES"))
        copy = copy_of(company_id, url)
        sources["tracks"], notes = fetch_tracks(url, copy, private_allowed=private)
    said = upload.options
    options = Options(
        by_role={role: choices_of(said, role) for role in sources},
        skip_bad=bool(said.get("skip_bad")),
        rejected=rejected,
        from_month=_said_month(said),
        repeated="keep" if said.get("repeated") == "keep" else "skip",
    )
    attempt.set_total(100 * len(sources))
    tellers: dict[str, Told] = {
        role: teller(attempt, 100 * number) for number, role in enumerate(sources)
    }

    def progress(stage: str, done: int, total: int) -> None:
        if stage in tellers:
            tellers[stage](done, total)
        else:
            attempt.check()

    loaded = loads.load(company_id, sources, options, user_id=user_id, progress=progress)
    if not loaded.batch.summed:
        attempt.log(f"{STAGES['sums']}.")
        sums.process_pending(company_id)
    return " ".join([*notes, *loaded.notes, loaded.summary]), {"batch_id": loaded.batch.id}


def _said_month(options: Mapping[str, Any]) -> date | None:
    month = options.get("from_month")
    return parse_month(month) if month else None


def read_urls(scope: Scope) -> dict[str, str]:
    """Return the address of the tracks, where the form names one that may be read."""
    url = request.form.get("tracks_url", "").strip()
    if not url:
        return {}
    private = bool(current_app.config.get("FETCH_PRIVATE_ADDRESSES"))
    try:
        check_address(url, private_allowed=private)
    except InvalidParams as error:
        copy = copy_of(scope.company_id, url)
        # The name is asked for again when the load begins; till then the copy is there.
        if not (isinstance(error, NoSuchServer) and copy.exists()):
            raise InvalidParams({"tracks_url": next(iter(error.errors.values()))}) from None
    return {"tracks": url}


def read_options() -> dict[str, Any]:
    """Return the load's own month, and what becomes of streams that stand already."""
    found: dict[str, Any] = {}
    if month := request.form.get("from_month", "").strip():
        try:
            found["from_month"] = month_text(parse_month(month))
        except ValueError as error:
            raise InvalidParams({"from_month": str(error)}) from None
    if request.form.get("repeated") == "keep":
        found["repeated"] = "keep"
    return found


LOADER = Loader(
    "label-revenue",
    (
        Role(
            "streams",
            "Streams",
            "CSV or XLSX: date, user id, region, track id, seconds",
            FIELDS["streams"],
        ),
        Role(
            "users",
            "Users",
            "CSV or XLSX: user id, product type, fee, origin",
            FIELDS["users"],
            checked_by=("from_month",),
        ),
        Role(
            "tracks", "Tracks", "JSON: a list of track_id, track name, label", look=look_at_tracks
        ),
    ),
    RowCheck,
    load,
    notes=lambda check: check.notes() if isinstance(check, RowCheck) else [],
)
PAGES = UploadPages(
    LOADER,
    form_path="load",
    home="/label-revenue",
    title="Load files",
    intro="All of it is loaded, or nothing.",
    read_urls=read_urls,
    read_options=read_options,
    form_fields="label_revenue/_tracks_url.html",
    load_fields="label_revenue/_from_month.html",
)


# Tracks from a URL


def fetch_tracks(
    url: str, copy: Path, *, private_allowed: bool, retry: Retry = PATIENT
) -> tuple[Source, list[str]]:
    """Return the tracks of a URL as a file, and a sentence where that is the last good copy.

    copy:   where the last good copy is kept
    Raises: InvalidParams with the sentence of what went wrong, where there is no copy either
    """
    copy.parent.mkdir(parents=True, exist_ok=True)
    source = Source(copy, "tracks")
    partial = copy.with_suffix(f".{secrets.token_hex(4)}.part")
    try:
        download(url, partial, MOST_BYTES, private_allowed=private_allowed, retry=retry)
        for _ in json_items(partial):
            pass
        partial.replace(copy)
        return source, []
    except InvalidParams as error:
        raise InvalidParams({"tracks": error.message}) from error
    except (Unfetchable, BadFile) as error:
        trouble = str(error)
    finally:
        partial.unlink(missing_ok=True)
    if copy.exists():
        age = time.strftime("%Y-%m-%d %H:%M", time.gmtime(copy.stat().st_mtime))
        return source, [f"The tracks are the last good copy, of {age} UTC: {trouble}"]
    raise InvalidParams({"tracks": f"The tracks could not be fetched: {trouble}"})


def copy_of(company_id: str, url: str) -> Path:
    """Return where a company's last good copy of a URL is, if there is one."""
    folder = Path(current_app.config["DATA_DIR"]) / "label_revenue" / company_id / "tracks"
    return folder / f"{hashlib.sha256(url.encode()).hexdigest()}.json"
