"""What is inside the files: typed cells, the same totals everywhere, a hash that can be checked."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import openpyxl
import pypdf
import pytest
from flask import Flask

from tests.kinds.inventory.inventory_helpers import (
    DATA,
    PERIODS,
    REPORTS,
    UNITS,
    Caller,
    entry,
    run_waiting,
)

Callers = Callable[[str], Caller]
Files = dict[str, bytes]


def fetch(app: Flask, who: Caller, report_id: str) -> Files:
    made = {"DATA_DUMP": "XLSX", "GHG_PROTOCOL": "XLSX", "ISO14064": "PDF", "REPORT_DATA": "JSON"}
    found = {}
    for report_type, file_type in made.items():
        url = who.url(report_id, report_type, file_type).json["url"]
        found[report_type] = app.test_client().get(url).data
    return found


def make(app: Flask, who: Caller, **more: Any) -> Files:
    report_id = who.start(**more).json["id"]
    run_waiting(app)
    assert who.get(f"{REPORTS}/{report_id}").json["reportFileStatus"] == "DONE"
    return fetch(app, who, report_id)


def sheet(data: bytes, title: str) -> list[tuple[Any, ...]]:
    workbook = openpyxl.load_workbook(io.BytesIO(data))
    return list(workbook[title].iter_rows(values_only=True))


def document(data: bytes) -> Any:
    return json.loads(data, parse_float=Decimal, parse_int=Decimal)


def pdf_text(data: bytes) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages)


def spelled(value: Decimal) -> str:
    return f"{value / 1000:,.1f}"


@pytest.fixture
def four(app: Flask, made: dict[str, Any], caller: Callers) -> Files:
    return fetch(app, caller("colleague"), made["id"])


def test_totals_are_the_same_in_every_file(four: Files) -> None:
    data = document(four["REPORT_DATA"])
    entries = data["entries"]
    assert len(entries) == data["rows"] == 288
    total = sum(one["quantity"] * one["emissionFactor"] for one in entries)
    assert total == data["total"]["emissions"] == sum(one["emissions"] for one in entries)
    assert total == sum(scope["emissions"] for scope in data["scopes"])
    assert total == sum(category["emissions"] for category in data["categories"])
    assert total == sum(unit["own"] for unit in data["units"]) == data["units"][0]["emissions"]
    lines = sheet(four["DATA_DUMP"], "Inventory")
    column = lines[0].index("Emissions (kg CO2e)")
    assert sum(line[column] for line in lines[1:]) == pytest.approx(float(total), rel=1e-12)
    for name, title in (("DATA_DUMP", "Totals by scope"), ("GHG_PROTOCOL", "Summary")):
        assert sheet(four[name], title)[-1][:2] == ("Total", float(total))
    text = " ".join(pdf_text(four["ISO14064"]).split())
    assert f"Total {spelled(total)} {spelled(data['total']['base'])}" in text
    for scope in data["scopes"]:
        assert spelled(scope["emissions"]) in text


def test_the_hash_is_of_the_entries_as_the_data_file_holds_them(four: Files) -> None:
    text = four["REPORT_DATA"]
    lines = text[text.index(b'"entries": [\n') + 13 : text.rindex(b"\n]}")].split(b",\n")
    digest = hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
    assert digest == document(text)["sha256"]
    for name in ("DATA_DUMP", "GHG_PROTOCOL"):
        assert dict(sheet(four[name], "About"))["SHA-256 of the data"] == digest
    assert digest in pdf_text(four["ISO14064"])


def test_cells_have_types(four: Files) -> None:
    workbook = openpyxl.load_workbook(io.BytesIO(four["DATA_DUMP"]))
    page = workbook["Inventory"]
    header = [cell.value for cell in page[1]]
    assert header[:5] == ["Entry ID", "Unit", "Unit ID", "Scope", "Category"]
    first = dict(zip(header, page[2], strict=True))
    assert isinstance(first["Entry ID"].value, str)
    assert isinstance(first["Quantity"].value, int | float)
    assert isinstance(first["Emissions (kg CO2e)"].value, int | float)
    assert isinstance(first["Start"].value, datetime)
    assert first["Start"].is_date
    assert page.freeze_panes == "A2"
    assert page.auto_filter.ref == f"A1:S{page.max_row}"
    assert page.column_dimensions["A"].width > 20
    assert page.max_row == 289


def test_workbooks_print_well(four: Files) -> None:
    book = openpyxl.load_workbook(io.BytesIO(four["GHG_PROTOCOL"]))
    for page in book.worksheets:
        assert page.page_setup.orientation == "landscape"
        assert page.sheet_properties.pageSetUpPr.fitToPage
        assert page.page_setup.fitToHeight == 0
        assert page.print_title_rows == "$1:$1"
        assert "&P of &N" in str(page.oddFooter.right.text).replace("&[Page]", "&P")
    summary = book["Summary"]
    assert summary.cell(summary.max_row, 1).value == "Total"
    assert summary.cell(summary.max_row, 2).font.bold
    assert summary.auto_filter.ref == f"A1:E{summary.max_row - 1}"
    for index, cell in enumerate(summary[1], start=1):
        letters = cell.column_letter
        longest = max(len(str(row[index - 1].value)) for row in summary.iter_rows(min_row=2))
        assert summary.column_dimensions[letters].width >= min(longest, 12)


def test_about_says_what_the_report_is(made: dict[str, Any], four: Files) -> None:
    about = dict(sheet(four["GHG_PROTOCOL"], "About"))
    assert about["Company"] == "Acme"
    assert about["Reporting period"] == "2025 (2025-01-01 to 2025-12-31)"
    assert about["Base period"].startswith("2024 ")
    assert about["Organizational unit"].startswith("Acme")
    assert about["Made by"] == "colleague@example.com"
    assert about["Report ID"] == made["id"]
    assert (about["Rows"], about["Rows of the base period"]) == (288, 288)
    assert datetime.fromisoformat(about["Made (UTC)"])


def test_the_protocol_compares_scopes_with_the_base_period(four: Files) -> None:
    summary = sheet(four["GHG_PROTOCOL"], "Summary")
    assert [line[0] for line in summary] == ["Scope", "Scope 1", "Scope 2", "Scope 3", "Total"]
    for _, now, base, change, percent in summary[1:]:
        assert change == pytest.approx(now - base)
        assert percent == pytest.approx(100 * change / base, abs=0.01)
    assert sheet(four["GHG_PROTOCOL"], "Scope 3")[1][:2] == (3, "Business travel")


def test_the_statement_has_a_title_and_page_numbers(four: Files) -> None:
    reader = pypdf.PdfReader(io.BytesIO(four["ISO14064"]))
    assert reader.metadata is not None
    assert reader.metadata.title == "Ours: Acme, 2025"
    assert f"Page 1 of {len(reader.pages)}" in reader.pages[0].extract_text()


def test_a_units_report_covers_what_is_below_it_alone(
    app: Flask, acme: str, caller: Callers
) -> None:
    ours = caller("colleague")
    units = {unit["name"]: unit["id"] for unit in ours.get(UNITS).json}
    data = document(make(app, ours, organizationUnitId=units["Europe"])["REPORT_DATA"])
    assert [unit["name"] for unit in data["units"]] == ["Europe", "Antwerp plant", "Lyon office"]
    assert {one["unit"] for one in data["entries"]} == {"Antwerp plant", "Lyon office"}
    assert data["organizationUnit"]["name"] == "Europe"


def test_without_a_base_period_nothing_is_compared(app: Flask, acme: str, caller: Callers) -> None:
    files = make(app, caller("colleague"))
    data = document(files["REPORT_DATA"])
    assert data["baseReportingPeriod"] is None
    assert {data["total"][name] for name in ("base", "change", "changePercent")} == {None}
    assert sheet(files["GHG_PROTOCOL"], "Summary")[1][2:] == (None, None, None)


def test_a_period_compared_with_itself_has_not_changed(
    app: Flask, acme: str, caller: Callers
) -> None:
    ours = caller("colleague")
    period = ours.get(PERIODS).json[0]["id"]
    data = document(make(app, ours, baseReportingPeriodId=period)["REPORT_DATA"])
    assert data["rows"] == data["baseRows"] == 288
    assert data["total"]["change"] == 0


def test_an_empty_unit_makes_whole_files(app: Flask, acme: str, caller: Callers) -> None:
    ours = caller("owner")
    unit = ours.post(f"{DATA}/units", [{"name": "Empty"}]).json["units"][0]["id"]
    files = make(app, ours, organizationUnitId=unit)
    assert document(files["REPORT_DATA"])["entries"] == []
    assert len(sheet(files["DATA_DUMP"], "Inventory")) == 1
    assert "Total 0.000" in " ".join(pdf_text(files["ISO14064"]).split())


def test_hostile_and_foreign_words_stay_words(app: Flask, acme: str, caller: Callers) -> None:
    ours = caller("owner")
    words = {"category": "=1+1", "description": "@SUM(A1) https://example.com", "id": "000123"}
    foreign = {"id": "f", "category": "É Київ Ελλάδα 東京 😀", "description": "–"}
    answer = ours.post(f"{DATA}/entries", [entry(**words), entry(**foreign)])
    assert answer.status_code == 200, answer.text
    files = make(app, ours)
    page = openpyxl.load_workbook(io.BytesIO(files["DATA_DUMP"]))["Inventory"]
    rows = {row[0].value: row for row in page.iter_rows(min_row=2)}
    assert rows["000123"][4].value == "=1+1"
    assert rows["000123"][4].data_type == "s"
    assert rows["000123"][5].hyperlink is None
    assert rows["f"][4].value == foreign["category"]
    text = pdf_text(files["ISO14064"])
    assert foreign["category"] in text


def test_emissions_are_exact(app: Flask, acme: str, caller: Callers) -> None:
    ours = caller("owner")
    odd = entry(quantity="123456789012345678.000000000001", emission_factor="0.000000000003")
    assert ours.post(f"{DATA}/entries", [odd]).status_code == 200
    data = document(make(app, ours)["REPORT_DATA"])
    (found,) = [one for one in data["entries"] if one["id"] == odd["id"]]
    assert found["quantity"] == Decimal(odd["quantity"])
    assert found["emissions"] == Decimal("370370.367037037034000000000003")
