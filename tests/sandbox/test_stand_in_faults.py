"""Faults: each does on the wire what its name says, where and as often as its rule says."""

from __future__ import annotations

import gzip
import socket
import time
import zlib
from typing import Any

import pytest
import requests

from sandbox import truth
from sandbox.faults import BadRule, parse_rules, read_rules
from sandbox.wire import bomb
from tests.soon import SOON_S, until

COUNT = "SELECT count(*) FROM accounts"
SITE = truth.sites(70000001)[0]


def raw(call: Any, seconds: float = 5.0) -> bytes:
    """Return all bytes that the server sends to a search, as they are."""
    body = requests.Request("POST", "http://x/", data={
        "userKey": "demo-user-key", "secret": "ZGVtby1zZWNyZXQ=", "apiKey": SITE.api_key,
        "query": COUNT,
    }).prepare().body  # fmt: skip
    head = (
        "POST /accounts.eu1/accounts.search HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", call.stand_in.port), timeout=seconds) as wire:
        wire.sendall((head + body).encode())
        parts = []
        while part := wire.recv(65536):
            parts.append(part)
        return b"".join(parts)


def strike(call: Any, fault: str, **rule: Any) -> None:
    call.stand_in.faults([{"fault": fault, **rule}])


def search(call: Any) -> requests.Response:
    return call.post("accounts.search", "eu1", apiKey=SITE.api_key, query=COUNT)


def test_an_error_code_is_answered_as_often_as_said(call: Any) -> None:
    strike(call, "error:500001", method="accounts.search", times=2)
    codes = [call.search(SITE, COUNT)["errorCode"] for _ in range(4)]
    assert codes == [500001, 500001, 0, 0]
    assert call("admin.getSiteConfig", apiKey=SITE.api_key)["errorCode"] == 0
    assert call.stand_in.stats()["faults"] == {"error": 2}


def test_a_rule_strikes_only_its_site_partner_and_query(call: Any) -> None:
    other = truth.sites(70000001)[3]
    strike(call, "error:403048", site=SITE.site_id)
    assert call.search(SITE, COUNT)["errorCode"] == 403048
    assert call.search(other, COUNT)["errorCode"] == 0
    strike(call, "error:403048", partner=70000002)
    assert call.search(SITE, COUNT)["errorCode"] == 0
    assert call("admin.getUserSites", targetPartnerID=70000002)["errorCode"] == 403048
    strike(call, "error:403007", query="select created")
    assert call.search(SITE, COUNT)["errorCode"] == 0
    assert call.search(SITE, "SELECT created FROM accounts LIMIT 1")["errorCode"] == 403007


def test_a_gateway_answers_with_its_own_status(call: Any) -> None:
    strike(call, "http:429:5")
    response = search(call)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "5")
    date = "Sun, 22 Nov 2026 10:00:00 GMT"
    strike(call, f"http:503:{date}")
    assert search(call).headers["Retry-After"] == date
    strike(call, "http:502")
    assert "Retry-After" not in search(call).headers


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("html", b"<html"), ("null", b"null"), ("array", b"[]"), ("bom", b"\xef\xbb\xbf{"),
    ],
)  # fmt: skip
def test_bodies_that_are_no_json_object(call: Any, fault: str, found: bytes) -> None:
    strike(call, fault)
    response = search(call)
    assert response.status_code == 200
    assert response.content.startswith(found)


def test_an_empty_body_and_a_wrong_type(call: Any) -> None:
    strike(call, "empty")
    assert search(call).content == b""
    strike(call, "wrong-type")
    assert search(call).headers["Content-Type"] == "image/png"


def test_broken_answers_are_broken(call: Any) -> None:
    strike(call, "truncated")
    with pytest.raises(ValueError, match=r".+"):
        search(call).json()
    strike(call, "cut-gzip")
    body = raw(call).partition(b"\r\n\r\n")[2]
    with pytest.raises(EOFError):
        gzip.decompress(body)
    strike(call, "cut")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        search(call)
    strike(call, "reset")
    with pytest.raises(ConnectionResetError):
        raw(call)


def test_a_hang_and_a_trickle_outlast_any_patience(call: Any) -> None:
    strike(call, "hang")
    with pytest.raises(TimeoutError):
        raw(call, seconds=0.3)
    strike(call, "slow")
    began = time.monotonic()
    with requests.post(
        f"{call.stand_in.url_template.format(namespace='accounts', data_center='eu1')}"
        "/accounts.search",
        {"userKey": "demo-user-key", "secret": "ZGVtby1zZWNyZXQ=", "apiKey": SITE.api_key,
         "query": COUNT}, stream=True, timeout=SOON_S,
    ) as response:  # fmt: skip
        bytes_come = response.iter_content(1)
        assert next(bytes_come) == b"{"
        next(bytes_come)
    assert time.monotonic() - began >= 1.5
    assert until(lambda: call.stand_in.stats()["in_flight"] == 0)


def test_the_bomb_is_small_and_unpacks_to_a_valid_answer() -> None:
    packed = bomb()
    assert len(packed) < 1_000_000
    unpacker = zlib.decompressobj(31)
    left, size, last = packed, 0, b""
    while left:
        last = unpacker.decompress(left, 1 << 24)
        size += len(last)
        left = unpacker.unconsumed_tail
    assert unpacker.eof
    assert size > 512 * 1024 * 1024
    assert last.rstrip().endswith(b"}")


def test_a_huge_answer_streams_and_may_be_left(call: Any) -> None:
    strike(call, "huge")
    with socket.create_connection(("127.0.0.1", call.stand_in.port), timeout=60):
        response = call.session.post(
            f"{call.stand_in.url_template.format(namespace='accounts', data_center='eu1')}"
            "/accounts.search",
            {"userKey": "demo-user-key", "secret": "ZGVtby1zZWNyZXQ=", "apiKey": SITE.api_key,
             "query": COUNT}, stream=True, timeout=SOON_S,
        )  # fmt: skip
        assert len(next(response.iter_content(1 << 20))) > 0
        response.close()
    call.stand_in.faults([])
    assert call.search(SITE, COUNT)["errorCode"] == 0


def test_a_followed_redirect_is_noticed(call: Any) -> None:
    strike(call, "redirect")
    response = search(call)
    assert response.status_code == 307
    where = response.headers["Location"]
    assert call.stand_in.stats()["redirects_followed"] == 0
    requests.post(f"http://127.0.0.1:{call.stand_in.port}{where}", timeout=60)
    assert call.stand_in.stats()["redirects_followed"] == 1


def test_wrong_counts(call: Any) -> None:
    total = truth.count(SITE)
    for fault, expected in (
        ("text-count", [{"count(*)": str(total)}]),
        ("float-count", [{"count(*)": total + 0.5}]),
        ("negative-count", [{"count(*)": -total - 1}]),
        ("huge-count", [{"count(*)": 10**30 + total}]),
        ("null-count", [{"count(*)": None}]),
        ("two-rows", [{"count(*)": total}] * 2),
        ("no-rows", []),
    ):
        strike(call, fault)
        assert call.search(SITE, COUNT)["results"] == expected, fault
    strike(call, "missing-results")
    assert "results" not in call.search(SITE, COUNT)
    strike(call, "no-error-code")
    assert "errorCode" not in call.search(SITE, COUNT)
    strike(call, "fewer-rows")
    answer = call.search(SITE, "SELECT created FROM accounts LIMIT 4")
    assert len(answer["results"]) == answer["objectsCount"] == 3


def test_wrong_lists(call: Any) -> None:
    def sites() -> list[dict[str, Any]]:
        return call("admin.getUserSites", targetPartnerID=70000002)["sites"][0]["sites"]

    strike(call, "duplicate-sites")
    assert len(sites()) == 400
    strike(call, "no-data-center")
    assert not any("dataCenter" in site for site in sites())
    strike(call, "hostile-data-center")
    assert sites()[0]["dataCenter"] == "evil.example/#"
    strike(call, "hostile-names")
    assert max(len(site["baseDomain"]) for site in sites()) == 10_000
    assert any("\ud800" in site["baseDomain"] for site in sites())
    strike(call, "foreign-partner")
    assert sites()[0]["siteID"] == 1
    strike(call, "bad-domain")
    answer = call.search(SITE, COUNT)
    assert (answer["errorCode"], answer["apiDomain"]) == (301001, "evil.example/#")


def test_deletions_make_a_later_count_smaller(call: Any) -> None:
    site = truth.sites(70000006)[0]
    earlier, later = (f'{COUNT} WHERE created < "{month}-01"' for month in ("2024-05", "2024-06"))
    first = call.search(site, earlier)["totalCount"]
    strike(call, "deletion:50")
    assert call.search(site, later)["totalCount"] < first
    call.stand_in.reset()
    assert call.search(site, earlier)["totalCount"] == first == truth.total_users(site, "2024-04")


def test_latency_is_felt(call: Any) -> None:
    strike(call, "latency:150")
    began = time.monotonic()
    search(call)
    assert time.monotonic() - began >= 0.15


def test_rules_are_read_from_the_command_line_too() -> None:
    first, second = parse_rules("accounts.search:error:500001:p=0.05; *:http:429:7:times=2:site=12")
    assert (first.method, first.fault, first.probability) == (
        "accounts.search", "error:500001", 0.05,
    )  # fmt: skip
    assert (second.method, second.fault, second.times, second.site) == (None, "http:429:7", 2, "12")


@pytest.mark.parametrize(
    "rules",
    [
        {}, [1], [{}], [{"fault": "boredom"}], [{"fault": "error"}], [{"fault": "error:x"}],
        [{"fault": "hang", "colour": 1}], [{"fault": "hang", "probability": 2}],
        [{"fault": "hang", "times": "x"}],
    ],
)  # fmt: skip
def test_rules_that_make_no_sense_are_refused(call: Any, rules: Any) -> None:
    with pytest.raises(BadRule):
        read_rules(rules)
    with pytest.raises(ValueError, match=r".+"):
        call.stand_in.faults(rules)


def test_the_dice_fall_the_same_every_time(call: Any) -> None:
    strike(call, "error:500001", probability=0.5)
    codes = [call.search(SITE, COUNT)["errorCode"] for _ in range(40)]
    assert 5 < codes.count(500001) < 35
