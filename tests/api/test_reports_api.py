"""Every route of /api/v1 and its answers, for people of every kind."""

from __future__ import annotations

import csv
import io
import json
import re
import threading
from collections.abc import Callable
from typing import Any

import openpyxl
import pytest
from flask import Flask

from sandbox import truth
from sandbox.testing import RunningStandIn
from tests.api.api_helpers import REPORT_MEMBERS, assert_problem, create, ended, run
from tests.conftest import DEMO_SECRET, Api
from webapp.accounts.models import AuditEntry
from webapp.engine.kind import Estimate
from webapp.engine.models import Report, ResultRow
from webapp.extensions import db

ApiFor = Callable[[str], Api]
Params = Callable[..., dict[str, Any]]
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
MONTHLY = {"mode": "monthly", "start": "2024-01", "end": "2024-03"}
ANY_ID = "4c26c6aa-3224-4e15-a44c-4ea98c89d61e"


def fetch(api: Api, path: str, **headers: str) -> Any:
    """Get a download and read it to its end, as every client does."""
    answer = api.get(path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer.get_data()
    return answer


@pytest.fixture
def api(api_for: ApiFor) -> Api:
    return api_for("owner")


# Making one


def test_a_new_report_is_accepted_with_its_address(api: Api, partner_use: Params) -> None:
    answer = create(api, partner_use())
    report = answer.json
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/v1/reports/{report['id']}"
    assert list(report) == REPORT_MEMBERS
    assert (report["kind"], report["status"]) == ("partner-use", "queued")
    assert report["progress"] == {"done": 0, "total": 0}
    assert (report["started_at"], report["finished_at"], report["error"]) == (None, None, None)
    assert INSTANT.fullmatch(report["created_at"])
    assert report["links"] == {
        "self": f"/api/v1/reports/{report['id']}",
        "events": f"/api/v1/reports/{report['id']}/events",
        "result": f"/api/v1/reports/{report['id']}/result",
    }


def test_the_params_of_an_answer_hold_no_secret(api: Api, partner_use: Params) -> None:
    answer = create(api, partner_use())
    assert DEMO_SECRET not in answer.text
    assert "user_secret" not in answer.json["params"]
    assert answer.json["params"]["user_key"] == "demo-user-key"
    assert DEMO_SECRET not in api.get(f"/reports/{answer.json['id']}").text
    assert DEMO_SECRET not in api.get("/reports").text


def test_a_finished_report_says_when_and_how_far(app: Flask, api: Api, partner_use: Params) -> None:
    report = api.get(f"/reports/{ended(app, api, partner_use())}").json
    assert report["status"] == "done"
    assert report["progress"]["done"] == report["progress"]["total"] > 0
    for name in ("created_at", "started_at", "finished_at"):
        assert INSTANT.fullmatch(report[name])


def test_a_failed_report_says_why(app: Flask, api: Api, partner_use: Params) -> None:
    report = api.get(f"/reports/{ended(app, api, partner_use(user_key='nobody'))}").json
    assert report["status"] == "failed"
    assert "does not know the user key" in report["error"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["kind"]),
        ({"kind": "weather", "params": {}}, ["kind"]),
        ({"kind": 5}, ["kind"]),
        ({"kind": ["partner-use"]}, ["kind"]),
        ({"kind": "partner-use", "params": []}, ["params"]),
        ({"kind": "partner-use", "params": {}, "colour": 1}, ["colour"]),
        (
            {"kind": "partner-use", "params": {"mode": "monthly"}},
            ["partner_id", "user_key", "user_secret", "start", "end"],
        ),
        ([], ["body"]),
        ("text", ["body"]),
        (None, ["body"]),
    ],
)
def test_bad_values_get_a_sentence_at_their_field(api: Api, body: Any, fields: list[str]) -> None:
    raw = json.dumps(body)
    answer = api.client.post(
        "/api/v1/reports", auth=api.auth, data=raw, content_type="application/json"
    )
    assert_problem(answer, 422, *fields)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"start": "2024-13"}, "start"),
        ({"start": "2024-05", "end": "2024-04"}, "end"),
        ({"end": "2999-01"}, "end"),
        ({"partner_id": "abc"}, "partner_id"),
        ({"user_secret": ""}, "user_secret"),
        ({"colour": "red"}, "colour"),
        ({"refresh": "perhaps"}, "refresh"),
        ({"connection": "demo"}, "connection"),
        ({"connection": ANY_ID}, "connection"),
    ],
)
def test_a_bad_parameter_gets_a_sentence_at_its_field(
    api: Api, partner_use: Params, change: dict[str, Any], field: str
) -> None:
    answer = create(api, partner_use(**MONTHLY | change))
    problem = assert_problem(answer, 422, field)
    assert problem["errors"][field].endswith(".")


def test_a_refused_report_repeats_no_secret(api: Api, partner_use: Params) -> None:
    for bad in ({"user_secret": ["canary-secret-1"]}, {"partner_id": "canary", "mode": "x"}):
        assert "canary-secret-1" not in create(api, partner_use(**bad)).text


# Idempotency


def test_the_same_key_and_body_give_the_same_report(api: Api, partner_use: Params) -> None:
    first = create(api, partner_use(), Idempotency_Key="one")
    second = create(api, partner_use(), Idempotency_Key="one")
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json["id"] == second.json["id"]
    assert create(api, partner_use(), Idempotency_Key="two").json["id"] != first.json["id"]
    assert create(api, partner_use()).json["id"] != first.json["id"]


def test_a_report_found_by_its_key_is_not_noted_as_another_one(
    app: Flask, api: Api, partner_use: Params
) -> None:
    for _ in range(3):
        create(api, partner_use(), Idempotency_Key="one")
    with app.app_context():
        noted = db.select(db.func.count()).where(AuditEntry.action == "ran")
        assert db.session.scalar(noted) == 1


def test_the_same_key_finds_the_report_after_it_ended(
    app: Flask, api: Api, partner_use: Params
) -> None:
    first = create(api, partner_use(), Idempotency_Key="one").json["id"]
    run(app, first)
    again = create(api, partner_use(), Idempotency_Key="one")
    assert (again.json["id"], again.json["status"]) == (first, "done")


@pytest.mark.parametrize("change", [{"partner_id": "70000002"}, {"user_secret": "b3RoZXI="}])
def test_the_same_key_with_another_body_is_refused(
    api: Api, partner_use: Params, change: dict[str, str]
) -> None:
    create(api, partner_use(), Idempotency_Key="one")
    answer = create(api, partner_use(**change), Idempotency_Key="one")
    assert_problem(answer, 422, "Idempotency-Key")


def test_a_key_belongs_to_its_user(api_for: ApiFor, partner_use: Params) -> None:
    made = {
        create(api_for(who), partner_use(), Idempotency_Key="one").json["id"]
        for who in ("owner", "colleague", "stranger")
    }
    assert len(made) == 3


@pytest.mark.parametrize("key", [" ", "x" * 256])
def test_an_odd_key_is_refused(api: Api, partner_use: Params, key: str) -> None:
    assert_problem(create(api, partner_use(), Idempotency_Key=key), 422, "Idempotency-Key")


def test_the_same_key_many_times_at_once_makes_one_report(
    app: Flask, api: Api, partner_use: Params
) -> None:
    made: list[tuple[int, str]] = []

    def ask() -> None:
        answer = create(Api(app.test_client(), api.auth), partner_use(), Idempotency_Key="one")
        made.append((answer.status_code, answer.json.get("id")))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(made)) == 1
    assert made[0][0] == 202
    with app.app_context():
        assert db.session.query(Report).count() == 1


# Who may


@pytest.mark.parametrize("who", ["owner", "colleague"])
def test_an_expert_may_make_a_report(api_for: ApiFor, partner_use: Params, who: str) -> None:
    assert create(api_for(who), partner_use()).status_code == 202


def test_a_viewer_reads_and_changes_nothing(
    app: Flask, api_for: ApiFor, partner_use: Params
) -> None:
    report_id = ended(app, api_for("owner"), partner_use(partner_id="70000007"))
    viewer = api_for("viewer")
    for path in ("/reports", f"/reports/{report_id}", f"/reports/{report_id}/result", "/kinds",
                 f"/reports/{report_id}/events"):  # fmt: skip
        assert viewer.get(path).status_code == 200, path
    assert_problem(create(viewer, partner_use()), 403)
    assert_problem(viewer.delete(f"/reports/{report_id}"), 403)
    assert_problem(viewer.post(f"/reports/{report_id}/retry", {"user_secret": "x"}), 403)
    assert_problem(viewer.delete("/months"), 403)
    body = {"kind": "partner-use", "params": partner_use()}
    assert_problem(viewer.post("/reports/estimate", body), 403)


def test_a_viewer_cannot_cancel(api_for: ApiFor, partner_use: Params) -> None:
    report_id = create(api_for("owner"), partner_use()).json["id"]
    assert_problem(api_for("viewer").delete(f"/reports/{report_id}"), 403)
    assert api_for("owner").get(f"/reports/{report_id}").json["status"] == "queued"


def test_a_colleague_reads_cancels_and_deletes_a_report_of_the_company(
    app: Flask, api_for: ApiFor, partner_use: Params
) -> None:
    colleague = api_for("colleague")
    queued = create(api_for("owner"), partner_use()).json["id"]
    assert colleague.get(f"/reports/{queued}").status_code == 200
    assert colleague.delete(f"/reports/{queued}").status_code == 202
    assert colleague.delete(f"/reports/{queued}").status_code == 204


@pytest.mark.parametrize("who", ["stranger", "operator"])
@pytest.mark.parametrize("state", ["ended", "queued", "unknown"])
def test_another_companys_report_is_as_unknown_as_none(
    app: Flask, api_for: ApiFor, partner_use: Params, who: str, state: str
) -> None:
    owner = api_for("owner")
    report_id = ANY_ID
    if state == "ended":
        report_id = ended(app, owner, partner_use())
    elif state == "queued":
        report_id = create(owner, partner_use()).json["id"]
    other = api_for(who)
    found = [
        assert_problem(answer, 404)
        for answer in (
            other.get(f"/reports/{report_id}"),
            other.get(f"/reports/{report_id}/events"),
            other.get(f"/reports/{report_id}/result"),
            other.delete(f"/reports/{report_id}"),
            other.post(f"/reports/{report_id}/retry", {"user_secret": "x"}),
        )
    ]
    assert {problem["detail"] for problem in found} == {"There is no such report."}
    assert other.get("/reports").json == []


ROUTES = [
    ("POST", "/reports"),
    ("GET", "/reports"),
    ("GET", f"/reports/{ANY_ID}"),
    ("GET", f"/reports/{ANY_ID}/events"),
    ("GET", f"/reports/{ANY_ID}/result"),
    ("DELETE", f"/reports/{ANY_ID}"),
    ("POST", f"/reports/{ANY_ID}/retry"),
    ("POST", "/reports/estimate"),
    ("GET", "/kinds"),
    ("DELETE", "/months"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_or_with_wrong_credentials_every_route_is_a_401(
    app: Flask, api: Api, method: str, path: str
) -> None:
    client = app.test_client()
    for auth in (None, (api.auth[0], "wrong"), ("unknown", "wrong")):
        answer = client.open(f"/api/v1{path}", method=method, auth=auth, json={})
        problem = assert_problem(answer, 401)
        assert "wrong" not in problem["detail"]


def test_a_wrong_secret_and_an_unknown_key_are_told_apart_by_nothing(app: Flask, api: Api) -> None:
    client = app.test_client()
    answers = [
        client.get("/api/v1/reports", auth=auth).json
        for auth in ((api.auth[0], "wrong"), ("unknown", "wrong"))
    ]
    assert answers[0] | {"request_id": ""} == answers[1] | {"request_id": ""}


# Lists


def test_the_list_is_newest_first_in_pages_that_follow_each_other(
    api: Api, partner_use: Params
) -> None:
    made = [create(api, partner_use()).json["id"] for _ in range(5)]
    found: list[str] = []
    path = "/reports?limit=2"
    for _ in range(9):
        answer = api.get(path)
        assert len(answer.json) <= 2
        found += [report["id"] for report in answer.json]
        link = answer.headers.get("Link")
        if not link:
            break
        match = re.fullmatch(r'<(/api/v1)(/reports\?[^>]+)>; rel="next"', link)
        assert match
        path = match[2]
    assert found == made[::-1]


def test_a_report_made_between_two_pages_hides_none(api: Api, partner_use: Params) -> None:
    made = [create(api, partner_use()).json["id"] for _ in range(4)]
    first = api.get("/reports?limit=2")
    create(api, partner_use())
    match = re.search(r"<(?:/api/v1)([^>]+)>", first.headers["Link"])
    assert match
    second = api.get(match[1])
    assert [report["id"] for report in first.json + second.json] == made[::-1]


def test_the_list_filters_by_kind_and_status_and_keeps_that_on_its_next_page(
    app: Flask, api: Api, partner_use: Params
) -> None:
    done = [ended(app, api, partner_use(partner_id="70000003")) for _ in range(2)]
    status = api.get(f"/reports/{done[0]}").json["status"]
    create(api, partner_use())
    page = api.get(f"/reports?kind=partner-use&status={status}&limit=1")
    assert [report["id"] for report in page.json] == [done[1]]
    assert f"status={status}" in page.headers["Link"]
    assert "kind=partner-use" in page.headers["Link"]
    assert api.get("/reports?kind=inventory").json == []


BAD_QUERIES = (
    ("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("limit=-1", "limit"),
    ("limit=1e2", "limit"), ("limit=" + "9" * 50, "limit"), ("limit=%D9%A3", "limit"),
    ("kind=weather", "kind"), ("status=lost", "status"), ("cursor=x", "cursor"),
    ("cursor=%00", "cursor"), ("cursor=" + "A" * 3000, "cursor"), ("cursor=%F0%9F", "cursor"),
    ("cursor=MjAyNC0wMS0wMSB4", "cursor"),
)  # fmt: skip


@pytest.mark.parametrize("what", ["list", "report"])
def test_what_has_not_changed_is_not_sent_again(
    app: Flask, api: Api, partner_use: Params, what: str
) -> None:
    report_id = create(api, partner_use()).json["id"]
    path = "/reports" if what == "list" else f"/reports/{report_id}"
    first = api.get(path)
    again = api.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    run(app, report_id)
    after = api.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert after.status_code == 200
    assert after.headers["ETag"] != first.headers["ETag"]


def test_a_bad_query_gets_a_sentence(api: Api) -> None:
    for query, field in BAD_QUERIES:
        assert_problem(api.get(f"/reports?{query}"), 422, field)


# Results


def test_the_result_comes_by_accept_or_by_format(app: Flask, api: Api, partner_use: Params) -> None:
    path = f"/reports/{ended(app, api, partner_use())}/result"
    xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    for accept, kind in (
        (None, "application/json"), ("*/*", "application/json"), ("text/csv", "text/csv"),
        (xlsx, xlsx), ("text/html", "application/json"),
        ("application/json;q=0.5, text/csv", "text/csv"),
    ):  # fmt: skip
        answer = fetch(api, path, **({"Accept": accept} if accept else {}))
        assert (answer.status_code, answer.mimetype) == (200, kind), accept
    for fmt, kind in (("json", "application/json"), ("csv", "text/csv"), ("xlsx", xlsx)):
        answer = fetch(api, f"{path}?format={fmt}", Accept="text/csv")
        assert answer.mimetype == kind


def test_the_three_formats_tell_the_same(app: Flask, api: Api, partner_use: Params) -> None:
    path = f"/reports/{ended(app, api, partner_use(**MONTHLY))}/result"
    right = truth.report(70000001, ("2024-01", "2024-03"))["months"]
    wanted = [(row["month"], row["total_users"], row["delta"]) for row in right]
    document = fetch(api, path).json
    assert [
        (row["month"], row["total_users"], row["delta"]) for row in document["months"]
    ] == wanted
    rows = list(csv.DictReader(io.StringIO(fetch(api, f"{path}?format=csv").text, newline="")))
    assert [(r["month"], int(r["total_users"]), int(r["delta"])) for r in rows] == wanted
    book = openpyxl.load_workbook(io.BytesIO(fetch(api, f"{path}?format=xlsx").data))
    cells = book.worksheets[0].iter_rows(min_row=2, values_only=True)
    assert [(f"{month:%Y-%m}", total, delta) for month, total, delta in cells] == wanted  # type: ignore[str-format, union-attr]


def test_the_csv_by_site_is_asked_for_in_the_address(
    app: Flask, api: Api, partner_use: Params
) -> None:
    path = f"/reports/{ended(app, api, partner_use(**MONTHLY))}/result?format=csv"
    assert fetch(api, f"{path}&by=site").text.startswith("month,site_id,name,total_users,delta\r\n")
    assert_problem(fetch(api, f"{path}&by=colour"), 422, "by")


def test_a_program_may_have_texts_as_they_are(app: Flask, api: Api, partner_use: Params) -> None:
    report_id = ended(app, api, partner_use())
    with app.app_context():
        row = db.session.scalars(db.select(ResultRow)).first()
        assert row is not None
        row.data = row.data | {"name": "=1+1"}
        db.session.commit()
    guarded = fetch(api, f"/reports/{report_id}/result?format=csv")
    raw = fetch(api, f"/reports/{report_id}/result?format=csv&raw=1")
    assert ("'=1+1" in guarded.text, "'=1+1" in raw.text, "=1+1" in raw.text) == (True, False, True)
    assert not guarded.data.startswith(b"\xef\xbb\xbf")
    assert guarded.headers["ETag"] != raw.headers["ETag"]


def test_an_unknown_format_is_refused(app: Flask, api: Api, partner_use: Params) -> None:
    path = f"/reports/{ended(app, api, partner_use())}/result"
    assert_problem(fetch(api, f"{path}?format=docx"), 422, "format")


@pytest.mark.parametrize("state", ["queued", "failed", "cancelled"])
def test_a_report_without_result_is_a_conflict(
    app: Flask, api: Api, partner_use: Params, state: str
) -> None:
    if state == "failed":
        report_id = ended(app, api, partner_use(user_secret="d3Jvbmc="))
    else:
        report_id = create(api, partner_use()).json["id"]
    if state == "cancelled":
        api.delete(f"/reports/{report_id}")
    for query in ("", "?format=csv", "?format=xlsx"):
        assert_problem(fetch(api, f"/reports/{report_id}/result{query}"), 409)


def test_an_incomplete_report_has_a_result(app: Flask, api: Api, partner_use: Params) -> None:
    report_id = ended(app, api, partner_use(partner_id="70000007"))
    assert fetch(api, f"/reports/{report_id}").json["status"] == "incomplete"
    assert fetch(api, f"/reports/{report_id}/result").json["complete"] is False


@pytest.mark.parametrize("fmt", ["json", "csv", "xlsx"])
def test_a_result_that_is_known_is_not_sent_again(
    app: Flask, api: Api, partner_use: Params, fmt: str
) -> None:
    path = f"/reports/{ended(app, api, partner_use())}/result?format={fmt}"
    tag = fetch(api, path).headers["ETag"]
    again = fetch(api, path, If_None_Match=tag)
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert fetch(api, path, If_None_Match='"other"').status_code == 200


def test_each_format_has_its_own_etag_and_a_retry_changes_it(
    app: Flask, api: Api, partner_use: Params, stand_in: RunningStandIn
) -> None:
    stand_in.faults([{"fault": "error:403007", "method": "accounts.search", "times": 1}])
    report_id = ended(app, api, partner_use())
    path = f"/reports/{report_id}/result"
    tags = {fetch(api, f"{path}?format={fmt}").headers["ETag"] for fmt in ("json", "csv", "xlsx")}
    assert len(tags) == 3
    assert api.post(f"/reports/{report_id}/retry", {"user_secret": DEMO_SECRET}).status_code == 202
    run(app, report_id)
    assert fetch(api, f"{path}?format=json").headers["ETag"] not in tags


def test_an_odd_table_name_is_no_fault_of_the_server(
    app: Flask, api: Api, partner_use: Params
) -> None:
    report_id = ended(app, api, partner_use(**MONTHLY))
    for fmt in ("json", "csv", "xlsx"):
        for by in ('a"b', "a%0Ab", "%00", "x" * 500, "%F0%9F%9A%80", "site"):
            path = f"/reports/{report_id}/result?format={fmt}&by={by}"
            assert fetch(api, path).status_code in {200, 422}, path
            assert fetch(api, path, If_None_Match=f'"{by}"').status_code in {200, 422}, path


# Cancel, delete, retry


def test_delete_cancels_what_is_queued_and_deletes_what_has_ended(
    app: Flask, api: Api, partner_use: Params
) -> None:
    report_id = create(api, partner_use()).json["id"]
    cancelled = api.delete(f"/reports/{report_id}")
    assert (cancelled.status_code, cancelled.json["status"]) == (202, "cancelled")
    deleted = api.delete(f"/reports/{report_id}")
    assert (deleted.status_code, deleted.data) == (204, b"")
    assert_problem(api.get(f"/reports/{report_id}"), 404)
    assert_problem(api.delete(f"/reports/{report_id}"), 404)


def test_a_retry_repairs_the_report_in_place(
    app: Flask, api: Api, partner_use: Params, stand_in: RunningStandIn
) -> None:
    stand_in.faults([{"fault": "error:403007", "method": "accounts.search", "times": 1}])
    report_id = ended(app, api, partner_use())
    assert api.get(f"/reports/{report_id}").json["status"] == "incomplete"
    answer = api.post(f"/reports/{report_id}/retry", {"params": {"user_secret": DEMO_SECRET}})
    assert (answer.status_code, answer.json["status"]) == (202, "queued")
    assert answer.headers["Location"] == f"/api/v1/reports/{report_id}"
    run(app, report_id)
    assert api.get(f"/reports/{report_id}").json["status"] == "done"


def test_a_retry_says_what_it_needs_and_what_it_does_not_take(
    app: Flask, api: Api, partner_use: Params
) -> None:
    report_id = ended(app, api, partner_use(partner_id="70000007"))
    path = f"/reports/{report_id}/retry"
    assert_problem(api.post(path), 422, "user_secret")
    assert_problem(api.post(path, {"params": []}), 422, "params")
    assert_problem(api.post(path, {"user_secret": "x", "partner_id": "1"}), 422, "partner_id")
    assert_problem(api.post(path, {"kind": "inventory", "params": {}}), 422, "kind")
    assert_problem(api.post(path, {"kind": ["partner-use"]}), 422, "kind")
    assert_problem(api.post(path, {"params": {}, "user_secret": "x"}), 422, "user_secret")


def test_a_retry_takes_the_body_the_report_was_made_with(
    app: Flask, api: Api, partner_use: Params
) -> None:
    params = partner_use(partner_id="70000007")
    report_id = ended(app, api, params)
    answer = api.post(f"/reports/{report_id}/retry", {"kind": "partner-use", "params": params})
    assert answer.status_code == 202


@pytest.mark.parametrize("state", ["queued", "done", "cancelled"])
def test_only_an_incomplete_or_failed_report_is_retried(
    app: Flask, api: Api, partner_use: Params, state: str
) -> None:
    report_id = create(api, partner_use()).json["id"]
    if state == "done":
        run(app, report_id)
    if state == "cancelled":
        api.delete(f"/reports/{report_id}")
    assert_problem(api.post(f"/reports/{report_id}/retry", {"user_secret": DEMO_SECRET}), 409)


# Estimate, kinds, months


def test_an_estimate_makes_no_report(api: Api, partner_use: Params) -> None:
    body = {"kind": "partner-use", "params": partner_use(**MONTHLY)}
    answer = api.post("/reports/estimate", body)
    assert answer.status_code == 200
    assert set(answer.json) == {"calls", "saved", "seconds"}
    assert answer.json["calls"] > 0
    assert api.get("/reports").json == []


def test_an_estimate_holds_no_database_connection_while_the_partner_thinks(
    app: Flask, api: Api, partner_use: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []

    def estimate(*_: Any) -> Estimate:
        held.append(db.engine.pool.checkedout())  # type: ignore[attr-defined]
        return Estimate(1, 2, 3.0)

    monkeypatch.setattr(app.extensions["report_kinds"]["partner-use"], "estimate", estimate)
    body = {"kind": "partner-use", "params": partner_use()}
    assert api.post("/reports/estimate", body).status_code == 200
    assert held == [0]


def test_an_estimate_of_bad_params_gets_sentences(api: Api, partner_use: Params) -> None:
    body = {"kind": "partner-use", "params": partner_use(partner_id="x")}
    assert_problem(api.post("/reports/estimate", body), 422, "partner_id")
    assert_problem(api.post("/reports/estimate", {}), 422, "kind")


def test_an_estimate_the_partner_refuses_says_so_without_the_secret(
    api: Api, partner_use: Params
) -> None:
    body = {"kind": "partner-use", "params": partner_use(user_secret="Y2FuYXJ5LWVzdGltYXRl")}
    answer = api.post("/reports/estimate", body)
    assert_problem(answer, 422, "user_secret")
    assert "Y2FuYXJ5LWVzdGltYXRl" not in answer.text


def test_the_kinds_are_listed_with_their_parameters(app: Flask, api: Api) -> None:
    kinds = api.get("/kinds").json
    assert [kind["kind"] for kind in kinds] == list(app.extensions["report_kinds"])
    schema = next(kind for kind in kinds if kind["kind"] == "partner-use")["params"]
    assert schema["type"] == "object"
    assert {"partner_id", "user_key", "user_secret", "connection", "mode", "start", "end",
            "refresh"} <= set(schema["properties"])  # fmt: skip
    assert schema["properties"]["user_secret"]["writeOnly"] is True


def test_expiring_months_says_how_many(app: Flask, api: Api, partner_use: Params) -> None:
    ended(app, api, partner_use(**MONTHLY))
    first = api.delete("/months?kind=partner-use&subject=70000001&from=2024-02&to=2024-02")
    assert first.status_code == 200
    assert first.json["expired"] > 0
    assert api.delete("/months?kind=inventory").json == {"expired": 0}
    assert api.delete("/months").json["expired"] > 0
    assert api.delete("/months").json == {"expired": 0}


def test_another_companys_months_are_not_expired(
    app: Flask, api_for: ApiFor, partner_use: Params
) -> None:
    ended(app, api_for("owner"), partner_use(**MONTHLY))
    assert api_for("stranger").delete("/months").json == {"expired": 0}
    assert api_for("owner").delete("/months").json["expired"] > 0


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("from=2024-13", ["from"]), ("to=x", ["to"]), ("from=2024-02&to=2024-01", ["to"]),
        ("kind=weather", ["kind"]), ("form=2024-01", ["form"]),
    ],
)  # fmt: skip
def test_a_mistyped_expiry_expires_nothing(
    app: Flask, api: Api, partner_use: Params, query: str, fields: list[str]
) -> None:
    assert_problem(api.delete(f"/months?{query}"), 422, *fields)


# Unknown addresses


@pytest.mark.parametrize("path", ["/nothing", "/reports/not-an-id", f"/reports/{ANY_ID}/nothing"])
def test_an_unknown_address_is_a_problem_too(api: Api, path: str) -> None:
    assert_problem(api.get(path), 404)


def test_a_method_that_is_not_taken_is_a_problem_too(api: Api) -> None:
    answer = api.client.put("/api/v1/reports", auth=api.auth)
    assert_problem(answer, 405)
    assert "GET" in answer.headers["Allow"]
