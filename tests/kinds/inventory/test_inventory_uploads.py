"""Workbooks as people have them: of other programs, locked, cut short, damaged on the way."""

from __future__ import annotations

import io
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete

from tests.conftest import find_scope
from tests.intake.intake_helpers import kept
from tests.kinds.inventory.inventory_helpers import DATA, Caller, make_demo_for, run_waiting
from tests.kinds.inventory.test_inventory_pages import HEADER, load, send
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.files import as_path, store_file
from webapp.files.store import CHUNK_BYTES, FileChunk
from webapp.intake import BadFile, Row, detect, read_rows
from webapp.kinds.inventory import ingest

Browsers = Callable[[str], FlaskClient]
LINES = 30


def workbook(*rows: list[Any]) -> bytes:
    """Return a workbook with the header and these rows."""
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    for row in (HEADER.split(","), *rows):
        page.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def repacked(data: bytes, change: Callable[[str, bytes], bytes] = lambda _, part: part) -> bytes:
    """Return a ZIP with its parts changed and not compressed, so that damage reaches the XML."""
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return content.getvalue()


def in_sheet(before: bytes, after: bytes) -> bytes:
    """Return a workbook of one line in whose sheet something is put in place of something else."""

    def change(name: str, part: bytes) -> bytes:
        if "sheet1" not in name:
            return part
        assert before in part
        return part.replace(before, after)

    return repacked(workbook(["a", 2025, "Acme", 1, "Heat", 1, "kWh", 1]), change)


def locked() -> bytes:
    """Return a ZIP whose parts say that they need a password."""
    data = bytearray(workbook())
    for at in [found.start() for found in re.finditer(rb"PK\x01\x02", data)]:
        data[at + 8] |= 1
    return bytes(data)


def another_program() -> bytes:
    """Return what a text processor writes: the same container, no sheets in it."""
    return repacked(workbook(), lambda _, part: part.replace(b"spreadsheetml", b"wordprocessingml"))


@pytest.mark.parametrize(
    "data",
    [
        another_program(),
        locked(),
        workbook()[:-200],
        in_sheet(b'r="A2"', b'r="2"'),
        in_sheet(b"<v>1</v>", b"<v>one</v>"),
    ],
    ids=["text", "password", "cut", "no column", "no number"],
)
def test_no_workbook_is_said_in_a_sentence_and_is_not_loaded(
    acme: str, client_for: Browsers, data: bytes
) -> None:
    shown = send(client_for("owner"), data, "entries.xlsx")
    assert "cannot be read" in shown.text
    assert load(client_for("owner"), shown).status_code == 422


def rows_of(path: Path) -> list[Row]:
    return list(read_rows(path, detect(path, ingest.FIELDS), ingest.FIELDS))


def damaged_copies(data: bytes) -> Iterator[bytes]:
    """Yield 200 copies with bytes changed, every other one where that reaches the XML."""
    loose = repacked(data)
    for seed in range(100):
        chance = random.Random(seed)
        for copy in (bytearray(data), bytearray(loose)):
            for _ in range(chance.randint(1, 4)):
                copy[chance.randrange(4, len(copy))] ^= 1 << chance.randrange(8)
            yield bytes(copy)


def test_a_damaged_workbook_is_read_as_it_was_or_refused(tmp_path: Path) -> None:
    good = workbook(*([n, 2025, "Acme", 1, "Heat", n / 8, "kWh", 2] for n in range(LINES)))
    whole = rows_of(kept(tmp_path, good))
    refused = []
    for copy in damaged_copies(good):
        try:
            assert rows_of(kept(tmp_path, copy)) == whole
        except BadFile as error:
            refused.append(error.sentence)
    # The others are damaged in parts that say nothing of the rows, such as the styles.
    assert len(refused) > 120
    assert all("cannot be read" in sentence for sentence in refused)


def test_a_sheet_may_be_wrong_about_its_size(acme: str, client_for: Browsers) -> None:
    for size in (b"A1:A1", b"A1:XFD1048576"):
        data = in_sheet(b'ref="A1:H2"', b'ref="' + size + b'"')
        page = send(client_for("owner"), data, "entries.xlsx")
        assert "1 line: 1 can be stored" in page.text


def test_a_row_below_any_sheet_is_refused_at_once(tmp_path: Path) -> None:
    data = in_sheet(b'<row r="2"', b'<row r="99999999999"')
    with pytest.raises(BadFile, match="1,048,576 rows"):
        rows_of(kept(tmp_path, data))


def test_a_number_in_a_text_column_is_text(acme: str, client_for: Browsers) -> None:
    # A name is known with the gaps a cell may have in it.
    data = workbook(["a", 2025, "LYON\n\N{NO-BREAK SPACE}office", 3, 7, 1, 1000, 1])
    page = send(client_for("owner"), data, "entries.xlsx")
    assert "1 line: 1 can be stored" in page.text
    assert "<td>7</td>" in page.text
    assert "<td>1000</td>" in page.text


def test_an_error_in_a_column_that_is_not_used_refuses_its_row(
    acme: str, client_for: Browsers
) -> None:
    owner = client_for("owner")
    row = [2025, "Acme", 1, "Heat", 1, "kWh", 1]
    data = workbook(["a", *row], ["b", *row, "#REF!"])
    page = send(owner, data, "entries.xlsx")
    sentence = "I3 holds the error #REF!; correct the formula or empty the cell"
    assert "2 lines: 1 can be stored, 1 cannot" in page.text
    assert sentence in page.text
    assert 'name="decimal_mark"' in page.text
    assert 'name="separator"' not in page.text
    assert load(owner, page).status_code == 422
    found = re.search(r'href="(/inventory/uploads/[^"]+/rejected.csv)"', page.text)
    assert found
    assert sentence in owner.get(found[1]).text
    loaded = load(owner, page, skip_bad="true")
    assert "1 created, 0 updated" in owner.get(loaded.headers["Location"]).text


def test_everything_wrong_with_a_line_is_named_at_once(acme: str, client_for: Browsers) -> None:
    lines = (
        f"{HEADER},start,end",
        "a,2025,Acme,1,Heat,1,kWh,1,,",
        "a,1999,Nowhere,9,,many,kWh,1,2025-01-01,2025-01-31",
        "b,2025,Nowhere,1,Heat,many,kWh,1,2024-12-31,soon",
        "b,2025,Acme,1,Heat,1,kWh,1,2025-02-01,2025-01-31",
    )
    page = send(client_for("owner"), "\n".join(lines).encode())
    rows = re.findall(r'is-number">(\d+)</td><td>(\w+)</td><td>[^<]+</td></tr>', page.text)
    found: dict[str, set[str]] = {}
    for line, name in rows:
        found.setdefault(line, set()).add(name)
    assert found == {
        "3": {"id", "period_id", "unit_id", "scope", "category", "quantity"},
        "4": {"unit_id", "quantity", "start_date", "end_date"},
        "5": {"end_date"},
    }


def test_what_was_given_out_as_data_comes_back_as_it_was(
    app: Flask, client_for: Browsers, caller: Callable[[str], Caller]
) -> None:
    """DATA_DUMP, sent in again, changes nothing; a number changed in it changes its entry."""
    make_demo_for(app, "owner")
    ours = caller("owner")
    # More digits than a workbook keeps, such as a computed quantity has.
    many = {"quantity": "333333.333333333310", "emission_factor": "123456789012345678.000000000001"}
    [*_, last] = ours.get(f"{DATA}/entries", limit="1000").json["entries"]
    last = {name: value for name, value in last.items() if name != "emissions"}
    assert ours.post(f"{DATA}/entries", [last | many]).json["updated"] == 1
    report = ours.start().json["id"]
    run_waiting(app)
    dump = app.test_client().get(ours.url(report).json["url"]).data
    owner = client_for("owner")
    page = send(owner, dump, "inventory.xlsx")
    assert "288 lines: 288 can be stored, 0 cannot" in page.text
    stored = owner.get(load(owner, page).headers["Location"])
    assert "0 created, 0 updated, 288 unchanged" in stored.text
    book = openpyxl.load_workbook(io.BytesIO(dump))
    sheet = book["Inventory"]
    [column] = [cell.column for cell in sheet[1] if cell.value == "Quantity"]
    sheet.cell(2, column).value = 12.25
    content = io.BytesIO()
    book.save(content)
    page = send(owner, content.getvalue(), "inventory.xlsx")
    stored = owner.get(load(owner, page).headers["Location"])
    assert "0 created, 1 updated, 287 unchanged" in stored.text


def test_a_file_that_is_deleted_while_it_is_read_is_loaded_by_nobody(app: Flask) -> None:
    with app.app_context():
        company_id = find_scope(app, "owner").company_id
        content = io.BytesIO(bytes(CHUNK_BYTES + 1))
        file_id = store_file(company_id, content, kind="upload", format="", name="u")
        db.session.execute(delete(FileChunk).where(FileChunk.position == 1))
        db.session.commit()
        with pytest.raises(NotFound), as_path(file_id):
            pass
