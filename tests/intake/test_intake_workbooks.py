"""Workbooks: sheets, cells of every type, errors with their address, and files made to do harm."""

from __future__ import annotations

import io
import random
import re
import time
import tracemalloc
import zipfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import xlsxwriter
from intake_helpers import FIELDS, HEADER, STRICT, TRANSITIONAL, kept, workbook

from webapp.intake import BadFile, Choices, Field, Row, detect, read_rows


def rows_of(folder: Path, content: bytes, choices: Choices = Choices()) -> list[Row]:  # noqa: B008
    path = kept(folder, content)
    return list(read_rows(path, detect(path, FIELDS, choices), FIELDS))


def line(cells: str) -> str:
    return f'<row r="2">{cells}</row>'


GOOD = line(
    '<c r="A2"><v>45729</v></c><c r="B2"><v>7</v></c><c r="C2"><v>3.3000000000000003</v></c>'
)


def moved(row: str, number: int) -> str:
    return re.sub(r'r="([A-Z]*)2"', rf'r="\g<1>{number}"', row)


@pytest.mark.parametrize("namespaces", [TRANSITIONAL, STRICT], ids=["transitional", "strict"])
def test_numbers_are_numbers_and_days_only_in_columns_of_dates(
    tmp_path: Path, namespaces: tuple[str, str]
) -> None:
    [row] = rows_of(tmp_path, workbook(HEADER + GOOD, namespaces=namespaces))
    assert row.values == {
        "day": date(2025, 3, 13),
        "who": "7",
        "amount": Decimal("3.3000000000000003"),
    }


def test_a_text_that_may_be_two_numbers_or_days_is_refused_by_itself(tmp_path: Path) -> None:
    text = '<c r="C2" t="str"><v>54.990</v></c>'
    cells = GOOD.replace('<c r="C2"><v>3.3000000000000003</v></c>', text)
    sheet = "".join(moved(GOOD, number) for number in range(3, 2100)) + moved(cells, 2100)
    for number, day in ((2101, "13/03/2025"), (2102, "03/04/2025")):
        day = f'<c r="A2" t="str"><v>{day}</v></c>'
        sheet += moved(GOOD.replace('<c r="A2"><v>45729</v></c>', day), number)
    rows = rows_of(tmp_path, workbook(HEADER + sheet))
    assert len(rows) == 2100
    assert "read in two ways" in rows[-3].errors["amount"]
    assert rows[-2].values["day"] == date(2025, 3, 13)
    assert "read in two ways; write it as yyyy-mm-dd" in rows[-1].errors["day"]


def test_days_may_be_counted_from_1904(tmp_path: Path) -> None:
    [row] = rows_of(tmp_path, workbook(HEADER + GOOD.replace("45729", "44267"), since_1904=True))
    assert row.values["day"] == date(2025, 3, 13)


def test_unix_seconds_and_times_are_no_days(tmp_path: Path) -> None:
    for number in ("1735689600", "45729.5", "0"):
        [row] = rows_of(tmp_path, workbook(HEADER + GOOD.replace("45729", number)))
        assert "not a da" in row.errors["day"]
    [row] = rows_of(tmp_path, workbook(HEADER + GOOD.replace("45729", "45729.4375")))
    assert "it is 2025-03-13 with a time; write the day alone" in row.errors["day"]


@pytest.mark.parametrize(
    ("number", "style", "seconds"),
    [
        (0.002430555555, "[h]:mm:ss", "210"),
        (0.002430555555, "mm:ss.0", "210"),
        (0.002430555555, "[$-F400]h:mm:ss\\ AM/PM", "210"),
        (0.002430555555, "h:mm", "210"),
        (209.99999999999997, "0", "210"),
        (210, '#,##0 "hs"', "210"),
        (3.5 / 24, "h:mm", "3:30 is in hours and minutes here: write it with seconds, 0:03:30 or"),
        (45729, "dd/mm/yyyy", "The cell is shown as a date; format it as a number"),
    ],
)
def test_times_are_seconds_where_a_cell_shows_them(
    tmp_path: Path, number: float, style: str, seconds: str
) -> None:
    fields, content = (Field("length", "length", "seconds"), *FIELDS[2:3]), io.BytesIO()
    with xlsxwriter.Workbook(content) as book:
        page = book.add_worksheet()
        page.write_row(0, 0, ["length", "amount"])
        page.write_row(1, 0, [number, number], book.add_format({"num_format": style}))
    path = kept(tmp_path, content.getvalue())
    [row] = read_rows(path, detect(path, fields), fields)
    assert (row.values | row.errors)["length"].startswith(seconds)
    # Where a number is wanted, a cell that shows none is not what was meant.
    assert ("amount" in row.errors) is (style not in {"0", '#,##0 "hs"'})


@pytest.mark.parametrize("value", ["", "<v></v>", "<v/>"])
def test_errors_and_formulas_without_value_are_refused_with_their_address(
    tmp_path: Path, value: str
) -> None:
    cells = (
        '<c r="A2"><v>45729</v></c><c r="B2" t="e"><f>B9</f><v>#N/A</v></c>'
        f'<c r="C2"><f>10/3</f>{value}</c><c r="D2" t="e"><v>#REF!</v></c>'
    )
    [row] = rows_of(tmp_path, workbook(HEADER + line(cells)))
    assert row.errors["who"].startswith("B2 holds the error #N/A")
    assert row.errors["note"].startswith("D2 holds the error #REF!")
    assert row.errors["amount"].startswith("C2 holds a formula without a stored value; open")


OTHER = '<c r="E1" t="inlineStr"><is><t>Total</t></is></c></row>'


@pytest.mark.parametrize(("place", "column"), [("E", "Total"), ("G", "G")])
def test_an_error_is_refused_in_a_column_that_nobody_reads(
    tmp_path: Path, place: str, column: str
) -> None:
    error = f'<c r="{place}2" t="e"><f>Other!A1</f><v>#REF!</v></c></row>'
    sheet = HEADER.replace("</row>", OTHER) + GOOD.replace("</row>", error)
    [row] = rows_of(tmp_path, workbook(sheet))
    assert row.errors[column].startswith(f"{place}2 holds the error #REF!; correct the formula")


def test_a_formula_without_value_is_refused_where_it_is_read_also_as_a_note(tmp_path: Path) -> None:
    formula = '<c r="E2"><f>B2*C2</f></c></row>'
    content = workbook(HEADER.replace("</row>", OTHER) + GOOD.replace("</row>", formula))
    assert rows_of(tmp_path, content)[0].errors == {}
    [row] = rows_of(tmp_path, content, Choices(notes=(4,)))
    assert row.errors["Total"].startswith("E2 holds a formula without a stored value")


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ('<c r="E1" t="e"><f>A9</f><v>#REF!</v></c>', "E1 holds the error #REF!"),
        ('<c r="E1"><f>A9</f></c>', "E1 holds a formula without a stored value"),
    ],
)
def test_a_header_that_has_failed_refuses_the_file(
    tmp_path: Path, cell: str, sentence: str
) -> None:
    with pytest.raises(BadFile, match=sentence):
        rows_of(tmp_path, workbook(HEADER.replace("</row>", f"{cell}</row>") + GOOD))


def test_a_row_of_spaces_is_an_empty_one(tmp_path: Path) -> None:
    spaces = '<row r="3"><c r="A3" t="inlineStr"><is><t> </t></is></c></row>'
    assert len(rows_of(tmp_path, workbook(HEADER + GOOD + spaces))) == 1
    formula = spaces.replace(' t="inlineStr"><is><t> </t></is>', "><f>B9</f>")
    assert len(rows_of(tmp_path, workbook(HEADER + GOOD + formula))) == 2


def test_formulas_count_by_their_stored_values(tmp_path: Path) -> None:
    cells = GOOD.replace("<v>3.3000000000000003</v>", "<f>10/3</f><v>3.3333333333333335</v>")
    [row] = rows_of(tmp_path, workbook(HEADER + cells))
    assert row.values["amount"] == Decimal("3.3333333333333335")


def test_texts_are_shared_rich_escaped_and_without_their_reading_aid(tmp_path: Path) -> None:
    shared = (
        "<si><r><t>Du</t></r><r><t>ss</t></r><rPh><t>no</t></rPh></si><si><t>a_x000D_\nb</t></si>"
    )
    for number, text in enumerate(("Duss", "a\nb")):
        note = f'<c r="D2" t="s"><v>{number}</v></c></row>'
        sheet = HEADER + GOOD.replace("</row>", note)
        [row] = rows_of(tmp_path, workbook(sheet, shared=shared))
        assert row.values["note"] == text


def test_names_may_have_a_prefix_and_cells_no_reference(tmp_path: Path) -> None:
    sheet = "".join((HEADER, '<row><c r="A2"><v>45729</v></c><c><v>7</v></c><c><v>1</v></c></row>'))
    marked = sheet.replace("</", "</x:").replace("<", "<x:").replace("<x:/x:", "</x:")
    [row] = rows_of(tmp_path, workbook(marked, prefix="x"))
    assert (row.line, row.values["amount"]) == (2, Decimal(1))


def test_the_sheet_that_fits_is_read_and_said_and_another_may_be_chosen(tmp_path: Path) -> None:
    notes = '<row r="1"><c r="A1" t="inlineStr"><is><t>Read me</t></is></c></row>'
    other = HEADER + GOOD.replace("<v>7</v>", "<v>8</v>")
    content = workbook(notes, HEADER + GOOD, other, hidden=("Three",))
    path = kept(tmp_path, content)
    found = detect(path, FIELDS)
    assert (found.sheet, found.sheets) == ("Two", ("One", "Two", "Three"))
    [row] = rows_of(tmp_path, content, Choices(sheet="Three"))
    assert row.values["who"] == "8"
    with pytest.raises(BadFile, match="no sheet Four"):
        detect(path, FIELDS, Choices(sheet="Four"))


def test_a_row_between_empty_ones_keeps_its_number(tmp_path: Path) -> None:
    styled = '<row r="{0}"><c r="A{0}" s="1"/></row>'
    far = GOOD.replace('r="2"', 'r="900"').replace('2">', '900">')
    sheet = HEADER + "".join(styled.format(number) for number in range(2, 900)) + far
    [row] = rows_of(tmp_path, workbook(sheet))
    assert row.line == 900


@pytest.mark.parametrize(
    ("sheet", "sentence"),
    [
        ('<row r="99999999999"><c r="A2"><v>1</v></c></row>', "1,048,576 rows"),
        ('<row r="2"><c r="XFD2"><v>1</v></c></row>', "up to column 1,000"),
        ('<row r="2"><c r="2"><v>1</v></c></row>', "cannot be read"),
        ('<row r="2"><c r="A2"><v>one</v></c></row>', "cannot be read"),
        ('<row r="2"><c r="A2" t="s"><v>7</v></c></row>', "cannot be read"),
        ('<row r="2"><c r="A2">', "cannot be read"),
    ],
)
def test_what_no_sheet_holds_is_refused_in_a_sentence(
    tmp_path: Path, sheet: str, sentence: str
) -> None:
    with pytest.raises(BadFile, match=sentence):
        rows_of(tmp_path, workbook(HEADER + sheet))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "a PDF"),
        (b'\xef\xbb\xbf <html xmlns:x="urn:excel"><table>', "HTML or XML"),
        ("<?xml version='1.0'?>".encode("utf-16"), "HTML or XML"),
        (b'[{"day": 1}]', "JSON"),
        (b"\x1f\x8b\x08", "an archive"),
        ("content.xml", "an OpenDocument file"),
        ("Index/Document.iwa", "a Numbers document"),
        ("xl/workbook.bin", "a binary workbook"),
        ("a.csv", "a ZIP archive"),
        ("xl/workbook.xml", None),
    ],
)
def test_files_of_other_programs_are_called_by_their_name(
    tmp_path: Path, data: bytes | str, what: str | None
) -> None:
    if isinstance(data, str):
        with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
            archive.writestr(data, "x")
        data = (tmp_path / "archive").read_bytes()
    words = f"This is {what}.*which is not read" if what else "The workbook cannot be read"
    with pytest.raises(BadFile, match=words):
        rows_of(tmp_path, data)


def test_a_document_type_is_refused(tmp_path: Path) -> None:
    content = workbook(HEADER + GOOD, prefix="")
    bomb = b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]>"
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, part.replace(b"?><work", b"?>" + bomb + b"<work"))
    with pytest.raises(BadFile, match="cannot be read"):
        rows_of(tmp_path, changed.getvalue())


EMPTY_ROWS = '<row r="2"/>' * 2_500_000
SAME_TEXTS = f"<si><t>{'A' * 100}</t></si>" * 270_000
ONE_TEXT = f'<row r="2"><c r="D2" t="inlineStr"><is><t>{"A" * 30_000_000}</t></is></c></row>'


@pytest.mark.parametrize(
    ("rows", "shared"),
    [(EMPTY_ROWS, ""), (GOOD, SAME_TEXTS), (ONE_TEXT, "")],
    ids=["rows", "shared texts", "one text"],
)
def test_a_small_file_that_unpacks_to_a_large_one_is_refused_before_it_is(
    tmp_path: Path, rows: str, shared: str
) -> None:
    content = workbook(HEADER + rows, shared=shared)
    assert len(content) < 110_000
    tracemalloc.start()
    began = time.thread_time()
    try:
        with pytest.raises(BadFile, match=r"unpacks to 3\d,\d{3},\d{3} bytes"):
            rows_of(tmp_path, content)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    assert time.thread_time() - began < 5, "of its own work; unpacked it took seven"


def test_a_text_too_long_for_any_cell_is_refused(tmp_path: Path) -> None:
    text = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=1_000_001))
    cell = f'<c r="D2" t="inlineStr"><is><t>{text}</t></is></c></row>'
    with pytest.raises(BadFile, match="1,000,000 characters"):
        rows_of(tmp_path, workbook(HEADER + GOOD.replace("</row>", cell)))


def test_two_cells_in_opposite_corners_take_no_memory(tmp_path: Path) -> None:
    """A reader that fills the space between them would take half a terabyte."""
    corner = '<row r="1048576"><c r="ALL1048576"><v>1</v></c></row>'
    tracemalloc.start()
    [row] = rows_of(tmp_path, workbook(HEADER + corner))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert row.errors[""].startswith("ALL1048576 holds a value, and the header ends in column D")
    assert most < 5_000_000


def test_many_rows_take_no_more_memory_than_few(tmp_path: Path) -> None:
    path = tmp_path / "many.xlsx"
    with xlsxwriter.Workbook(path, {"constant_memory": True}) as book:
        page = book.add_worksheet()
        page.write_row(0, 0, ["day", "who", "amount", "note"])
        for number in range(1, 20_001):
            page.write_row(number, 0, ["2025-03-13", number, number / 3, f"note {number}"])
    found = detect(path, FIELDS)
    tracemalloc.start()
    count = sum(not row.errors for row in read_rows(path, found, FIELDS))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert most < 2_000_000
