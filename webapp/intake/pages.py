"""The pages of uploads, the same for every kind: send, look, say what the files do not, load.

`upload_pages(loader)` returns a blueprint; a kind hands it over with its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, make_response, render_template, request
from werkzeug.datastructures import FileStorage

from webapp import jobs
from webapp.accounts import Scope, audit, check_role, current_scope, restrict
from webapp.errors import Conflict, InvalidParams, NotFound, ReportError
from webapp.extensions import db
from webapp.files import StoredFile, read_chunks
from webapp.htmx import redirect_to, render
from webapp.intake import uploads
from webapp.intake.columns import column_letters
from webapp.intake.loader import Loader, read_as
from webapp.intake.uploads import AT_WORK, LOADABLE, LOADING, LOOKING, REJECTED, Upload
from webapp.lib.shown_lists import shown_list
from webapp.lib.texts import counted, storable

MOST_BYTES = 4 * 1024**3
NO_FILE = "Choose a file that is not empty."
SEPARATORS = {";": "semicolon", ",": "comma", "\t": "tab", "|": "bar"}
CHOICES: dict[str, dict[str, str]] = {
    "encoding": {"utf-8": "UTF-8", "cp1252": "Windows-1252"},
    "separator": SEPARATORS,
    "decimal_mark": {",": "comma, 7,99", ".": "point, 7.99"},
    "date_order": {"dmy": "day/month/year", "mdy": "month/day/year"},
}
ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8 with byte order mark",
    "cp1252": "Windows-1252",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
}


@dataclass(frozen=True)
class UploadPages:
    """What is a kind's own about the pages of its uploads.

    form_path:    the page of the form, below the kind's own address
    home:         where its data is seen
    read_urls:    addresses in place of files, by role, from the form
    read_options: more options, from the form; both raise InvalidParams
    more_fields:  a template of more fields for `read_urls` and `read_options`
    """

    loader: Loader
    form_path: str
    home: str
    title: str
    intro: str = ""
    read_urls: Callable[[Scope], Mapping[str, str]] = lambda _scope: {}
    read_options: Callable[[], Mapping[str, Any]] = dict
    form_fields: str = ""
    load_fields: str = ""

    @property
    def slug(self) -> str:
        """The first piece of the addresses."""
        return self.loader.kind

    def address(self, upload: Upload) -> str:
        """Return the address of an upload."""
        return f"/{self.slug}/uploads/{upload.id}"

    def new_upload(self, errors: Mapping[str, str] | None = None, status: int = 200) -> Response:
        """Show the form, with the uploads so far."""
        page = render_template(
            "intake/new_upload.html",
            here=self,
            uploads=shown_list(
                uploads.list_uploads(current_scope(), self.slug),
                lambda one: f"{one.names} {one.state} {one.created_at:%Y-%m-%d}",
                "uploads",
            ),
            mappings=uploads.list_mappings(current_scope(), self.slug),
            errors=errors or {},
            typed=request.form,
        )
        return make_response(page, status)

    def create_upload(self) -> Response:
        """Keep the files that were sent and begin to look through them; nothing is loaded yet."""
        scope = current_scope()
        try:
            sent, urls = self._sent(), self.read_urls(scope)
            if both := sent.keys() & urls.keys():
                sentence = "Send a file or its address, not both."
                raise InvalidParams({f"{name}_url": sentence for name in both})
            if not sent and not urls:
                raise InvalidParams({self.loader.roles[0].name: NO_FILE})
            upload = uploads.keep_upload(scope, self.slug, sent, urls)
        except InvalidParams as error:
            return self.new_upload(error.errors, 422)
        except Conflict as error:
            return self.new_upload({self.loader.roles[0].name: error.message}, error.status)
        audit(scope, "uploaded", upload.names)
        db.session.commit()
        return redirect_to(self.address(upload))

    def index_mappings(
        self, errors: Mapping[str, str] | None = None, status: int = 200
    ) -> Response:
        """Show the columns that were saved, to rename or forget them."""
        page = render_template(
            "intake/index_mappings.html",
            here=self,
            mappings=uploads.list_mappings(current_scope(), self.slug),
            letters=column_letters,
            errors=errors or {},
            typed=request.form,
        )
        return make_response(page, status)

    def change_mapping(self, role: str, header: str) -> Response:
        """Rename saved columns, or forget them; what was loaded by them stays."""
        scope = current_scope()
        mapping = uploads.find_saved(scope, self.slug, role, header)
        name = request.form.get("name", "").strip()
        if "delete" in request.form:
            audit(scope, "deleted saved columns", mapping.name)
            db.session.delete(mapping)
        elif not name or len(name) > uploads.LONGEST_NAME or not storable(name):
            sentence = f"Write a name of 1 to {uploads.LONGEST_NAME} characters."
            return self.index_mappings({f"name-{role}-{header}": sentence}, 422)
        else:
            audit(scope, "renamed saved columns", f"{mapping.name}: {name}")
            mapping.name = name
        db.session.commit()
        return redirect_to(f"/{self.slug}/mappings")

    def _sent(self) -> dict[str, Any]:
        sent: dict[str, Any] = {}
        for role in self.loader.roles:
            file: FileStorage | None = request.files.get(role.name)
            if file is None or not file.filename:
                continue
            if not file.stream.read(1):
                raise InvalidParams({role.name: NO_FILE})
            file.stream.seek(0)
            sent[role.name] = (file.stream, file.filename)
        return sent

    def _find(self, upload_id: UUID) -> Upload:
        return uploads.find_upload(current_scope(), self.slug, upload_id)

    def show_upload(
        self,
        upload_id: UUID,
        errors: Mapping[str, str] | None = None,
        typed: Mapping[str, Any] | None = None,
        status: int = 200,
    ) -> Response:
        """Show what is in the files, how far the work is, or what came of it."""
        upload = self._find(upload_id)
        job = db.session.get(jobs.Job, upload.job_id) if upload.job_id else None
        return render(
            "intake/show_upload.html",
            "intake/_upload.html",
            status=status,
            here=self,
            upload=upload,
            job=job,
            bar_of=job and {"permille": jobs.live_permille(job), "total": job.total},
            at_work=upload.status in AT_WORK,
            may_load=upload.status in LOADABLE,
            has_text=any(not look.get("sheet") for look in upload.looks.values()),
            asked=dict.fromkeys(name for name, _, _ in upload.questions),
            choices=CHOICES,
            encodings=ENCODINGS,
            separators=SEPARATORS,
            errors=errors or {},
            typed=typed if typed is not None else upload.options,
        )

    def start_upload(self, upload_id: UUID) -> Response:
        """Look again with what was said, or load; a load waits for a look that knows it all."""
        scope, upload = current_scope(), self._find(upload_id)
        if upload.status not in LOADABLE:
            raise Conflict(f"This upload is {upload.status}.")
        try:
            options = self._options(upload)
            wants_look = "look" in request.form
            self._save_mappings(upload, options)
            if self._is_known(upload, options) and not wants_look:
                self._check_loadable(upload, options)
                uploads.begin(scope.user_id, upload, LOADING, options)
                audit(scope, "loads", upload.names)
            else:
                options["load"] = not wants_look
                uploads.begin(scope.user_id, upload, LOOKING, options)
        except InvalidParams as error:
            return self.show_upload(upload_id, error.errors, request.form, 422)
        db.session.commit()
        return redirect_to(self.address(upload))

    def _options(self, upload: Upload) -> dict[str, Any]:
        form = request.form
        options: dict[str, Any] = {"skip_bad": "skip_bad" in form, **self.read_options()}
        for name, values in CHOICES.items():
            if value := form.get(name):
                if value not in values:
                    raise InvalidParams({name: "Choose one of the list."})
                options[name] = value
        roles = {role: self._said_of(role, look) for role, look in upload.looks.items()}
        return options | {"roles": roles}

    def _said_of(self, role: str, look: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the form says of a file's sheet and columns; what it leaves out stays."""
        form, said = request.form, read_as(look)
        sheet = form.get(f"{role}.sheet")
        if sheet in look.get("sheets", ()) and sheet != said["sheet"]:
            # Another sheet has columns of its own.
            return {"sheet": sheet}
        header = look.get("header", [])
        for field in self.loader.role(role).fields:
            place = form.get(f"{role}.column.{field.name}")
            if place is not None:
                said["columns"].pop(field.name, None)
                if place.isascii() and place.isdigit() and int(place) < len(header):
                    said["columns"][field.name] = int(place)
            value = form.get(f"{role}.value.{field.name}", said["values"].get(field.name, ""))
            said["values"].pop(field.name, None)
            if value.strip() and field.name not in said["columns"]:
                said["values"][field.name] = value.strip()[:200]
        if f"{role}.mapped" in form:
            kept = form.getlist(f"{role}.note")
            said["notes"] = [place for place in range(len(header)) if str(place) in kept]
            left = {field.name for field in self.loader.role(role).fields} - said["columns"].keys()
            said["columns"] |= dict.fromkeys(sorted(left))
        return said

    def _is_known(self, upload: Upload, options: Mapping[str, Any]) -> bool:
        """Say whether the last look knew all that is said of how to read the files."""
        checked_by = chain(*(self.loader.role(role).checked_by for role in upload.looks))
        if any(options.get(name) != upload.options.get(name) for name in (*CHOICES, *checked_by)):
            return False
        # A guess that comes back as it was is what the person says now.
        if any(look.get("guessed") for look in upload.looks.values()):
            return False
        return all(
            said
            | {
                "columns": {
                    name: at for name, at in said.get("columns", {}).items() if at is not None
                }
            }
            == read_as(upload.files[role]["look"])
            for role, said in options["roles"].items()
        )

    def _save_mappings(self, upload: Upload, options: Mapping[str, Any]) -> None:
        for role, said in options["roles"].items():
            name = request.form.get(f"{role}.save_as", "").strip()[: uploads.LONGEST_NAME]
            if name and "columns" in said:
                header = upload.files[role]["look"].get("header", [])
                uploads.save_mapping(upload.company_id, self.slug, role, header, name, said)

    def _check_loadable(self, upload: Upload, options: Mapping[str, Any]) -> None:
        for name, sentence, _ in upload.questions:
            raise InvalidParams({name: sentence})
        for role, sentence in upload.broken.items():
            raise InvalidParams({role: sentence})
        if (bad := upload.bad_rows) and not options["skip_bad"]:
            sentence = (
                f"{counted(bad, 'row')} cannot be used, and nothing was loaded: put right what is "
                "named below and send the file again, or leave such rows out."
            )
            raise InvalidParams({"skip_bad": sentence})

    def delete_upload(self, upload_id: UUID) -> Response:
        """Forget an upload; what was loaded from it stays."""
        upload = self._find(upload_id)
        audit(current_scope(), "deleted upload", upload.names)
        uploads.forget_upload(upload.id)
        db.session.commit()
        return redirect_to(f"/{self.slug}/{self.form_path}")

    def rejected_rows(self, upload_id: UUID) -> Response:
        """Give the CSV of rows that cannot be used."""
        file_id = self._find(upload_id).result.get(REJECTED)
        file = db.session.get(StoredFile, file_id) if file_id else None
        if file is None:
            raise NotFound("There are no such rows.")
        response = Response(read_chunks(file.id), mimetype="text/csv")
        response.headers.set("Content-Disposition", "attachment", filename="rejected.csv")
        return response


def upload_pages(pages: UploadPages) -> Blueprint:
    """Return the blueprint of a kind's uploads, for admins."""
    name = f"{pages.slug.replace('-', '_')}_uploads"
    bp = Blueprint(name, __name__, url_prefix=f"/{pages.slug}", template_folder="templates")
    restrict(bp, "admin")

    @bp.url_value_preprocessor
    def allow_large_files(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
        """Let an admin send files here that no other address takes; they go to disk as they come.

        Done before the form's token is looked for, which reads the whole body; strangers get no
        more than anywhere else.
        """
        try:
            check_role("admin")
        except ReportError:
            return
        request.max_content_length = MOST_BYTES

    form, one = f"/{pages.form_path}", "/uploads/<uuid:upload_id>"
    views: tuple[tuple[str, str, Any], ...] = (
        ("GET", form, pages.new_upload),
        ("POST", form, pages.create_upload),
        ("GET", one, pages.show_upload),
        ("POST", one, pages.start_upload),
        ("POST", f"{one}/delete", pages.delete_upload),
        ("GET", f"{one}/rejected.csv", pages.rejected_rows),
        ("GET", "/mappings", pages.index_mappings),
        ("POST", "/mappings/<role>/<header>", pages.change_mapping),
    )
    for method, rule, view in views:
        bp.add_url_rule(rule, view.__name__, view, methods=[method])
    return bp
