"""The pages: periods, units, uploads with a preview, the report's form and its result."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from tests.conftest import find_scope, form_token
from tests.job_helpers import run_jobs
from tests.kinds.inventory.inventory_helpers import DATA, Caller, entry, run_waiting
from webapp.accounts import audit
from webapp.extensions import db
from webapp.intake import detect, read_rows
from webapp.kinds.inventory import ingest
from webapp.kinds.inventory.models import Period

Browsers = Callable[[str], FlaskClient]
Callers = Callable[[str], Caller]
HEADER = "id,period,unit,scope,category,quantity,unit_of_measure,emission_factor"


def submit(browser: FlaskClient, path: str, **form: Any) -> Any:
    return browser.post(path, data={"csrf_token": form_token(browser)} | form)


def send(browser: FlaskClient, data: bytes, name: str = "entries.csv") -> Any:
    """Send a file, let a worker look through it, and follow to what is shown of it."""
    answer = submit(browser, "/inventory/upload", file=(io.BytesIO(data), name))
    if answer.status_code != 303:
        return answer
    run_jobs(browser.application)
    return browser.get(answer.headers["Location"])


def load(browser: FlaskClient, page: Any, **form: str) -> Any:
    """Load what is shown, where it may be; return the answer."""
    found = re.search(r'action="(/inventory/uploads/[^"/]+)"', page.text)
    assert found is not None
    answer = submit(browser, found[1], **form)
    run_jobs(browser.application)
    return answer


def csv(*lines: str) -> bytes:
    return "\r\n".join((HEADER, *lines)).encode()


def test_an_empty_inventory_says_what_to_do(app: Flask, client_for: Browsers) -> None:
    page = client_for("viewer").get("/inventory").text
    assert "There is no reporting period yet" in page
    assert "An admin can create one" in page
    assert "There are no entries here yet" in client_for("viewer").get("/inventory/entries").text


def test_an_admin_makes_periods_and_units_and_locks(app: Flask, client_for: Browsers) -> None:
    owner = client_for("owner")
    form = {"short_name": "2026", "start_date": "2026-01-01", "end_date": "2025-01-01"}
    refused = submit(owner, "/inventory/periods", **form)
    assert refused.status_code == 422
    assert 'value="2026-01-01"' in refused.text
    assert "before the start" in refused.text
    form["end_date"] = "2026-12-31"
    assert submit(owner, "/inventory/periods", **form).status_code == 303
    assert submit(owner, "/inventory/units", name="Workshop").status_code == 303
    assert submit(owner, "/inventory/units", name="").status_code == 422
    page = owner.get("/inventory").text
    assert "\N{EM SPACE}Workshop" in page
    lock = re.search(r'action="(/inventory/periods/[^"]+/lock)"', page)
    assert lock is not None
    assert submit(owner, lock[1]).status_code == 303
    assert "locked" in owner.get("/inventory").text


def test_only_admins_change_anything(acme: str, client_for: Browsers) -> None:
    for who in ("viewer", "colleague"):
        browser = client_for(who)
        assert browser.get("/inventory").status_code == 200
        assert browser.get("/inventory/upload").status_code == 403
        assert submit(browser, "/inventory/units", name="X").status_code == 403
        assert submit(browser, "/inventory/periods", short_name="X").status_code == 403


def test_a_form_without_its_token_is_refused(acme: str, client_for: Browsers) -> None:
    assert client_for("owner").post("/inventory/units", data={"name": "X"}).status_code == 400


def test_an_upload_is_shown_before_it_is_stored(
    acme: str, client_for: Browsers, caller: Callers
) -> None:
    owner = client_for("owner")
    page = send(owner, csv("u1,2025,Lyon office,1,Heat,10.5,kWh,0.2", "u2,2025,Acme,2,P,1,kWh,1"))
    assert "2 lines: 2 can be stored, 0 cannot" in page.text
    assert "10.5" in page.text
    assert caller("owner").delete(f"{DATA}/entries/u1").status_code == 404
    stored = load(owner, page)
    assert stored.status_code == 303
    assert "2 created" in owner.get(stored.headers["Location"]).text
    assert load(owner, page).status_code == 409
    assert caller("owner").delete(f"{DATA}/entries/u1").status_code == 204


def test_an_entry_that_stands_in_a_locked_period_is_a_bad_row(
    app: Flask, acme: str, client_for: Browsers
) -> None:
    owner = client_for("owner")
    load(owner, send(owner, csv("u1,2024,Acme,1,Heat,1,kWh,1")))
    with app.app_context():
        db.session.execute(update(Period).where(Period.short_name == "2024").values(is_locked=True))
        db.session.commit()
    page = send(owner, csv("u1,2025,Acme,1,Heat,1,kWh,1", "u2,2025,Acme,1,,1,kWh,1"))
    assert "stands in another period" in page.text
    assert "This is empty; write a value." in page.text
    assert "2 lines: 0 can be stored, 2 cannot" in page.text


def test_errors_are_told_by_line(acme: str, client_for: Browsers, caller: Callers) -> None:
    owner = client_for("owner")
    page = send(
        owner,
        csv(
            '"a",2025,"Lyon office",1,"Heat\nand light",1.5,kWh,1',
            "b,2025,Nowhere,1,Heat,1,kWh,1",
            "",
            'c,2025,Acme,9,Heat,"1,5",kWh,1',
            "a,2025,Acme,1,Heat,1,kWh,1",
            "d,2025,Acme,1,Heat,1,kWh,1,more",
        ),
    )
    rows = re.findall(r'is-number">(\d+)</td><td>(\w*)</td><td>([^<]+)</td></tr>', page.text)
    assert [(int(line), name) for line, name, _ in rows] == [
        (4, "unit_id"),
        (6, "scope"),
        (6, "quantity"),
        (7, "id"),
        (8, ""),
    ]
    assert "at line 2" in page.text
    assert load(owner, page).status_code == 422
    assert caller("owner").delete(f"{DATA}/entries/a").status_code == 404
    assert load(owner, page, skip_bad="true").status_code == 303
    assert caller("owner").delete(f"{DATA}/entries/a").status_code == 204


def test_a_workbook_is_read_like_a_csv(acme: str, client_for: Browsers, caller: Callers) -> None:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page.append([*HEADER.split(","), "Start", "End"])
    day = date(2025, 3, 1)
    page.append([17, 2025, "Lyon office", 1, "Heat", 0.1 + 0.2, "kWh", 2, day, date(2025, 3, 31)])
    content = io.BytesIO()
    book.save(content)
    owner = client_for("owner")
    shown = send(owner, content.getvalue(), "entries.xlsx")
    assert "1 line: 1 can be stored" in shown.text
    assert load(owner, shown).status_code == 303
    entries = caller("owner").get(f"{DATA}/entries", limit=1).json["entries"]
    assert entries[0]["id"] == "17"
    assert (entries[0]["quantity"], entries[0]["emissions"]) == (0.3, 0.6)
    assert entries[0]["start_date"] == "2025-03-01"


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"", "x.csv", "not empty"),
        (b"a,b\n1,2\n", "x.csv", "The header needs the columns period"),
        (HEADER.encode() + b",unit\n", "x.csv", "twice"),
        (HEADER.encode() + b"\n", "x.csv", "no line"),
        (csv("u,2025,Acme,1,H\xe4t,1,kWh,1".encode("latin-1").decode("latin-1")).decode().encode(
            "latin-1"
        ), "x.csv", "UTF-8"),
        (b"PK\x03\x04 no archive", "x.xlsx", "cannot be read"),
        (b"\xd0\xcf\x11\xe0 old", "x.xls", "not a workbook"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_why(
    acme: str, client_for: Browsers, data: bytes, name: str, words: str
) -> None:
    answer = send(client_for("owner"), data, name)
    assert answer.status_code == (200 if data else 422)
    assert words in answer.text


def test_semicolons_and_marks_of_excel_are_understood(tmp_path: Path) -> None:
    text = "\ufeff" + HEADER.replace(",", ";") + ";colour\nx;2025;Acme;1;Heat;1;kWh;1;red\n"
    (tmp_path / "x.csv").write_text(text)
    found = detect(tmp_path / "x.csv", ingest.FIELDS)
    [row] = read_rows(tmp_path / "x.csv", found, ingest.FIELDS)
    assert (row.line, row.values["id"], row.values["unit_id"]) == (2, "x", "Acme")


def test_small_numbers_are_shown_with_all_their_digits(
    acme: str, client_for: Browsers, caller: Callers
) -> None:
    numbers = {"quantity": "0.0000025", "emission_factor": "1234567.0004"}
    assert caller("owner").post(f"{DATA}/entries", [entry(id="a") | numbers]).status_code == 200
    page = client_for("viewer").get("/inventory/entries").text
    cells = {"Quantity": "0.0000025", "Factor": "1,234,567.0004", "kg CO2e": "3.086417501"}
    for label, shown in cells.items():
        assert f'<td data-label="{label}" class="is-number">{shown}</td>' in page


def test_an_upload_is_its_companys_alone(acme: str, client_for: Browsers) -> None:
    page = send(client_for("owner"), csv("u1,2025,Acme,1,Heat,1,kWh,1"))
    path = re.search(r'action="(/inventory/uploads/[^"/]+)"', page.text)
    assert path is not None
    stranger = client_for("stranger")
    assert stranger.get(path[1]).status_code == 404
    assert submit(stranger, path[1]).status_code == 404
    assert submit(stranger, f"{path[1]}/delete").status_code == 404
    owner = client_for("owner")
    assert submit(owner, f"{path[1]}/delete").status_code == 303
    assert owner.get(path[1]).status_code == 404


def test_the_form_offers_periods_units_and_files(acme: str, client_for: Browsers) -> None:
    page = client_for("colleague").get("/reports/new/inventory").text
    for name in ("period", "base_period", "unit", "types"):
        assert f'name="{name}"' in page
    assert "Lyon office" in page
    assert page.count('type="checkbox" name="types"') == 4
    assert page.count(" checked") == 4


def test_a_report_is_made_by_its_form_and_shows_its_files(
    app: Flask, acme: str, client_for: Browsers, caller: Callers
) -> None:
    colleague = client_for("colleague")
    period, _ = caller("colleague").places()
    form = {"name": "March", "period": period, "base_period": "", "unit": ""}
    empty = submit(colleague, "/reports/new/inventory", **form)
    assert empty.status_code == 422
    assert "Choose any of" in empty.text
    types = ["GHG_PROTOCOL", "REPORT_DATA"]
    answer = submit(colleague, "/reports/new/inventory", **form, types=types)
    assert answer.status_code == 303, answer.text
    run_waiting(app)
    address = answer.headers["Location"]
    page = client_for("viewer").get(address).text
    assert "Inventory: March" in page
    assert "1,435,960.22" in page
    links = re.findall(r'href="(/inventory/reports/[^"]+)" download', page)
    assert [link.rpartition("/")[2] for link in links] == ["GHG_PROTOCOL.xlsx", "REPORT_DATA.json"]
    viewer, stranger = client_for("viewer"), client_for("stranger")
    for link in links:
        assert viewer.get(link).status_code == 200
        assert stranger.get(link).status_code == 404
    wrong = links[0].replace("GHG_PROTOCOL.xlsx", "DATA_DUMP.xlsx")
    assert viewer.get(wrong).status_code == 404
    assert app.test_client().get(links[0]).status_code in {302, 303}
    assert caller("colleague").url(address.rpartition("/")[2]).status_code == 422


def test_the_chart_draws_scopes_and_not_their_total(
    acme: str, made: dict[str, Any], client_for: Browsers
) -> None:
    page = client_for("viewer").get(f"/reports/{made['id']}").text
    charts = re.findall(r'<script type="application/json">(.+?)</script>', page)
    drawn = {chart["table"]: chart for chart in map(json.loads, charts) if "table" in chart}
    assert drawn["scopes"]["labels"] == ["Scope 1", "Scope 2", "Scope 3"]
    assert {len(view["series"][0]["values"]) for view in drawn["scopes"]["views"]} == {3}
    assert re.search(r">\s*Total\s*<", page)


def test_the_result_is_json_csv_and_workbook_too(
    acme: str, made: dict[str, Any], caller: Callers
) -> None:
    ours = caller("viewer")
    result = ours.get(f"/api/v1/reports/{made['id']}/result", format="json").json
    assert [scope["name"] for scope in result["scopes"]][-1] == "Total"
    assert result["scopes"][-1]["emissions"] == result["emissions"] == 1435960.2192
    text = ours.get(f"/api/v1/reports/{made['id']}/result", format="csv").text
    assert "Total,1435960.2192," in text


def test_a_report_over_the_common_api(app: Flask, acme: str, caller: Callers) -> None:
    ours = caller("colleague")
    period, unit = ours.places()
    params = {"period": period, "unit": unit, "types": "report_data"}
    answer = ours.post("/api/v1/reports", {"kind": "inventory", "params": params})
    assert answer.status_code == 202, answer.text
    assert answer.json["params"]["types"] == ["REPORT_DATA"]
    run_waiting(app)
    state = ours.get(f"/api/reports/v1/reports/{answer.json['id']}").json
    assert (state["reportFileStatus"], state["countReportFiles"]) == ("DONE", 1)
    refused = caller("stranger").post("/api/v1/reports", {"kind": "inventory", "params": params})
    assert refused.status_code == 422
    assert set(refused.json["errors"]) == {"period", "unit"}
    viewer = caller("viewer").post("/api/v1/reports", {"kind": "inventory", "params": params})
    assert viewer.status_code == 403


def test_the_audit_log_names_a_unit_of_whom_its_entry_says_only_the_id(
    app: Flask, client_for: Browsers
) -> None:
    owner = client_for("owner")
    submit(owner, "/inventory/units", name="Workshop")
    found = re.search(
        r"Workshop</td><td><code data-copy>([0-9a-f-]{36})<", owner.get("/inventory").text
    )
    assert found
    with app.app_context():
        audit(find_scope(app, "owner"), "stored units", found[1])
        db.session.commit()
    address = f"/inventory?unitsq={found[1]}#units"
    assert f'<a href="{address}">Workshop</a>' in owner.get("/audit").text
    assert "1 of 2 match" in " ".join(owner.get(address).text.split())
