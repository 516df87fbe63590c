"""The statement: its order, its digits, what the company says; categories of standards, gases."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import openpyxl
import pypdf
import pytest
from flask import Flask

from tests.kinds.inventory.inventory_helpers import DATA, PERIODS, REPORTS, Caller, entry
from tests.kinds.inventory.test_inventory_files import document, make, sheet
from tests.kinds.inventory.test_inventory_pages import submit
from webapp.kinds.inventory.standards import iso_category, scope_3_category

Callers = Callable[[str], Caller]
SAID = {
    "responsible": "Łucja Żak, Chief Sustainability Officer",
    "boundaries": "Operational control. Joint ventures are left out.",
    "methods": "Meters and invoices.",
    "factor_sources": "DEFRA 2024; IPCC AR6 potentials.",
    "paper": "us-letter",
}


def text_of(data: bytes) -> str:
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


def assert_called(who: Caller, *names: str) -> None:
    """Look at what the files of the newest report are called when they are downloaded."""
    report = who.get(REPORTS).json[0]["id"]
    for kind, name in zip(("ISO14064.pdf", "GHG_PROTOCOL.xlsx"), names, strict=True):
        answer = who.get(f"/inventory/reports/{report}/{kind}")
        assert name in answer.headers["Content-Disposition"]


def test_the_statement_begins_with_its_result_and_ends_with_the_facts(
    app: Flask, acme: str, caller: Callers
) -> None:
    admin = caller("owner")
    assert admin.send("PUT", f"{DATA}/settings", json=SAID).json == SAID
    base = min(admin.get(PERIODS).json, key=lambda one: one["startDate"])["id"]
    files = make(app, admin, baseReportingPeriodId=base)
    reader = pypdf.PdfReader(io.BytesIO(files["ISO14064"]))
    text = text_of(files["ISO14064"])
    order = [
        "1,436.0 t CO2e 2024: 1,527.0 t CO2e; change -91.1 t CO2e, -6.0 %",
        "Emissions by scope",
        "Scope 1 629.0 668.7 -39.8 -5.9",
        "Total 1,436.0 1,527.0 -91.1 -6.0",
        "Emissions by category",
        "Scope 3, subtotal 3 144 174.6 185.6 -11.0 -5.9",
        "Categories of ISO 14064-1",
        "Fifteen categories of scope 3",
        "Organizational units",
        "Methods and boundaries",
        *(SAID[name] for name in ("responsible", "boundaries", "methods", "factor_sources")),
        "Sources of the factors used",
        "SHA-256 of the data",
    ]
    places = [text.index(one) for one in order]
    assert places == sorted(places)
    assert round(reader.pages[0].mediabox.width) == 612
    book = openpyxl.load_workbook(io.BytesIO(files["GHG_PROTOCOL"]))
    assert {page.page_setup.paperSize for page in book} == {1}
    assert "Not stated" not in text
    assert "Organised after ISO 14064-1. 1,436.0" in text
    assert_called(admin, "ISO14064-Acme-2025", "GHG_PROTOCOL-Acme-2025")


def test_without_a_base_period_there_are_no_columns_to_compare(
    app: Flask, acme: str, caller: Callers
) -> None:
    text = text_of(make(app, caller("colleague"))["ISO14064"])
    assert "There is no base period to compare with." in text
    assert "Change (t" not in text
    assert "Responsible person Not stated." in text
    assert "after ISO 14064-1, but without a base period, who is responsible, boundaries" in text
    assert_called(caller("colleague"), "Statement-Acme-2025", "Scopes-Acme-2025")


def test_what_statements_say_is_shown_to_all_and_changed_by_admins(
    acme: str, client_for: Callable[[str], Any], caller: Callers
) -> None:
    page = "/inventory/settings"
    admin, viewer = client_for("owner"), client_for("colleague")
    assert submit(admin, page, **SAID).status_code == 303
    assert SAID["boundaries"] in admin.get(page).text
    shown = viewer.get(page).text
    assert SAID["responsible"] in shown
    assert "<textarea" not in shown
    assert submit(viewer, page, **SAID).status_code == 403
    wrong = submit(admin, page, **SAID | {"paper": "a5", "responsible": "x" * 201})
    assert wrong.status_code == 422
    assert "Choose one of a4, us-letter." in wrong.text
    assert "Use at most 200 characters." in wrong.text
    assert caller("colleague").get(f"{DATA}/settings").json == SAID
    assert caller("colleague").send("PUT", f"{DATA}/settings", json={}).status_code == 403


def test_gases_bases_and_biogenic_entries_are_told_apart(
    app: Flask, acme: str, caller: Callers
) -> None:
    admin = caller("owner")
    unit = admin.post(f"{DATA}/units", [{"name": "Apart"}]).json["units"][0]["id"]
    grid = {"unit_id": unit, "scope": 2, "category": "Electricity", "quantity": "1000"}
    methane = {"gas": "CH4", "warming_potential": "27.9", "emission_factor": "2"}
    sent = [
        entry(id="a", **grid, emission_factor="0.3", basis="location-based"),
        entry(id="b", **grid, emission_factor="0.1", basis="Market"),
        entry(id="c", **grid, emission_factor="0.2"),
        entry(id="d", unit_id=unit, quantity="10", **methane),
        entry(id="e", unit_id=unit, quantity="7", emission_factor="1", is_biogenic="ja"),
    ]
    assert admin.post(f"{DATA}/entries", sent).json["created"] == 5
    files = make(app, admin, organizationUnitId=unit)
    data = document(files["REPORT_DATA"])
    assert {one["name"]: one["emissions"] for one in data["apart"]} == {
        "Scope 2, location-based": 500,
        "Scope 2, market-based": 300,
        "Biogenic, in no total": 7,
    }
    assert data["total"]["emissions"] == 500 + 558
    assert data["rows"] == 5
    (gas,) = data["gases"]
    assert (gas["name"], gas["warmingPotential"], gas["emissions"]) == ("CH4", "27.9", 558)
    assert sheet(files["GHG_PROTOCOL"], "Gases")[1][:4] == ("CH4", 27.9, 1, 558)
    names = {one["id"]: one for one in data["entries"]}
    assert (names["a"]["basis"], names["b"]["basis"], names["c"]["basis"]) == (
        "location",
        "market",
        "",
    )
    assert "0.500" in text_of(files["ISO14064"])
    again = admin.post(f"{DATA}/entries", sent).json
    assert again == {"created": 0, "updated": 0, "unchanged": 5}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"basis": "green"}, "Write location or market"),
        ({"basis": "market"}, "Only entries of scope 2"),
        ({"is_biogenic": "perhaps"}, "Write true or false."),
        ({"warming_potential": "high"}, "Write a number like"),
        ({"colour": "red"}, "There is no such field; use id, period_id,"),
    ],
)
def test_what_an_entry_says_of_its_gas_and_basis_is_checked(
    acme: str, caller: Callers, more: dict[str, Any], sentence: str
) -> None:
    answer = caller("owner").post(f"{DATA}/entries", [entry(**more)])
    assert answer.status_code == 422
    assert sentence in answer.json["errors"][f"entries.0.{next(iter(more))}"]


@pytest.mark.parametrize(
    ("category", "ghg", "iso"),
    [
        ("Business travel", 6, 3),
        ("3.6 Air", 6, 3),
        ("Category 12: scrap", 12, 5),
        ("Cat. 1", 1, 4),
        ("15 Shares", 15, 5),
        ("2025 travel", 0, 6),
        ("Employee Commuting", 7, 3),
        ("End-of-life treatment of sold products", 12, 5),
        ("Waste", 5, 4),
        ("Downstream transportation", 9, 3),
        ("Inbound freight", 4, 3),
        ("Fuel- and energy-related activities (WTT)", 3, 4),
        ("Something", 0, 6),
    ],
)
def test_a_category_of_scope_3_is_known_by_its_number_or_its_words(
    category: str, ghg: int, iso: int
) -> None:
    assert scope_3_category(3, category) == ghg
    assert iso_category(3, category) == iso
    assert scope_3_category(2, category) is None
    assert iso_category(1, category) == 1
