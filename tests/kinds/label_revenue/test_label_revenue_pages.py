"""Pages of this kind and its report: who may do what, forms without script, files to download."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import Any

import openpyxl
import pytest
from flask import Flask
from flask.testing import FlaskClient
from label_revenue_files import FILES, SAMPLE
from sqlalchemy import select

from tests.conftest import form_token
from tests.job_helpers import run_jobs
from webapp.accounts import Scope
from webapp.extensions import db
from webapp.intake import Upload
from webapp.kinds.label_revenue import ledger, pages, uploads
from webapp.kinds.label_revenue.models import Stream
from webapp.kinds.label_revenue.periods import settings_for


def send(client: FlaskClient, path: str, **data: Any) -> Any:
    return client.post(path, data={"csrf_token": form_token(client), **data})


def test_the_pages_show_months_and_loads(client_for: Any, sample: str) -> None:
    page = client_for("viewer").get("/label-revenue")
    assert page.status_code == 200
    assert "2025-03" in page.text
    assert "streaming.csv" in page.text
    assert "Undo" not in page.text


def test_what_files_say_of_listeners_and_tracks_is_searched_and_paged(
    client_for: Any, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = client_for("viewer")
    assert '<th scope="row">1003</th>' in viewer.get("/label-revenue/listeners?q=FAMILY").text
    assert "None matches" in viewer.get("/label-revenue/tracks?q=%25").text
    monkeypatch.setattr(pages, "PER_PAGE", 2)
    for which, first in (("listeners", "1001"), ("tracks", "T-501")):
        found, address = [], f"/label-revenue/{which}"
        while address:
            page = viewer.get(address).text
            found += re.findall(
                r'<th scope="row">([^<]+)<.*?"From month">([^<]+)<', page, re.DOTALL
            )
            following = re.search(r'rel="next" href="([^"]+)"', page)
            address = following[1].replace("&amp;", "&") if following else ""
        assert found[0][0] == first
        assert len(found) == len(set(found))
        assert len({key for key, _ in found}) == 6
    assert "1001" not in client_for("stranger").get("/label-revenue/listeners").text


def test_the_audit_log_names_a_load_and_leads_to_it(client_for: Any, sample: str) -> None:
    owner = client_for("owner")
    found = re.search(
        rf'<a href="(/label-revenue\?loadsq={sample})#loads">load of 20', owner.get("/audit").text
    )
    assert found
    assert f'id="{sample}"' in owner.get(found[1]).text


def test_an_empty_company_is_told_what_to_do(client_for: Any) -> None:
    for name in ("owner", "viewer"):
        page = client_for(name).get("/label-revenue")
        assert "There are no streams yet." in page.text
        assert client_for(name).get("/label-revenue/compare").status_code == 200


def test_the_methods_stand_side_by_side(client_for: Any, sample: str) -> None:
    page = client_for("viewer").get("/label-revenue/compare?from=2025-03&to=2025-03").text
    for text in ("20.50", "16.38", "-4.12", "7.19", "45.55", "Listener without streams"):
        assert text in page
    assert client_for("viewer").get("/label-revenue/compare?from=x").status_code == 422


def test_a_statement_holds_a_label_and_no_listener(client_for: Any, sample: str) -> None:
    answer = client_for("viewer").get(
        "/label-revenue/statement?label=Harbour+Classics&method=listener&from=2025-03"
    )
    assert answer.status_code == 200
    book = openpyxl.load_workbook(io.BytesIO(answer.data))
    cells = [cell.value for sheet in book for row in sheet for cell in row]
    assert 16.38 in cells
    assert any("own seconds" in str(cell) for cell in cells)
    assert not {str(number) for number in range(1001, 1007)} & {str(cell) for cell in cells}
    missing = client_for("viewer").get("/label-revenue/statement?label=Nobody&from=2025-03")
    assert missing.status_code == 404


def test_admins_lock_and_undo_and_others_may_not(client_for: Any, sample: str) -> None:
    steps = [f"months/2025-03/{state}" for state in ("calculated", "approved", "locked")]
    for path in (*steps, f"batches/{sample}/undo"):
        assert send(client_for("colleague"), f"/label-revenue/{path}").status_code == 403
        assert send(client_for("owner"), f"/label-revenue/{path}").status_code == 303
    assert "changed since" in client_for("owner").get("/label-revenue").text
    other = send(client_for("stranger"), f"/label-revenue/batches/{sample}/undo")
    assert other.status_code == 404


def test_shares_and_currency_hold_from_a_month_on(
    app: Flask, scope: Scope, client_for: Any, api_for: Any, sample: str
) -> None:
    owner = client_for("owner")
    good = {"from_month": "2025-03", "share_web": "1", "share_app_store": "0,5", "currency": "kwd"}
    bad = send(owner, "/label-revenue/periods", **good | {"share_web": "2", "currency": "QQQ"})
    assert bad.status_code == 422
    assert 'value="QQQ"' in bad.text
    assert send(owner, "/label-revenue/periods", **good).status_code == 303
    answer = api_for("owner").get("/report?month=2025-03")
    # 3 x 7.99 + 14.99 + half of 9.99 + 4.99, in thousandths.
    assert answer.headers["Report-Currency"] == "KWD"
    assert '"Harbour Classics": 20.903' in answer.text
    again = {"from_month": "2025-03", "share_web": "0.8", "share_app_store": "0.7"}
    send(owner, "/label-revenue/periods", currency="EUR", **again)
    assert "web 1, KWD before, now app store 0.7, web 0.8, EUR" in owner.get("/audit").text
    # What was replaced is still to be read.
    assert "app store 0.5, web 1, KWD" in owner.get("/label-revenue").text
    assert api_for("owner").get("/report?month=2025-03").headers["Report-Currency"] == "EUR"
    with app.app_context():
        assert settings_for(scope.company_id, ledger.BEGINNING).currency == "EUR"


@pytest.mark.parametrize(
    ("currency", "shown", "in_workbook"),
    [("JPY", ">21<", "#,##0"), ("KWD", ">20.497<", "#,##0.000"), ("EUR", ">20.50<", "#,##0.00")],
)
def test_amounts_have_the_digits_of_their_currency(
    client_for: Any,
    sample: str,
    run_report: Callable[..., str],
    currency: str,
    shown: str,
    in_workbook: str,
) -> None:
    owner = client_for("owner")
    form = {"from_month": "2025-01", "share_web": "0.9", "share_app_store": "0.7"}
    send(owner, "/label-revenue/periods", currency=currency, **form)
    path = f"/reports/{run_report(start='2025-03', end='2025-03')}"
    assert shown in owner.get(path).text
    sheet = openpyxl.load_workbook(io.BytesIO(owner.get(f"{path}.xlsx").data)).worksheets[0]
    [place] = [cell.column for cell in sheet[1] if str(cell.value).startswith("Amount")]
    assert sheet.cell(2, place).number_format == in_workbook


def test_months_of_different_money_are_not_added_up(client_for: Any, api_for: Any) -> None:
    api = api_for("owner")
    stream = {"user_id": 1, "region": "NL", "track_id": "A", "seconds": 5}
    api.post("/streams", [stream | {"date": "2025-03-01"}, stream | {"date": "2025-04-01"}])
    shares = {"share_web": "1", "share_app_store": "1"}
    send(
        client_for("owner"),
        "/label-revenue/periods",
        from_month="2025-04",
        currency="JPY",
        **shares,
    )
    assert api.get("/report").status_code == 400
    assert api.get("/report?month=2025-04").status_code == 200


def test_a_month_that_pays_nothing_is_of_no_currency(
    client_for: Any, api_for: Any, sample: str
) -> None:
    owner, api = client_for("owner"), api_for("owner")
    shares = {"share_web": "1", "share_app_store": "1"}
    send(owner, "/label-revenue/periods", from_month="2025-04", currency="JPY", **shares)
    answer = api.get("/report?from=2025-01&to=2025-06")
    assert (answer.status_code, answer.headers["Report-Currency"]) == (200, "EUR")
    assert answer.json == api.get("/report").json
    assert api.get("/report?month=2025-06").headers["Report-Currency"] == "JPY"
    span = "from=2025-01&to=2025-06"
    statement = owner.get(f"/label-revenue/statement?label=Quiet+Street&{span}")
    assert statement.status_code == 200
    assert "(EUR)" in owner.get(f"/label-revenue/compare?{span}").text


def test_the_report_has_labels_months_a_chart_and_files(
    client_for: Any, sample: str, run_report: Callable[..., str]
) -> None:
    report_id = run_report(start="2025-03", end="2025-04", method="listener")
    viewer = client_for("viewer")
    page = viewer.get(f"/reports/{report_id}").text
    for text in ("Harbour Classics", "16.38", "By listener", "canvas"):
        assert text in page
    rows = list(csv.DictReader(io.StringIO(viewer.get(f"/reports/{report_id}.csv").text)))
    assert rows[0] == {
        "label": "Harbour Classics",
        "seconds": "900",
        "share": "45.0",
        "amount": "16.38",
        "kind": "label",
        "currency": "EUR",
        "method": "listener",
    }
    document = viewer.get(f"/reports/{report_id}.json").json
    assert document["pool"] == "45.55"
    assert sum(round(row["amount"] * 100) for row in document["labels"]) == 4555
    book = openpyxl.load_workbook(io.BytesIO(viewer.get(f"/reports/{report_id}.xlsx").data))
    assert "Labels (listener)" in book.sheetnames


@pytest.mark.parametrize("method", ["pool", "listener"])
def test_details_say_who_was_heard_and_add_up_to_the_pool(
    client_for: Any, sample: str, run_report: Callable[..., str], method: str
) -> None:
    """By hand from the sample: of 900 seconds of Harbour Classics 800 are of T-501."""
    path = f"/reports/{run_report(start='2025-03', end='2025-03', method=method, details=True)}"
    viewer = client_for("viewer")
    document = viewer.get(f"{path}.json").json
    for table in ("labels", "tracks", "territories", "product_types"):
        assert sum(round(row["amount"] * 100) for row in document[table]) == 4555, table
        assert sum(row["seconds"] for row in document[table]) == 2000
        rows = list(csv.DictReader(io.StringIO(viewer.get(f"{path}.csv?by={table}").text)))
        total = rows[-1]
        assert "Total" in total.values()
        assert (total["seconds"], total["share"], total["amount"]) == ("2000", "100", "45.55")
    tracks = document["tracks"]
    assert [row["seconds"] for row in tracks] == sorted(
        (row["seconds"] for row in tracks), reverse=True
    )
    first = [tracks[0][name] for name in ("track_id", "title", "label", "seconds", "amount")]
    paid = {"pool": 18.22, "listener": 12.89}[method]
    assert first == ["T-501", "Nocturne in Blue", "Harbour Classics", 800, paid]
    by_label = {
        label: sum(round(row["amount"] * 100) for row in tracks if row["label"] == label)
        for label in ("Harbour Classics", "Linden Records", "Quiet Street")
    }
    assert by_label == {
        row["label"]: round(row["amount"] * 100)
        for row in document["labels"]
        if row["kind"] == "label"
    }
    assert [(row["region"], row["seconds"]) for row in document["territories"][:4]] == [
        ("DE", 900),
        ("NL", 650),
        ("FR", 400),
        ("BE", 50),
    ]
    heard = {row["product_type"]: row["seconds"] for row in document["product_types"]}
    assert (heard["premium"], heard["family"], heard["student"]) == (900, 1000, 100)
    page = viewer.get(path).text
    for text in ("Most streamed", "Territories", "Product types", "Total"):
        assert text in page


def test_a_second_report_takes_closed_months_from_the_store(
    app: Flask, sample: str, run_report: Callable[..., str], client_for: Any
) -> None:
    run_report(start="2025-03", end="2025-03")
    report_id = run_report(start="2025-03", end="2025-03")
    assert "(stored)" in client_for("viewer").get(f"/reports/{report_id}").text


def upload(client: FlaskClient, **texts: Any) -> Any:
    files = {role: (io.BytesIO(text), FILES[role]) for role, text in texts.items()}
    return send(client, "/label-revenue/load", **files)


def state(app: Flask, path: str) -> Upload:
    with app.app_context():
        found = db.session.get_one(Upload, path.rsplit("/", 1)[1])
        db.session.expunge(found)
        return found


def test_files_are_sent_looked_at_and_loaded(
    app: Flask, client_for: Any, api_for: Any, scope: Scope
) -> None:
    owner = client_for("owner")
    sent = upload(owner, **{role: (SAMPLE / name).read_bytes() for role, name in FILES.items()})
    assert sent.status_code == 303
    assert "Every row is looked at" in owner.get(sent.location).text
    run_jobs(app)
    page = owner.get(sent.location).text
    for text in ("semicolon", "decimal mark ,", "day/month/year", "2025-03-13", "T-501"):
        assert text in page
    assert "8 lines: 8 can be stored, 0 cannot" in page
    assert send(owner, sent.location).status_code == 303
    assert "loading" in owner.get(sent.location).text
    run_jobs(app)
    assert state(app, sent.location).status == "loaded"
    assert api_for("owner").get("/report").json["data"]["Quiet Street"] == 9.11
    assert send(owner, sent.location).status_code == 409
    assert client_for("stranger").get(sent.location).status_code == 404
    assert client_for("colleague").get(sent.location).status_code == 403


def test_the_preview_counts_streams_that_stand_and_asks_what_becomes_of_them(
    app: Flask, client_for: Any, sample: str
) -> None:
    owner = client_for("owner")
    streams = (SAMPLE / "streaming.csv").read_bytes().replace(b"\n", b"\r\n")
    for choice, said in (("skip", "8 streams skipped"), ("keep", "Loaded 8 streams")):
        path = upload(owner, streams=streams + b"\r\n").location
        run_jobs(app)
        page = owner.get(path).text
        assert "8 of 8 streams were loaded before" in page
        assert 'value="skip" checked' in page
        assert send(owner, path, repeated=choice).status_code == 303
        run_jobs(app)
        assert said in owner.get(path).text


def test_labels_that_look_alike_and_other_encodings_are_told_in_the_preview(
    app: Flask, client_for: Any, scope: Scope
) -> None:
    owner = client_for("owner")
    tracks = b'[{"track_id": "A", "label": "One"}, {"track_id": "B", "label": "ONE"}]'
    streams = b"date;user_id;region;track id;seconds\n2025-03-05;5001;D\xfcss;A;60"
    path = upload(owner, tracks=tracks, streams=streams).location
    run_jobs(app)
    assert "differ only in case" in owner.get(path).text
    send(owner, path, encoding="cp1252", look="true")
    run_jobs(app)
    assert "D\u00fcss" in owner.get(path).text
    send(owner, path, encoding="cp1252")
    run_jobs(app)
    assert state(app, path).status == "loaded"
    with app.app_context():
        assert db.session.scalars(select(Stream.region)).all() == ["D\u00fcss"]


def test_the_preview_counts_what_the_load_counts(app: Flask, client_for: Any) -> None:
    owner = client_for("owner")
    terms = b"user_id;product_type;fee;origin\n1;a;7,99;web\n1;b;7,99;web\n1;a;7,99;web\n2;a;1;x\n"
    tracks = b'[{"track_id": "T", "label": "A"}, {"track_id": "T", "label": "B"}]'
    streams = b"date;user_id;region;track id;seconds\n14/03/2025;x;NL;;5\n14/03/2025;1;NL;T;5\n"
    path = upload(owner, users=terms, tracks=tracks, streams=streams).location
    run_jobs(app)
    page = owner.get(path).text
    assert "4 lines: 2 can be stored, 2 cannot" in page
    assert page.count("2 lines: 1 can be stored, 1 cannot") == 2
    with owner.get(f"{path}/rejected.csv") as answer:
        told = [line.split(",")[:3] for line in answer.text.splitlines()[1:]]
    assert [":".join(line) for line in told] == [
        "streaming.csv:2:user_id",
        "streaming.csv:2:track_id",
        "users.csv:3:user_id",
        "users.csv:5:origin",
        "tracks.json:1:track_id",
    ]
    send(owner, path, skip_bad="true")
    run_jobs(app)
    assert "1 track; 4 rows rejected" in owner.get(path).text


def test_an_ambiguous_upload_asks_and_bad_rows_are_shown(app: Flask, client_for: Any) -> None:
    owner = client_for("owner")
    streams = b"date;user_id;region;track id;seconds\n03/04/2025;1;NL;A;5\n03/04/2025;x;NL;A;5"
    sent = upload(owner, streams=streams)
    run_jobs(app)
    page = owner.get(sent.location).text
    assert "may be read in two ways" in page
    assert 'is-incomplete">needs an answer</span>' in page
    assert send(owner, sent.location).status_code == 422
    # What is said now was not known to the look: every row is looked at before anything is loaded.
    assert send(owner, sent.location, date_order="dmy").status_code == 303
    run_jobs(app)
    page = owner.get(sent.location).text
    assert state(app, sent.location).status == "ready"
    assert 'is-incomplete">has errors</span>' in page
    assert "2 lines: 1 can be stored, 1 cannot" in page
    assert re.search(r"user_id</td><td>&#39;x&#39; is not a listener", page)
    refused = send(owner, sent.location, date_order="dmy")
    assert (refused.status_code, "1 row cannot be used" in refused.text) == (422, True)
    with owner.get(f"{sent.location}/rejected.csv") as answer:
        assert b"user_id" in answer.data
    assert send(owner, sent.location, date_order="dmy", skip_bad="true").status_code == 303
    run_jobs(app)
    assert state(app, sent.location).status == "loaded"


def test_how_files_are_read_can_be_changed_and_looked_at_again(app: Flask, client_for: Any) -> None:
    owner = client_for("owner")
    users = b"user_id;product_type;fee;origin\n1;p;5;web\n2;p;x;web"
    streams = b"date;user_id;region;track id;seconds\n13/03/2025;1;NL;A;5"
    path = upload(owner, streams=streams, users=users).location
    run_jobs(app)
    assert 'name="date_order"' in owner.get(path).text
    said = {"separator": "|", "decimal_mark": ",", "date_order": "mdy"}
    assert send(owner, path, look="true", **said).status_code == 303
    run_jobs(app)
    page = owner.get(path).text
    assert "The header needs the columns" in page
    for value in ('"|" selected', '"," selected', '"mdy" selected'):
        assert value in page
    assert send(owner, path, look="true", separator=";;").status_code == 422
    right = {"decimal_mark": ",", "date_order": "dmy"}
    assert send(owner, path, from_month="2025-03", look="true", **right).status_code == 303
    run_jobs(app)
    page = owner.get(path).text
    assert "decimal mark , (comma)" in page
    # The look at the files is still there with what was said of them.
    for text in ("is not a number", "First rows of", '"," selected', '"dmy" selected', "2025-03"):
        assert text in page


def test_the_month_of_new_terms_is_asked_for_and_told(app: Flask, client_for: Any) -> None:
    owner = client_for("owner")
    path = upload(owner, users=(SAMPLE / "users.csv").read_bytes()).location
    run_jobs(app)
    assert 'name="from_month"' in owner.get(path).text
    assert send(owner, path, from_month="2025").status_code == 422
    assert send(owner, path, from_month="2025-02").status_code == 303
    run_jobs(app)
    assert "The terms of users.csv hold from 2025-02 on." in owner.get(path).text


def test_the_preview_knows_the_currency_of_the_loads_own_month(app: Flask, client_for: Any) -> None:
    owner = client_for("owner")
    for month, currency in (("2025-03", "JPY"), ("2025-04", "EUR")):
        more = {"share_web": "1", "share_app_store": "1", "currency": currency}
        send(owner, "/label-revenue/periods", from_month=month, **more)
    users = b"user_id;product_type;fee;origin\n1;a;7,99;web\n"
    head = b"date;user_id;region;track id;seconds\n"
    march, april = (head + b"1%d/0%d/2025;1;NL;T;5\n" % (4, month) for month in (3, 4))

    def look(**files: bytes) -> tuple[str, str]:
        path = upload(owner, **files).location
        run_jobs(app)
        return path, state(app, path).state

    def load(path: str, **said: str) -> str:
        assert send(owner, path, **said).status_code == 303
        run_jobs(app)
        return str(state(app, path).state)

    # The month of the streams beside them, also of those that are sent later in the file.
    assert look(users=users, streams=march + april[len(head) :])[1] == "has errors"
    assert look(users=users, streams=april)[1] == "ready"
    # The month that is said, also where it is only said with the load.
    path, found = look(users=users)
    assert found == "ready"
    assert load(path, from_month="2025-03") == "has errors"
    assert "no amount of JPY" in owner.get(path).text
    assert load(path, from_month="2025-04") == "loaded"
    # The month after the newest one that is known.
    february = head + b"14/02/2025;1;NL;T;5\n"
    assert load(look(streams=february)[0]) == "loaded"
    assert look(users=users)[1] == "has errors"


def test_a_page_does_not_fetch_from_private_addresses(client_for: Any) -> None:
    owner = client_for("owner")
    for url in ("http://127.0.0.1/x", "http://[::1]/", "http://169.254.169.254/", "ftp://a/b"):
        answer = send(owner, "/label-revenue/load", tracks_url=url)
        assert answer.status_code == 422, url
    assert send(owner, "/label-revenue/load").status_code == 422


def test_an_unknown_server_is_taken_where_there_is_a_copy(
    app: Flask, scope: Scope, client_for: Any
) -> None:
    owner, url = client_for("owner"), "http://tracks.invalid/tracks.json"
    sent = send(owner, "/label-revenue/load", tracks_url=url)
    assert (sent.status_code, "no server of that name" in sent.text) == (422, True)
    with app.app_context():
        copy = uploads.copy_of(scope.company_id, url)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b'[{"track_id": "T", "label": "A"}, {"label": "B"}]')
    path = send(owner, "/label-revenue/load", tracks_url=url).location
    run_jobs(app)
    # What is fetched by the load was not looked at: what it leaves out is kept by the load.
    send(owner, path, skip_bad="true")
    run_jobs(app)
    assert "1 track; 1 row rejected" in owner.get(path).text
    with owner.get(f"{path}/rejected.csv") as answer:
        assert "The track ID is missing." in answer.text


def test_admins_send_files_that_no_other_address_takes(app: Flask, client_for: Any) -> None:
    owner, viewer = client_for("owner"), client_for("viewer")
    app.config["MAX_CONTENT_LENGTH"] = 20_000
    streams = b"date;user_id;region;track id;seconds\n" + b"13/03/2025;1;NL;A;5\n" * 2000
    assert upload(owner, streams=streams).status_code == 303
    assert upload(viewer, streams=streams).status_code in {403, 413}
    assert send(owner, "/label-revenue/periods", currency="x" * 30_000).status_code == 413
