"""Report files outside of the database: in a folder, and in an S3 that speaks the wire format."""

from __future__ import annotations

import hashlib
import io
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, func, select, update

from tests.conftest import find_scope
from tests.kinds.inventory.inventory_helpers import REPORTS, Caller, make_demo_for, run_waiting
from tests.kinds.inventory.object_helpers import Bucket, serving_bucket
from webapp.config import BadSetting, load_settings
from webapp.engine import service, upkeep
from webapp.errors import RunEnded, Unavailable
from webapp.extensions import db
from webapp.files import FileChunk, FileObject, StoredFile, store
from webapp.jobs import Job
from webapp.lib import objects
from webapp.lib.moments import utcnow

Callers = Callable[[str], Caller]
PAIRS = {"DATA_DUMP": "XLSX", "GHG_PROTOCOL": "XLSX", "ISO14064": "PDF", "REPORT_DATA": "JSON"}


@pytest.fixture
def folder(app: Flask, tmp_path: Path) -> Path:
    """Return a folder that takes the files of reports; it is made when the first one comes."""
    make_demo_for(app, "owner")
    app.config["FILES_URL"] = f"file://{tmp_path}/objects"
    return tmp_path / "objects"


@pytest.fixture
def bucket(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    make_demo_for(app, "owner")
    with serving_bucket() as bucket:
        for name, value in bucket.environ().items():
            monkeypatch.setenv(name, value)
        app.config["FILES_URL"] = "s3://files/of/reports"
        yield bucket


def make(app: Flask, who: Caller) -> str:
    report_id: str = who.start().json["id"]
    run_waiting(app)
    return report_id


def rows(app: Flask, model: Any) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(model)) or 0


def lying(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def assert_all_files(app: Flask, who: Caller, report_id: str) -> None:
    """The four files come whole, with the size and the hash their rows have."""
    with app.app_context():
        rows_of = {
            one.kind: (one.size_bytes, one.sha256)
            for one in db.session.scalars(
                select(StoredFile).where(StoredFile.report_id == report_id)
            )
        }
    for report_type, file_type in PAIRS.items():
        answer = app.test_client().get(who.url(report_id, report_type, file_type).json["url"])
        assert answer.status_code == 200, answer.text
        found = (len(answer.data), hashlib.sha256(answer.data).hexdigest())
        assert found == rows_of[report_type]


def test_a_report_keeps_its_files_in_a_folder(app: Flask, folder: Path, caller: Callers) -> None:
    ours = caller("colleague")
    report_id = make(app, ours)
    assert len(lying(folder)) == rows(app, FileObject) == 4
    assert rows(app, FileChunk) == 0
    assert_all_files(app, ours, report_id)


def test_each_file_is_read_from_where_it_is_whatever_the_setting_says_now(
    app: Flask, folder: Path, caller: Callers
) -> None:
    ours = caller("colleague")
    there = make(app, ours)
    app.config["FILES_URL"] = ""
    here = make(app, ours)
    app.config["FILES_URL"] = f"{folder.as_uri()}/elsewhere"
    for report_id in (there, here):
        assert_all_files(app, ours, report_id)
    assert ours.delete(f"{REPORTS}/{there}").status_code == 200
    assert lying(folder) == []
    assert_all_files(app, ours, here)


def test_expired_files_and_reports_leave_no_object(
    app: Flask, folder: Path, caller: Callers
) -> None:
    first, second = make(app, caller("colleague")), make(app, caller("colleague"))
    long_ago = utcnow() - timedelta(days=3000)
    with app.app_context():
        db.session.execute(
            update(StoredFile).where(StoredFile.report_id == first).values(created_at=long_ago)
        )
        db.session.execute(update(Job).where(Job.id == second).values(finished_at=long_ago))
        db.session.commit()
        upkeep.tidy()
        assert len(lying(folder)) == 8
        service.kinds()["inventory"].nightly()
    assert lying(folder) == []
    assert rows(app, FileObject) == rows(app, StoredFile) == 0


def test_a_restart_leaves_the_objects_of_its_attempt_alone(
    app: Flask, folder: Path, caller: Callers
) -> None:
    report_id = make(app, caller("colleague"))
    before = set(lying(folder))
    with app.app_context():
        db.session.execute(update(Job).values(status="queued"))
        db.session.commit()
    run_waiting(app)
    assert len(lying(folder)) == 4
    assert not before & set(lying(folder))
    assert_all_files(app, caller("colleague"), report_id)


def test_an_upload_lies_beside_the_reports_and_is_lent_as_a_path(app: Flask, folder: Path) -> None:
    with app.app_context():
        company_id = find_scope(app, "owner").company_id
        upload = store.store_file(company_id, io.BytesIO(b"x"), kind="upload", format="", name="u")
        assert b"".join(store.read_chunks(upload)) == b"x"
        with store.as_path(upload) as path:
            assert path.read_bytes() == b"x"
        assert not path.exists()
        assert len(lying(folder)) == 1
        store.drop_files(StoredFile.id == upload)
        store.sweep(FileObject.file_id == upload)
    assert lying(folder) == []


def test_a_file_deleted_while_it_was_stored_leaves_no_object(
    app: Flask, folder: Path, caller: Callers
) -> None:
    report_id = make(app, caller("colleague"))

    def delete_the_row() -> None:
        with db.engine.begin() as connection:
            connection.execute(delete(StoredFile).where(StoredFile.name == "late"))

    with app.app_context():
        store.store_file(
            find_scope(app, "owner").company_id,
            io.BytesIO(b"{}"),
            kind="REPORT_DATA",
            format="JSON",
            name="late",
            report_id=report_id,
            check=delete_the_row,
        )
    assert len(lying(folder)) == rows(app, FileObject) == 4


def test_a_file_whose_object_is_gone_is_gone(app: Flask, folder: Path, caller: Callers) -> None:
    ours = caller("colleague")
    url = ours.url(make(app, ours)).json["url"]
    for path in lying(folder):
        path.unlink()
    answer = app.test_client().get(url)
    assert (answer.status_code, answer.text.strip()) == (
        404,
        "The file is gone.",
    )


def test_s3_takes_files_in_parts_and_gives_them_in_ranges(bucket: Bucket, app: Flask) -> None:
    piece = bytes(range(256)) * 2048
    chunks = [piece] * 25
    with app.app_context():
        objects.put_object("s3://files/of", "a/b.json", chunks)
        whole = b"".join(chunks)
        assert bucket.objects == {"files/of/a/b.json": whole}
        parts = [path for method, path, _ in bucket.asked if "partNumber" in path]
        assert len(parts) == 3
        found = list(objects.read_object("s3://files/of", "a/b.json", len(whole)))
        assert b"".join(found) == whole
        assert max(map(len, found)) == objects.RANGE_BYTES
    assert all("AKIATESTS" in signed for _, _, signed in bucket.asked)


@pytest.mark.parametrize("reports", [REPORTS, "/api/v1/reports"])
def test_a_report_in_s3_comes_whole_and_goes_whole(
    bucket: Bucket, app: Flask, caller: Callers, reports: str
) -> None:
    ours = caller("colleague")
    report_id = make(app, ours)
    company_id = find_scope(app, "owner").company_id
    assert len(bucket.objects) == 4
    folder = f"files/of/reports/{company_id}/{report_id}/"
    assert all(key.startswith(folder) for key in bucket.objects)
    assert_all_files(app, ours, report_id)
    bucket.asked.clear()
    url = ours.url(report_id).json["url"]
    assert int(app.test_client().head(url).headers["Content-Length"]) > 1000
    assert bucket.asked == []
    assert ours.delete(f"{reports}/{report_id}").status_code in {200, 204}
    assert bucket.objects == {}
    assert rows(app, FileObject) == 0


def test_a_cancelled_report_leaves_no_parts_behind(bucket: Bucket) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(15):
            yield bytes(512 * 1024)
        raise RunEnded("Cancelled.")

    with pytest.raises(RunEnded):
        objects.put_object("s3://files/of", "a/b.json", chunks())
    assert any("partNumber=1" in path for _, path, _ in bucket.asked)
    assert bucket.parts == bucket.objects == {}


@pytest.mark.parametrize("status", [403, 500])
def test_a_store_that_is_away_fails_a_report_with_its_reason(
    bucket: Bucket, app: Flask, caller: Callers, status: int
) -> None:
    bucket.broken = status
    ours = caller("colleague")
    report_id = make(app, ours)
    assert ours.get(f"{REPORTS}/{report_id}").json["reportFileStatus"] == "FAILED"
    error = ours.get(f"/api/v1/reports/{report_id}").json["error"]
    assert error == objects.AWAY.format(f"HTTP {status}")


def test_a_store_that_is_away_is_503_in_one_sentence_and_noted_nowhere_as_taken(
    bucket: Bucket, app: Flask, caller: Callers, caplog: pytest.LogCaptureFixture
) -> None:
    ours = caller("colleague")
    url = ours.url(make(app, ours)).json["url"]
    bucket.broken = 503
    with caplog.at_level(logging.DEBUG):
        answer = app.test_client().get(url)
    assert answer.status_code == 503
    assert answer.text.strip() == objects.AWAY.format("HTTP 503")
    assert "s3://files/of/reports" in caplog.text
    for secret in ("AKIATESTS", "the-secret-of-the-store", "Signature"):
        assert secret not in caplog.text + answer.text
    bucket.broken = 0
    assert app.test_client().get(url).status_code == 200


def test_what_cannot_be_removed_now_is_removed_in_the_night(
    bucket: Bucket, app: Flask, caller: Callers
) -> None:
    ours = caller("colleague")
    report_id = make(app, ours)
    bucket.broken = 500
    assert ours.delete(f"{REPORTS}/{report_id}").status_code == 200
    assert ours.get(f"{REPORTS}/{report_id}").status_code == 404
    assert len(bucket.objects) == rows(app, FileObject) == 4
    bucket.broken = 0
    with app.app_context():
        service.kinds()["inventory"].nightly()
    assert bucket.objects == {}
    assert rows(app, FileObject) == 0


def test_a_store_that_nobody_answers_for_is_unavailable(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for act in (
        lambda: objects.put_object("s3://files", "a", [b"x"]),
        lambda: objects.read_object("s3://files", "a", 1),
        lambda: objects.remove_object("s3://files", "a"),
    ):
        with pytest.raises(Unavailable):
            act()


@pytest.mark.parametrize(
    "url", ["s3://bucket", "s3://bucket/a/b/", "gs://b/c", "az://container/c", "file:///srv/files"]
)
def test_a_store_is_named_by_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILES_URL", url)
    assert load_settings()["FILES_URL"] == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:hushhush@bucket/a",
        "s3://AKIA:hush/hush@bucket",
        "s3://hushhush:1/a",
        "az://container/a?sig=hushhush",
        "https://example.com/hushhush",
        "s3://",
        "file://",
        "file:///",
        "hushhush",
    ],
)
def test_a_store_with_credentials_in_its_url_is_refused_without_repeating_them(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILES_URL", url)
    with pytest.raises(BadSetting) as caught:
        load_settings()
    assert str(caught.value).startswith("FILES_URL: ")
    assert "hush" not in str(caught.value)


def test_the_library_is_loaded_only_where_a_store_is_named() -> None:
    code = "import sys, webapp.kinds.inventory.kind; print('obstore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
