"""The original API: envelopes, amounts, clear errors, paging, roles, and nobody else's data."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

STREAM = {"date": "2025-03-05", "user_id": 1001, "region": "NL", "track_id": "T-503", "seconds": 60}


@pytest.fixture
def api(api_for: Callable[[str], Any], sample: str) -> Any:
    return api_for("owner")


def change(api: Any, method: str, path: str, body: Any) -> Any:
    return api.client.open(f"/api/v1{path}", method=method, json=body, auth=api.auth)


def test_the_report_pays_each_label_to_the_cent(api: Any) -> None:
    answer = api.get("/report")
    assert answer.status_code == 200
    assert answer.json == {
        "message": "Streams Report retrieved",
        "data": {"Harbour Classics": 20.5, "Linden Records": 14.8, "Quiet Street": 9.11},
    }
    # All digits of the currency, also a closing zero.
    assert '"Harbour Classics": 20.50' in answer.text
    assert answer.headers["Report-Method"] == "pool"
    assert answer.headers["Report-Unallocated"] == "1.14"


def test_the_listener_method_shares_each_fee_by_its_own_seconds(api: Any) -> None:
    answer = api.get("/report?month=2025-03&method=listener")
    assert answer.json["data"] == {
        "Harbour Classics": 16.38,
        "Linden Records": 15.38,
        "Quiet Street": 5.4,
    }


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("month=March", "month"),
        ("month=2025-03&from=2025-03", "month"),
        ("from=2025-04&to=2025-03", "to"),
        ("method=plays", "method"),
    ],
)
def test_a_bad_question_is_a_400_with_a_sentence(api: Any, query: str, word: str) -> None:
    answer = api.get(f"/report?{query}")
    assert answer.status_code == 400
    assert set(answer.json) == {"error"}
    assert answer.json["error"].startswith(word)


def test_months_without_streams_pay_nothing(api: Any) -> None:
    assert api.get("/report?from=2024-01&to=2025-02").json["data"] == {}
    assert api.get("/report?from=2025-01&to=2025-06").json == api.get("/report").json


def test_a_user_report_counts_seconds_by_label(api: Any) -> None:
    assert api.get("/users/1001").json == {
        "message": "Found User Stream Report",
        "data": {
            "user_id": 1001,
            "total_seconds": 300,
            "by_label": [
                {"label": "Harbour Classics", "seconds": 200},
                {"label": "Linden Records", "seconds": 100},
            ],
        },
    }


def test_a_known_user_without_streams_has_zeros(api: Any) -> None:
    assert api.get("/users/1006").json["data"] == {
        "user_id": 1006,
        "total_seconds": 0,
        "by_label": [],
    }


def test_an_unknown_user_is_a_404_and_no_number_a_400(api: Any) -> None:
    unreadable = api.get("/users/anna")
    for number in ("999", "99999999999999999999"):
        unknown = api.get(f"/users/{number}")
        assert (unknown.status_code, unknown.json) == (404, {"error": "User ID not found"})
    assert (unreadable.status_code, unreadable.json) == (400, {"error": "User ID Invalid"})


def test_a_stream_lives_from_post_to_delete_and_the_sums_follow(api: Any) -> None:
    before = api.get("/report").json
    made = api.post("/streams", STREAM)
    assert made.status_code == 201
    [stored] = made.json["data"]
    assert {key: stored[key] for key in STREAM} == STREAM
    assert stored["label"] == "Linden Records"
    assert api.get("/report").json != before
    for path in (f"/stream/{stored['id']}", f"/streams/{stored['id']}"):
        assert api.get(path).json["data"] == stored
    patched = change(api, "PATCH", f"/stream/{stored['id']}", {"seconds": 90})
    assert patched.json["data"] == stored | {"seconds": 90}
    put = change(api, "PUT", f"/streams/{stored['id']}", STREAM | {"track_id": "T-501"})
    assert put.json["data"]["label"] == "Harbour Classics"
    assert put.json["data"]["seconds"] == 60
    assert api.delete(f"/stream/{stored['id']}").status_code == 200
    assert api.get(f"/stream/{stored['id']}").status_code == 404
    assert api.get("/report").json == before


def test_a_stream_moves_to_another_month_with_its_date(api: Any) -> None:
    [stored] = api.post("/streams", STREAM).json["data"]
    change(api, "PATCH", f"/stream/{stored['id']}", {"date": "2025-05-05"})
    # Everybody pays in May, and all of it goes to the one label heard.
    assert api.get("/report?month=2025-05").json["data"] == {"Linden Records": 45.55}


def test_a_list_of_streams_is_stored_whole_or_not_at_all(api: Any) -> None:
    count = len(api.get("/streams").json["data"])
    bad = api.post("/streams", [STREAM, STREAM | {"seconds": "long"}])
    assert bad.status_code == 400
    assert bad.json["error"].startswith("Stream 2: seconds")
    assert len(api.get("/streams").json["data"]) == count
    assert len(api.post("/streams", [STREAM, STREAM]).json["data"]) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("date", "05.2025"),
        ("date", "2025-02-30"),
        ("date", None),
        ("user_id", "anna"),
        ("user_id", True),
        ("user_id", 1.5),
        ("track_id", ""),
        ("track_id", ["T"]),
        ("region", "x" * 101),
        ("seconds", -1),
        ("seconds", "1e3"),
        ("colour", "red"),
    ],
)
def test_a_bad_field_is_a_400_that_names_it(api: Any, field: str, value: Any) -> None:
    answer = api.post("/streams", STREAM | {field: value})
    assert answer.status_code == 400
    assert answer.json["error"].startswith(field)


def test_a_missing_field_is_named_and_broken_json_is_a_400(api: Any) -> None:
    answer = api.post("/streams", {key: STREAM[key] for key in STREAM if key != "region"})
    assert (answer.status_code, answer.json["error"]) == (400, "region: This field is required.")
    broken = api.client.post(
        "/api/v1/streams", data="{", content_type="application/json", auth=api.auth
    )
    assert broken.status_code == 400
    assert set(broken.json) == {"error"}


def test_streams_are_listed_newest_first_a_page_at_a_time(api: Any) -> None:
    path, seen = "/streams?limit=3", []
    while path:
        answer = api.get(path)
        seen += answer.json["data"]
        link = re.match(r"</api/v1(.*)>; rel=\"next\"", answer.headers.get("Link", ""))
        path = link[1] if link else ""
    assert len(seen) == 8
    assert [one["date"] for one in seen] == sorted((one["date"] for one in seen), reverse=True)
    assert len({one["id"] for one in seen}) == 8


def test_streams_are_filtered_by_day_listener_and_label(api: Any) -> None:
    assert len(api.get("/streams?user_id=1001").json["data"]) == 2
    assert len(api.get("/streams?label=Harbour Classics").json["data"]) == 3
    assert len(api.get("/streams?from=2025-03-15&to=2025-03-18").json["data"]) == 3
    for query in ("limit=0", "limit=x", "cursor=1", "from=x", "user_id=x"):
        assert api.get(f"/streams?{query}").status_code == 400


@pytest.mark.parametrize("stream_id", ["7925abd7-d4d8-4824-b25d-95928f26f263", "999999", "nothing"])
def test_an_unknown_stream_is_a_404_with_its_envelope(api: Any, stream_id: str) -> None:
    for answer in (
        api.get(f"/stream/{stream_id}"),
        change(api, "PATCH", f"/stream/{stream_id}", {"seconds": 1}),
        api.delete(f"/stream/{stream_id}"),
    ):
        assert answer.status_code == 404
        assert answer.json == {"error": "Stream ID not found"}


def test_another_company_sees_none_of_it(api: Any, api_for: Callable[[str], Any]) -> None:
    [mine] = api.get("/streams?limit=1").json["data"]
    stranger = api_for("stranger")
    assert stranger.get("/report").json["data"] == {}
    assert stranger.get("/users/1001").status_code == 404
    assert stranger.get(f"/stream/{mine['id']}").status_code == 404
    assert stranger.delete(f"/stream/{mine['id']}").status_code == 404
    assert stranger.get("/streams").json["data"] == []


def test_viewers_read_and_only_admins_change(api: Any, api_for: Callable[[str], Any]) -> None:
    [one] = api.get("/streams?limit=1").json["data"]
    for name in ("viewer", "colleague"):
        reader = api_for(name)
        assert reader.get("/report").status_code == 200
        assert reader.post("/streams", STREAM).status_code == 403
        assert reader.delete(f"/stream/{one['id']}").status_code == 403


def test_a_stranger_gets_a_401_in_the_envelope(api: Any) -> None:
    answer = api.client.get("/api/v1/report")
    assert answer.status_code == 401
    assert set(answer.json) == {"error"}


def to_look_at(client_for: Any) -> str:
    return str(client_for("viewer").get("/label-revenue").text)


def test_odd_streams_are_warned_of_until_they_are_put_right(api: Any, client_for: Any) -> None:
    odd = [STREAM | {"seconds": 0}, STREAM | {"date": "2999-01-01"}]
    stored = api.post("/streams", [*odd, STREAM]).json["data"]
    page = to_look_at(client_for)
    assert "1 stream with zero or negative seconds" in page
    assert "1 stream dated in the future" in page
    change(api, "PATCH", f"/stream/{stored[0]['id']}", {"seconds": 5})
    assert "zero or negative" not in to_look_at(client_for)
    api.delete(f"/stream/{stored[1]['id']}")
    assert "in the future" not in to_look_at(client_for)
    [loaded] = [one for one in api.get("/streams").json["data"] if one["seconds"] == 600]
    change(api, "PATCH", f"/stream/{loaded['id']}", {"seconds": 0})
    assert "1 stream with zero or negative seconds" in to_look_at(client_for)


def test_a_day_is_looked_at_whole_whatever_its_streams_came_with(
    api: Any, client_for: Any, load_texts: Any
) -> None:
    said = "Listener 1001 streamed more than 24 hours on 2025-03-05."
    for _ in range(2):
        [stored] = api.post("/streams", STREAM | {"seconds": 43_000}).json["data"]
    assert said not in to_look_at(client_for)
    head = "date;user_id;region;track id;seconds\n"
    loaded = load_texts(streams=f"{head}2025-03-05;1001;NL;T-501;900")
    assert said in loaded.batch.warnings
    change(api, "PATCH", f"/stream/{stored['id']}", {"seconds": 43_001})
    assert to_look_at(client_for).count(said) == 2
    api.delete(f"/stream/{stored['id']}")
    assert to_look_at(client_for).count(said) == 1


def test_what_an_address_does_not_take_is_said_in_the_envelope(api: Any) -> None:
    for path in ("/report", "/users/1001", "/stream/1/2", "/streams/1/2", "/users"):
        answer = api.post(path, {})
        assert answer.status_code in {404, 405}
        assert set(answer.json) == {"error"}, path
    other = change(api, "PUT", "/reports", {})
    assert (other.status_code, other.mimetype) == (405, "application/problem+json")
