"""Statements: numbered, adding up, the same on both papers, provable; all labels at once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date
from typing import Any
from zipfile import ZipFile

import openpyxl
import pypdf
import pytest
from flask import Flask
from sqlalchemy import select

from webapp.accounts import AuditEntry, Scope
from webapp.extensions import db
from webapp.kinds.label_revenue import closing
from webapp.kinds.label_revenue.report import payouts
from webapp.kinds.label_revenue.report.compute import Method
from webapp.kinds.label_revenue.report.statement import Statement, statements_of

MARCH = date(2025, 3, 1)
PATH = "/label-revenue/statement?label=Harbour+Classics&from=2025-03"
STREAM = {"date": "2025-03-05", "user_id": 1001, "region": "NL", "track_id": "T-501", "seconds": 60}


def pages(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    found = pypdf.PdfReader(io.BytesIO(answer.data)).pages
    return " ".join(page.extract_text() for page in found)


@pytest.fixture
def statements(app: Flask, scope: Scope, sample: str) -> Iterator[Any]:
    def made(method: Method = "pool", label: str | None = None) -> list[Statement]:
        payer = payouts.payer(scope.company_id, method)
        return statements_of(payer, scope.company_name, [MARCH], label)

    with app.app_context():
        yield made


@pytest.mark.parametrize("method", ["pool", "listener"])
def test_tracks_and_territories_add_up_to_what_the_label_earned(
    statements: Any, method: Method
) -> None:
    found = {one.label: one for one in statements(method)}
    assert list(found) == ["Harbour Classics", "Linden Records", "Quiet Street"]
    for one in found.values():
        [(_, balance)] = one.balances
        assert sum(part.minor for part in one.parts) == balance.earned + balance.adjustments
        assert statements(method, one.label)[0].source_hash == one.source_hash
    lines = {part.values: (part.seconds, part.minor) for part in found["Harbour Classics"].parts}
    # 20.50 by seconds: 600, 200 and 100 of 900.
    assert method == "listener" or lines == {
        ("T-501", "DE"): (600, 1367),
        ("T-501", "NL"): (200, 455),
        ("T-505", "NL"): (100, 228),
    }


@pytest.mark.parametrize(("paper", "width"), [("a4", 595), ("letter", 612)])
def test_a_statement_prints_with_every_column_and_no_listener(
    client_for: Any, sample: str, paper: str, width: int
) -> None:
    book = client_for("viewer").get(f"{PATH}&format=xlsx&paper={paper}").data
    for sheet in openpyxl.load_workbook(io.BytesIO(book)):
        assert sheet.page_setup.paperSize == {"a4": 9, "letter": 1}[paper]
    answer = client_for("viewer").get(f"{PATH}&format=pdf&paper={paper}")
    text = pages(answer)
    reader = pypdf.PdfReader(io.BytesIO(answer.data))
    assert {round(page.mediabox.width) for page in reader.pages} == {width}
    for words in ("Harbour Classics", "Acme", "2025-03", "EUR", "Pool", "open", "20.50"):
        assert words in text, words
    for column in ("Opening", "Closing", "Track", "Title", "Territory", "Seconds", "Share (%)"):
        assert column in text, column
    for words in ("Nocturne in Blue", "13.67", "66.67", "Amount (EUR)", "Total", "SHA-256"):
        assert words in text, words
    assert not [number for number in range(1001, 1007) if str(number) in text]


def test_the_same_statement_keeps_its_number_and_another_gets_one(
    client_for: Any, api_for: Any, sample: str, app: Flask
) -> None:
    def number(path: str) -> str:
        book = openpyxl.load_workbook(io.BytesIO(client_for("viewer").get(path).data))
        facts = {row[0].value: row[1].value for row in book["Statement"].iter_rows()}
        return str(facts["Statement"])

    assert [number(PATH), number(PATH), number(f"{PATH}&method=listener")] == ["1", "1", "2"]
    api_for("owner").post("/streams", STREAM)
    assert number(PATH) == "3"
    with app.app_context():
        told = db.session.scalars(select(AuditEntry.subject).order_by(AuditEntry.id)).all()
    assert "label-revenue statement Harbour Classics, 2025-03" in told


def test_all_labels_come_at_once_by_page_and_by_program(
    client_for: Any, api_for: Any, sample: str
) -> None:
    for answer in (
        client_for("viewer").get("/label-revenue/statement?from=2025-03"),
        api_for("viewer").get("/label-revenue/statement?from=2025-03&paper=letter"),
    ):
        assert answer.mimetype == "application/zip"
        with ZipFile(io.BytesIO(answer.data)) as archive:
            assert archive.testzip() is None
            names = archive.namelist()
            assert names[:2] == [
                "statement-1-harbour-classics-2025-03-pool.pdf",
                "statement-1-harbour-classics-2025-03-pool.xlsx",
            ]
            assert len(names) == 6
            assert archive.read(names[0]).startswith(b"%PDF")
    page = client_for("viewer").get("/label-revenue/compare?from=2025-03").text
    assert "as a ZIP" in page
    bad = api_for("viewer").get("/label-revenue/statement?format=docx")
    assert (bad.status_code, "error" in bad.json) == (400, True)
    assert api_for("viewer").get("/label-revenue/statement?label=Nobody").status_code == 404


def test_statements_and_reports_are_computed_again_against_their_hash(
    app: Flask, scope: Scope, client_for: Any, api_for: Any, run_report: Any, sample: str
) -> None:
    def verify(*words: str) -> tuple[int, str]:
        result = app.test_cli_runner().invoke(args=["label-revenue", "verify", *words])
        return result.exit_code, result.output

    report_id = run_report(start="2025-03", end="2025-04", method="listener")
    assert client_for("viewer").get(f"{PATH}&format=pdf").status_code == 200
    same = "Statement 1 of Harbour Classics was computed again: the same.\n"
    assert verify("1", "--company", "Acme") == (0, same)
    assert verify(report_id)[0] == 0
    for words in (["2", "--company", "Acme"], ["1"], ["x"], [sample]):
        assert verify(*words)[0] == 2, words
    with app.app_context():
        for state in ("calculated", "approved", "locked"):
            closing.advance(scope.company_id, MARCH, state, scope)
    assert verify("1", "--company", "Acme")[0] == 0
    assert verify(report_id)[0] == 0
    assert "locked" in pages(client_for("viewer").get(f"{PATH}&format=pdf"))
    with app.app_context():
        closing.step_back(scope.company_id, MARCH, "a file was missing", scope)
    api_for("owner").post("/streams", STREAM)
    code, output = verify(report_id)
    assert (code, "what 2025-03 is computed from has changed" in output) == (1, True)
    assert verify("1", "--company", "Acme")[0] == 1
    with app.app_context():
        closing.advance(scope.company_id, MARCH, "calculated", scope)
        closing.advance(scope.company_id, MARCH, "approved", scope)
        closing.advance(scope.company_id, MARCH, "locked", scope)
    # An adjustment is part of what April pays; May, taken from the store, pays nothing still.
    for month, change in (("2025-04", 1), ("2025-05", 0)):
        run_report(start=month, end=month)
        report_id = run_report(start=month, end=month)
        assert verify(report_id)[0] == 0
        api_for("owner").post("/streams", STREAM)
        assert verify(report_id)[0] == change
