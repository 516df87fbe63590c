"""Sheets as usual templates have them go in by saying which column is which, once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from tests.kinds.inventory.inventory_helpers import DATA, Caller
from tests.kinds.inventory.test_inventory_pages import load, send, submit

Browsers = Callable[[str], FlaskClient]
FILES = Path(__file__).resolve().parents[3] / "docs" / "examples" / "files"


def selected(page: Any) -> dict[str, str]:
    """Return the heading that is chosen for each field."""
    found = re.findall(r'name="file\.column\.(\w+)">(.*?)</select>', page.text, flags=re.DOTALL)
    chosen = {name: re.search(r"selected>([^<]*)<", options) for name, options in found}
    return {name: match[1] for name, match in chosen.items() if match}


def entries(ours: Caller) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ours.get(f"{DATA}/entries", limit=1000).json["entries"]
    return found


def test_a_template_in_german_goes_in(
    acme: str, client_for: Browsers, caller: Callable[[str], Caller]
) -> None:
    owner, content = client_for("owner"), (FILES / "emissions-template.csv").read_bytes()
    page = send(owner, content, "template.csv")
    assert "The header needs the column period" in page.text
    assert ", decimal mark" not in page.text
    assert selected(page)["quantity"] == "Menge"
    assert selected(page)["unit_id"] == "Standort"
    # The activity is the description, the cost centre a note; all of it is of one period.
    said = {"file.mapped": "true", "file.column.description": "3", "file.note": "8"}
    answer = load(owner, page, **said, **{"file.value.period_id": "2025", "file.save_as": "German"})
    assert answer.status_code == 303
    shown = owner.get(answer.headers["Location"])
    assert "2 created" in shown.text
    by_quantity = {one["quantity"]: one for one in entries(caller("owner"))}
    assert by_quantity[12500.5]["description"] == "Erdgas; Kostenstelle: 4711"
    assert by_quantity[61000]["emission_factor"] == 0.167
    # The next file with this header needs no word, and the same rows are the same entries.
    page = send(owner, content.replace(b"61.000", b"62.000"), "next.csv")
    assert "as saved under “German”" in page.text
    assert "2 lines: 2 can be stored, 0 cannot" in page.text
    again = owner.get(load(owner, page).headers["Location"])
    assert "1 created, 0 updated, 1 unchanged" in again.text


def test_a_guess_is_loaded_once_somebody_says_it_is_right(
    acme: str, client_for: Browsers, caller: Callable[[str], Caller]
) -> None:
    owner = client_for("owner")
    text = (
        "Spanne;Standort;Bereich;Kategorie;Menge;Einheit;EF\n2025;Acme;Scope 1;Gas;12,5;kWh;0,182\n"
    )
    page = send(owner, text.encode(), "guess.csv")
    assert "period from “Spanne”, scope from “Bereich”; confirm this below." in page.text
    assert selected(page) | {"period_id": "Spanne", "scope": "Bereich"} == selected(page)
    shown = owner.get(load(owner, page, **{"file.mapped": "true"}).headers["Location"])
    assert "1 created" in shown.text
    assert {one["category"] for one in entries(caller("owner"))} >= {"Gas"}


def test_saved_columns_are_listed_renamed_and_forgotten(acme: str, client_for: Browsers) -> None:
    owner = client_for("owner")
    assert "There are no mappings yet" in owner.get("/inventory/mappings").text
    content = (FILES / "emissions-template.csv").read_bytes()
    said = {"file.mapped": "true", "file.column.description": "3", "file.note": "8"}
    said |= {"file.value.period_id": "2025", "file.save_as": "German"}
    load(owner, send(owner, content, "template.csv"), **said)
    assert "Saved column mappings: 1" in owner.get("/inventory/upload").text
    page = owner.get("/inventory/mappings").text
    assert "period is always “2025”" in page
    assert "description from column D" in page
    assert "as notes: I." in page
    found = re.search(r'action="(/inventory/mappings/file/\w+)"', page)
    assert found is not None
    wrong = submit(owner, found[1], name=" ")
    assert (wrong.status_code, "Write a name of 1 to 100" in wrong.text) == (422, True)
    assert submit(owner, found[1], name="Template 2025").status_code == 303
    again = content.replace(b"61.000", b"62.000")
    assert "as saved under “Template 2025”" in send(owner, again, "next.csv").text
    stranger = client_for("stranger")
    assert submit(stranger, found[1], delete="true").status_code in {403, 404}
    assert submit(owner, found[1], delete="true").status_code == 303
    assert "There are no mappings yet" in owner.get("/inventory/mappings").text
    assert submit(owner, found[1], delete="true").status_code == 404


def test_a_sheet_of_journeys_goes_in_with_what_is_the_same_in_every_row(
    acme: str, client_for: Browsers, caller: Callable[[str], Caller]
) -> None:
    owner = client_for("owner")
    page = send(owner, (FILES / "emissions-travel.csv").read_bytes(), "travel.csv")
    columns = (
        "period_id",
        "unit_id",
        "description",
        "quantity",
        "emission_factor",
        "factor_source",
    )
    said = {f"file.column.{name}": str(place) for place, name in enumerate(columns)}
    values = {"scope": "3", "category": "Business travel", "unit_of_measure": "km"}
    said |= {f"file.value.{name}": value for name, value in values.items()}
    shown = owner.get(load(owner, page, **{"file.mapped": "true"}, **said).headers["Location"])
    # Two rows that are alike are two journeys.
    assert "3 created" in shown.text
    found = [one for one in entries(caller("owner")) if one["unit_of_measure"] == "km"]
    assert {one["category"] for one in found} == {"Business travel"}
    assert sorted(one["quantity"] for one in found) == [310, 310, 1250.5]
