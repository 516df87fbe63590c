"""`/audit`: who did what in the company, found by person, action, day and words; also as a file."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

from flask import Response, current_app, render_template, request, stream_with_context
from sqlalchemy import select

from webapp.accounts import (
    AuditAsked,
    AuditEntry,
    Scope,
    User,
    all_entries,
    audit,
    check_role,
    latest_actions,
    members_of,
    read_entries,
)
from webapp.engine import registry
from webapp.engine.export import FORMATS, csv_chunks, file_chunks
from webapp.engine.kind import Column, Row, Sheet
from webapp.engine.listing import entries_of
from webapp.engine.models import Report
from webapp.extensions import db
from webapp.lib.moments import utcnow
from webapp.lib.texts import as_id, made_storable
from webapp.lib.workbooks import SheetWriter, new_workbook
from webapp.reports.blueprint import bp
from webapp.reports.lists import LONGEST_SEARCH, day_asked

PAGE_SIZE = 50
UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b")
COLUMNS = (
    Column("at", "When", "datetime", "UTC"),
    Column("person", "Who", "text"),
    Column("action", "Did", "text"),
    Column("subject", "What", "text"),
    Column("address", "From", "text"),
)
# What an id stands for: its name, and its address where it has one.
Named = dict[str, tuple[str, str]]


def _asked_entries() -> AuditAsked:
    args = request.args
    return {
        "person": as_id(args.get("person")),
        "action": made_storable(args.get("action", "")) or None,
        "since": day_asked("since"),
        "until": day_asked("until"),
        "words": made_storable(args.get("q", ""))[:LONGEST_SEARCH].strip(),
    }


@bp.get("/audit")
def show_audit() -> str:
    """Show who did what, newest first, a page at a time."""
    scope, asked = check_role("admin"), _asked_entries()
    before = request.args.get("before", type=int)
    if before is not None and not 0 < before < 2**31:
        before = None
    entries, more = read_entries(scope.company_id, before=before, limit=PAGE_SIZE, **asked)
    query = {name: value for name, value in request.args.items() if value and name != "before"}
    actions = {*latest_actions(scope.company_id), *filter(None, [asked["action"]])}
    return render_template(
        "reports/show_audit.html",
        entries=entries,
        subjects=_subjects(scope, entries),
        asked=asked,
        is_filtered=any(asked.values()),
        is_first=before is None,
        query=query,
        older={**query, "before": entries[-1].id} if more else None,
        actions=sorted(actions),
        people=sorted((one.user.shown_email, one.user_id) for one in members_of(scope.company_id)),
    )


@bp.get("/audit.<any(csv, json, xlsx):fmt>")
def download_audit(fmt: str) -> Response:
    """Give all entries that the page would show as a file."""
    scope, asked = check_role("admin"), _asked_entries()
    audit(scope, "downloaded", f"audit log {fmt} {urlencode(request.args)}".strip())
    db.session.commit()
    name = f"audit-log-{utcnow():%Y-%m-%d}.{fmt}"
    rows = _entry_rows(scope, asked)
    if fmt == "xlsx":
        file = tempfile.TemporaryFile(prefix="audit-", suffix=".xlsx")  # noqa: SIM115
        with new_workbook(file) as workbook:
            SheetWriter(workbook, footer="Audit log").table("Audit log", COLUMNS, rows)
        response = Response(file_chunks(file), content_type=FORMATS[fmt])
        response.call_on_close(file.close)
    else:
        sheet = Sheet("audit", "Audit log", COLUMNS, rows)
        chunks = csv_chunks(sheet, bom=True) if fmt == "csv" else _json_chunks(rows)
        response = Response(stream_with_context(chunks), content_type=FORMATS[fmt])
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response


def _entry_rows(scope: Scope, asked: AuditAsked) -> Iterator[Row]:
    for entries in all_entries(scope.company_id, **asked):
        subjects = _subjects(scope, entries)
        for entry in entries:
            yield {
                "at": f"{entry.at:%Y-%m-%dT%H:%M:%SZ}",
                "person": entry.user.shown_email if entry.user else "",
                "action": entry.action,
                "subject": "".join(text for text, _ in subjects[entry.id]),
                "address": entry.address,
            }


def _json_chunks(rows: Iterable[Row]) -> Iterator[bytes]:
    comma = "["
    for row in rows:
        yield f"{comma}{json.dumps(row, ensure_ascii=False)}".encode()
        comma = ",\n"
    yield b"[]\n" if comma == "[" else b"]\n"


def _subjects(scope: Scope, entries: Iterable[AuditEntry]) -> dict[int, list[tuple[str, str]]]:
    """Return the subject of each entry in pieces of (text, address): names in place of ids."""
    texts = {entry.id: entry.subject for entry in entries}
    ids = {found for text in texts.values() for found in UUID.findall(text)}
    named = names_of(scope, ids) if ids else {}
    return {number: _subject_pieces(text, named) for number, text in texts.items()}


def _subject_pieces(subject: str, named: Named) -> list[tuple[str, str]]:
    found, end = [], 0
    for match in UUID.finditer(subject):
        name, address = named.get(match[0], (match[0], ""))
        before = subject[end : match.start()]
        words = before.split()
        if match[0] in named and (
            before == f"{name} "
            or words[:1] == ["report"]
            or (words and words[0] in registry.kinds())
        ):
            # It says what the thing was called then.
            before = ""
        found += [(before, ""), (name, address)]
        end = match.end()
    return [piece for piece in (*found, (subject[end:], "")) if piece[0]]


def names_of(scope: Scope, ids: set[str]) -> Named:
    """Return what ids stand for: people, reports the reader may see, and what other rooms know."""
    named: Named = {
        user.id: (user.shown_email, "")
        for user in db.session.scalars(select(User).where(User.id.in_(ids)))
    }
    query = select(Report).where(Report.id.in_(ids), registry.readable(scope))
    reports = db.session.scalars(query).all()
    entries = entries_of(reports)
    for report in reports:
        entry, kind = entries.get(report.id), registry.kinds().get(report.kind)
        plain = f"{kind.title if kind else report.kind}: {report.label}".removesuffix(": ")
        name = (entry.name if entry else "") or plain
        named[report.id] = (name, f"/reports/{report.id}")
    rooms: list[Any] = current_app.extensions.get("names_of", [])
    for room in (*rooms, *(kind.names_of for kind in registry.kinds().values())):
        if unknown := ids - named.keys():
            named |= room(scope, unknown)
    return named
