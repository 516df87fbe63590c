"""CSV, XLSX and JSON of a result: what is in them, and what never is."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime
from typing import Any

import openpyxl
import pypdf
import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.engine_helpers import COLUMNS, Steps, change, make, rows_result, start
from webapp.engine import export
from webapp.engine.kind import Chart, Column, Sheet
from webapp.engine.models import Report
from webapp.engine.registry import kinds
from webapp.engine.results import ReadResult
from webapp.errors import Conflict, InvalidParams
from webapp.extensions import db

pytestmark = pytest.mark.once

few = settings(max_examples=100)
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"]
ROW: dict[str, Any] = {
    "name": 'say "hello", world',
    "code": "119500000001",
    "count": 1234,
    "share": 12.5,
    "month": "2024-03",
    "day": "2024-03-09",
    "at": "2024-03-09T10:11:12.345Z",
    "open": True,
}


def written(steps: Flask, rows: list[dict[str, Any]], fmt: str, **more: Any) -> bytes:
    """Make a report of these rows and return it as a file."""
    report = make(steps, lambda run: rows_result(rows))
    with steps.app_context():
        buffer = io.BytesIO()
        kept = db.session.get_one(Report, report.id)
        export.write(kinds()[kept.kind], kept, fmt, buffer, **more)
        return buffer.getvalue()


def as_csv(rows: list[dict[str, Any]], *columns: Column, bom: bool = False) -> str:
    sheet = Sheet("rows", "Rows", columns, rows)
    return b"".join(export.csv_chunks(sheet, bom=bom)).decode()


def read_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


# CSV


def test_a_row_is_written_as_plain_values(steps: Flask) -> None:
    rows = read_csv(written(steps, [ROW], "csv").decode())
    assert rows[0] == [column.name for column in COLUMNS]
    assert rows[1] == [
        'say "hello", world', "119500000001", "1234", "12.5", "2024-03", "2024-03-09",
        "2024-03-09T10:11:12.345Z", "true",
    ]  # fmt: skip


def test_a_hole_is_an_empty_cell_and_zero_is_zero(steps: Flask) -> None:
    rows = [{"name": "a", "count": None}, {"name": "b", "count": 0}, {"name": "c"}]
    found = read_csv(written(steps, rows, "csv").decode())
    assert [row[2] for row in found[1:]] == ["", "0", ""]


def test_lines_end_with_carriage_return_and_line_feed(steps: Flask) -> None:
    text = written(steps, [ROW, ROW], "csv").decode()
    assert text.count("\r\n") == 3
    assert text.endswith("\r\n")
    assert "\n" not in text.replace("\r\n", "")


@pytest.mark.parametrize("start", FORMULAS)
def test_no_text_cell_starts_a_formula(start: str) -> None:
    for kind in ("text", "id", "month", "datetime"):
        cell = read_csv(as_csv([{"a": start}], Column("a", "A", kind)))[1][0]  # type: ignore[arg-type]
        assert cell == "'" + start


def test_a_negative_number_is_left_a_number() -> None:
    numbers = (Column("a", "A", "integer"), Column("b", "B", "decimal"))
    assert read_csv(as_csv([{"a": -5, "b": -0.5}], *numbers))[1] == ["-5", "-0.5"]


def test_a_text_in_a_number_column_is_guarded_too() -> None:
    assert read_csv(as_csv([{"a": "-5+cmd()"}], Column("a", "A", "integer")))[1] == ["'-5+cmd()"]


texts = st.text(st.characters(codec="utf-8"), max_size=8)


@few
@given(st.lists(st.tuples(texts, texts), max_size=5))
def test_any_text_is_read_back_as_rfc_4180_says(rows: list[tuple[str, str]]) -> None:
    columns = (Column("a", "A"), Column("b", "B"))
    found = read_csv(as_csv([dict(zip("ab", row, strict=True)) for row in rows], *columns))
    for row, back in zip(rows, found[1:], strict=True):
        for text, cell in zip(row, back, strict=True):
            assert cell in {text, "'" + text}
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_a_lone_surrogate_does_not_end_the_download() -> None:
    assert "?" in as_csv([{"a": "lone \ud800"}], Column("a", "A"))


def test_the_mark_comes_first_and_only_when_asked_for() -> None:
    with_mark = as_csv([{"a": 1}], Column("a", "A"), bom=True)
    assert with_mark.startswith("\ufeffa\r\n")
    assert not as_csv([{"a": 1}], Column("a", "A")).startswith("\ufeff")


@pytest.mark.parametrize("start", FORMULAS)
def test_a_raw_one_alters_no_text(start: str) -> None:
    sheet = Sheet("rows", "Rows", (Column("a", "A"),), [{"a": start}])
    assert read_csv(b"".join(export.csv_chunks(sheet, raw=True)).decode())[1] == [start]


def test_a_large_table_streams_in_many_pieces() -> None:
    sheet = Sheet("rows", "Rows", (Column("a", "A"),), ({"a": n} for n in range(5000)))
    pieces = list(export.csv_chunks(sheet))
    assert len(pieces) > 5
    assert b"".join(pieces).count(b"\r\n") == 5001


def test_an_unknown_table_is_refused_and_the_known_ones_named(steps: Flask) -> None:
    with pytest.raises(InvalidParams) as caught:
        written(steps, [ROW], "csv", by="colour")
    assert caught.value.errors == {"by": "This result has no such table; choose one of rows."}


# JSON


def test_json_has_the_kind_the_head_and_the_tables(steps: Flask) -> None:
    document = json.loads(written(steps, [ROW], "json"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document.pop("generated_at"))
    assert document == {"kind": "steps", "note": "made", "complete": True, "rows": [ROW]}


def test_an_empty_table_is_an_empty_array(steps: Flask) -> None:
    assert json.loads(written(steps, [], "json"))["rows"] == []


def test_json_and_csv_tell_the_same_of_many_rows(steps: Flask) -> None:
    rows = [ROW | {"name": f"row {number}", "count": number} for number in range(1203)]
    document = json.loads(written(steps, rows, "json"))
    table = read_csv(written(steps, rows, "csv").decode())
    assert [[row["name"], str(row["count"])] for row in document["rows"]] == [
        [row[0], row[2]] for row in table[1:]
    ]
    assert len(document["rows"]) == 1203


@pytest.mark.parametrize("name", ["\ud800 lone", "<script>", "a\u2028b", "\x00", "日本"])
def test_json_survives_any_text(steps: Flask, name: str) -> None:
    assert json.loads(written(steps, [{"name": name}], "json"))["rows"][0]["name"]


# XLSX


def book(steps: Flask, rows: list[dict[str, Any]]) -> Any:
    return openpyxl.load_workbook(io.BytesIO(written(steps, rows, "xlsx")))


def test_cells_have_the_types_of_their_columns(steps: Flask) -> None:
    cells = list(book(steps, [ROW])["Rows"].iter_rows(min_row=2))[0]  # noqa: RUF015
    assert [cell.value for cell in cells] == [
        'say "hello", world', "119500000001", 1234, 12.5, datetime(2024, 3, 1),  # noqa: DTZ001
        datetime(2024, 3, 9), datetime(2024, 3, 9, 10, 11, 12, 345000), True,  # noqa: DTZ001
    ]  # fmt: skip
    assert [cell.data_type for cell in cells] == ["s", "s", "n", "n", "d", "d", "d", "b"]


def test_the_header_is_frozen_and_names_unit_and_zone(steps: Flask) -> None:
    page = book(steps, [ROW])["Rows"]
    assert page.freeze_panes == "A2"
    header = [cell.value for cell in page[1]]
    assert header == [
        "Name", "Code", "Count", "Share (percent)", "Month", "Day", "At (UTC)", "Open",
    ]  # fmt: skip


def test_there_is_a_sheet_a_table_and_one_about_the_report(steps: Flask) -> None:
    found = book(steps, [ROW])
    assert found.sheetnames == ["Rows", "About"]
    about = {row[0].value: row[1].value for row in found["About"].iter_rows()}
    assert about["Report"] == "Steps"
    assert about["Status"] == "done"


@pytest.mark.parametrize("text", [*FORMULAS, "http://example.com", "{=1+1}", "007"])
def test_no_text_becomes_a_formula_a_link_or_a_number(steps: Flask, text: str) -> None:
    cell = book(steps, [{"name": text}])["Rows"]["A2"]
    assert cell.data_type == "s"
    assert cell.hyperlink is None
    assert str(cell.value).replace("_x000D_", "\r").strip() == text.strip()


@pytest.mark.parametrize("count", [3, 4, 5, 9])
def test_a_sheet_is_cut_at_its_last_row_and_says_so(steps: Flask, count: int) -> None:
    rows = [{"name": f"row {number}", "count": number} for number in range(count)]
    report = make(steps, lambda run: rows_result(rows))
    with steps.app_context():
        kept = db.session.get_one(Report, report.id)
        kind = kinds()[kept.kind]
        with export.xlsx_file(kind, kept, ReadResult(kept), sheet_rows=5) as file:
            page = openpyxl.load_workbook(file)["Rows"]
    found = [row[0] for row in page.iter_rows(min_row=2, max_col=1, values_only=True)]
    names = [str(row["name"]) for row in rows]
    if count <= 4:
        assert found == names
        assert page.auto_filter.ref == f"A1:H{count + 1}"
    else:
        assert found == [*names[:3], "… cut here: Excel has no more rows; take the CSV."]
        assert page.auto_filter.ref == "A1:H5"


def test_holes_are_empty_cells(steps: Flask) -> None:
    cells = list(book(steps, [{"name": "a", "count": None}])["Rows"].iter_rows(min_row=2))[0]  # noqa: RUF015
    assert [cell.value for cell in cells[1:]] == [None] * 7


def test_a_date_that_is_none_stays_a_text(steps: Flask) -> None:
    assert book(steps, [{"day": "someday"}])["Rows"]["F2"].value == "someday"


# What has no result


@pytest.mark.parametrize("ended", ["queued", "failed", "cancelled"])
def test_a_report_without_result_says_why(steps: Flask, ended: str) -> None:
    report_id = start(steps)
    change(steps, report_id, status=ended, error="The reason.")
    with steps.app_context(), pytest.raises(Conflict) as caught:
        ReadResult(db.session.get_one(Report, report_id))
    assert {"queued": "queued", "failed": "The reason.", "cancelled": "cancelled"}[
        ended
    ] in caught.value.message


def test_a_file_name_is_safe_on_every_system(steps: Flask) -> None:
    report = make(steps, lambda run: rows_result(), title="a/b\\c: ünï?<>|")
    with steps.app_context():
        name = export.file_name(db.session.get_one(Report, report.id), "csv", "by site")
    assert name == "steps-a-b-c-n-by-site.csv"
    assert Steps.slug in name


class Drawn(Steps):
    """A kind whose result has a chart."""

    def charts(self, head: Any) -> tuple[Chart, ...]:
        return (Chart("rows", "name", (("Count", "count", "bar"),)),)


def test_a_document_draws_a_chart_and_names_it(steps: Flask) -> None:
    rows = [dict.fromkeys(ROW) | {"name": name, "count": 1} for name in "abc"]
    report_id = make(steps, lambda run: rows_result(rows)).id
    with steps.app_context():
        buffer = io.BytesIO()
        export.write(Drawn(), db.session.get_one(Report, report_id), "pdf", buffer)
    assert "Count by name" in pypdf.PdfReader(buffer).pages[0].extract_text()


def test_a_file_is_called_by_at_most_120_characters_and_its_ending() -> None:
    report = Report(task="steps", label="long " * 100)
    assert len(export.file_name(report, "csv")) == 124
