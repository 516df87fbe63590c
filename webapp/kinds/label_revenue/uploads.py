"""`/label-revenue/load`: send files, look at how they were read, load them, watch it happen."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from flask import (
    Blueprint,
    Response,
    current_app,
    make_response,
    render_template,
    request,
    send_file,
)
from sqlalchemy import select, update
from werkzeug.datastructures import FileStorage

from webapp.accounts import Scope, audit, check_role, current_scope, restrict
from webapp.errors import Conflict, InvalidParams, NotFound, ReportError
from webapp.extensions import db
from webapp.htmx import redirect_to, render
from webapp.intake import BadFile, Choices, detect, json_items
from webapp.kinds.label_revenue import fetch, work
from webapp.kinds.label_revenue.formats import FIELDS
from webapp.kinds.label_revenue.models import Upload
from webapp.kinds.label_revenue.rows import read_track
from webapp.lib.months import month_text, parse_month
from webapp.lib.public_addresses import NoSuchServer, check_address

bp = Blueprint(
    "label_revenue_uploads",
    __name__,
    url_prefix="/label-revenue",
    template_folder="templates",
)
restrict(bp, "admin")

MOST_BYTES = 4 * 1024**3
LOADABLE = ("ready", "refused", "failed")
ROLES = ("users", "streams", "tracks")
SEPARATORS = {"": "detected", ";": "semicolon", ",": "comma", "\t": "tab", "|": "bar"}
CHOICES = {
    "date_order": ("dmy", "mdy"),
    "separator": (";", ",", "\t", "|"),
    "decimal_mark": (",", "."),
}
TYPED = (*CHOICES, "from_month", "skip_bad")


@bp.url_value_preprocessor
def allow_large_files(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Let an admin send files here that no other address takes; they go to disk as they come.

    Done before the form's token is looked for, which reads the whole body; strangers get no more
    than anywhere else.
    """
    try:
        check_role("admin")
    except ReportError:
        return
    request.max_content_length = MOST_BYTES


@bp.get("/load")
def new_upload() -> Response:
    """Show the form, and the uploads of late."""
    return _form(current_scope())


def _form(
    scope: Scope,
    errors: dict[str, str] | None = None,
    typed: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    query = select(Upload).where(Upload.company_id == scope.company_id)
    recent = db.session.scalars(query.order_by(Upload.created_at.desc()).limit(10)).all()
    page = render_template(
        "label_revenue/load.html",
        scope=scope,
        uploads=recent,
        errors=errors or {},
        typed=typed or {},
    )
    return make_response(page, status)


@bp.post("/load")
def create_upload() -> Response:
    """Keep the files and show how they were read."""
    scope = current_scope()
    upload = Upload(
        id=str(uuid4()), company_id=scope.company_id, created_by=scope.user_id, files={}
    )
    folder = work.upload_folder(upload)
    folder.mkdir(parents=True)
    try:
        upload.files = _kept_files(upload)
        db.session.add(upload)
        audit(scope, "uploaded", ", ".join(upload.files))
        db.session.commit()
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, InvalidParams):
            return _form(scope, error.errors, request.form, 422)
        raise
    return redirect_to(f"/label-revenue/uploads/{upload.id}")


def _kept_files(upload: Upload) -> dict[str, Any]:
    files: dict[str, Any] = {}
    for role in ROLES:
        sent: FileStorage | None = request.files.get(role)
        if sent is not None and sent.filename:
            sent.save(work.upload_folder(upload) / role)
            files[role] = {"name": sent.filename[-200:]}
    url = request.form.get("tracks_url", "").strip()
    if url and "tracks" in files:
        raise InvalidParams({"tracks_url": "Send a file of tracks or its address, not both."})
    if url:
        _check_url(upload, url)
        files["tracks"] = {"name": "tracks", "url": url}
    if not files:
        raise InvalidParams({"streams": "Choose at least one file."})
    return files


def _check_url(upload: Upload, url: str) -> None:
    private = bool(current_app.config.get("FETCH_PRIVATE_ADDRESSES"))
    try:
        check_address(url, private_allowed=private)
    except InvalidParams as error:
        copy = fetch.copy_of(url, work.copies(upload.company_id))
        if isinstance(error, NoSuchServer) and copy.exists():
            return  # the name is asked for again when the load begins; till then the copy is there
        raise InvalidParams({"tracks_url": error.errors["url"]}) from None


@bp.get("/uploads/<uuid:upload_id>")
def show_upload(upload_id: UUID) -> Response:
    """Show an upload: how its files were read, how far it is, or what came of it.

    The address may say how to read them, to look at that before it is loaded.
    """
    return _show(find(current_scope(), str(upload_id)), typed=request.args)


def find(scope: Scope, upload_id: str) -> Upload:
    """Return an upload of the caller's company; another company's is as unknown as none."""
    found = db.session.get(Upload, upload_id)
    if found is None or found.company_id != scope.company_id:
        raise NotFound("There is no such upload.")
    return found


def _show(
    upload: Upload,
    errors: dict[str, str] | None = None,
    typed: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    typed = typed or upload.options
    may_load = upload.status in LOADABLE
    previews = [_preview(upload, role, typed) for role in upload.files] if may_load else []
    return render(
        "label_revenue/upload.html",
        "label_revenue/_upload.html",
        status=status,
        upload=upload,
        previews=previews,
        ambiguous=any(one.get("ambiguous") for one in previews),
        broken=any(one.get("problem") for one in previews),
        progress=work.progress_of(upload.id) if upload.status == "loading" else None,
        stages=work.STAGES,
        has_rejects=(work.upload_folder(upload) / "rejected.csv").exists(),
        separators=SEPARATORS,
        errors=errors or {},
        typed=typed,
    )


def _preview(upload: Upload, role: str, typed: Mapping[str, str]) -> dict[str, Any]:
    """Return how a file was read: its format and first rows, or what is wrong with it."""
    file = upload.files[role]
    shown: dict[str, Any] = {"role": role, "name": file["name"], "url": file.get("url")}
    path = work.upload_folder(upload) / role
    if "url" in file:
        return shown
    try:
        if role == "tracks":
            return shown | _tracks_preview(path)
        found = detect(path, FIELDS[role], _choices(typed))
    except BadFile as error:
        return shown | {"problem": f"Line {error.line}: {error.sentence}"}
    return shown | {
        "encoding": found.encoding.upper().replace("-SIG", " with byte order mark"),
        "separator": SEPARATORS.get(found.separator, found.separator),
        "decimal_mark": found.decimal_mark if role == "users" else None,
        "date_order": found.date_order,
        "ambiguous": found.ambiguous,
        "questions": found.questions,
        "header": found.header,
        "rows": found.preview,
    }


def _tracks_preview(path: Any) -> dict[str, Any]:
    rows = []
    for _, item in json_items(path):
        try:
            row = read_track(item)
        except ValueError as error:
            return {"problem": f"The first tracks cannot be read: {error}"}
        rows.append((row.track_id, row.name, row.label or ""))
        if len(rows) == 5:
            break
    return {"encoding": "JSON", "header": ("track_id", "track_name", "label"), "rows": rows}


def _choices(typed: Mapping[str, str]) -> Choices:
    return Choices(
        separator=_said(typed, "separator"),
        decimal_mark=_said(typed, "decimal_mark"),
        date_order=_said(typed, "date_order"),  # type: ignore[arg-type]
    )


def _said(typed: Mapping[str, str], name: str) -> str | None:
    """Return what a reader chose of a list, None where it is for the program to find out."""
    value = typed.get(name) or None
    return value if value in CHOICES[name] else None


@bp.post("/uploads/<uuid:upload_id>")
def start_upload(upload_id: UUID) -> Response:
    """Hand the upload to a worker, with what the reader said about it."""
    scope = current_scope()
    upload = find(scope, str(upload_id))
    if upload.status not in LOADABLE:
        raise Conflict(f"This upload is {upload.status}; send the files again to load them again.")
    if "look" in request.form:
        typed = {name: value for name, value in request.form.items() if name in TYPED and value}
        return redirect_to(f"/label-revenue/uploads/{upload_id}?{urlencode(typed)}")
    try:
        options = _options(upload)
    except InvalidParams as error:
        return _show(upload, error.errors, request.form, 422)
    taken = db.session.execute(
        update(Upload)
        .where(Upload.id == upload.id, Upload.status.in_(LOADABLE))
        .values(status="queued", options=options, sentence="", problems=[])
    )
    db.session.commit()
    if taken.rowcount != 1:  # type: ignore[attr-defined]
        raise Conflict("This upload is being loaded already.")
    audit(scope, "loads", ", ".join(upload.files))
    db.session.commit()
    if not work.enqueue_upload(str(upload_id)):
        db.session.execute(update(Upload).where(Upload.id == str(upload_id)).values(status="ready"))
        db.session.commit()
        raise Conflict("The job queue is away for a moment. Try again in a few seconds.")
    return redirect_to(f"/label-revenue/uploads/{upload_id}")


def _options(upload: Upload) -> dict[str, Any]:
    form = request.form
    options: dict[str, Any] = {"skip_bad": "skip_bad" in form}
    for name in CHOICES:
        value = _said(form, name)
        if form.get(name) and not value:
            raise InvalidParams({name: "Choose one of the list."})
        if value:
            options[name] = value
    if month := form.get("from_month", "").strip():
        try:
            options["from_month"] = month_text(parse_month(month))
        except ValueError as error:
            raise InvalidParams({"from_month": str(error)}) from None
    previews = [_preview(upload, role, form) for role in upload.files]
    for preview in previews:
        for question in preview.get("questions", ()):
            raise InvalidParams({question.name: f"{preview['name']}: {question.sentence}"})
    return options


@bp.post("/uploads/<uuid:upload_id>/delete")
def delete_upload(upload_id: UUID) -> Response:
    """Forget an upload and its files; what was loaded from it stays."""
    scope = current_scope()
    upload = find(scope, str(upload_id))
    if upload.status in {"queued", "loading"}:
        raise Conflict("This upload is being loaded.")
    audit(scope, "deleted upload", ", ".join(upload.files))
    work.forget_upload(upload)
    db.session.commit()
    return redirect_to("/label-revenue/load")


@bp.get("/uploads/<uuid:upload_id>/rejected.csv")
def rejected_rows(upload_id: UUID) -> Response:
    """Return the rows that were left out."""
    upload = find(current_scope(), str(upload_id))
    path = work.upload_folder(upload) / "rejected.csv"
    if not path.exists():
        raise NotFound("No rows were left out of this upload.")
    return send_file(path, "text/csv", as_attachment=True, download_name="rejected.csv")
